"""Finding records by index, by key and by kind."""

from collections.abc import Container, Iterator

from wolfscale.wal.batch import BatchHeader, kind_bit
from wolfscale.wal.errors import WalCorrupt, WalOutOfRange
from wolfscale.wal.logmap import LiveRun, LogMap
from wolfscale.wal.reading import SegmentReader
from wolfscale.wal.record import Record
from wolfscale.wal.summary import SegmentIndex


class LogView:
    """The log as readers see it. Not thread-safe: the log's lock is held around every call."""

    __slots__ = ("active", "map", "reader")

    def __init__(self, reader: SegmentReader, log: LogMap) -> None:
        self.reader = reader
        self.map = log
        self.active: tuple[int, SegmentIndex] | None = None
        """The segment that has no summary yet, and what is in it."""

    def check_range(self, index: int) -> None:
        """Raise `WalOutOfRange` when the log has no such record."""
        if not self.map.base_index < index <= self.map.last_index:
            raise WalOutOfRange(index, self.map.base_index + 1, self.map.last_index)

    def term_at(self, index: int) -> int:
        """See `Wal.term_at`."""
        if index != self.map.base_index:
            self.check_range(index)
        return self.map.term_at(index)

    def read(self, first: int, last: int, max_bytes: int) -> list[Record]:
        """See `Wal.read`."""
        self.check_range(first)
        self.check_range(last)
        result: list[Record] = []
        for header, run in self._batches_from(first):
            records = self.reader.records(run.number, header)
            stop = min(last, run.last_index, header.last_index)
            for record in records[first - header.first_index : stop - header.first_index + 1]:
                max_bytes -= len(record.data)
                if max_bytes < 0 and result:
                    return result
                result.append(record)
            first = stop + 1
            if first > last or max_bytes <= 0:
                break
        return result

    def batch_until(self, index: int) -> list[Record]:
        """The records of one batch that end at `index`, or at the log's end if that is less."""
        index = min(index, self.map.last_index)
        if index <= self.map.base_index:
            return []
        run = self.map.runs[self.map.run_of_index(index)]
        header = self.header_of(run, index)
        return self.reader.records(run.number, header)[: index - header.first_index + 1]

    def newest_key(self, index: int) -> int:
        """See `Wal.newest_key`."""
        if index >= self.map.last_index:
            return self.map.last_key
        if index <= self.map.base_index:
            return self.map.base_key
        run = self.map.runs[self.map.run_of_index(index)]
        header = self.header_of(run, index)
        for record in reversed(self.reader.records(run.number, header)[: index - header.first_index + 1]):
            if record.key:
                return record.key
        return header.previous_key

    def floor(self, key: int) -> tuple[int, int] | None:
        """The index and key of the record with the greatest key that is at most `key`."""
        # If a batch has that key, it is the last one before which all keys are smaller.
        while key > self.map.base_key:
            place = self.map.run_of_key(key)
            if place < 0:
                return None
            run = self.map.runs[place]
            start, end = self._index(run.number).stretch_of_key(key, run.offset, run.end)
            found: BatchHeader | None = None
            for header in self.reader.headers(run.number, start, end):
                if header.previous_key < key and header.first_index <= run.last_index:
                    found = header
            if found is None:
                return None
            live = self.reader.records(run.number, found)[: run.last_index - found.first_index + 1]
            for record in reversed(live):
                if 0 < record.key <= key:
                    return record.index, record.key
            key = found.previous_key
        return None

    def of_kind(self, kind: int, numbers: Container[int]) -> list[Record]:
        """The records of a kind in these segments, oldest first."""
        bit = kind_bit(kind)
        result = []
        for run in reversed(self.map.runs):
            if run.number not in numbers:
                continue
            for start, end in self._index(run.number).stretches_of_kind(bit, run.offset, run.end):
                for header in reversed(self.reader.headers(run.number, start, end)):
                    if header.kinds & bit and header.first_index <= run.last_index:
                        records = self.reader.records(run.number, header)
                        live = records[: run.last_index - header.first_index + 1]
                        result += [record for record in reversed(live) if record.kind == kind]
        return result[::-1]

    def header_of(self, run: LiveRun, index: int) -> BatchHeader:
        """The header of the batch of that run that holds the record."""
        start, end = self._index(run.number).stretch_of_index(index, run.offset, run.end)
        for header in self.reader.headers(run.number, start, end):
            if header.first_index <= index <= header.last_index:
                return header
        raise WalCorrupt(self.reader.path(run.number), start, f"record {index} is not where it should be")

    def _batches_from(self, index: int) -> Iterator[tuple[BatchHeader, LiveRun]]:
        for place in range(self.map.run_of_index(index), len(self.map.runs)):
            run = self.map.runs[place]
            while index <= run.last_index:
                start, end = self._index(run.number).stretch_of_index(index, run.offset, run.end)
                expected = index
                for header in self.reader.headers(run.number, start, end):
                    if header.first_index <= index <= min(header.last_index, run.last_index):
                        yield header, run
                        index = header.last_index + 1
                if index == expected:
                    why = f"record {index} is not where it should be"
                    raise WalCorrupt(self.reader.path(run.number), start, why)
            index = run.last_index + 1

    def _index(self, number: int) -> SegmentIndex:
        if self.active is not None and self.active[0] == number:
            return self.active[1]
        return self.reader.index(number)
