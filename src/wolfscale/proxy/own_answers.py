"""The answers to statements that are addressed to the proxy (`own_statements`), as rows of text."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from wolfscale.proxy.backend import Backends
from wolfscale.proxy.classify import Classifier
from wolfscale.proxy.connections import Bounds
from wolfscale.proxy.consistency import Level
from wolfscale.proxy.errors import ControlLost, ProxyError
from wolfscale.proxy.execution import Executor
from wolfscale.proxy.generated_ids import id_template
from wolfscale.proxy.killing import may_see_others
from wolfscale.proxy.own_statements import (
    Explain,
    ShowLevel,
    ShowMembers,
    ShowSessions,
    ShowSettings,
    ShowStatus,
    is_like,
)
from wolfscale.proxy.process_list import node_name
from wolfscale.proxy.router import Target, route
from wolfscale.proxy.statement import Kind, Statement
from wolfscale.proxy.statistics import Statistics

ER_UNKNOWN_ERROR = 1105
SESSION_COLUMNS = (
    *("Id", "User", "Host", "Db", "Command", "Time", "State", "Info"),
    *("Runs_on", "Connected_seconds", "Leader_id"),
)
"""Those of SHOW PROCESSLIST first, then what only the proxy knows."""
Rows = tuple[Sequence[str], list[Sequence[str]]]
"""Column names, and rows of as many values."""

_KINDS = {
    Kind.READ: "a plain read",
    Kind.DIAGNOSTICS: "a question about the previous statement",
    Kind.SETTINGS: "session settings",
    Kind.TRANSACTION: "transaction control",
    Kind.WRITE: "a change of rows",
    Kind.OTHER: "anything else",
}


class OwnAnswers:
    """Answers for one session."""

    def __init__(
        self,
        *,
        executor: Executor,
        classifier: Classifier,
        backends: Backends,
        statistics: Statistics,
        bounds: Bounds,
    ) -> None:
        self._executor = executor
        self._classifier = classifier
        self._backends = backends
        self._statistics = statistics
        self._bounds = bounds

    async def answer(
        self, own: Explain | ShowStatus | ShowMembers | ShowSessions | ShowSettings | ShowLevel
    ) -> Rows:
        """What was asked for.

        Raises:
            ProxyError: it cannot be told now.
        """
        match own:
            case Explain(sql):
                await self._executor.connections.choose()
                return self._explain(sql)
            case ShowStatus(pattern):
                await self._executor.connections.choose()
                rows = [row for row in self._status() if pattern is None or is_like(row[0], pattern)]
                return ("Variable_name", "Value"), rows
            case ShowMembers():
                return await _table(("Name",), self._backends.members, "who is in the cluster")
            case ShowSessions():
                return await self._sessions()
            case ShowSettings():
                columns = ("Name", "Value", "Set_by", "Changed_at")
                return await _table(columns, self._backends.settings, "what is set for the cluster")
            case ShowLevel(column):
                return (column,), [(self._executor.consistency.level.value,)]

    async def _sessions(self) -> Rows:
        """The client's own, and those of others if it may see them."""
        columns, rows = await _table(SESSION_COLUMNS, self._backends.sessions, "which sessions there are")
        user = self._executor.connections.credentials.response.user.decode("utf-8", "replace")
        own = [row for row in rows if row[1] == user]
        if len(own) < len(rows) and await may_see_others(self._executor):
            return columns, rows
        return columns, own

    def _explain(self, sql: bytes) -> Rows:
        memory = self._executor.memory
        ids = id_template(sql, memory.mode, memory.character_set)
        statement = self._classifier.classify(
            ids.example() if ids else sql, memory.mode, character_set=memory.character_set
        )
        target, why = self._target(statement)
        columns = ("Runs on", "Because", "Kind", "Consistency", "Intent mark")
        kind = f"{_KINDS[statement.kind]}: {statement.reason}"
        level = self._executor.consistency.now.value
        return columns, [(target, why, kind, level, "yes" if statement.intent else "no")]

    def _target(self, statement: Statement) -> tuple[str, str]:
        if statement.refusal is not None:
            return "nowhere", str(statement.refusal.error())
        chosen = route(statement, self._executor.facts)
        view = self._backends.views.current
        match chosen.target:
            case Target.LOCAL:
                return self._local_or_not(chosen.reason)
            case Target.PREVIOUS:
                return ("leader" if self._executor.last.leader else self._here), chosen.reason
            case Target.EITHER:
                return "both", chosen.reason
        if not view.writable:
            return "leader", f"{chosen.reason}; no leader takes statements now, so it would wait"
        return "leader", chosen.reason

    @property
    def _here(self) -> str:
        """The node that the session reads at, as its client may call it."""
        view = self._backends.views.current
        return node_name(view.node) if view.elsewhere else "this node"

    def _local_or_not(self, reason: str) -> tuple[str, str]:
        view, here = self._backends.views.current, self._here
        consistency = self._executor.consistency
        if consistency.now is Level.LEADER:
            return "leader", "wolfscale_consistency is 'leader'"
        if view.elsewhere and (view.is_leader or not view.database_ready):
            return "leader", f"{reason}, but no follower serves and keeps up"
        if view.is_leader and view.writable:
            return "leader", f"{reason}, and this node leads"
        if not view.database_ready:
            return "leader", f"{reason}, but this node's MariaDB does not serve"
        if self._bounds.lags(view):
            lag = view.committed_sequence - view.applied_sequence
            return "leader", f"{reason}, but this node's MariaDB is {lag} transactions behind (max_lag)"
        if consistency.now is Level.STRONG:
            return here, f"{reason}, once it has applied what a majority confirms as committed"
        if consistency.now is not Level.EVENTUAL and view.applied_sequence < consistency.bound:
            return here, f"{reason}, once it has applied transaction {consistency.bound}"
        return here, reason

    def _status(self) -> list[Sequence[str]]:
        view, consistency = self._backends.views.current, self._executor.consistency
        facts = {
            "Wolfscale_node": node_name(view.node),
            "Wolfscale_leader": node_name(view.leader or ""),
            "Wolfscale_leads": "ON" if view.is_leader else "OFF",
            "Wolfscale_writable": "ON" if view.writable else "OFF",
            "Wolfscale_term": view.term,
            "Wolfscale_committed_sequence": view.committed_sequence,
            "Wolfscale_applied_sequence": view.applied_sequence,
            "Wolfscale_lag": max(0, view.committed_sequence - view.applied_sequence),
            "Wolfscale_database_ready": "ON" if view.database_ready else "OFF",
            "Wolfscale_consistency": consistency.level.value,
            "Wolfscale_session_required_sequence": consistency.bound,
        }
        counters = {f"Wolfscale_{name}": value for name, value in self._statistics.as_dict().items()}
        return [(name, str(value)) for name, value in (facts | counters).items()]


async def _table(
    columns: Sequence[str], ask: Callable[[], Awaitable[Sequence[Mapping[str, str]]]], what: str
) -> Rows:
    """What the node tells, under its own column names, or these when it has no row.

    Raises:
        ProxyError: it cannot tell.
    """
    try:
        told = await ask()
    except ControlLost as error:
        raise ProxyError(ER_UNKNOWN_ERROR, "HY000", f"The node cannot tell {what}: {error}") from error
    names = list(told[0]) if told else list(columns)
    return names, [[row.get(name, "") for name in names] for row in told]
