"""What a member tells its peers about its database: the notice that travels beside Raft's messages."""

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
        doubtful: it must be cloned for nothing but doubt: what it holds is the log's, perhaps half done.
        clone: progress while it clones.
        server_version: MariaDB's version; empty when unknown.
        process_id: MariaDB's process id; 0 when it does not run.
    """

    state: DatabaseState = DatabaseState.STOPPED
    writable: bool = False
    term: int = 0
    applied_sequence: int = 0
    applied_index: int = 0
    committed_sequence: int = 0
    settled_index: int = 0
    reason: str = ""
    doubtful: bool = False
    clone: CloneProgress | None = None
    server_version: str = ""
    process_id: int = 0


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
