"""What a text is by its first words."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.proxy.outline import NamedParameter, outline


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "(SELECT 1) UNION (SELECT 2)",
        "with a as (select 1) select * from a",
        "/* note */ show tables",
        "DESC t",
        "EXPLAIN DELETE FROM t",
        "VALUES (1)",
        "SELECT 1;",
        "SELECT :a",
    ],
)
def test_outline_of_a_query_says_so(sql: str) -> None:
    found = outline(sql)
    assert (found.statements, found.complete, found.is_query, found.is_definition) == (1, True, True, False)


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM t",
        "SET @a = 1",
        "CALL p()",
        "DO 1",
        "BEGIN NOT ATOMIC SELECT 1; END",
        "`SELECT` 1",
        "HANDLER t OPEN",
    ],
)
def test_outline_of_what_asks_for_no_rows_is_no_query(sql: str) -> None:
    assert not outline(sql).is_query


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE user (id INT)",
        "create or replace view v as select 1",
        "ALTER TABLE t DROP COLUMN server",
        "DROP DATABASE a",
        "TRUNCATE t",
        "RENAME TABLE a TO b",
        "CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END",
    ],
)
def test_outline_of_a_definition_says_so(sql: str) -> None:
    found = outline(sql)
    assert (found.statements, found.is_definition, found.is_temporary) == (1, True, False)


@pytest.mark.parametrize(
    "sql",
    ["CREATE USER a", "CREATE OR REPLACE USER a", "DROP ROLE a", "ALTER USER a", "GRANT ALL ON *.* TO a"],
)
def test_outline_of_account_statements_is_no_definition(sql: str) -> None:
    assert not outline(sql).is_definition


def test_outline_tells_a_temporary_table_apart() -> None:
    assert outline("CREATE OR REPLACE TEMPORARY TABLE t (a INT)").is_temporary


@pytest.mark.parametrize(
    ("sql", "schemas"),
    [
        ("SELECT * FROM `WolfScale`.term, a . b", {"wolfscale", "a"}),
        ("DROP DATABASE IF EXISTS mysql", {"mysql"}),
        ("CREATE SCHEMA IF NOT EXISTS `x y`", {"x y"}),
        ("SELECT 'mysql.user', /* mysql.user */ 1", set()),
        ("CREATE TABLE t AS SELECT /*! * FROM mysql.user */", {"mysql"}),
    ],
)
def test_outline_names_what_may_be_databases(sql: str, schemas: set[str]) -> None:
    assert outline(sql).schemas == schemas


@pytest.mark.parametrize(("sql", "count"), [("SELECT 1; SELECT 2", 2), ("", 0), ("-- nothing", 0)])
def test_outline_counts_statements(sql: str, count: int) -> None:
    assert outline(sql).statements == count


@pytest.mark.parametrize("sql", ["SELECT 'a", "SELECT 1 /* open", "SELECT `a"])
def test_outline_of_an_open_quote_or_comment_is_not_complete(sql: str) -> None:
    assert not outline(sql).complete


def test_outline_finds_named_parameters_but_not_in_quotes() -> None:
    sql = "SELECT 'ü :no', :id, a.b, `:no`, :größe -- :no\n"
    found = outline(sql).parameters
    assert [parameter.name for parameter in found] == ["id", "größe"]
    data = sql.encode()
    assert [data[parameter.start : parameter.end].decode() for parameter in found] == [":id", ":größe"]


def test_outline_refuses_what_the_proxy_refuses_also_inside_a_body() -> None:
    assert outline("CREATE PROCEDURE p() BEGIN SET sql_log_bin=0; END").refusal is not None
    assert outline("SELECT 1").refusal is None


@given(st.text())
def test_outline_of_any_text_is_given(sql: str) -> None:
    found = outline(sql)
    assert all(isinstance(parameter, NamedParameter) for parameter in found.parameters)


def test_outline_needs_no_parser() -> None:
    code = "import sys, wolfscale.proxy.outline; sys.exit('sqlglot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
