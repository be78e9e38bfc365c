"""Every row of docs/routing.md holds, and names the proxy's own reason."""

import re
from pathlib import Path

import pytest

from wolfscale.proxy.classify import Classifier
from wolfscale.proxy.lexer import LexerMode
from wolfscale.proxy.router import SessionFacts, Target, route
from wolfscale.proxy.statement import Effect

DOCUMENT = Path(__file__).parents[2] / "docs" / "routing.md"
_ROW = re.compile(
    r"^\| `(.+)` \| (this node|leader|previous|both|refused) \|( yes)? \| (.+) \|$", re.MULTILINE
)
_WORDS = {
    Target.LOCAL: "this node",
    Target.LEADER: "leader",
    Target.PREVIOUS: "previous",
    Target.EITHER: "both",
}
ROWS = [
    (match[1].replace("\\|", "|"), match[2], bool(match[3]), match[4])
    for match in _ROW.finditer(DOCUMENT.read_text(encoding="utf-8"))
]
PLAIN_READS = [sql for sql, where, _, _ in ROWS if where == "this node"]


def classifier() -> Classifier:
    return Classifier(node_account="wolfscale")


def test_the_table_is_read() -> None:
    assert len(ROWS) > 130
    assert {where for _, where, _, _ in ROWS} == {*_WORDS.values(), "refused"}


@pytest.mark.parametrize(("sql", "where", "intent", "why"), ROWS, ids=[row[0] for row in ROWS])
def test_row_of_the_routing_table_holds(sql: str, where: str, intent: bool, why: str) -> None:
    statement = classifier().classify(sql.encode(), LexerMode())
    if statement.refusal is not None:
        assert where == "refused"
        assert str(statement.refusal.error()).endswith(why)
        return
    assert (where, why) == (_WORDS[route(statement, SessionFacts()).target], statement.reason)
    assert statement.intent is intent


@pytest.mark.parametrize(
    "facts",
    [
        SessionFacts(in_transaction=True),
        SessionFacts(autocommit=False),
        SessionFacts(effects=Effect.TEMPORARY_TABLES),
        SessionFacts(effects=Effect.PERHAPS_TEMPORARY_TABLES),
        SessionFacts(effects=Effect.TABLE_LOCKS),
        SessionFacts(system_schema=True),
        SessionFacts(foreign_syntax="sql_mode ORACLE"),
    ],
    ids=["transaction", "autocommit=0", "temporary table", "perhaps one", "locks", "system schema", "syntax"],
)
@pytest.mark.parametrize("sql", PLAIN_READS)
def test_plain_read_is_the_leaders_in_such_a_session(sql: str, facts: SessionFacts) -> None:
    statement = classifier().classify(sql.encode(), LexerMode())
    assert route(statement, facts).target is Target.LEADER
