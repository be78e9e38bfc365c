"""What a member tells its peers about its database: the notice that travels beside Raft's messages."""

from enum import IntEnum

import msgspec

from wolfscale.replication.roles import DatabaseState


class CloneProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a clone is.

    Attributes:
        donor: name of the member that the data comes from.
        phase: what is being done, in words ("receiving", "preparing", "swapping").
        received_bytes: bytes of the stream received so far.
    """

    donor: str
    phase: str
    received_bytes: int


class Doubt(IntEnum):
    """What data that must be cloned is worth; more is better."""

    HOPELESS = 0
    """It diverged, is missing or of unknown position: nothing to go on with."""
    UNNAMED = 1
    """It was a primary's and may hold, half done, what nothing in the log names."""
    NAMED = 2
    """It was a replica's and may hold, half done, a group that the log has: that can be done again."""


class HostNotice(msgspec.Struct, frozen=True, kw_only=True):
    """The machine and the process that a member runs on.

    Attributes:
        version: WolfScale's version; empty when unknown.
        clock: the machine's clock when this was said, in seconds since 1970; 0 when unknown.
        disk_total_bytes: size of the file system that holds the data directory; 0 when unknown.
        disk_free_bytes: what is left of it.
        fsync: the log is synced before anything is promised.
        certificate_ends: when its first given certificate expires, in seconds since 1970; 0 without any.
    """

    version: str = ""
    clock: float = 0.0
    disk_total_bytes: int = 0
    disk_free_bytes: int = 0
    fsync: bool = True
    certificate_ends: float = 0.0


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How long commits took a leader in the last second; None where it made none.

    Attributes:
        commit_p50_ms: from the log to the commit, the median.
        commit_p99_ms: what 99 of 100 stayed below.
    """

    commit_p50_ms: float | None = None
    commit_p99_ms: float | None = None


class MemberNotice(msgspec.Struct, frozen=True, kw_only=True):
    """One member's database as its peers see it.

    Attributes:
        state: a `DatabaseState` value.
        writable: it is the primary of `term` and takes writes.
        term: the term that `writable` speaks of.
        applied_sequence: GTID sequence that its MariaDB has applied; 0 when nothing.
        applied_index: log index of that group.
        committed_sequence: GTID sequence of the newest group that it knows to be committed.
        settled_index: log index up to which its data survives a power cut.
        reason: why it is not serving; empty when it is.
        doubt: what could be done with data that must be cloned, if nobody's is any better.
        clone: progress while it clones.
        server_version: MariaDB's version; empty when unknown.
        time_zone: its global time zone, in words; empty when unknown.
        process_id: MariaDB's process id; 0 when it does not run.
        api_url: where its HTTP side can be reached; empty when nowhere. The node adds it, the database
            knows nothing of it.
        mysql_address: likewise, where applications can connect.
        host: likewise, the machine that it runs on.
        pace: likewise, how fast it commits while it leads.
    """

    state: DatabaseState = DatabaseState.STOPPED
    writable: bool = False
    term: int = 0
    applied_sequence: int = 0
    applied_index: int = 0
    committed_sequence: int = 0
    settled_index: int = 0
    reason: str = ""
    doubt: Doubt = Doubt.HOPELESS
    clone: CloneProgress | None = None
    server_version: str = ""
    time_zone: str = ""
    process_id: int = 0
    api_url: str = ""
    mysql_address: str = ""
    host: HostNotice = HostNotice()
    pace: Pace = Pace()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(MemberNotice)


def encode_notice(notice: MemberNotice) -> bytes:
    """Return the notice as it travels (MessagePack)."""
    return _encoder.encode(notice)


def decode_notice(data: bytes) -> MemberNotice:
    """Return the notice in `data`; anything unreadable counts as a member that says nothing."""
    try:
        return _decoder.decode(data)
    except msgspec.MsgspecError:
        return MemberNotice(reason="its notice cannot be read: it may run another version")
