"""The first frames on a stream: what it is for, and whether it is taken.

The dialer sends one frame: one byte of version, one byte with the length of the kind, the kind in
ASCII, then a header that belongs to the kind. The listener answers one frame: a status byte (0: taken)
and, when refused, the reason in UTF-8.
"""

from dataclasses import dataclass

from wolfscale.node.errors import FrameError

VERSION = 1
MAX_REASON_BYTES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What a stream is for."""

    kind: str
    header: bytes


def encode_hello(hello: Hello) -> bytes:
    """The payload of a stream's first frame."""
    kind = hello.kind.encode("ascii")
    return bytes((VERSION, len(kind))) + kind + hello.header


def decode_hello(payload: bytes) -> Hello:
    """Parse a stream's first frame.

    Raises:
        FrameError: it is none, or one of another version.
    """
    if len(payload) < 2 or len(payload) < 2 + payload[1]:
        raise FrameError("the first frame is too short")
    if payload[0] != VERSION:
        raise FrameError(f"the peer speaks version {payload[0]} of the link protocol, this node {VERSION}")
    end = 2 + payload[1]
    try:
        kind = payload[2:end].decode("ascii")
    except UnicodeDecodeError as error:
        raise FrameError("the stream's kind is not ASCII") from error
    return Hello(kind=kind, header=payload[end:])


def encode_answer(refusal: str | None) -> bytes:
    """The payload of the listener's answer; None takes the stream."""
    return b"\0" if refusal is None else b"\1" + refusal.encode()[:MAX_REASON_BYTES]


def decode_answer(payload: bytes) -> str | None:
    """The reason why a stream was refused, None when it was taken.

    Raises:
        FrameError: it is no answer.
    """
    if payload == b"\0":
        return None
    if payload[:1] != b"\1":
        raise FrameError("the answer to the first frame makes no sense")
    return payload[1:].decode("utf-8", "replace")
