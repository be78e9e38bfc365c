"""`python -m bench.path`: what the proxy's own code costs a statement, without sockets.

Prints the time of each step of a plain read: the shortest of several repetitions, since whatever else the
machine does only adds to it.
"""

import timeit
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

from wolfscale.mysql.client import DEFAULT_CAPABILITIES
from wolfscale.mysql.constants import Capability, Command
from wolfscale.mysql.framing import packet
from wolfscale.mysql.results import Column, build_text_result
from wolfscale.mysql.tracker import ResponseTracker
from wolfscale.proxy.classify import Classifier
from wolfscale.proxy.consistency import SessionConsistency
from wolfscale.proxy.lexer import LexerMode
from wolfscale.proxy.router import SessionFacts
from wolfscale.proxy.shortcut import Shortcut, Verdict
from wolfscale.proxy.state import SessionState
from wolfscale.proxy.statistics import Statistics
from wolfscale.proxy.view import View, Views

CAPABILITIES = int((DEFAULT_CAPABILITIES | Capability.SESSION_TRACK) & ~Capability.DEPRECATE_EOF)
"""As sysbench's client library has them."""
SQL = b"SELECT c FROM sbtest1 WHERE id=5023"
TIMES, REPETITIONS = 500, 400


class Server:
    """What a shortcut asks of a connection that is open and up to date."""

    leader = closed = False
    capabilities = CAPABILITIES

    def __init__(self) -> None:
        self.tracker = ResponseTracker(CAPABILITIES)

    def is_passable(self, _known: int) -> bool:
        return True


def response(rows: int) -> bytes:
    """A result of sysbench's: one column, 119 characters a row."""
    payloads = build_text_result([Column(name=b"c")], [[b"x" * 119]] * rows, CAPABILITIES)
    return b"".join(packet(payload, number + 1 & 0xFF) for number, payload in enumerate(payloads))


def shortcut_to(server: Server, classifier: Classifier) -> Shortcut:
    """A session's shortcut beside one server."""
    executor: Any = SimpleNamespace(
        memory=SimpleNamespace(mode=LexerMode(), character_set=""),
        facts=SessionFacts(),
        state=SessionState(),
        consistency=SessionConsistency(),
        connections=SimpleNamespace(reader=server, writer=None, leader_may_be_due=False),
        bounds=SimpleNamespace(lags=lambda _view: False),
        variable_reads=SimpleNamespace(is_active=False),
        last=None,
    )
    return Shortcut(
        client_capabilities=CAPABILITIES,
        executor=executor,
        prepared=cast(Any, None),
        classifier=classifier,
        statistics=Statistics(),
        views=Views(View(term=1, writable=True, database_ready=True)),
    )


def steps() -> Iterator[tuple[str, Callable[[], object]]]:
    """What is measured: its name, and what does it once."""
    server, classifier = Server(), Classifier()
    classifier.classify(SQL, LexerMode())
    digests = classifier.digests(LexerMode())
    shortcut = shortcut_to(server, classifier)
    request, one, hundred = packet(bytes((Command.QUERY,)) + SQL, 0), response(1), response(100)

    def statement(answer: bytes) -> None:
        assert shortcut.request(request) is Verdict.SEND
        assert shortcut.response(answer) is Verdict.DONE

    found = digests.find(SQL)
    assert found is not None
    head = found.head
    tracker = ResponseTracker(CAPABILITIES)

    def follow(answer: bytes) -> None:
        tracker.begin(Command.QUERY, head)
        assert tracker.feed(answer) == len(answer)

    yield "text to classification, by digest", lambda: digests.find(SQL)
    yield "a response of one row, to its end", lambda: follow(one)
    yield "a response of 100 rows, to its end", lambda: follow(hundred)
    yield "both decisions for a read of one row", lambda: statement(one)
    yield "both decisions for a read of 100 rows", lambda: statement(hundred)


def main() -> None:
    """Measure and print."""
    for what, step in steps():
        best = min(timeit.repeat(step, number=TIMES, repeat=REPETITIONS)) / TIMES
        print(f"{best * 1e6:6.2f} us  {what}")


if __name__ == "__main__":
    main()
