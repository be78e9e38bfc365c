"""What a session does now, for SHOW WOLFSCALE SESSIONS."""

import time

from wolfscale.mysql.constants import Command
from wolfscale.proxy.backend import BackendConnection
from wolfscale.proxy.interruption import Interruption
from wolfscale.proxy.leader_answers import WAITS_FOR_MAJORITY
from wolfscale.proxy.prepared import PreparedStatements
from wolfscale.proxy.process_list import SHOWN_BYTES, command_name, node_name, shown_text
from wolfscale.proxy.shortcut import Shortcut
from wolfscale.proxy.view import View
from wolfscale.proxy.waits import Waits

_TEXTS = frozenset({Command.QUERY, Command.STMT_PREPARE})
_EXECUTIONS = frozenset({Command.STMT_EXECUTE, Command.STMT_BULK_EXECUTE, Command.STMT_FETCH})


class Activity:
    """One session's: the command of its task, or the one that the relay engine carries."""

    def __init__(
        self, *, interruption: Interruption, waits: Waits, shortcut: Shortcut, prepared: PreparedStatements
    ) -> None:
        self._interruption = interruption
        self._waits = waits
        self._shortcut = shortcut
        self._prepared = prepared
        self._payload = b""
        self._since = time.monotonic()

    def begin(self, payload: bytes) -> None:
        """The session's task has a command."""
        self._payload = payload
        self._since = time.monotonic()

    def end(self) -> None:
        """It is answered."""
        self._payload = b""
        self._since = time.monotonic()

    @property
    def is_busy(self) -> bool:
        """Whether a command is under way."""
        carried = self._shortcut.connection is not None
        running = self._interruption.running_on is not None
        return bool(self._payload) or carried or running or bool(self._waits.state)

    @property
    def since(self) -> float:
        """When the command that is under way began, or the last one ended; by the monotonic clock."""
        return max(self._since, self._shortcut.since)

    def columns(self, view: View) -> dict[str, str]:
        """The columns that tell of it; Time is that in this command, or since the last one."""
        running, shortcut = self._interruption.running_on, self._shortcut
        carried = shortcut.connection is not None
        if not self.is_busy:
            command, state, info, where = "Sleep", "Idle", "", ""
        else:
            code, text = self._asked()
            command, info = command_name(code), shown_text(text)
            state, where = self._state(view, running, held=carried), _place(view, running)
        return {
            "Command": command,
            "Time": str(int(time.monotonic() - self.since)),
            "State": state,
            "Info": info,
            "Runs_on": where,
        }

    def _asked(self) -> tuple[int, bytes | bytearray]:
        """The command and its text, "" for commands without one."""
        payload = self._payload
        if not payload:
            return self._shortcut.command, self._shortcut.text
        if payload[0] in _TEXTS:
            return payload[0], payload[1 : 1 + SHOWN_BYTES]
        return payload[0], self._prepared.text_of(payload) if payload[0] in _EXECUTIONS else b""

    def _state(self, view: View, running: BackendConnection | None, *, held: bool) -> str:
        if self._waits.state:
            return self._waits.state
        if running is None:
            return WAITS_FOR_MAJORITY if held else ""
        if not running.leader:
            return f"Running on {node_name(view.node)}"
        if running.term != view.term or not view.leader:
            return f"Running on the leader of term {running.term}"
        return f"Running on {node_name(view.leader)}"


def _place(view: View, running: BackendConnection | None) -> str:
    if running is None:
        return ""
    if running.leader:
        return "leader"
    return node_name(view.node) if view.elsewhere else "this node"
