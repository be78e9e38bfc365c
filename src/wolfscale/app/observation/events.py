"""The last notable events of a node, picked from what its parts log."""

import logging
import threading
from collections import deque
from collections.abc import Iterable

from wolfscale.api.dashboard_models import Event
from wolfscale.logs import LoggedEvent

KEPT_EVENTS = 200
REPEATS_WITHIN = 8
"""An event that is one of so many last ones again takes the old one's place."""

KINDS: dict[tuple[str, str], str] = {
    ("node.elections", "standing for election"): "election",
    ("node.elections", "no leader"): "leader",
    ("node.elections", "leader elected"): "leader",
    ("node.links", "connected to a peer"): "member",
    ("node.node", "lost a peer"): "member",
    ("node.admission", "a new member takes the place of one that is gone"): "member",
    ("node.driver", "the log cannot be written"): "disk",
    ("replication.lifecycle", "MariaDB is primary"): "promotion",
    ("replication.lifecycle", "MariaDB is primary no longer, as planned"): "demotion",
    ("replication.lifecycle", "MariaDB is primary no longer, by force"): "demotion",
    ("replication.lifecycle", "MariaDB recovered"): "recovery",
    ("replication.lifecycle", "nobody's data is beyond doubt: replaying here"): "recovery",
    ("replication.cloning", "cloning"): "clone",
    ("replication.cloning", "cloned"): "clone",
    ("replication.cloning", "this MariaDB's data must be cloned"): "clone",
    ("replication.lifecycle", "nobody took the leadership over"): "leader",
    ("replication.served_groups", "replication waits for the disk"): "disk",
    ("replication.managed", "MariaDB started"): "database",
    ("replication.managed", "MariaDB stopped"): "database",
    ("replication.external", "external MariaDB started"): "database",
    ("app.member", "a clone for a peer failed"): "clone",
    ("app.programs", "a stored program would run what no session may"): "program",
    ("app.programs", "a stored program that would run what no session may is gone"): "program",
    ("app.member", "started"): "process",
    ("app.member", "gave a clone to a peer"): "clone",
    ("app.member", "stopping"): "process",
    ("app.retention", "shortened the log"): "disk",
    ("app.retention", "the log could not be shortened"): "disk",
}
"""Which events are kept at any level, by logger and text, and what they are called."""

_KINDS_BY_PACKAGE = {"replication": "database", "wal": "disk"}
_COUNT = "repeated"
"""The field that says how often a repeated event came."""
_VARYING = frozenset({"seconds", "pid", "boot", "times", _COUNT})


class EventLog:
    """The last events; any thread may add and read."""

    def __init__(self, kept: int = KEPT_EVENTS) -> None:
        self._lock = threading.Lock()
        self._events: deque[Event] = deque(maxlen=kept)

    def receive(self, logged: LoggedEvent) -> None:
        """Keep what was logged, if it is notable: it is named above, or a warning or worse."""
        name = logged.logger.removeprefix("wolfscale.")
        kind = KINDS.get((name, logged.template))
        if kind is None and logged.level >= logging.WARNING:
            kind = _KINDS_BY_PACKAGE.get(name.partition(".")[0], "process")
        if kind is not None:
            self.add(Event(time=logged.time, kind=kind, text=logged.text, fields=dict(logged.fields)))

    def add(self, event: Event) -> None:
        """Keep an event; one of the last ones that says the same goes, and how often it came is noted."""
        with self._lock:
            recent = list(self._events)[-REPEATS_WITHIN:]
            same = next((earlier for earlier in reversed(recent) if _same(earlier, event)), None)
            if same is not None:
                count = int(same.fields.get(_COUNT, "1")) + 1
                event = event.model_copy(update={"fields": {**event.fields, _COUNT: str(count)}})
                self._events.remove(same)
            self._events.append(event)

    def newest_first(self) -> tuple[Event, ...]:
        """All that is kept."""
        with self._lock:
            return tuple(reversed(self._events))


def _same(one: Event, other: Event) -> bool:
    return (one.kind, one.text) == (other.kind, other.text) and (
        _constant(one.fields.items()) == _constant(other.fields.items())
    )


def _constant(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name: value for name, value in fields if name not in _VARYING}
