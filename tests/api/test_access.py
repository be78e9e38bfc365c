"""Who may do what: the table of routes, and the decision on one request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.api.access import AccessPolicy, Asked, Granted, Preflight, Refused, decide
from wolfscale.api.origins import FORWARDING_HEADERS
from wolfscale.api.scopes import RULES, Scope, needed_scope, rule_of
from wolfscale.api.tokens import Token, TokenList

REMOTE = "192.168.1.20"
TOKENS = TokenList(
    [
        Token(scope=Scope.READ, value="read-token-0123456789"),
        Token(scope=Scope.WRITE, value="write-token-0123456789"),
        Token(scope=Scope.ADMIN, value="admin-token-0123456789"),
    ]
)
POLICY = AccessPolicy(tokens=TOKENS, own_names=("node-1", "db1.example"))
STRICT = AccessPolicy(tokens=TOKENS, token_on_loopback=True)
SHARING = AccessPolicy(tokens=TOKENS, allowed_origins=("https://intranet.example",))


def asked(
    method: str = "GET", path: str = "/status", *, peer: str | None = "127.0.0.1", **headers: str
) -> Asked:
    named = {"host": "localhost:8080"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return Asked(
        method=method,
        path=path,
        scheme="http",
        peer=peer,
        headers={name: [value] for name, value in named.items()},
    )


def bearer(word: str) -> str:
    return f"Bearer {word}-token-0123456789"


def refused(request: Asked, policy: AccessPolicy = POLICY) -> Refused:
    decision = decide(request, policy)
    assert isinstance(decision, Refused), decision
    return decision


def granted(request: Asked, policy: AccessPolicy = POLICY) -> Granted:
    decision = decide(request, policy)
    assert isinstance(decision, Granted), decision
    return decision


# Where from


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", "::1%lo"])
def test_request_from_loopback_needs_no_token(peer: str) -> None:
    assert granted(asked("POST", "/write/ddl", peer=peer)).scope is Scope.ADMIN


@pytest.mark.parametrize(
    "peer",
    [REMOTE, "128.0.0.1", "2001:db8::1", "::ffff:192.168.1.1", "0.0.0.0", "::", "fe80::1%eth0", "", None],
)
@pytest.mark.parametrize(("method", "path"), [("GET", "/status"), ("POST", "/write/insert"), ("GET", "/x")])
def test_request_from_elsewhere_needs_a_token(peer: str | None, method: str, path: str) -> None:
    answer = refused(asked(method, path, peer=peer))
    assert (answer.status, answer.error) == (401, "unauthorized")
    assert "api-tokens" in answer.message
    assert ("www-authenticate", 'Bearer realm="WolfScale"') in answer.headers


def test_loopback_needs_a_token_when_told_so() -> None:
    assert refused(asked(), STRICT).status == 401
    assert granted(asked(authorization=bearer("read")), STRICT).scope is Scope.READ


@pytest.mark.parametrize(
    "header", ["x_forwarded_for", "forwarded", "x_real_ip", "via", "x_forwarded_host", "x_forwarded_proto"]
)
def test_request_that_a_proxy_passes_on_needs_a_token(header: str) -> None:
    assert refused(asked(**{header: "127.0.0.1"})).status == 401
    assert granted(asked(**{header: "127.0.0.1", "authorization": bearer("read")})).scope is Scope.READ


def test_forwarding_header_from_elsewhere_is_never_believed() -> None:
    assert refused(asked(peer=REMOTE, x_forwarded_for="127.0.0.1", forwarded="for=127.0.0.1")).status == 401


# Tokens


@pytest.mark.parametrize("peer", ["127.0.0.1", REMOTE])
def test_token_counts_wherever_it_comes_from(peer: str) -> None:
    answer = refused(asked("POST", "/write/insert", peer=peer, authorization=bearer("read")))
    assert (answer.status, answer.error) == (403, "scope_too_small")
    assert "needs write" in answer.message
    assert granted(asked("POST", "/write/insert", peer=peer, authorization=bearer("write")))


@pytest.mark.parametrize(
    "value",
    ["Bearer", "Bearer ", "Bearer wrong-token-0123456789", "Basic cm9vdDpyb290", "read-token-0123456789", ""],
)
def test_unusable_token_is_refused_from_loopback_too(value: str) -> None:
    for peer in ("127.0.0.1", REMOTE):
        answer = refused(asked(peer=peer, authorization=value))
        assert answer.status == 401
        assert any(name == "www-authenticate" for name, _ in answer.headers)


def test_two_tokens_are_none() -> None:
    request = asked(peer=REMOTE)
    headers = {**request.headers, "authorization": [bearer("read"), bearer("admin")]}
    both = Asked(method="GET", path="/status", scheme="http", peer=REMOTE, headers=headers)
    assert refused(both).status == 401


def test_scheme_of_the_header_is_read_in_any_case() -> None:
    token = bearer("admin").removeprefix("Bearer ")
    assert granted(asked(peer=REMOTE, authorization=f"bEARER {token}")).scope is Scope.ADMIN


def test_stranger_sees_health_and_pages_and_nothing_else() -> None:
    open_paths = {rule.path for rule in RULES if rule.scope is Scope.NOTHING}
    assert open_paths == {"/", "/health", "/docs", "/docs/*", "/dashboard/assets/*", "/favicon.ico"}
    for path in ("/", "/health", "/docs"):
        assert granted(asked(path=path, peer=REMOTE)).scope is Scope.NOTHING
        assert granted(asked("HEAD", path, peer=REMOTE)).scope is Scope.NOTHING


def test_bad_token_makes_nobody_less_than_a_stranger() -> None:
    assert granted(asked(path="/health", peer=REMOTE, authorization="Bearer nobody")).scope is Scope.NOTHING


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/health", Scope.NOTHING),
        ("HEAD", "/health", Scope.NOTHING),
        ("POST", "/health", Scope.ADMIN),
        ("GET", "/health/", Scope.READ),
        ("GET", "/status", Scope.READ),
        ("POST", "/query", Scope.READ),
        ("POST", "/write/insert", Scope.WRITE),
        ("POST", "/write/batch", Scope.WRITE),
        ("POST", "/write/ddl", Scope.ADMIN),
        ("GET", "/docs/../status", Scope.READ),
        ("GET", "/docs/a/b", Scope.READ),
        ("GET", "/dashboard/data", Scope.READ),
        ("GET", "/nothing", Scope.READ),
        ("PUT", "/nothing", Scope.ADMIN),
        ("DELETE", "/", Scope.ADMIN),
    ],
)
def test_needed_scope_of_each_kind_of_request(method: str, path: str, scope: Scope) -> None:
    assert needed_scope(method, path) is scope


def test_no_two_rules_speak_of_one_request() -> None:
    for rule in RULES:
        example = rule.path.replace("*", "x")
        assert [other for other in RULES if other.covers(rule.method, example)] == [rule]
        assert rule_of(rule.method, example) is rule


# Browsers


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://localhost:8081",
        "https://localhost:8080",
        "http://localhost",
        "null",
        "",
        "http://localhost:8080.evil.example",
        "http://localhost:8080@evil.example",
    ],
)
@pytest.mark.parametrize("peer", ["127.0.0.1", REMOTE])
def test_page_of_another_origin_is_refused(origin: str, peer: str) -> None:
    for method, path in (
        ("GET", "/status"),
        ("POST", "/write/insert"),
        ("GET", "/health"),
        ("OPTIONS", "/query"),
    ):
        answer = refused(asked(method, path, peer=peer, origin=origin, authorization=bearer("admin")))
        assert (answer.status, answer.error) == (403, "foreign_origin")


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8080", "http://localhost:8080"),
        ("LOCALHOST:8080", "http://localhost:8080"),
        ("localhost", "http://localhost"),
        ("localhost:80", "http://localhost"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_page_of_the_node_itself_may_ask(host: str, origin: str) -> None:
    assert granted(asked("POST", "/query", host=host, origin=origin)).headers == ()


def test_own_origin_of_an_https_node_is_https() -> None:
    for origin, allowed in (("https://db1", True), ("https://db1:443", True), ("http://db1", False)):
        headers = {"host": ["db1"], "origin": [origin], "authorization": [bearer("admin")]}
        request = Asked(method="POST", path="/query", scheme="https", peer=REMOTE, headers=headers)
        assert isinstance(decide(request, POLICY), Granted) == allowed


def test_page_of_an_allowed_origin_may_ask_and_read() -> None:
    origin = "https://intranet.example"
    headers = dict(granted(asked(origin=origin), SHARING).headers)
    assert headers["access-control-allow-origin"] == origin
    assert headers["vary"] == "Origin"
    request = asked("OPTIONS", "/query", peer=REMOTE, origin=origin, access_control_request_method="POST")
    answer = decide(request, SHARING)
    assert isinstance(answer, Preflight)
    assert "Authorization" in dict(answer.headers)["access-control-allow-headers"]
    assert refused(asked(peer=REMOTE, origin=origin), SHARING).status == 401
    assert dict(refused(asked(peer=REMOTE, origin=origin), SHARING).headers)["access-control-allow-origin"]
    assert refused(asked(origin="http://intranet.example"), SHARING).status == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_fetch_of_another_site_is_refused_and_a_followed_link_is_not(site: str) -> None:
    assert refused(asked(sec_fetch_site=site, sec_fetch_mode="no-cors")).error == "foreign_origin"
    assert refused(asked("POST", "/query", sec_fetch_site=site, sec_fetch_mode="navigate")).status == 403
    assert granted(asked(sec_fetch_site=site, sec_fetch_mode="navigate"))
    assert granted(asked(sec_fetch_site="same-origin", sec_fetch_mode="cors"))
    assert granted(asked(sec_fetch_site="none", sec_fetch_mode="navigate"))


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "", "a b"],
)
def test_name_that_was_made_to_point_here_is_refused(host: str) -> None:
    answer = refused(asked(host=host))
    assert (answer.status, answer.error) == (403, "unknown_host")
    assert granted(asked(host=host, authorization=bearer("read")))
    assert granted(asked(path="/health", host=host)).scope is Scope.NOTHING


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:1",
        "app.localhost",
        "127.0.0.1",
        "10.1.2.3:8080",
        "[::1]:8080",
        "[2001:db8::1]",
        "node-1:8080",
        "DB1.example.",
    ],
)
def test_address_and_own_name_are_answered_to(host: str) -> None:
    assert granted(asked(host=host)).scope is Scope.ADMIN


# Whatever is sent

NAMES = [
    "host",
    "origin",
    "authorization",
    "sec-fetch-site",
    "sec-fetch-mode",
    "cookie",
    *sorted(FORWARDING_HEADERS),
]
VALUES = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["127.0.0.1", "::1", "localhost", "for=127.0.0.1", "same-origin", "Bearer ", "null", "*"]
    ),
)
HEADERS = st.dictionaries(st.sampled_from(NAMES), st.lists(VALUES, min_size=1, max_size=3))
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
PATHS = st.one_of(st.sampled_from([rule.path.replace("*", "x") for rule in RULES]), st.text(max_size=20))
POLICIES = st.sampled_from([POLICY, STRICT, SHARING])


@given(METHODS, PATHS, HEADERS, POLICIES)
def test_no_header_lets_a_stranger_in(
    method: str, path: str, headers: dict[str, list[str]], policy: AccessPolicy
) -> None:
    decision = decide(Asked(method=method, path=path, scheme="http", peer=REMOTE, headers=headers), policy)
    if isinstance(decision, Granted):
        assert decision.scope is Scope.NOTHING
        assert needed_scope(method, path) is Scope.NOTHING


@given(METHODS, PATHS, HEADERS, HEADERS, POLICIES)
def test_no_further_header_gives_a_local_request_more(
    method: str,
    path: str,
    headers: dict[str, list[str]],
    further: dict[str, list[str]],
    policy: AccessPolicy,
) -> None:
    def scope(sent: dict[str, list[str]]) -> Scope | None:
        decision = decide(
            Asked(method=method, path=path, scheme="http", peer="127.0.0.1", headers=sent), policy
        )
        return decision.scope if isinstance(decision, Granted) else None

    more = scope({**further, "host": ["localhost"], **headers})
    plain = scope({"host": ["localhost"]})
    if more is not None:
        assert plain is None or more <= plain or "authorization" in {*headers, *further}
        assert more is Scope.NOTHING or policy is not STRICT
