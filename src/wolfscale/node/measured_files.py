"""The log's files with a clock beside them: what is written to its segments, and how long syncs take."""

import time
from pathlib import Path

from wolfscale.node.statistics import DiskStatistics
from wolfscale.wal import Files
from wolfscale.wal.files import File

SEGMENT_SUFFIX = ".wal"


class MeasuredFiles:
    """A file system that counts what is done to segments; all else passes through."""

    def __init__(self, files: Files, statistics: DiskStatistics) -> None:
        self._files = files
        self._statistics = statistics

    def make_directory(self, path: Path) -> None:
        """See `Files`."""
        self._files.make_directory(path)

    def list(self, directory: Path) -> list[str]:
        """See `Files`."""
        return self._files.list(directory)

    def create(self, path: Path) -> File:
        """See `Files`."""
        return self._measured(self._files.create(path), path)

    def open(self, path: Path, *, writable: bool = False) -> File:
        """See `Files`."""
        file = self._files.open(path, writable=writable)
        return self._measured(file, path) if writable else file

    def _measured(self, file: File, path: Path) -> File:
        return _MeasuredFile(file, self._statistics) if path.suffix == SEGMENT_SUFFIX else file

    def rename(self, source: Path, target: Path) -> None:
        """See `Files`."""
        self._files.rename(source, target)

    def remove(self, path: Path) -> None:
        """See `Files`."""
        self._files.remove(path)

    def sync_directory(self, directory: Path) -> None:
        """See `Files`."""
        self._files.sync_directory(directory)


class _MeasuredFile:
    """A segment that is written."""

    __slots__ = ("_file", "_statistics", "close", "lock", "read_at", "size", "truncate")

    def __init__(self, file: File, statistics: DiskStatistics) -> None:
        self._file = file
        self._statistics = statistics
        self.close = file.close
        self.lock = file.lock
        self.read_at = file.read_at
        self.size = file.size
        self.truncate = file.truncate

    def write_at(self, offset: int, data: bytes) -> None:
        """See `File`."""
        self._file.write_at(offset, data)
        self._statistics.appended_bytes += len(data)
        self._statistics.writes += 1

    def sync(self) -> None:
        """See `File`."""
        started = time.perf_counter()
        self._file.sync()
        self._statistics.fsync_seconds.observe(time.perf_counter() - started)
