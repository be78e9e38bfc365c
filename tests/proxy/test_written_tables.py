"""Which tables of a text MariaDB may log in words of its own."""

import pytest

from wolfscale.proxy.classify import Classifier
from wolfscale.proxy.lexer import LexerMode
from wolfscale.proxy.written_tables import TableCopy, WrittenTables

MODE = LexerMode()


def _tables(sql: str) -> WrittenTables | None:
    return Classifier().classify(sql.encode("latin-1"), MODE).tables


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "CREATE VIEW v AS SELECT 1",
        "SHOW CREATE TABLE t",
        "CREATE PROCEDURE p() CREATE TABLE b.x LIKE t",
        "INSERT INTO t SELECT 'CREATE TABLE x LIKE y'",
    ],
)
def test_text_that_makes_no_table_needs_no_look(sql: str) -> None:
    assert _tables(sql) in (None, WrittenTables(alone=False))


@pytest.mark.parametrize(
    ("sql", "copy"),
    [
        ("CREATE TABLE x LIKE y", TableCopy(None, "x", None, "y")),
        ("create or replace table if not exists b.x (like a.`y``z`);", TableCopy("b", "x", "a", "y`z")),
        ("CREATE TABLE x LIKE .y", TableCopy(None, "x", None, "y")),
        ("CREATE TABLE\xe9 x LIKE y; CREATE TABLE 2x LIKE \xe9", TableCopy(None, "2x", None, "\xe9")),
        ("CREATE TABLE x LIKE /*!50000 a./* c */ y */", TableCopy(None, "x", "a", "y")),
    ],
)
def test_copy_is_found_with_its_names(sql: str, copy: TableCopy) -> None:
    tables = _tables(sql)
    assert tables is not None
    assert tables.copies == (copy,)
    assert tables.alone is (";" not in sql or sql.endswith(";"))


def test_name_of_a_table_is_quoted_in_sql() -> None:
    assert TableCopy(None, "x", "a b", "y`z").source_sql == "`a b`.`y``z`"


@pytest.mark.parametrize(
    ("sql", "from_query"),
    [
        ("CREATE TABLE x SELECT 1", True),
        ("CREATE TABLE x (i INT) AS (WITH a AS (SELECT 1) SELECT * FROM a)", True),
        ("CREATE TABLE x AS VALUES (1)", True),
        ("CREATE TABLE x (i INT) PARTITION BY RANGE (i) (PARTITION p VALUES LESS THAN (3))", False),
        ("CREATE TABLE x (`select` INT COMMENT 'SELECT')", False),
        ("CREATE TEMPORARY TABLE x SELECT 1", False),
    ],
)
def test_table_from_a_query_is_told_from_others(sql: str, from_query: bool) -> None:
    tables = _tables(sql)
    assert tables is not None
    assert tables.from_query is from_query


@pytest.mark.parametrize(
    ("sql", "temporary", "schema", "mode"),
    [
        ("CREATE TEMPORARY TABLE a.t (i INT); CREATE TABLE x LIKE t", {"t"}, False, False),
        ("USE b; CREATE TABLE x LIKE t", set(), True, False),
        ("SET sql_mode = ''; CREATE TABLE x LIKE t", set(), False, False),
        ("SET sql_mode = 'TRADITIONAL', a = 1; CREATE TABLE x LIKE t", set(), False, False),
        ("SET STATEMENT sql_mode := 'strict_trans_tables' FOR CREATE TABLE x LIKE t", set(), False, False),
        ("SET sql_mode = ''; SET sql_mode = ' ansi '; CREATE TABLE x LIKE t", set(), False, True),
        ("SET sql_mode = 'A' 'NSI'; CREATE TABLE x LIKE t", set(), False, True),
        ("SET sql_mode = DEFAULT; CREATE TABLE x LIKE t", set(), False, True),
        ("SET sql_mode = 4; CREATE TABLE x LIKE t", set(), False, True),
        ("SET @a = @@sql_mode; CREATE TABLE x LIKE t", set(), False, True),
        ("SET @@session.sql_mode = ''; EXECUTE IMMEDIATE 'CREATE TABLE x LIKE t'", set(), False, False),
        ("SET @@session.sql_mode = 'DB2'; EXECUTE IMMEDIATE 'CREATE TABLE x LIKE t'", set(), False, True),
        (
            "BEGIN NOT ATOMIC CREATE TEMPORARY TABLE t (i INT); CREATE TABLE x LIKE t; END",
            {"t"},
            False,
            False,
        ),
    ],
)
def test_what_else_a_text_does_to_the_copy_is_told(
    sql: str, temporary: set[str], schema: bool, mode: bool
) -> None:
    tables = _tables(sql)
    assert tables is not None
    assert not tables.alone
    assert tables.copies == (TableCopy(None, "x", None, "t"),)
    assert (set(tables.temporary), tables.changes_schema, tables.changes_mode) == (temporary, schema, mode)
