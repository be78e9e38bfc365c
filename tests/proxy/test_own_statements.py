"""Statements that are addressed to the proxy: which they are, and what is no such thing."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.proxy.consistency import Level
from wolfscale.proxy.errors import ProxyError
from wolfscale.proxy.lexer import LexerMode
from wolfscale.proxy.own_statements import (
    Choose,
    Explain,
    Hint,
    Own,
    ShowLevel,
    ShowMembers,
    ShowSettings,
    ShowStatus,
    is_like,
    mentions_own,
    own_statement,
)

MODE = LexerMode()


def own(sql: str) -> Own | None:
    assert mentions_own(sql.encode())
    return own_statement(sql.encode(), MODE)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("WOLFSCALE EXPLAIN SELECT 1", Explain(b"SELECT 1")),
        ("wolfscale  explain\n INSERT INTO t VALUES (';')", Explain(b"INSERT INTO t VALUES (';')")),
        ("SHOW WOLFSCALE STATUS", ShowStatus(None)),
        ("show wolfscale status;", ShowStatus(None)),
        ("SHOW WOLFSCALE STATUS LIKE 'wolfscale_l%'", ShowStatus("wolfscale_l%")),
        ("SHOW WOLFSCALE MEMBERS", ShowMembers()),
        ("SHOW WOLFSCALE SETTINGS", ShowSettings()),
        ("SET wolfscale_consistency = 'strong'", Choose(Level.STRONG)),
        ("SET SESSION wolfscale_consistency = eventual;", Choose(Level.EVENTUAL)),
        ("SET @@session.WOLFSCALE_CONSISTENCY := 'Leader'", Choose(Level.LEADER)),
        ("SET @@wolfscale_consistency = DEFAULT", Choose(None)),
        ("SELECT @@wolfscale_consistency", ShowLevel("@@wolfscale_consistency")),
        ("SELECT @@session.wolfscale_consistency AS level", ShowLevel("level")),
        ("SELECT /* wolfscale_consistency = strong */ 1", Hint(Level.STRONG)),
        ("/*wolfscale_consistency='eventual'*/ SELECT 1", Hint(Level.EVENTUAL)),
    ],
)
def test_own_statement_is_recognised(sql: str, expected: Own) -> None:
    assert own(sql) == expected


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT '/* wolfscale_consistency = eventual */'",
        "SELECT `/* wolfscale_consistency = eventual */` FROM t",
        "SET @wolfscale_consistency = 'strong'",
        "SELECT wolfscale_consistency FROM t",
        "INSERT INTO notes VALUES ('wolfscale explain')",
    ],
)
def test_other_statement_is_left_alone(sql: str) -> None:
    assert own(sql) is None


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SET wolfscale_consistency = 'strnog'", "use one of node, session, eventual, strong, leader"),
        ("SET GLOBAL wolfscale_consistency = 'strong'", "wolfscale.toml"),
        ("SET wolfscale_consistency = 'strong', autocommit = 1", "by itself"),
        ("SELECT @@wolfscale_consistency, 1", "by itself"),
        ("SELECT /* wolfscale_consistency = always */ 1", "use one of"),
        ("SHOW WOLFSCALE STATE", "SHOW WOLFSCALE STATUS"),
        ("WOLFSCALE EXPLAIN", "needs a statement"),
    ],
)
def test_wrong_own_statement_says_what_is_right(sql: str, message: str) -> None:
    with pytest.raises(ProxyError, match=message):
        own(sql)


@pytest.mark.parametrize("sql", [b"SELECT wolfscale_id()", b"SELECT * FROM wolfscale.term", b"SELECT 1"])
def test_what_cannot_be_meant_is_not_looked_at(sql: bytes) -> None:
    assert not mentions_own(sql)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for sql in (text, f"SET wolfscale_consistency {text}", f"SELECT @@wolfscale_consistency {text}"):
        with contextlib.suppress(ProxyError):
            own_statement(sql.encode(errors="replace"), MODE)


@given(st.text(), st.text())
def test_pattern_without_wildcards_is_like_itself_only(name: str, other: str) -> None:
    pattern = "".join(f"\\{character}" for character in name)
    assert is_like(name, pattern)
    assert is_like(name, "%")
    if other.lower() != name.lower() and other.upper() != name.upper():
        assert not is_like(other, pattern)
