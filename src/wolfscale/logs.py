"""One line an event, for a terminal or as JSON, and never a secret in it.

A part of the system logs what happened as a fixed event text and named fields:

    log = logs.logger(__name__)
    log.info("leader elected", term=7, leader="node-2")

Records of other libraries (plain `logging`) come out in the same two forms.
"""

import datetime
import json
import logging
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TextIO

HIDDEN = "[hidden]"
_SECRET_FIELD = re.compile(
    r"(^|_)(password|passwd|secret|token|private_key|credentials?)($|_)", re.IGNORECASE
)
_PLAIN_VALUE = re.compile(r"[^\s\"'=\\]+")
_FIELDS = "wolfscale_fields"
_TIMES = "times"
# Replacing shorter texts would hide half of the language and give the secret away by what is missing.
_SHORTEST_HIDDEN = 4


class LogFormat(StrEnum):
    """What a line looks like."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEvent:
    """An event as a line shows it, without secrets.

    Attributes:
        time: in seconds since 1970.
        level: as in `logging`.
        logger: name of the module's logger.
        template: the event's text before any argument was put in; the same for each event of its kind.
        text: the event's text.
        fields: the event's fields as text.
    """

    time: float
    level: int
    logger: str
    template: str
    text: str
    fields: Mapping[str, str]


class EventLogger:
    """Logs events with fields under one name; cheap to make, safe from any thread."""

    __slots__ = ("_bound", "_logger")

    def __init__(self, logger: logging.Logger, bound: Mapping[str, object] | None = None) -> None:
        self._logger = logger
        self._bound = dict(bound or {})

    def bind(self, **fields: object) -> "EventLogger":
        """A logger that adds these fields to each of its events."""
        return EventLogger(self._logger, {**self._bound, **fields})

    def debug(self, event: str, /, **fields: object) -> None:
        """Something for whoever looks into the system's workings; not shown by default."""
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, /, **fields: object) -> None:
        """Something an operator wants to find in the log afterwards."""
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        """Something that an operator should look at, though the node goes on by itself."""
        self._log(logging.WARNING, event, fields)

    def error(self, event: str, /, *, error: BaseException | None = None, **fields: object) -> None:
        """Something that failed; the error's type, text and place are added when given."""
        self._log(logging.ERROR, event, fields, error)

    def _log(
        self, level: int, event: str, fields: Mapping[str, object], error: BaseException | None = None
    ) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", event, extra={_FIELDS: {**self._bound, **fields}}, exc_info=error)


class Repetition:
    """Thins out an event that comes again and again: its first line, then one a minute that tells how often.

    What is tried every second until it works would otherwise fill the log, and hide everything else in it. A
    line's field `times` has the number; lines leave it out where it is 1.

    Args:
        quiet_seconds: between two lines that say the same.
        clock: seconds that only grow.
    """

    def __init__(self, quiet_seconds: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._quiet_seconds = quiet_seconds
        self._clock = clock
        self._last: object = None
        self._written_at = 0.0
        self._times = 0

    def times(self, event: object) -> int:
        """How often this event has come since its last line, this time included; 0: no line is due now.

        An event that differs from the last one always gets its line.
        """
        now = self._clock()
        if event != self._last:
            self._last, self._times = event, 0
        elif now - self._written_at < self._quiet_seconds:
            self._times += 1
            return 0
        times, self._times, self._written_at = self._times + 1, 0, now
        return times


def logger(name: str) -> EventLogger:
    """The logger of one module; pass `__name__`."""
    return EventLogger(logging.getLogger(name))


def configure(
    *,
    format: LogFormat = LogFormat.TEXT,
    level: int = logging.INFO,
    stream: TextIO | None = None,
    secrets: Iterable[str] = (),
) -> None:
    """Send every event of the process to one stream; replaces an earlier configuration.

    Args:
        format: text for people, JSON for machines.
        level: events below it are dropped.
        stream: standard error unless given.
        secrets: texts that must not appear in any line, whatever message or error they are part of.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_EventFormatter(format, secrets))
    handler.setLevel(level)
    root = logging.getLogger()
    for old in list(root.handlers):
        if isinstance(old.formatter, _EventFormatter) and not isinstance(old, _Subscription):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)


def current_format() -> LogFormat:
    """The format that `configure` was told; text before it was called."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, _EventFormatter):
            return handler.formatter.line_format
    return LogFormat.TEXT


def current_level() -> int:
    """The level that `configure` was told."""
    return logging.getLogger().level


def hide(*secrets: str) -> None:
    """Keep further texts out of every line: secrets that are read or derived after `configure`."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, _EventFormatter):
            handler.formatter.hide(secrets)


@contextmanager
def subscription(
    receive: Callable[[LoggedEvent], None], *, under: str = "wolfscale", level: int = logging.INFO
) -> Iterator[None]:
    """Give a function every event while the context lasts; secrets hidden from lines are hidden from it too.

    Args:
        receive: called in the thread that logs; must be quick and must not log.
        under: name of the logger, with all below it.
        level: events below it are not given.
    """
    formatter = _EventFormatter(LogFormat.TEXT, ())
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, _EventFormatter):
            formatter.hide(handler.formatter.hidden)
    handler = _Subscription(receive, under, level)
    handler.setFormatter(formatter)
    root, source = logging.getLogger(), logging.getLogger(under)
    level_before = source.level
    # The lines' own level stays with their handler: it may be higher than what is subscribed to.
    source.setLevel(min(level, source.getEffectiveLevel()))
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        source.setLevel(level_before)


class _Subscription(logging.Handler):
    def __init__(self, receive: Callable[[LoggedEvent], None], under: str, level: int) -> None:
        super().__init__(level)
        self.addFilter(logging.Filter(under))
        self._receive = receive

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(self.formatter, _EventFormatter):
            self._receive(self.formatter.event(record))


class _EventFormatter(logging.Formatter):
    """A record as one line, without secrets."""

    def __init__(self, format: LogFormat, secrets: Iterable[str]) -> None:
        super().__init__()
        self.line_format = format
        self._texts: frozenset[str] = frozenset()
        self._secrets: re.Pattern[str] | None = None
        self.hide(secrets)

    @property
    def hidden(self) -> frozenset[str]:
        """The texts that are replaced."""
        return self._texts

    def hide(self, secrets: Iterable[str]) -> None:
        """Replace these texts too wherever they appear; texts of under four characters are left."""
        self._texts |= {text for text in secrets if len(text) >= _SHORTEST_HIDDEN}
        longest_first = sorted(self._texts, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def event(self, record: logging.LogRecord) -> LoggedEvent:
        """The record as a value."""
        text = record.getMessage()
        # Our own loggers pass the text as an argument, so that no character in it has a meaning.
        template = text if record.msg == "%s" else str(record.msg)
        fields = {name: self._clean(str(value)) for name, value in _fields_of(record).items()}
        return LoggedEvent(
            time=record.created,
            level=record.levelno,
            logger=record.name,
            template=template,
            text=self._clean(text),
            fields=fields,
        )

    def format(self, record: logging.LogRecord) -> str:
        event = record.getMessage()
        fields = _fields_of(record)
        if record.exc_info and record.exc_info[1] is not None:
            fields.update(_error_fields(record.exc_info[1]))
        if self.line_format is LogFormat.JSON:
            return self._json(record, event, fields)
        return self._text(record, event, fields)

    def _clean(self, value: str) -> str:
        return value if self._secrets is None else self._secrets.sub(HIDDEN, value)

    def _json(self, record: logging.LogRecord, event: str, fields: Mapping[str, object]) -> str:
        line = {
            "time": _time(record, datetime.UTC),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": self._clean(event),
        }
        for name, value in fields.items():
            key = f"{name}_" if name in line else name
            line[key] = value if isinstance(value, int | float | bool | None) else self._clean(str(value))  # type: ignore[assignment]
        return json.dumps(line, ensure_ascii=False)

    def _text(self, record: logging.LogRecord, event: str, fields: Mapping[str, object]) -> str:
        parts = [
            _time(record, None),
            f"{record.levelname.lower():7}",
            f"{record.name.removeprefix('wolfscale.')}:",
            _one_line(self._clean(event)),
        ]
        parts += [f"{name}={_quoted(self._clean(_word(value)))}" for name, value in fields.items()]
        return " ".join(parts)


def _word(value: object) -> str:
    """A value on a terminal; what JSON has words for is written with the same ones, but for null."""
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _fields_of(record: logging.LogRecord) -> dict[str, object]:
    return {
        name: HIDDEN if _SECRET_FIELD.search(name) else value
        for name, value in getattr(record, _FIELDS, {}).items()
        if not (name == _TIMES and value == 1)
    }


def _error_fields(error: BaseException) -> dict[str, object]:
    fields: dict[str, object] = {"error": f"{type(error).__name__}: {error}"}
    frames = traceback.extract_tb(error.__traceback__)
    if frames:
        fields["traceback"] = " < ".join(
            f"{frame.name} ({frame.filename.rpartition('/')[2]}:{frame.lineno})" for frame in reversed(frames)
        )
    if isinstance(error, BaseExceptionGroup):
        fields["errors"] = "; ".join(f"{type(inner).__name__}: {inner}" for inner in error.exceptions)
    return fields


def _time(record: logging.LogRecord, zone: datetime.tzinfo | None) -> str:
    moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC).astimezone(zone)
    return moment.isoformat(timespec="milliseconds")


def _one_line(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _quoted(value: str) -> str:
    return (
        value
        if _PLAIN_VALUE.fullmatch(value) and value.isprintable()
        else json.dumps(value, ensure_ascii=False)
    )
