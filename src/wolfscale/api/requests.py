"""Counts requests by route and status; an ASGI wrapper outside of everything that may refuse one."""

import time
from collections import Counter

from wolfscale.api.gate import App, Message, Receive, Scope, Send
from wolfscale.api.scopes import rule_of
from wolfscale.histogram import Histogram

OTHER = "other"
"""What stands for a path or a method that no route has: callers must not be able to make up labels."""


class RequestCounts:
    """What was asked and answered since the start.

    Attributes:
        answers: how many, by method, route and status.
        seconds: how long they took.
    """

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, str, int]] = Counter()
        self.seconds = Histogram()

    def note(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count one answer."""
        rule = rule_of(method, path)
        route = (rule.method, rule.path) if rule is not None else (OTHER, OTHER)
        self.answers[(*route, status)] += 1
        self.seconds.observe(seconds)


class CountedRequests:
    """Passes requests on and counts their answers.

    Args:
        app: what answers.
        counts: where they are counted.
    """

    def __init__(self, app: App, counts: RequestCounts) -> None:
        self._app = app
        self._counts = counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a request that never got an answer's head counts as status 0."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0

        async def watched_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        finally:
            seconds = time.perf_counter() - started
            self._counts.note(scope["method"], scope["path"], status, seconds)
