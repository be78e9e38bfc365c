import pytest

from wolfscale.mysql.errors import LocalProtocolError
from wolfscale.mysql.proxy_protocol import SIGNATURE_V2, build_local, build_v1, build_v2


@pytest.mark.parametrize(
    ("source", "destination", "header"),
    [
        (("10.0.0.5", 40000), ("10.0.0.1", 3306), b"PROXY TCP4 10.0.0.5 10.0.0.1 40000 3306\r\n"),
        (("10.0.0.5", 40000), None, b"PROXY TCP4 10.0.0.5 0.0.0.0 40000 0\r\n"),
        (("fe80::1%eth0", 1), ("::1", 2), b"PROXY TCP6 fe80::1 ::1 1 2\r\n"),
        (("::ffff:10.0.0.5", 1), ("10.0.0.1", 2), b"PROXY TCP4 10.0.0.5 10.0.0.1 1 2\r\n"),
        (("10.0.0.5", 1), ("::1", 2), b"PROXY TCP4 10.0.0.5 0.0.0.0 1 2\r\n"),
    ],
)
def test_text_header(source: tuple[str, int], destination: tuple[str, int] | None, header: bytes) -> None:
    assert build_v1(source, destination) == header


def test_binary_header_of_version_4() -> None:
    # haproxy's doc/proxy-protocol.txt, section 2.2.
    header = build_v2(("10.0.0.5", 40000), ("10.0.0.1", 3306))
    assert header[:16] == SIGNATURE_V2 + b"\x21\x11\x00\x0c"
    assert header[16:] == bytes((10, 0, 0, 5, 10, 0, 0, 1)) + b"\x9c\x40\x0c\xea"


def test_binary_header_of_version_6() -> None:
    header = build_v2(("2001:db8::5", 1))
    assert header[12:16] == b"\x21\x21\x00\x24"
    assert len(header) == 16 + 36


def test_header_for_oneself_names_nobody() -> None:
    assert build_local() == b"PROXY UNKNOWN\r\n"


@pytest.mark.parametrize("source", [("localhost", 1), ("", 1), ("10.0.0.5", 70000), ("1.2.3.4\r\n", 1)])
def test_header_of_no_address_is_our_mistake(source: tuple[str, int]) -> None:
    with pytest.raises(LocalProtocolError):
        build_v1(source)
