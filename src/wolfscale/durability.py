"""Syncing files and directories so that what is told to be on the disk is there; small files that are whole.

A sync that returns is not enough. While ext4 gives up a file system (its journal is aborted, since the disk
fails or by `FS_IOC_SHUTDOWN`), an fsync that waits for the journal can find the aborted transaction finished
and return 0: `jbd2_complete_transaction` sees that nobody is working on it any more. Tried on Linux 6.18: of
120 file systems that died under a thread that appends and syncs, three had lost an append whose fdatasync had
returned. Whatever is asked of the file system *afterwards* is refused, so one more question tells.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def sync_file(descriptor: int) -> None:
    """Return when the content and the length of a file are on the disk.

    Args:
        descriptor: of a file that is open for writing.

    Raises:
        OSError: it is unknown what is there.
    """
    os.fdatasync(descriptor)
    # Writes nothing; a file system that has been given up refuses it.
    os.write(descriptor, b"")


def sync_directory(path: Path) -> None:
    """Return when the names in a directory are on the disk.

    Raises:
        OSError: it is unknown what is there.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
        # Nothing can be written to a directory. The second one has nothing to do but to be refused.
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, data: bytes, *, mode: int) -> None:
    """Have a small file hold these bytes: after a power cut it is the old one or the new one, whole.

    Args:
        path: in a directory that is made when it is missing; of one writer at a time.
        data: all of the new content.
        mode: the file's permissions, whatever the process's umask.

    Raises:
        OSError: it is unknown which one is there.
    """
    with _draft(path.with_name(f".{path.name}.new"), data, mode) as draft:
        draft.replace(path)
    sync_directory(path.parent)


def create_file(path: Path, data: bytes, *, mode: int) -> None:
    """The same for a file that is never replaced: of several who try, the first makes it.

    Raises:
        FileExistsError: there is one.
        OSError: it is unknown what is there.
    """
    with _draft(path.with_name(f".{path.name}.{secrets.token_hex(4)}"), data, mode) as draft:
        os.link(draft, path)
    sync_directory(path.parent)


@contextmanager
def _draft(draft: Path, data: bytes, mode: int) -> Iterator[Path]:
    """The content on the disk under a name that is gone afterwards."""
    draft.parent.mkdir(parents=True, exist_ok=True)
    # A process may have died here.
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
            file.flush()
            sync_file(descriptor)
        yield draft
    finally:
        draft.unlink(missing_ok=True)
