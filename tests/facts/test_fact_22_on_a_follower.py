"""What through a follower's proxy must never run on its replica, and what must run nowhere."""

from typing import Any

import pytest
from facts_on_a_cluster import FactCluster, error_of, rows, run_all

from wolfscale.replication.settings import RESERVED_SERVER_ID

pytestmark = pytest.mark.cluster

WRITE_A_GTID = (
    "FLUSH TABLES",
    "FLUSH STATUS",
    "FLUSH PRIVILEGES",
    "FLUSH HOSTS",
    "ANALYZE TABLE t22",
    "OPTIMIZE TABLE t22",
    "REPAIR TABLE a22",
    "FLUSH TABLES t22",
    "/* hidden */ ANALYZE /*!50000 TABLE */ t22",
)


@pytest.mark.parametrize("user", ["app", "mighty"])
def test_fact_22_statement_that_writes_a_gtid_of_its_own_never_runs_on_the_replica(
    cluster: FactCluster, user: str
) -> None:
    follower = cluster.follower()
    client = cluster.client(follower, user=user)
    run_all(
        client,
        (
            "CREATE TABLE IF NOT EXISTS t22 (id INT PRIMARY KEY)",
            "CREATE TABLE IF NOT EXISTS a22 (id INT PRIMARY KEY) ENGINE=Aria",
            "REPLACE INTO t22 VALUES (1)",
        ),
    )
    for statement in WRITE_A_GTID:
        assert error_of(client, statement) == (0, ""), statement
        assert rows(client, "SELECT id FROM t22") == [(1,)]
    cluster.settle()
    for number in cluster.followers():
        assert cluster.on_server(number, "SELECT @@GLOBAL.gtid_binlog_pos") == (("",),)
    assert rows(client, "SELECT COUNT(*) FROM t22") == [(1,)]


def test_fact_22_administrators_flush_on_a_replica_does_not_stop_it(cluster: FactCluster) -> None:
    follower = cluster.follower()
    client = cluster.client(follower)
    rows(client, "CREATE TABLE IF NOT EXISTS u22 (id INT)")
    cluster.settle()
    cluster.on_server(follower, "FLUSH TABLES", "ANALYZE TABLE demo.u22")
    [(own,)] = cluster.on_server(follower, "SELECT @@GLOBAL.gtid_binlog_pos")
    assert int(own.split("-")[1]) >= RESERVED_SERVER_ID
    for number in range(3):
        rows(client, f"INSERT INTO u22 VALUES ({number})")
        assert rows(client, "SELECT COUNT(*) FROM u22") == [(number + 1,)]
    assert cluster.same_everywhere("SELECT id FROM demo.u22 ORDER BY id") == ((0,), (1,), (2,))
    rows(client, "DROP TABLE u22")


REFUSED = (
    "RESET MASTER",
    "RESET SLAVE ALL",
    "STOP SLAVE",
    "CHANGE MASTER TO MASTER_HOST='nowhere'",
    "PURGE BINARY LOGS BEFORE NOW()",
    "SHUTDOWN",
    "BEGIN NOT ATOMIC KILL 1; END",
    "SET sql_log_bin = 0",
    "SET @@session.skip_replication = 1",
    "SET gtid_domain_id = 7",
    "SET gtid_seq_no = 1",
    "SET server_id = 99",
    "SET GLOBAL server_id = 99",
    "SET GLOBAL gtid_slave_pos = ''",
    "SET GLOBAL read_only = 0",
    "SET GLOBAL rpl_semi_sync_master_enabled = 0",
    "SET GLOBAL rpl_semi_sync_master_timeout = 1",
    "SET GLOBAL rpl_semi_sync_master_wait_no_slave = 0",
    "SET binlog_format = 'STATEMENT'",
    "SET STATEMENT sql_log_bin = 0 FOR INSERT INTO t23 VALUES (1)",
    "/*!50000 RESET */ MASTER",
    "PREPARE s FROM 'RESET MASTER'",
    "EXECUTE IMMEDIATE CONCAT('SET sql_log_', 'bin = 0')",
    "BEGIN NOT ATOMIC RESET MASTER; END",
    "BEGIN NOT ATOMIC SET sql_log_bin = 0; INSERT INTO t23 VALUES (1); END",
    "CREATE PROCEDURE p23() BEGIN SET sql_log_bin = 0; INSERT INTO t23 VALUES (1); END",
    "DROP USER wolfscale@localhost",
    "SET PASSWORD FOR wolfscale@localhost = PASSWORD('x')",
)


@pytest.mark.parametrize("role", ["leader", "follower"])
@pytest.mark.parametrize("user", ["app", "mighty"])
def test_fact_23_statement_that_cuts_a_server_loose_is_refused_for_every_account(
    cluster: FactCluster, role: str, user: str
) -> None:
    client = cluster.client(cluster.leader() if role == "leader" else cluster.follower(), user=user)
    rows(client, "CREATE TABLE IF NOT EXISTS t23 (id INT)")
    before = _identities(cluster)
    for statement in REFUSED:
        errno, message = error_of(client, statement)
        assert errno in {1227, 1235}, statement
        assert "WolfScale" in message, statement
    assert _identities(cluster) == before
    assert cluster.same_everywhere("SELECT * FROM demo.t23") == ()


def _identities(cluster: FactCluster) -> list[tuple[Any, ...]]:
    return [
        rows[0]
        for rows in cluster.on_all_servers(
            "SELECT @@GLOBAL.server_id, @@GLOBAL.read_only, @@GLOBAL.rpl_semi_sync_master_enabled, "
            "@@GLOBAL.rpl_semi_sync_master_wait_no_slave, @@GLOBAL.gtid_domain_id, @@GLOBAL.gtid_slave_pos "
            "<> ''"
        )
    ]


def test_fact_23_account_with_all_rights_changes_nothing_on_a_replica(cluster: FactCluster) -> None:
    """Read_only does not stop it; what the proxy misjudges for a read, the read-only session refuses."""
    follower = cluster.follower()
    client = cluster.client(follower, user="mighty")
    run_all(
        client,
        (
            "CREATE TABLE IF NOT EXISTS w23 (id INT)",
            "CREATE OR REPLACE FUNCTION abs23() RETURNS INT MODIFIES SQL DATA "
            "BEGIN INSERT INTO w23 VALUES (1); RETURN 1; END",
            "CREATE OR REPLACE VIEW v23 AS SELECT abs23() AS wrote",
        ),
    )
    assert rows(client, "SELECT wrote FROM v23") == [(1,)]
    assert rows(client, "SELECT COUNT(*) FROM w23") == [(1,)]
    assert cluster.same_everywhere("SELECT * FROM demo.w23") == ((1,),)
    for number in cluster.followers():
        [(own,)] = cluster.on_server(number, "SELECT @@GLOBAL.gtid_binlog_pos")
        assert "w23" not in own
