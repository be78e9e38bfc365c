"""What happens when no member's data is beyond doubt: everything lost power during a DDL.

Then there is nobody to clone from. The leader, once it has heard that nobody is better off, lets the member
whose data is best to go on with replay what it may have half done, where an error that says "already done"
counts as done. The others clone from it: never a hand, and never two servers that differ.
"""

import re
from collections.abc import Sequence
from enum import Enum

import trio

from wolfscale import logs
from wolfscale.replication.cluster import Peer
from wolfscale.replication.database import Database
from wolfscale.replication.entry import Fragment, decode_fragment
from wolfscale.replication.log import ReplicatedLog
from wolfscale.replication.notice import Doubt
from wolfscale.replication.replica import ReplicaBroken, failure
from wolfscale.replication.roles import DatabaseState

log = logs.logger(__name__)

CHECK_SECONDS = 0.1

ALREADY_DONE = frozenset(
    {
        1007,  # database exists
        1008,  # database does not exist any more
        1050,  # table exists
        1051,  # table does not exist any more
        1060,  # column exists
        1061,  # key exists
        1062,  # row exists: CREATE ... SELECT, or a table without transactions
        1091,  # column or key does not exist any more
        1146,  # table has another name already
        1304,  # routine exists
        1305,  # routine does not exist any more
        1359,  # trigger exists
        1360,  # trigger does not exist any more
        1396,  # account exists, or does not exist any more
        1397,  # XA transaction is not known any more
        1440,  # XA transaction is prepared already
        1537,  # event exists
        1539,  # event does not exist any more
        4091,  # sequence does not exist any more
    }
)


class Judgement(Enum):
    """What a leader with doubtful data does when nobody can give it a copy."""

    WAIT = "wait"
    """Somebody may still turn out to be better off."""
    YIELD = "yield"
    """Another member's doubtful data is better to go on with: it shall lead."""
    REPLAY = "replay"
    """Nobody's is: go on with what is here."""


def judge(
    own_doubt: Doubt, own_sequence: int, peers: Sequence[Peer], voters_elsewhere: int, *, patient: bool
) -> Judgement:
    """Decide; pure.

    A replica's data is better than a primary's however late that stands: the log gives a replica everything
    again, and nothing takes out of a primary's what the log does not name.

    Args:
        own_doubt: what this member's data is worth.
        own_sequence: GTID sequence where it stands at the latest.
        peers: the members heard from.
        voters_elsewhere: how many other voters there are, heard from or not.
        patient: whether silent voters are still waited for.
    """
    voters = [peer for peer in peers if peer.votes]
    if patient and len(voters) < voters_elsewhere:
        return Judgement.WAIT
    if any(peer.notice.state is not DatabaseState.CLONE_NEEDED for peer in voters):
        return Judgement.WAIT
    best = best_placed(peers)
    if best is not None and _worth(best) > (own_doubt, own_sequence):
        return Judgement.YIELD
    return Judgement.REPLAY if own_doubt > Doubt.HOPELESS else Judgement.WAIT


def best_placed(peers: Sequence[Peer]) -> Peer | None:
    """The voter whose data is best to go on with; None when nobody's is. Pure."""
    able = [peer for peer in peers if peer.votes and peer.notice.doubt > Doubt.HOPELESS]
    return max(able, key=_worth, default=None)


def _worth(peer: Peer) -> tuple[Doubt, int]:
    return peer.notice.doubt, peer.notice.applied_sequence


async def replay_tolerantly(database: Database, replicated_log: ReplicatedLog, until: int) -> None:
    """Let a replica's threads apply the log up to a sequence, past what is done already.

    Only a group that is no plain transaction can be half done: a plain one that fails is a difference. What
    a CREATE left behind may be no whole table or sequence, so it is dropped and made again.

    Args:
        database: the server; its replica threads run.
        replicated_log: the node's log.
        until: GTID sequence at which doubt ends.

    Raises:
        ReplicaBroken: an error that does not mean "already done".
        ServerError, ConnectionLost: the server refused or is gone.
    """
    while True:
        position = await database.position()
        sequence = position.sequence if position else 0
        if sequence >= until:
            return
        errno, message = failure(await database.replica_status())
        if errno:
            following = _group_after(replicated_log, sequence)
            if errno not in ALREADY_DONE or following is None or following.plain:
                raise ReplicaBroken(errno, message)
            await database.stop_replica()
            leftover = created_object(message) if errno == _TABLE_EXISTS else None
            if leftover is not None:
                log.warning("making again what may be half done", gtid=following.gtid, error=message)
                await database.drop_leftover(*leftover)
            else:
                log.warning("already done, going on behind it", gtid=following.gtid, error=message)
                await database.set_position(following.gtid)
            await database.restart_replica()
        await trio.sleep(CHECK_SECONDS)


_TABLE_EXISTS = 1050
_NAME = r"(?:`((?:[^`]|``)+)`|([\w$]+))"
_CREATED = re.compile(
    r"Default database: '([^']*)'\. Query: '\s*CREATE\s+(?:TABLE|SEQUENCE)\s+(?:IF\s+NOT\s+EXISTS\s+)?"
    rf"{_NAME}(?:\s*\.\s*{_NAME})?",
    re.IGNORECASE,
)


def created_object(message: str) -> tuple[str, str] | None:
    """Return schema and name of what the statement in a replica's error would have created. Pure.

    Args:
        message: `Last_SQL_Error`.
    """
    found = _CREATED.search(message)
    if found is None:
        return None
    default, quoted, bare, second_quoted, second_bare = found.groups()
    first, second = (
        name.replace("``", "`") if name else other
        for name, other in ((quoted, bare), (second_quoted, second_bare))
    )
    return (first, second) if second else (default, first)


def _group_after(replicated_log: ReplicatedLog, sequence: int) -> Fragment | None:
    index = replicated_log.find_sequence(sequence + 1)
    if index is None:
        return None
    [entry] = replicated_log.read(index, index, 1 << 20)
    return decode_fragment(entry.data)
