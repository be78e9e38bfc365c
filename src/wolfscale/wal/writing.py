"""The end of the log where it is written: the segment in use, the step to the next one, failed writes."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from wolfscale.wal.batch import (
    BatchFlags,
    BatchHeader,
    encode_append,
    encode_batch,
    encode_segment_header,
)
from wolfscale.wal.errors import WalError, WalFull, WalSyncFailed, WalWriteFailed, is_full
from wolfscale.wal.files import File, Files
from wolfscale.wal.layout import Place, SyncedMark, segment_name
from wolfscale.wal.record import Record
from wolfscale.wal.recovery import Segment
from wolfscale.wal.summary import SegmentIndex, encode_trailer


class SegmentWriter:
    """Writes appends to the last segment. One thread at a time.

    Nothing here touches what readers see: the log puts a batch on its map when `append` has returned.
    """

    def __init__(
        self,
        files: Files,
        directory: Path,
        *,
        synced: SyncedMark,
        fsync: bool,
        compress: bool,
        segment_bytes: int,
        now_ms: Callable[[], int],
    ) -> None:
        self._files = files
        self._directory = directory
        self._synced = synced
        self._fsync = fsync
        self._compress = compress
        self._segment_bytes = segment_bytes
        self._now_ms = now_ms
        self._file: File | None = None
        self._broken: WalSyncFailed | None = None
        self.segment: Segment | None = None
        self.index = SegmentIndex()

    def resume(self, segment: Segment, index: SegmentIndex) -> None:
        """Go on writing at the end of a segment that was found.

        Args:
            segment: the segment; it is not closed.
            index: what is in it.
        """
        self._file = self._files.open(segment.path, writable=True)
        self.segment = segment
        self.index = index

    def close(self) -> None:
        """Let go of the segment in use; the next append makes another."""
        if self._file is not None:
            self._file.close()
        self._file = None
        self.segment = None
        self.index = SegmentIndex()

    def check(self) -> None:
        """Raise `WalSyncFailed` when a sync has failed before."""
        if self._broken is not None:
            raise self._broken

    def broke(self, failure: WalSyncFailed) -> None:
        """Refuse everything from now on."""
        self._broken = failure

    @property
    def is_due(self) -> bool:
        """Whether the next append belongs into another segment."""
        return self.segment is None or self.segment.closed or self.segment.size >= self._segment_bytes

    def finish_segment(self, *, last_index: int, last_key: int) -> None:
        """Close the segment in use with its summary.

        Raises:
            WalFull, WalWriteFailed: it is as before.
            WalSyncFailed: see there.
        """
        segment = self.segment
        if segment is None or segment.closed:
            return
        raw = self.index.encode()
        data = encode_batch(
            number=segment.number,
            offset=segment.size,
            flags=BatchFlags.STARTS_APPEND | BatchFlags.SUMMARY,
            raw=raw,
            compress=True,
            count=0,
            kinds=0,
            append=segment.last_append + 1,
            first_index=last_index + 1,
            previous_key=last_key,
            last_key=last_key,
        )
        self._write(segment, data + encode_trailer(segment.number, segment.size))
        self._mark_synced(segment)
        segment.last_append += 1
        segment.closed = True

    def begin_segment(self, number: int, last_append: int) -> Segment:
        """Make the next segment; its header and its name are durable on return.

        Args:
            number: the segment's.
            last_append: the number of the last append before it.

        Raises:
            WalFull, WalWriteFailed: there is no new segment.
            WalSyncFailed: see there.
        """
        self.close()
        path = self._directory / segment_name(number)
        created_ms = self._now_ms()
        segment = Segment(number=number, path=path, created_ms=created_ms, size=0, last_append=last_append)
        try:
            self._file = self._create(path)
        except OSError as error:
            raise _failure(path, error) from error
        try:
            self._write(segment, encode_segment_header(number, created_ms))
            self._sync_directory(path)
        except WalError:
            self.close()
            if self._broken is None:
                with contextlib.suppress(OSError):
                    self._files.remove(path)
            raise
        self.segment = segment
        return segment

    def _create(self, path: Path) -> File:
        try:
            return self._files.create(path)
        except FileExistsError:  # left by an attempt that failed, and could not be removed then
            self._files.remove(path)
            return self._files.create(path)

    def append(self, records: Sequence[Record], previous_key: int) -> list[BatchHeader]:
        """Put the records at the end of the segment in use by one write and one sync.

        Args:
            records: consecutive ones.
            previous_key: the greatest key before them in the log.

        Returns:
            the headers of the batches that they are in.

        Raises:
            WalFull, WalWriteFailed: nothing was appended.
            WalSyncFailed: see there.
        """
        segment = self.segment
        assert segment is not None
        headers, data = encode_append(
            records,
            number=segment.number,
            offset=segment.size,
            append=segment.last_append + 1,
            previous_key=previous_key,
            compress=self._compress,
        )
        self._write(segment, data)
        self._mark_synced(segment)
        segment.last_append += 1
        for header in headers:
            segment.kinds |= header.kinds
        return headers

    def _write(self, segment: Segment, data: bytes) -> None:
        file = self._file
        assert file is not None
        try:
            file.write_at(segment.size, data)
        except OSError as error:
            self._take_back(file, segment)
            raise _failure(segment.path, error) from error
        self._sync(file, segment.path)
        segment.size += len(data)

    def _take_back(self, file: File, segment: Segment) -> None:
        # Synced, so that no part of this write can come back behind a later one.
        try:
            file.truncate(segment.size)
        except OSError as error:
            self._broken = WalSyncFailed(segment.path, error)
            raise self._broken from error
        self._sync(file, segment.path)

    def _sync(self, file: File, path: Path) -> None:
        if not self._fsync:
            return
        try:
            file.sync()
        except OSError as error:
            self._broken = WalSyncFailed(path, error)
            raise self._broken from error

    def _sync_directory(self, path: Path) -> None:
        if not self._fsync:
            return
        try:
            self._files.sync_directory(self._directory)
        except OSError as error:
            self._broken = WalSyncFailed(path, error)
            raise self._broken from error

    def _mark_synced(self, segment: Segment) -> None:
        if not self._fsync:
            return
        # The mark may lag: what it does not cover is only judged with less certainty after a crash.
        with contextlib.suppress(OSError):
            self._synced.write(Place(segment.number, segment.size))


def _failure(path: Path, cause: OSError) -> WalError:
    return WalFull(path, cause) if is_full(cause) else WalWriteFailed(path, cause)
