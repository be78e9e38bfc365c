"""A long text that was condensed reads as the whole of it: same words, same judgement."""

from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wolfscale.proxy import condensing as module
from wolfscale.proxy.condensing import Condenser
from wolfscale.proxy.judge import judge
from wolfscale.proxy.lexer import LexerMode, Tokens, tokenize

MODES = [
    LexerMode(backslash_escapes=backslash, ansi_quotes=ansi)
    for backslash in (True, False)
    for ansi in (False, True)
]
FRAGMENTS = st.sampled_from(
    [
        *(
            "SET ",
            "@a",
            "=",
            "sql_log_bin",
            "=0",
            "SELECT ",
            "1",
            ",",
            "(",
            ")",
            ";",
            " ",
            "\n",
            "INSERT INTO t ",
        ),
        *(
            "PREPARE s FROM ",
            "EXECUTE IMMEDIATE ",
            "FROM",
            " IMMEDIATE",
            "_utf8",
            "N",
            "KILL 5",
            "USE b",
            "x",
        ),
        *(
            "'",
            "''",
            '"',
            '""',
            "`",
            "\\",
            "\\'",
            "\\\\",
            "-",
            "--",
            "-- ",
            "#",
            "/",
            "*",
            "/*",
            "*/",
            "/*!",
            "/*M!",
        ),
        *(
            "/*!100000 ",
            "/*!999999 ",
            "longer than a few",
            "'abcdefgh'",
            "BEGIN NOT ATOMIC ",
            "END",
            "\x7f",
            "é",
        ),
    ]
)
TEXTS = st.lists(FRAGMENTS, max_size=25).map("".join)


@pytest.fixture(autouse=True, scope="module")
def short_literals() -> Iterator[None]:
    """Everything at a small scale: it is the same reading."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "KEPT_CHARACTERS", 3)
        patch.setattr(module, "_FAR_CHARACTERS", 12)
        yield


def condensed(text: str, mode: LexerMode = MODES[0], step: int | None = None) -> str:
    condenser = Condenser(mode)
    for start in range(0, len(text), step or max(len(text), 1)):
        condenser.feed(text[start : start + (step or len(text))])
    return condenser.finish()


def shape(tokens: Tokens) -> tuple[object, ...]:
    return (
        [(token.kind, token.word) for token in tokens.tokens],
        tokens.executable_comment,
        tokens.complete,
    )


@given(TEXTS, st.sampled_from(MODES), st.integers(1, 9))
@example("EXECUTE IMMEDIATE 'SELECT ''a''; SET sql_log_bin=0'", MODES[0], 100)
@example("EXECUTE IMMEDIATE /*!100000 */ 'longer; SET sql_log_bin=0'", MODES[0], 7)
@example("EXECUTE IMMEDIATE 'PREPARE s FROM ''SET sql_log_bin=0'''", MODES[0], 3)
@example("EXECUTE IMMEDIATE 'SELECT 1;\\\\'' SET sql_log_bin=0'", MODES[0], 3)
@example("/*!100000 SET @a=1 */*/ SET sql_log_bin=0", MODES[0], 5)
@settings(deadline=None, max_examples=2000)
def test_condensed_text_reads_like_the_whole(text: str, mode: LexerMode, step: int) -> None:
    short = condensed(text, mode, step)
    whole, found = tokenize(text, mode), tokenize(short, mode)
    assert shape(found) == shape(whole), short
    judged, expected = judge(found, mode, "wolfscale"), judge(whole, mode, "wolfscale")
    assert (judged.kind, judged.intent, judged.effects, judged.kill, judged.schema) == (
        expected.kind,
        expected.intent,
        expected.effects,
        expected.kill,
        expected.schema,
    ), short
    assert (judged.refusal is None) == (expected.refusal is None), short
    assert (judged.source is None) == (expected.source is None), short


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("inside", ["x" * 1000, "''" * 500, "x;" * 500, "/* -- # " * 100])
def test_long_literals_and_comments_become_short(mode: LexerMode, inside: str) -> None:
    assert len(condensed(f"SET @a = '{inside}', @b = 5", mode, 64)) < 50
    assert len(condensed(f"SET @a = x'{inside}'; SET @b = '{inside}'", mode, 64)) < 60
    comment = inside.replace("/*", "")
    assert len(condensed(f"SET /*{comment}*/ @a = 1 # {comment}\n, @b = 5 -- {comment}", mode, 64)) < 50


@pytest.mark.parametrize("nesting", [1, 2, 3])
def test_statement_in_a_literal_becomes_short_and_keeps_what_it_does(nesting: int) -> None:
    text = "SELECT '" + "x" * 1000 + "'; SET sql_log_bin = 0"
    for _ in range(nesting):
        text = "EXECUTE IMMEDIATE '" + text.replace("'", "''") + "'"
    short = condensed(text, step=64)
    assert len(short) < 200
    refusal = judge(tokenize(short, MODES[0]), MODES[0], "").refusal
    assert refusal is not None
    assert "sql_log_bin" in refusal.reason


def test_rest_of_a_row_change_is_left_out_and_what_follows_is_not() -> None:
    rows = ",('some', 5)" * 20_000
    condenser = Condenser(MODES[0])
    condenser.feed(
        f"SET @a = 5; INSERT INTO t VALUES (1, 2){rows}, (GET_LOCK('a', 1), 1); SET sql_log_bin = 0"
    )
    short = condenser.finish()
    assert len(short) < 80_000
    assert condenser.dropped
    assert condenser.locks
    assert short.endswith("; SET sql_log_bin = 0")
    # Its end is not known where an executable comment may be open.
    assert len(condensed(f"/*! INSERT INTO t VALUES (1, 2){rows} */; SET @a = 1")) > len(rows)
