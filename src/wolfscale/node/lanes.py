"""What runs over a raft stream: urgent messages, bulk messages in chunks, notices (sans-IO).

Each frame's payload begins with one byte that says what it is. Appends are bulk: they keep their order
among each other and are cut into chunks, between which heartbeats, votes and answers pass, so that a
slow line does not cost a leader its followers. A full queue drops what is newest: Raft sends again.
"""

from collections import deque
from collections.abc import Iterator

from wolfscale.node.errors import FrameError
from wolfscale.node.frames import HEADER, FrameBuffer
from wolfscale.raft.codec import decode_message, encode_message
from wolfscale.raft.messages import Append, InstallBase, Message

WHOLE, CHUNK, LAST_CHUNK, NOTICE = range(4)

CHUNK_BYTES = 64 * 1024
BATCH_BYTES = 128 * 1024
"""What is handed to TLS at once; a heartbeat waits for at most one such batch."""

MAX_MESSAGE_BYTES = 32 * 1024 * 1024
"""The longest message that is put together from chunks; an entry is a few MiB at most."""

MAX_NOTICE_BYTES = 64 * 1024
MAX_URGENT = 4096
MAX_BULK_BYTES = 16 * 1024 * 1024
"""Twice what Raft has in flight to a follower."""

MAX_KEPT = 16
"""Urgent messages kept for a peer that is not connected: the votes of a cluster that starts."""


class Outbox:
    """One peer's outgoing messages, queued and cut into batches of frames."""

    __slots__ = ("_bulk", "_bulk_bytes", "_chunks", "_notice", "_urgent", "connected", "dropped")

    def __init__(self) -> None:
        self._urgent: deque[Message] = deque()
        self._bulk: deque[tuple[Message, int]] = deque()
        self._bulk_bytes = 0
        self._chunks: Iterator[bytes] | None = None
        self._notice: bytes | None = None
        self.connected = False
        self.dropped = 0
        """Messages that were not sent because the queue was full or nobody was connected."""

    def put(self, message: Message) -> None:
        """Queue a message, or drop it."""
        if isinstance(message, Append | InstallBase):
            size = _entries_bytes(message)
            if not self.connected or self._bulk_bytes + size > MAX_BULK_BYTES:
                self.dropped += 1
                return
            self._bulk_bytes += size
            self._bulk.append((message, size))
        elif not self.connected:
            if len(self._urgent) >= MAX_KEPT:
                self._urgent.popleft()
                self.dropped += 1
            self._urgent.append(message)
        elif len(self._urgent) < MAX_URGENT:
            self._urgent.append(message)
        else:
            self.dropped += 1

    def put_notice(self, notice: bytes) -> None:
        """Queue a notice in place of one that has not been sent yet."""
        self._notice = notice

    def disconnect(self) -> None:
        """Forget what was meant for a connection that is gone."""
        self.connected = False
        self.dropped += len(self._urgent) + len(self._bulk)
        self._urgent.clear()
        self._bulk.clear()
        self._bulk_bytes = 0
        self._chunks = None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to send."""
        return not (self._urgent or self._bulk or self._chunks is not None or self._notice is not None)

    def batch(self) -> bytes:
        """Take the next frames off the queue: everything urgent, then bulk, about `BATCH_BYTES` in all."""
        out = bytearray()
        while self._urgent:
            _write(out, WHOLE, encode_message(self._urgent.popleft()))
        if self._notice is not None:
            _write(out, NOTICE, self._notice)
            self._notice = None
        while len(out) < BATCH_BYTES:
            if self._chunks is None:
                if not self._bulk:
                    break
                message, size = self._bulk.popleft()
                self._bulk_bytes -= size
                data = encode_message(message)
                if len(data) <= CHUNK_BYTES:
                    _write(out, WHOLE, data)
                    continue
                self._chunks = _chunks(data)
            frame = next(self._chunks, None)
            if frame is None:
                self._chunks = None
            else:
                out += frame
        return bytes(out)


class Inbox:
    """One peer's incoming bytes, put together again."""

    __slots__ = ("_frames", "_partial", "notice")

    def __init__(self) -> None:
        self._frames = FrameBuffer(1 + max(CHUNK_BYTES, MAX_NOTICE_BYTES))
        self._partial = bytearray()
        self.notice: bytes | None = None
        """The newest notice; whoever takes it sets None."""

    def feed(self, data: bytes | bytearray) -> list[Message]:
        """The messages that are complete with these bytes.

        Raises:
            FrameError: the frames make no sense.
            BadMessage: a message makes no sense.
        """
        messages: list[Message] = []
        for payload in self._frames.feed(data):
            kind = payload[0] if payload else -1
            if kind == WHOLE:
                messages.append(decode_message(payload[1:]))
            elif kind in {CHUNK, LAST_CHUNK}:
                if len(self._partial) + len(payload) > MAX_MESSAGE_BYTES:
                    raise FrameError(f"a message of more than {MAX_MESSAGE_BYTES} bytes")
                self._partial += payload[1:]
                if kind == LAST_CHUNK:
                    messages.append(decode_message(bytes(self._partial)))
                    self._partial.clear()
            elif kind == NOTICE:
                self.notice = payload[1:]
            else:
                raise FrameError(f"a frame of unknown kind {kind}")
        return messages


def _entries_bytes(message: Append | InstallBase) -> int:
    if isinstance(message, InstallBase):
        return 1024
    return sum(len(entry.data) for entry in message.entries) + 64 * (1 + len(message.entries))


def _write(out: bytearray, kind: int, data: bytes) -> None:
    out += HEADER.pack(1 + len(data))
    out.append(kind)
    out += data


def _chunks(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), CHUNK_BYTES):
        piece = data[at : at + CHUNK_BYTES]
        kind = CHUNK if at + CHUNK_BYTES < len(data) else LAST_CHUNK
        yield HEADER.pack(1 + len(piece)) + bytes((kind,)) + piece
