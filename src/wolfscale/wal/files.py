"""The dozen file operations that the log needs, behind a protocol so that a faulty disk can stand in.

What the log counts on, and no more:

* `write_at` and `truncate` change what `read_at` gives at once, and the disk at some later time, in any order
  and any part of them, until `sync` returns; then everything written to that file before is on the disk.
* `create`, `rename` and `remove` change the directory at once, and the disk at some later time, in any order,
  until `sync_directory` returns. A rename is never half done.
* `sync` of a file does not make its name durable.
"""

import fcntl
import os
from pathlib import Path
from typing import Protocol

from wolfscale import durability


class File(Protocol):
    """An open file. Reads may run beside a write; two writes may not."""

    def read_at(self, offset: int, size: int) -> bytes:
        """The bytes there; fewer only at the end of the file."""
        ...

    def write_at(self, offset: int, data: bytes) -> None:
        """Write all of it, or raise OSError with any part of it written."""
        ...

    def size(self) -> int:
        """The file's length in bytes."""
        ...

    def truncate(self, size: int) -> None:
        """Cut the file, or lengthen it with zeros."""
        ...

    def sync(self) -> None:
        """Return when the content and the length are on the disk (fdatasync)."""
        ...

    def lock(self) -> bool:
        """Claim the file against other processes until it is closed; False when another has it."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class Files(Protocol):
    """A file system."""

    def make_directory(self, path: Path) -> None:
        """Make the directory and its parents, durably; it may be there already."""
        ...

    def list(self, directory: Path) -> list[str]:
        """The names in the directory, sorted; empty where there is no such directory."""
        ...

    def create(self, path: Path) -> File:
        """Open a new file for reading and writing; FileExistsError when there is one."""
        ...

    def open(self, path: Path, *, writable: bool = False) -> File:
        """Open a file that is there; FileNotFoundError otherwise."""
        ...

    def rename(self, source: Path, target: Path) -> None:
        """Put the file in the place of the target in one step."""
        ...

    def remove(self, path: Path) -> None:
        """Remove the name; files that are open stay readable."""
        ...

    def sync_directory(self, directory: Path) -> None:
        """Return when the directory's names are on the disk."""
        ...


class OsFile:
    """A file of the operating system."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read_at(self, offset: int, size: int) -> bytes:
        """See `File`."""
        data = os.pread(self._descriptor, size, offset)
        if len(data) == size or not data:
            return data
        parts = [data]
        while data and size > len(data):
            offset += len(data)
            size -= len(data)
            data = os.pread(self._descriptor, size, offset)
            parts.append(data)
        return b"".join(parts)

    def write_at(self, offset: int, data: bytes) -> None:
        """See `File`."""
        written = os.pwrite(self._descriptor, data, offset)
        while written < len(data):
            written += os.pwrite(self._descriptor, memoryview(data)[written:], offset + written)

    def size(self) -> int:
        """See `File`."""
        return os.fstat(self._descriptor).st_size

    def truncate(self, size: int) -> None:
        """See `File`."""
        os.ftruncate(self._descriptor, size)

    def sync(self) -> None:
        """See `File`."""
        durability.sync_file(self._descriptor)

    def lock(self) -> bool:
        """See `File`."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """See `File`."""
        os.close(self._descriptor)


class OsFiles:
    """The operating system's files; new ones are readable by their owner only."""

    def make_directory(self, path: Path) -> None:
        """See `Files`."""
        missing = [path]
        while not missing[-1].exists():
            missing.append(missing[-1].parent)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for parent in missing[1:]:
            self.sync_directory(parent)

    def list(self, directory: Path) -> list[str]:
        """See `Files`."""
        try:
            return sorted(os.listdir(directory))
        except FileNotFoundError:
            return []

    def create(self, path: Path) -> File:
        """See `Files`."""
        return OsFile(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))

    def open(self, path: Path, *, writable: bool = False) -> File:
        """See `Files`."""
        return OsFile(os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC))

    def rename(self, source: Path, target: Path) -> None:
        """See `Files`."""
        os.rename(source, target)

    def remove(self, path: Path) -> None:
        """See `Files`."""
        os.unlink(path)

    def sync_directory(self, directory: Path) -> None:
        """See `Files`."""
        durability.sync_directory(directory)


def read_file(files: Files, path: Path) -> bytes:
    """The whole content of a small file.

    Raises:
        FileNotFoundError: there is none.
    """
    file = files.open(path)
    try:
        return file.read_at(0, file.size())
    finally:
        file.close()
