"""Messages and memberships as bytes. Whatever bytes come in, the outcome is a value or `BadMessage`.

All integers are big-endian. A message is one type byte, then:

    1 RequestPreVote     term u64, last_index u64, last_term u64
    2 PreVoteResponse    term u64, granted u8
    3 RequestVote        term u64, last_index u64, last_term u64, transfer u8
    4 VoteResponse       term u64, granted u8
    5 Append             term u64, prev_index u64, prev_term u64, commit_index u64, count u32, then each entry
    6 AppendResponse     term u64, accepted u8, index u64, hint_index u64, hint_term u64
    7 InstallBase        term u64, index u64, term u64, membership
    8 Heartbeat          term u64, commit_index u64, round u64
    9 HeartbeatResponse  term u64, round u64
    10 TimeoutNow        term u64

    entry       term u64, kind u8, length u32, data; its index follows from prev_index and its place
    membership  version u8 (1), next_number u32, count u16, then each member
    member      number u32, suffrage u8, id, name, address; each text is length u16 and UTF-8
"""

import struct
from collections.abc import Callable

from wolfscale.raft.errors import BadMessage
from wolfscale.raft.messages import (
    Append,
    AppendResponse,
    Heartbeat,
    HeartbeatResponse,
    InstallBase,
    Message,
    PreVoteResponse,
    RequestPreVote,
    RequestVote,
    TimeoutNow,
    VoteResponse,
)
from wolfscale.raft.types import Entry, EntryKind, Index, LogBase, Member, Membership, NodeId, Suffrage, Term

MEMBERSHIP_VERSION = 1

_REQUEST_PRE_VOTE = struct.Struct(">BQQQ")
_REQUEST_VOTE = struct.Struct(">BQQQB")
_VOTE_RESPONSE = struct.Struct(">BQB")
_APPEND = struct.Struct(">BQQQQI")
_APPEND_RESPONSE = struct.Struct(">BQBQQQ")
_INSTALL_BASE = struct.Struct(">BQQQ")
_HEARTBEAT = struct.Struct(">BQQQ")
_HEARTBEAT_RESPONSE = struct.Struct(">BQQ")
_TIMEOUT_NOW = struct.Struct(">BQ")
_ENTRY = struct.Struct(">QBI")
_MEMBERSHIP = struct.Struct(">BIH")
_MEMBER = struct.Struct(">IB")
_TEXT = struct.Struct(">H")

_KINDS = {kind.value: kind for kind in EntryKind}
_SUFFRAGES = {suffrage.value: suffrage for suffrage in Suffrage}
_FLAGS = {0: False, 1: True}


def encode_message(message: Message) -> bytes:
    """The message's bytes."""
    match message:
        case Append():
            parts = [
                _APPEND.pack(
                    5,
                    message.term,
                    message.prev_index,
                    message.prev_term,
                    message.commit_index,
                    len(message.entries),
                )
            ]
            for entry in message.entries:
                parts.append(_ENTRY.pack(entry.term, entry.kind, len(entry.data)))
                parts.append(entry.data)
            return b"".join(parts)
        case AppendResponse():
            return _APPEND_RESPONSE.pack(
                6, message.term, message.accepted, message.index, message.hint_index, message.hint_term
            )
        case Heartbeat():
            return _HEARTBEAT.pack(8, message.term, message.commit_index, message.round)
        case HeartbeatResponse():
            return _HEARTBEAT_RESPONSE.pack(9, message.term, message.round)
        case RequestPreVote():
            return _REQUEST_PRE_VOTE.pack(1, message.term, message.last_index, message.last_term)
        case PreVoteResponse():
            return _VOTE_RESPONSE.pack(2, message.term, message.granted)
        case RequestVote():
            return _REQUEST_VOTE.pack(
                3, message.term, message.last_index, message.last_term, message.transfer
            )
        case VoteResponse():
            return _VOTE_RESPONSE.pack(4, message.term, message.granted)
        case InstallBase():
            base = message.base
            return _INSTALL_BASE.pack(7, message.term, base.index, base.term) + encode_membership(
                base.membership
            )
        case TimeoutNow():
            return _TIMEOUT_NOW.pack(10, message.term)


def decode_message(data: bytes) -> Message:
    """The message that these bytes are.

    Raises:
        BadMessage: they are none, or something follows it.
    """
    if not data:
        raise BadMessage("it is empty")
    decode = _DECODERS.get(data[0])
    if decode is None:
        raise BadMessage(f"its type is {data[0]}")
    return decode(data)


def encode_membership(membership: Membership) -> bytes:
    """The membership's bytes, as stored in `MEMBERSHIP` entries and beside a log's base."""
    parts = [_MEMBERSHIP.pack(MEMBERSHIP_VERSION, membership.next_number, len(membership.members))]
    for member in membership.members:
        parts.append(_MEMBER.pack(member.number, member.suffrage))
        for text in (member.id, member.name, member.address):
            encoded = text.encode()
            parts += (_TEXT.pack(len(encoded)), encoded)
    return b"".join(parts)


def decode_membership(data: bytes) -> Membership:
    """The membership that these bytes are.

    Raises:
        BadMessage: they are none, or something follows it.
    """
    version, next_number, count = _unpack(_MEMBERSHIP, data, 0)
    if version != MEMBERSHIP_VERSION:
        raise BadMessage(f"its membership has version {version}, this node knows {MEMBERSHIP_VERSION}")
    offset = _MEMBERSHIP.size
    members = []
    for _ in range(count):
        number, suffrage = _unpack(_MEMBER, data, offset)
        if suffrage not in _SUFFRAGES:
            raise BadMessage(f"a member's suffrage is {suffrage}")
        offset += _MEMBER.size
        id, offset = _text(data, offset)
        name, offset = _text(data, offset)
        address, offset = _text(data, offset)
        members.append(
            Member(id=NodeId(id), name=name, address=address, number=number, suffrage=_SUFFRAGES[suffrage])
        )
    _expect_end(data, offset)
    if len({member.id for member in members}) != count:
        raise BadMessage("a member is listed twice")
    return Membership(members=tuple(members), next_number=next_number)


def _unpack(layout: struct.Struct, data: bytes, offset: int) -> tuple[int, ...]:
    if len(data) - offset < layout.size:
        raise BadMessage(f"it ends after {len(data)} bytes, within a field")
    return layout.unpack_from(data, offset)


def _expect_end(data: bytes, offset: int) -> None:
    if len(data) != offset:
        raise BadMessage(f"{len(data) - offset} bytes follow its end")


def _whole(layout: struct.Struct, data: bytes) -> tuple[int, ...]:
    fields = _unpack(layout, data, 0)
    _expect_end(data, layout.size)
    return fields


def _flag(value: int) -> bool:
    if value not in _FLAGS:
        raise BadMessage(f"a flag is {value}")
    return _FLAGS[value]


def _text(data: bytes, offset: int) -> tuple[str, int]:
    (length,) = _unpack(_TEXT, data, offset)
    start = offset + _TEXT.size
    end = start + length
    if end > len(data):
        raise BadMessage(f"it ends after {len(data)} bytes, within a text")
    try:
        return data[start:end].decode(), end
    except UnicodeDecodeError as error:
        raise BadMessage("a text is not UTF-8") from error


def _request_pre_vote(data: bytes) -> Message:
    _, term, last_index, last_term = _whole(_REQUEST_PRE_VOTE, data)
    return RequestPreVote(term=Term(term), last_index=Index(last_index), last_term=Term(last_term))


def _pre_vote_response(data: bytes) -> Message:
    _, term, granted = _whole(_VOTE_RESPONSE, data)
    return PreVoteResponse(term=Term(term), granted=_flag(granted))


def _request_vote(data: bytes) -> Message:
    _, term, last_index, last_term, transfer = _whole(_REQUEST_VOTE, data)
    return RequestVote(
        term=Term(term), last_index=Index(last_index), last_term=Term(last_term), transfer=_flag(transfer)
    )


def _vote_response(data: bytes) -> Message:
    _, term, granted = _whole(_VOTE_RESPONSE, data)
    return VoteResponse(term=Term(term), granted=_flag(granted))


def _append(data: bytes) -> Message:
    _, term, prev_index, prev_term, commit_index, count = _unpack(_APPEND, data, 0)
    offset = _APPEND.size
    if count * _ENTRY.size > len(data) - offset:
        raise BadMessage(f"it claims {count} entries in {len(data)} bytes")
    entries = []
    unpack, size, kinds, total = _ENTRY.unpack_from, _ENTRY.size, _KINDS, len(data)
    for index in range(prev_index + 1, prev_index + 1 + count):
        start = offset + size
        if start > total:
            raise BadMessage(f"it ends after {total} bytes, within an entry")
        entry_term, kind, length = unpack(data, offset)
        offset = start + length
        if offset > total:
            raise BadMessage(f"it ends after {total} bytes, within an entry")
        if kind not in kinds:
            raise BadMessage(f"an entry's kind is {kind}")
        entries.append(Entry(index=Index(index), term=entry_term, kind=kinds[kind], data=data[start:offset]))
    _expect_end(data, offset)
    return Append(
        term=Term(term),
        prev_index=Index(prev_index),
        prev_term=Term(prev_term),
        commit_index=Index(commit_index),
        entries=tuple(entries),
    )


def _append_response(data: bytes) -> Message:
    _, term, accepted, index, hint_index, hint_term = _whole(_APPEND_RESPONSE, data)
    return AppendResponse(
        term=Term(term),
        accepted=_flag(accepted),
        index=Index(index),
        hint_index=Index(hint_index),
        hint_term=Term(hint_term),
    )


def _install_base(data: bytes) -> Message:
    _, term, base_index, base_term = _unpack(_INSTALL_BASE, data, 0)
    membership = decode_membership(data[_INSTALL_BASE.size :])
    return InstallBase(
        term=Term(term), base=LogBase(index=Index(base_index), term=Term(base_term), membership=membership)
    )


def _heartbeat(data: bytes) -> Message:
    _, term, commit_index, round = _whole(_HEARTBEAT, data)
    return Heartbeat(term=Term(term), commit_index=Index(commit_index), round=round)


def _heartbeat_response(data: bytes) -> Message:
    _, term, round = _whole(_HEARTBEAT_RESPONSE, data)
    return HeartbeatResponse(term=Term(term), round=round)


def _timeout_now(data: bytes) -> Message:
    _, term = _whole(_TIMEOUT_NOW, data)
    return TimeoutNow(term=Term(term))


_DECODERS: dict[int, Callable[[bytes], Message]] = {
    1: _request_pre_vote,
    2: _pre_vote_response,
    3: _request_vote,
    4: _vote_response,
    5: _append,
    6: _append_response,
    7: _install_base,
    8: _heartbeat,
    9: _heartbeat_response,
    10: _timeout_now,
}
