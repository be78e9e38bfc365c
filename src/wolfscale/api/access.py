"""Who may do what: the decision on one request, from what its socket and its headers say. Pure.

From loopback everything is allowed without a token: whoever has a shell on the machine is its business.
Unless it is told so, or a proxy passes the request on for somebody else, or a browser does for another
site. From anywhere else a token is needed; a token that is sent counts, wherever it comes from.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from wolfscale.api.origins import (
    Headers,
    foreign_origin,
    is_foreign_fetch,
    is_forwarded,
    is_known_host,
    is_loopback,
)
from wolfscale.api.scopes import Scope, is_safe, needed_scope

CHALLENGE: Final = 'Bearer realm="WolfScale"'
_ALLOWED_METHODS: Final = "GET, POST"
_ALLOWED_HEADERS: Final = "Authorization, Content-Type, Idempotency-Key"
_PREFLIGHT_SECONDS: Final = 600


class TokenBook(Protocol):
    """Knows tokens."""

    def scope_of(self, token: str) -> Scope | None:
        """What a token allows; None when it is unknown. In a time that tells nothing about known ones."""


class NoTokens:
    """Knows none."""

    def scope_of(self, _token: str) -> Scope | None:
        """Never anything."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPolicy:
    """What the operator has decided. The default lets nobody in who is not on this machine.

    Attributes:
        tokens: who is known.
        token_on_loopback: whether a request from loopback needs a token too.
        allowed_origins: web pages of other origins that may ask, as in `https://intranet.example`.
        own_names: names of this machine that a request from loopback may call it by.
    """

    tokens: TokenBook = field(default_factory=NoTokens)
    token_on_loopback: bool = False
    allowed_origins: Sequence[str] = ()
    own_names: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request as far as the decision reads it.

    Attributes:
        peer: address at the other end of the socket; None when unknown.
    """

    method: str
    path: str
    scheme: str
    peer: str | None
    headers: Headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """The request goes on.

    Attributes:
        scope: what the caller may do, here and elsewhere.
        headers: of the answer, for the browser of a page that is allowed.
    """

    scope: Scope
    headers: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The request ends here.

    Attributes:
        status: of the answer.
        error: a word for programs.
        message: what was missing, and what to do.
        field: the part of the request that is wrong; None when it is none.
        headers: of the answer.
    """

    status: int
    error: str
    message: str
    field: str | None = None
    headers: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """A browser has asked whether a page of an allowed origin may ask: yes."""

    headers: Sequence[tuple[str, str]]


def decide(asked: Asked, policy: AccessPolicy) -> Granted | Refused | Preflight:
    """Say whether a request goes on, and with which rights."""
    headers = asked.headers
    foreign = foreign_origin(headers, asked.scheme, policy.allowed_origins)
    if foreign is not None:
        return Refused(
            status=403,
            error="foreign_origin",
            message=f"a page of {foreign[:200]} may not ask this node: add its origin to allowed_origins in "
            "[api] if it shall",
        )
    if is_foreign_fetch(headers, safe=is_safe(asked.method)):
        return Refused(
            status=403,
            error="foreign_origin",
            message="a page of another site may not ask this node: add its origin to allowed_origins in "
            "[api], and have it ask with CORS, if it shall",
        )
    sharing = _sharing_headers(headers, policy)
    if sharing and asked.method == "OPTIONS" and "access-control-request-method" in headers:
        return Preflight(headers=(*sharing, *_PREFLIGHT_HEADERS))
    return _decide_on_caller(asked, policy, sharing)


_PREFLIGHT_HEADERS: Final = (
    ("access-control-allow-methods", _ALLOWED_METHODS),
    ("access-control-allow-headers", _ALLOWED_HEADERS),
    ("access-control-max-age", str(_PREFLIGHT_SECONDS)),
)


def _sharing_headers(headers: Headers, policy: AccessPolicy) -> tuple[tuple[str, str], ...]:
    """What tells a browser that the page may read the answer; the origin was found to be welcome."""
    if not policy.allowed_origins or "origin" not in headers:
        return ()
    return (("access-control-allow-origin", headers["origin"][0]), ("vary", "Origin"))


def _decide_on_caller(
    asked: Asked, policy: AccessPolicy, sharing: tuple[tuple[str, str], ...]
) -> Granted | Refused:
    needed = needed_scope(asked.method, asked.path)
    by = _scope_by_token if "authorization" in asked.headers else _scope_by_place
    has, refusal = by(asked, policy)
    if has >= needed:
        # Strangers may see some things; a token that is no good makes nobody less than a stranger.
        return Granted(scope=has, headers=sharing)
    if refusal is None:
        refusal = Refused(
            status=403,
            error="scope_too_small",
            message=f"this token allows {has.word}, and {asked.method} {asked.path[:200]} needs "
            f"{needed.word}: use the {needed.word} token",
            headers=(("www-authenticate", f'{CHALLENGE}, error="insufficient_scope"'),),
        )
    return replace(refusal, headers=(*refusal.headers, *sharing))


def _scope_by_token(asked: Asked, policy: AccessPolicy) -> tuple[Scope, Refused | None]:
    """What the token allows, and what is said when it is none."""
    given = asked.headers["authorization"]
    kind, _, token = given[0].partition(" ")
    if len(given) > 1 or kind.lower() != "bearer":
        refusal = _unauthorized(
            "the Authorization header must be 'Bearer TOKEN'", ', error="invalid_request"'
        )
        return Scope.NOTHING, refusal
    scope = policy.tokens.scope_of(token.strip())
    if scope is None:
        return Scope.NOTHING, _unauthorized("this node does not know the token", ', error="invalid_token"')
    return scope, None


def _scope_by_place(asked: Asked, policy: AccessPolicy) -> tuple[Scope, Refused | None]:
    """What may be done without a token, and what is said to whoever wants more."""
    if not is_loopback(asked.peer):
        return Scope.NOTHING, _unauthorized("a request from another machine needs a token")
    if policy.token_on_loopback:
        return Scope.NOTHING, _unauthorized("this node wants a token from its own machine too")
    if is_forwarded(asked.headers):
        return Scope.NOTHING, _unauthorized("a request that a proxy passes on needs a token")
    [host, *_] = asked.headers.get("host", ("",))
    if not is_known_host(host, policy.own_names):
        refusal = Refused(
            status=403,
            error="unknown_host",
            message=f"without a token this node answers to localhost, to its addresses and to its own name, "
            f"not to {host[:200]!r}: use one of them, or send a token",
        )
        return Scope.NOTHING, refusal
    return Scope.ADMIN, None


def _unauthorized(what: str, challenge: str = "") -> Refused:
    return Refused(
        status=401,
        error="unauthorized",
        message=f"{what}: send 'Authorization: Bearer TOKEN' with one of the tokens in the file api-tokens "
        "in the data directory of any node, or in the file that tokens_file in [api] names",
        headers=(("www-authenticate", CHALLENGE + challenge),),
    )
