"""The files of a clone: where it is built, its position, and how it takes the old data's place."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wolfscale.durability import sync_directory
from wolfscale.replication.filesystem import give_tree, remove_entry, sync_file_system_now
from wolfscale.replication.gtid_position import parse_position
from wolfscale.replication.processes import Owner
from wolfscale.replication.server import Account
from wolfscale.replication.server_errors import CloneFailed

CLONE_DIRECTORY = "#wolfscale-clone"
"""Inside the data directory, so that it is on the same file system even where that is a mount of its own."""

_BACKUP_ONLY = ("backup-my.cnf", "xtrabackup_*", "mariadb_backup_*")
_BINLOG_INFO = ("xtrabackup_binlog_info", "mariadb_backup_binlog_info")


@contextmanager
def private_options_file(socket: str, account: Account, owner: Owner | None) -> Iterator[tuple[Path, Path]]:
    """Give an options file for mariadb-backup and a file for its errors in a directory of their own.

    The password stands in the file, since other users see arguments.

    Raises:
        OSError: the files cannot be written.
    """
    directory = Path(tempfile.mkdtemp(prefix="wolfscale-backup-"))
    try:
        options, errors = directory / "options.cnf", directory / "errors"
        options.touch(mode=0o600)
        options.write_text(
            "[mariadb-backup]\n"
            f"user={_quoted(account.user)}\npassword={_quoted(account.password)}\nsocket={_quoted(socket)}\n"
        )
        errors.touch(mode=0o600)
        if owner is not None:
            for path in (directory, options):
                os.chown(path, owner.uid, owner.gid)
        yield options, errors
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def discard(target: Path) -> None:
    """Remove what an attempt left behind: a server would take the directory for a schema. Blocks.

    Raises:
        OSError: it cannot be removed.
    """
    if target.exists():
        shutil.rmtree(target)


def begin(target: Path) -> None:
    """Make the empty directory that a clone is unpacked into, and the data directory around it. Blocks.

    Raises:
        OSError: it cannot be made.
    """
    discard(target)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    target.mkdir(mode=0o700)


def position_in_backup(target: Path) -> str:
    """Return the GTID at which a primary's data was copied: the third field of the binlog info.

    Raises:
        CloneFailed: the file is missing or says nothing of the kind.
    """
    for name in _BINLOG_INFO:
        path = target / name
        if path.exists():
            fields = path.read_text().split()
            position = parse_position(fields[2] if len(fields) > 2 else "")
            if position is None:
                break
            return str(position)
    raise CloneFailed(
        "the donor was primary but its copy does not say at which GTID: was its binlog switched off?"
    )


def finish(target: Path, owner: Owner | None) -> None:
    """Make an unpacked and prepared copy a data directory, on the disk."""
    for pattern in _BACKUP_ONLY:
        for path in target.glob(pattern):
            remove_entry(path)
    if owner is not None:
        give_tree(target, owner.uid, owner.gid)
    sync_file_system_now(target)


def swap(directory: Path, target: Path, owner: Owner | None) -> None:
    """Put the copy in the old data's place: not atomic, so the record must distrust the directory.

    The directory itself stays, since it may be a mount point.
    """
    for path in directory.iterdir():
        if path != target:
            remove_entry(path)
    for path in list(target.iterdir()):
        path.rename(directory / path.name)
    target.rmdir()
    if owner is not None:
        os.chown(directory, owner.uid, owner.gid)
    sync_directory(directory)
    sync_file_system_now(directory)
