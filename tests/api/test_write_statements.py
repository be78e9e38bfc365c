"""Requests against a table: what is built, and that nothing unknown gets into a statement."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.api.problems import Problem
from wolfscale.api.tables import Holds, Table, TableColumn, UniqueKey, build_table
from wolfscale.api.write_models import Delete, Insert, Update
from wolfscale.api.write_statements import (
    delete_statement,
    insert_statement,
    missing_key,
    refuse_system_schema,
    update_statement,
)
from wolfscale.mysql.binary import Value
from wolfscale.mysql.results import Column


def row(
    name: str,
    kind: str,
    *,
    nullable: bool = True,
    default: str | None = None,
    extra: str = "",
    generated: str = "NEVER",
) -> list[Value]:
    texts = [name, kind.partition("(")[0], kind, "YES" if nullable else "NO", default, extra, generated]
    return [None if text is None else text.encode() for text in texts]


def users(*, extra: str = "", kind: str = "bigint(20)") -> Table:
    return build_table(
        "shop",
        "users",
        [Column(name=b"doc", extended=b"\x01\x04json"), Column(name=b"name")],
        [
            row("id", kind, nullable=False, extra=extra),
            row("Name", "varchar(20)", nullable=False),
            row("mail", "varchar(50)"),
            row("shop", "int(11)"),
            row("number", "int(11)"),
            row("doc", "longtext"),
            row("upper", "varchar(20)", generated="ALWAYS", extra="VIRTUAL GENERATED"),
        ],
        [
            [b"mail", b"mail", None],
            [b"PRIMARY", b"id", None],
            [b"pair", b"shop", None],
            [b"pair", b"number", None],
            [b"prefix", b"Name", 3],
        ],
    )


def insert(values: dict[str, Any]) -> Insert:
    return Insert(table="users", values=values)


def test_table_is_read_from_the_servers_answers() -> None:
    table = users()
    assert table.keys == (
        UniqueKey(name="PRIMARY", columns=("id",)),
        UniqueKey(name="mail", columns=("mail",)),
        UniqueKey(name="pair", columns=("shop", "number")),
    )
    assert table.column("NAME") == TableColumn(
        name="Name", type="varchar(20)", holds=Holds.TEXT, nullable=False, optional=False
    )
    assert [column.holds for column in table.columns.values()][-2:] == [Holds.JSON, Holds.TEXT]


def test_insert_binds_every_value_under_the_columns_own_names() -> None:
    built = insert_statement(users(), insert({"ID": 7, "name": "x'; DROP TABLE users; --", "doc": [1]}), "")
    assert built.sql == "INSERT INTO `shop`.`users` (`id`, `Name`, `doc`) VALUES (?, ?, ?)"
    assert built.parameters == (7, "x'; DROP TABLE users; --", "[1]")
    assert built.id == 7


def test_insert_without_values_takes_the_defaults() -> None:
    assert insert_statement(users(), insert({}), "").sql == "INSERT INTO `shop`.`users` () VALUES ()"


@pytest.mark.parametrize(
    ("table", "values", "wanted"),
    [
        (users(), {"name": "a"}, True),
        (users(kind="bigint(20) unsigned"), {}, True),
        (users(), {"ID": 1}, False),
        (users(), {"id": None}, False),
        (users(extra="auto_increment"), {}, False),
        (users(kind="int(11)"), {}, False),
    ],
)
def test_insert_wants_a_snowflake_where_nobody_else_gives_the_key(
    table: Table, values: dict[str, Any], wanted: bool
) -> None:
    assert (missing_key(table, insert(values)) is not None) == wanted


def test_insert_with_a_snowflake_tells_it() -> None:
    built = insert_statement(users(), insert({"name": "a"}), "", 1 << 60)
    assert built.sql == "INSERT INTO `shop`.`users` (`Name`, `id`) VALUES (?, ?)"
    assert (built.parameters, built.id) == (("a", 1 << 60), 1 << 60)


def test_update_and_delete_take_a_whole_key() -> None:
    update = Update(table="users", set={"name": "b", "mail": None}, where_key={"number": 2, "shop": 1})
    built = update_statement(users(), update, "")
    assert built.sql == "UPDATE `shop`.`users` SET `Name` = ?, `mail` = ? WHERE `number` = ? AND `shop` = ?"
    assert built.parameters == ("b", None, 2, 1)
    deleted = delete_statement(users(), Delete(table="users", where_key={"mail": "m"}), "")
    assert (deleted.sql, deleted.parameters) == ("DELETE FROM `shop`.`users` WHERE `mail` = ?", ("m",))


@pytest.mark.parametrize(
    ("values", "error", "field"),
    [
        ({"nope": 1}, "unknown_column", "writes.3.values.nope"),
        ({"id`) VALUES (1); --": 1}, "unknown_column", "writes.3.values.id`) VALUES (1); --"),
        ({"name": "a", "NAME": "b"}, "duplicate_column", "writes.3.values.NAME"),
        ({"upper": "A"}, "generated_column", "writes.3.values.upper"),
        ({"name": 1}, "wrong_type", "writes.3.values.name"),
    ],
)
def test_insert_that_is_wrong_names_the_field(values: dict[str, Any], error: str, field: str) -> None:
    with pytest.raises(Problem) as refused:
        insert_statement(users(), insert(values), "writes.3.")
    assert (refused.value.status, refused.value.body.error, refused.value.body.field) == (422, error, field)


@pytest.mark.parametrize(
    ("where", "error", "field"),
    [
        ({"name": "a"}, "no_whole_key", "where_key.id"),
        ({"shop": 1}, "no_whole_key", "where_key.number"),
        ({"id": 1, "shop": 1}, "no_whole_key", "where_key.shop"),
        ({"mail": None}, "null_in_key", "where_key.mail"),
        ({"mail": 0}, "wrong_type", "where_key.mail"),
        ({"nope": 0}, "unknown_column", "where_key.nope"),
        ({"id": 1, "ID": 2}, "duplicate_column", "where_key.ID"),
    ],
)
def test_key_that_names_no_single_row_is_refused(where: dict[str, Any], error: str, field: str) -> None:
    with pytest.raises(Problem) as refused:
        delete_statement(users(), Delete(table="users", where_key=where), "")
    assert (refused.value.status, refused.value.body.error, refused.value.body.field) == (422, error, field)


def test_table_without_a_key_says_so() -> None:
    table = build_table("shop", "log", [], [row("a", "int(11)")], [])
    with pytest.raises(Problem, match="no primary or unique key"):
        delete_statement(table, Delete(table="log", where_key={"a": 1}), "")


@given(st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=5), max_size=4))
def test_names_of_a_request_never_get_into_a_statement(values: dict[str, Any]) -> None:
    table = users()
    try:
        built = insert_statement(table, insert(values), "")
    except Problem:
        return
    names = built.sql.partition("(")[2].partition(")")[0]
    assert set(names.replace("`", "").split(", ")) - {""} <= {
        column.name for column in table.columns.values()
    }


@pytest.mark.parametrize(
    "name", ["mysql", "MySQL", "wolfscale", "sys", "information_schema", "performance_schema"]
)
def test_system_schema_is_refused(name: str) -> None:
    with pytest.raises(Problem, match="belongs to"):
        refuse_system_schema(name, "database")
    refuse_system_schema("shop", "database")
