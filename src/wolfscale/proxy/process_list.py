"""A session as SHOW PROCESSLIST would show it (pure)."""

import re

from wolfscale.mysql.constants import Command

INFO_CHARACTERS = 100
"""So much of a statement is shown, as SHOW PROCESSLIST does without FULL."""
SHOWN_BYTES = 4 * INFO_CHARACTERS
"""What is shown stands in them, in any character set."""

# MariaDB sql/sql_parse.cc, command_name.
_NAMES: dict[int, str] = {
    Command.INIT_DB: "Init DB",
    Command.QUERY: "Query",
    Command.FIELD_LIST: "Field List",
    Command.STATISTICS: "Statistics",
    Command.PROCESS_INFO: "Processlist",
    Command.PROCESS_KILL: "Kill",
    Command.PING: "Ping",
    Command.CHANGE_USER: "Change user",
    Command.STMT_PREPARE: "Prepare",
    Command.STMT_EXECUTE: "Execute",
    Command.STMT_SEND_LONG_DATA: "Long Data",
    Command.STMT_CLOSE: "Close stmt",
    Command.STMT_RESET: "Reset stmt",
    Command.SET_OPTION: "Set option",
    Command.STMT_FETCH: "Fetch",
    Command.RESET_CONNECTION: "Reset connection",
    Command.STMT_BULK_EXECUTE: "Bulk_execute",
}
_SECRET = re.compile(r"identified|password", re.IGNORECASE)


def command_name(code: int) -> str:
    """A command as MariaDB calls it."""
    return _NAMES.get(code, "Query")


def shown_text(sql: bytes | bytearray) -> str:
    """The beginning of a statement, without what may be a password.

    Of a statement that speaks of passwords nothing behind the first such word is shown.
    """
    text = bytes(sql[:SHOWN_BYTES]).decode("utf-8", "replace")
    secret = _SECRET.search(text)
    if secret is not None:
        text = text[: secret.end()] + " <hidden>"
    return text[:INFO_CHARACTERS]


def node_name(id: str) -> str:
    """A node's name: its id without what makes that unique."""
    return id.rpartition(".")[0] or id
