"""One line an event, in two forms, without secrets."""

import contextlib
import io
import json
import logging
from collections.abc import Iterator

import pytest

from wolfscale import logs


@pytest.fixture(autouse=True)
def restored_root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def configured(form: logs.LogFormat, *secrets: str, level: int = logging.INFO) -> io.StringIO:
    stream = io.StringIO()
    logs.configure(format=form, stream=stream, secrets=secrets, level=level)
    return stream


def test_event_on_a_terminal_is_one_line_with_its_fields() -> None:
    stream = configured(logs.LogFormat.TEXT)
    logs.logger("wolfscale.node").info("leader elected", term=7, leader="node 2")
    [line] = stream.getvalue().splitlines()
    assert line.endswith('info    node: leader elected term=7 leader="node 2"')


def test_event_as_json_keeps_types() -> None:
    stream = configured(logs.LogFormat.JSON)
    logs.logger("wolfscale.node").bind(node="a").warning("slow disk", seconds=1.5, ok=False, path=io)
    line = json.loads(stream.getvalue())
    assert (line["level"], line["event"], line["node"]) == ("warning", "slow disk", "a")
    assert (line["seconds"], line["ok"]) == (1.5, False)
    assert line["time"].endswith("+00:00")


@pytest.mark.parametrize("form", list(logs.LogFormat))
def test_line_breaks_in_values_stay_in_one_line(form: logs.LogFormat) -> None:
    stream = configured(form)
    logs.logger("a").info("first\nsecond", text="x\ny\x1b[31m", empty="")
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("form", list(logs.LogFormat))
def test_secrets_are_hidden_wherever_they_stand(form: logs.LogFormat) -> None:
    stream = configured(form, "correct-horse")
    log = logs.logger("a")
    log.info("sent correct-horse", query="PASSWORD('correct-horse')", password="battery", user_token="staple")
    log.error("failed", error=ValueError("bad correct-horse"))
    logging.getLogger("library").warning("with %s", "correct-horse")
    logs.hide("derived-later")
    log.info("derived-later")
    text = stream.getvalue()
    for secret in ("correct-horse", "battery", "staple", "derived-later"):
        assert secret not in text
    assert text.count(logs.HIDDEN) >= 6


def test_error_names_type_text_and_place_without_more_lines() -> None:
    stream = configured(logs.LogFormat.TEXT)
    try:
        raise ExceptionGroup("both", [ValueError("one"), OSError("two")])
    except ExceptionGroup as error:
        logs.logger("a").error("lost", error=error)
    [line] = stream.getvalue().splitlines()
    assert "ValueError: one; OSError: two" in line
    assert "test_logs.py:" in line


def test_events_below_the_level_are_dropped() -> None:
    stream = configured(logs.LogFormat.TEXT)
    logs.logger("a").debug("detail")
    assert stream.getvalue() == ""


def test_event_on_a_terminal_has_words_for_what_python_calls_otherwise() -> None:
    stream = configured(logs.LogFormat.TEXT)
    logs.logger("a").info("x", own=True, other=False, position=None)
    assert stream.getvalue().rstrip().endswith("x own=true other=false position=none")


def test_repeated_event_gets_its_first_line_and_then_one_a_minute() -> None:
    now = 0.0
    repetition = logs.Repetition(quiet_seconds=60, clock=lambda: now)
    assert repetition.times("full") == 1
    assert [repetition.times("full") for _ in range(3)] == [0, 0, 0]
    now = 60.0
    assert repetition.times("full") == 4
    assert repetition.times("full") == 0
    assert repetition.times("gone") == 1
    assert repetition.times("full") == 1


def test_event_that_came_once_does_not_count() -> None:
    stream = configured(logs.LogFormat.TEXT)
    logs.logger("a").info("x", times=1)
    logs.logger("a").info("x", times=2)
    assert [line.rpartition("x")[2] for line in stream.getvalue().splitlines()] == ["", " times=2"]


def test_configuring_again_replaces_the_stream() -> None:
    first = configured(logs.LogFormat.TEXT)
    second = configured(logs.LogFormat.TEXT)
    logs.logger("a").info("once")
    assert (first.getvalue(), second.getvalue().count("once")) == ("", 1)


def subscribed(received: list[logs.LoggedEvent]) -> contextlib.AbstractContextManager[None]:
    return logs.subscription(received.append)


def test_subscriber_gets_events_without_secrets_until_it_leaves() -> None:
    configured(logs.LogFormat.TEXT, "hunter2!")
    received: list[logs.LoggedEvent] = []
    with subscribed(received):
        logs.hide("a later secret")
        logs.logger("wolfscale.x").info("went on", reason="hunter2! a later secret", password="p", count=3)
        logging.getLogger("wolfscale.y").warning("cannot reach %s", "node-2 hunter2!")
        logging.getLogger("else").warning("not ours")
        logs.logger("wolfscale.x").debug("too small")
    logs.logger("wolfscale.x").info("too late")
    first, second = received
    assert (first.logger, first.template, first.text) == ("wolfscale.x", "went on", "went on")
    assert first.fields == {"reason": "[hidden] [hidden]", "password": "[hidden]", "count": "3"}
    assert (second.template, second.text) == ("cannot reach %s", "cannot reach node-2 [hidden]")
    assert second.level == logging.WARNING


def test_subscriber_gets_what_is_too_small_for_the_lines() -> None:
    stream = configured(logs.LogFormat.TEXT, level=logging.WARNING)
    received: list[logs.LoggedEvent] = []
    with subscribed(received):
        logs.logger("wolfscale.x").info("quiet")
        logs.logger("wolfscale.x").warning("loud")
    logs.logger("wolfscale.x").info("quiet again")
    assert [event.text for event in received] == ["quiet", "loud"]
    assert "quiet" not in stream.getvalue()
    assert "loud" in stream.getvalue()


def test_subscription_survives_another_configuration() -> None:
    received: list[logs.LoggedEvent] = []
    with subscribed(received):
        configured(logs.LogFormat.JSON)
        logs.logger("wolfscale.x").info("still there")
    assert [event.text for event in received] == ["still there"]
