"""A note beside the configuration that this machine's node has been in a cluster with others.

A data disk that is lost takes along all that a node knows. With `--bootstrap` left in a unit file it would
then found a second cluster whenever no peer happens to be up to tell it otherwise. The configuration lies on
another disk more often than not, so what must not be forgotten is noted there as well.
"""

from pathlib import Path

import trio

from wolfscale import logs
from wolfscale.durability import replace_file
from wolfscale.errors import WolfScaleError
from wolfscale.node.identity import IDENTITY_FILE
from wolfscale.node.node import Node

log = logs.logger(__name__)

SUFFIX = ".founded"
_TEXT = """\
The node {name} of this configuration has been in a cluster with other nodes.
While this file is here, `wolfscale start --bootstrap` with an empty data directory is refused:
it would make a second cluster. Remove this file to begin anew on purpose.
"""


class FoundedBefore(WolfScaleError):
    """`--bootstrap` with an empty data directory, on a machine whose node was in a cluster already."""

    def __init__(self, note: Path, data_dir: Path) -> None:
        super().__init__(
            f"this node has been in a cluster ({note} says so), and its data directory {data_dir} is empty: "
            "--bootstrap would make a second cluster. Start without --bootstrap to come back into the "
            f"cluster; to begin anew on purpose, remove {note}"
        )


def note_path(config_path: Path) -> Path:
    """Where the note stands for a configuration."""
    return config_path.with_name(config_path.name + SUFFIX)


def check_not_founded_before(note: Path, data_dir: Path) -> None:
    """Call before a node with `--bootstrap` starts.

    Raises:
        FoundedBefore: it would found a second cluster.
    """
    if note.exists() and not (data_dir / IDENTITY_FILE).exists():
        raise FoundedBefore(note, data_dir)


def _write(note: Path, name: str) -> None:
    if not note.exists():
        replace_file(note, _TEXT.format(name=name).encode(), mode=0o644)


async def keep_note(node: Node, note: Path) -> None:
    """Write the note as soon as the cluster has another member, and return. A checkpoint.

    A directory that cannot be written is no failure: peers that are up are asked before a founding anyway.
    """
    await node.changes.wait_until(lambda: len(node.membership.members) > 1)
    try:
        await trio.to_thread.run_sync(_write, note, node.name)
    except OSError as error:
        log.info(
            "cannot note beside the configuration that a cluster exists", path=note, reason=error.strerror
        )
