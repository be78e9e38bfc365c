"""Makes whole file systems durable, and replaces directories as safely as a file system can."""

import ctypes
import errno
import os
import shutil
from pathlib import Path

import trio

_libc = ctypes.CDLL(None, use_errno=True)

_ADVICE = {
    errno.ENOSPC: "free some space on this file system, the node then goes on by itself",
    errno.EDQUOT: "raise the quota, the node then goes on by itself",
    errno.EIO: "check the disk",
    errno.EROFS: "check the disk, since its file system takes no writes any more",
}


def describe_fault(error: OSError, directory: Path) -> str:
    """Say what a file operation met, where, and what to do about it.

    Args:
        error: what was raised; it may not know of any file.
        directory: what the operation was about in that case.
    """
    text = str(error) if error.filename else f"{directory}: {error}"
    advice = _ADVICE.get(error.errno or 0)
    return f"{text}: {advice}" if advice else text


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
