"""Addresses as they are written in the configuration: `host:port`, `[v6]:port`, `:port`."""

import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from wolfscale.config.errors import ConfigError

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")
_WILDCARDS = frozenset({"0.0.0.0", "::"})
# From the block kept for documentation (RFC 5737): never sent to, it only asks the routing table.
_ANYWHERE = "192.0.2.1"
_ANYWHERE_V6 = "2001:db8::1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A host (name or literal address, without brackets) and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_wildcard(self) -> bool:
        """Whether this stands for every address of the machine, so that nobody can connect to it."""
        return self.host in _WILDCARDS

    def overlaps(self, other: "Address") -> bool:
        """Whether two listeners on these addresses would collide."""
        return self.port == other.port and (self.host == other.host or self.is_wildcard or other.is_wildcard)


def parse_address(text: str) -> Address:
    """Split `host:port`; a missing host means every address of the machine.

    Raises:
        ValueError: the text is no address; its message says what it should look like.
    """
    host, separator, port_text = text.rpartition(":")
    if not separator or (":" in host and not host.startswith("[")) or port_text.endswith("]"):
        raise ValueError(f"has no port: write {_with_example_port(text)!r}")
    if not port_text.isascii() or not port_text.isdigit() or not 1 <= int(port_text) <= 65535:
        raise ValueError(f"has an unusable port {port_text!r}: ports are 1 to 65535")
    if host.startswith("["):
        try:
            ipaddress.IPv6Address(host[1:-1] if host.endswith("]") else "")
        except ValueError:
            raise ValueError(f"has an unusable IPv6 address {host!r}") from None
        host = host[1:-1]
    elif host and not _HOST_NAME.fullmatch(host):
        raise ValueError(f"has an unusable host name {host!r}: write a name or an address, as in 'db1:7400'")
    elif re.fullmatch(r"[0-9.]+", host):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise ValueError(f"has an unusable IPv4 address {host!r}") from None
    return Address(host=host or "0.0.0.0", port=int(port_text))


def _with_example_port(text: str) -> str:
    host = text.strip(":[]")
    return f"[{host}]:7400" if ":" in host else f"{host or 'host'}:7400"


def is_this_machine(host: str) -> bool:
    """Whether a literal address or name surely belongs to this machine; names are not looked up.

    A datagram socket "connected" to a local address gets that very address as its own; nothing is sent.
    (Trying to bind would be misled by `net.ipv4.ip_nonlocal_bind`, set on machines with floating addresses.)
    """
    if host in {"localhost", socket.gethostname()}:
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return _own_address_towards(host) == host


def _own_address_towards(host: str) -> str | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])


def reachable_address(bind_address: str, advertised_address: str) -> str:
    """A listener's `host:port` for those who reach this machine by its advertised address.

    Empty where the listener takes this machine's own clients only: on another machine the same address
    would mean that one.
    """
    bound, advertised = parse_address(bind_address), parse_address(advertised_address)
    if bound.is_wildcard:
        return str(Address(host=advertised.host, port=bound.port))
    if _is_loopback(bound.host) and not _is_loopback(advertised.host):
        return ""
    return str(bound)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def outward_addresses(bind_address: str) -> tuple[str, ...]:
    """The addresses by which other machines probably reach a listener, as far as the routing table tells.

    The one that it is bound to, or for every address the ones that this machine uses towards others.
    """
    bound = parse_address(bind_address)
    if not bound.is_wildcard:
        return (bound.host,)
    # A listener on [::] takes both families.
    targets = (_ANYWHERE, _ANYWHERE_V6) if bound.host == "::" else (_ANYWHERE,)
    return tuple(address for target in targets if (address := _own_address_towards(target)) is not None)


def advertised_address(bind_address: str, advertise_address: str | None, peers: Sequence[str]) -> str:
    """The address under which the other nodes reach this one.

    What is configured, else the address it binds to, else (bound to every address) the one this machine
    uses towards its first peer.

    Raises:
        ConfigError: bound to every address, and there is no route to tell which one the peers can use.
    """
    if advertise_address is not None:
        return advertise_address
    bound = parse_address(bind_address)
    if not bound.is_wildcard:
        return bind_address
    for target in [*(parse_address(peer).host for peer in peers), _ANYWHERE]:
        try:
            literal = str(socket.getaddrinfo(target, None, type=socket.SOCK_DGRAM)[0][4][0])
        except OSError:
            continue
        own = _own_address_towards(literal)
        if own is not None:
            return str(Address(host=own, port=bound.port))
    raise ConfigError(
        "node.advertise_address",
        None,
        f"this node listens on every address ({bind_address}) and has no route to tell which one its peers "
        f'can use: set advertise_address = "ADDRESS:{bound.port}" in [node]',
    )
