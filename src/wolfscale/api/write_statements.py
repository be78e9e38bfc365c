"""From a request and a table to one statement with bound values: nothing unknown gets in. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wolfscale.api.problems import Problem
from wolfscale.api.tables import Table, TableColumn, UniqueKey
from wolfscale.api.values import ValueRefused, to_parameter
from wolfscale.api.write_models import Delete, Insert, Update
from wolfscale.mysql.binary import Parameter
from wolfscale.mysql.literals import identifier

OWN_SCHEMA = "wolfscale"
SYSTEM_SCHEMAS = frozenset({"mysql", "sys", "performance_schema", "information_schema", OWN_SCHEMA})
"""Databases that belong to the servers and the cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowStatement:
    """One statement.

    Attributes:
        sql: with a `?` for each value.
        parameters: the values.
        id: the new row's id, where it is known before.
    """

    sql: str
    parameters: tuple[Parameter, ...]
    id: int | None = None


def refuse_system_schema(name: str, field: str) -> None:
    """Raise for a database that is not the applications'."""
    if name.lower() in SYSTEM_SCHEMAS:
        raise Problem(
            403,
            "system_database",
            f"the database {name} belongs to the servers and the cluster: nothing in it is changed over HTTP",
            field=field,
        )


def missing_key(table: Table, insert: Insert) -> TableColumn | None:
    """The column of the primary key that wants a snowflake id in this insert."""
    key = table.primary
    if key is None or len(key.columns) != 1:
        return None
    column = table.column(key.columns[0])
    given = {name.lower() for name in insert.values}
    if column is None or not column.takes_snowflake or column.name.lower() in given:
        return None
    return column


def insert_statement(table: Table, insert: Insert, field: str, snowflake: int | None = None) -> RowStatement:
    """The INSERT for a row.

    Args:
        table: as it is now.
        insert: the request.
        field: what stands before a field's name in an error, e.g. `writes.3.`.
        snowflake: the id for `missing_key`.

    Raises:
        Problem: 422, names the field.
    """
    values = _parameters(table, insert.values, f"{field}values")
    if snowflake is not None:
        column = missing_key(table, insert)
        assert column is not None
        values[column.name] = snowflake
    names = ", ".join(identifier(name) for name in values)
    marks = ", ".join("?" * len(values))
    return RowStatement(
        sql=f"INSERT INTO {table.quoted} ({names}) VALUES ({marks})",
        parameters=tuple(values.values()),
        id=snowflake if snowflake is not None else _sent_id(table, values),
    )


def update_statement(table: Table, update: Update, field: str) -> RowStatement:
    """The UPDATE of a row; arguments and errors as for `insert_statement`."""
    values = _parameters(table, update.set, f"{field}set")
    condition, key = _where(table, update.where_key, f"{field}where_key")
    assignments = ", ".join(f"{identifier(name)} = ?" for name in values)
    return RowStatement(
        sql=f"UPDATE {table.quoted} SET {assignments} WHERE {condition}",
        parameters=(*values.values(), *key),
    )


def delete_statement(table: Table, delete: Delete, field: str) -> RowStatement:
    """The DELETE of a row; arguments and errors as for `insert_statement`."""
    condition, key = _where(table, delete.where_key, f"{field}where_key")
    return RowStatement(sql=f"DELETE FROM {table.quoted} WHERE {condition}", parameters=key)


def _sent_id(table: Table, values: Mapping[str, Parameter]) -> int | None:
    key = table.primary
    if key is None or len(key.columns) != 1:
        return None
    sent = values.get(key.columns[0])
    return sent if isinstance(sent, int) else None


def _parameters(table: Table, values: Mapping[str, Any], field: str) -> dict[str, Parameter]:
    """The bound values by the columns' own names."""
    found: dict[str, Parameter] = {}
    for name, value in values.items():
        column = _column(table, name, field)
        where = f"{field}.{name}"
        if column.name in found:
            raise Problem(422, "duplicate_column", f"the column {column.name} is given twice", field=where)
        if column.generated:
            raise Problem(
                422,
                "generated_column",
                f"{table.label}.{column.name} is computed by the server: leave it out",
                field=where,
            )
        found[column.name] = _convert(table, column, value, where)
    return found


def _column(table: Table, name: str, field: str) -> TableColumn:
    column = table.column(name)
    if column is None:
        shown = name if len(name) <= 64 else f"{name[:64]}..."
        raise Problem(
            422,
            "unknown_column",
            f"the table {table.label} has no column {shown!r}; it has {', '.join(_names(table))}",
            field=f"{field}.{name}",
        )
    return column


def _names(table: Table) -> list[str]:
    return [column.name for column in table.columns.values()]


def _convert(table: Table, column: TableColumn, value: Any, field: str) -> Parameter:
    try:
        return to_parameter(column, value)
    except ValueRefused as error:
        raise Problem(422, "wrong_type", f"{table.label}.{column.name}: {error}", field=field) from error


def _where(table: Table, where: Mapping[str, Any], field: str) -> tuple[str, tuple[Parameter, ...]]:
    """A condition that one row at most fulfils."""
    given: dict[str, Parameter] = {}
    for name, value in where.items():
        column = _column(table, name, field)
        if column.name in given:
            raise Problem(
                422, "duplicate_column", f"the column {column.name} is given twice", field=f"{field}.{name}"
            )
        if value is None:
            raise Problem(
                422,
                "null_in_key",
                f"{table.label}.{column.name} is null in where_key: a key with null names no single row",
                field=f"{field}.{name}",
            )
        given[column.name] = _convert(table, column, value, f"{field}.{name}")
    if not any(set(key.columns) == set(given) for key in table.keys):
        raise _no_key(table, set(given), field)
    condition = " AND ".join(f"{identifier(name)} = ?" for name in given)
    return condition, tuple(given.values())


def _no_key(table: Table, given: set[str], field: str) -> Problem:
    if not table.keys:
        return Problem(
            422,
            "no_key",
            f"the table {table.label} has no primary or unique key, so no single row can be named: change it "
            "through the MySQL port",
            field=field,
        )
    keys = "; or ".join(", ".join(key.columns) for key in table.keys)
    nearest = max(table.keys, key=lambda key: (len(given & set(key.columns)), -len(key.columns)))
    return Problem(
        422,
        "no_whole_key",
        f"where_key must hold one whole key of {table.label} and nothing else: {keys}",
        field=f"{field}.{_offender(nearest, given)}",
    )


def _offender(key: UniqueKey, given: set[str]) -> str:
    """The column that is missing, else the one that is too much."""
    missing = [name for name in key.columns if name not in given]
    return missing[0] if missing else min(given - set(key.columns))
