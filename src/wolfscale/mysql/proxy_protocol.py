"""PROXY protocol headers: how a relayed connection tells the server where it really comes from.

Sent before anything else, to a server whose `proxy_protocol_networks` has our address (MariaDB honours both
versions on loopback TCP and, with "localhost" in the list, on its unix socket). Source: HAProxy's
doc/proxy-protocol.txt, MariaDB sql/proxy_protocol.cc.
"""

import ipaddress
import struct

from wolfscale.mysql.errors import LocalProtocolError

SIGNATURE_V2 = b"\r\n\r\n\0\r\nQUIT\n"


def build_v1(source: tuple[str, int], destination: tuple[str, int] | None = None) -> bytes:
    """The text form, e.g. b"PROXY TCP4 10.0.0.5 10.0.0.1 40000 3306\\r\\n".

    Args:
        source: the client's address and port.
        destination: where the client connected to; MariaDB reads it and does nothing with it.

    Raises:
        LocalProtocolError: an address is no IP address, or the port no port.
    """
    client, server, family = _addresses(source, destination)
    server_port = destination[1] if destination else 0
    return f"PROXY TCP{family} {client} {server} {source[1]} {server_port}\r\n".encode()


def build_v2(source: tuple[str, int], destination: tuple[str, int] | None = None) -> bytes:
    """The binary form; arguments and errors as for `build_v1`."""
    client, server, family = _addresses(source, destination)
    ports = struct.pack(">HH", source[1], destination[1] if destination else 0)
    body = client.packed + server.packed + ports
    transport = 0x11 if family == 4 else 0x21
    return SIGNATURE_V2 + struct.pack(">BBH", 0x21, transport, len(body)) + body


def build_local() -> bytes:
    """The header that says "for myself": the server takes the connection's own address."""
    return b"PROXY UNKNOWN\r\n"


def client_address(header: bytes) -> str:
    """The client's address and port in a header of the text form, as the process list shows it."""
    words = header.split()
    if len(words) != 6:
        return "localhost"
    return f"{words[2].decode('ascii')}:{words[4].decode('ascii')}"


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _addresses(
    source: tuple[str, int], destination: tuple[str, int] | None
) -> tuple[_Address, _Address, int]:
    client = _address(source)
    server = _address(destination) if destination else type(client)(0)
    if client.version != server.version:  # a header has room for one family, and only the client counts
        server = type(client)(0)
    return client, server, client.version


def _address(pair: tuple[str, int]) -> _Address:
    host, port = pair
    if not 0 <= port <= 0xFFFF:
        raise LocalProtocolError(f"{port} is no port number")
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError as error:
        raise LocalProtocolError(f"a PROXY header needs IP addresses, not {host!r}") from error
    # A dual-stack listener sees IPv4 clients as ::ffff:a.b.c.d; grants are by the plain form.
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
