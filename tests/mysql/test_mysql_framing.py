import pytest
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.mysql.constants import MAX_PACKET_PAYLOAD
from wolfscale.mysql.errors import RemoteProtocolError
from wolfscale.mysql.framing import PacketReader, packet, packet_count, pieces


def read_all(reader: PacketReader) -> list[bytes]:
    payloads = []
    while (payload := reader.next()) is not None:
        payloads.append(payload)
    return payloads


@given(st.lists(st.binary(max_size=40), max_size=8), st.data())
def test_reader_fed_in_any_pieces_gives_the_payloads(payloads: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(packet(payload, number) for number, payload in enumerate(payloads))
    reader = PacketReader()
    got = []
    position = 0
    while position < len(wire):
        count = data.draw(st.integers(1, len(wire) - position))
        reader.feed(wire[position : position + count])
        position += count
        got += read_all(reader)
    assert got == payloads
    assert reader.buffered_bytes == 0
    if payloads:
        assert reader.sequence == len(payloads) - 1


@pytest.mark.parametrize("extra", [-1, 0, 1, MAX_PACKET_PAYLOAD - 1, MAX_PACKET_PAYLOAD])
def test_payload_around_the_limit_is_split_and_joined(extra: int) -> None:
    payload = b"\x5a" * (MAX_PACKET_PAYLOAD + extra)
    wire = b"".join(pieces(payload, 255))
    assert wire[3] == 255
    assert len(wire) == len(payload) + 4 * packet_count(len(payload))
    reader = PacketReader()
    for start in range(0, len(wire), 1 << 20):
        assert reader.next() is None
        reader.feed(wire[start : start + (1 << 20)])
    assert reader.next() == payload
    assert reader.sequence == 255 + packet_count(len(payload)) - 1 & 0xFF
    assert reader.next() is None
    assert packet(payload, 255) == wire


def test_reader_refuses_a_payload_beyond_the_limit_by_its_header_alone() -> None:
    reader = PacketReader(max_payload_bytes=100)
    reader.feed(b"\x64\0\0\0" + bytes(100) + b"\x65\0\0\0")
    assert reader.next() == bytes(100)
    with pytest.raises(RemoteProtocolError) as caught:
        reader.next()
    assert (caught.value.errno, caught.value.sqlstate) == (1153, "08S01")


def test_reader_counts_the_parts_of_one_payload_against_the_limit() -> None:
    reader = PacketReader(max_payload_bytes=MAX_PACKET_PAYLOAD + 10)
    reader.feed(b"\xff\xff\xff\0" + bytes(MAX_PACKET_PAYLOAD) + b"\x0b\0\0\1")
    with pytest.raises(RemoteProtocolError):
        reader.next()


def test_raw_bytes_are_given_as_they_came_and_can_be_put_back() -> None:
    reader = PacketReader()
    wire = packet(b"one", 0) + packet(b"two", 1)
    reader.feed(wire + b"\x05")
    assert reader.next() == b"one"
    raw = reader.take_raw()
    assert raw == packet(b"two", 1) + b"\x05"
    assert reader.buffered_bytes == 0
    reader.feed(b"\0\0\x09later")
    reader.unread(raw)
    assert read_all(reader) == [b"two", b"later"]
    assert reader.sequence == 9


def test_raw_bytes_of_a_half_read_long_packet_are_refused() -> None:
    reader = PacketReader()
    reader.feed(b"\xff\xff\xff\0" + bytes(MAX_PACKET_PAYLOAD))
    assert reader.next() is None
    assert reader.buffered_bytes == MAX_PACKET_PAYLOAD
    with pytest.raises(RemoteProtocolError):
        reader.take_raw()


def test_reader_fed_much_more_than_it_compacts_keeps_order() -> None:
    reader = PacketReader()
    for number in range(3000):
        reader.feed(packet(number.to_bytes(4, "little") * 50, 0) + b"\x01\0")
        payload = reader.next()
        assert payload == number.to_bytes(4, "little") * 50
        reader.feed(b"\0\0x")
        assert reader.next() == b"x"
