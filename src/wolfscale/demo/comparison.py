"""Whether all of a cluster's servers hold the same, and everything that was acknowledged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import trio

from wolfscale.demo.cluster import DemoCluster
from wolfscale.demo.writers import TABLE, Record, WriteKey

_SYSTEM_SCHEMAS = "'mysql', 'information_schema', 'performance_schema', 'sys'"
_TABLES = (
    "SELECT table_schema, table_name FROM information_schema.tables "
    "WHERE table_type IN ('BASE TABLE', 'SEQUENCE') "
    f"AND table_schema NOT IN ({_SYSTEM_SCHEMAS}) ORDER BY 1, 2"
)
_MOST_SHOWN = 5
_MARKER_TABLE = "`wolfscale`.`term`"
_MARKER_SECONDS = 60.0

Checksums = Mapping[str, int | None]
"""From a table's quoted name to its checksum; None for a table that cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a comparison found.

    Attributes:
        checksums: by node number; all equal when the servers hold the same.
        differences: one line for each table that is not the same everywhere.
    """

    checksums: Mapping[int, Checksums]
    differences: tuple[str, ...]

    @property
    def tables(self) -> int:
        """How many tables were compared."""
        return max((len(checksums) for checksums in self.checksums.values()), default=0)


async def table_checksums(cluster: DemoCluster, number: int) -> dict[str, int | None]:
    """`CHECKSUM TABLE` of every table outside the system schemas, on the node's own MariaDB."""
    tables = [
        f"`{schema.replace('`', '``')}`.`{table.replace('`', '``')}`"
        for schema, table in await cluster.query(number, _TABLES)
    ]
    return await _checksums(cluster, number, tables)


async def _checksums(cluster: DemoCluster, number: int, tables: Sequence[str]) -> dict[str, int | None]:
    results = await cluster.run_on(number, [f"CHECKSUM TABLE {table}" for table in tables])
    return {table: rows[0][1] for table, rows in zip(tables, results, strict=True)}


async def compare_servers(cluster: DemoCluster, numbers: Sequence[int]) -> Comparison:
    """Compare every table on these nodes' servers; wait for them to be level first."""
    checksums = {number: await table_checksums(cluster, number) for number in numbers}
    with trio.move_on_after(_MARKER_SECONDS):
        while set(_differing(checksums)) == {_MARKER_TABLE}:
            # An idle primary commits a marker row every few seconds: it came between the servers' answers.
            for number in numbers:
                marker = await _checksums(cluster, number, [_MARKER_TABLE])
                checksums[number] = {**checksums[number], **marker}
    return Comparison(checksums=checksums, differences=tuple(differences(checksums)))


def differences(checksums: Mapping[int, Checksums]) -> list[str]:
    """One line for each table whose checksum is missing somewhere or not the same everywhere. Pure."""
    return [
        f"{table}: " + ", ".join(f"node-{number} {value}" for number, value in by_node.items())
        for table, by_node in _differing(checksums).items()
    ]


def _differing(checksums: Mapping[int, Checksums]) -> dict[str, dict[int, int | str | None]]:
    found: dict[str, dict[int, int | str | None]] = {}
    for table in sorted({table for by_table in checksums.values() for table in by_table}):
        by_node = {number: by_table.get(table, "missing") for number, by_table in checksums.items()}
        if len(set(by_node.values())) > 1 or None in by_node.values():
            found[table] = by_node
    return found


async def written_keys(cluster: DemoCluster, number: int, database: str) -> set[WriteKey]:
    """The writers' rows on a node's own MariaDB."""
    rows = await cluster.query(number, f"SELECT writer, number FROM {TABLE}", database)
    return {(int(writer), int(key)) for writer, key in rows}


def judge(record: Record, present: set[WriteKey]) -> list[str]:
    """What is wrong with the rows on a server, one line each: lost, or never sent. Pure."""
    acknowledged = record.keys()
    lost = acknowledged - present
    invented = present - acknowledged - record.unknown
    found = []
    if lost:
        found.append(f"{len(lost)} acknowledged writes are missing: {_some(lost)}")
    if invented:
        found.append(f"{len(invented)} rows are there that nobody wrote: {_some(invented)}")
    return found


def _some(keys: set[WriteKey]) -> str:
    shown = ", ".join(f"writer {writer} number {number}" for writer, number in sorted(keys)[:_MOST_SHOWN])
    return shown + (" ..." if len(keys) > _MOST_SHOWN else "")
