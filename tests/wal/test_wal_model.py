"""Any sequence of changes against a list of records."""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from wal_model import check, open_log

from wolfscale.testing.faulty_disk import FaultyDisk
from wolfscale.wal import Record


@dataclass
class Model:
    base_index: int = 0
    base_term: int = 0
    base_data: bytes = b""
    records: list[Record] = field(default_factory=list)

    @property
    def last_index(self) -> int:
        return self.base_index + len(self.records)

    @property
    def last_term(self) -> int:
        return self.records[-1].term if self.records else self.base_term


shapes = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 2, 2, 2, 40]),
        st.integers(0, 3),
        st.one_of(st.binary(max_size=30), st.just(bytes(500))),
    ),
    min_size=1,
    max_size=8,
)


class LogMachine(RuleBasedStateMachine):
    @initialize(segment_bytes=st.sampled_from([1, 200, 1000, 1 << 20]))
    def open(self, segment_bytes: int) -> None:
        self.segment_bytes = segment_bytes
        self.disk = FaultyDisk()
        self.log = open_log(self.disk, segment_bytes=segment_bytes)
        self.model = Model()
        self.key = 0

    def make(self, first: int, term: int, shapes: list[tuple[int, int, bytes]]) -> list[Record]:
        result = []
        for index, (kind, step, data) in enumerate(shapes, first):
            self.key += step
            result.append(Record(index, term, kind, self.key if step else 0, data))
        return result

    @rule(shapes=shapes, step=st.integers(0, 1))
    def append(self, shapes: list[tuple[int, int, bytes]], step: int) -> None:
        new = self.make(self.model.last_index + 1, self.model.last_term + step, shapes)
        self.log.append(new)
        self.model.records += new

    @precondition(lambda self: self.model.records)
    @rule(shapes=shapes, data=st.data())
    def overwrite(self, shapes: list[tuple[int, int, bytes]], data: st.DataObject) -> None:
        first = data.draw(st.integers(self.model.base_index + 1, self.model.last_index))
        new = self.make(first, self.model.last_term + 1, shapes)
        self.log.append(new)
        del self.model.records[first - self.model.base_index - 1 :]
        self.model.records += new

    @precondition(lambda self: self.model.records)
    @rule(data=st.data())
    def truncate_prefix(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(self.model.base_index + 1, self.model.last_index))
        data_before, segments = self.log.base_data, len(self.log.segments())
        self.log.truncate_prefix(index, b"at %d" % index)
        moved = self.log.base_index
        assert self.model.base_index <= moved <= index
        assert self.log.base_data == (
            b"at %d" % index if len(self.log.segments()) < segments else data_before
        )
        if moved > self.model.base_index:
            self.model.base_term = self.model.records[moved - self.model.base_index - 1].term
            del self.model.records[: moved - self.model.base_index]
        self.model.base_index, self.model.base_data = moved, self.log.base_data

    @rule(index=st.integers(0, 1000), term=st.integers(0, 50))
    def reset(self, index: int, term: int) -> None:
        self.log.reset(index, term, b"reset")
        self.model = Model(index, term, b"reset")

    @rule()
    def reopen(self) -> None:
        self.log.close()
        self.log = open_log(self.disk, segment_bytes=self.segment_bytes)

    @rule()
    def kill(self) -> None:
        self.disk = self.disk.after_kill()
        self.log = open_log(self.disk, segment_bytes=self.segment_bytes)

    @rule()
    def cut_power(self) -> None:
        self.disk = self.disk.after_power_cut(lambda step: False)
        self.log = open_log(self.disk, segment_bytes=self.segment_bytes)

    @invariant()
    def agrees(self) -> None:
        assert self.log.base_index == self.model.base_index
        assert self.log.base_term == self.model.base_term
        assert self.log.base_data == self.model.base_data
        check(self.log, self.model.records)


TestLog = LogMachine.TestCase
TestLog.settings = settings(max_examples=40, stateful_step_count=25)
