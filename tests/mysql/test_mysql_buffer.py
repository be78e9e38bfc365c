import pytest
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.mysql.buffer import PacketBuffer, lenenc_bytes, lenenc_int
from wolfscale.mysql.errors import RemoteProtocolError

READERS = (
    PacketBuffer.uint8,
    PacketBuffer.uint16,
    PacketBuffer.uint24,
    PacketBuffer.uint32,
    PacketBuffer.uint64,
    PacketBuffer.lenenc_int,
    PacketBuffer.lenenc_bytes,
    PacketBuffer.lenenc_bytes_or_null,
    PacketBuffer.null_terminated,
    PacketBuffer.null_terminated_or_rest,
    PacketBuffer.rest,
)


@given(st.integers(0, 2**64 - 1) | st.sampled_from([250, 251, 0xFFFF, 0x10000, 0xFFFFFF, 0x1000000]))
def test_lenenc_int_round_trips(value: int) -> None:
    buffer = PacketBuffer(lenenc_int(value))
    assert buffer.lenenc_int() == value
    assert buffer.remaining == 0


@given(st.binary(max_size=300))
def test_lenenc_bytes_round_trips(value: bytes) -> None:
    buffer = PacketBuffer(lenenc_bytes(value) + b"!")
    assert buffer.lenenc_bytes() == value
    assert buffer.rest() == b"!"


@given(st.binary(max_size=40), st.lists(st.sampled_from(READERS), max_size=12))
def test_buffer_given_any_bytes_reads_within_them_or_raises(data: bytes, readers: list[object]) -> None:
    buffer = PacketBuffer(data)
    for reader in readers:
        try:
            reader(buffer)  # type: ignore[operator]
        except RemoteProtocolError:
            break
        assert 0 <= buffer.position <= len(data)


@pytest.mark.parametrize("data", [b"\xfc\x01", b"\xfd\x01\x02", b"\xfe" + bytes(7), b"\xff", b"\xfb", b""])
def test_lenenc_int_cut_short_or_reserved_raises(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        PacketBuffer(data).lenenc_int()


def test_lenenc_bytes_with_a_huge_claim_allocates_nothing() -> None:
    with pytest.raises(RemoteProtocolError, match="18446744073709551615 bytes"):
        PacketBuffer(b"\xfe" + b"\xff" * 8 + b"abc").lenenc_bytes()


def test_null_value_is_told_from_an_empty_one() -> None:
    buffer = PacketBuffer(b"\xfb\x00")
    assert buffer.lenenc_bytes_or_null() is None
    assert buffer.lenenc_bytes_or_null() == b""
