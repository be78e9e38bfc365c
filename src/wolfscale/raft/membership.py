"""Which membership is in force, and which may follow it.

A membership is in force from the moment its entry is appended, committed or not (thesis 4.1); an entry that
is truncated takes its membership with it.
"""

from collections.abc import Iterable

from wolfscale.raft.codec import decode_membership
from wolfscale.raft.errors import MembershipRefused
from wolfscale.raft.log import LogReader
from wolfscale.raft.types import EntryKind, Index, LogBase, Membership, NodeId, Suffrage

_SCAN_BYTES = 4 << 20


class MembershipHistory:
    """The memberships of the log, oldest first; the oldest one is the base's or older."""

    __slots__ = ("_entries",)

    def __init__(self, base: LogBase, later: Iterable[tuple[Index, Membership]]) -> None:
        self._entries: list[tuple[Index, Membership]] = [(base.index, base.membership), *later]

    @property
    def current(self) -> Membership:
        """The membership in force."""
        return self._entries[-1][1]

    @property
    def current_index(self) -> Index:
        """Where the membership in force was appended, or the base's index."""
        return self._entries[-1][0]

    def at(self, index: Index) -> Membership:
        """The membership that was in force at an entry: what a base there must carry."""
        return next(
            (membership for place, membership in reversed(self._entries) if place <= index),
            self._entries[0][1],
        )

    def append(self, index: Index, membership: Membership) -> None:
        """Put a membership in force."""
        self._entries.append((index, membership))

    def truncate(self, first: Index) -> None:
        """Take back every membership appended at `first` or later."""
        while len(self._entries) > 1 and self._entries[-1][0] >= first:
            self._entries.pop()

    def compact(self, base_index: Index) -> None:
        """Forget the memberships that no entry above the base can need."""
        while len(self._entries) > 1 and self._entries[1][0] <= base_index:
            del self._entries[0]

    def install(self, base: LogBase) -> None:
        """Begin again after a base."""
        self._entries = [(base.index, base.membership)]


def check_single_step(old: Membership, new: Membership, leader: NodeId) -> None:
    """Make sure that every majority of `new` shares a member with every majority of `old`.

    That holds when at most one member differs (thesis 4.1). The leader itself must stay a voter: it hands
    leadership over before it is removed.

    Raises:
        MembershipRefused: `new` may not follow `old`.
    """
    before = {member.id: member for member in old.members}
    after = {member.id: member for member in new.members}
    if len(after) != len(new.members):
        raise MembershipRefused("a member is listed twice")
    changed = [id for id in before.keys() | after.keys() if before.get(id) != after.get(id)]
    if len(changed) > 1:
        raise MembershipRefused(
            f"{', '.join(sorted(changed))} would change at once, make one step after the other"
        )
    if new.next_number < old.next_number:
        raise MembershipRefused(f"the next number would go back from {old.next_number} to {new.next_number}")
    for id in changed:
        if id in before and id in after and before[id].number != after[id].number:
            raise MembershipRefused(f"the number of {id} would change, a member keeps its number")
        if id not in before and after[id].number < old.next_number:
            raise MembershipRefused(
                f"{id} would get the number {after[id].number}, which was used; the next is {old.next_number}"
            )
    for member in new.members:
        if not 1 <= member.number < new.next_number:
            raise MembershipRefused(
                f"the number {member.number} of {member.id} must be below the next one, {new.next_number}"
            )
    if len({member.name for member in new.members}) != len(new.members):
        raise MembershipRefused("two members have the same name, remove the one that is gone first")
    own = after.get(leader)
    if own is None or own.suffrage is Suffrage.LEARNER:
        raise MembershipRefused(f"{leader} leads, hand leadership to another voter first")
    if not any(member.suffrage is Suffrage.VOTER for member in new.members):
        raise MembershipRefused("no voter would be left")


def find_memberships(log: LogReader) -> list[tuple[Index, Membership]]:
    """The `MEMBERSHIP` entries of a log, oldest first; reads all of it.

    The newest one is not enough: if it is truncated, the one before it is in force again, and a base between
    two of them needs the older.
    """
    found = []
    place = Index(log.base.index + 1)
    while place <= log.last_index:
        for entry in log.entries(place, log.last_index, _SCAN_BYTES):
            place = Index(entry.index + 1)
            if entry.kind is EntryKind.MEMBERSHIP:
                found.append((entry.index, decode_membership(entry.data)))
    return found
