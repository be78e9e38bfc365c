"""What a node's recorder takes down once a second: rates, pace, gaps, refusals."""

import datetime
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
import trio.testing
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from wolfscale import logs
from wolfscale.api.models import ProxyStatus
from wolfscale.app.announcement import Announcement, first_end
from wolfscale.app.observation.recorder import Rates, Recorder, lag_groups, take_regularly
from wolfscale.config import parse
from wolfscale.node import ClusterSecret, Node, NodeOptions, RaftStorage
from wolfscale.replication.notice import MemberNotice, Pace
from wolfscale.wal import WalOptions

PATIENCE = 60.0


def announcement(directory: Path) -> Announcement:
    document = f'[node]\nid = "node-1"\ndata_dir = "{directory}"\n[wal]\nfsync = false\n'
    return Announcement(parse(document, path=Path("wolfscale.toml"), environment={}))


@dataclass
class Recorded:
    """A node of its own that leads, its recorder, and a proxy's counters to be set."""

    node: Node
    recorder: Recorder
    announcement: Announcement
    counters: dict[str, int] = field(default_factory=dict)

    async def wait_samples(self, more: int) -> None:
        wanted = len(self.recorder.history().series.sessions) + more
        with trio.fail_after(PATIENCE):
            while len(self.recorder.history().series.sessions) < wanted:
                await trio.sleep(0.01)


@asynccontextmanager
async def recording(directory: Path) -> AsyncIterator[Recorded]:
    storage = RaftStorage.open(directory / "log", wal_options=WalOptions(fsync=False), key_of=lambda _: 0)
    options = NodeOptions(
        name="node-1",
        data_dir=directory,
        bind_address="127.0.0.1:0",
        secret=ClusterSecret(value=b"a secret for tests, long enough"),
        bootstrap=True,
        heartbeat_interval=0.1,
        election_timeout=1.0,
    )
    node = await Node.create(options, storage=storage)
    announced = announcement(directory)
    counters: dict[str, int] = {}
    recorder = Recorder(
        node=node,
        storage=storage,
        lifecycle=None,
        proxy=lambda: ProxyStatus(sessions=2, counters=counters),
        announcement=announced,
    )
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(recorder.run)
            await nursery.start(node.run)
            with trio.fail_after(PATIENCE):
                await node.changes.wait_until(lambda: node.is_leader and node.term_start_committed)
            yield Recorded(node, recorder, announced, counters)
            nursery.cancel_scope.cancel()
    finally:
        storage.close()


async def test_leader_takes_down_rates_and_tells_the_pace_of_its_commits(tmp_path: Path) -> None:
    async with recording(tmp_path) as recorded:
        await recorded.wait_samples(1)
        recorded.counters["local_statements"] = 0
        await recorded.wait_samples(1)
        recorded.counters["local_statements"] = 500
        index = recorded.node.log.propose([b"1", b"2"], term=recorded.node.term)
        await recorded.node.wait_committed(index, recorded.node.term)
        with trio.fail_after(PATIENCE):
            while not any(recorded.recorder.history().series.commit_p99_ms):
                await trio.sleep(0.01)
        series = recorded.recorder.history().series
        assert recorded.announcement.pace.commit_p99_ms is not None
        assert max(value or 0.0 for value in series.commit_p99_ms) < PATIENCE * 1000
        assert any(series.commits_per_second)
        assert any(series.local_per_second)
        assert any(series.log_bytes_per_second)
        assert series.sessions[-1] == 2.0
        # A witness has nothing to apply.
        assert set(series.lag_groups) == {None}


@pytest.mark.parametrize(
    ("committed", "applied", "lag"), [(0, 0, 0), (9, 7, 2), (7, 9, 0), (5000, 0, None), (1, 1, 0)]
)
def test_lag_is_unknown_until_the_server_was_asked(committed: int, applied: int, lag: int | None) -> None:
    assert lag_groups(committed, applied) == lag


async def test_events_of_the_node_are_kept_while_it_runs(tmp_path: Path) -> None:
    async with recording(tmp_path) as recorded:
        kinds = [event.kind for event in recorded.recorder.events()]
        assert {"election", "leader"} <= set(kinds)
        logs.logger("wolfscale.replication.lifecycle").info("MariaDB is primary", term=1)
        assert recorded.recorder.events()[0].kind == "promotion"
    logs.logger("wolfscale.replication.lifecycle").info("MariaDB is primary", term=2)
    assert recorded.recorder.events()[0].fields.get("term") != "2"


async def test_refused_statements_become_one_event_with_their_number(tmp_path: Path) -> None:
    async with recording(tmp_path) as recorded:
        recorded.counters["refused_statements"] = 3
        await recorded.wait_samples(1)
        recorded.counters["refused_statements"] = 5
        await recorded.wait_samples(1)
        (event,) = [event for event in recorded.recorder.events() if event.kind == "refusal"]
        assert event.fields == {"count": "3"}


async def test_programs_that_cut_a_session_loose_become_an_event(tmp_path: Path) -> None:
    async with recording(tmp_path) as recorded:
        recorded.counters["programs_cut_loose"] = 2
        await recorded.wait_samples(2)
        (event,) = [event for event in recorded.recorder.events() if event.kind == "divergence"]
        assert event.fields == {"count": "2"}


@pytest.mark.autojump
async def test_seconds_in_which_the_process_stood_still_are_told_before_the_next_sample() -> None:
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, trio.testing.MockClock)
    calls: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_regularly, lambda: calls.append("take"), lambda n: calls.append(f"miss {n}"))
        for jump in (0.0, 1.0, 1.0, 5.3, 0.7, 1.0):
            clock.jump(jump)
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    # Due at 0, 1, 2; at 7.3 those of 3 to 6 are lost and that of 7 is late; 8 and 9 come in time.
    assert calls == ["take", "take", "take", "miss 4", "take", "take", "take"]


def test_rates_are_unknown_without_an_earlier_value_and_never_negative() -> None:
    rates = Rates()
    assert rates.since(10.0, {"a": 5, "b": None}) == {"a": None, "b": None}
    assert rates.since(12.0, {"a": 9, "b": 1}) == {"a": 2.0, "b": None}
    assert rates.since(13.0, {"a": 4, "b": 1}) == {"a": 0.0, "b": 0.0}
    assert rates.since(14.0, {"a": None, "b": 4}) == {"a": None, "b": 3.0}
    assert rates.since(15.0, {"a": 4, "b": 4}) == {"a": None, "b": 0.0}


def test_announcement_adds_machine_and_pace_to_a_notice(tmp_path: Path) -> None:
    announced = announcement(tmp_path)
    announced.pace = Pace(commit_p50_ms=1.0, commit_p99_ms=2.0)
    notice = announced.complete(MemberNotice(applied_sequence=7))
    assert (notice.applied_sequence, notice.pace) == (7, announced.pace)
    assert notice.host.disk_total_bytes >= notice.host.disk_free_bytes > 0
    assert notice.host.version
    assert not notice.host.fsync
    assert announced.complete(MemberNotice()).host.clock >= notice.host.clock > 1e9


def test_announcement_of_a_directory_that_is_gone_says_nothing_of_its_disk(tmp_path: Path) -> None:
    notice = announcement(tmp_path / "nowhere").complete(MemberNotice())
    assert (notice.host.disk_total_bytes, notice.host.disk_free_bytes) == (0, 0)


def certificate(path: Path, *, ends: datetime.datetime) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "node-1")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(ends - datetime.timedelta(days=90))
        .not_valid_after(ends)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return path


def test_announcement_tells_when_the_first_given_certificate_ends(tmp_path: Path) -> None:
    later = datetime.datetime(2040, 5, 1, tzinfo=datetime.UTC)
    sooner = datetime.datetime(2030, 5, 1, tzinfo=datetime.UTC)
    paths = [certificate(tmp_path / "a.pem", ends=later), certificate(tmp_path / "b.pem", ends=sooner)]
    assert first_end(paths) == sooner.timestamp()
    assert first_end([]) == 0.0


def test_certificate_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    (tmp_path / "broken.pem").write_text("no certificate")
    assert first_end([tmp_path / "broken.pem", tmp_path / "absent.pem"]) == 0.0
