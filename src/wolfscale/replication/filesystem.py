"""Makes whole file systems durable, and replaces directories as safely as a file system can."""

import ctypes
import os
import shutil
from pathlib import Path

import trio

_libc = ctypes.CDLL(None, use_errno=True)


def sync_file_system_now(path: Path) -> None:
    """Write everything that the file system under a path still holds in memory to its disk. Blocks.

    Raises:
        OSError: it failed; since Linux 5.8 also when an earlier write in the background did.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if _libc.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(descriptor)


async def sync_file_system(path: Path) -> None:
    """Do the same in a thread; cancelling waits for it.

    Raises:
        OSError: it failed.
    """
    await trio.to_thread.run_sync(sync_file_system_now, path)


def give_tree(path: Path, uid: int, gid: int) -> None:
    """Make a directory and everything in it belong to an account."""
    os.chown(path, uid, gid)
    for directory, names, files in os.walk(path):
        for name in (*names, *files):
            os.chown(Path(directory) / name, uid, gid, follow_symlinks=False)


def remove_entry(path: Path) -> None:
    """Remove a file or a directory with all it holds."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
