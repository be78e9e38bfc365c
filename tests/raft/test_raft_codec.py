import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from raft_values import MEMBERSHIPS, MESSAGES

from wolfscale.raft import (
    BadMessage,
    Entry,
    EntryKind,
    Index,
    Member,
    Membership,
    Message,
    NodeId,
    Suffrage,
    Term,
    decode_membership,
    decode_message,
    encode_membership,
    encode_message,
)
from wolfscale.raft.messages import Append, Heartbeat


@given(MESSAGES)
def test_message_encoded_and_decoded_is_the_same(message: Message) -> None:
    assert decode_message(encode_message(message)) == message


@given(MEMBERSHIPS)
def test_membership_encoded_and_decoded_is_the_same(membership: Membership) -> None:
    assert decode_membership(encode_membership(membership)) == membership


@given(MESSAGES, st.data())
def test_message_cut_anywhere_is_refused(message: Message, data: st.DataObject) -> None:
    encoded = encode_message(message)
    length = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(BadMessage):
        decode_message(encoded[:length])


@given(MESSAGES)
def test_message_with_bytes_after_it_is_refused(message: Message) -> None:
    with pytest.raises(BadMessage):
        decode_message(encode_message(message) + b"\0")


@given(st.binary(max_size=200))
@example(b"\x05" + bytes(32) + b"\xff\xff\xff\xff")
def test_message_hostile_bytes_are_a_message_or_refused(data: bytes) -> None:
    try:
        message = decode_message(data)
    except BadMessage:
        return
    assert encode_message(message) == data


@given(MESSAGES, st.data())
def test_message_flipped_byte_is_a_message_or_refused(message: Message, data: st.DataObject) -> None:
    encoded = bytearray(encode_message(message))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        decode_message(bytes(encoded))
    except BadMessage:
        return


@given(st.binary(max_size=100))
def test_membership_hostile_bytes_are_a_membership_or_refused(data: bytes) -> None:
    try:
        membership = decode_membership(data)
    except BadMessage:
        return
    assert encode_membership(membership) == data


def test_membership_of_another_version_is_refused_by_number() -> None:
    with pytest.raises(BadMessage, match="version 9"):
        decode_membership(b"\x09" + bytes(6))


def test_membership_member_twice_is_refused() -> None:
    member = Member(id=NodeId("n1"), name="n1", address="n1:1", number=1, suffrage=Suffrage.VOTER)
    with pytest.raises(BadMessage, match="twice"):
        decode_membership(encode_membership(Membership(members=(member, member), next_number=2)))


def test_append_layout_is_what_the_module_says() -> None:
    append = Append(
        term=Term(1),
        prev_index=Index(2),
        prev_term=Term(1),
        commit_index=Index(2),
        entries=(Entry(index=Index(3), term=Term(1), kind=EntryKind.EVENTS, data=b"data"),),
    )
    assert encode_message(append).hex(" ", 8) == bytes.fromhex(
        "05"
        "0000000000000001 0000000000000002 0000000000000001 0000000000000002 00000001"
        "0000000000000001 02 00000004 64617461"
    ).hex(" ", 8)


def test_heartbeat_layout_is_what_the_module_says() -> None:
    heartbeat = Heartbeat(term=Term(1), commit_index=Index(2), round=3)
    assert encode_message(heartbeat) == bytes.fromhex("08 0000000000000001 0000000000000002 0000000000000003")
