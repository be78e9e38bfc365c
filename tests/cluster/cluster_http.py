"""How the tests speak HTTP with nodes: Python's own client, in threads."""

import http.client
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from wolfscale.demo.plan import LOOPBACK

if TYPE_CHECKING:
    from wolfscale.demo.cluster import DemoCluster

ANSWER_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a node answered."""

    status: int
    headers: dict[str, str]
    body: Any

    @property
    def problem(self) -> tuple[int, str, str | None]:
        """Status, error word and field of an answer that is no success."""
        assert set(self.body) == {"error", "message", "field", "errno", "sqlstate"}, self.body
        return self.status, self.body["error"], self.body["field"]


class Http:
    """Sends requests; any task may use it, several at a time."""

    def __init__(self, cluster: "DemoCluster") -> None:
        self._cluster = cluster
        self._limiter = trio.CapacityLimiter(16)

    async def post(self, number: int, path: str, body: Any, **headers: str) -> Reply:
        """POST a JSON value (or bytes as they are) to a node.

        Args:
            number: the node.
            path: with its slash.
            body: the value.
            headers: with underscores for hyphens.

        Raises:
            OSError, http.client.HTTPException: it did not answer.
        """
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await trio.to_thread.run_sync(
            self._post,
            self._cluster.node(number).http_port,
            path,
            data,
            {"Content-Type": "application/json", **named},
            limiter=self._limiter,
            abandon_on_cancel=True,
        )

    async def done(self, number: int, path: str, body: Any, **headers: str) -> Any:
        """The same, whose answer must be a success; gives its body."""
        reply = await self.post(number, path, body, **headers)
        assert reply.status == 200, reply
        return reply.body

    async def rows(self, number: int, sql: str, **fields: Any) -> list[Any]:
        """The rows of a query, as arrays."""
        answer = await self.done(number, "/query", {"sql": sql, "rows": "arrays", **fields})
        rows: list[Any] = answer["rows"]
        return rows

    @staticmethod
    def _post(port: int, path: str, data: bytes, headers: dict[str, str]) -> Reply:
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=ANSWER_SECONDS)
        try:
            connection.request("POST", path, data, headers)
            answer = connection.getresponse()
            body = json.loads(answer.read())
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(status=answer.status, headers=found, body=body)
        finally:
            connection.close()
