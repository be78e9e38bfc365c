"""The HTTP side over real sockets: who is let in, what is read, and what a bad client cannot do."""

import json
import ssl
from functools import partial
from pathlib import Path

import pytest
import trio
from api_serving import Source, connect, exchange, is_closed, read_answer, serving
from fastapi import APIRouter, FastAPI, Request
from starlette.routing import Route

from wolfscale.api import connection, gate, server
from wolfscale.api.access import AccessPolicy
from wolfscale.api.app import ROUTERS, build_app
from wolfscale.api.client import Access, ask, fetch_status
from wolfscale.api.errors import ApiBindError, NodeUnreachableError, TokenRefusedError
from wolfscale.api.scopes import Scope, rule_of
from wolfscale.api.server import ServerOptions, bind_http, serve_http
from wolfscale.api.services import Services
from wolfscale.api.tokens import Token, TokenList
from wolfscale.certificates import ServerCertificate, context_from_files
from wolfscale.testing.statuses import node

READ, WRITE = "read-token-0123456789", "write-token-0123456789"
LOCKED = ServerOptions(
    policy=AccessPolicy(
        tokens=TokenList([Token(scope=Scope.READ, value=READ), Token(scope=Scope.WRITE, value=WRITE)]),
        token_on_loopback=True,
    ),
    body_bytes=1000,
)
SMALL = ServerOptions(body_bytes=1000)
JSON = "application/json"


@pytest.fixture(autouse=True)
def echo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for `/query` and `/write/insert`, which need more of a node than these tests have."""

    extra = APIRouter()

    @extra.post("/query")
    async def answer(request: Request) -> dict[str, object]:
        body = await request.body()
        return {"length": len(body), "scope": request.state.scope.word}

    @extra.post("/write/insert")
    async def fail() -> None:
        raise RuntimeError("broken on purpose")

    def build(services: Services) -> FastAPI:
        app = build_app(services)
        app.router.routes[:0] = extra.routes
        return app

    monkeypatch.setattr(server, "build_app", build)


def test_every_route_has_a_rule() -> None:
    services = Services(status=Source())
    routes = [route for router in ROUTERS for route in router(services).routes]
    routes += [route for route in build_app(services).routes if isinstance(route, Route)]
    seen = set()
    for route in routes:
        assert isinstance(route, Route)
        for method in route.methods or {"GET"}:
            assert rule_of(method, route.path) is not None, f"{method} {route.path}: write a row in scopes.py"
            seen.add(route.path)
    assert {"/", "/health", "/status", "/openapi.json"} <= seen


# Tokens and rights


async def test_client_without_with_and_with_a_wrong_token() -> None:
    async with serving(LOCKED) as port:
        endpoint = f"http://127.0.0.1:{port}"
        with pytest.raises(TokenRefusedError, match="wants a token"):
            await fetch_status(endpoint)
        with pytest.raises(TokenRefusedError, match="does not know this token"):
            await fetch_status(endpoint, access=Access(token="nobody"))
        assert await fetch_status(endpoint, access=Access(token=READ)) == node()


async def test_refusal_is_a_problem_with_a_challenge() -> None:
    async with serving(LOCKED) as port:
        answer = await exchange(port, "GET", "/status")
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == 'Bearer realm="WolfScale"'
        assert answer.json["error"] == "unauthorized"
        assert set(answer.json) == {"error", "message", "field", "errno", "sqlstate"}
        answer = await exchange(port, "POST", "/write/insert", b"{}", authorization=f"Bearer {READ}")
        assert (answer.status, answer.json["error"]) == (403, "scope_too_small")


async def test_route_learns_the_right_of_its_caller() -> None:
    async with serving(LOCKED) as port:
        answer = await exchange(
            port, "POST", "/query", b"{}", content_type=JSON, authorization=f"Bearer {WRITE}"
        )
        assert answer.json == {"length": 2, "scope": "write"}


async def test_stranger_learns_of_health_only_whether_and_why_not() -> None:
    async with serving(LOCKED) as port:
        assert (await exchange(port, "GET", "/health")).json == {"healthy": True, "reason": ""}
        known = await exchange(port, "GET", "/health", authorization=f"Bearer {READ}")
        assert known.json["name"] == node().name


async def test_unknown_path_is_hidden_from_strangers() -> None:
    async with serving(LOCKED) as port:
        assert (await exchange(port, "GET", "/nothing")).status == 401
        assert (await exchange(port, "GET", "/nothing", authorization=f"Bearer {READ}")).status == 404


# Answers


async def test_every_answer_carries_the_headers_that_keep_other_sites_out() -> None:
    async with serving() as port:
        for path in ("/status", "/health", "/nothing", "/"):
            headers = (await exchange(port, "GET", path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert headers["x-frame-options"] == "DENY"
            assert "cache-control" in headers
            assert "server" not in headers


async def test_head_is_answered_like_get_without_a_body() -> None:
    async with serving() as port:
        for path in ("/health", "/status", "/"):
            answer = await exchange(port, "HEAD", path)
            assert (answer.status, answer.body) == (200, b"")
            assert int(answer.headers["content-length"]) > 0


async def test_slash_at_the_end_is_not_redirected() -> None:
    async with serving() as port:
        assert (await exchange(port, "GET", "/status/")).status == 404


async def test_method_that_a_path_does_not_know_is_answered_with_those_it_knows() -> None:
    async with serving() as port:
        for method in ("DELETE", "PUT", "PATCH", "TRACE", "OPTIONS"):
            answer = await exchange(port, method, "/status")
            assert (answer.status, answer.json["error"]) == (405, "method_not_allowed")
            assert "GET" in answer.headers["allow"]


async def test_preflight_of_an_allowed_origin_is_answered_empty() -> None:
    origin = "https://intranet.example"
    options = ServerOptions(policy=AccessPolicy(allowed_origins=(origin,)))
    async with serving(options) as port:
        answer = await exchange(
            port, "OPTIONS", "/query", origin=origin, access_control_request_method="POST"
        )
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == origin
        answer = await exchange(port, "POST", "/query", b"{}", content_type=JSON, origin=origin)
        assert answer.headers["access-control-allow-origin"] == origin


async def test_route_that_fails_is_a_problem_and_the_node_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as port:
        answer = await exchange(port, "POST", "/write/insert", b"{}", content_type=JSON)
        assert (answer.status, answer.json["error"]) == (500, "internal_error")
        assert "broken on purpose" not in answer.body.decode()
        assert (await exchange(port, "GET", "/health")).status == 200
    assert "a request failed" in caplog.text


# Bodies


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
async def test_body_of_another_type_is_refused(kind: str) -> None:
    async with serving() as port:
        headers = {"content_type": kind} if kind else {}
        answer = await exchange(port, "POST", "/query", b"{}", **headers)
        assert (answer.status, answer.json["error"]) == (415, "unsupported_media_type")
        answer = await exchange(port, "POST", "/query", b"{}", content_type="Application/JSON; charset=utf-8")
        assert answer.status == 200


async def test_body_over_the_limit_is_refused_by_its_length_and_in_chunks() -> None:
    async with serving(SMALL) as port:
        assert (await exchange(port, "POST", "/query", b"x" * 1000, content_type=JSON)).json["length"] == 1000
        answer = await exchange(port, "POST", "/query", b"x" * 1001, content_type=JSON)
        assert (answer.status, answer.json["error"]) == (413, "body_too_large")
        assert "1000 bytes" in answer.json["message"]
        chunked = b"".join(b"64\r\n" + b"x" * 100 + b"\r\n" for _ in range(11)) + b"0\r\n\r\n"
        answer = await exchange(
            port, "POST", "/query", chunked, content_type=JSON, transfer_encoding="chunked"
        )
        assert (answer.status, answer.json["error"]) == (413, "body_too_large")


@pytest.mark.parametrize("path", ["/query", "/health", "/status"])
@pytest.mark.parametrize("options", [SMALL, LOCKED], ids=["too large", "no token"])
async def test_client_reads_the_answer_though_most_of_its_body_was_not_read(
    path: str, options: ServerOptions
) -> None:
    length = 8 << 20
    async with serving(options) as port:
        for _ in range(2):
            method = "POST" if path == "/query" else "GET"
            answer = await exchange(port, method, path, b"x" * length, content_type=JSON)
            expected = 413 if options is SMALL or path == "/health" else 401
            assert answer.status == expected
            assert answer.headers["connection"] == "close"


async def test_refused_body_leaves_the_connection_open_when_it_is_short() -> None:
    async with serving(LOCKED) as port, await connect(port) as stream:
        for _ in range(3):
            await stream.send_all(
                b"POST /query HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n" + b"x" * 100
            )
            answer = await read_answer(stream)
            assert answer.status == 401
            assert "connection" not in answer.headers


async def test_body_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "BODY_SECONDS", 0.05)
    monkeypatch.setattr(gate, "_REFUSED_BODY_SECONDS", 0.05)
    async with serving() as port, await connect(port) as stream:
        head = (
            f"POST /query HTTP/1.1\r\nHost: localhost\r\nContent-Type: {JSON}\r\nContent-Length: 9\r\n\r\n1"
        )
        await stream.send_all(head.encode())
        answer = await read_answer(stream)
        assert (answer.status, answer.json["error"]) == (408, "body_too_slow")
        assert await is_closed(stream)


async def test_client_that_leaves_in_the_middle_of_a_body_harms_nobody() -> None:
    async with serving() as port:
        async with await connect(port) as stream:
            await stream.send_all(b"POST /query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n1")
        assert (await exchange(port, "GET", "/health")).status == 200


# Connections


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_listener_on_every_address_knows_loopback_of_both_families(host: str) -> None:
    try:
        listener = bind_http("[::]:0")
    except ApiBindError:
        pytest.skip("no IPv6 here")
    port = listener.getsockname()[1]
    async with trio.open_nursery() as nursery:
        services = Services(status=Source())
        await nursery.start(partial(serve_http, services, listener, stop=trio.sleep_forever))
        endpoint = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        assert await fetch_status(endpoint) == node()
        nursery.cancel_scope.cancel()


async def test_upgrades_are_ignored() -> None:
    async with serving() as port:
        for upgrade in ("h2c", "websocket"):
            answer = await exchange(
                port,
                "GET",
                "/health",
                connection="Upgrade, HTTP2-Settings",
                upgrade=upgrade,
                http2_settings="AAMAAABkAAQCAAAAAAIAAAAA",
                sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ==",
                sec_websocket_version="13",
            )
            assert answer.status == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 403),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /status HTTP/1.1\r\n\r\n", 400),
        (b"GET /status HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /status HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431),
        (b"POST /query HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /query HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST /query HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ],
)
async def test_what_is_no_request_is_answered_as_a_problem(sent: bytes, status: int) -> None:
    async with serving() as port, await connect(port) as stream:
        await stream.send_all(sent)
        answer = await read_answer(stream)
        assert answer.status == status
        assert answer.json["message"]
        if status in {400, 501}:
            assert await is_closed(stream)


async def test_request_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_IDLE_SECONDS", 0.05)
    async with serving() as port:
        for sent in (b"", b"GET /status HTTP/1.1\r\nHost: a\r\nX-Slow: "):
            async with await connect(port) as stream:
                if sent:
                    await stream.send_all(sent)
                assert await is_closed(stream)


async def ask_without_reading(stream: trio.abc.Stream) -> None:
    while True:
        await stream.send_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000)


async def test_client_that_does_not_read_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SEND_SECONDS", 0.05)
    monkeypatch.setattr(gate, "SECURITY_HEADERS", (*gate.SECURITY_HEADERS, ("x-long", "x" * 60_000)))
    async with serving() as port, await connect(port) as stream:
        # Pipelined until the sockets' buffers are full on both ways, or the node has hung up.
        with pytest.raises(trio.BrokenResourceError):
            await ask_without_reading(stream)


async def test_stopping_waits_for_no_client_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_GRACEFUL_SECONDS", 0.05)
    monkeypatch.setattr(gate, "SECURITY_HEADERS", (*gate.SECURITY_HEADERS, ("x-long", "x" * 60_000)))
    async with serving() as port:
        stream = await connect(port)
        with trio.move_on_after(0.5):
            await ask_without_reading(stream)
    await trio.aclose_forcefully(stream)


async def test_further_connection_takes_the_place_of_the_one_idle_for_longest() -> None:
    async with serving(ServerOptions(connections=2)) as port:
        first, second = await connect(port), await connect(port)
        for stream in (first, second, first):
            await stream.send_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await read_answer(stream)).status == 200
        third = await connect(port)
        await third.send_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await read_answer(third)).status == 200
        assert await is_closed(second)
        await first.send_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await read_answer(first)).status == 200
        await first.aclose()
        await third.aclose()
        await second.aclose()


async def test_further_connection_is_closed_while_all_are_busy() -> None:
    async with serving(ServerOptions(connections=1)) as port:
        busy = await connect(port)
        head = (
            f"POST /query HTTP/1.1\r\nHost: localhost\r\nContent-Type: {JSON}\r\nContent-Length: 2\r\n\r\n{{"
        )
        await busy.send_all(head.encode())
        # Busy from its headers on; while the node has not read them, the further connection takes its place.
        while True:
            async with await connect(port) as further:
                await further.send_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                try:
                    if not await further.receive_some():
                        break
                except trio.BrokenResourceError:
                    break
            await busy.aclose()
            busy = await connect(port)
            await busy.send_all(head.encode())
        await busy.send_all(b"}")
        assert (await read_answer(busy)).json["length"] == 2
        await busy.aclose()


# TLS


async def test_node_speaks_https_with_the_clusters_own_certificate(tmp_path: Path) -> None:
    made = ServerCertificate.from_secret(b"a secret", "node-1", ["localhost", "127.0.0.1"])
    authority = made.write_authority(tmp_path)
    async with serving(ServerOptions(tls=made.context())) as port:
        access = Access(ca_file=authority)
        assert await fetch_status(f"https://127.0.0.1:{port}", access=access) == node()
        assert await fetch_status(f"https://localhost:{port}", access=access) == node()
        with pytest.raises(NodeUnreachableError, match="certificate is not trusted"):
            await ask(f"https://127.0.0.1:{port}", "/status")
        assert await fetch_status(f"https://127.0.0.1:{port}", access=access) == node()


async def test_client_may_trust_one_nodes_certificate_alone(tmp_path: Path) -> None:
    made = ServerCertificate.from_secret(b"a secret", "node-1", ["localhost"])
    pinned = tmp_path / "node-1.pem"
    pinned.write_bytes(b"-----BEGIN CERT" + made.chain_pem.partition(b"-----BEGIN CERT")[2])
    other = ServerCertificate.from_secret(b"a secret", "node-2", ["localhost"])
    async with serving(ServerOptions(tls=made.context())) as port:
        assert await fetch_status(f"https://localhost:{port}", access=Access(ca_file=pinned)) == node()
    async with serving(ServerOptions(tls=other.context())) as port:
        with pytest.raises(NodeUnreachableError, match="not trusted"):
            await fetch_status(f"https://localhost:{port}", access=Access(ca_file=pinned))


async def test_tls_offers_neither_http2_nor_an_old_version(tmp_path: Path) -> None:
    made = ServerCertificate.from_secret(b"a secret", "node-1", ["localhost"])
    async with serving(ServerOptions(tls=made.context())) as port:
        context = ssl.create_default_context(cadata=made.authority_pem.decode())
        context.set_alpn_protocols(["h2", "http/1.1"])
        async with trio.SSLStream(await connect(port), context, server_hostname="localhost") as stream:
            await stream.do_handshake()
            assert stream.selected_alpn_protocol() is None
            await stream.send_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert (await read_answer(stream)).status == 200


async def test_plain_request_where_https_is_spoken_is_told_so() -> None:
    made = ServerCertificate.from_secret(b"a secret", "node-1", ["localhost"])
    async with serving(ServerOptions(tls=made.context())) as port:
        answer = await exchange(port, "GET", "/health")
        assert (answer.status, answer.json["error"]) == (400, "https_wanted")
        async with await connect(port) as stream:
            await stream.send_all(b"neither the one nor the other\r\n\r\n")
            assert await is_closed(stream)


async def test_handshake_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_HANDSHAKE_SECONDS", 0.05)
    made = ServerCertificate.from_secret(b"a secret", "node-1", ["localhost"])
    async with serving(ServerOptions(tls=made.context())) as port, await connect(port) as stream:
        assert await is_closed(stream)


async def test_certificate_of_the_operator_is_served(tmp_path: Path) -> None:
    made = ServerCertificate.from_secret(b"another", "theirs", ["localhost"])
    chain = tmp_path / "chain.pem"
    chain.write_bytes(made.chain_pem)
    async with serving(ServerOptions(tls=context_from_files(chain, chain))) as port:
        answer = await ask(
            f"https://localhost:{port}", "/health", access=Access(ca_file=made.write_authority(tmp_path))
        )
        assert answer.status == 200
        assert json.dumps(answer.body)
