"""What is wrong with a cluster and what to do about it, from what one node sees. Pure.

Each check is a function from the situation to its findings, and stands in `CHECKS`. docs/operations.md lists
them for people.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from wolfscale.api.dashboard_models import Event, Finding, History, Severity
from wolfscale.api.health import cluster_summary, spare_voters
from wolfscale.api.models import ClusterStatus, DatabaseState, MemberStatus, NodeStatus, RaftRole

LAG_GROUPS = 1000
CLOCK_SECONDS = 2.0
"""Notices travel at once or within a second: a smaller difference may be none."""
DISK_LOW_SHARE, DISK_FULL_SHARE = 0.10, 0.03
CERTIFICATE_SECONDS = 30 * 86400.0
SLOW_COMMIT_MS = 250.0
SLOW_SAMPLES = 30
UNSTABLE_CHANGES = 4
RECENT_SECONDS = 600.0

_MEBIBYTE = 1 << 20
_PASSING = frozenset({DatabaseState.RECOVERING, DatabaseState.PROMOTING, DatabaseState.DEMOTING})
_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """Everything that a check may look at."""

    status: NodeStatus
    cluster: ClusterStatus
    history: History
    events: Sequence[Event]

    @property
    def now(self) -> float:
        """When this was seen, in seconds since 1970; 0 when unknown."""
        return self.history.end_time

    @property
    def alive(self) -> tuple[MemberStatus, ...]:
        """The members whose word is fresh."""
        return tuple(member for member in self.status.members if member.alive)

    @property
    def missing_voters(self) -> str:
        """The names of the voters that are down."""
        down = [member.name for member in self.status.members if not member.alive and _votes(member)]
        return _names(down)


def findings(status: NodeStatus, history: History, events: Sequence[Event]) -> tuple[Finding, ...]:
    """All findings, the worst first."""
    seen = _Seen(status=status, cluster=cluster_summary(status), history=history, events=events)
    found = [finding for check in CHECKS for finding in check(seen)]
    return tuple(sorted(found, key=lambda finding: _ORDER[finding.severity]))


def _joining(seen: _Seen) -> Iterator[Finding]:
    if seen.status.role is RaftRole.JOINING:
        yield _warning(
            f"{seen.status.name} is not a member of a cluster yet",
            "wait while it asks its peers; if this lasts, check [cluster] peers and the secret in its "
            "configuration, and its log for the reason",
        )


def _no_leader(seen: _Seen) -> Iterator[Finding]:
    cluster = seen.cluster
    if seen.status.leader is not None or seen.status.role is RaftRole.JOINING:
        return
    needed = cluster.voters // 2 + 1
    if cluster.alive_voters < needed:
        yield _error(
            f"no leader: {cluster.alive_voters} of {cluster.voters} voters are up, {needed} are needed; "
            "nothing can be written",
            f"start {seen.missing_voters}, or mend the network between the members",
        )
    else:
        yield _error(
            "no leader is known; nothing can be written",
            "an election takes a second or two; if this lasts, check that the members reach each other's "
            "peer ports",
        )


def _leader_takes_no_writes(seen: _Seen) -> Iterator[Finding]:
    leader = seen.status.leader
    if leader is None or seen.cluster.writable:
        return
    member = next((member for member in seen.status.members if member.id == leader.id), None)
    state = member.database.state if member is not None and member.alive else None
    if state is None:
        yield _error(f"{leader.name} leads, but is not heard from", "an election follows by itself; wait")
    elif state in _PASSING or state is DatabaseState.REPLICA:
        what = "is becoming ready" if state is DatabaseState.REPLICA else f"is {state.value}"
        yield _warning(
            f"{leader.name} leads, and its MariaDB {what}: writes wait",
            "wait; it takes writes once its MariaDB has applied the log, seconds after a failover",
        )
    elif state is DatabaseState.NONE:
        yield _warning(
            f"{leader.name} leads and is a witness: writes wait",
            "it hands leadership on as soon as a member with a MariaDB is level; start one that is down",
        )
    else:
        yield _error(
            f"{leader.name} leads, but its MariaDB is {state.value}: nothing can be written",
            "it hands leadership to a member whose MariaDB serves; start one, or mend this one (its finding "
            "says how)",
        )


def _no_margin(seen: _Seen) -> Iterator[Finding]:
    cluster = seen.cluster
    if cluster.leader is None or cluster.voters < 3 or spare_voters(cluster) > 0:
        return
    yield _warning(
        f"one more voter lost and nothing can be written: {cluster.alive_voters} of {cluster.voters} are up",
        f"start {seen.missing_voters}",
    )


def _few_or_even_voters(seen: _Seen) -> Iterator[Finding]:
    voters = seen.cluster.voters
    if voters == 1:
        yield _info(
            "one voter holds everything: its machine lost, all is lost",
            "start two more nodes with this one in their [cluster] peers; they join and copy the data",
        )
    elif voters and voters % 2 == 0:
        tolerated = voters // 2 - 1
        yield _info(
            f"{voters} voters stand the loss of {tolerated}, no more than {voters - 1} would",
            "add one more node; a witness (witness = true) is enough, it needs no MariaDB",
        )


def _members_down(seen: _Seen) -> Iterator[Finding]:
    for member in seen.status.members:
        if not member.alive:
            silence = "" if member.silent_seconds is None else f" for {_duration(member.silent_seconds)}"
            yield _warning(
                f"{member.name} ({member.address}) has not been heard from{silence}",
                f"start WolfScale on {member.name}, or mend the network to it; when its machine is lost for "
                "good, start a new node under the same id: it takes its place",
            )


def _databases(seen: _Seen) -> Iterator[Finding]:
    for member in seen.alive:
        finding = _database(member)
        if finding is not None:
            yield finding


def _database(member: MemberStatus) -> Finding | None:
    database, name = member.database, member.name
    because = f": {database.reason}" if database.reason else ""
    match database.state:
        case DatabaseState.FAILED:
            return _error(
                f"MariaDB on {name} failed{because}",
                f"look at the node's log and at MariaDB's error log on {name}",
            )
        case DatabaseState.STOPPED if database.reason:
            return _error(
                f"MariaDB on {name} is stopped{because}",
                f"{name} starts it again by itself; if this comes back, look at the node's log and at "
                f"MariaDB's error log (server/mysql.err in its data directory) on {name}",
            )
        case DatabaseState.CLONE_NEEDED:
            return _warning(
                f"{name} needs a copy of another member's data{because}",
                "it fetches one by itself from a member whose MariaDB serves; start one if none is up",
            )
        case DatabaseState.CLONING:
            clone = database.clone
            progress = (
                f" from {clone.donor} ({clone.phase}, {clone.received_bytes // _MEBIBYTE} MiB received)"
                if clone
                else ""
            )
            return _info(f"{name} copies its data{progress}", "wait; it serves again when the copy is whole")
        case DatabaseState.RECOVERING if member.database.reason:
            return _info(f"MariaDB on {name} is recovering{because}", "wait; a majority must be up for it")
        case _ if member.suffrage == "learner":
            return _info(f"{name} has no vote yet", "wait; it gets its vote when its MariaDB is level")
    return None


def _lag(seen: _Seen) -> Iterator[Finding]:
    for member in seen.alive:
        lag = member.applied.lag_groups
        if member.database.state is DatabaseState.REPLICA and lag > LAG_GROUPS:
            trend = ""
            if member.id == seen.status.id:
                trend = _trend(seen.history.series.lag_groups)
            yield _warning(
                f"MariaDB on {member.name} is {lag} transactions behind{trend}",
                "reads there wait or go to the leader meanwhile; look for long-running statements that hold "
                "locks, for tables without a primary key, and at the disk",
            )


def _trend(lags: Sequence[float | None]) -> str:
    known = [lag for lag in lags[-SLOW_SAMPLES:] if lag is not None]
    if len(known) < SLOW_SAMPLES // 2:
        return ""
    return ", and falling further behind" if known[-1] > known[0] else ", and catching up"


def _log_cannot_be_written(seen: _Seen) -> Iterator[Finding]:
    if seen.status.log.problem:
        yield _error(
            f"{seen.status.name} cannot write its log: {seen.status.log.problem}",
            "make room on the disk of its data directory, or mend the disk; it tries again every second",
        )


def _disks(seen: _Seen) -> Iterator[Finding]:
    for member in seen.alive:
        total, free = member.host.disk_total_bytes, member.host.disk_free_bytes
        if not total or free >= DISK_LOW_SHARE * total:
            continue
        severity = Severity.ERROR if free < DISK_FULL_SHARE * total else Severity.WARNING
        yield Finding(
            severity=severity,
            what=f"the disk of {member.name} is nearly full: {free // _MEBIBYTE} MiB of "
            f"{total // _MEBIBYTE} MiB are left",
            next_step="make room, enlarge it, or lower retention_hours in [wal]; a full disk stops this "
            "member",
        )


def _unsynced(seen: _Seen) -> Iterator[Finding]:
    names = [member.name for member in seen.alive if not member.host.fsync]
    if names:
        yield _warning(
            f"{_names(names)}: the log is not synced, a power cut loses acknowledged transactions",
            "set fsync = true in [wal] and restart, one node after the other",
        )


def _versions(seen: _Seen) -> Iterator[Finding]:
    ours = {member.name: member.host.version for member in seen.alive if member.host.version}
    if len(set(ours.values())) > 1:
        yield _warning(
            f"members run different versions of WolfScale: {_listed(ours)}",
            "finish the upgrade: one node at a time, the leader last",
        )
    servers = {member.name: member.database.version for member in seen.alive if member.database.version}
    if len(set(servers.values())) > 1:
        yield _warning(
            f"members run different versions of MariaDB: {_listed(servers)}",
            "bring them to the same one: what one server writes another must be able to apply",
        )


def _time_zones(seen: _Seen) -> Iterator[Finding]:
    zones = {member.name: member.database.time_zone for member in seen.alive if member.database.time_zone}
    if len(set(zones.values())) > 1:
        yield _warning(
            f"the members' MariaDB servers are in different time zones: {_listed(zones)}",
            "NOW() depends on where a statement runs, and ALTER TABLE may convert times differently: set "
            "the machines to one time zone and restart MariaDB there, or SET GLOBAL time_zone = '+00:00'",
        )


def _clocks(seen: _Seen) -> Iterator[Finding]:
    for member in seen.alive:
        offset = member.host.clock_offset_seconds
        if member.id != seen.status.id and abs(offset) > CLOCK_SECONDS:
            direction = "ahead of" if offset > 0 else "behind"
            yield _warning(
                f"the clock of {member.name} is {_duration(abs(offset))} {direction} that of "
                f"{seen.status.name}",
                "run a time service on every machine (chrony, systemd-timesyncd): NOW() and ids come from "
                "the leader's clock, whoever leads",
            )


def _certificates(seen: _Seen) -> Iterator[Finding]:
    for member in seen.alive:
        ends = member.host.certificate_ends
        left = ends - seen.now
        if not ends or not seen.now or left > CERTIFICATE_SECONDS:
            continue
        if left <= 0:
            what, severity = f"a certificate of {member.name} has expired", Severity.ERROR
        else:
            what, severity = f"a certificate of {member.name} expires in {_duration(left)}", Severity.WARNING
        yield Finding(
            severity=severity,
            what=what,
            next_step="replace the files that tls_cert and tls_ca in [cluster] or [api] name, and restart, "
            "one node "
            "at a time",
        )


def _unstable_leadership(seen: _Seen) -> Iterator[Finding]:
    changes = [
        event
        for event in seen.events
        if event.text == "leader elected" and event.time > seen.now - RECENT_SECONDS
    ]
    if len(changes) >= UNSTABLE_CHANGES:
        yield _warning(
            f"leadership changed {len(changes)} times within {_duration(RECENT_SECONDS)}",
            "look at load, disks and network of the members; on slow machines raise election_timeout_ms in "
            "[cluster]",
        )


def _slow_commits(seen: _Seen) -> Iterator[Finding]:
    recent = [value for value in seen.history.series.commit_p50_ms[-2 * SLOW_SAMPLES :] if value is not None]
    slow = [value for value in recent if value > SLOW_COMMIT_MS]
    if len(recent) >= SLOW_SAMPLES // 3 and 2 * len(slow) > len(recent):
        yield _warning(
            f"commits take {sorted(slow)[len(slow) // 2]:.0f} ms or so",
            "each waits for the disks of a majority and the network between: look at fsync times "
            "(wolfscale_wal_fsync_seconds) and at the machines' load",
        )


def _refusals(seen: _Seen) -> Iterator[Finding]:
    count = sum(
        int(event.fields.get("count", "0"))
        for event in seen.events
        if event.kind == "refusal" and event.time > seen.now - RECENT_SECONDS
    )
    if count:
        yield _info(
            f"{count} statements were refused within {_duration(RECENT_SECONDS)}",
            "their error said why; docs/routing.md lists what a cluster cannot let through",
        )


def _cut_loose(seen: _Seen) -> Iterator[Finding]:
    if any(event.kind == "divergence" for event in seen.events):
        yield _error(
            "a stored program has set sql_log_bin or the like: the servers' data may differ",
            "the log names the account and the variables; take the SET out of the program, and make the "
            "tables that it writes anew from the leader's (docs/routing.md, inside a stored program)",
        )


def _programs(seen: _Seen) -> Iterator[Finding]:
    newest: dict[str, Event] = {}
    for event in sorted(seen.events, key=lambda event: event.time):
        if event.kind == "program":
            newest[event.fields.get("program", "")] = event
    # What is gone has no reason any more.
    standing = {name: event for name, event in newest.items() if "reason" in event.fields}
    for name, event in sorted(standing.items()):
        yield _warning(
            f"the stored program {name} would run what no session may: {event.fields['reason']}",
            "take it out of the program, or drop it; docs/routing.md, inside a stored program, says what "
            "comes of it when it runs",
        )


CHECKS: tuple[Callable[[_Seen], Iterator[Finding]], ...] = (
    _joining,
    _no_leader,
    _leader_takes_no_writes,
    _log_cannot_be_written,
    _databases,
    _members_down,
    _no_margin,
    _lag,
    _disks,
    _unsynced,
    _certificates,
    _versions,
    _time_zones,
    _clocks,
    _unstable_leadership,
    _slow_commits,
    _refusals,
    _cut_loose,
    _programs,
    _few_or_even_voters,
)


def _error(what: str, next_step: str) -> Finding:
    return Finding(severity=Severity.ERROR, what=what, next_step=next_step)


def _warning(what: str, next_step: str) -> Finding:
    return Finding(severity=Severity.WARNING, what=what, next_step=next_step)


def _info(what: str, next_step: str) -> Finding:
    return Finding(severity=Severity.INFO, what=what, next_step=next_step)


def _votes(member: MemberStatus) -> bool:
    return member.suffrage in {"voter", "witness"}


def _names(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _listed(values: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(values.items()))


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
