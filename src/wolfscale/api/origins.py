"""Where a request comes from: its socket, a proxy's headers, a browser's. Pure.

Three things can make a request from elsewhere look like one of this machine:

* a reverse proxy here, whose connections all come from loopback. It says so in a header, which takes the
  privilege of loopback away; it never gives one.
* a page of another site in a browser here. The browser names the page's origin or says that it is another.
* such a page whose name was made to point to 127.0.0.1 after it was loaded (DNS rebinding): the browser
  takes both for one origin, but sends that name as Host. An attacker's name is never a literal address.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

Headers = Mapping[str, Sequence[str]]
"""A request's headers by lower-case name, each with all values."""

FORWARDING_HEADERS: Final = frozenset(
    {
        "forwarded",
        "via",
        "x-forwarded",
        "x-forwarded-by",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-forwarded-server",
        "x-real-ip",
        "x-client-ip",
        "true-client-ip",
        "cf-connecting-ip",
    }
)
"""What proxies add, standardized (RFC 7239) or not; any of them means that somebody else asks."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?")
_ORIGIN = re.compile(r"(https?)://(.+)", re.IGNORECASE)


def is_loopback(peer: str | None) -> bool:
    """Whether a socket's peer address is this machine's own loopback."""
    if peer is None:
        return False
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def is_forwarded(headers: Headers) -> bool:
    """Whether a proxy has passed this request on for somebody else."""
    return not FORWARDING_HEADERS.isdisjoint(headers)


def parse_host(text: str, scheme: str = "http") -> tuple[str, int] | None:
    """A Host header as name (lower case, without brackets) and port; None when it is none."""
    match = _HOST.fullmatch(text)
    if match is None:
        return None
    port = int(match[2]) if match[2] else _DEFAULT_PORTS[scheme]
    return match[1].strip("[]").rstrip(".").lower(), port


def parse_origin(text: str) -> tuple[str, str, int] | None:
    """An origin as scheme, host and port; None for `null` and whatever else is no web page's."""
    match = _ORIGIN.fullmatch(text)
    if match is None:
        return None
    scheme = match[1].lower()
    host = parse_host(match[2], scheme)
    return None if host is None else (scheme, *host)


def is_known_host(text: str, names: Iterable[str]) -> bool:
    """Whether a Host header is one that no attacker can have: an address, localhost, or this node's name."""
    host = parse_host(text)
    if host is None:
        return False
    name = host[0]
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761: never looked up in the DNS
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in {known.lower() for known in names}
    return True


def foreign_origin(headers: Headers, scheme: str, allowed: Iterable[str]) -> str | None:
    """The origin of the page that made this request, when it is neither the node's own nor allowed."""
    [host, *_] = headers.get("host", ("",))
    own = parse_host(host, scheme)
    welcome = {parse_origin(origin) for origin in allowed}
    if own is not None:
        welcome.add((scheme, *own))
    for origin in headers.get("origin", ()):
        parsed = parse_origin(origin)
        if parsed is None or parsed not in welcome:
            return origin
    return None


def is_foreign_fetch(headers: Headers, *, safe: bool) -> bool:
    """Whether a browser says that another site's page, and not its reader, makes this request.

    A link that its reader follows is no such request, as long as it can change nothing (`safe`). Where
    there is an Origin, that decides.
    """
    if "origin" in headers:
        return False
    site = headers.get("sec-fetch-site", ("none",))[0].lower()
    if site in {"none", "same-origin"}:
        return False
    return not (safe and headers.get("sec-fetch-mode", ("",))[0].lower() == "navigate")
