"""A server's errors as answers: unchanged, with a fitting status and the field that they speak of."""

import pytest

from wolfscale.api.sql_problems import field_of, problem_of
from wolfscale.api.tables import Holds, Table, TableColumn, UniqueKey
from wolfscale.mysql.errors import ServerError

TABLE = Table(
    database="shop",
    name="users",
    columns={
        name.lower(): TableColumn(name=name, type="int", holds=Holds.INTEGER)
        for name in ("id", "Name", "mail")
    },
    keys=(UniqueKey(name="PRIMARY", columns=("id",)), UniqueKey(name="by_mail", columns=("mail",))),
)


@pytest.mark.parametrize(
    ("errno", "sqlstate", "status", "error", "again"),
    [
        (1062, "23000", 409, "duplicate_key", False),
        (1451, "23000", 409, "foreign_key", False),
        (1452, "23000", 409, "foreign_key", False),
        (1146, "42S02", 404, "unknown_table", False),
        (1049, "42000", 404, "unknown_database", False),
        (1054, "42S22", 422, "unknown_column", False),
        (1406, "22001", 422, "too_long", False),
        (1264, "22003", 422, "out_of_range", False),
        (1205, "HY000", 409, "locked", True),
        (1213, "40001", 409, "locked", True),
        (1290, "HY000", 503, "read_only_server", True),
        (1142, "42000", 403, "access_denied", False),
        (1064, "42000", 400, "syntax", False),
        (1644, "45000", 422, "signalled", False),
        (1969, "70100", 504, "too_slow", False),
        (9999, "45123", 422, "signalled", False),
        (9999, "22001", 422, "wrong_value", False),
        (9999, "42000", 400, "refused", False),
        (9999, "HY000", 500, "server_error", False),
    ],
)
def test_server_error_is_passed_on_with_a_status(
    errno: int, sqlstate: str, status: int, error: str, again: bool
) -> None:
    problem = problem_of(ServerError(errno, sqlstate, "the server's text"), field="values.a")
    assert (problem.status, problem.body.error) == (status, error)
    assert (problem.body.errno, problem.body.sqlstate) == (errno, sqlstate)
    assert (problem.body.message, problem.body.field) == ("the server's text", "values.a")
    assert ("Retry-After" in problem.headers) == again


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ("Data too long for column 'Name' at row 1", "set.name"),
        ("Incorrect integer value: 'x' for column `shop`.`users`.`Name` at row 1", "set.name"),
        ("Column 'Name' cannot be null", "set.name"),
        ("Field 'mail' doesn't have a default value", "set.mail"),
        ("Duplicate entry '1' for key 'by_mail'", "set.mail"),
        ("Duplicate entry '1' for key 'users.by_mail'", "set.mail"),
        ("Duplicate entry '1' for key 'PRIMARY'", "where_key.ID"),
        ("CONSTRAINT `users.Name` failed for `shop`.`users`", "set.name"),
        (
            "Cannot add or update a child row: a foreign key constraint fails (`shop`.`users`, "
            "CONSTRAINT `f` FOREIGN KEY (`mail`) REFERENCES `other` (`id`))",
            "set.mail",
        ),
        ("Incorrect value for column 'of_another_table' at row 1", None),
        ("Lock wait timeout exceeded", None),
    ],
)
def test_field_is_found_in_the_servers_text(message: str, field: str | None) -> None:
    places = {"set": {"name": 1}, "where_key": {"ID": 1}}
    assert field_of(ServerError(1, "HY000", message), TABLE, places) == field
