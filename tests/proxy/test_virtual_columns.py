"""What replicas make of virtual columns that each session computes differently: a limit, written in docs/."""

import time
from collections.abc import Iterator

import pytest
from proxy_pair import Pair

pytestmark = pytest.mark.mariadb


@pytest.fixture(scope="module")
def own_servers() -> Iterator[Pair]:
    """A pair of this module's own, since its replica stops."""
    pair = Pair()
    try:
        pair.start()
        yield pair
    finally:
        pair.stop()


@pytest.mark.parametrize(
    ("column", "settings"),
    [
        ("VARCHAR(30) AS (FROM_UNIXTIME(a))", "SET time_zone = '+10:00'"),
        ("FLOAT AS (RAND())", "DO 1"),
        ("DECIMAL(20,19) AS (a / 3)", "SET div_precision_increment = 12"),
    ],
)
@pytest.mark.parametrize("key", ["", " PRIMARY KEY"])
def test_fact_31_replica_finds_no_row_by_a_virtual_column_that_depends_on_the_session(
    own_servers: Pair, column: str, settings: str, key: str
) -> None:
    own_servers.primary.execute(f"CREATE OR REPLACE TABLE demo.computed (a INT{key}, b INT, v {column})")
    own_servers.primary.execute(
        settings,
        "INSERT INTO demo.computed (a, b) VALUES (1, 1)",
        "UPDATE demo.computed SET b = 2",
    )
    position = own_servers.primary.execute("SELECT @@gtid_binlog_pos")[0][0]
    applied = _applies(own_servers, position)
    assert applied == bool(key)
    if not applied:
        own_servers.replica.execute("STOP SLAVE", f"SET GLOBAL gtid_slave_pos = '{position}'", "START SLAVE")


def _applies(pair: Pair, position: str) -> bool:
    """Whether the replica comes to a position; false: it has stopped before."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if pair.replica.execute("SELECT @@gtid_slave_pos")[0][0] == position:
            return True
        if pair.replica.execute("SHOW STATUS LIKE 'Slave_running'")[0][1] == "OFF":
            return False
        time.sleep(0.05)
    raise AssertionError(f"the replica neither stops nor comes to {position}")
