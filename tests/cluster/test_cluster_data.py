"""Everything that SQL can do, through the proxies of three nodes: afterwards all servers hold the same."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pymysql
import pytest
import trio
from cluster_comparing import assert_identical
from cluster_under_test import ClusterUnderTest

from wolfscale.demo.conditions import Statuses

pytestmark = pytest.mark.cluster


@pytest.fixture(autouse=True)
def nobody_cloned(cluster: ClusterUnderTest) -> Iterator[None]:
    """A difference that a clone mends would be seen by no comparison: so there must have been none."""
    for number in cluster.numbers:
        cluster.plant(number)
    yield
    cloned = [number for number in cluster.numbers if not cluster.keeps_its_data(number)]
    assert not cloned, f"nodes {cloned} had to be cloned"


async def run(
    cluster: ClusterUnderTest, number: int, statements: Sequence[str], database: str = "demo"
) -> list[tuple[tuple[object, ...], ...]]:
    """Run statements as the application does, in one session through one node's proxy."""

    def execute() -> list[tuple[tuple[object, ...], ...]]:
        results = []
        with cluster.clients.connect(number, database=database) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
                results.append(tuple(cursor.fetchall()))
                while cursor.nextset():
                    pass
        return results

    return await trio.to_thread.run_sync(execute)


COLUMN_TYPES = {
    "integers": (
        "a TINYINT, b TINYINT UNSIGNED, c SMALLINT, d MEDIUMINT UNSIGNED, e INT, f BIGINT, g BIGINT UNSIGNED",
        [
            "-128, 255, -32768, 16777215, -2147483648, -9223372036854775808, 18446744073709551615",
            "NULL, NULL, NULL, NULL, NULL, NULL, NULL",
        ],
    ),
    "numbers": (
        "a DECIMAL(65, 30), b DECIMAL(10, 0) UNSIGNED, c FLOAT, d DOUBLE, e BIT(1), f BIT(64), g BOOLEAN",
        [
            f"{'9' * 35}.{'9' * 30}, 9999999999, 1e-38, -1.7976931348623157e308, b'1', b'{'10' * 32}', TRUE",
            "-0.000000000000000000000000000001, 0, 0.1, 0.1, b'0', b'0', FALSE",
        ],
    ),
    "times": (
        "a DATE, b TIME, c TIME(6), d DATETIME(6), e TIMESTAMP(6) NULL, f YEAR, g DATETIME",
        [
            "'9999-12-31', '838:59:59', '-838:59:59.999999', '1000-01-01 00:00:00.000001', "
            "'2038-01-19 03:14:07.999999', 2155, '9999-12-31 23:59:59'",
            "'2024-02-29', '00:00:00', '00:00:00.5', NOW(6), NOW(6), 1901, NOW()",
        ],
    ),
    "texts": (
        "a CHAR(255), b VARCHAR(16000), c TINYTEXT, d TEXT, e MEDIUMTEXT, f LONGTEXT",
        ["REPEAT('ä', 255), REPEAT('€', 16000), 'x', REPEAT('y', 65535), REPEAT('z', 1 << 20), '🐺'"],
    ),
    "binaries": (
        "a BINARY(255), b VARBINARY(60000), c TINYBLOB, d BLOB, e MEDIUMBLOB, f LONGBLOB",
        [
            "x'00ff', REPEAT(x'00', 60000), x'', REPEAT(x'27', 65535), REPEAT(x'5c', 1 << 20), "
            "RANDOM_BYTES(64)"
        ],
    ),
    "character_sets": (
        "a VARCHAR(50) CHARACTER SET latin1, b VARCHAR(50) CHARACTER SET ucs2, c VARCHAR(50) CHARACTER SET "
        "sjis, d VARCHAR(50) CHARACTER SET cp1251, e VARCHAR(50) CHARACTER SET utf16, "
        "f TEXT CHARACTER SET big5",
        ["'äöü', 'äöü', 'ソ表', 'Привет', '🐺ä', '中文'"],
    ),
    "others": (
        "a ENUM('x', 'y', 'ü'), b SET('p', 'q', 'r'), c JSON, d UUID, e INET6, f INET4",
        [
            """'ü', 'p,r', '{"a": [1, 2.5, null, "\\\\u00e4"]}', UUID(), '2001:db8::ff00:42:8329', """
            "'10.1.2.3'",
            "'x', '', 'null', NULL, '::ffff:192.0.2.1', NULL",
        ],
    ),
    "geometries": (
        "a POINT, b LINESTRING, c POLYGON, d GEOMETRYCOLLECTION, e POINT NOT NULL, KEY (e(8)), "
        "SPATIAL INDEX (e)",
        [
            "POINT(1, 2), ST_GeomFromText('LINESTRING(0 0, 1 1, 2 2)'), "
            "ST_GeomFromText('POLYGON((0 0, 10 0, 10 10, 0 10, 0 0))'), "
            "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1), LINESTRING(0 0, 1 1))'), POINT(-1.5, 1e300)"
        ],
    ),
    "generated": (
        "a INT, v INT AS (a * 2) VIRTUAL, s INT AS (a + 1) STORED, t VARCHAR(64) AS (CONCAT('n', a)) STORED, "
        "i INT INVISIBLE DEFAULT 7, KEY (v), UNIQUE (s), CHECK (a < 1000)",
        ["1, DEFAULT, DEFAULT, DEFAULT", "NULL, DEFAULT, DEFAULT, DEFAULT"],
    ),
    "defaults": (
        "a INT, b DATETIME(6) DEFAULT NOW(6) ON UPDATE NOW(6), c CHAR(36) DEFAULT UUID(), "
        "d DOUBLE DEFAULT RAND(), e VARCHAR(100) DEFAULT CURRENT_USER(), f BIGINT DEFAULT UUID_SHORT(), "
        "g BIGINT DEFAULT CONNECTION_ID()",
        ["1, DEFAULT, DEFAULT, DEFAULT, DEFAULT, DEFAULT, DEFAULT"] * 3,
    ),
}


@pytest.mark.parametrize("kind", COLUMN_TYPES)
@pytest.mark.parametrize("engine", ["InnoDB", "Aria"])
async def test_rows_of_every_column_type_are_the_same_everywhere(
    cluster: ClusterUnderTest, kind: str, engine: str
) -> None:
    columns, rows = COLUMN_TYPES[kind]
    if engine == "Aria":
        columns = columns.replace("KEY (v), ", "")  # only InnoDB has indexes on virtual columns
    table = f"types_{kind}_{engine}".lower()
    keyed = f"{table}_keyed"
    await run(
        cluster,
        2,
        [
            f"CREATE OR REPLACE TABLE {table} ({columns}) ENGINE={engine} CHARACTER SET utf8mb4",
            *(f"INSERT INTO {table} VALUES ({row})" for row in rows),
            f"CREATE OR REPLACE TABLE {keyed} LIKE {table}",
            f"ALTER TABLE {keyed} ADD number INT AUTO_INCREMENT PRIMARY KEY",
            f"INSERT INTO {keyed} (a) SELECT a FROM {table}" if kind != "geometries" else "DO 0",
            f"INSERT INTO {table} SELECT * FROM {table} LIMIT 1" if kind != "generated" else "DO 0",
            f"UPDATE {table} SET a = NULL LIMIT 1",
            f"DELETE FROM {table} LIMIT 1",
        ],
    )
    await assert_identical(cluster)


async def test_triggers_procedures_and_functions_have_the_same_effects(cluster: ClusterUnderTest) -> None:
    await run(
        cluster,
        3,
        [
            "CREATE OR REPLACE TABLE code (number INT AUTO_INCREMENT PRIMARY KEY, note VARCHAR(100))",
            "CREATE OR REPLACE TABLE code_log (at DATETIME(6), what VARCHAR(100), chance DOUBLE)",
            "CREATE OR REPLACE TRIGGER code_inserted AFTER INSERT ON code FOR EACH ROW "
            "INSERT INTO code_log VALUES (NOW(6), CONCAT('inserted ', NEW.number), RAND())",
            "CREATE OR REPLACE TRIGGER code_updated BEFORE UPDATE ON code FOR EACH ROW "
            "SET NEW.note = CONCAT(NEW.note, UUID())",
            "CREATE OR REPLACE FUNCTION logged(what VARCHAR(100)) RETURNS INT BEGIN "
            "INSERT INTO code_log VALUES (NOW(6), what, RAND()); RETURN 1; END",
            "CREATE OR REPLACE PROCEDURE fill(IN rows_wanted INT) BEGIN DECLARE i INT DEFAULT 0; "
            "WHILE i < rows_wanted DO START TRANSACTION; INSERT INTO code (note) VALUES (UUID()); "
            "IF i % 3 = 0 THEN ROLLBACK; ELSE COMMIT; END IF; SET i = i + 1; END WHILE; "
            "CREATE TABLE IF NOT EXISTS code_made AS SELECT * FROM code; END",
            "CALL fill(20)",
            "SELECT logged('from a select')",
            "UPDATE code SET note = 'changed ' WHERE number % 2",
            "DO logged('from do')",
        ],
    )
    await assert_identical(cluster)
    [[(count,)]] = await run(cluster, 1, ["SELECT COUNT(*) FROM code_log"])
    assert count == 15, "13 of 20 rows were committed, and two statements logged by themselves"


async def test_sequences_are_continued_without_a_repetition(cluster: ClusterUnderTest) -> None:
    await run(
        cluster,
        2,
        [
            "CREATE OR REPLACE SEQUENCE numbers START WITH 1 INCREMENT BY 3 CACHE 5",
            "CREATE OR REPLACE TABLE numbered (number BIGINT DEFAULT NEXTVAL(numbers) PRIMARY KEY, note INT)",
            *(f"INSERT INTO numbered (note) VALUES ({note})" for note in range(12)),
            "SELECT SETVAL(numbers, 1000)",
            "INSERT INTO numbered (note) VALUES (99)",
            "ALTER SEQUENCE numbers INCREMENT BY 5",
            "SELECT NEXTVAL(numbers)",
        ],
    )
    await assert_identical(cluster)


async def test_foreign_keys_cascade_the_same_everywhere(cluster: ClusterUnderTest) -> None:
    await run(
        cluster,
        1,
        [
            "DROP TABLE IF EXISTS leaves, branches, roots",
            "CREATE TABLE roots (number INT PRIMARY KEY)",
            "CREATE TABLE branches (number INT, root INT, FOREIGN KEY (root) REFERENCES roots (number) "
            "ON DELETE CASCADE ON UPDATE CASCADE, KEY (number))",
            "CREATE TABLE leaves (branch INT, FOREIGN KEY (branch) REFERENCES branches (number) "
            "ON DELETE SET NULL ON UPDATE CASCADE)",
            "INSERT INTO roots SELECT seq FROM seq_1_to_50",
            "INSERT INTO branches SELECT seq, 1 + seq % 50 FROM seq_1_to_500",
            "INSERT INTO leaves SELECT 1 + seq % 500 FROM seq_1_to_2000",
            "UPDATE roots SET number = number + 1000 WHERE number % 2",
            "DELETE FROM roots WHERE number % 3 = 0",
            "UPDATE branches SET number = number + 5000 WHERE number % 5 = 0",
        ],
    )
    await assert_identical(cluster)


async def test_tables_without_a_key_and_partitions_keep_their_rows(cluster: ClusterUnderTest) -> None:
    await run(
        cluster,
        2,
        [
            "CREATE OR REPLACE TABLE twins (a INT, b VARCHAR(20))",
            "INSERT INTO twins SELECT seq % 10, 'twin' FROM seq_1_to_300",
            "UPDATE twins SET b = 'changed' WHERE a = 3 LIMIT 7",
            "DELETE FROM twins WHERE a = 4 LIMIT 5",
            "CREATE OR REPLACE TABLE parted (a INT, b INT, PRIMARY KEY (a)) PARTITION BY RANGE (a) ("
            "PARTITION p0 VALUES LESS THAN (100), PARTITION p1 VALUES LESS THAN (200), "
            "PARTITION p2 VALUES LESS THAN MAXVALUE)",
            "INSERT INTO parted SELECT seq, seq FROM seq_1_to_400",
            "UPDATE parted SET a = a + 1000 WHERE a % 7 = 0",
            "ALTER TABLE parted DROP PARTITION p0",
            "ALTER TABLE parted REORGANIZE PARTITION p2 INTO (PARTITION p2 VALUES LESS THAN (500), "
            "PARTITION p3 VALUES LESS THAN MAXVALUE)",
            "CREATE OR REPLACE TABLE swapped (a INT, b INT, PRIMARY KEY (a))",
            "ALTER TABLE parted EXCHANGE PARTITION p1 WITH TABLE swapped",
            "ALTER TABLE parted TRUNCATE PARTITION p3",
            "CREATE OR REPLACE TABLE hashed (a INT) PARTITION BY HASH (a) PARTITIONS 4",
            "INSERT INTO hashed SELECT seq % 5 FROM seq_1_to_100",
        ],
    )
    await assert_identical(cluster)


async def test_ddl_in_all_forms_is_the_same_everywhere(cluster: ClusterUnderTest) -> None:
    await run(
        cluster,
        3,
        [
            "CREATE DATABASE IF NOT EXISTS other CHARACTER SET latin1",
            "CREATE OR REPLACE TABLE other.shaped (a INT PRIMARY KEY, b VARCHAR(10))",
            "INSERT INTO other.shaped VALUES (1, 'one'), (2, 'two')",
            "ALTER TABLE other.shaped ADD c INT DEFAULT 5, ADD KEY k (b)",
            "ALTER TABLE other.shaped MODIFY b TEXT, DROP KEY k, ALGORITHM=COPY",
            "ALTER TABLE other.shaped RENAME COLUMN c TO d",
            "CREATE INDEX i ON other.shaped (d)",
            "DROP INDEX i ON other.shaped",
            "CREATE OR REPLACE TABLE other.copied AS SELECT *, NOW(6) AS at, RAND() AS r FROM other.shaped",
            "CREATE OR REPLACE TABLE other.likened LIKE other.shaped",
            "RENAME TABLE other.shaped TO other.aside, other.likened TO other.shaped, other.aside TO "
            "other.likened",
            "TRUNCATE TABLE other.copied",
            "CREATE OR REPLACE VIEW other.seen AS SELECT a, d FROM other.likened WHERE a > 1",
            "ALTER VIEW other.seen AS SELECT a FROM other.likened",
            "CREATE TEMPORARY TABLE passing (a INT) CHARACTER SET latin1",
            "INSERT INTO passing VALUES (1), (2), (3)",
            "INSERT INTO other.shaped SELECT a, 'from temporary', a FROM passing",
            "CREATE OR REPLACE TABLE other.lasting LIKE passing",
            "DROP TEMPORARY TABLE passing",
            "ALTER TABLE other.lasting ENGINE=Aria COMMENT='moved'",
            "ALTER TABLE other.likened ADD SYSTEM VERSIONING",
            "UPDATE other.likened SET d = 9",
            "ALTER DATABASE other CHARACTER SET utf8mb4",
            "ANALYZE TABLE other.likened",
            "OPTIMIZE TABLE other.lasting",
            "CREATE DATABASE IF NOT EXISTS passing",
            "DROP DATABASE passing",
        ],
    )
    await assert_identical(cluster)


async def test_accounts_grants_and_roles_are_the_same_everywhere(cluster: ClusterUnderTest) -> None:
    await run(
        cluster,
        2,
        [
            "DROP USER IF EXISTS 'ann'@'%', 'bob'@'10.%'",
            "DROP ROLE IF EXISTS readers",
            "CREATE OR REPLACE TABLE granted (a INT, b INT)",
            "CREATE USER 'ann'@'%' IDENTIFIED BY 'first' ACCOUNT UNLOCK PASSWORD EXPIRE NEVER",
            "CREATE USER 'bob'@'10.%' IDENTIFIED BY 'x' WITH MAX_USER_CONNECTIONS 5",
            "CREATE ROLE readers",
            "GRANT SELECT ON demo.* TO readers",
            "GRANT readers TO 'ann'@'%'",
            "GRANT INSERT, UPDATE (a) ON demo.granted TO 'ann'@'%'",
            "GRANT ALL ON demo.* TO 'bob'@'10.%'",
            "REVOKE DELETE ON demo.* FROM 'bob'@'10.%'",
            "CREATE OR REPLACE PROCEDURE open_to_ann() SELECT 1",
            "GRANT EXECUTE ON PROCEDURE demo.open_to_ann TO 'ann'@'%'",
            "ALTER USER 'ann'@'%' IDENTIFIED BY 'second'",
            "RENAME USER 'bob'@'10.%' TO 'robert'@'10.%'",
            "DROP USER 'robert'@'10.%'",
        ],
    )
    await assert_identical(cluster)
    for number in cluster.numbers:

        def log_in(number: int = number) -> None:
            with (
                cluster.clients.connect(number, user="ann", password="second", database=None) as connection,
                connection.cursor() as cursor,
            ):
                cursor.execute("SET DEFAULT ROLE readers")
                cursor.execute("INSERT INTO demo.granted VALUES (1, 1)")
                with pytest.raises(pymysql.err.OperationalError, match="denied"):
                    cursor.execute("DELETE FROM demo.granted")

        await trio.to_thread.run_sync(log_in)
    await assert_identical(cluster)


async def test_loaded_file_is_the_same_everywhere(cluster: ClusterUnderTest, tmp_path: Path) -> None:
    source = random.Random(3)
    file = tmp_path / "rows.tsv"
    await trio.Path(file).write_text(
        "".join(f"{number}\t{source.random()}\tline {number}\n" for number in range(100_000))
    )

    def load() -> None:
        with (
            cluster.clients.connect(3, local_infile=True) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("CREATE OR REPLACE TABLE loaded (a INT PRIMARY KEY, b DOUBLE, c VARCHAR(40))")
            cursor.execute(f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE loaded")

    await trio.to_thread.run_sync(load)
    await assert_identical(cluster)
    assert await cluster.query(1, "SELECT COUNT(*) FROM demo.loaded") == ((100_000,),)


async def test_prepared_xa_transaction_is_committed_by_another_client(cluster: ClusterUnderTest) -> None:
    await run(cluster, 1, ["CREATE OR REPLACE TABLE branched (a INT PRIMARY KEY)"])
    for name, number in (("kept", 1), ("undone", 2)):
        await run(
            cluster,
            2,
            [
                f"XA START '{name}'",
                f"INSERT INTO branched VALUES ({number})",
                f"XA END '{name}'",
                f"XA PREPARE '{name}'",
            ],
        )
    await cluster.wait_level()
    for number in cluster.numbers:
        assert len(await cluster.query(number, "XA RECOVER")) == 2
        assert await cluster.query(number, "SELECT * FROM demo.branched") == ()
    await run(cluster, 3, ["XA COMMIT 'kept'", "XA ROLLBACK 'undone'"])
    await assert_identical(cluster)
    assert await cluster.query(1, "SELECT * FROM demo.branched") == ((1,),)


async def test_events_run_on_the_primary_alone_and_again_after_failover(cluster: ClusterUnderTest) -> None:
    await run(
        cluster,
        2,
        [
            "CREATE OR REPLACE TABLE ticks (number INT AUTO_INCREMENT PRIMARY KEY, server_id BIGINT, at "
            "DATETIME(6) DEFAULT NOW(6))",
            "CREATE OR REPLACE EVENT ticking ON SCHEDULE EVERY 1 SECOND DO INSERT INTO demo.ticks "
            "(server_id) VALUES (@@server_id)",
            "CREATE OR REPLACE EVENT resting ON SCHEDULE EVERY 1 SECOND DISABLE DO INSERT INTO demo.ticks "
            "(server_id) VALUES (0)",
        ],
    )
    old = await cluster.wait_writable()
    term = (await cluster.status_of(old)).term
    await wait_ticks(cluster, old, term)
    await wait_settled(cluster, old)
    cluster.kill(old)
    new = await cluster.wait_successor(old)
    later = (await cluster.status_of(new)).term
    assert later > term
    await wait_ticks(cluster, new, later)
    cluster.launch(old)
    await cluster.wait_serving()
    states = await event_states(cluster, new)
    # MariaDB makes every event SLAVESIDE_DISABLED on a replica: both mean that it rests.
    assert states["ticking"] == "ENABLED"
    assert states["resting"] in {"DISABLED", "SLAVESIDE_DISABLED"}
    for number in cluster.followers(new):
        assert "ENABLED" not in (await event_states(cluster, number)).values()
    await run(cluster, 1, ["DROP EVENT ticking"])
    await assert_identical(cluster)
    ids = await cluster.query(new, "SELECT DISTINCT server_id FROM demo.ticks ORDER BY 1")
    assert ids == ((term,), (later,)), "each event ran on a primary, under its term"


async def wait_settled(cluster: ClusterUnderTest, number: int) -> None:
    """Wait until a node's data needs no copy if it dies: all DDL until now is beyond doubt there."""
    index = (await cluster.status_of(number)).log.commit_index

    def has_settled(statuses: Statuses) -> bool:
        status = statuses[number]
        return status is not None and status.applied.settled_index >= index

    await cluster.wait_for(has_settled, f"node-{number} to have settled what it has")


async def wait_ticks(cluster: ClusterUnderTest, number: int, term: int) -> None:
    await cluster.wait_row_count(number, f"SELECT 1 FROM demo.ticks WHERE server_id = {term} LIMIT 2", 2)


async def event_states(cluster: ClusterUnderTest, number: int) -> dict[str, str]:
    rows = await cluster.query(
        number, "SELECT event_name, status FROM information_schema.events WHERE event_schema = 'demo'"
    )
    return dict(rows)
