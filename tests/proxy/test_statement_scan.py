"""The scan of long texts agrees with the lexer about where statements end, however the text is cut."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wolfscale.proxy.lexer import LexerMode, tokenize
from wolfscale.proxy.statement_scan import StatementScan

MODES = [
    LexerMode(backslash_escapes=backslash, ansi_quotes=ansi)
    for backslash in (True, False)
    for ansi in (False, True)
]


def several(text: bytes, mode: LexerMode = MODES[0], step: int | None = None) -> bool:
    scan = StatementScan(mode)
    for start in range(0, len(text), step or max(len(text), 1)):
        scan.feed(text[start : start + (step or len(text))])
    return scan.several


@pytest.mark.parametrize("step", [None, 1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"INSERT INTO t VALUES (1, ';')", False),
        (b"INSERT INTO t VALUES (1);", False),
        (b"INSERT INTO t VALUES (1) ; \n ;; -- the end\n # of it\n /* all */ ;", False),
        (b"INSERT INTO t VALUES (1); SET sql_log_bin=0", True),
        (b"INSERT INTO t VALUES ('it''s; \\'; \"'); x", True),
        (b"INSERT INTO t VALUES ('it''s; \\'; \"')", False),
        (b"INSERT INTO t VALUES ('\\\\'); SELECT 1", True),
        (b"INSERT INTO t VALUES ('\\\\\\'); SELECT 1')", False),
        (b"INSERT INTO `a;b` VALUES (1)", False),
        (b"INSERT INTO `a``;\\` VALUES (1)", False),
        (b"INSERT INTO t -- it's; a comment\n VALUES (1)", False),
        (b"INSERT INTO t # it's; a comment\n VALUES (1)", False),
        (b"INSERT INTO t /* it's; * / a comment **/ VALUES (1)", False),
        (b"INSERT INTO t /* ' */ VALUES (1); SELECT '", True),
        (b"INSERT INTO t VALUES (1--1, 4/2, 2-/* ; */1)", False),
        (b"INSERT INTO t VALUES (1--';'-1)", False),
        (b"INSERT INTO t VALUES (1-- ';\n)", False),
        (b"INSERT INTO t VALUES (1--1); SELECT 2", True),
        (b"INSERT INTO t VALUES (1 /*! + 1 */)", True),
        (b"INSERT INTO t VALUES (1 /*M! + 1 */)", True),
        (b"INSERT INTO t VALUES ('/*!', 1)", False),
        (b"INSERT INTO t VALUES (1 /* ! */)", False),
        (b"INSERT INTO t VALUES (1); -", False),  # a syntax error of its own: nothing that could be refused
        (b"INSERT INTO t VALUES (1); -1 ", True),
        (b"INSERT INTO t VALUES (1);\0", True),
        (b"", False),
        (b"INSERT INTO t VALUES ('open; ", False),
    ],
)
def test_statements_are_told_apart(text: bytes, expected: bool, step: int | None) -> None:
    assert several(text, step=step) is expected


def test_modes_change_what_a_backslash_means() -> None:
    quoted = b"SELECT '\\'; SELECT '\\'"
    assert several(quoted) is False
    assert several(quoted, LexerMode(backslash_escapes=False)) is True
    name = b'SELECT 1 AS "\\"; SELECT 2 AS "\\"'
    assert several(name) is False
    assert several(name, LexerMode(ansi_quotes=True)) is True


_FRAGMENTS = r"""' " ` \ ; # - -- / * /* */ ! M! a 1 ''"""
FRAGMENTS = st.sampled_from([*_FRAGMENTS.encode().split(), b" ", b"\n", b"-- ", b"\xe4", b"\x01", b"\x7f"])


@given(st.lists(FRAGMENTS, max_size=25).map(b"".join), st.sampled_from(MODES), st.integers(1, 10))
@settings(max_examples=1000)
def test_any_text_is_read_alike_however_it_is_cut(text: bytes, mode: LexerMode, step: int) -> None:
    assert several(text, mode, step) is several(text, mode)


@given(st.lists(FRAGMENTS, max_size=25).map(b"".join), st.sampled_from(MODES))
@settings(max_examples=2000)
def test_scan_agrees_with_the_lexer(text: bytes, mode: LexerMode) -> None:
    text += b"    "  # what begins at the very end is told by what follows it
    lexed = tokenize(text.decode("latin-1"), mode)
    words = [token.word for token in lexed.tokens]
    behind = words[words.index(";") :] if ";" in words else []
    if lexed.executable_comment or any(word != ";" for word in behind):
        assert several(text, mode)
    elif lexed.complete:
        # What is no blank to one of the two counts as a statement here, to be safe.
        assert not several(text, mode) or b"\x01" in text
