import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.mysql.binlog.format import POST_HEADER_LENGTHS, BinlogFormat
from wolfscale.mysql.binlog.groups import SLICE_BYTES, GroupEnd, GroupSlice
from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.replication.entry import (
    MAX_SLICE_BYTES,
    Fragment,
    decode_fragment,
    encode_fragment,
    fragment_of,
    sequence_of,
)
from wolfscale.replication.errors import FragmentDamaged

FORMAT = BinlogFormat(server_version="10.11.19-MariaDB-log")
GTID = Gtid(domain=0, server_id=7, sequence=42)

uint32 = st.integers(0, 0xFFFFFFFF)
uint64 = st.integers(1, 0xFFFFFFFFFFFFFFFF)
formats = st.builds(
    BinlogFormat,
    server_version=st.text(st.characters(codec="ascii"), max_size=50),
    post_header_lengths=st.just(POST_HEADER_LENGTHS) | st.binary(min_size=1, max_size=255),
)


@st.composite
def fragments(draw: st.DrawFn) -> Fragment:
    number = draw(st.integers(0, 0xFFFFFFFF) | st.just(0))
    is_last = draw(st.booleans())
    return Fragment(
        gtid=Gtid(domain=draw(uint32), server_id=draw(uint32), sequence=draw(uint64)),
        flags2=draw(st.integers(0, 255)),
        number=number,
        is_last=is_last,
        plain=is_last and draw(st.booleans()),
        file=draw(st.text(max_size=60)) if is_last else "",
        end_position=draw(uint64) if is_last else 0,
        format=draw(formats) if number == 0 else None,
        body=draw(st.binary(max_size=300)),
    )


@given(fragments())
def test_fragment_encoded_and_decoded_is_the_same(fragment: Fragment) -> None:
    data = encode_fragment(fragment)
    assert decode_fragment(data) == fragment
    assert sequence_of(data) == (fragment.gtid.sequence if fragment.is_last else 0)


@given(fragments(), st.integers(0, 500))
def test_fragment_cut_short_is_refused_or_has_less_body(fragment: Fragment, cut: int) -> None:
    data = encode_fragment(fragment)[:cut]
    with contextlib.suppress(FragmentDamaged):
        assert len(decode_fragment(data).body) <= len(fragment.body)


@given(st.binary(max_size=120))
def test_any_bytes_are_a_fragment_or_refused(data: bytes) -> None:
    with contextlib.suppress(FragmentDamaged):
        decode_fragment(data)
    with contextlib.suppress(FragmentDamaged):
        decode_fragment(b"\x01" + data)
    sequence_of(data)


def test_body_of_a_decoded_fragment_is_no_copy() -> None:
    data = encode_fragment(Fragment(gtid=GTID, flags2=4, number=1, is_last=False, body=b"x" * 1000))
    body = decode_fragment(data).body
    assert isinstance(body, memoryview)
    assert body.obj is data


def test_fragment_of_a_first_slice_has_the_format_and_of_a_last_one_the_place() -> None:
    first = fragment_of(GroupSlice(gtid=GTID, flags2=4, number=0, data=b"a", end=None), FORMAT)
    assert (first.format, first.is_last, first.file, first.end_position) == (FORMAT, False, "", 0)
    end = GroupEnd(plain=True, file="bin.000002", end_position=77, acknowledge=True, statement=None)
    last = fragment_of(GroupSlice(gtid=GTID, flags2=4, number=1, data=b"b", end=end), FORMAT)
    assert (last.format, last.is_last, last.plain, last.file, last.end_position) == (
        None,
        True,
        True,
        "bin.000002",
        77,
    )


def test_header_of_a_usual_fragment_is_small() -> None:
    usual = BinlogFormat(server_version="10.11.19-MariaDB-0+deb12u1-log")
    fragment = Fragment(
        gtid=GTID, flags2=4, number=0, is_last=True, plain=True, file="bin.000001", format=usual, body=b""
    )
    assert len(encode_fragment(fragment)) < 90
    assert MAX_SLICE_BYTES == SLICE_BYTES == 1 << 20


def test_fragment_of_a_newer_version_says_what_to_do() -> None:
    data = encode_fragment(Fragment(gtid=GTID, flags2=4, number=1, is_last=True, body=b""))
    with pytest.raises(FragmentDamaged, match="update this node"):
        decode_fragment(b"\x02" + data[1:])
    assert sequence_of(b"\x02" + data[1:]) == 0


def test_fragment_that_cannot_be_stored_is_refused() -> None:
    with pytest.raises(ValueError, match="has no format"):
        encode_fragment(Fragment(gtid=GTID, flags2=4, number=0, is_last=False, body=b""))
    with pytest.raises(ValueError, match="too long"):
        encode_fragment(
            Fragment(gtid=GTID, flags2=4, number=1, is_last=True, file="f" * 256, end_position=1, body=b"")
        )
    long_format = BinlogFormat(server_version="v" * 256)
    with pytest.raises(ValueError, match="too long"):
        encode_fragment(Fragment(gtid=GTID, flags2=4, number=0, is_last=False, format=long_format, body=b""))
