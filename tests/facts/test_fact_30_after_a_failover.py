"""What must be so after the leader was killed or stopped in order: one kill and one stop serve all tests."""

import threading
import time
from typing import Any

import pymysql
import pytest
from facts_on_a_cluster import FactCluster, error_of, rows, run_all

pytestmark = pytest.mark.cluster

STEP_DOWN_LIMIT_SECONDS = 30


def test_fact_21_and_30_prepared_transaction_and_sequence_survive_a_killed_leader(
    cluster: FactCluster,
) -> None:
    old = cluster.leader()
    witness = cluster.follower()
    client = cluster.client(witness)
    run_all(
        client,
        (
            "CREATE OR REPLACE TABLE t21 (id INT PRIMARY KEY)",
            "CREATE OR REPLACE SEQUENCE s30 CACHE 100",
            "XA START 'moved'",
            "INSERT INTO t21 VALUES (1)",
            "XA END 'moved'",
            "XA PREPARE 'moved'",
        ),
    )
    given = [rows(cluster.client(witness), "SELECT NEXTVAL(s30)")[0][0] for _ in range(5)]
    cluster.kill(old)
    cluster.successor(old)
    # Sequence values of a cache that died are a gap, never a repeat.
    other = cluster.client(witness)
    given += [rows(other, "SELECT NEXTVAL(s30)")[0][0] for _ in range(5)]
    assert given == sorted(set(given))
    assert given[5] == 101
    assert [row[3] for row in rows(other, "XA RECOVER")] == [b"moved"]
    rows(other, "XA COMMIT 'moved'")
    assert rows(other, "SELECT id FROM t21") == [(1,)]
    cluster.launch(old)
    cluster.settle()
    assert cluster.same_everywhere("SELECT id FROM demo.t21") == ((1,),)
    assert cluster.same_everywhere("XA RECOVER") == ()
    assert cluster.same_everywhere("SELECT next_not_cached_value FROM demo.s30") == ((201,),)


def test_fact_26_and_27_leader_stopped_in_order_is_not_held_up_by_sessions(cluster: FactCluster) -> None:
    old = cluster.leader()
    follower = cluster.follower()
    open_, mighty, locker = (
        cluster.client(old),
        cluster.client(follower, user="mighty"),
        cluster.client(follower),
    )
    run_all(
        open_,
        (
            "CREATE OR REPLACE TABLE t26 (id INT PRIMARY KEY)",
            "CREATE OR REPLACE TABLE l26 (id INT PRIMARY KEY)",
            "BEGIN",
            "INSERT INTO t26 VALUES (1)",
        ),
    )
    run_all(mighty, ("BEGIN", "INSERT INTO t26 VALUES (2)"))
    rows(locker, "LOCK TABLES l26 WRITE")
    outcomes: dict[int, tuple[int, str]] = {}
    writer = threading.Thread(target=_write_when_possible, args=(cluster.client(follower), outcomes))
    writer.start()
    try:
        assert cluster.terminate(old) < STEP_DOWN_LIMIT_SECONDS
        cluster.successor(old)
    finally:
        writer.join(60)
    assert outcomes[0] == (0, "")
    # Nobody was told of a commit that is not there; both transactions are gone.
    assert error_of(open_, "COMMIT")[0] != 0
    assert error_of(mighty, "COMMIT")[0] != 0
    cluster.launch(old)
    cluster.settle()
    assert cluster.same_everywhere("SELECT id FROM demo.t26") == ((3,),)


def _write_when_possible(client: Any, outcomes: dict[int, tuple[int, str]]) -> None:
    """One statement, sent while the leader goes: the proxy carries it over to the next one."""
    time.sleep(0.5)
    outcomes[0] = error_of(client, "INSERT INTO t26 VALUES (3)")


def test_fact_07_leader_stopped_with_waiting_commits_acknowledges_none(cluster: FactCluster) -> None:
    """SIGTERM makes MariaDB commit what waits for its acknowledgement, so the node does not use it then."""
    old = cluster.leader()
    followers = cluster.followers()
    client = cluster.client(old)
    rows(client, "CREATE OR REPLACE TABLE t07 (id INT PRIMARY KEY)")
    cluster.settle()
    cluster.pause(*followers)
    outcome: list[int] = []

    def insert() -> None:
        try:
            rows(client, "INSERT INTO t07 VALUES (1)")
        except (pymysql.err.MySQLError, OSError) as error:
            outcome.append(int(error.args[0] or -1))
        else:
            outcome.append(0)

    writer = threading.Thread(target=insert)
    writer.start()
    try:
        _until_waiting(cluster, old)
        cluster.terminate(old)
    finally:
        cluster.resume(*followers)
        writer.join(60)
    assert outcome
    assert outcome[0] != 0
    cluster.launch(old)
    cluster.settle()
    # The followers may have had it in their sockets: then it is everywhere, else nowhere.
    cluster.same_everywhere("SELECT id FROM demo.t07")


def _until_waiting(cluster: FactCluster, number: int) -> None:
    deadline = time.monotonic() + 60
    while (
        cluster.on_server(number, "SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_master_wait_sessions'")[0][1] == "0"
    ):
        assert time.monotonic() < deadline
        time.sleep(0.01)
