"""The HTTP side of real nodes that listen on every address: tokens, https, and whatever schemathesis sends.

schemathesis makes requests from the OpenAPI document, right ones and wrong ones, and compares the answers
with what the document promises. `make fuzz-api` runs it for longer, with a random seed.
"""

import http.client
import json
import os
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pymysql
import pytest
import trio
from cluster_comparing import assert_identical
from cluster_under_test import PATIENCE, POLL_SECONDS, ClusterUnderTest

from wolfscale.api.scopes import Scope
from wolfscale.api.tokens import FILE_NAME, read_tokens
from wolfscale.certificates import AUTHORITY_FILE
from wolfscale.config import advertised_address, parse_address
from wolfscale.demo.plan import LOOPBACK
from wolfscale.demo.processes import resident_bytes

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
SEED = int(os.environ.get("WOLFSCALE_API_FUZZ_SEED", "1"))
FUZZ_SECONDS = int(os.environ.get("WOLFSCALE_API_FUZZ_SECONDS", "20"))
MOST_MEMORY = 160 << 20
"""A node has under 120 MiB at first, and thousands of requests must leave nothing behind."""
EXAMPLES = 1_000_000
"""More than fit into the time."""

# Not of this machine's loopback, though it is this machine's: what a node takes for another one.
OUTSIDE = parse_address(advertised_address("0.0.0.0:1", None, ())).host


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any


class OpenCluster(ClusterUnderTest):
    """Three nodes whose HTTP side listens on every address, the third one's with TLS."""

    def __init__(self) -> None:
        super().__init__()
        nodes = [
            replace(node, settings={"api": {"bind_address": f"0.0.0.0:{node.http_port}"}})
            for node in self.plan.nodes
        ]
        self._plan = replace(self.plan, nodes=tuple(nodes))

    def tokens(self, number: int) -> dict[Scope, str]:
        found = read_tokens(self.node(number).data_dir / FILE_NAME)
        return {token.scope: token.value for token in found}


@contextmanager
def explained(cluster: OpenCluster) -> Iterator[None]:
    """Prints the ends of the nodes' logs when the block fails."""
    try:
        yield
    except BaseException:
        for number in cluster.numbers:
            print(f"--- node-{number}\n{cluster.log_tail(number, 60)}")
        raise


@pytest.fixture(scope="module")
def opened() -> Iterator[OpenCluster]:
    cluster = OpenCluster()
    try:
        trio.run(cluster.start)
        yield cluster
    finally:
        trio.run(cluster.stop)
        cluster.remove_files()


async def ask(
    cluster: OpenCluster,
    number: int,
    method: str,
    path: str,
    body: object = None,
    *,
    host: str = OUTSIDE,
    token: str | None = None,
    tls: ssl.SSLContext | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """One request to a node."""
    port = cluster.node(number).http_port

    def exchange() -> Answer:
        connection = (
            http.client.HTTPSConnection(host, port, context=tls, timeout=60)
            if tls
            else http.client.HTTPConnection(host, port, timeout=60)
        )
        sent = {"Content-Type": "application/json"} | (headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        try:
            connection.request(method, path, None if body is None else json.dumps(body), sent)
            response = connection.getresponse()
            return Answer(response.status, json.loads(response.read()))
        finally:
            connection.close()

    return await trio.to_thread.run_sync(exchange)


needs_an_outside = pytest.mark.skipif(OUTSIDE.startswith("127."), reason="this machine has loopback only")


@needs_an_outside
async def test_request_from_outside_needs_a_token_that_every_node_knows(opened: OpenCluster) -> None:
    tokens = opened.tokens(1)
    for number in opened.numbers:
        assert opened.tokens(number) == tokens
        assert ((opened.node(number).data_dir / FILE_NAME).stat().st_mode & 0o777) == 0o600
        for path in (
            "/status",
            "/cluster",
            "/cluster/nodes",
            "/metrics",
            "/ids",
            "/openapi.json",
            "/dashboard/data",
        ):
            refused = await ask(opened, number, "GET", path)
            assert (refused.status, refused.body["error"]) == (401, "unauthorized"), path
        for path in ("/query", "/write/insert", "/write/ddl"):
            assert (await ask(opened, number, "POST", path, {})).status == 401, path
        health = await ask(opened, number, "GET", "/health")
        assert (health.status, health.body) == (200, {"healthy": True, "reason": ""})
        for token in tokens.values():
            assert (await ask(opened, number, "GET", "/status", token=token)).status == 200


@needs_an_outside
async def test_token_allows_what_it_is_for_and_no_more(opened: OpenCluster) -> None:
    tokens = opened.tokens(1)
    insert = {"table": "users", "values": {"name": "Alice", "email": "alice@example.com"}}
    query = {"sql": "SELECT COUNT(*) AS n FROM users"}
    ddl = {"ddl": "CREATE TABLE IF NOT EXISTS made_by_admin (id INT PRIMARY KEY)"}
    allowed = {
        scope: [
            (await ask(opened, 2, "POST", path, body, token=token)).status
            for path, body in (("/query", query), ("/write/insert", insert), ("/write/ddl", ddl))
        ]
        for scope, token in tokens.items()
    }
    assert allowed == {
        Scope.READ: [200, 403, 403],
        Scope.WRITE: [200, 200, 403],
        Scope.ADMIN: [200, 200, 200],
    }


async def test_request_from_loopback_needs_none_unless_a_proxy_or_another_site_asks(
    opened: OpenCluster,
) -> None:
    assert (await ask(opened, 1, "GET", "/status", host=LOOPBACK)).status == 200
    for header, status in (
        ({"X-Forwarded-For": "192.0.2.1"}, 401),
        ({"Origin": "https://evil.example"}, 403),
        ({"Host": "evil.example"}, 403),
    ):
        answer = await ask(opened, 1, "GET", "/status", host=LOOPBACK, headers=header)
        assert answer.status == status, header


async def test_tokens_are_in_no_log_but_their_place_is(opened: OpenCluster) -> None:
    for number in opened.numbers:
        text = opened.node(number).log_path.read_text(encoding="utf-8")
        assert str(opened.node(number).data_dir / FILE_NAME) in text
        assert not [value for value in opened.tokens(number).values() if value in text]


async def test_node_with_tls_is_known_by_the_clusters_authority(opened: OpenCluster) -> None:
    number = 3
    node = opened.node(number)
    encrypted = replace(node, settings={"api": {**node.settings["api"], "tls": True}})
    opened.plan.write_node(encrypted)
    assert await opened.terminate(number) == 0
    opened.launch(number)
    try:
        authority = node.data_dir / AUTHORITY_FILE
        with trio.fail_after(60):
            while not authority.exists():
                await trio.sleep(0.02)
            context = ssl.create_default_context(cafile=authority)
            answer = await until_answered(opened, number, context)
        assert (answer.status, answer.body["name"]) == (200, node.name)
        with pytest.raises(ssl.SSLCertVerificationError):
            await ask(opened, number, "GET", "/status", host=LOOPBACK, tls=ssl.create_default_context())
    finally:
        opened.plan.write_node(node)
        assert await opened.terminate(number) == 0
        opened.launch(number)
        await opened.wait_serving()


async def until_answered(opened: OpenCluster, number: int, context: ssl.SSLContext) -> Answer:
    while True:
        try:
            return await ask(opened, number, "GET", "/status", host=LOOPBACK, tls=context)
        except ConnectionError:
            await trio.sleep(0.05)


async def compare(opened: OpenCluster) -> None:
    """All servers hold the same; on a busy machine an election may end a server while it is asked."""
    with trio.fail_after(PATIENCE):
        while True:
            try:
                await opened.wait_level()
                return await assert_identical(opened)
            except* pymysql.err.OperationalError:
                await trio.sleep(POLL_SECONDS)


def fuzz(url: str, seconds: int, *headers: str) -> subprocess.CompletedProcess[str]:
    """Run schemathesis against a node for a while; its findings are its output."""
    with tempfile.TemporaryDirectory() as directory:
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(ROOT / "schemathesis.toml")),
            *("run", f"{url}/openapi.json", "--no-color", "--checks", "all", "--warnings", "off"),
            *("--seed", str(SEED), "--max-time", str(seconds), "--max-examples", str(EXAMPLES)),
            *("--generation-database", "none"),
            *(part for header in headers for part in ("--header", header)),
        ]
        return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("place", ["follower, no token", "leader, with a token"])
async def test_schemathesis_finds_nothing(opened: OpenCluster, place: str) -> None:
    with explained(opened):
        await find_nothing(opened, place)


async def find_nothing(opened: OpenCluster, place: str) -> None:
    leader = await opened.wait_writable()
    processes = {number: opened.process_ids(number)[0] for number in opened.numbers}
    if place.startswith("leader"):
        url, seconds = opened.node(leader).endpoint, FUZZ_SECONDS // 3
        # As a proxy would pass it on: without the token nothing may be allowed.
        headers = [
            f"Authorization: Bearer {opened.tokens(leader)[Scope.ADMIN]}",
            "X-Forwarded-For: 192.0.2.1",
        ]
    else:
        url, seconds, headers = opened.node(opened.followers(leader)[0]).endpoint, FUZZ_SECONDS, []
    found = await trio.to_thread.run_sync(lambda: fuzz(url, seconds, *headers))
    assert found.returncode == 0, f"seed {SEED}\n{found.stdout}\n{found.stderr}"
    assert "generated" in found.stdout
    assert {number: opened.process_ids(number)[0] for number in opened.numbers} == processes
    assert {
        number: size for number, pid in processes.items() if (size := resident_bytes(pid)) > MOST_MEMORY
    } == {}
    for number in opened.numbers:
        log = opened.node(number).log_path.read_text(encoding="utf-8")
        assert "a request failed" not in log
        assert "an HTTP connection failed" not in log
        assert "Traceback" not in log
    await compare(opened)
