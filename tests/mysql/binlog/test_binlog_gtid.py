import contextlib

import pytest
from binlog_samples import sequences, server_ids
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.mysql.binlog.errors import BinlogError
from wolfscale.mysql.binlog.gtid import Gtid, parse_gtid, parse_gtid_position

gtids = st.builds(Gtid, domain=server_ids, server_id=server_ids, sequence=sequences)


@given(gtids)
def test_gtid_written_and_read_is_the_same(gtid: Gtid) -> None:
    assert parse_gtid(str(gtid)) == gtid


@given(st.lists(gtids))
def test_position_of_several_domains_is_read_in_order(position: list[Gtid]) -> None:
    assert parse_gtid_position(",".join(map(str, position))) == tuple(position)


def test_empty_position_has_no_gtid() -> None:
    assert parse_gtid_position(" ") == ()


@pytest.mark.parametrize(
    "text",
    ["", "0-1", "0-1-2-3", "a-1-2", "-1-2-3", "0-1-", "4294967296-1-1", "0-1-18446744073709551616", "0-1-٣"],
)
def test_gtid_of_nonsense_is_refused(text: str) -> None:
    with pytest.raises(BinlogError):
        parse_gtid(text)


@given(st.text(max_size=30))
def test_gtid_of_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(BinlogError):
        parse_gtid(text)
