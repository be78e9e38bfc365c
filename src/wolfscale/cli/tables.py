"""What nodes say of themselves as a table, for `status` and `demo`."""

from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wolfscale.api.models import DatabaseState, DatabaseStatus, MemberStatus, NodeStatus

_STATE_STYLES = {
    DatabaseState.PRIMARY: "bold green",
    DatabaseState.REPLICA: "green",
    DatabaseState.FAILED: "bold red",
    DatabaseState.STOPPED: "red",
    DatabaseState.CLONE_NEEDED: "yellow",
    DatabaseState.CLONING: "yellow",
    DatabaseState.RECOVERING: "yellow",
    DatabaseState.PROMOTING: "yellow",
    DatabaseState.DEMOTING: "yellow",
}
_SERVING = frozenset({DatabaseState.REPLICA, DatabaseState.NONE})
"""What a member is in that does its part without taking writes."""
_MEBIBYTE = 2**20
_PIPE_WIDTH = 160


def wide_console() -> Console:
    """Standard output; where that is no terminal, wide enough for a whole row a line."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)


def _table(title: str | None = None) -> Table:
    """The columns that both tables share; on a narrow terminal text is folded, and nothing is cut off."""
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True
    )
    table.add_column("node", no_wrap=True)
    table.add_column("role", no_wrap=True)
    table.add_column("state", overflow="fold")
    for heading in ("term", "log", "commit", "applied", "lag"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("MariaDB", overflow="fold")
    return table


def node_table(nodes: Iterable[tuple[str, NodeStatus | None]], *, title: str | None = None) -> Table:
    """One row a node, from each node's own status; a node that does not answer has a row that says so."""
    table = _table(title=title)
    for name, status in nodes:
        if status is None:
            table.add_row(name, "", Text("no answer", style="red"), *[""] * 6)
            continue
        table.add_row(
            status.name,
            Text(status.role.value, style="bold" if status.writable else ""),
            node_state(status),
            str(status.term),
            str(status.log.last_index),
            str(status.log.commit_index),
            str(status.applied.sequence),
            str(status.applied.lag_groups),
            database_text(status.database),
        )
    return table


def member_table(status: NodeStatus) -> Table:
    """One row a member, as one node knows it."""
    table = _table()
    table.add_column("address", overflow="fold")
    for member in status.members:
        is_self = member.id == status.id
        is_leader = status.leader is not None and member.id == status.leader.id
        role = status.role.value if is_self else ("leader" if is_leader else _follower(member.suffrage))
        log = status.log.last_index if is_self else member.match_index
        state = node_state(status) if is_self else _member_state(member)
        table.add_row(
            Text(member.name, style="bold" if is_self else ""),
            role,
            state,
            str(status.term) if is_self or member.alive else "",
            str(log) if log else "",
            str(status.log.commit_index) if is_self else "",
            str(member.applied.sequence),
            str(member.applied.lag_groups),
            database_text(member.database),
            member.address,
        )
    return table


def _follower(suffrage: str) -> str:
    return "follower" if suffrage == "voter" else suffrage


def _member_state(member: MemberStatus) -> Text:
    if not member.alive:
        return Text("silent", style="red")
    if member.writable:
        return Text("takes writes", style="bold green")
    if member.database.state in _SERVING:
        return Text("up", style="green")
    return Text("not serving", style="yellow")


def node_state(status: NodeStatus) -> Text:
    """What a node is good for now, in a word or two."""
    if status.writable:
        return Text("takes writes", style="bold green")
    if status.leader is None:
        return Text("no leader", style="red")
    if status.database.state in _SERVING:
        return Text("up", style="green")
    return Text("not serving", style="yellow")


def database_text(database: DatabaseStatus) -> Text:
    """MariaDB's state with the progress of a clone or the reason of a failure."""
    text = Text(database.state.value, style=_STATE_STYLES.get(database.state, ""))
    if database.clone is not None:
        received = database.clone.received_bytes / _MEBIBYTE
        text.append(f" {database.clone.phase}, {received:.0f} MiB from {database.clone.donor}")
    elif database.reason:
        text.append(f": {database.reason}")
    return text
