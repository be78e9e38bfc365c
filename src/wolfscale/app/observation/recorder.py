"""Takes one sample a second of how a node does, and keeps its notable events."""

import time
from collections.abc import Callable, Mapping, Sequence

import trio

from wolfscale import logs
from wolfscale.api.dashboard_models import Event, History
from wolfscale.api.models import ProxyStatus
from wolfscale.app.announcement import Announcement
from wolfscale.app.observation.events import EventLog
from wolfscale.app.observation.history import INTERVAL_SECONDS, Samples
from wolfscale.histogram import counts_between, quantile
from wolfscale.node.node import Node
from wolfscale.node.storage import RaftStorage
from wolfscale.replication.lifecycle import Lifecycle
from wolfscale.replication.notice import Pace, decode_notice

REFUSALS_SECONDS = 10.0
"""How often refused statements are made an event, with their number."""


class Recorder:
    """One node's memory of its last minutes: a `HistorySource`.

    Args:
        node: the node.
        storage: its log.
        lifecycle: its database's; None on a witness.
        proxy: its proxy's status; None where it has none.
        announcement: told the pace of commits.
    """

    def __init__(
        self,
        *,
        node: Node,
        storage: RaftStorage,
        lifecycle: Lifecycle | None,
        proxy: Callable[[], ProxyStatus | None],
        announcement: Announcement,
    ) -> None:
        self._node = node
        self._storage = storage
        self._lifecycle = lifecycle
        self._proxy = proxy
        self._announcement = announcement
        self._samples = Samples()
        self._events = EventLog()
        self._rates = Rates()
        self._commit_counts: Sequence[int] = tuple(node.statistics.commit_seconds.counts)
        self._refused_seen = 0
        self._refused_told_at = float("-inf")
        self._cut_loose_seen = 0

    def history(self) -> History:
        """The last minutes."""
        return self._samples.history()

    def events(self) -> tuple[Event, ...]:
        """The last events, the newest first."""
        return self._events.newest_first()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Record until cancelled; started when events are kept."""
        with logs.subscription(self._events.receive):
            task_status.started()
            await take_regularly(self._take, self._samples.add_gap)

    def _take(self) -> None:
        node, lifecycle = self._node, self._lifecycle
        pace = self._pace()
        self._announcement.pace = pace if node.is_leader else Pace()
        proxy = self._proxy()
        counters = proxy.counters if proxy is not None else {}
        now = time.monotonic()
        committed = lifecycle.committed_sequence if lifecycle is not None else node.commit_index
        rates = self._rates.since(
            now,
            {
                # Zero while nothing is known yet: what was there at the start was not committed in a second.
                "commits_per_second": committed or None,
                "local_per_second": counters.get("local_statements"),
                "leader_per_second": counters.get("leader_statements"),
                "log_bytes_per_second": self._storage.statistics.appended_bytes,
            },
        )
        lag = lag_groups(committed, lifecycle.applied_sequence) if lifecycle is not None else None
        self._samples.add(
            time.time(),
            {
                **rates,
                "commit_p50_ms": pace.commit_p50_ms,
                "commit_p99_ms": pace.commit_p99_ms,
                "sessions": proxy.sessions if proxy is not None else None,
                "lag_groups": lag,
            },
        )
        self._tell_refusals(counters.get("refused_statements", 0), now)
        self._tell_cut_loose(counters.get("programs_cut_loose", 0))

    def _pace(self) -> Pace:
        """How long commits took in the last second: measured here, or by the leader's word."""
        node = self._node
        measured = node.statistics.commit_seconds
        counts = tuple(measured.counts)
        fresh = counts_between(self._commit_counts, counts)
        self._commit_counts = counts
        if node.is_leader:
            return Pace(
                commit_p50_ms=_milliseconds(quantile(measured.bounds, fresh, 0.5)),
                commit_p99_ms=_milliseconds(quantile(measured.bounds, fresh, 0.99)),
            )
        leader = node.leader
        notice = node.notices.get(leader.id) if leader is not None else None
        return decode_notice(notice.data).pace if notice is not None else Pace()

    def _tell_refusals(self, refused: int, now: float) -> None:
        count = refused - self._refused_seen
        if count < 0:
            self._refused_seen = refused
        elif count and now - self._refused_told_at >= REFUSALS_SECONDS:
            self._refused_seen, self._refused_told_at = refused, now
            event = Event(
                time=time.time(), kind="refusal", text="statements refused", fields={"count": str(count)}
            )
            self._events.add(event)

    def _tell_cut_loose(self, total: int) -> None:
        count, self._cut_loose_seen = total - self._cut_loose_seen, total
        if count > 0:
            event = Event(
                time=time.time(),
                kind="divergence",
                text="a stored program has set what no session may",
                fields={"count": str(count)},
            )
            self._events.add(event)


async def take_regularly(take: Callable[[], None], miss: Callable[[int], None]) -> None:
    """Call a function once a second until cancelled, and another with the number of seconds without a call.

    Those are told of before the next call: the process was stopped or starved, or the clock jumped.
    """
    due = trio.current_time()
    while True:
        missed = int((trio.current_time() - due) // INTERVAL_SECONDS)
        if missed > 0:
            miss(missed)
            due += missed * INTERVAL_SECONDS
        take()
        due += INTERVAL_SECONDS
        await trio.sleep_until(due)


class Rates:
    """From counters to rates."""

    def __init__(self) -> None:
        self._at = 0.0
        self._values: dict[str, int] = {}

    def since(self, now: float, values: Mapping[str, int | None]) -> dict[str, float | None]:
        """How fast each counter grew since the last call; None for one that was not known then."""
        seconds, self._at = now - self._at, now
        rates: dict[str, float | None] = {}
        for name, value in values.items():
            before = self._values.pop(name, None)
            known = value is not None and before is not None and seconds > 0
            # A worker that ended may take a little of what it had counted with it.
            rates[name] = max(0, value - before) / seconds if known else None  # type: ignore[operator]
            if value is not None:
                self._values[name] = value
        return rates


def lag_groups(committed: int, applied: int) -> int | None:
    """How far a server is behind; None while it has not been asked yet, as at the beginning of each role."""
    return max(0, committed - applied) if applied or not committed else None


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000
