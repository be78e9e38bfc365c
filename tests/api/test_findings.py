"""What is wrong and what to do: one row a situation."""

import pytest

from wolfscale.api.dashboard_models import Event, Finding, History, HistorySeries, Severity
from wolfscale.api.findings import CHECKS, _Seen, findings
from wolfscale.api.health import cluster_summary
from wolfscale.api.models import (
    AppliedStatus,
    CloneStatus,
    DatabaseState,
    DatabaseStatus,
    HostStatus,
    LogStatus,
    MemberStatus,
    NodeStatus,
    RaftRole,
)
from wolfscale.testing.statuses import follower, member, node

NOW = 1_000_000.0
DAY = 86400.0
GIB = 1 << 30
NOTHING_KNOWN = HistorySeries()
HEALTHY = (member(1, writable=True), member(2), member(3))


def seen(
    status: NodeStatus, *, series: HistorySeries = NOTHING_KNOWN, events: tuple[Event, ...] = ()
) -> tuple[Finding, ...]:
    return findings(status, History(end_time=NOW, series=series), events)


def with_member(number: int, **changes: object) -> NodeStatus:
    """A healthy cluster but for one member."""
    return node(
        members=tuple(one.model_copy(update=changes) if one.number == number else one for one in HEALTHY)
    )


def down(*numbers: int) -> tuple[MemberStatus, ...]:
    return tuple(
        one.model_copy(update={"alive": False, "silent_seconds": 150.0}) if one.number in numbers else one
        for one in HEALTHY
    )


def database(state: DatabaseState, reason: str = "", clone: CloneStatus | None = None) -> DatabaseStatus:
    return DatabaseStatus(state=state, reason=reason, clone=clone)


ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO

ROWS: list[tuple[str, NodeStatus, Severity, str, str]] = [
    (
        "quorum lost",
        node(leader=None, members=down(2, 3)),
        ERROR,
        "no leader: 1 of 3 voters are up, 2 are needed",
        "start node-2 and node-3",
    ),
    ("election", node(leader=None), ERROR, "no leader is known", "an election takes a second or two"),
    (
        "joining",
        node(role=RaftRole.JOINING, leader=None, members=()),
        WARNING,
        "node-1 is not a member",
        "[cluster] peers and the secret",
    ),
    (
        "promoting",
        node(
            members=(
                HEALTHY[0].model_copy(
                    update={"writable": False, "database": database(DatabaseState.PROMOTING)}
                ),
                *HEALTHY[1:],
            )
        ),
        WARNING,
        "node-1 leads, and its MariaDB is promoting",
        "wait",
    ),
    (
        "leader cannot write",
        with_member(1, writable=False, database=database(DatabaseState.STOPPED, "it crashed")),
        ERROR,
        "node-1 leads, but its MariaDB is stopped",
        "hands leadership",
    ),
    (
        "witness leads",
        with_member(1, writable=False, suffrage="witness", database=database(DatabaseState.NONE)),
        WARNING,
        "node-1 leads and is a witness",
        "start one that is down",
    ),
    (
        "leader silent",
        node(members=down(1)),
        ERROR,
        "node-1 leads, but is not heard from",
        "election",
    ),
    (
        "member down",
        node(members=down(3)),
        WARNING,
        "node-3 (127.0.0.1:7402) has not been heard from for 2 minutes",
        "start WolfScale on node-3",
    ),
    (
        "no margin",
        node(members=down(3)),
        WARNING,
        "one more voter lost and nothing can be written: 2 of 3",
        "start node-3",
    ),
    (
        "failed",
        with_member(2, database=database(DatabaseState.FAILED, "no room")),
        ERROR,
        "MariaDB on node-2 failed: no room",
        "error log on node-2",
    ),
    (
        "crash loop",
        with_member(2, database=database(DatabaseState.STOPPED, "exit code 1")),
        ERROR,
        "MariaDB on node-2 is stopped: exit code 1",
        "server/mysql.err",
    ),
    (
        "clone needed",
        with_member(2, database=database(DatabaseState.CLONE_NEEDED, "diverged: x")),
        WARNING,
        "node-2 needs a copy of another member's data: diverged: x",
        "by itself",
    ),
    (
        "cloning",
        with_member(
            2,
            database=database(
                DatabaseState.CLONING,
                clone=CloneStatus(donor="node-1", phase="receiving", received_bytes=5 << 20),
            ),
        ),
        INFO,
        "from node-1 (receiving, 5 MiB received)",
        "wait",
    ),
    (
        "recovering",
        with_member(2, database=database(DatabaseState.RECOVERING, "the log is behind")),
        INFO,
        "MariaDB on node-2 is recovering: the log is behind",
        "majority",
    ),
    ("learner", with_member(3, suffrage="learner"), INFO, "node-3 has no vote yet", "level"),
    (
        "lag",
        with_member(3, applied=AppliedStatus(lag_groups=5000)),
        WARNING,
        "MariaDB on node-3 is 5000 transactions behind",
        "primary key",
    ),
    (
        "log full",
        node().model_copy(update={"log": LogStatus(problem="no room on /x")}),
        ERROR,
        "node-1 cannot write its log: no room on /x",
        "make room",
    ),
    (
        "disk low",
        with_member(2, host=HostStatus(disk_total_bytes=100 * GIB, disk_free_bytes=5 * GIB)),
        WARNING,
        "the disk of node-2 is nearly full: 5120 MiB of 102400 MiB",
        "retention_hours",
    ),
    (
        "disk full",
        with_member(2, host=HostStatus(disk_total_bytes=100 * GIB, disk_free_bytes=GIB)),
        ERROR,
        "the disk of node-2 is nearly full",
        "make room",
    ),
    (
        "not synced",
        with_member(2, host=HostStatus(fsync=False)),
        WARNING,
        "node-2: the log is not synced",
        "fsync = true",
    ),
    (
        "expired",
        with_member(2, host=HostStatus(certificate_ends=NOW - 5)),
        ERROR,
        "a certificate of node-2 has expired",
        "tls_cert",
    ),
    (
        "expiring",
        with_member(2, host=HostStatus(certificate_ends=NOW + 5 * DAY)),
        WARNING,
        "a certificate of node-2 expires in 5 days",
        "tls_cert",
    ),
    (
        "server versions",
        node(
            members=tuple(
                one.model_copy(
                    update={
                        "database": DatabaseStatus(
                            state=one.database.state, version=f"10.11.{one.number // 2}"
                        )
                    }
                )
                for one in HEALTHY
            )
        ),
        WARNING,
        "MariaDB: node-1 10.11.0, node-2 10.11.1, node-3 10.11.1",
        "same one",
    ),
    (
        "time zones",
        node(
            members=tuple(
                one.model_copy(
                    update={
                        "database": DatabaseStatus(
                            state=one.database.state, time_zone=f"UTC+0{one.number // 2}:00"
                        )
                    }
                )
                for one in HEALTHY
            )
        ),
        WARNING,
        "time zones: node-1 UTC+00:00, node-2 UTC+01:00, node-3 UTC+01:00",
        "one time zone",
    ),
    (
        "versions",
        node(
            members=tuple(
                one.model_copy(update={"host": HostStatus(version=f"0.{one.number // 3}")}) for one in HEALTHY
            )
        ),
        WARNING,
        "WolfScale: node-1 0.0, node-2 0.0, node-3 0.1",
        "leader last",
    ),
    (
        "clock ahead",
        with_member(2, host=HostStatus(clock_offset_seconds=7200.0)),
        WARNING,
        "the clock of node-2 is 2 hours ahead of that of node-1",
        "chrony",
    ),
    (
        "clock behind",
        with_member(2, host=HostStatus(clock_offset_seconds=-3.0)),
        WARNING,
        "the clock of node-2 is 3.0 s behind that of node-1",
        "chrony",
    ),
    ("alone", node(members=HEALTHY[:1]), INFO, "one voter holds everything", "start two more nodes"),
    ("two", node(members=HEALTHY[:2]), INFO, "2 voters stand the loss of 0", "witness"),
    (
        "four",
        node(members=(*HEALTHY, member(4))),
        INFO,
        "4 voters stand the loss of 1, no more than 3 would",
        "witness",
    ),
]


@pytest.mark.parametrize(
    ("status", "severity", "what", "next_step"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_situation_is_found_with_its_next_step(
    status: NodeStatus, severity: Severity, what: str, next_step: str
) -> None:
    found = seen(status)
    matching = [finding for finding in found if what in finding.what]
    assert len(matching) == 1, found
    assert matching[0].severity is severity
    assert next_step in matching[0].next_step


@pytest.mark.parametrize("status", [node(), follower()], ids=["leader", "follower"])
def test_healthy_cluster_has_no_finding(status: NodeStatus) -> None:
    assert seen(status) == ()


def test_worst_comes_first() -> None:
    status = node(leader=None, members=(*down(2, 3), member(4)))
    severities = [finding.severity for finding in seen(status)]
    assert set(severities) == {ERROR, WARNING, INFO}
    assert severities == sorted(severities, key=[ERROR, WARNING, INFO].index)


def test_word_of_a_silent_member_is_not_judged() -> None:
    silent = with_member(
        3,
        alive=False,
        silent_seconds=None,
        host=HostStatus(fsync=False),
        applied=AppliedStatus(lag_groups=9999),
    )
    assert [finding.what for finding in seen(silent)] == [
        "node-3 (127.0.0.1:7402) has not been heard from",
        "one more voter lost and nothing can be written: 2 of 3 are up",
    ]


def test_own_clock_is_not_compared_with_itself() -> None:
    assert seen(with_member(1, host=HostStatus(clock_offset_seconds=99.0))) == ()


@pytest.mark.parametrize(
    ("lags", "expected"),
    [
        ([float(n) for n in range(2000, 2030)], "2000 transactions behind, and falling further behind"),
        ([float(n) for n in range(2030, 2000, -1)], "2000 transactions behind, and catching up"),
        ([None] * 25 + [2000.0] * 5, "2000 transactions behind"),
    ],
)
def test_lag_of_the_node_itself_has_a_trend(lags: list[float | None], expected: str) -> None:
    members = (
        member(1, writable=True),
        member(2).model_copy(update={"applied": AppliedStatus(lag_groups=2000)}),
        member(3),
    )
    status = follower(2).model_copy(update={"members": members})
    (finding,) = seen(status, series=HistorySeries(lag_groups=tuple(lags)))
    assert finding.what.endswith(expected)


def test_unstable_leadership_is_told_from_recent_events() -> None:
    def elected(age: float) -> Event:
        return Event(time=NOW - age, kind="leader", text="leader elected")

    recent = tuple(elected(age) for age in (1.0, 2.0, 3.0))
    assert seen(node(), events=(*recent, elected(5000.0))) == ()
    (finding,) = seen(node(), events=(*recent, elected(500.0)))
    assert finding.what == "leadership changed 4 times within 10 minutes"


def test_slow_commits_are_told_when_most_of_the_last_minute_was_slow() -> None:
    slow, quick, none = (300.0,), (3.0,), (None,)
    assert seen(node(), series=HistorySeries(commit_p50_ms=slow * 5 + none * 55)) == ()
    assert seen(node(), series=HistorySeries(commit_p50_ms=slow * 20 + quick * 40)) == ()
    (finding,) = seen(node(), series=HistorySeries(commit_p50_ms=quick * 100 + slow * 40 + none * 20))
    assert finding.what == "commits take 300 ms or so"


def test_refused_statements_are_counted() -> None:
    events = tuple(
        Event(time=NOW - age, kind="refusal", text="statements refused", fields={"count": "2"})
        for age in (1.0, 2.0, 5000.0)
    )
    (finding,) = seen(node(), events=events)
    assert (finding.severity, finding.what) == (INFO, "4 statements were refused within 10 minutes")


def test_stored_program_that_set_what_no_session_may_is_an_error() -> None:
    event = Event(time=NOW - 5000.0, kind="divergence", text="a stored program has set what no session may")
    (finding,) = seen(node(), events=(event,))
    assert finding.severity is Severity.ERROR
    assert finding.what == "a stored program has set sql_log_bin or the like: the servers' data may differ"


def test_stored_program_that_would_run_what_is_refused_is_told_until_it_is_gone() -> None:
    def event(age: float, name: str, **more: str) -> Event:
        return Event(time=NOW - age, kind="program", text="told", fields={"program": name, **more})

    events = (event(3.0, "a.q"), event(5.0, "a.p", reason="SET x: why"), event(9.0, "a.q", reason="why"))
    (finding,) = seen(node(), events=events)
    assert finding.severity is Severity.WARNING
    assert finding.what == "the stored program a.p would run what no session may: SET x: why"


def test_every_check_is_tried_here() -> None:
    """A check that no situation of this module brings out would be untested."""
    tried = {check for check in CHECKS if any(_finds(check, row[1]) for row in ROWS)}
    left = {check.__name__ for check in CHECKS if check not in tried}
    assert left == {"_unstable_leadership", "_slow_commits", "_refusals", "_cut_loose", "_programs"}


def _finds(check: object, status: NodeStatus) -> bool:
    view = _Seen(status=status, cluster=cluster_summary(status), history=History(end_time=NOW), events=())
    assert callable(check)
    return bool(list(check(view)))
