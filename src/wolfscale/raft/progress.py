"""How far a leader has brought one other member, and how much it may send it now."""

from collections import deque
from enum import Enum

from wolfscale.raft.types import Index, RaftConfig


class Stream(Enum):
    """How a leader sends to a member."""

    PROBE = "probe"
    """It is not known where the logs agree: one message, then wait for the answer."""
    REPLICATE = "replicate"
    """The logs agree up to `match_index`: a stream of messages, as far as the window goes."""
    INSTALL = "install"
    """What it needs is below the base: the base was sent, wait for the answer."""


class Progress:
    """One member, seen from the leader.

    Everything up to `match_index` is known to be durable there; `next_index` is what is sent next, ahead of
    the answers while in `REPLICATE`.
    """

    __slots__ = (
        "_inflight",
        "_max_bytes",
        "_max_messages",
        "acked_round",
        "inflight_bytes",
        "last_heard",
        "match_index",
        "next_index",
        "nudged",
        "paused",
        "sent_commit",
        "stream",
    )

    def __init__(self, config: RaftConfig, *, next_index: Index, now: int) -> None:
        self.match_index = Index(0)
        self.next_index = next_index
        self.stream = Stream.PROBE
        self.paused = False
        self.nudged = False
        self.sent_commit = Index(0)
        self.last_heard = now
        self.acked_round = 0
        self.inflight_bytes = 0
        self._inflight: deque[tuple[Index, int]] = deque()
        self._max_bytes = config.max_inflight_bytes
        self._max_messages = config.max_inflight_messages

    @property
    def full(self) -> bool:
        """Whether the window is used up: nothing more is sent before an answer."""
        return self.inflight_bytes >= self._max_bytes or len(self._inflight) >= self._max_messages

    def sent(self, last: Index, size: int) -> None:
        """Entries up to `last`, with `size` bytes of data, are on their way."""
        if self.stream is Stream.REPLICATE:
            self._inflight.append((last, size))
            self.inflight_bytes += size
            self.next_index = Index(last + 1)
        else:
            self.paused = True

    def accepted(self, index: Index) -> bool:
        """The member's log is durable and the leader's up to `index`; returns whether that is news."""
        while self._inflight and self._inflight[0][0] <= index:
            self.inflight_bytes -= self._inflight.popleft()[1]
        moved = index > self.match_index
        if moved:
            self.match_index = index
        if self.stream is not Stream.REPLICATE:
            self._restart(Stream.REPLICATE)
        elif self.next_index <= self.match_index:
            self.next_index = Index(self.match_index + 1)
        return moved

    def rejected(self, prev_index: Index, agreement: Index) -> None:
        """An Append after `prev_index` did not fit; the logs agree at `agreement` or before."""
        if prev_index <= self.match_index:
            return
        if self.stream is Stream.REPLICATE:
            self.probe()
        elif self.stream is Stream.PROBE and prev_index == self.next_index - 1:
            self.next_index = Index(max(min(agreement, prev_index - 1), self.match_index) + 1)
            self.paused = False

    def probe(self) -> None:
        """What is on its way must be taken for lost: begin again after what is known."""
        self._restart(Stream.PROBE)

    def need_base(self) -> None:
        """What it needs is below the base."""
        self._restart(Stream.INSTALL)

    def sent_base(self, base_index: Index) -> None:
        """The base is on its way; wait for the answer, or for a heartbeat's before it is sent again."""
        self.next_index = Index(base_index + 1)
        self.paused = True

    def _restart(self, stream: Stream) -> None:
        self.stream = stream
        self.next_index = Index(self.match_index + 1)
        self.paused = False
        self._inflight.clear()
        self.inflight_bytes = 0
