"""`wolfscale wal inspect`: what lies in a node's log; reads only, beside a running node too."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from wolfscale.cli.configuration import ConfigOption, read
from wolfscale.cli.exits import CommandError
from wolfscale.errors import WolfScaleError
from wolfscale.raft.codec import decode_membership
from wolfscale.raft.types import EntryKind
from wolfscale.replication.entry import decode_fragment
from wolfscale.wal.inspect import InspectedEntry, iterate_entries, read_base
from wolfscale.wal.layout import BASE_NAME

command = typer.Typer(
    help="Look into a node's log.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)

_ROW = "{:>12} {:>8} {:<10} {:<28} {:>10} {:>10}  {:<16} {:>10}  {}"
_HEADINGS = ("index", "term", "kind", "GTID", "bytes", "on disk", "segment", "offset", "")


@command.callback()
def _wal() -> None:
    """Look into a node's log."""


@dataclass(slots=True)
class _Totals:
    """What was counted over the whole log."""

    entries: int = 0
    overwritten: int = 0
    groups: int = 0
    raw_bytes: int = 0
    stored_bytes: int = 0
    segments: set[Path] = field(default_factory=set)
    indexes: tuple[int, int] | None = None

    def add(self, entry: InspectedEntry, *, ends_group: bool) -> None:
        """Count one entry."""
        self.stored_bytes += entry.stored_bytes
        self.segments.add(entry.segment)
        if entry.overwritten:
            self.overwritten += 1
            return
        self.entries += 1
        self.raw_bytes += entry.raw_bytes
        self.groups += ends_group
        self.indexes = (self.indexes[0] if self.indexes else entry.index, entry.index)

    def text(self) -> str:
        """The totals in words."""
        if self.indexes is None:
            return "no entries"
        saved = f" ({self.stored_bytes / self.raw_bytes:.0%})" if self.raw_bytes else ""
        dropped = f", {self.overwritten} overwritten ones beside them" if self.overwritten else ""
        return (
            f"{self.entries} entries, {self.indexes[0]} to {self.indexes[1]}{dropped}; "
            f"{self.groups} event groups; {self.raw_bytes} bytes, {self.stored_bytes} on disk{saved} "
            f"in {len(self.segments)} segments"
        )


@command.command(short_help="Print the log's entries and totals.")
def inspect(
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR",
            help="The log, or a node's data directory. Default: the configuration's data_dir.",
        ),
    ] = None,
    first: Annotated[
        int, typer.Option("--first", metavar="INDEX", min=0, help="Show entries from this index on.")
    ] = 0,
    last: Annotated[
        int | None, typer.Option("--last", metavar="INDEX", min=0, help="Show entries up to this index.")
    ] = None,
    summary: Annotated[bool, typer.Option("--summary", help="Show the totals only.")] = False,
    config: ConfigOption = None,
) -> None:
    """Print the log's entries with index, term, kind, GTID and sizes, and the totals.

    The line's end shows a membership entry's members, and where a group ended in the primary's binlog.
    """
    log = log_directory(directory if directory is not None else read(config).data_dir)
    base = read_base(log)
    typer.echo(f"{log}: after index {base.index} of term {base.term}")
    if not summary:
        typer.echo(_ROW.format(*_HEADINGS).rstrip())
    totals = _Totals()
    for entry, what in described(log):
        totals.add(entry, ends_group=entry.key != 0)
        if not summary and entry.index >= first and (last is None or entry.index <= last):
            typer.echo(what)
    typer.echo(totals.text())


def log_directory(directory: Path) -> Path:
    """The log in a directory: the directory itself, or one at most two levels below it.

    Raises:
        CommandError: there is none.
    """
    for pattern in ("", "*/", "*/*/"):
        if found := sorted(directory.glob(f"{pattern}{BASE_NAME}")):
            return found[0].parent
    raise CommandError(
        f"there is no log in {directory}",
        next_step="name a node's data directory, or its configuration with --config",
    )


def described(log: Path) -> Iterator[tuple[InspectedEntry, str]]:
    """Each entry of a log with its line."""
    for entry in iterate_entries(log):
        gtid, remark = _content(entry)
        remarks = [remark] if remark else []
        if entry.overwritten:
            remarks.append("overwritten")
        yield (
            entry,
            _ROW.format(
                entry.index,
                entry.term,
                _kind(entry.kind),
                gtid,
                entry.raw_bytes,
                entry.stored_bytes,
                entry.segment.name,
                entry.offset,
                ", ".join(remarks),
            ).rstrip(),
        )


def _kind(kind: int) -> str:
    try:
        return EntryKind(kind).name.lower()
    except ValueError:
        return f"kind {kind}"


def _content(entry: InspectedEntry) -> tuple[str, str]:
    """GTID and remark of an entry; an entry that cannot be read says so instead of ending the listing."""
    try:
        if entry.kind == EntryKind.MEMBERSHIP:
            members = decode_membership(entry.data).members
            return "", ", ".join(f"{member.name} ({member.suffrage.name.lower()})" for member in members)
        if entry.kind == EntryKind.EVENTS:
            fragment = decode_fragment(entry.data)
            if not fragment.is_last:
                return str(fragment.gtid), f"fragment {fragment.number}, goes on"
            place = f"{fragment.file}:{fragment.end_position}"
            return str(fragment.gtid), place if fragment.plain else f"{place}, not plain"
    except WolfScaleError as error:
        return "?", f"cannot be read: {error}"
    return "", ""
