"""Metrics of the log on the disk."""

from wolfscale.app.observation.metrics.metric import Sample, Samples, counter, gauge, histogram
from wolfscale.node.storage import RaftStorage

WRITABLE = gauge("wal_writable", "1 while the log can be written, 0 while its disk is full or fails.")
APPENDED = counter("wal_appended_bytes", "Bytes written to the log's segments.")
WRITES = counter("wal_writes", "Writes to them.")
FSYNC = histogram("wal_fsync_seconds", "How long a sync of the log took.")
SEGMENTS = gauge("wal_segments", "Files that the log consists of.")
SIZE = gauge("wal_bytes", "Bytes that they take.")
FIRST = gauge("wal_first_index", "The oldest record in them: who lags behind it must be cloned.")

METRICS = (WRITABLE, APPENDED, WRITES, FSYNC, SEGMENTS, SIZE, FIRST)


def wal_samples(storage: RaftStorage, disk_problem: str | None) -> Samples:
    """What a node shows of its log's files."""
    counted, segments = storage.statistics, storage.segments()
    yield Sample(WRITABLE, disk_problem is None)
    yield Sample(APPENDED, counted.appended_bytes)
    yield Sample(WRITES, counted.writes)
    yield Sample(FSYNC, counted.fsync_seconds)
    yield Sample(SEGMENTS, len(segments))
    yield Sample(SIZE, sum(segment.bytes for segment in segments))
    yield Sample(FIRST, storage.first_index)
