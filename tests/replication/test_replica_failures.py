"""What stopped a replica's threads, as SHOW SLAVE STATUS tells it."""

import pytest

from wolfscale.replication.database import ReplicaStatus
from wolfscale.replication.replica import ER_UNKNOWN_ERROR, PASSING_ERRNOS, failure

DIFFERENT_ERRORS = (
    "Query caused different errors on master and slave.     Error on master: message (format)='Table "
    "'%-.192s.%-.192s' doesn't exist' error code=1146 ; Error on slave: actual message='no error', error "
    "code=0. Default database: 'd'. Query: 'DROP DATABASE d'"
)
"""MariaDB 10.11.19's, whose Last_SQL_Errno is 0."""


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (ReplicaStatus(configured=True, io_running=True, sql_running=True), (0, "")),
        (ReplicaStatus(configured=True, sql_errno=1062, sql_error="Duplicate"), (1062, "Duplicate")),
        (ReplicaStatus(configured=True, sql_running=True, io_errno=1236, io_error="gone"), (1236, "gone")),
        (
            ReplicaStatus(configured=True, io_running=True, sql_error=DIFFERENT_ERRORS),
            (ER_UNKNOWN_ERROR, DIFFERENT_ERRORS),
        ),
    ],
    ids=["none", "applying", "reading", "without a number"],
)
def test_failure_is_the_error_that_stopped_a_thread(status: ReplicaStatus, expected: tuple[int, str]) -> None:
    assert failure(status) == expected


def test_an_error_without_a_number_does_not_pass_by_itself() -> None:
    assert ER_UNKNOWN_ERROR not in PASSING_ERRNOS
