"""What servers answer to every kind of command: the commands, and what each response must be found to say.

`recorded/responses.json` holds a real server's bytes for each scenario under each set of capabilities;
running this file records them anew. The commands of a scenario are sent at once, followed by PING and QUIT,
and all that the server sends until it closes is kept: so the ends found must use the bytes up exactly.
Statement ids are the server's, not the connection's, so the scenarios say "the last one".
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wolfscale.mysql.client import DEFAULT_CAPABILITIES
from wolfscale.mysql.commands import LAST_PREPARED_STATEMENT as LAST
from wolfscale.mysql.constants import Capability, Command, Status
from wolfscale.mysql.errors import ConnectionLost
from wolfscale.mysql.framing import packet
from wolfscale.mysql.tracker import ResponseTracker
from wolfscale.testing.mariadb import ScratchMariaDB

RECORDED = Path(__file__).parent / "recorded" / "responses.json"

_COMMON = int(
    (DEFAULT_CAPABILITIES & ~(Capability.SESSION_TRACK | Capability.DEPRECATE_EOF))
    | Capability.MULTI_STATEMENTS
    | Capability.LOCAL_FILES
)
_MARIADB = int(
    Capability.MARIADB_PROGRESS
    | Capability.MARIADB_STMT_BULK_OPERATIONS
    | Capability.MARIADB_EXTENDED_METADATA
    | Capability.MARIADB_CACHE_METADATA
)
CAPABILITIES = {
    "plain": _COMMON,
    "track": _COMMON | int(Capability.SESSION_TRACK),
    "track, no eof": _COMMON | int(Capability.SESSION_TRACK | Capability.DEPRECATE_EOF),
    "mariadb": (_COMMON | int(Capability.SESSION_TRACK) | _MARIADB) & ~int(Capability.MYSQL),
    "mariadb, no eof": (_COMMON | int(Capability.SESSION_TRACK | Capability.DEPRECATE_EOF) | _MARIADB)
    & ~int(Capability.MYSQL),
}

SETUP = (
    "CREATE DATABASE app",
    "CREATE TABLE app.three (id INT PRIMARY KEY, name VARCHAR(400))",
    "INSERT INTO app.three VALUES (1, 'one'), (2, REPEAT('t', 300)), (3, NULL)",
    "CREATE TABLE app.log (id INT AUTO_INCREMENT PRIMARY KEY, at INT)",
    "CREATE PROCEDURE app.two_results() BEGIN SELECT 1; SELECT id FROM app.three; END",
    "CREATE PROCEDURE app.writes() BEGIN INSERT INTO app.log (at) VALUES (7); SELECT 'w'; END",
    "CREATE PROCEDURE app.gives(OUT a INT) BEGIN SET a = 5; SELECT 8; END",
    # The results behind its cursor have CURSOR_EXISTS, and rows all the same.
    "CREATE PROCEDURE app.walks() BEGIN DECLARE i INT; DECLARE c CURSOR FOR SELECT id FROM app.three; "
    "OPEN c; FETCH c INTO i; SELECT i; CLOSE c; SELECT id FROM app.three; END",
    "CREATE FUNCTION app.first() RETURNS INT DETERMINISTIC READS SQL DATA BEGIN DECLARE i INT; "
    "DECLARE c CURSOR FOR SELECT id FROM app.three; OPEN c; FETCH c INTO i; CLOSE c; RETURN i; END",
)
ARGUMENTS = (
    "--log-bin=bin",
    "--server-id=7",
    "--local-infile=ON",
    "--session-track-system-variables=last_gtid,autocommit",
    "--max-allowed-packet=64M",
)


@dataclass(frozen=True, slots=True)
class Says:
    """What a response must be found to say; a field that is None is not looked at."""

    error: int | None = 0
    rows: bool | None = None
    columns: int | None = None
    affected: int | None = None
    gtid: bool | None = None
    schema: bytes | None = None
    status: int = 0
    not_status: int = 0
    parameters: int | None = None
    last_insert_id: bool | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """Commands, each with what its response says; `data` are packets sent right behind a command."""

    name: str
    steps: tuple[tuple[bytes, Says], ...]
    data: dict[int, tuple[bytes, ...]] = field(default_factory=dict)
    only: tuple[str, ...] = tuple(CAPABILITIES)


def query(sql: str) -> bytes:
    return bytes((Command.QUERY,)) + sql.encode()


def prepare(sql: str) -> bytes:
    return bytes((Command.STMT_PREPARE,)) + sql.encode()


def execute(parameters: bytes = b"", cursor: int = 0) -> bytes:
    return struct.pack("<BIBI", Command.STMT_EXECUTE, LAST, cursor, 1) + parameters


def on_statement(command: Command, rest: bytes = b"") -> bytes:
    return struct.pack("<BI", command, LAST) + rest


OK = Says(rows=False, columns=0)
IN_TRANS = int(Status.IN_TRANS)
ONE_INT = b"\x00\x01\x03\x00" + struct.pack("<i", 2)
EOF_LESS = ("track, no eof", "mariadb, no eof")
TRACKING = tuple(name for name in CAPABILITIES if name != "plain")

SCENARIOS = (
    Scenario("select one row", ((query("SELECT 1"), Says(rows=True, columns=1, gtid=False)),)),
    Scenario(
        "select no rows", ((query("SELECT id FROM app.three WHERE id > 9"), Says(rows=False, columns=1)),)
    ),
    Scenario("select long and null", ((query("SELECT * FROM app.three"), Says(rows=True, columns=2)),)),
    Scenario(
        "insert",
        (
            (
                query("INSERT INTO app.log (at) VALUES (1), (2)"),
                Says(affected=2, last_insert_id=True, rows=False),
            ),
        ),
    ),
    Scenario(
        "insert tells its gtid",
        ((query("INSERT INTO app.log (at) VALUES (1)"), Says(affected=1, gtid=True)),),
        only=TRACKING,
    ),
    Scenario("update", ((query("UPDATE app.log SET at = 9 WHERE at = 1"), Says(rows=False)),)),
    Scenario("syntax error", ((query("SELCT"), Says(error=1064, columns=0, rows=False, gtid=False)),)),
    Scenario(
        "error after a row",
        (
            (
                query(
                    "SELECT (SELECT b.id FROM app.three b WHERE b.id >= a.id) FROM app.three a"
                    " ORDER BY a.id DESC"
                ),
                Says(error=1242, columns=1),
            ),
        ),
    ),
    Scenario(
        "several statements",
        (
            (
                query("SELECT 1; INSERT INTO app.log (at) VALUES (3); SELECT id FROM app.three; DO 0"),
                Says(rows=True, not_status=int(Status.MORE_RESULTS_EXISTS)),
            ),
        ),
    ),
    Scenario(
        "several statements, gtid of one in the middle",
        ((query("DO 1; INSERT INTO app.log (at) VALUES (3); SELECT 1"), Says(gtid=True)),),
        only=TRACKING,
    ),
    Scenario(
        "several statements, error in the last",
        ((query("SELECT 1; SELECT nope"), Says(error=1054, rows=True)),),
    ),
    Scenario("call with two results", ((query("CALL app.two_results()"), Says(rows=True)),)),
    Scenario(
        "call tells the gtid in its last ok",
        ((query("CALL app.writes()"), Says(rows=True, gtid=True)),),
        only=TRACKING,
    ),
    Scenario(
        "returning tells its gtid where eof is deprecated",
        ((query("INSERT INTO app.log (at) VALUES (5) RETURNING id"), Says(rows=True, gtid=True)),),
        only=EOF_LESS,
    ),
    Scenario(
        "returning tells no gtid where it is not",
        ((query("INSERT INTO app.log (at) VALUES (5) RETURNING id"), Says(rows=True, gtid=False)),),
        only=("track", "mariadb"),
    ),
    Scenario(
        "change of schema",
        (
            (bytes((Command.INIT_DB,)) + b"app", Says(schema=b"app")),
            (query("USE mysql"), Says(schema=b"mysql")),
        ),
        only=TRACKING,
    ),
    Scenario("unknown schema", ((bytes((Command.INIT_DB,)) + b"nope", Says(error=1049)),)),
    Scenario(
        "transaction",
        (
            (query("BEGIN"), Says(status=IN_TRANS)),
            (query("INSERT INTO app.log (at) VALUES (6)"), Says(status=IN_TRANS, gtid=False)),
            (query("SELECT 1"), Says(status=IN_TRANS, rows=True)),
            (query("nonsense"), Says(error=1064, status=IN_TRANS)),
            (query("COMMIT"), Says(not_status=IN_TRANS)),
            (query("SET autocommit = 0"), Says(not_status=int(Status.AUTOCOMMIT))),
        ),
    ),
    Scenario(
        "commit and ddl tell their gtids",
        (
            (query("BEGIN"), Says(gtid=False)),
            (query("INSERT INTO app.log (at) VALUES (6)"), Says(gtid=False)),
            (query("COMMIT"), Says(gtid=True)),
            (query("CREATE OR REPLACE TABLE app.made (id INT)"), Says(gtid=True)),
            (query("SET autocommit = 0"), Says(gtid=False)),
        ),
        only=TRACKING,
    ),
    Scenario("prepare nothing", ((prepare("DO 0"), Says(columns=0, parameters=0)),)),
    Scenario("prepare parameters only", ((prepare("DO ?, ?, ?"), Says(columns=0, parameters=3)),)),
    Scenario("prepare columns only", ((prepare("SELECT 1, 2"), Says(columns=2, parameters=0)),)),
    Scenario(
        "prepare both", ((prepare("SELECT ? FROM app.three WHERE id = ?"), Says(columns=1, parameters=2)),)
    ),
    Scenario("prepare an error", ((prepare("SELECT ? FROM"), Says(error=1064)),)),
    Scenario(
        "execute with rows, twice, and close",
        (
            (prepare("SELECT id, name FROM app.three WHERE id >= ?"), Says(parameters=1)),
            (execute(ONE_INT), Says(rows=True, columns=2)),
            (execute(ONE_INT), Says(rows=True, columns=2)),
            (on_statement(Command.STMT_CLOSE), OK),
            (execute(ONE_INT), Says(error=1243)),
        ),
    ),
    Scenario(
        "execute once",
        ((prepare("SELECT 4"), Says(columns=1)), (execute(), Says(rows=True, columns=1))),
    ),
    Scenario(
        "execute a write",
        (
            (prepare("INSERT INTO app.log (at) VALUES (?)"), Says(columns=0, parameters=1)),
            (execute(ONE_INT), Says(affected=1, rows=False)),
            (on_statement(Command.STMT_RESET), OK),
        ),
    ),
    Scenario(
        "execute a call with an out parameter",
        ((prepare("CALL app.gives(?)"), Says(parameters=1)), (execute(ONE_INT), Says(rows=True))),
    ),
    Scenario("call a procedure that has a cursor", ((query("CALL app.walks()"), Says(rows=True)),)),
    Scenario(
        "call a function that has a cursor",
        (
            (query("SELECT app.first()"), Says(rows=True, columns=1)),
            (query("SELECT name FROM app.three WHERE id = app.first()"), Says(rows=True, columns=1)),
        ),
    ),
    Scenario(
        "execute a call of a procedure that has a cursor",
        ((prepare("CALL app.walks()"), Says()), (execute(), Says(rows=True))),
    ),
    Scenario(
        "execute a call of a procedure that has a cursor, with another one",
        ((prepare("CALL app.walks()"), Says()), (execute(cursor=1), Says(rows=True))),
    ),
    Scenario(
        "execute a call of a function that has a cursor",
        (
            (prepare("SELECT name FROM app.three WHERE id = app.first()"), Says(columns=1)),
            (execute(), Says(rows=True, columns=1)),
        ),
    ),
    Scenario(
        "cursor",
        (
            (prepare("SELECT id FROM app.three"), Says(columns=1)),
            (execute(cursor=1), Says(rows=False, columns=1, status=int(Status.CURSOR_EXISTS))),
            (on_statement(Command.STMT_FETCH, struct.pack("<I", 2)), Says(rows=True)),
            (
                on_statement(Command.STMT_FETCH, struct.pack("<I", 9)),
                Says(rows=True, status=int(Status.LAST_ROW_SENT)),
            ),
            (on_statement(Command.STMT_RESET), Says()),
            (on_statement(Command.STMT_FETCH, struct.pack("<I", 2)), Says(error=1421)),
            (on_statement(Command.STMT_CLOSE), OK),
        ),
    ),
    Scenario(
        "cursor beside an ordinary result",
        (
            (prepare("SELECT id FROM app.three"), Says(columns=1)),
            (execute(cursor=1), Says(rows=False)),
            (prepare("SELECT 1"), Says(columns=1)),
            (execute(), Says(rows=True)),
            (query("SELECT 2"), Says(rows=True)),
        ),
    ),
    Scenario(
        "long data",
        (
            (prepare("SELECT LENGTH(?)"), Says(parameters=1)),
            (on_statement(Command.STMT_SEND_LONG_DATA, b"\0\0" + b"x" * 300), OK),
            (execute(b"\x00\x01\xfc\x00"), Says(rows=True)),
        ),
    ),
    Scenario(
        "bulk execution",
        (
            (prepare("INSERT INTO app.log (at) VALUES (?)"), Says(parameters=1)),
            (
                on_statement(
                    Command.STMT_BULK_EXECUTE,
                    b"\x80\x00\x03\x00" + b"".join(b"\0" + struct.pack("<i", n) for n in range(3)),
                ),
                Says(affected=3),
            ),
        ),
        only=("mariadb", "mariadb, no eof"),
    ),
    Scenario("field list", ((query("USE app"), OK), (b"\x04three\0%", Says(rows=False)))),
    Scenario("field list of no table", ((query("USE app"), OK), (b"\x04nope\0", Says(error=1146)))),
    Scenario("statistics", ((bytes((Command.STATISTICS,)), OK),)),
    Scenario("ping and reset", ((bytes((Command.PING,)), OK), (bytes((Command.RESET_CONNECTION,)), OK))),
    Scenario("set option", ((b"\x1b\1\0", OK), (query("SELECT 1; SELECT 2"), Says(error=1064)))),
    Scenario("process list", ((bytes((Command.PROCESS_INFO,)), Says(rows=True)),)),
    Scenario("kill of nobody", ((b"\x0c\xff\xff\xff\x0f", Says(error=1094)),)),
    Scenario("debug", ((bytes((Command.DEBUG,)), OK),)),
    Scenario("unknown command", ((b"\x40", Says(error=1047)),)),
    Scenario(
        "load data",
        ((query("LOAD DATA LOCAL INFILE 'f' INTO TABLE app.log (at)"), Says(affected=3, rows=False)),),
        data={0: (b"1\n2\n", b"3\n", b"")},
    ),
    Scenario(
        "load data of nothing, among others",
        (
            (
                query("SELECT 1; LOAD DATA LOCAL INFILE 'f' INTO TABLE app.log (at); SELECT 2"),
                Says(rows=True, columns=1),
            ),
        ),
        data={0: (b"",)},
    ),
)


def cases() -> Iterator[tuple[str, Scenario]]:
    for scenario in SCENARIOS:
        for name in scenario.only:
            yield name, scenario


def check(tracker: ResponseTracker, says: Says, *, tracks: bool) -> None:
    """Assert that a finished response said what it must."""
    errno = tracker.error.errno if tracker.error else 0
    assert errno == says.error, tracker.error
    if says.rows is not None:
        assert tracker.rows is says.rows
    if says.columns is not None:
        assert tracker.columns == says.columns
    if says.affected is not None:
        assert tracker.affected_rows == says.affected
    if says.last_insert_id is not None:
        assert bool(tracker.last_insert_id) is says.last_insert_id
    if says.parameters is not None:
        assert tracker.parameters == says.parameters
    if says.gtid is not None and tracks:
        assert (tracker.gtid is not None) is says.gtid, tracker.gtid
        assert tracker.gtid is None or tracker.gtid.startswith("0-7-")
    if says.schema is not None:
        assert tracker.schema == says.schema
    assert tracker.status & says.status == says.status
    assert not tracker.status & says.not_status
    assert not tracker.awaiting_client


def steps_with_ping(scenario: Scenario) -> tuple[tuple[bytes, Says], ...]:
    return (*scenario.steps, (bytes((Command.PING,)), OK))


def wire_of(scenario: Scenario, capabilities: int) -> bytes:
    """Everything that the client sends after its log-in."""
    parts = []
    for number, (payload, _) in enumerate(scenario.steps):
        parts.append(packet(payload, 0))
        # The request for a file is the first packet of the answer, or comes behind the result of SELECT 1.
        behind = 4 if capabilities & Capability.DEPRECATE_EOF else 5
        first = 2 if payload[1:5] == b"LOAD" else 2 + behind
        parts.extend(packet(data, first + n) for n, data in enumerate(scenario.data.get(number, ())))
    return b"".join((*parts, packet(bytes((Command.PING,)), 0), packet(bytes((Command.QUIT,)), 0)))


async def record(server: ScratchMariaDB, capabilities: int, scenario: Scenario) -> bytes:
    """Everything that a real server sends after the log-in."""
    connection = await server.connect(capabilities=capabilities)
    assert connection.capabilities == capabilities
    await connection.packets.send_raw(wire_of(scenario, capabilities))
    received = bytearray()
    while True:
        try:
            received += await connection.packets.receive_raw()
        except ConnectionLost:
            await connection.packets.aclose_forcefully()
            return bytes(received)


async def record_all() -> dict[str, Any]:
    async with ScratchMariaDB(arguments=ARGUMENTS) as server:
        server.execute(*SETUP)
        async with await server.connect() as connection:
            origin = f"MariaDB {connection.server_version}, unix socket"
        responses: dict[str, dict[str, str]] = {}
        for name, scenario in cases():
            bytes_ = await record(server, CAPABILITIES[name], scenario)
            responses.setdefault(scenario.name, {})[name] = bytes_.hex()
    return {"origin": origin, "responses": responses}


if __name__ == "__main__":
    import trio

    RECORDED.parent.mkdir(exist_ok=True)
    RECORDED.write_text(json.dumps(trio.run(record_all), indent=1) + "\n")
