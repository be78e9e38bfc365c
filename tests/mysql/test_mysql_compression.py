"""The compressed protocol's codec: what goes in comes out, however it is cut; nothing else is believed."""

import contextlib
import itertools
import random
import zlib
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wolfscale.mysql.compression import (
    ER_NET_UNCOMPRESS_ERROR,
    MAX_INFLATED_BYTES,
    MIN_COMPRESSED_BYTES,
    PIECE_BYTES,
    CompressedReader,
    CompressedWriter,
    compressed_packet,
)
from wolfscale.mysql.errors import RemoteProtocolError
from wolfscale.mysql.framing import packet

REPETITIVE = st.builds(lambda part, times: part * times, st.binary(max_size=20), st.integers(0, 400))
PIECES = st.lists(st.one_of(st.binary(max_size=200), REPETITIVE), max_size=8)


def header(length: int, sequence: int, inflated: int) -> bytes:
    return length.to_bytes(3, "little") + bytes((sequence,)) + inflated.to_bytes(3, "little")


def taken(reader: CompressedReader, most: int) -> list[bytes]:
    pieces = []
    while (piece := reader.next(most)) is not None:
        assert 0 < len(piece) <= most
        pieces.append(piece)
    return pieces


def stream_of(chunks: Iterable[bytes], most: int = 1 << 16) -> bytes:
    reader, stream = CompressedReader(), b""
    for chunk in chunks:
        reader.feed(chunk)
        stream += b"".join(taken(reader, most))
    return stream


@given(PIECES, st.integers(1, 300))
def test_pieces_come_out_as_they_went_in(pieces: list[bytes], most: int) -> None:
    wire = b"".join(compressed_packet(piece, number) for number, piece in enumerate(pieces))
    assert stream_of([wire], most) == b"".join(pieces)


@given(PIECES)
@settings(max_examples=50)
def test_pieces_come_out_when_received_byte_by_byte(pieces: list[bytes]) -> None:
    wire = b"".join(compressed_packet(piece, number) for number, piece in enumerate(pieces))
    assert stream_of(wire[index : index + 1] for index in range(len(wire))) == b"".join(pieces)


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=300))
@settings(max_examples=50)
def test_each_piece_tells_its_packets_number(pieces: list[bytes]) -> None:
    reader = CompressedReader()
    reader.feed(b"".join(compressed_packet(piece, number) for number, piece in enumerate(pieces)))
    for number, piece in enumerate(pieces):
        assert reader.next(1 << 16) == piece
        assert reader.sequence == number & 0xFF
    assert reader.next(1 << 16) is None


def written(chunks: Iterable[bytes]) -> list[bytes]:
    writer = CompressedWriter()
    packets: list[bytes] = []
    for chunk in chunks:
        packets += writer.feed(chunk, len(packets))
    return packets


@given(
    st.lists(st.one_of(st.binary(max_size=200), REPETITIVE, st.just(b"z" * 70_000)), max_size=30), st.data()
)
def test_written_packets_are_whole_in_each_compressed_one(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(packet(payload, number) for number, payload in enumerate(payloads))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=20)))
    packets = written(stream[a:b] for a, b in itertools.pairwise([0, *cuts, len(stream)]))
    assert stream_of(packets) == stream
    assert [item[3] for item in packets] == [number & 0xFF for number in range(len(packets))]
    starts = set(itertools.accumulate((4 + len(payload) for payload in payloads), initial=0))
    position = 0
    for item in packets:
        inside = len(stream_of([item]))
        position += inside
        assert position in starts
        assert inside <= PIECE_BYTES or inside == 70_004


@pytest.mark.parametrize(
    "size", [PIECE_BYTES - 4, PIECE_BYTES - 3, MAX_INFLATED_BYTES - 4, 0xFFFFFE, 0xFFFFFF]
)
@pytest.mark.parametrize("compressible", [False, True])
def test_long_packet_takes_two_compressed_ones_at_most(size: int, compressible: bool) -> None:
    payload = b"x" * size if compressible else random.Random(size).randbytes(size)
    stream = packet(b"before", 0) + packet(payload, 1) + packet(b"behind", 2)
    packets = written(stream[start : start + 30_000] for start in range(0, len(stream), 30_000))
    assert stream_of(packets) == stream
    # A payload of full length is followed by an empty packet, in the same compressed one as the last.
    assert len(packets) == (4 if size > MAX_INFLATED_BYTES - 4 else 3)


def test_short_piece_is_sent_as_it_is() -> None:
    piece = b"x" * (MIN_COMPRESSED_BYTES - 1)
    assert compressed_packet(piece, 258) == header(len(piece), 2, 0) + piece


def test_piece_that_zlib_cannot_shorten_is_sent_as_it_is() -> None:
    piece = zlib.compress(bytes(range(256)) * 3)
    assert compressed_packet(piece, 0) == header(len(piece), 0, 0) + piece


def test_long_piece_is_shorter_on_the_wire_and_says_how_long_it_is() -> None:
    wire = compressed_packet(b"x" * 60_000, 1)
    assert len(wire) < 1000
    assert wire[3:7] == b"\x01" + (60_000).to_bytes(3, "little")
    assert zlib.decompress(wire[7:]) == b"x" * 60_000


def test_short_packets_have_the_documented_layout() -> None:
    ping = bytes.fromhex("050000 00 000000") + packet(b"\x0e", 0)
    assert compressed_packet(packet(b"\x0e", 0), 0) == ping
    assert stream_of([ping]) == packet(b"\x0e", 0)


def test_packet_without_a_body_gives_nothing() -> None:
    assert stream_of([header(0, 0, 0) + compressed_packet(b"after it", 1)]) == b"after it"


def test_announced_length_costs_nothing_before_it_is_there() -> None:
    reader = CompressedReader()
    reader.feed(header(0xFFFFFF, 0, 0xFFFFFF))
    assert reader.next(1 << 20) is None


def test_small_packet_that_holds_16_mib_is_given_in_pieces() -> None:
    bomb = zlib.compress(bytes(0xFFFFFF), 9)
    assert len(bomb) < 20_000
    reader = CompressedReader()
    reader.feed(header(len(bomb), 0, 0xFFFFFF) + bomb)
    first = reader.next(1000)
    assert first is not None
    assert len(first) == 1000
    assert sum(map(len, taken(reader, 1 << 15))) == 0xFFFFFF - 1000


BODY = zlib.compress(b"a body" * 100)


@pytest.mark.parametrize(
    ("wire", "says"),
    [
        (header(10, 0, 100) + b"not zlib's", "cannot be inflated"),
        (header(len(BODY), 0, 601) + BODY, "ends elsewhere"),
        (header(len(BODY), 0, 599) + BODY, "more bytes than its header says"),
        (header(len(BODY) + 3, 0, 600) + BODY + b"abc", "ends elsewhere"),
        (header(len(BODY) - 1, 0, 600) + BODY[:-1], "cut short"),
        (header(len(BODY), 0, 600) + BODY[:-1] + bytes((BODY[-1] ^ 1,)), "cannot be inflated"),
        (header(0, 0, 600), "cut short"),
        (
            header(17_000, 0, 10) + zlib.compress(bytes(1 << 24), 9)[:17_000],
            "more bytes than its header says",
        ),
    ],
    ids=["no zlib", "too short", "too long", "trailing", "cut", "checksum", "empty", "bomb"],
)
@pytest.mark.parametrize("step", [1, 100_000])
def test_broken_packet_is_a_clear_error(wire: bytes, says: str, step: int) -> None:
    with pytest.raises(RemoteProtocolError, match=says) as caught:
        stream_of(wire[index : index + step] for index in range(0, len(wire), step))
    assert caught.value.errno == ER_NET_UNCOMPRESS_ERROR
    assert caught.value.sqlstate == "08S01"


@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_bytes_give_a_stream_or_that_error(data: bytes, step: int) -> None:
    with contextlib.suppress(RemoteProtocolError):
        stream_of((data[index : index + step] for index in range(0, len(data), step)), 1000)
