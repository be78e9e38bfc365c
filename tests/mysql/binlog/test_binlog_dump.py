import contextlib
import struct

import pytest
from binlog_samples import recorded_events, rows_event
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.mysql.binlog import dump
from wolfscale.mysql.binlog.dump import PART_BYTES, DumpDecoder, DumpEncoder
from wolfscale.mysql.binlog.errors import BinlogError
from wolfscale.mysql.binlog.header import HEADER, build_event
from wolfscale.mysql.constants import MAX_PACKET_PAYLOAD
from wolfscale.mysql.errors import RemoteProtocolError, ServerError
from wolfscale.mysql.framing import pieces
from wolfscale.mysql.results import build_error


def packets(events: list[bytes], *, flags: list[int] | None = None, sequence: int = 1) -> bytes:
    """A semi-synchronous primary's packets."""
    out = bytearray()
    for event, flag in zip(events, flags or [0] * len(events), strict=True):
        payload = b"\0\xef" + bytes((flag,)) + event
        for piece in pieces(payload, sequence):
            out += piece
        sequence += len(payload) // MAX_PACKET_PAYLOAD + 1
    return bytes(out)


def decoded(data: bytes, step: int, decoder: DumpDecoder | None = None) -> list[tuple[bytes, bool]]:
    """The events and their flags, fed in steps of so many bytes."""
    decoder = decoder or DumpDecoder()
    events: list[tuple[bytes, bool]] = []
    part = bytearray()
    for start in range(0, len(data), step):
        for found in decoder.feed(data[start : start + step]):
            assert found.first == (not part) or (not found.first and not found.data)
            part += found.data
            if found.last:
                events.append((bytes(part), found.acknowledge))
                part = bytearray()
    assert not part
    return events


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000, 1 << 20])
def test_recorded_events_in_packets_cut_anywhere_are_found(step: int) -> None:
    events = recorded_events()
    flags = [number % 3 == 0 for number in range(len(events))]
    found = decoded(packets(events, flags=[int(flag) for flag in flags]), step)
    assert found == list(zip(events, flags, strict=True))


def test_two_events_cut_at_every_byte_are_found() -> None:
    events = [rows_event(30), rows_event(3)]
    data = packets(events, flags=[0, 1])
    for cut in range(len(data)):
        decoder = DumpDecoder()
        parts = decoder.feed(data[:cut]) + decoder.feed(data[cut:])
        assert [(part.data, part.first, part.last, part.acknowledge) for part in parts] == [
            (events[0], True, True, False),
            (events[1], True, True, True),
        ]


@pytest.mark.parametrize("step", [100_000, 1 << 18, 1 << 25])
@pytest.mark.parametrize("over", [-30, -4, -3, -2, -1, 0, 1, 2, 500])
def test_fact_04_events_around_16_mib_are_decoded_and_encoded(over: int, step: int) -> None:
    event = HEADER.pack(1, 23, 7, MAX_PACKET_PAYLOAD + over, 5, 0).ljust(MAX_PACKET_PAYLOAD + over, b"e")
    events = [rows_event(5), event, rows_event(6)]
    found = decoded(packets(events, flags=[0, 1, 0]), step)
    assert found == [(events[0], False), (event, True), (events[2], False)]
    encoder = DumpEncoder()
    joined = b"".join(events)
    out = b"".join(
        encoder.encode(memoryview(joined)[start : start + step]) for start in range(0, len(joined), step)
    )
    assert not encoder.in_event
    assert [event for event, _ in decoded(out, step, DumpDecoder(semi_sync=False))] == events


def test_fact_04_event_of_40_mib_is_never_held_whole() -> None:
    event = HEADER.pack(1, 23, 7, 40 << 20, 5, 0).ljust(40 << 20, b"e")
    data = packets([event])
    decoder, encoder = DumpDecoder(), DumpEncoder()
    longest = 0
    out = bytearray()
    for start in range(0, len(data), 1 << 18):
        for part in decoder.feed(data[start : start + (1 << 18)]):
            longest = max(longest, len(part.data))
            out += encoder.encode(part.data)
    assert longest <= (1 << 18) + PART_BYTES
    assert decoded(bytes(out), 1 << 24, DumpDecoder(semi_sync=False)) == [(event, False)]


@given(st.lists(st.integers(0, 300), max_size=8), st.integers(1, 400), st.integers(0, 255))
def test_encoded_events_cut_anywhere_are_decoded(sizes: list[int], step: int, sequence: int) -> None:
    events = [rows_event(size) for size in sizes]
    joined = b"".join(events)
    encoder = DumpEncoder(sequence=sequence)
    out = b"".join(encoder.encode(joined[start : start + step]) for start in range(0, len(joined), step))
    assert [event for event, _ in decoded(out, step, DumpDecoder(semi_sync=False))] == events
    assert encoder.sequence == (sequence + len(events)) % 256
    if out:
        assert out[3] == sequence


@given(st.lists(st.integers(20, 400), min_size=1, max_size=6), st.integers(1, 500), st.integers(20, 200))
def test_long_events_in_small_packets_survive_the_round_trip(
    lengths: list[int], step: int, largest: int
) -> None:
    """The same with a packet limit of a few bytes, so that events take many packets."""
    events = [HEADER.pack(1, 23, 7, length, 5, 0).ljust(length, b"e") for length in lengths]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dump, "MAX_PACKET_PAYLOAD", largest + 40)
        patch.setattr(dump, "PART_BYTES", 30)
        joined = b"".join(events)
        encoder = DumpEncoder()
        out = b"".join(encoder.encode(joined[start : start + step]) for start in range(0, len(joined), step))
        assert not encoder.in_event
        found = decoded(out, step, DumpDecoder(semi_sync=False))
    assert [event for event, _ in found] == events


def test_error_packet_is_raised_as_the_servers_error() -> None:
    payload = build_error(1236, "HY000", "no such position")
    data = packets([rows_event(1)]) + struct.pack("<I", len(payload))[:3] + b"\x05" + payload
    decoder = DumpDecoder()
    with pytest.raises(ServerError, match="no such position"):
        decoder.feed(data)


def test_eof_packet_ends_the_dump() -> None:
    decoder = DumpDecoder()
    decoder.feed(b"\x05\0\0\x01\xfe\0\0\x02\0")
    assert decoder.ended


@pytest.mark.parametrize(
    "payload", [b"", b"\0", b"\0\xee\0" + b"x" * 30, b"\x07" * 30, b"\0\xef\0" + b"x" * 18]
)
def test_packet_that_is_no_event_is_refused(payload: bytes) -> None:
    with pytest.raises(BinlogError, match="no binlog event"):
        DumpDecoder().feed(struct.pack("<I", len(payload)) + payload)


def test_encoder_refuses_an_event_shorter_than_its_header() -> None:
    event = build_event(16, b"12345678", server_id=1)
    with pytest.raises(BinlogError):
        DumpEncoder().encode(event[:9] + b"\x03\0\0\0" + event[13:])


@given(st.binary(max_size=200), st.booleans())
def test_decoder_given_any_bytes_takes_or_refuses_them(data: bytes, semi_sync: bool) -> None:
    with contextlib.suppress(BinlogError, ServerError, RemoteProtocolError):
        DumpDecoder(semi_sync=semi_sync).feed(data)
