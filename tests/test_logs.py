"""One line an event, in two forms, without secrets."""

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


def test_configuring_again_replaces_the_stream() -> None:
    first = configured(logs.LogFormat.TEXT)
    second = configured(logs.LogFormat.TEXT)
    logs.logger("a").info("once")
    assert (first.getvalue(), second.getvalue().count("once")) == ("", 1)
