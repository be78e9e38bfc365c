"""This member's data is of no use, or in doubt: why, the copy of a peer's, and what to do without one."""

import trio

from wolfscale import logs
from wolfscale.replication.clone import CloneState, receive_clone
from wolfscale.replication.cluster import Peer
from wolfscale.replication.decision import CloneNeeded, CloneReason
from wolfscale.replication.last_resort import Judgement, judge
from wolfscale.replication.notice import CloneProgress, Doubt
from wolfscale.replication.surroundings import Surroundings

log = logs.logger(__name__)

PATIENCE_SECONDS = 10.0
"""How long a leader without a donor waits for voters that it has not heard from."""
SHOW_SECONDS = 0.5


class Cloning:
    """One member's need of a clone.

    Attributes:
        needed: why; None: the data is good.
        progress: of the copy that is under way.
    """

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self.needed: CloneNeeded | None = None
        self.progress: CloneProgress | None = None
        self._needed_since = 0.0

    def need(self, needed: CloneNeeded) -> None:
        """Only a clone helps."""
        self.needed = needed
        self._needed_since = trio.current_time()
        if needed.reason is CloneReason.NO_DATA:
            log.info("this MariaDB's data must be cloned", reason=str(needed))
        else:
            # What was there is lost, or of no use: worth a look at what happened to it.
            log.warning("this MariaDB's data must be cloned", reason=str(needed))

    def end(self) -> None:
        """The data is good again."""
        self.needed = None

    @property
    def sequence(self) -> int:
        """The GTID sequence where the doubtful data stands; 0: nobody knows."""
        return self.needed.position.sequence if self.needed and self.needed.position else 0

    @property
    def doubt(self) -> Doubt:
        """What the data is worth when nobody has better."""
        record = self._around.records.current
        if self.needed is None or self.needed.reason is not CloneReason.UNSETTLED:
            return Doubt.HOPELESS
        return Doubt.NAMED if record.tenure is None and not record.intent else Doubt.UNNAMED

    async def copy(self, giver: Peer) -> None:
        """Replace the data by a peer's.

        Raises:
            WolfScaleError: the copy failed; the data is still of no use.
            OSError: likewise.
        """
        around, state = self._around, CloneState()
        log.info("cloning", donor=giver.name, reason=str(self.needed))
        started = trio.current_time()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._show_progress, giver.name, state)
                stream = await around.cluster.open_clone(giver)
                await receive_clone(around.database, around.records, stream, state)
                nursery.cancel_scope.cancel()
        finally:
            self.progress = None
        seconds = round(trio.current_time() - started, 3)
        around.statistics.clones += 1
        around.statistics.clone_bytes += state.received_bytes
        around.statistics.clone_seconds += seconds
        log.info("cloned", donor=giver.name, bytes=state.received_bytes, seconds=seconds)

    async def _show_progress(self, donor: str, state: CloneState) -> None:
        while True:
            self.progress = CloneProgress(
                donor=donor, phase=state.phase.value, received_bytes=state.received_bytes
            )
            await trio.sleep(SHOW_SECONDS)

    def judgement(self) -> Judgement:
        """What to do while nobody can give a clone."""
        cluster = self._around.cluster
        # Before its own first entry is committed a leader does not know all that may be half done.
        if self.needed is None or not cluster.is_leader or not cluster.term_start_committed:
            return Judgement.WAIT
        return judge(
            self.doubt,
            self.sequence,
            cluster.peers(),
            cluster.votes_elsewhere,
            patient=trio.current_time() < self._needed_since + PATIENCE_SECONDS,
        )
