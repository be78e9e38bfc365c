"""A scripted session gets the same packets through the proxy as from a server itself, to the byte."""

import struct
from collections.abc import Sequence
from itertools import zip_longest

import pytest
from proxy_pair import PASSWORD, Pair, cluster, shared_servers
from raw_client import OLD_CLIENT, RawClient

from wolfscale.mysql.client import Connection
from wolfscale.mysql.constants import Capability, Command

servers = shared_servers
pytestmark = pytest.mark.mariadb

# Clients that track their session are told GTIDs, which a server does not do: docs/compatibility.md.
_CLIENTS = {
    "plain": OLD_CLIENT,
    "many": OLD_CLIENT | Capability.MULTI_STATEMENTS | Capability.FOUND_ROWS | Capability.IGNORE_SPACE,
    "without-eof": OLD_CLIENT | Capability.MULTI_STATEMENTS | Capability.DEPRECATE_EOF,
}

_TEXTS = (
    "SET NAMES latin1",
    "SET NAMES utf8mb4",
    "DROP TABLE IF EXISTS p, q",
    "SHOW WARNINGS",
    "SELECT @@warning_count, @@error_count",
    "CREATE TABLE p (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(20), d DATETIME(6), f DOUBLE, b BLOB, "
    "e ENUM('a','b'), t TIMESTAMP NULL, n DECIMAL(20,5), bt BIT(9), y YEAR, tm TIME(3), u INT ZEROFILL)",
    "INSERT INTO p (v) VALUES ('a'), ('b'), ('c')",
    "SELECT LAST_INSERT_ID(), ROW_COUNT(), FOUND_ROWS()",
    "SELECT ROW_COUNT()",
    "UPDATE p SET v = 'x' WHERE id > 1",
    "UPDATE p SET v = 'x' WHERE id > 1",
    "SELECT ROW_COUNT()",
    "INSERT INTO p (d, f, b, e, n, bt, y, tm, u) VALUES ('2020-01-02 03:04:05.678901', 1.5e300, x'00ff', "
    "'b', 12345.678, b'101', 2024, '-12:34:56.789', 7)",
    "INSERT INTO p (v) VALUES (REPEAT('z', 30))",
    "INSERT IGNORE INTO p (v) VALUES (REPEAT('z', 30))",
    "SHOW WARNINGS",
    "SHOW COUNT(*) WARNINGS",
    "SELECT * FROM p",
    "SELECT FOUND_ROWS()",
    "SELECT ROW_COUNT()",
    "SELECT * FROM p LIMIT 0",
    "SELECT pp.id AS `ä`, pp.v x FROM p AS pp, (SELECT 1) AS q",
    "SELECT * FROM nosuch",
    "SHOW WARNINGS",
    "SHOW ERRORS",
    "SELEC",
    "SHOW WARNINGS",
    "",
    ";",
    "-- nothing",
    "/* c */ SELECT 1",
    "SELECT 1; ",
    "SELECT 1; SELECT 2",
    "SELECT 1; SELECT * FROM nosuch; SELECT 2",
    "DO 1; UPDATE p SET v = 'q' WHERE id = 1; SELECT v FROM p WHERE id = 1",
    "SELECT 1/0",
    "SHOW WARNINGS",
    "SELECT CAST('12abc' AS INT)",
    "SHOW WARNINGS",
    "BEGIN",
    "INSERT INTO p (v) VALUES ('t')",
    "SELECT COUNT(*) FROM p",
    "SAVEPOINT a",
    "DELETE FROM p WHERE v = 't'",
    "ROLLBACK TO a",
    "COMMIT",
    "START TRANSACTION READ ONLY",
    "SELECT COUNT(*) FROM p",
    "INSERT INTO p (v) VALUES ('t')",
    "COMMIT AND CHAIN",
    "COMMIT",
    "SET autocommit = 0",
    "SELECT COUNT(*) FROM p",
    "COMMIT",
    "SET autocommit = 1",
    "SELECT @@autocommit, @@sql_mode, @@tx_isolation, @@character_set_client, @@time_zone, @@wait_timeout",
    "SELECT @@read_only, @@tx_read_only",
    "SHOW VARIABLES LIKE 'sql_mode'",
    "SHOW TABLES LIKE 'p%'",
    "SHOW FULL COLUMNS FROM p",
    "SHOW CREATE TABLE p",
    "DESCRIBE p",
    "EXPLAIN SELECT * FROM p WHERE id = 1",
    "SHOW DATABASES LIKE 'packets%'",
    "SHOW ENGINES",
    "SHOW GRANTS",
    "SHOW PROCEDURE STATUS LIKE 'nosuch'",
    "SHOW TRIGGERS",
    "SELECT DATABASE(), CURRENT_USER(), CHARSET(USER()), COERCIBILITY('a')",
    "USE packets",
    "USE nosuch",
    "SET @a = 1",
    "SELECT @a, @b := 3, @c",
    "SET @a = (SELECT COUNT(*) FROM p)",
    "SELECT @a",
    "SELECT id INTO @x FROM p",
    "SHOW WARNINGS",
    "SELECT id INTO @x FROM p WHERE 0",
    "SHOW WARNINGS",
    "CREATE PROCEDURE r(OUT o INT, INOUT i INT) BEGIN SELECT COUNT(*) INTO o FROM p; SET i = i + 1; "
    "SELECT 1 AS one, i AS ii; SELECT 'two' two; END",
    "CALL r(@o, @a)",
    "SELECT @o, @a",
    "CALL nosuch()",
    "CREATE FUNCTION g(a INT) RETURNS INT DETERMINISTIC RETURN a * 2",
    "SELECT g(2)",
    "CREATE PROCEDURE s() SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'own', MYSQL_ERRNO = 5000",
    "CALL s()",
    "SHOW WARNINGS",
    "PREPARE t FROM 'SELECT ? + 1'",
    "EXECUTE t USING @a",
    "EXECUTE nosuch",
    "DEALLOCATE PREPARE t",
    "EXECUTE IMMEDIATE 'SELECT 5'",
    "CREATE TEMPORARY TABLE tt (i INT)",
    "INSERT INTO tt VALUES (1), (2)",
    "SELECT * FROM tt",
    "DROP TEMPORARY TABLE tt",
    "DROP TABLE tt",
    "LOCK TABLES p WRITE",
    "SELECT COUNT(*) FROM q",
    "UNLOCK TABLES",
    "SELECT GET_LOCK('l', 1), IS_FREE_LOCK('l')",
    "SELECT RELEASE_LOCK('l')",
    "SELECT SQL_CALC_FOUND_ROWS id FROM p LIMIT 1",
    "SELECT FOUND_ROWS()",
    "REPLACE INTO p (id, v) VALUES (1, 'rr')",
    "INSERT INTO p (id) VALUES (1)",
    "INSERT INTO p (id) VALUES (1) ON DUPLICATE KEY UPDATE v = 'dup'",
    "INSERT INTO p (id) VALUES (77)",
    "UPDATE p SET id = LAST_INSERT_ID(500) WHERE id = 77",
    "SELECT LAST_INSERT_ID()",
    "ALTER TABLE p ADD zz INT",
    "CREATE TABLE q LIKE p",
    "INSERT INTO q SELECT * FROM p",
    "CREATE INDEX i ON q (v)",
    "CHECKSUM TABLE q",
    "TRUNCATE q",
    "RENAME TABLE q TO o",
    "DROP TABLE o",
    "CREATE VIEW w AS SELECT id FROM p",
    "SELECT * FROM w LIMIT 1",
    "FLUSH TABLES",
    "SET sql_mode = 'ANSI_QUOTES'",
    'SELECT "id" FROM "p" LIMIT 1',
    "SET sql_mode = DEFAULT",
    "SET time_zone = '+03:00'",
    "SET nosuch = 1",
    "SET sql_mode = 'nosuch'",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SELECT @@tx_isolation",
    "SET STATEMENT max_statement_time = 10 FOR SELECT 1",
    "SET max_statement_time = 0.01",
    "SELECT SLEEP(1)",
    "SET max_statement_time = 0",
    "GET DIAGNOSTICS @n = NUMBER",
    "SELECT @n",
    "XA START 'x'",
    "XA END 'x'",
    "XA ROLLBACK 'x'",
    "HANDLER p OPEN",
    "HANDLER p READ FIRST",
    "HANDLER p CLOSE",
    "VALUES (1, 2), (3, 4)",
    "WITH RECURSIVE c AS (SELECT 1 n UNION ALL SELECT n + 1 FROM c WHERE n < 5) SELECT * FROM c",
    "SELECT NULL, 1.0, 1e0, 'a', x'ff', DATE'2020-01-01', TRUE, b'1', 18446744073709551615, -1",
    "SELECT REPEAT('a', 70000)",
    "(SELECT 1) UNION (SELECT 2)",
    "SELECT id FROM p PROCEDURE ANALYSE()",
    "CREATE TABLE p (i INT)",
    "CREATE TABLE IF NOT EXISTS p (i INT)",
    "SHOW WARNINGS",
    "CREATE DATABASE packets",
    "DROP DATABASE IF EXISTS nosuch",
    "DROP USER nosuch",
    "GRANT SELECT ON nosuch.* TO nosuch",
)
_COMMANDS = (
    bytes((Command.INIT_DB,)) + b"packets",
    bytes((Command.INIT_DB,)) + b"nosuch",
    bytes((Command.PING,)),
    bytes((Command.FIELD_LIST,)) + b"p\0%",
    bytes((Command.FIELD_LIST,)) + b"nosuch\0",
    bytes((Command.SET_OPTION, 1, 0)),
    bytes((Command.SET_OPTION, 0, 0)),
    bytes((Command.SET_OPTION, 9, 0)),
    struct.pack("<BIBI", Command.STMT_EXECUTE, 9999, 0, 1),
    struct.pack("<BI", Command.STMT_RESET, 9999),
    struct.pack("<BII", Command.STMT_FETCH, 9999, 1),
    bytes((Command.RESET_CONNECTION,)),
)
_PREPARED: tuple[tuple[str, list[bytes]], ...] = (
    ("SELECT * FROM p WHERE id < ?", [b"3"]),
    ("SELECT ?", [b"x"]),
    ("INSERT INTO p (v) VALUES (?)", [b"ps"]),
    ("SELEC", []),
    ("SELECT * FROM nosuch", []),
    ("SELECT 1; SELECT 2", []),
    ("UPDATE p SET v = ? WHERE id = 1", [b"pu"]),
    ("INSERT INTO p (v) VALUES (REPEAT('z', ?))", [b"30"]),
    ("DROP TABLE IF EXISTS nosuch", []),
    ("CALL r(?, ?)", [b"1", b"2"]),
    ("SHOW TABLES LIKE 'p'", []),
    ("SELECT CAST(? AS INT)", [b"1x"]),
    ("DO ?", [b"1"]),
    ("BEGIN", []),
    ("COMMIT", []),
    ("SET @z = ?", [b"1"]),
    ("", []),
    ("SELECT 1/0", []),
    ("USE packets", []),
    ("SELECT v FROM p WHERE id = ? FOR UPDATE", [b"1"]),
    ("EXPLAIN SELECT * FROM p", []),
)
_CURSORS: tuple[tuple[str, list[bytes]], ...] = (
    ("SELECT id, v FROM p WHERE id < ?", [b"100"]),
    ("SELECT id, v FROM p WHERE id < ? FOR UPDATE", [b"100"]),
    ("SHOW TABLES LIKE 'p%'", []),
    ("INSERT INTO p (v) VALUES (?)", [b"c"]),
)


async def _prepared(client: RawClient, sql: str, values: Sequence[bytes], *, cursor: bool) -> list[bytes]:
    """All packets of a statement's life; the first without the statement's id, which may be another."""
    await client.send(bytes((Command.STMT_PREPARE,)) + sql.encode())
    first, *packets = await client.answer(Command.STMT_PREPARE)
    if first[0] == 0xFF:
        return [first]
    statement = int.from_bytes(first[1:5], "little")
    packets.append(first[5:])
    packets += await client.execute(statement, values, flags=1 if cursor else 0)
    for most in (2, 100) if cursor else ():
        # Where there is no cursor, the answer names the statement by the server's own id.
        fetched = await client.command(struct.pack("<BII", Command.STMT_FETCH, statement, most))
        packets += [packet for packet in fetched if packet[0] != 0xFF]
    packets += await client.execute(statement, values, types=False)
    packets += await client.command(struct.pack("<BI", Command.STMT_RESET, statement))
    await client.send(struct.pack("<BI", Command.STMT_CLOSE, statement))
    return packets


async def _session(connection: Connection) -> dict[str, list[bytes]]:
    client = RawClient(connection)
    packets = {f"{number} {sql}": await client.query(sql) for number, sql in enumerate(_TEXTS)}
    for sql, values in _PREPARED:
        packets[f"prepared: {sql}"] = await _prepared(client, sql, values, cursor=False)
    for sql, values in _CURSORS:
        packets[f"cursor: {sql}"] = await _prepared(client, sql, values, cursor=True)
    for command in _COMMANDS:
        packets[repr(command)] = await client.command(command)
    return packets


@pytest.mark.parametrize("leads", [False, True], ids=["follower", "leader"])
@pytest.mark.parametrize("kind", _CLIENTS)
async def test_session_gets_the_same_packets(servers: Pair, kind: str, leads: bool) -> None:
    async def session(host: str, port: int) -> dict[str, list[bytes]]:
        servers.primary.execute("CREATE OR REPLACE DATABASE packets")
        servers.catch_up()
        connection = await Connection.connect(
            user="app",
            password=PASSWORD,
            host=host,
            port=port,
            database="packets",
            capabilities=int(_CLIENTS[kind]),
        )
        async with connection:
            return await _session(connection)

    assert servers.primary.port is not None
    direct = await session("127.0.0.1", servers.primary.port)
    async with cluster(servers, leads=leads) as proxy:
        proxied = await session(*proxy.address)
    servers.primary.execute("DROP DATABASE packets")
    servers.catch_up()
    differences = {
        what: [pair for pair in zip_longest(direct[what], proxied[what]) if pair[0] != pair[1]]
        for what in direct
        if direct[what] != proxied[what]
    }
    assert not differences
