"""Carries out what `roles` decides: the one task that owns the MariaDB beside a node.

One way in, one way out: every server boots through recovery as a replica; a leader's becomes primary by
`promotion`; a primary whose term ended is killed and recovered, or, when asked in time, drained. Tasks
that belong to a role live in a nursery that ends with the role.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from wolfscale import logs
from wolfscale.changes import Changes
from wolfscale.errors import InvariantError, WolfScaleError
from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.mysql.errors import ConnectionLost, ServerError
from wolfscale.replication.application import Application
from wolfscale.replication.applied import AppliedTracker
from wolfscale.replication.choice import donor, successor
from wolfscale.replication.cloning import Cloning
from wolfscale.replication.cluster import Cluster
from wolfscale.replication.database import Database
from wolfscale.replication.decision import CloneNeeded, CloneReason, LogBehind, Position, decide
from wolfscale.replication.evidence import CommittedLog
from wolfscale.replication.failures import Failure
from wolfscale.replication.feed import Feed
from wolfscale.replication.global_settings import GlobalSettings
from wolfscale.replication.intents import IntentMarks
from wolfscale.replication.last_resort import Judgement, best_placed, replay_tolerantly
from wolfscale.replication.notice import MemberNotice
from wolfscale.replication.open_intents import OpenIntents
from wolfscale.replication.positions import CommittedSequence, newest_group
from wolfscale.replication.primary_role import PrimaryRole
from wolfscale.replication.promotion import no_uploads
from wolfscale.replication.record import DataState, RecordStore
from wolfscale.replication.recovery import (
    create_data,
    recover,
    settle_recovery,
    stop_in_order,
)
from wolfscale.replication.replica_role import ReplicaRole, watch_process
from wolfscale.replication.roles import DatabaseState, Situation, Step, next_step
from wolfscale.replication.served_groups import ServedGroups
from wolfscale.replication.server import Account
from wolfscale.replication.settings import RESERVED_SERVER_ID
from wolfscale.replication.statistics import LifecycleStatistics
from wolfscale.replication.surroundings import Surroundings

log = logs.logger(__name__)

PUBLISH_SECONDS = 1.0
SETTINGS_SECONDS = 1.0
RETRY_SECONDS = 1.0
REPEATED_FAILURE_SECONDS = 10.0
STARTS_BEFORE_CLONE = 3
"""A server that does not start so many times in a row has data that only a copy mends."""
HAND_OVER_SECONDS = 5.0
STEP_DOWN_SECONDS = 15.0
QUORUM_ANSWER_SECONDS = 2.0


_SERVING = frozenset({DatabaseState.REPLICA, DatabaseState.PRIMARY})
_WITHOUT_SERVICE = frozenset({DatabaseState.STOPPED, DatabaseState.CLONE_NEEDED, DatabaseState.FAILED})


class Lifecycle:
    """Runs the database of one member for as long as the node runs.

    One task calls `run`; everything else may be read or called from any task of the same event loop.
    """

    def __init__(
        self,
        *,
        cluster: Cluster,
        database: Database,
        records: RecordStore,
        feed: Feed,
        feed_login: Account,
        intents: IntentMarks,
        application: Application,
        probe_seconds: float,
        founds: Callable[[], bool],
    ) -> None:
        self.changes = Changes()
        """Notified when the state, writability or what is applied moves."""
        self.applied_changes = Changes()
        """Notified when this MariaDB has applied more."""
        self.state = DatabaseState.STOPPED
        self.reason = ""
        self.statistics = LifecycleStatistics()
        """What happened since the node's start."""
        self._cluster = cluster
        self._database = database
        self._records = records
        self._feed = feed
        self._feed_login = feed_login
        self.open_intents = OpenIntents(database, intents)
        """What runs on this primary and is no plain transaction."""
        self.settings = GlobalSettings(database, self.open_intents)
        """Global variables that clients have set for the cluster."""
        self._around = Surroundings(
            cluster=cluster,
            database=database,
            records=records,
            marks=intents,
            intents=self.open_intents,
            application=application,
            statistics=self.statistics,
            probe_seconds=probe_seconds,
        )
        self.count_uploads: Callable[[], Awaitable[int]] = no_uploads
        """How many long commands proxies are passing on to this primary; a planned demotion lets them end."""
        self.served_groups = ServedGroups(database.data_directory)
        """What the feed has to wait for."""
        self._founds = founds
        self._committed = CommittedSequence(cluster.log)
        self._cloning = Cloning(self._around)
        self._failed_starts = 0
        self._failed_at = -REPEATED_FAILURE_SECONDS
        self._repetition = logs.Repetition()
        self._tenure: int | None = None
        self._writable_term = 0
        self._stepping_down = False
        self._heir: str | None = None
        self._kept_leadership_term = 0
        self._tracker: AppliedTracker | None = None

    # What others see

    @property
    def writable(self) -> bool:
        """Whether this MariaDB takes writes: caught up, capturing, and primary of the current term."""
        term = self._writable_term
        return term != 0 and term == self._cluster.term and self._cluster.is_leader

    @property
    def committed_sequence(self) -> int:
        """GTID sequence of the newest group that this node knows to be committed."""
        return self._committed.value

    @property
    def serving(self) -> bool:
        """Whether clients may use this MariaDB, if only for reads."""
        return self.state in {DatabaseState.REPLICA, DatabaseState.PRIMARY, DatabaseState.PROMOTING}

    @property
    def applied_sequence(self) -> int:
        """GTID sequence that this MariaDB has applied; a primary has what was committed."""
        if self.state is DatabaseState.PRIMARY:
            return self.committed_sequence
        if self._cloning.needed is not None:
            return self._cloning.sequence
        return self._tracker.applied_sequence if self._tracker else 0

    @property
    def tenure(self) -> int | None:
        """The term of which this MariaDB is the primary; None: it is none."""
        return self._tenure

    def notice(self) -> MemberNotice:
        """What this member says of its database."""
        process_id = self._database.process_id
        # The process may be gone a moment before its role has noticed.
        gone = process_id == 0 and self.serving
        return MemberNotice(
            state=DatabaseState.STOPPED if gone else self.state,
            writable=self.writable,
            term=self._writable_term,
            applied_sequence=self.applied_sequence,
            applied_index=self._cluster.log.find_sequence(self.applied_sequence) or 0,
            committed_sequence=self.committed_sequence,
            settled_index=self._records.current.settled.index,
            reason=self.reason,
            doubt=self._cloning.doubt,
            clone=self._cloning.progress,
            server_version=self._database.version,
            time_zone=self._database.time_zone,
            process_id=process_id,
        )

    # What others ask for

    @property
    def stepping_down(self) -> bool:
        """Whether a planned hand-over is under way; false again when it has failed, too."""
        return self._stepping_down

    def step_down(self, heir: str | None = None) -> None:
        """Begin a planned hand-over: drain the primary, become a replica, give leadership away.

        When nobody takes it, this member becomes primary again.

        Args:
            heir: the id of the member that is to lead; None: the one that is placed best.
        """
        self._heir = heir
        self._stepping_down = True
        self.changes.notify()

    async def interrupt(self, connection_id: int, *, connection: bool) -> bool:
        """Interrupt a client's statement, or end its connection; see `Database.interrupt`."""
        return await self._database.sessions.interrupt(connection_id, connection=connection)

    async def is_applying_blocked(self) -> bool:
        """Whether a session's lock keeps the server from applying; see `Database.is_applying_blocked`."""
        return await self._database.is_applying_blocked()

    async def stop(self) -> None:
        """End the database in good order; `run` must have been cancelled before.

        A replica is stopped so that its next start needs no recovery. Anything else is killed, since a
        shutdown commits what waits for its acknowledgement.
        """
        if self._tenure is None and self.state is DatabaseState.REPLICA:
            try:
                await self._database.stop_replica()
                position = await self._database.position()
                index = self._cluster.log.find_sequence(position.sequence) if position else None
                await self._database.reset_replica()
                if await stop_in_order(
                    self._database, self._records, Position(gtid=position, index=index or 0)
                ):
                    return
            except (WolfScaleError, OSError) as error:
                log.warning("MariaDB could not be stopped in good order", reason=str(error))
        await self._database.kill()

    # The loop

    async def run(self) -> None:
        """Own the database until cancelled; then it is left as it is, for `stop`.

        Raises:
            InvariantError: a bug of ours; the node must stop.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._publish_regularly)
            nursery.start_soon(self._keep_settings)
            while True:
                step = next_step(self._situation())
                try:
                    await self._carry_out(step)
                except* InvariantError:
                    raise
                except* (WolfScaleError, OSError) as group:
                    await self._on_failure(step, group)

    def _situation(self) -> Situation:
        cluster = self._cluster
        # Peers are looked at only where it matters: this runs at each commit.
        may_hand_over = (
            cluster.is_leader
            and self.state in _WITHOUT_SERVICE
            and cluster.term != self._kept_leadership_term
        )
        return Situation(
            state=self.state,
            is_leader=cluster.is_leader,
            term=cluster.term,
            term_start_committed=cluster.term_start_committed,
            tenure=self._tenure,
            has_successor=may_hand_over and successor(self._cluster.peers()) is not None,
            stepping_down=self._stepping_down,
        )

    async def _carry_out(self, step: Step) -> None:
        match step:
            case Step.RECOVER:
                await self._recover()
            case Step.CLONE:
                await self._clone_from_peer()
            case Step.PROMOTE:
                await self._lead()
            case Step.FENCE:
                await self._fence("its term is over")
            case Step.HAND_OVER:
                await self._hand_over()
            case Step.WAIT if self.state is DatabaseState.REPLICA:
                await self._follow()
            case Step.WAIT:
                await self._until_another_step()

    async def _on_failure(self, step: Step, group: BaseExceptionGroup[BaseException]) -> None:
        """Start over from a killed server, and from a clone where the data turned out to differ."""
        failure = Failure.of(group, self._database.data_directory)
        reason = failure.reason
        if times := self._repetition.times((step, reason)):
            log.warning("MariaDB starts over after a failure", step=step.value, reason=reason, times=times)
        self.statistics.failures += 1
        self.statistics.clones_failed += step is Step.CLONE
        await self._fence(reason)
        if failure.writeback_lost is not None:
            # Recovery asks for a clone then. What cannot be written now is written with the next change.
            with contextlib.suppress(OSError):
                await self._records.update(intent=str(failure.writeback_lost))
        if failure.replica_broken is not None:
            self._needs_clone(CloneNeeded(reason=CloneReason.DIVERGED, detail=str(failure.replica_broken)))
        if failure.start_failed:
            self._failed_starts += 1
            if self._failed_starts >= STARTS_BEFORE_CLONE and donor(self._cluster.peers()) is not None:
                self._failed_starts = 0
                self._needs_clone(CloneNeeded(reason=CloneReason.UNUSABLE, detail=reason))
        # A single fault is answered at once; one that comes back is given time.
        now = trio.current_time()
        if now - self._failed_at < REPEATED_FAILURE_SECONDS:
            await self._pause(RETRY_SECONDS)
        self._failed_at = now

    # Steps

    async def _recover(self) -> None:
        """Boot the server as a replica at exactly InnoDB's position, or find that only a clone helps."""
        self._become(DatabaseState.RECOVERING)
        if self._founds() and self._records.current.data is not DataState.PRESENT:
            await create_data(self._database, self._records)
        started = trio.current_time()
        recovery = await recover(self._database, self._records, number=self._cluster.number)
        self.settings.on_start()
        outcome = decide(recovery, self._records.current, CommittedLog(self._cluster.log, complete=False))
        while isinstance(outcome, LogBehind):
            self._become(DatabaseState.RECOVERING, outcome.detail)
            complete = await self._wait_for_more_log()
            evidence = CommittedLog(self._cluster.log, complete=complete)
            outcome = decide(recovery, self._records.current, evidence)
        if isinstance(outcome, CloneNeeded):
            await self._database.kill()
            self._needs_clone(outcome)
            return
        await settle_recovery(self._database, self._records, outcome)
        self._failed_starts = 0
        seconds = round(trio.current_time() - started, 3)
        self.statistics.recoveries += 1
        self.statistics.recovery_seconds += seconds
        log.info("MariaDB recovered", position=outcome.gtid, index=outcome.index, seconds=seconds)
        await self._attach()

    async def _wait_for_more_log(self) -> bool:
        """Wait until the log grows, or the leader confirms that this node has all of it."""
        log_before = self._cluster.log.commit_index
        with trio.move_on_after(QUORUM_ANSWER_SECONDS):
            if await self._cluster.has_whole_log():
                return True
        with trio.move_on_after(RETRY_SECONDS):
            await self._cluster.changes.wait_until(lambda: self._cluster.log.commit_index != log_before)
        return False

    async def _attach(self) -> None:
        """Point the running server at the feed, from its own position."""
        await self.settings.apply()
        await self._start_replica()
        self._become(DatabaseState.REPLICA)

    async def _start_replica(self) -> None:
        await self._database.set_server_id(RESERVED_SERVER_ID + self._cluster.number)
        host, port = await self._feed.wait_listening()
        login = self._feed_login
        await self._database.start_replica(host=host, port=port, user=login.user, password=login.password)

    async def _follow(self) -> None:
        """Be a replica until something else must be done."""
        async with self._as_replica():
            await self._until_another_step()

    @asynccontextmanager
    async def _as_replica(self, *, watch: bool = True) -> AsyncIterator[AppliedTracker]:
        """Keep a replica's tasks running."""
        role = ReplicaRole(self._around, self._committed)
        self._tracker = role.tracker
        self.served_groups.settle_by(role.settler)
        self.changes.notify()
        try:
            async with role.running(self.applied_changes, watch=watch):
                yield role.tracker
        finally:
            self.served_groups.settle_by(None)

    async def _lead(self) -> None:
        """Be the primary of the current term until it ends, a fault, or a planned hand-over."""
        term = self._cluster.term
        started = stepped_down = trio.current_time()
        drained: Position | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._cancel_at_end_of_term, term, nursery.cancel_scope)
                nursery.start_soon(watch_process, self._database)
                await self._apply_everything()
                self._become(DatabaseState.PROMOTING)
                self._tenure = term
                role = PrimaryRole(self._around, term)
                await role.promote(nursery)
                await self.settings.apply()
                self.served_groups.settle_by(role.settler)
                self._writable_term = term
                self._become(DatabaseState.PRIMARY)
                seconds = round(trio.current_time() - started, 3)
                self.statistics.promotions += 1
                self.statistics.promotion_seconds += seconds
                log.info("MariaDB is primary", term=term, seconds=seconds)
                await role.create_missing()
                await self.changes.wait_until(lambda: self._stepping_down)
                stepped_down = trio.current_time()
                self._writable_term = 0
                self._become(DatabaseState.DEMOTING)
                with trio.move_on_after(STEP_DOWN_SECONDS):
                    drained = await role.drain(self.count_uploads)
                nursery.cancel_scope.cancel()
        finally:
            self._writable_term = 0
            self.served_groups.settle_by(None)
            self.open_intents.forget_all()
            self.changes.notify()
        if drained is not None:
            await role.end(drained)
            self._tenure = None
            await self._attach()
            seconds = round(trio.current_time() - stepped_down, 3)
            self.statistics.demotions_planned += 1
            log.info("MariaDB is primary no longer, as planned", term=term, seconds=seconds)
            async with self._as_replica():
                await self._hand_over()
        elif self._tenure is not None:
            # Recovered, it may be all that the cluster has: it must be able to become primary again.
            self._end_step_down()
            await self._fence("it is no working primary any more")

    async def _cancel_at_end_of_term(self, term: int, scope: trio.CancelScope) -> None:
        cluster = self._cluster
        await cluster.changes.wait_until(lambda: not cluster.is_leader or cluster.term != term)
        scope.cancel()

    async def _apply_everything(self) -> None:
        """Wait until the replica has applied all that is committed; nothing new can come in this term."""
        async with self._as_replica() as tracker:
            newest = newest_group(self._cluster.log, self._cluster.log.commit_index)
            if newest is not None:
                await tracker.wait_applied(newest[0].sequence)

    async def _hand_over(self) -> None:
        """Ask for a change of leadership, and remember when nobody took it."""
        term = self._cluster.term
        wanted = self._heir
        heir = successor(self._cluster.peers(), wanted)
        # A wanted heir that went away during the drain is not waited for: nobody can write meanwhile.
        patience = HAND_OVER_SECONDS if heir is not None or wanted is None else 0.0
        if patience:
            self._cluster.transfer_leadership(heir.id if heir else None)
        with trio.move_on_after(patience):
            await self._cluster.changes.wait_until(lambda: not self._cluster.is_leader)
            self._end_step_down()
            return
        log.warning("nobody took the leadership over", term=term)
        self._kept_leadership_term = term
        self._end_step_down()

    def _end_step_down(self) -> None:
        self._stepping_down, self._heir = False, None
        self.changes.notify()

    async def _fence(self, reason: str) -> None:
        """Kill the server, whatever it is doing: what waited for an acknowledgement is undone by recovery."""
        term, started = self._tenure, trio.current_time()
        await self._database.kill()
        self._tenure = None
        if term is not None:
            seconds = round(trio.current_time() - started, 3)
            self.statistics.demotions_forced += 1
            log.info("MariaDB is primary no longer, by force", term=term, reason=reason, seconds=seconds)
        self._become(DatabaseState.STOPPED, reason)

    async def _clone_from_peer(self) -> None:
        """Replace the data by a peer's; wait while nobody can give it."""
        giver = donor(self._cluster.peers())
        if giver is None:
            await self._do_without_donor()
            return
        self._become(DatabaseState.CLONING, str(self._cloning.needed or ""))
        try:
            await self._cloning.copy(giver)
        finally:
            if self.state is DatabaseState.CLONING:
                self._become(DatabaseState.CLONE_NEEDED, self.reason)
        self._cloning.end()
        self._become(DatabaseState.STOPPED)

    async def _do_without_donor(self) -> None:
        """Wait for somebody to clone from, or find that nobody's data is any better; see `last_resort`."""
        needed, cluster = self._cloning.needed, self._cluster
        match self._cloning.judgement():
            case Judgement.WAIT:
                await self._pause(RETRY_SECONDS)
            case Judgement.YIELD:
                best = best_placed(cluster.peers())
                cluster.transfer_leadership(best.id if best else None)
                await self._pause(RETRY_SECONDS)
            case Judgement.REPLAY if needed is not None:
                await self._replay_doubtful(needed.position)

    async def _replay_doubtful(self, position: Gtid | None) -> None:
        log.warning("nobody's data is beyond doubt: replaying here", position=position)
        self._become(DatabaseState.RECOVERING, "replaying what may have been half done")
        until = self.committed_sequence
        await recover(self._database, self._records, number=self._cluster.number)
        self.settings.on_start()
        index = self._cluster.log.find_sequence(position.sequence) if position else None
        await settle_recovery(self._database, self._records, Position(gtid=position, index=index or 0))
        await self._start_replica()
        async with self._as_replica(watch=False):
            await replay_tolerantly(self._database, self._cluster.log, until)
        await self.settings.apply()
        self._cloning.end()
        self._become(DatabaseState.REPLICA)

    # Small things

    def _needs_clone(self, needed: CloneNeeded) -> None:
        self._cloning.need(needed)
        self._become(DatabaseState.CLONE_NEEDED, str(needed))

    def _become(self, state: DatabaseState, reason: str = "") -> None:
        if (state, reason) != (self.state, self.reason):
            self.state, self.reason = state, reason
            self._cluster.publish(self.notice())
            self.changes.notify()

    async def _until_another_step(self) -> None:
        """Wait while the situation asks for the same step as now."""
        current = next_step(self._situation())
        async with trio.open_nursery() as nursery:
            for changes in (self._cluster.changes, self.changes):
                nursery.start_soon(self._cancel_at_another_step, current, changes, nursery.cancel_scope)

    async def _cancel_at_another_step(self, current: Step, changes: Changes, scope: trio.CancelScope) -> None:
        await changes.wait_until(lambda: next_step(self._situation()) is not current)
        scope.cancel()

    async def _pause(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self._until_another_step()

    async def _keep_settings(self) -> None:
        """Look for changed settings after more was applied, in case the primary's node could not say so."""
        seen = 0
        while True:
            await trio.sleep(SETTINGS_SECONDS)
            applied = self.applied_sequence
            if applied == seen or self.state not in _SERVING:
                continue
            with contextlib.suppress(ServerError, ConnectionLost):
                await self.settings.apply()
                seen = applied

    async def _publish_regularly(self) -> None:
        while True:
            self._cluster.publish(self.notice())
            await trio.sleep(PUBLISH_SECONDS)
