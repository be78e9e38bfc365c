"""Metrics of the MariaDB beside a node: its state, its position, what it was and what it cost."""

from wolfscale.app.observation.metrics.metric import Sample, Samples, counter, gauge, info, states
from wolfscale.replication.notice import MemberNotice
from wolfscale.replication.roles import DatabaseState
from wolfscale.replication.statistics import LifecycleStatistics

UP = gauge("mariadb_up", "1 while the server's process runs.")
STATE = states("mariadb_state", "What the server is doing.")
VERSION = info("mariadb", "The server's version.")
WRITABLE = gauge("mariadb_writable", "1 while the server takes writes.")
APPLIED = gauge("mariadb_applied_sequence", "GTID sequence of the newest transaction that it has applied.")
APPLIED_INDEX = gauge("mariadb_applied_index", "Log index of that transaction.")
COMMITTED = gauge("mariadb_committed_sequence", "GTID sequence of the newest transaction known as committed.")
LAG = gauge("mariadb_lag_groups", "Committed transactions that it has not applied.")
SETTLED = gauge("mariadb_settled_index", "Log index up to which its own data survives a power cut.")

PROMOTIONS = counter("promotions", "Times that the server became primary.")
PROMOTION_SECONDS = counter("promotion_seconds", "What that took together.")
DEMOTIONS = counter(
    "demotions", "Times that it ceased to be primary: planned, or forced by killing it.", "kind"
)
RECOVERIES = counter("recoveries", "Times that it was started and its position found.")
RECOVERY_SECONDS = counter("recovery_seconds", "What that took together.")
CLONES = counter("clones", "Times that its data was replaced by a peer's.")
CLONE_BYTES = counter("clone_bytes", "Bytes received for that.")
CLONE_SECONDS = counter("clone_seconds", "What that took together.")
CLONES_FAILED = counter("clones_failed", "Attempts at that which came to nothing.")
CLONES_GIVEN = counter("clones_given", "Copies of its data that were sent to peers.")
FAILURES = counter("mariadb_role_failures", "Times that what it was doing ended by an error.")

METRICS = (
    *(UP, STATE, VERSION, WRITABLE, APPLIED, APPLIED_INDEX, COMMITTED, LAG, SETTLED),
    *(PROMOTIONS, PROMOTION_SECONDS, DEMOTIONS, RECOVERIES, RECOVERY_SECONDS),
    *(CLONES, CLONE_BYTES, CLONE_SECONDS, CLONES_FAILED, CLONES_GIVEN, FAILURES),
)


def database_samples(notice: MemberNotice) -> Samples:
    """How a node's MariaDB is."""
    yield Sample(UP, notice.process_id != 0)
    yield Sample(STATE, {state.value: state is notice.state for state in DatabaseState})
    if notice.server_version:
        yield Sample(VERSION, {"version": notice.server_version})
    yield Sample(WRITABLE, notice.writable)
    yield Sample(APPLIED, notice.applied_sequence)
    yield Sample(APPLIED_INDEX, notice.applied_index)
    yield Sample(COMMITTED, notice.committed_sequence)
    yield Sample(LAG, max(0, notice.committed_sequence - notice.applied_sequence))
    yield Sample(SETTLED, notice.settled_index)


def lifecycle_samples(counted: LifecycleStatistics) -> Samples:
    """What it has been through."""
    yield Sample(PROMOTIONS, counted.promotions)
    yield Sample(PROMOTION_SECONDS, counted.promotion_seconds)
    yield Sample(DEMOTIONS, counted.demotions_planned, ("planned",))
    yield Sample(DEMOTIONS, counted.demotions_forced, ("forced",))
    yield Sample(RECOVERIES, counted.recoveries)
    yield Sample(RECOVERY_SECONDS, counted.recovery_seconds)
    yield Sample(CLONES, counted.clones)
    yield Sample(CLONE_BYTES, counted.clone_bytes)
    yield Sample(CLONE_SECONDS, counted.clone_seconds)
    yield Sample(CLONES_FAILED, counted.clones_failed)
    yield Sample(CLONES_GIVEN, counted.clones_given)
    yield Sample(FAILURES, counted.failures)
