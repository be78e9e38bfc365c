"""The tasks that run while the server is a replica: what is applied, what is settled, how its threads are."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from wolfscale import logs
from wolfscale.changes import Changes
from wolfscale.errors import WolfScaleError
from wolfscale.replication.applied import AppliedTracker
from wolfscale.replication.database import Database
from wolfscale.replication.errors import DatabaseUnavailable
from wolfscale.replication.positions import CommittedSequence
from wolfscale.replication.replica import watch_replica
from wolfscale.replication.settle import Settler, replica_position
from wolfscale.replication.surroundings import Surroundings

log = logs.logger(__name__)

RETRY_SECONDS = 1.0


class ReplicaRole:
    """One server's time as a replica.

    Attributes:
        tracker: knows what is applied.
        settler: makes it durable.
    """

    def __init__(self, surroundings: Surroundings, committed: CommittedSequence) -> None:
        cluster, database = surroundings.cluster, surroundings.database
        self.tracker = AppliedTracker(connect=database.connect, log=cluster.log)
        reader = replica_position(database, cluster.log.find_sequence)
        self.settler = Settler(database, surroundings.records, surroundings.marks, reader)
        self._cluster = cluster
        self._database = database
        self._committed = committed

    @asynccontextmanager
    async def running(self, applied: Changes, *, watch: bool) -> AsyncIterator[None]:
        """Keep the tasks running inside the context.

        Args:
            applied: notified when more is applied.
            watch: whether an error that stops the replica's threads ends the role.

        Raises:
            ReplicaBroken, DatabaseUnavailable, ServerError, ConnectionLost, OSError: in a group.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.tracker.run)
            nursery.start_soon(self.settler.run)
            nursery.start_soon(self._ask_for_vote)
            nursery.start_soon(self._forward, applied)
            nursery.start_soon(watch_process, self._database)
            if watch:
                nursery.start_soon(watch_replica, self._database)
            yield
            nursery.cancel_scope.cancel()

    async def _forward(self, applied: Changes) -> None:
        while True:
            await self.tracker.changes.wait()
            applied.notify()

    async def _ask_for_vote(self) -> None:
        """A learner whose data has caught up asks to become a voter."""
        refusals = logs.Repetition()
        while not self._cluster.is_voter:
            if self.tracker.applied_sequence >= self._committed.value:
                try:
                    await self._cluster.report_ready()
                    return
                except WolfScaleError as error:
                    if times := refusals.times(str(error)):
                        log.info("not a voter yet", reason=str(error), times=times)
            await trio.sleep(RETRY_SECONDS)


async def watch_process(database: Database) -> None:
    """Wait for the server's process to end.

    Raises:
        DatabaseUnavailable: it has.
    """
    await database.wait_exit()
    raise DatabaseUnavailable("its process ended by itself or was killed; the node starts it again")
