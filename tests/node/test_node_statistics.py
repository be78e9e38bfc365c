"""What a node counts: elections, leaders, commits and their latency, writes to its log."""

import logging
from pathlib import Path

import pytest
from node_cluster import PATIENCE, cluster, committed_everywhere, propose

from wolfscale.node.measured_files import MeasuredFiles
from wolfscale.node.statistics import DiskStatistics
from wolfscale.node.storage import Batch, RaftStorage
from wolfscale.raft.types import Entry, EntryKind, Index, Term
from wolfscale.wal import OsFiles


async def test_leader_counts_proposals_and_measures_each_entrys_commit(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        await nodes.grow(3)
        leader = await nodes.leader()
        written = leader.storage.statistics.appended_bytes
        await committed_everywhere(nodes.running, await propose(leader, b"1", b"2", b"34"))
        counted = leader.node.statistics
        assert (counted.proposals, counted.proposed_bytes) == (3, 4)
        assert counted.commit_seconds.count == 3
        assert 0 < counted.commit_seconds.total < 3 * PATIENCE
        assert leader.storage.statistics.appended_bytes > written
        for one in nodes.running:
            if one is not leader:
                assert one.node.statistics.proposals == one.node.statistics.commit_seconds.count == 0


async def test_elections_and_leader_changes_are_counted_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="wolfscale.node.elections")
    async with cluster(tmp_path) as nodes:
        await nodes.grow(3)
        old = await nodes.leader()
        assert old.node.statistics.elections_won == 1
        before = {one.node.name: one.node.statistics.leader_changes for one in nodes.running}
        await old.stop()
        rest = [one for one in nodes.running if one is not old]
        new = await nodes.leader(among=rest)
        await committed_everywhere(rest, await propose(new, b"1"))
        assert (new.node.statistics.elections_won, old.node.statistics.elections_won) == (1, 1)
        assert new.node.statistics.elections >= 1
        for one in rest:
            assert one.node.statistics.leader_changes > before[one.node.name]
    lines = [record.getMessage() for record in caplog.records]
    assert "leader elected" in lines
    assert "standing for election" in lines
    elected = [record for record in caplog.records if record.getMessage() == "leader elected"][-1]
    fields = elected.wolfscale_fields  # type: ignore[attr-defined]
    assert (fields["leader"], fields["term"]) == (new.node.name, new.node.term)


def test_storage_counts_what_it_writes_to_segments_and_measures_their_syncs(tmp_path: Path) -> None:
    storage = RaftStorage.open(tmp_path, key_of=lambda _: 0)
    counted = storage.statistics
    before, syncs = counted.appended_bytes, counted.fsync_seconds.count
    entry = Entry(index=Index(1), term=Term(1), kind=EntryKind.NOOP, data=b"x" * 1000)
    storage.handed_out([entry])
    storage.persist([Batch(entries=(entry,))])
    segments = sum(path.stat().st_size for path in tmp_path.rglob("*.wal"))
    assert counted.appended_bytes - before == segments
    assert counted.fsync_seconds.count > syncs
    storage.close()


def test_other_files_are_not_counted(tmp_path: Path) -> None:
    counted = DiskStatistics()
    files = MeasuredFiles(OsFiles(), counted)
    for name in ("base", "1.wal"):
        file = files.create(tmp_path / name)
        file.write_at(0, b"1234")
        file.sync()
        assert file.read_at(0, 4) == b"1234"
        file.close()
    assert (counted.appended_bytes, counted.writes, counted.fsync_seconds.count) == (4, 1, 1)
    assert files.list(tmp_path) == ["1.wal", "base"]
