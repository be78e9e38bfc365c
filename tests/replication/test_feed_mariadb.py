"""Capture and feed between a real primary and real replicas: leader -> log -> replica."""

from collections.abc import Iterator

import pytest
import trio
from memory_log import MemoryLog
from replication_servers import (
    PRIMARY,
    TERM,
    USER,
    applied,
    capturing,
    checksums,
    feeding,
    follow,
    replica_arguments,
    run,
)

from wolfscale.mysql.binlog.format import BinlogFormat
from wolfscale.mysql.binlog.gtid import Gtid, parse_gtid
from wolfscale.replication.entry import decode_fragment, encode_fragment
from wolfscale.replication.feed import Feed
from wolfscale.testing.mariadb import ScratchMariaDB, free_port

pytestmark = pytest.mark.mariadb

SCHEMA = (
    "CREATE DATABASE t",
    "CREATE TABLE t.kinds (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, c CHAR(10) CHARACTER SET latin1, "
    "v VARCHAR(500) CHARACTER SET utf8mb4, t LONGTEXT, b LONGBLOB, d DECIMAL(30,10), f DOUBLE, i TINYINT, "
    "bits BIT(13), y YEAR, da DATE, ti TIME(6), dt DATETIME(6), ts TIMESTAMP(3) NULL, e ENUM('a','b','ü'), "
    "s SET('x','y','z'), j JSON, g GEOMETRY, u UUID, n INET6, gen INT AS (i * 2) STORED)",
    "CREATE TABLE t.no_key (a INT, b VARCHAR(20))",
    "CREATE TABLE t.parts (a INT, b VARCHAR(40)) PARTITION BY HASH(a) PARTITIONS 4",
    "CREATE TABLE t.parent (id INT PRIMARY KEY, v INT)",
    "CREATE TABLE t.child (id INT PRIMARY KEY AUTO_INCREMENT, p INT, "
    "FOREIGN KEY (p) REFERENCES t.parent (id) ON DELETE CASCADE ON UPDATE CASCADE)",
    "CREATE TABLE t.aria (a INT PRIMARY KEY, b TEXT) ENGINE=Aria",
    "CREATE TABLE t.audit (id INT PRIMARY KEY AUTO_INCREMENT, what VARCHAR(200))",
    "CREATE TRIGGER t.note AFTER INSERT ON t.parent FOR EACH ROW "
    "INSERT INTO t.audit (what) VALUES (CONCAT(UUID(), RAND(), NOW(6)))",
    "CREATE SEQUENCE t.numbers CACHE 10",
    "CREATE PROCEDURE t.twice() BEGIN INSERT INTO t.no_key VALUES (1, 'in'); COMMIT; "
    "INSERT INTO t.no_key VALUES (2, 'out'); END",
    "CREATE USER somebody IDENTIFIED BY 'x'",
    "GRANT SELECT ON t.* TO somebody",
)
CHANGES = (
    "INSERT INTO kinds (c, v, t, b, d, f, i, bits, y, da, ti, dt, ts, e, s, j, g, u, n) VALUES "
    "('ä', '日本\U0001f600', REPEAT('t', 70000), UNHEX('00FF7F80'), 12345678901234567890.0123456789, 1e-300, "
    "-7, b'1010101010101', 1999, '1000-01-01', '-838:59:58.123456', '9999-12-31 23:59:59.999999', "
    "'2038-01-19 03:14:07.999', 'ü', 'x,z', '{\"a\": [1, null]}', ST_GeomFromText('POINT(1 2)'), UUID(), "
    "'::1')",
    "INSERT INTO kinds () VALUES (), (), ()",
    "UPDATE kinds SET v = UUID(), f = RAND(), dt = NOW(6) WHERE id > 1",
    "DELETE FROM kinds WHERE id = 3",
    "INSERT INTO no_key VALUES (1, 'a'), (1, 'a'), (2, NULL)",
    "UPDATE no_key SET b = 'b' LIMIT 1",
    "DELETE FROM no_key WHERE a = 1 LIMIT 1",
    "INSERT INTO parts SELECT seq, UUID() FROM seq_1_to_1000",
    "ALTER TABLE parts TRUNCATE PARTITION p1",
    "INSERT INTO parent VALUES (1, 1), (2, 2), (3, 3)",
    "INSERT INTO child (p) VALUES (1), (1), (2), (3)",
    "UPDATE parent SET id = 10 WHERE id = 1",
    "DELETE FROM parent WHERE id = 2",
    "INSERT INTO aria VALUES (1, 'one'), (2, 'two')",
    "REPLACE INTO aria VALUES (2, 'deux')",
    "SELECT NEXTVAL(numbers)",
    "CALL twice()",
    "CREATE TABLE made SELECT id, v FROM kinds",
    "CREATE TEMPORARY TABLE aside (a INT)",
    "INSERT INTO aside VALUES (5), (6)",
    "INSERT INTO no_key SELECT a, 'aside' FROM aside",
    "XA START 'x'",
    "INSERT INTO no_key VALUES (77, 'xa')",
    "XA END 'x'",
    "XA PREPARE 'x'",
    "XA COMMIT 'x'",
    "BEGIN",
    "INSERT INTO no_key VALUES (88, 'rolled back')",
    "INSERT INTO aria VALUES (88, 'stays')",
    "ROLLBACK",
    "SET GLOBAL log_bin_compress = 1",
)
COMPRESSED = (
    "INSERT INTO no_key SELECT seq, 'compressed' FROM seq_1_to_5000",
    "CREATE TABLE long_comment (i INT COMMENT '" + "compressed " * 90 + "')",
    "SET GLOBAL log_bin_compress = 0",
    "ALTER TABLE kinds ADD COLUMN more INT DEFAULT 5, ALGORITHM=INSTANT",
    "INSERT INTO kinds (v) VALUES ('last')",
    "DROP TABLE long_comment",
)


@pytest.fixture(scope="module")
def primary() -> Iterator[ScratchMariaDB]:
    with ScratchMariaDB(arguments=PRIMARY) as server:
        yield server


@pytest.fixture(scope="module")
def replica() -> Iterator[ScratchMariaDB]:
    with ScratchMariaDB(arguments=replica_arguments()) as server:
        yield server


@pytest.fixture(scope="module")
def log() -> MemoryLog:
    """One log for the module: the primary and the replica go on where the test before left them."""
    return MemoryLog(term=TERM)


def newest(log: MemoryLog) -> Gtid | None:
    for entry in reversed(log.entries):
        fragment = decode_fragment(entry.data)
        if fragment.is_last:
            return fragment.gtid
    return None


async def position(replica: ScratchMariaDB) -> str:
    async with await replica.connect() as admin:
        return await admin.value("SELECT @@GLOBAL.gtid_slave_pos") or ""


async def stop(replica: ScratchMariaDB) -> None:
    await run(replica, "STOP SLAVE", "RESET SLAVE ALL")


async def assert_equal(primary: ScratchMariaDB, replica: ScratchMariaDB, log: MemoryLog) -> None:
    last = newest(log)
    assert last is not None
    await applied(replica, last.sequence)
    assert await checksums(replica, "t") == await checksums(primary, "t")


async def test_rows_of_every_kind_and_definitions_reach_the_replica(
    primary: ScratchMariaDB, replica: ScratchMariaDB, log: MemoryLog
) -> None:
    calls: list[tuple[str, Gtid]] = []

    async def before(gtid: Gtid, index: int) -> None:
        calls.append(("before", gtid))
        # Everything that was sent before is applied already, and nothing behind it was sent.
        assert index == log.find_sequence(gtid.sequence)

    async def after(gtid: Gtid, index: int) -> None:
        await applied(replica, gtid.sequence)
        assert parse_gtid(await position(replica)) == gtid
        calls.append(("after", gtid))

    async with (
        capturing(primary, log) as capture,
        feeding(log, before_not_plain=before, after_not_plain=after) as feed,
    ):
        await follow(replica, feed)
        await run(primary, *SCHEMA)
        await run(primary, *CHANGES, database="t")
        await run(primary, *COMPRESSED, database="t")
        await assert_equal(primary, replica, log)
        for table in ("global_priv", "db", "proc"):
            rows = [await checksums_of(server, table) for server in (primary, replica)]
            assert rows[0] == rows[1]
        await stop(replica)
    assert capture.statistics.ends_by_flag == 0
    not_plain = [
        fragment.gtid
        for fragment in (decode_fragment(entry.data) for entry in log.entries)
        if fragment.is_last and not fragment.plain
    ]
    assert calls == [(when, gtid) for gtid in not_plain for when in ("before", "after")]
    assert len(not_plain) > 20
    assert feed.statistics.groups == capture.statistics.groups


async def checksums_of(server: ScratchMariaDB, table: str) -> tuple[tuple[str | None, ...], ...]:
    columns = {
        "global_priv": "user, host, priv",
        "db": "user, host, db, select_priv",
        "proc": "db, name, body",
    }[table]
    async with await server.connect() as admin:
        order = ", ".join(map(str, range(1, len(columns.split(",")) + 1)))
        return tuple((await admin.query(f"SELECT {columns} FROM mysql.{table} ORDER BY {order}")).rows)


async def test_nothing_reaches_the_replica_before_it_is_committed(
    primary: ScratchMariaDB, replica: ScratchMariaDB, log: MemoryLog
) -> None:
    start = newest(log)
    assert start is not None
    async with capturing(primary, log, start=start) as capture, feeding(log) as feed:
        await follow(replica, feed, position=str(start))
        log.hold = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, primary, "INSERT INTO t.no_key VALUES (500, 'held')")
            await capture.changes.wait_until(lambda: capture.captured != start)
            log.changes.notify()
            assert await run(replica, f"SELECT MASTER_GTID_WAIT('0-1-{start.sequence + 1}', 0.2)") == "-1"
            assert await run(replica, "SELECT COUNT(*) FROM t.no_key WHERE b = 'held'") == "0"
            log.release()
        await assert_equal(primary, replica, log)
        await stop(replica)


async def test_replica_goes_on_after_each_kind_of_interruption(
    primary: ScratchMariaDB, replica: ScratchMariaDB, log: MemoryLog
) -> None:
    start = newest(log)
    port = free_port()
    insert = "INSERT INTO t.no_key SELECT seq, 'more' FROM t.seq_1_to_300"
    async with capturing(primary, log, start=start) as capture:
        async with feeding(log, port=port) as feed:
            await follow(replica, feed, position=str(start))
            await run(primary, insert)
            await assert_equal(primary, replica, log)
            await run(replica, "STOP SLAVE")
            await run(primary, "INSERT INTO t.no_key VALUES (1, 'stopped')")
            await run(replica, "START SLAVE")
            await assert_equal(primary, replica, log)
        # The feed comes back on its port: the replica's own thread connects again.
        await run(primary, "INSERT INTO t.no_key VALUES (2, 'no feed')")
        async with feeding(log, port=port) as feed:
            await assert_equal(primary, replica, log)
            await run(primary, "INSERT INTO t.no_key VALUES (3, 'killed')")
            await trio.to_thread.run_sync(lambda: replica.restart(kill=True))
            at = await position(replica)
            await run(replica, "RESET SLAVE ALL")
            await run(primary, "INSERT INTO t.no_key VALUES (4, 'back')")
            await follow(replica, feed, position=at)
            await assert_equal(primary, replica, log)
            await stop(replica)
    assert capture.statistics.connections == 1


async def test_replica_of_another_history_is_refused_with_1236(
    replica: ScratchMariaDB, log: MemoryLog
) -> None:
    last = newest(log)
    assert last is not None
    for unknown in (f"0-99-{last.sequence}", f"0-{TERM}-{last.sequence + 1000}"):
        async with feeding(log) as feed, await replica.connect() as admin:
            await follow(replica, feed, position=unknown)
            status: dict[str, str | None] = {}
            with trio.fail_after(60):
                while status.get("Last_IO_Errno") in (None, "0"):
                    await trio.sleep(0.02)
                    status = (await admin.query("SHOW SLAVE STATUS")).mappings()[0]
            assert status["Last_IO_Errno"] == "1236"
            assert "WolfScale" in (status["Last_IO_Error"] or "")
            await stop(replica)
    await run(replica, f"SET GLOBAL gtid_slave_pos='{last}'")


async def test_groups_of_several_server_versions_are_applied(log: MemoryLog) -> None:
    """Members of a cluster are updated one after the other: each group keeps its writer's format."""
    mixed = MemoryLog()
    for entry in log.entries:
        fragment = decode_fragment(entry.data)
        if fragment.number == 0 and fragment.gtid.sequence % 3 == 0:
            older = BinlogFormat(server_version="10.6.12-MariaDB-log")
            values = {name: getattr(fragment, name) for name in type(fragment).__slots__}
            mixed.append(encode_fragment(type(fragment)(**{**values, "format": older})), term=entry.term)
        else:
            mixed.append(entry.data, term=entry.term)
    async with ScratchMariaDB(arguments=replica_arguments(2)) as fresh, feeding(mixed) as feed:
        # The replica waits for some time first: the feed must begin with a format of its own.
        await follow(fresh, feed)
        await run(fresh, "STOP SLAVE", "CHANGE MASTER TO MASTER_HEARTBEAT_PERIOD=0.05", "START SLAVE")
        with trio.fail_after(60):
            await feed.changes.wait_until(lambda: feed.connected)
            while feed.statistics.heartbeats < 3:
                await trio.sleep(0.01)
        mixed.commit()
        last = newest(mixed)
        assert last is not None
        await applied(fresh, last.sequence)
        assert feed.statistics.groups >= 30
        assert await run(fresh, "SELECT COUNT(*) FROM t.no_key WHERE b = 'compressed'") != "0"


async def test_fact_01_replica_silently_skips_groups_of_its_own_server_id(
    primary: ScratchMariaDB, log: MemoryLog
) -> None:
    """So a primary's server id is its term, and a replica's one that never writes."""
    last = newest(log)
    assert last is not None
    for server_id, count in ((TERM, 0), (0x80000009, 1)):
        async with ScratchMariaDB(arguments=replica_arguments(9)) as fresh, feeding(log) as feed:
            await run(fresh, f"SET GLOBAL server_id={server_id}")
            await follow(fresh, feed)
            await applied(fresh, last.sequence)
            found = await run(fresh, "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name='t'")
            assert found == str(count)
            await stop(fresh)


async def test_fact_02_replica_with_semi_sync_on_follows_the_feed(
    primary: ScratchMariaDB, replica: ScratchMariaDB, log: MemoryLog
) -> None:
    start = newest(log)
    async with capturing(primary, log, start=start), feeding(log) as feed:
        await run(replica, "SET GLOBAL rpl_semi_sync_slave_enabled=1")
        await follow(replica, feed, position=str(start))
        await run(primary, "INSERT INTO t.no_key VALUES (6, 'semi-sync')")
        await assert_equal(primary, replica, log)
        await stop(replica)
        await run(replica, "SET GLOBAL rpl_semi_sync_slave_enabled=0")


async def test_fact_03_heartbeats_do_not_disturb_the_replica(
    primary: ScratchMariaDB, replica: ScratchMariaDB, log: MemoryLog
) -> None:
    start = newest(log)
    async with capturing(primary, log, start=start), feeding(log) as feed:
        await follow(replica, feed, position=str(start))
        await run(replica, "STOP SLAVE", "CHANGE MASTER TO MASTER_HEARTBEAT_PERIOD=0.02", "START SLAVE")
        for number in range(4):
            await run(primary, f"INSERT INTO t.no_key VALUES ({number}, 'beat')")
            await assert_equal(primary, replica, log)
            seen = feed.statistics.heartbeats
            with trio.fail_after(60):
                while feed.statistics.heartbeats < seen + 5:
                    await trio.sleep(0.01)
        async with await replica.connect() as admin:
            status = (await admin.query("SHOW SLAVE STATUS")).mappings()[0]
            assert (status["Slave_IO_Running"], status["Last_IO_Errno"]) == ("Yes", "0")
        await stop(replica)
    assert feed.statistics.dumps <= 2


async def test_fact_04_packets_around_16_mib_pass_unharmed(
    primary: ScratchMariaDB, replica: ScratchMariaDB, log: MemoryLog
) -> None:
    start = newest(log)
    mib = 1 << 20
    limit = 16 * mib - 1
    async with capturing(primary, log, start=start), feeding(log) as feed:
        await follow(replica, feed, position=str(start))
        await run(primary, "CREATE TABLE t.big (i INT PRIMARY KEY, b LONGBLOB)")
        # Such a row event is 39 bytes longer than its value, and gets three bytes in front on the way here
        # and one on the way there: packets of exactly the limit and around it, both times.
        sizes = [*range(limit - 43, limit - 37), 16 * mib, 17 * mib, 20 * mib, 40 * mib]
        async with await primary.connect() as client:
            for number, size in enumerate(sizes):
                value = f"REPEAT(CHAR({65 + number}), {size})"
                await client.query(f"REPLACE INTO t.big VALUES ({number % 3}, {value})")
        await assert_equal(primary, replica, log)
        await stop(replica)
        lengths = {len(entry.data) for entry in log.entries}
    assert max(lengths) <= mib + 300


async def test_fact_32_load_data_of_many_events_is_one_group(
    primary: ScratchMariaDB, replica: ScratchMariaDB, log: MemoryLog
) -> None:
    start = newest(log)
    assert start is not None
    path = primary.directory / "load.txt"
    path.write_text("".join(f"{number}\t{'v' * 200}\n" for number in range(100_000)))
    async with capturing(primary, log, start=start) as capture, feeding(log) as feed:
        await follow(replica, feed, position=str(start))
        await run(primary, "CREATE TABLE t.loaded (a INT PRIMARY KEY, b VARCHAR(250))")
        await run(primary, f"LOAD DATA INFILE '{path}' INTO TABLE t.loaded")
        assert capture.statistics.groups == 2
        assert capture.statistics.fragments > 15
        await assert_equal(primary, replica, log)
        await stop(replica)


async def test_feed_that_nobody_configured_refuses_a_wrong_password(replica: ScratchMariaDB) -> None:
    feed = Feed(MemoryLog(), user=USER, password="another")
    async with trio.open_nursery() as nursery:
        await nursery.start(feed.run)
        await follow(replica, feed)
        async with await replica.connect() as admin:
            errno: str | None = "0"
            with trio.fail_after(60):
                while errno == "0":
                    await trio.sleep(0.02)
                    errno = (await admin.query("SHOW SLAVE STATUS")).mappings()[0]["Last_IO_Errno"]
            assert errno == "1045"
        await stop(replica)
        nursery.cancel_scope.cancel()
