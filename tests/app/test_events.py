"""Which logged events a node keeps, and for how long."""

import logging
import re
from pathlib import Path

import pytest

import wolfscale
from wolfscale.api.dashboard_models import Event
from wolfscale.app.observation.events import KEPT_EVENTS, KINDS, EventLog
from wolfscale.logs import LoggedEvent

SOURCES = Path(wolfscale.__file__).parent


def logged(logger: str, template: str, *, level: int = logging.INFO, **fields: str) -> LoggedEvent:
    return LoggedEvent(
        time=1.0, level=level, logger=f"wolfscale.{logger}", template=template, text=template, fields=fields
    )


@pytest.mark.parametrize(("logger", "template"), KINDS)
def test_each_named_event_is_logged_where_it_is_said_to_be(logger: str, template: str) -> None:
    source = (SOURCES / f"{logger.replace('.', '/')}.py").read_text(encoding="utf-8")
    assert f'("{template}"' in re.sub(r"\(\s+", "(", source)


def test_named_event_is_kept_with_its_kind_and_fields() -> None:
    events = EventLog()
    events.receive(logged("replication.lifecycle", "MariaDB is primary", term="7"))
    assert events.newest_first() == (
        Event(time=1.0, kind="promotion", text="MariaDB is primary", fields={"term": "7"}),
    )


def test_other_events_are_kept_from_warning_on() -> None:
    events = EventLog()
    events.receive(logged("replication.replica", "a replica follows the feed"))
    events.receive(logged("replication.replica", "replica stopped", level=logging.WARNING))
    events.receive(logged("node.listener", "turned away", level=logging.ERROR))
    assert [(event.kind, event.text) for event in events.newest_first()] == [
        ("process", "turned away"),
        ("database", "replica stopped"),
    ]


def test_event_that_repeats_soon_is_kept_once_with_its_number() -> None:
    events = EventLog()
    for number in range(3):
        events.receive(logged("replication.managed", "MariaDB started", pid=str(number), times="many"))
        events.receive(logged("replication.lifecycle", "MariaDB is primary", term=str(number)))
    started = [event for event in events.newest_first() if event.kind == "database"]
    assert [event.fields for event in started] == [{"pid": "2", "times": "many", "repeated": "3"}]
    assert len(events.newest_first()) == 4


def test_old_events_go() -> None:
    events = EventLog()
    for number in range(KEPT_EVENTS + 10):
        events.receive(logged("replication.lifecycle", "MariaDB is primary", term=str(number)))
    kept = events.newest_first()
    assert len(kept) == KEPT_EVENTS
    assert kept[0].fields["term"] == str(KEPT_EVENTS + 9)
