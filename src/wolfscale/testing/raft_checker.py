"""Raft's promises (thesis figure 3.2), checked on a simulated cluster after every step.

The checker sees what a god would see: every member's log and disk. It knows nothing of how the core works.
"""

from collections.abc import Iterable

from wolfscale.raft import Index, LogBase, NodeId, Raft, Ready, Term
from wolfscale.testing.raft_disk import ORIGIN, Disk


class Violation(Exception):
    """A promise of Raft was broken; `promise` is its name."""

    def __init__(self, promise: str, what: str) -> None:
        self.promise = promise
        super().__init__(f"{promise}: {what}")


class Checker:
    """Everything that was ever promised in one cluster."""

    def __init__(self) -> None:
        self.max_committed = Index(0)
        self._leaders: dict[Term, NodeId] = {}
        self._chains: dict[tuple[Index, Term], int] = {(Index(0), Term(0)): ORIGIN}
        self._committed: dict[Index, tuple[int, Term]] = {}
        self._committed_in: dict[Term, Index] = {}
        self._commit_seen: dict[NodeId, Index] = {}
        self._reads: dict[bytes, Index] = {}

    def base_chain(self, index: Index, term: Term) -> int:
        """The chain at a base that a member installs."""
        if (index, term) not in self._chains:
            raise Violation("log matching", f"a base {index} of term {term} that was never an entry")
        return self._chains[index, term]

    def started(self, id: NodeId, raft: Raft) -> None:
        """A member starts, from its disk."""
        self._commit_seen[id] = raft.commit_index

    def before_show(self, id: NodeId, raft: Raft, disk: Disk, ready: Ready) -> None:
        """A member hands out a Ready; its disk is still as it was before."""
        log = disk.shown
        if ready.base is not None:
            if ready.base.index <= self._commit_seen[id]:
                raise Violation("state machine safety", f"{id} installs a base below its commit index")
            return
        if not ready.entries or ready.entries[0].index > log.last_index:
            return
        first = ready.entries[0].index
        if raft.is_leader:
            raise Violation("leader append-only", f"{id} leads term {raft.term} and overwrites entry {first}")
        if first <= self._commit_seen[id]:
            raise Violation("state machine safety", f"{id} truncates its committed entry {first}")
        chain, term = self._committed.get(first, (None, Term(0)))
        if chain == log.chain(first) and term <= raft.term:
            raise Violation("state machine safety", f"{id} truncates entry {first}, committed in term {term}")

    def after_show(self, id: NodeId, disk: Disk, ready: Ready) -> None:
        """The Ready's entries are in the member's log.

        Log matching: "If two logs contain an entry with the same index and term, then the logs are identical
        in all entries up through the given index."
        """
        for entry in ready.entries:
            chain = disk.shown.chain(entry.index)
            assert chain is not None
            if self._chains.setdefault((entry.index, entry.term), chain) != chain:
                raise Violation(
                    "log matching", f"{id} has another log up to entry {entry.index} of term {entry.term}"
                )

    def observe(self, id: NodeId, raft: Raft, disks: dict[NodeId, Disk]) -> None:
        """A step of the member is over."""
        log = disks[id].shown
        if raft.membership != log.membership(log.last_index):
            raise Violation("membership", f"{id} does not follow the newest membership of its log")
        if raft.is_leader:
            self._check_leader(id, raft, disks[id])
        if raft.commit_index != self._commit_seen[id]:
            self._check_commit(id, raft, disks)

    def _check_leader(self, id: NodeId, raft: Raft, disk: Disk) -> None:
        """Election safety: "At most one leader can be elected in a given term."

        Leader completeness: "If a log entry is committed in a given term, then that entry will be present in
        the logs of the leaders for all higher-numbered terms."
        """
        known = self._leaders.setdefault(raft.term, id)
        if known != id:
            raise Violation("election safety", f"{known} and {id} both lead term {raft.term}")
        earlier = [index for term, index in self._committed_in.items() if term < raft.term]
        index = max(earlier, default=Index(0))
        if index <= disk.shown.base.index:
            return
        chain, term = self._committed[index]
        if index > disk.shown.last_index or disk.shown.chain(index) != chain:
            raise Violation(
                "leader completeness", f"{id} leads term {raft.term} without entry {index} of term {term}"
            )

    def _check_commit(self, id: NodeId, raft: Raft, disks: dict[NodeId, Disk]) -> None:
        """State machine safety: no two members apply different entries at one index."""
        before, now = self._commit_seen[id], raft.commit_index
        if now < before:
            raise Violation("state machine safety", f"{id} takes its commit index back to {now}")
        log = disks[id].shown
        for index in map(Index, range(max(before + 1, log.base.index), now + 1)):
            chain = log.chain(index)
            assert chain is not None
            known, term = self._committed.setdefault(index, (chain, raft.term))
            if known != chain:
                raise Violation(
                    "state machine safety", f"{id} commits another entry {index} than was committed"
                )
            if raft.term < term:
                self._committed[index] = chain, raft.term
        self._commit_seen[id] = now
        self._committed_in[raft.term] = max(now, self._committed_in.get(raft.term, now))
        if raft.is_leader:
            self._check_durable(id, raft, now, disks)
        self.max_committed = max(self.max_committed, now)

    def _check_durable(self, id: NodeId, raft: Raft, index: Index, disks: dict[NodeId, Disk]) -> None:
        """What a leader commits is on the disks of a majority."""
        chain = self._committed[index][0]
        voters = raft.membership.voters()
        holders = sum(_holds(disks[voter.id], index, chain) for voter in voters if voter.id in disks)
        if holders * 2 <= len(voters):
            raise Violation(
                "durability", f"{id} commits entry {index}, which {holders} of {len(voters)} have on disk"
            )

    def before_compact(self, id: NodeId, disk: Disk, base: LogBase) -> None:
        """A member is about to begin its log after `base`."""
        if base.membership != disk.shown.membership(base.index):
            raise Violation("membership", f"{id} gives its base {base.index} another membership than its log")

    def read_started(self, context: bytes) -> None:
        """Somebody asks a member for a read index."""
        self._reads[context] = self.max_committed

    def reads_done(self, id: NodeId, reads: Iterable[tuple[bytes, Index]]) -> None:
        """The member answers reads: each must see all that was committed when it was asked for."""
        for context, index in reads:
            floor = self._reads.pop(context)
            if index < floor:
                raise Violation(
                    "linearizable reads", f"{id} answers a read with {index} after {floor} was committed"
                )


def _holds(disk: Disk, index: Index, chain: int) -> bool:
    log = disk.durable
    if index < log.base.index:
        return True
    return index <= log.last_index and log.chain(index) == chain
