"""Whether all servers of a cluster hold the same: rows, definitions, accounts."""

import re
from typing import Any

import trio
from cluster_under_test import PATIENCE, ClusterUnderTest

_SYSTEM = "('information_schema', 'performance_schema', 'mysql', 'sys')"
_OBJECTS = (
    "SELECT table_schema, table_name, table_type FROM information_schema.tables "
    f"WHERE table_schema NOT IN {_SYSTEM} ORDER BY 1, 2"
)
# The grantor is left out: it gives no right to anybody, and MariaDB writes the client's address on the
# primary but the account's host on a replica ('app@localhost' and 'app@%').
_ACCOUNTS = {
    "mysql.tables_priv": "SELECT host, db, user, table_name, timestamp, table_priv, column_priv "
    "FROM mysql.tables_priv",
    "mysql.procs_priv": "SELECT host, db, user, routine_name, routine_type, proc_priv, timestamp "
    "FROM mysql.procs_priv",
}
_ACCOUNT_TABLES = (
    "global_priv",
    "db",
    "columns_priv",
    "proxies_priv",
    "roles_mapping",
    "func",
    "servers",
)
_DEFINITIONS = {
    "schemas": f"SELECT * FROM information_schema.schemata WHERE schema_name NOT IN {_SYSTEM}",
    "triggers": f"SELECT * FROM information_schema.triggers WHERE trigger_schema NOT IN {_SYSTEM}",
    "routines": "SELECT * FROM mysql.proc WHERE db <> 'sys'",
    # An event's status belongs to the server's role, and originator is the server id that made it so.
    "events": "SELECT db, name, body, definer, execute_at, interval_value, interval_field, created, starts, "
    "ends, on_completion, sql_mode, comment, time_zone, character_set_client, collation_connection, "
    "db_collation, body_utf8 FROM mysql.event",
    "prepared transactions": "XA RECOVER FORMAT = 'SQL'",
}

_AUTO_INCREMENT = re.compile(r" AUTO_INCREMENT=\d+")
"""Values that a rolled back statement took are taken on the primary only."""

_MARKER = "checksum of `wolfscale`.`term`"

Contents = dict[str, Any]


async def contents(cluster: ClusterUnderTest, number: int) -> Contents:
    """Everything that must be the same on all servers, by name."""
    objects = await cluster.query(number, _OBJECTS)
    names = [f"`{schema}`.`{name}`" for schema, name, _ in objects]
    statements = [f"SHOW CREATE TABLE {name}" for name in names]
    tables = [
        name for name, (_, _, kind) in zip(names, objects, strict=True) if kind in {"BASE TABLE", "SEQUENCE"}
    ]
    statements += [f"CHECKSUM TABLE {name} EXTENDED" for name in tables]
    statements += [f"SELECT * FROM mysql.{name}" for name in _ACCOUNT_TABLES]
    statements += [*_ACCOUNTS.values(), *_DEFINITIONS.values()]
    labels = [
        *(f"definition of {name}" for name in names),
        *(f"checksum of {name}" for name in tables),
        *(f"mysql.{name}" for name in _ACCOUNT_TABLES),
        *_ACCOUNTS,
        *_DEFINITIONS,
    ]
    rows = await cluster.run_on(number, statements)
    found: Contents = {}
    for label, result in zip(labels, rows, strict=True):
        if label.startswith("definition"):
            found[label] = _AUTO_INCREMENT.sub("", result[0][1])
        elif label.startswith("checksum"):
            found[label] = result[0][1]
            assert found[label] is not None, f"node-{number}: no {label}"
        else:
            found[label] = sorted(result, key=repr)
    return found


async def assert_identical(cluster: ClusterUnderTest) -> None:
    """Wait until all nodes are level, then compare everything on their servers."""
    with trio.fail_after(PATIENCE):
        while (differing := await _differences(cluster)) == {_MARKER}:
            # An idle primary commits a marker row now and then: it came between the nodes' answers.
            pass
    assert not differing, f"not the same on all nodes: {differing}"


async def _differences(cluster: ClusterUnderTest) -> set[str]:
    await cluster.wait_level()
    found: dict[int, Contents] = {}

    async def read(number: int) -> None:
        found[number] = await contents(cluster, number)

    async with trio.open_nursery() as nursery:
        for number in cluster.numbers:
            nursery.start_soon(read, number)
    first, *others = found.values()
    labels = set().union(*found.values())
    return {
        label for label in labels if any(other.get(label, ...) != first.get(label, ...) for other in others)
    }
