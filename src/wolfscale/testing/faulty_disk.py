"""A disk in memory that keeps only what it must: `wolfscale.wal.files.Files` with faults.

Everything not yet synced is a list of small steps: the part of a write in one sector, a file's growth, a
truncation, a name made, moved or removed. A power cut keeps any subset of them. A failed sync forgets the
steps: what it should have written stays readable and is gone after a power cut, as Linux does it.
"""

import copy
import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

SECTOR_BYTES = 512


class PowerCut(Exception):
    """The operation was not carried out, and none will be: take `FaultyDisk.after_power_cut`."""


@dataclass(slots=True)
class _Inode:
    content: bytearray = field(default_factory=bytearray)
    """What is read."""
    durable: bytearray = field(default_factory=bytearray)
    locked: bool = False


@dataclass(slots=True)
class _Step:
    """One thing that has happened and is not durable yet."""

    apply: Callable[[], None]
    inode: _Inode | None = None
    directory: Path | None = None


@dataclass(slots=True, kw_only=True)
class Fault:
    """An error that an operation meets."""

    operation: str
    """`write`, `sync`, `truncate`, `create`, `rename`, `remove`, `list` or `sync_directory`."""
    number: int = errno.EIO
    skip: int = 0
    """So many of these operations succeed first."""
    times: int = 1
    written: int = 0
    """So many bytes of the write are written nevertheless."""


class FaultyDisk:
    """A file system that loses what was not synced.

    Attributes:
        capacity_bytes: what all files may take together; None for no bound.
        stop_after: after so many more changing operations, `PowerCut` is raised; None for never.
        operations: how many changing operations there were.
        faults: the errors still to be met.
    """

    def __init__(self, *, sector_bytes: int = SECTOR_BYTES) -> None:
        self.sector_bytes = sector_bytes
        self.capacity_bytes: int | None = None
        self.stop_after: int | None = None
        self.operations = 0
        self.faults: list[Fault] = []
        self._directories: set[Path] = set()
        self._names: dict[Path, _Inode] = {}
        self._durable_names: dict[Path, _Inode] = {}
        self._steps: list[_Step] = []

    @property
    def unsynced(self) -> int:
        """How many steps a power cut may lose."""
        return len(self._steps)

    def after_power_cut(self, keep: Callable[[int], bool]) -> "FaultyDisk":
        """The disk as it is found when the power is back; this one is not changed.

        Args:
            keep: whether the step of that number, from 0 to `unsynced - 1` in order, has reached the disk.
        """
        other = self.copy()
        for place, step in enumerate(other._steps):
            if keep(place):
                step.apply()
        other._steps.clear()
        other._names = dict(other._durable_names)
        for inode in other._names.values():
            inode.content = bytearray(inode.durable)
            inode.locked = False
        other._repair()
        return other

    def after_kill(self) -> "FaultyDisk":
        """The disk as another process finds it after this one was killed; this one is not changed."""
        other = self.copy()
        for inode in other._names.values():
            inode.locked = False
        other._repair()
        return other

    def _repair(self) -> None:
        self.faults.clear()
        self.stop_after = None
        self.capacity_bytes = None

    def copy(self) -> "FaultyDisk":
        """Another disk in the same state."""
        return copy.deepcopy(self)

    def content(self, path: Path) -> bytes:
        """What is read from a file."""
        return bytes(self._names[path].content)

    def set_content(self, path: Path, content: bytes) -> None:
        """Change a file behind everybody's back, durably."""
        inode = self._names[path]
        inode.content = bytearray(content)
        inode.durable = bytearray(content)

    def delete(self, path: Path) -> None:
        """Remove a file behind everybody's back, durably."""
        del self._names[path]
        self._durable_names.pop(path, None)

    def paths(self) -> list[Path]:
        """All files, sorted."""
        return sorted(self._names)

    def _begin(self, operation: str, *, written: Callable[[int], None] | None = None) -> None:
        if self.stop_after is not None:
            if self.stop_after <= 0:
                raise PowerCut(operation)
            self.stop_after -= 1
        self.operations += 1
        for fault in self.faults:
            if fault.operation != operation:
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            fault.times -= 1
            if not fault.times:
                self.faults.remove(fault)
            if written is not None:
                written(fault.written)
            raise OSError(fault.number, os.strerror(fault.number))

    def make_directory(self, path: Path) -> None:
        """See `Files`; durable at once."""
        self._directories.add(path)

    def list(self, directory: Path) -> list[str]:
        """See `Files`."""
        return sorted(path.name for path in self._names if path.parent == directory)

    def create(self, path: Path) -> "FaultyFile":
        """See `Files`."""
        if path in self._names:
            raise FileExistsError(errno.EEXIST, "File exists", str(path))
        self._begin("create")
        inode = self._names[path] = _Inode()
        self._steps.append(_Step(_Link(self, path, inode), directory=path.parent))
        return FaultyFile(self, inode)

    def open(self, path: Path, *, writable: bool = False) -> "FaultyFile":
        """See `Files`."""
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, "No such file", str(path))
        return FaultyFile(self, self._names[path])

    def rename(self, source: Path, target: Path) -> None:
        """See `Files`."""
        self._begin("rename")
        inode = self._names.pop(source)
        self._names[target] = inode
        self._steps.append(_Step(_Rename(self, source, target, inode), directory=target.parent))

    def remove(self, path: Path) -> None:
        """See `Files`."""
        self._begin("remove")
        del self._names[path]
        self._steps.append(_Step(_Unlink(self, path), directory=path.parent))

    def sync_directory(self, directory: Path) -> None:
        """See `Files`."""
        try:
            self._begin("sync_directory")
        except OSError:
            self._settle(lambda step: step.directory == directory, apply=False)
            raise
        self._settle(lambda step: step.directory == directory, apply=True)

    def _settle(self, chosen: Callable[[_Step], bool], *, apply: bool) -> None:
        for step in self._steps:
            if apply and chosen(step):
                step.apply()
        self._steps = [step for step in self._steps if not chosen(step)]


class FaultyFile:
    """A file of a `FaultyDisk`."""

    def __init__(self, disk: FaultyDisk, inode: _Inode) -> None:
        self._disk = disk
        self._inode = inode
        self._has_lock = False

    def read_at(self, offset: int, size: int) -> bytes:
        """See `File`."""
        return bytes(self._inode.content[offset : offset + size])

    def write_at(self, offset: int, data: bytes) -> None:
        """See `File`."""
        disk = self._disk
        disk._begin("write", written=lambda count: self._write(offset, data[:count]))
        room = len(data)
        if disk.capacity_bytes is not None:
            used = sum(len(inode.content) for inode in disk._names.values())
            room = max(0, len(self._inode.content) - offset) + max(0, disk.capacity_bytes - used)
        self._write(offset, data[:room])
        if room < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _write(self, offset: int, data: bytes) -> None:
        if not data:
            return
        inode, steps = self._inode, self._disk._steps
        if offset + len(data) > len(inode.content):
            steps.append(_Step(_Write(inode, offset + len(data), b""), inode=inode))
        _Write.put(inode.content, offset, data)
        at = 0
        while at < len(data):
            size = self._disk.sector_bytes - (offset + at) % self._disk.sector_bytes
            steps.append(_Step(_Write(inode, offset + at, data[at : at + size]), inode=inode))
            at += size

    def size(self) -> int:
        """See `File`."""
        return len(self._inode.content)

    def truncate(self, size: int) -> None:
        """See `File`."""
        self._disk._begin("truncate")
        _Truncate.put(self._inode.content, size)
        self._disk._steps.append(_Step(_Truncate(self._inode, size), inode=self._inode))

    def sync(self) -> None:
        """See `File`."""
        inode = self._inode
        try:
            self._disk._begin("sync")
        except OSError:
            self._disk._settle(lambda step: step.inode is inode, apply=False)
            raise
        self._disk._settle(lambda step: step.inode is inode, apply=True)

    def lock(self) -> bool:
        """See `File`."""
        if self._inode.locked:
            return False
        self._inode.locked = self._has_lock = True
        return True

    def close(self) -> None:
        """See `File`."""
        if self._has_lock:
            self._inode.locked = False


@dataclass(slots=True)
class _Write:
    inode: _Inode
    offset: int
    data: bytes

    def __call__(self) -> None:
        self.put(self.inode.durable, self.offset, self.data)

    @staticmethod
    def put(content: bytearray, offset: int, data: bytes) -> None:
        if len(content) < offset:
            content.extend(bytes(offset - len(content)))
        content[offset : offset + len(data)] = data


@dataclass(slots=True)
class _Truncate:
    inode: _Inode
    size: int

    def __call__(self) -> None:
        self.put(self.inode.durable, self.size)

    @staticmethod
    def put(content: bytearray, size: int) -> None:
        del content[size:]
        content.extend(bytes(size - len(content)))


@dataclass(slots=True)
class _Link:
    disk: FaultyDisk
    path: Path
    inode: _Inode

    def __call__(self) -> None:
        self.disk._durable_names[self.path] = self.inode


@dataclass(slots=True)
class _Unlink:
    disk: FaultyDisk
    path: Path

    def __call__(self) -> None:
        self.disk._durable_names.pop(self.path, None)


@dataclass(slots=True)
class _Rename:
    disk: FaultyDisk
    source: Path
    target: Path
    inode: _Inode

    def __call__(self) -> None:
        if self.disk._durable_names.get(self.source) is self.inode:
            del self.disk._durable_names[self.source]
        self.disk._durable_names[self.target] = self.inode
