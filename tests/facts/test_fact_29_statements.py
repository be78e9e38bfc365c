"""SQL through a follower's proxy: functions, temporary tables, LOAD DATA, accounts by host."""

from pathlib import Path
from typing import Any

import pymysql
import pytest
from facts_on_a_cluster import FactCluster, rows, run_all

from wolfscale.demo.accounts import PASSWORD

pytestmark = pytest.mark.cluster


def test_fact_29_ordinary_account_creates_functions_and_triggers(cluster: FactCluster) -> None:
    admin = cluster.client(cluster.follower())
    run_all(
        admin,
        (
            "CREATE USER IF NOT EXISTS maker@'%' IDENTIFIED BY 'secret'",
            "CREATE DATABASE IF NOT EXISTS made29",
            "GRANT ALL ON made29.* TO maker@'%'",
        ),
    )
    client = cluster.client(cluster.follower(), user="maker", database="made29")
    run_all(
        client,
        (
            "CREATE OR REPLACE TABLE t (id INT, twice INT)",
            "CREATE OR REPLACE FUNCTION twice(n INT) RETURNS INT RETURN n * 2",
            "CREATE OR REPLACE TRIGGER before_t BEFORE INSERT ON t FOR EACH ROW "
            "SET NEW.twice = twice(NEW.id)",
            "INSERT INTO t (id) VALUES (21)",
        ),
    )
    assert rows(client, "SELECT twice FROM t") == [(42,)]
    assert cluster.same_everywhere("SELECT made29.twice(4), (SELECT twice FROM made29.t)") == ((8, 42),)


def test_fact_31_temporary_tables_stay_and_what_comes_from_them_replicates(cluster: FactCluster) -> None:
    follower = cluster.follower()
    client = cluster.client(follower)
    run_all(
        client,
        (
            "CREATE OR REPLACE TABLE t31 (id INT PRIMARY KEY, note VARCHAR(40))",
            "INSERT INTO t31 VALUES (1, 'old'), (2, 'old')",
            "CREATE TEMPORARY TABLE aside (id INT PRIMARY KEY, note VARCHAR(40) DEFAULT UUID())",
            "INSERT INTO aside (id) VALUES (2), (3)",
        ),
    )
    assert rows(client, "SELECT COUNT(*) FROM aside") == [(2,)]
    run_all(
        client,
        (
            "INSERT INTO t31 SELECT * FROM aside WHERE id = 3",
            "CREATE OR REPLACE TABLE c31 SELECT * FROM aside",
            "CREATE OR REPLACE TABLE l31 LIKE aside",
            "INSERT INTO l31 SELECT id, 'like' FROM aside",
            "UPDATE t31 JOIN aside USING (id) SET t31.note = aside.note",
            "DELETE t31 FROM t31 JOIN aside USING (id) WHERE id = 3",
        ),
    )
    made = rows(client, "SELECT id, note FROM aside ORDER BY id")
    assert cluster.same_everywhere("SELECT id, note FROM demo.c31 ORDER BY id") == tuple(made)
    assert cluster.same_everywhere("SELECT id, note FROM demo.t31 ORDER BY id") == ((1, "old"), made[0])
    assert cluster.same_everywhere("SELECT id, note FROM demo.l31 ORDER BY id") == ((2, "like"), (3, "like"))
    rows(client, "DROP TEMPORARY TABLE aside")
    with pytest.raises(pymysql.err.ProgrammingError):
        rows(client, "SELECT * FROM aside")


def test_fact_31_temporary_table_shadows_a_real_one_in_its_session_only(cluster: FactCluster) -> None:
    follower = cluster.follower()
    client, other = cluster.client(follower), cluster.client(follower)
    run_all(client, ("CREATE OR REPLACE TABLE x31 (id INT)", "INSERT INTO x31 VALUES (1)"))
    run_all(client, ("CREATE TEMPORARY TABLE x31 (id INT)", "INSERT INTO x31 VALUES (2)"))
    cluster.settle()
    assert rows(client, "SELECT id FROM x31") == [(2,)]
    assert rows(other, "SELECT id FROM x31") == [(1,)]


ROWS = 6400
ROW_BYTES = 8000


def test_fact_32_load_data_local_of_49_mib_through_a_follower_is_whole_everywhere(
    cluster: FactCluster, tmp_path: Path
) -> None:
    path = tmp_path / "rows"
    with path.open("w", encoding="ascii") as file:
        for number in range(ROWS):
            file.write(f"{number}\t{str(number) * (ROW_BYTES // len(str(number)))}\n")
    assert path.stat().st_size > 48 << 20
    client = cluster.client(cluster.follower(), local_infile=True)
    rows(client, "CREATE OR REPLACE TABLE l32 (id INT PRIMARY KEY, v VARCHAR(8100))")
    before = sequence(cluster)
    rows(client, f"LOAD DATA LOCAL INFILE '{path}' INTO TABLE l32")
    assert rows(client, "SELECT COUNT(*) FROM l32") == [(ROWS,)]
    # Between the two only the marker rows of an idle primary can have come.
    assert 1 <= sequence(cluster) - before <= 5
    ((_, checksum),) = cluster.same_everywhere("CHECKSUM TABLE demo.l32 EXTENDED")
    assert checksum
    rows(client, "DROP TABLE l32")


def sequence(cluster: FactCluster) -> int:
    [(gtid,)] = cluster.on_server(cluster.leader(), "SELECT @@GLOBAL.gtid_binlog_pos")
    return int(gtid.rpartition("-")[2])


def test_fact_33_grants_by_host_go_by_the_clients_own_address(cluster: FactCluster) -> None:
    admin = cluster.client(cluster.leader())
    for host in ("127.0.0.2", "127.0.0.3"):
        run_all(
            admin,
            (
                f"CREATE OR REPLACE USER guest@'{host}' IDENTIFIED BY '{PASSWORD}'",
                f"GRANT SELECT{', INSERT' if host.endswith('3') else ''} ON demo.* TO guest@'{host}'",
            ),
        )
    rows(admin, "CREATE OR REPLACE TABLE g33 (id INT)")
    for number in cluster.numbers:
        second = guest(cluster, number, "127.0.0.2")
        third = guest(cluster, number, "127.0.0.3")
        # On the node's own server and on the leader's alike.
        for question in ("SELECT USER(), CURRENT_USER()", "SELECT USER(), CURRENT_USER() FOR UPDATE"):
            assert rows(second, question) == [("guest@127.0.0.2", "guest@127.0.0.2")]
            assert rows(third, question) == [("guest@127.0.0.3", "guest@127.0.0.3")]
        with pytest.raises(pymysql.err.OperationalError, match=r"127\.0\.0\.2"):
            rows(second, "INSERT INTO g33 VALUES (1)")
        rows(third, "INSERT INTO g33 VALUES (1)")
        with pytest.raises(pymysql.err.OperationalError, match=r"'guest'@'127\.0\.0\.4'"):
            guest(cluster, number, "127.0.0.4")
        [(address,)] = cluster.on_server(
            cluster.leader(),
            "SELECT host FROM information_schema.processlist WHERE host LIKE '127.0.0.3:%' LIMIT 1",
        )
        assert int(address.partition(":")[2]) > 0


def guest(cluster: FactCluster, number: int, address: str) -> Any:
    return cluster.client(number, user="guest", bind_address=address)
