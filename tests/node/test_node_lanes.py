"""Frames, hellos and what runs over a raft stream."""

import contextlib

import pytest
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.node import lanes
from wolfscale.node.errors import FrameError
from wolfscale.node.frames import FrameBuffer, build_frame, read_frame
from wolfscale.node.hello import Hello, decode_answer, decode_hello, encode_answer, encode_hello
from wolfscale.node.lanes import CHUNK_BYTES, MAX_BULK_BYTES, MAX_KEPT, Inbox, Outbox
from wolfscale.raft.errors import RaftError
from wolfscale.raft.messages import Append, Heartbeat, Message
from wolfscale.raft.types import Entry, EntryKind, Index, Term


def append(index: int, size: int) -> Append:
    entry = Entry(index=Index(index), term=Term(1), kind=EntryKind.EVENTS, data=bytes([index % 256]) * size)
    return Append(
        term=Term(1),
        prev_index=Index(index - 1),
        prev_term=Term(1),
        commit_index=Index(0),
        entries=(entry,),
    )


def heartbeat(round: int) -> Heartbeat:
    return Heartbeat(term=Term(1), commit_index=Index(0), round=round)


def connected() -> Outbox:
    outbox = Outbox()
    outbox.connected = True
    return outbox


def drain(outbox: Outbox) -> bytes:
    data = b""
    while not outbox.empty:
        data += outbox.batch()
    return data


@given(st.lists(st.binary(max_size=40)), st.integers(1, 60))
def test_frame_buffer_finds_the_frames_however_they_are_cut(payloads: list[bytes], step: int) -> None:
    data = b"".join(map(build_frame, payloads))
    frames = FrameBuffer(40)
    found: list[bytes] = []
    for at in range(0, len(data), step):
        found += frames.feed(data[at : at + step])
    assert found == payloads
    assert frames.buffered_bytes == 0


def test_frame_buffer_refuses_a_length_above_its_bound() -> None:
    with pytest.raises(FrameError, match="41 bytes"):
        list(FrameBuffer(40).feed(b"\0\0\0\x29"))


async def test_read_frame_takes_no_byte_of_what_follows() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(build_frame(b"first") + b"rest")
    assert await read_frame(ours) == b"first"
    assert await ours.receive_some() == b"rest"
    await theirs.send_all(b"\0\0")
    await theirs.send_eof()
    with pytest.raises(FrameError, match="after 2 of 4 bytes"):
        await read_frame(ours)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=255), st.binary(max_size=100))
def test_hello_survives_the_wire(kind: str, header: bytes) -> None:
    hello = Hello(kind=kind, header=header)
    assert decode_hello(encode_hello(hello)) == hello


@given(st.binary(max_size=20))
def test_hello_and_answer_of_hostile_bytes_are_frame_errors_at_worst(payload: bytes) -> None:
    for decode in (decode_hello, decode_answer):
        with contextlib.suppress(FrameError):
            decode(payload)


def test_answer_survives_the_wire() -> None:
    assert decode_answer(encode_answer(None)) is None
    assert decode_answer(encode_answer("no")) == "no"
    assert len(encode_answer("é" * 2000)) < 2000


def test_urgent_messages_pass_between_the_chunks_of_a_large_append() -> None:
    outbox, inbox = connected(), Inbox()
    outbox.put(append(1, 1_000_000))
    first = outbox.batch()
    outbox.put(heartbeat(7))
    assert inbox.feed(first) == []
    assert inbox.feed(outbox.batch()) == [heartbeat(7)]
    assert inbox.feed(drain(outbox)) == [append(1, 1_000_000)]


@given(st.lists(st.sampled_from([0, 10, CHUNK_BYTES - 60, CHUNK_BYTES, 3 * CHUNK_BYTES]), max_size=6))
def test_appends_keep_their_order(sizes: list[int]) -> None:
    outbox, inbox = connected(), Inbox()
    messages: list[Message] = [append(index, size) for index, size in enumerate(sizes, 1)]
    for message in messages:
        outbox.put(message)
    assert inbox.feed(drain(outbox)) == messages


def test_many_small_messages_make_one_batch() -> None:
    outbox, inbox = connected(), Inbox()
    for index in range(1, 200):
        outbox.put(append(index, 100))
    data = outbox.batch()
    assert outbox.empty
    assert len(inbox.feed(data)) == 199


def test_full_queue_drops_what_is_newest() -> None:
    outbox = connected()
    for index in range(1, 40):
        outbox.put(append(index, 1_000_000))
    kept = Inbox().feed(drain(outbox))
    assert [message.prev_index for message in kept if isinstance(message, Append)] == list(range(len(kept)))
    assert len(kept) <= MAX_BULK_BYTES // 1_000_000
    assert outbox.dropped == 39 - len(kept)


def test_peer_that_is_not_connected_gets_the_newest_votes_later_and_no_appends() -> None:
    outbox = Outbox()
    outbox.put(append(1, 10))
    for round in range(100):
        outbox.put(heartbeat(round))
    outbox.connected = True
    kept = Inbox().feed(drain(outbox))
    assert kept == [heartbeat(round) for round in range(100 - MAX_KEPT, 100)]


def test_disconnected_outbox_forgets_half_a_message() -> None:
    outbox = connected()
    outbox.put(append(1, 1_000_000))
    outbox.batch()
    outbox.disconnect()
    assert outbox.empty
    outbox.connected = True
    outbox.put(append(2, 10))
    assert Inbox().feed(drain(outbox)) == [append(2, 10)]


def test_newest_notice_wins() -> None:
    outbox, inbox = connected(), Inbox()
    outbox.put_notice(b"old")
    outbox.put_notice(b"new")
    assert inbox.feed(drain(outbox)) == []
    assert inbox.notice == b"new"


def test_endless_chunks_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "MAX_MESSAGE_BYTES", 100_000)
    inbox = Inbox()
    chunk = build_frame(bytes((lanes.CHUNK,)) + bytes(60_000))
    inbox.feed(chunk)
    with pytest.raises(FrameError, match="a message of more than"):
        inbox.feed(chunk)


@given(st.binary(max_size=200))
def test_inbox_meets_hostile_bytes_with_errors_of_ours_only(data: bytes) -> None:
    with contextlib.suppress(FrameError, RaftError):
        Inbox().feed(data)
