"""Global variables that a client may not set, although it may set the others on every node (pure).

A table with reasons, which docs/routing.md repeats. What no session may set either is in `refused`.
"""

from wolfscale.proxy.lexer import TokenKind
from wolfscale.proxy.settings import Assignment, Scope

LEAST_CONNECTIONS = 50
MOST_PACKET_BYTES = 1 << 30
"""MariaDB's own limit of max_allowed_packet."""

_NODE_KEEPS = "the node keeps it at the value that the cluster relies on"
_REPLICA_THREADS = "it decides how a node applies the log, and the node keeps it"
_BINLOG = "capture and recovery read the binary log, and the node keeps its settings"
_DURABILITY = "how a node survives a power cut is [database] durability in wolfscale.toml"
_ENGINE = (
    "a server that applies the log goes on with the engine that it began with; set the session's, or give "
    "--default-storage-engine to every node in [database] options"
)
_EXPRESSIONS = (
    "a server that applies the log goes on with the value that it began with, and ALTER TABLE would fill "
    "columns differently; set the session's, or give it to every node in [database] options"
)
_ACTION = "it makes one server do something and is no setting; run it on that server"
_TRACKING = "the proxy learns through it what a session has changed"

REFUSED_GLOBALS: dict[str, str] = {
    "EVENT_SCHEDULER": "events belong to the leader alone, and the cluster switches them on there",
    "INIT_CONNECT": "it would run, unseen by the proxy, in each session of a client on each server",
    "INIT_SLAVE": _REPLICA_THREADS,
    "INIT_REPLICA": _REPLICA_THREADS,
    "TX_READ_ONLY": "the cluster's own transactions could not write",
    "TRANSACTION_READ_ONLY": "the cluster's own transactions could not write",
    "DEFAULT_STORAGE_ENGINE": _ENGINE,
    "STORAGE_ENGINE": _ENGINE,
    "DEFAULT_REGEX_FLAGS": _EXPRESSIONS,
    "DEFAULT_WEEK_FORMAT": _EXPRESSIONS,
    "DIV_PRECISION_INCREMENT": _EXPRESSIONS,
    "DEFAULT_PASSWORD_LIFETIME": "the node's own account would expire; use ALTER USER ... PASSWORD EXPIRE",
    "PROXY_PROTOCOL_NETWORKS": "grants by host need the client's address, which the proxy sends ahead",
    "INNODB_SNAPSHOT_ISOLATION": _NODE_KEEPS,
    "INNODB_FLUSH_LOG_AT_TRX_COMMIT": _DURABILITY,
    "INNODB_FLUSH_LOG_AT_TIMEOUT": _DURABILITY,
    "INNODB_FAST_SHUTDOWN": "the node stops its server and decides how",
    "SYNC_BINLOG": _DURABILITY,
    "LOG_BIN_COMPRESS": _BINLOG,
    "LOG_BIN_COMPRESS_MIN_LEN": _BINLOG,
    "MAX_BINLOG_SIZE": _BINLOG,
    "EXPIRE_LOGS_DAYS": _BINLOG,
    "ENCRYPT_BINLOG": _BINLOG,
    "READ_BINLOG_SPEED_LIMIT": _BINLOG,
    "INNODB_BUFFER_POOL_DUMP_NOW": _ACTION,
    "INNODB_BUFFER_POOL_LOAD_NOW": _ACTION,
    "INNODB_BUFFER_POOL_LOAD_ABORT": _ACTION,
    "INNODB_LOG_CHECKPOINT_NOW": _ACTION,
    "INNODB_MONITOR_ENABLE": _ACTION,
    "INNODB_MONITOR_DISABLE": _ACTION,
    "INNODB_MONITOR_RESET": _ACTION,
    "INNODB_MONITOR_RESET_ALL": _ACTION,
    "DEBUG": _ACTION,
    "DEBUG_DBUG": _ACTION,
    "DEBUG_SYNC": _ACTION,
}
"""Upper-case names, and why they may not be set for the cluster."""

REFUSED_FAMILIES: tuple[tuple[str, str], ...] = (
    ("BINLOG_", _BINLOG),
    ("MASTER_", _REPLICA_THREADS),
    ("RELAY_LOG_", _REPLICA_THREADS),
    ("REPLICATE_", "a replica that leaves something out is not a copy"),
    ("SESSION_TRACK_", _TRACKING),
    ("SLAVE_", _REPLICA_THREADS),
    ("SQL_SLAVE_", "an error that is skipped is a difference"),
    ("SYNC_MASTER_", _REPLICA_THREADS),
    ("SYNC_RELAY_", _REPLICA_THREADS),
    ("WSREP_", "Galera and WolfScale cannot both order the commits"),
)
"""The same for names that begin so."""

NESTED = (
    "SET GLOBAL here would change one server only and be lost with the next leader; send it by the MySQL "
    "protocol, as a statement of its own"
)


def why_not_global(assignment: Assignment) -> str | None:
    """Why a global variable may not be set so on every node; None when it may."""
    name = variable_name(assignment)
    if "." in name:
        return "a key cache of its own name is one server's alone"
    reason = REFUSED_GLOBALS.get(name)
    if reason is None:
        reason = next((why for prefix, why in REFUSED_FAMILIES if name.startswith(prefix)), None)
    if reason is None and name.startswith("TRANSACTION ") and "READ" in _properties(assignment):
        reason = REFUSED_GLOBALS["TX_READ_ONLY"]
    if name == "MAX_CONNECTIONS" and not (is_default(assignment) or _is_least(assignment, LEAST_CONNECTIONS)):
        reason = f"give a number of at least {LEAST_CONNECTIONS}: the nodes need connections of their own"
    if name == "MAX_ALLOWED_PACKET" and not _is_least(assignment, MOST_PACKET_BYTES):
        reason = "a replica must take the largest row; it is 1 GiB already"
    return f"SET GLOBAL {name.lower()}: {reason}" if reason else None


def variable_name(assignment: Assignment) -> str:
    """The global variable that an assignment sets, upper case."""
    if assignment.name.startswith("TRANSACTION ISOLATION"):
        return "TX_ISOLATION"
    return assignment.name


def is_default(assignment: Assignment) -> bool:
    """Whether the value is the word DEFAULT."""
    return len(assignment.tokens) == 1 and assignment.tokens[0].word == "DEFAULT"


def sets_globals(assignments: tuple[Assignment, ...]) -> bool:
    """Whether any of the assignments is global."""
    return any(assignment.scope is Scope.GLOBAL for assignment in assignments)


def _properties(assignment: Assignment) -> set[str]:
    """The first words of what SET GLOBAL TRANSACTION says: ISOLATION, READ."""
    texts = assignment.name.removeprefix("TRANSACTION ").split(",")
    return {text.split()[0] for text in texts if text.split()}


def _is_least(assignment: Assignment, least: int) -> bool:
    """Whether the value is a plain number that is as great as this, or greater."""
    token = assignment.tokens[0] if len(assignment.tokens) == 1 else None
    return (
        token is not None
        and token.kind is TokenKind.NUMBER
        and token.value.isdigit()
        and int(token.value) >= least
    )
