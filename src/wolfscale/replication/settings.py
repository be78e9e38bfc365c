"""The one table of the MariaDB settings that WolfScale depends on, each with its reason.

A managed server gets them as arguments. An external server's are compared with the table: what can be
set while it runs is set, and what cannot is named as the exact lines that its configuration lacks.
Pure: no server is touched here. SQL modes and everything else that belongs to the applications is left as it
is; only a managed server's character set is chosen as Debian's own package chooses it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from wolfscale.replication.server_errors import ServerUnsupported, SettingsRefused

OLDEST_VERSION = (10, 6)
"""The first series with atomic DDL (MDEV-17567): before it a crash could leave half a table behind."""

RESERVED_SERVER_ID = 0x80000000
"""Server ids from here on never write: a server that is no primary runs under this plus its number."""

BINLOG_PREFIX = "binlog-"
"""Every binlog of a server of ours is named `binlog-<boot number>.<file number>`."""

RELAY_LOG = "relay-wolfscale"

_GIBIBYTE = 1 << 30


class Durability(Enum):
    """What MariaDB itself writes through to the disk at each commit."""

    WAL = "wal"
    """Nothing: the node's log is the promise; a power cut costs a second or two that the log gives back."""
    FULL = "full"
    """InnoDB's log and the binlog, as a server of its own would."""


class Applies(Enum):
    """Whose setting it is."""

    ALWAYS = "always"
    MANAGED = "managed"
    """Only for a server that has no other purpose; an external server's owner decides otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One MariaDB setting.

    Attributes:
        name: the system variable.
        value: what it must be, as it is written in my.cnf.
        reason: what breaks otherwise.
        dynamic: whether a running server can be told (`SET GLOBAL`).
        shown: what `SHOW GLOBAL VARIABLES` may answer when it is right; `value` when empty.
        known_everywhere: false when some supported version lacks the variable; then it is not missed.
        applies: whose setting it is.
    """

    name: str
    value: str
    reason: str
    dynamic: bool = True
    shown: tuple[str, ...] = ()
    known_everywhere: bool = True
    applies: Applies = Applies.ALWAYS

    @property
    def argument(self) -> str:
        """The setting as an argument of `mariadbd`; one that not every version knows is `--loose`."""
        loose = "" if self.known_everywhere else "loose-"
        return f"--{loose}{self.name.replace('_', '-')}={self.value}"

    @property
    def line(self) -> str:
        """The setting as a line of my.cnf."""
        return f"{self.name} = {self.value}"

    def holds(self, shown: str) -> bool:
        """Whether a value that the server shows is the wanted one."""
        wanted = self.shown or (self.value,)
        return shown.strip().upper() in {value.upper() for value in wanted}


def _on(name: str, reason: str, *, dynamic: bool = True, known_everywhere: bool = True) -> Setting:
    return Setting(
        name=name,
        value="ON",
        shown=("ON", "1"),
        reason=reason,
        dynamic=dynamic,
        known_everywhere=known_everywhere,
    )


def _off(name: str, reason: str, *, dynamic: bool = True, known_everywhere: bool = True) -> Setting:
    return Setting(
        name=name,
        value="OFF",
        shown=("OFF", "0"),
        reason=reason,
        dynamic=dynamic,
        known_everywhere=known_everywhere,
    )


TRACKED_VARIABLES = (
    "autocommit,character_set_client,character_set_connection,character_set_results,time_zone,last_gtid"
)
"""MariaDB's own default list and `last_gtid`."""

SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="character_set_server",
        value="utf8mb4",
        reason="MariaDB's built-in latin1 refuses most of the world's text",
        applies=Applies.MANAGED,
    ),
    Setting(
        name="collation_server",
        value="utf8mb4_general_ci",
        reason="the collation that Debian's package gives that character set",
        applies=Applies.MANAGED,
    ),
    Setting(name="binlog_format", value="ROW", reason="statements would not give the same rows elsewhere"),
    Setting(
        name="binlog_row_image", value="FULL", reason="a row without a key is found by all of its columns"
    ),
    Setting(name="binlog_checksum", value="CRC32", reason="capture and feed check every event"),
    _off("log_bin_compress", "the node's log compresses whole batches, which is better and done once"),
    _off("encrypt_binlog", "the node reads the end of the binlog after a crash", dynamic=False),
    _off(
        "binlog_alter_two_phase",
        "an ALTER is one event group, not a beginning and an end with others between them",
        known_everywhere=False,
    ),
    Setting(name="expire_logs_days", value="0", shown=("0", "0.000000"), reason="the node purges binlogs"),
    _off(
        "log_slave_updates",
        "a replica that logs what it applies has a binlog that disagrees with its data after a power cut; "
        "without one mysql.gtid_slave_pos is exact",
        dynamic=False,
    ),
    _on("gtid_strict_mode", "a sequence number out of order must be an error, not a silent fork"),
    Setting(name="gtid_domain_id", value="0", reason="the log is one sequence, so there is one domain"),
    _off("gtid_ignore_duplicates", "what a replica is given twice is an error to be seen"),
    Setting(
        name="rpl_semi_sync_master_wait_point",
        value="AFTER_SYNC",
        reason="a commit must wait before the engine shows it to anybody, not after",
    ),
    _off(
        "rpl_semi_sync_slave_enabled",
        "a replica that asks the feed for semi-synchronous replication stops with error 1593",
    ),
    Setting(
        name="slave_exec_mode",
        value="STRICT",
        reason="idempotent replay diverges silently on tables without a key, changed keys and cascades",
    ),
    Setting(
        name="slave_skip_errors",
        value="OFF",
        shown=("OFF", ""),
        reason="an error that is skipped is a difference",
        dynamic=False,
    ),
    Setting(
        name="slave_parallel_threads",
        value="0",
        reason="groups are applied in the order of the log, one at a time; serial apply keeps up",
    ),
    Setting(
        name="relay_log",
        value=RELAY_LOG,
        reason="a power cut can tear the relay logs, so recovery deletes them and must know their name",
        dynamic=False,
    ),
    _on(
        "innodb_snapshot_isolation",
        "a repeatable read that updates rows changed since its snapshot gets an error, not lost updates",
        known_everywhere=False,
    ),
    _on("log_bin_trust_function_creators", "ordinary users could not create functions (error 1418)"),
    Setting(
        name="session_track_system_variables",
        value=TRACKED_VARIABLES,
        shown=(
            TRACKED_VARIABLES,
            ",".join(sorted(TRACKED_VARIABLES.split(","))),
            "*",
        ),
        reason="each OK carries the GTID of its commit, so that a session sees its own writes",
    ),
    Setting(
        name="proxy_protocol_networks",
        value="localhost,127.0.0.1/32",
        shown=("localhost,127.0.0.1/32", "127.0.0.1/32,localhost"),
        reason="grants by host need the client's address, which the proxy sends ahead",
    ),
    Setting(
        name="max_allowed_packet",
        value="1G",
        shown=(str(_GIBIBYTE),),
        reason="a row event can be as large as the largest row",
    ),
    Setting(
        name="slave_max_allowed_packet",
        value="1G",
        shown=(str(_GIBIBYTE),),
        reason="a row event can be as large as the largest row",
    ),
    _off("wsrep_on", "Galera and WolfScale cannot both order the commits", known_everywhere=False),
    *(
        Setting(
            name=name,
            value="",
            reason="a replica that leaves something out is not a copy",
        )
        for name in (
            "replicate_do_db",
            "replicate_ignore_db",
            "replicate_do_table",
            "replicate_ignore_table",
            "replicate_wild_do_table",
            "replicate_wild_ignore_table",
        )
    ),
    Setting(
        name="performance_schema",
        value="OFF",
        shown=("OFF", "0"),
        dynamic=False,
        applies=Applies.MANAGED,
        reason="it costs memory and some speed; give `--performance-schema=ON` as an option to have it",
    ),
    Setting(
        name="max_connections",
        value="500",
        applies=Applies.MANAGED,
        reason="sessions of all nodes' clients end on the leader",
    ),
)
"""Everything but what changes at each boot (`boot_arguments`) and with the configuration."""

LOG_IN_PLUGINS = ("auth_ed25519",)
"""Of those that come with MariaDB's server; one that is missing after all costs a line in its error log."""

_ONLY_CHECKED = frozenset({"wsrep_on"} | {s.name for s in SETTINGS if s.name.startswith("replicate_")})
"""Right by default: a managed server need not be told."""


def durability_settings(durability: Durability) -> tuple[Setting, ...]:
    """Return the settings that say what MariaDB writes through to the disk itself."""
    if durability is Durability.FULL:
        reason = 'durability = "full": MariaDB keeps its own promise too'
        flush, sync = "1", "1"
    else:
        reason = "the node's log is the promise; one fsync there serves many commits"
        flush, sync = "2", "0"
    return (
        Setting(name="innodb_flush_log_at_trx_commit", value=flush, reason=reason),
        Setting(name="sync_binlog", value=sync, reason=reason),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """What the configuration says about a managed server.

    Attributes:
        buffer_pool_mb: InnoDB's buffer pool in MiB.
        durability: what MariaDB writes through at each commit.
        port: TCP port on 127.0.0.1; None: unix socket only.
        extra: further arguments; they come last and so win.
    """

    buffer_pool_mb: int = 128
    durability: Durability = Durability.WAL
    port: int | None = None
    extra: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """What is different at each start of a server.

    Attributes:
        number: counts the starts of this data directory; a binlog base name is never used twice, so that
            InnoDB's "last binlog file" cannot name a file of an earlier boot.
        server_id: the reserved id under which the server starts.
    """

    number: int
    server_id: int = RESERVED_SERVER_ID

    @property
    def binlog_base(self) -> str:
        """Base name of this boot's binlog files."""
        return f"{BINLOG_PREFIX}{self.number:06d}"


def boot_settings(boot: Boot) -> tuple[tuple[str, str | None], ...]:
    """Return option names and values for one start: every server starts as a silent replica."""
    return (
        ("log-bin", boot.binlog_base),
        ("server-id", str(boot.server_id)),
        ("read-only", "1"),
        ("skip-slave-start", None),
        ("event-scheduler", "OFF"),
    )


def boot_arguments(boot: Boot) -> list[str]:
    """Return the arguments of one start."""
    return [f"--{name}" if value is None else f"--{name}={value}" for name, value in boot_settings(boot)]


def boot_file(boot: Boot) -> str:
    """Return the same as a configuration file that an external server's my.cnf includes."""
    lines = ["# Written by wolfscale at each start of this server.", "[mariadbd]"]
    lines += [name if value is None else f"{name} = {value}" for name, value in boot_settings(boot)]
    return "\n".join(lines) + "\n"


def managed_arguments(options: ServerOptions) -> list[str]:
    """Return the arguments of a managed server but for its paths and its boot."""
    settings = [s for s in SETTINGS if s.name not in _ONLY_CHECKED]
    arguments = [setting.argument for setting in (*settings, *durability_settings(options.durability))]
    arguments.append(f"--innodb-buffer-pool-size={options.buffer_pool_mb}M")
    # Accounts are the same on every node, so what they log in by must be there on every node.
    arguments += [f"--plugin-load-add={library}" for library in LOG_IN_PLUGINS]
    if options.port is None:
        arguments.append("--skip-networking")
    else:
        arguments += ["--bind-address=127.0.0.1", f"--port={options.port}"]
    return [*arguments, *options.extra]


def statements_for(variables: Mapping[str, str], durability: Durability) -> list[str]:
    """Return the statements that put a running server right; refuse what they cannot.

    Args:
        variables: `SHOW GLOBAL VARIABLES`, names in lower case.
        durability: what MariaDB shall write through at each commit.

    Raises:
        SettingsRefused: settings that only a restart changes are wrong; names the lines to add.
    """
    statements = []
    missing = []
    for setting in (*SETTINGS, *durability_settings(durability)):
        shown = variables.get(setting.name)
        if setting.applies is Applies.MANAGED or (shown is None and not setting.known_everywhere):
            continue
        if shown is not None and setting.holds(shown):
            continue
        if setting.dynamic:
            statements.append(f"SET GLOBAL {setting.name} = {_literal(setting.value)}")
        else:
            missing.append(setting)
    if missing:
        raise SettingsRefused([(setting.line, setting.reason) for setting in missing])
    return statements


def _literal(value: str) -> str:
    if value.isdigit():
        return value
    if value == "1G":
        return str(_GIBIBYTE)
    return f"'{value}'"


def check_version(text: str, program: str) -> tuple[int, ...]:
    """Return the version of a server; refuse one that is no MariaDB or too old.

    Args:
        text: what the server says of itself: `SELECT VERSION()` or `mariadbd --version`.
        program: what to name in the error.

    Raises:
        ServerUnsupported: it is not MariaDB, or older than 10.6.
    """
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", text)
    if found is None or "mariadb" not in text.lower():
        raise ServerUnsupported(
            f"{program} is not MariaDB (it says {text.strip()!r}). WolfScale needs MariaDB 10.6 or later: it "
            "relies on MariaDB's GTIDs and semi-synchronous replication. Install mariadb-server."
        )
    version = tuple(int(part) for part in found.groups())
    if version[:2] < OLDEST_VERSION:
        oldest = ".".join(map(str, OLDEST_VERSION))
        raise ServerUnsupported(
            f"{program} is MariaDB {found[0]}; WolfScale needs {oldest} or later, the first series whose DDL "
            "is atomic when the server is killed. Upgrade mariadb-server."
        )
    return version


def missing_include(path: str) -> Sequence[tuple[str, str]]:
    """Return the line, with its reason, that lets the node give an external server its boot settings."""
    return [
        (
            f"!include {path}",
            "the node names a new binlog at each start and starts the server as a read-only replica",
        )
    ]
