"""Nodes in one process over real loopback TLS, each in a directory of its own."""

import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from unittest.mock import patch

import trio

from wolfscale.node import ClusterSecret, Node, NodeOptions
from wolfscale.node.storage import Persistable, RaftStorage
from wolfscale.raft.types import Index, Suffrage
from wolfscale.wal import WalOptions

SECRET = b"a secret for tests, long enough"
PATIENCE = 60.0


class BreakableStorage(RaftStorage):
    """The real storage, which can be told to fail."""

    failure: Exception | None = None
    _released: threading.Event | None = None

    @contextmanager
    def hang(self) -> Iterator[None]:
        """Let every write take until the end of the block."""
        self._released = threading.Event()
        try:
            yield
        finally:
            self._released.set()

    def persist(self, batches: Sequence[Persistable]) -> None:
        if self.failure is not None:
            raise self.failure
        if self._released is not None:
            self._released.wait(PATIENCE)
        super().persist(batches)


def open_storage(directory: Path) -> BreakableStorage:
    """Open a storage whose entries have their number as key; nothing is synced, to be quick."""
    storage = BreakableStorage.open(
        directory,
        wal_options=WalOptions(fsync=False, segment_bytes=1 << 20),
        key_of=lambda data: int(data) if data.isdigit() else 0,
    )
    assert isinstance(storage, BreakableStorage)
    return storage


class Running:
    """A node that runs in a nursery of its own."""

    def __init__(self, node: Node, storage: BreakableStorage, options: NodeOptions) -> None:
        self.node = node
        self.storage = storage
        self.options = options
        self.error: Exception | None = None
        self._scope = trio.CancelScope()
        self._done = trio.Event()

    async def start(self, nursery: trio.Nursery) -> None:
        await nursery.start(self._run)

    async def _run(self, *, task_status: trio.TaskStatus[None]) -> None:
        started = False

        class Status:
            def started(self, value: None = None) -> None:
                nonlocal started
                started = True
                task_status.started()

        try:
            with self._scope:
                await self.node.run(task_status=Status())
        except Exception as error:
            self.error = error
            if not started:
                task_status.started()
        finally:
            self.storage.close()
            self._done.set()

    async def stop(self) -> None:
        """End it as a killed process ends: every connection is torn down, nobody is told."""
        self._scope.cancel()
        await self._done.wait()

    async def stopped(self) -> None:
        await self._done.wait()


class Cluster:
    """Makes nodes that know each other."""

    def __init__(self, directory: Path, nursery: trio.Nursery) -> None:
        self.directory = directory
        self.nursery = nursery
        self.running: list[Running] = []

    async def start(
        self,
        name: str,
        *,
        bootstrap: bool = False,
        peers: Sequence[str] | None = None,
        bind_address: str = "127.0.0.1:0",
        directory: str | None = None,
        secret: bytes = SECRET,
        suffrage: Suffrage = Suffrage.VOTER,
        election_timeout: float = 1.0,
        prepare: Callable[[Node], None] = lambda _: None,
    ) -> Running:
        data_dir = self.directory / (directory or name)
        data_dir.mkdir(exist_ok=True)
        if peers is None:
            peers = [one.node.address for one in self.running]
        options = NodeOptions(
            name=name,
            data_dir=data_dir,
            bind_address=bind_address,
            secret=ClusterSecret(value=secret),
            peers=tuple(peers),
            bootstrap=bootstrap,
            suffrage=suffrage,
            heartbeat_interval=0.1,
            join_patience=0.3 if directory == "twin" else PATIENCE,
            election_timeout=election_timeout,
        )
        storage = await trio.to_thread.run_sync(open_storage, data_dir / "log")
        node = await Node.create(options, storage=storage)
        prepare(node)
        running = Running(node, storage, options)
        await running.start(self.nursery)
        self.running.append(running)
        return running

    async def grow(self, count: int, *, election_timeout: float = 1.0) -> list[Running]:
        """Bootstrap one node and let others join until `count` vote."""
        for number in range(1, count + 1):
            one = await self.start(f"node-{number}", bootstrap=number == 1, election_timeout=election_timeout)
            await one.node.become_voter()
        return self.running

    async def restart(self, old: Running) -> Running:
        """Start a stopped node again, on its disk and its port."""
        self.running.remove(old)
        return await self.start(
            old.node.name,
            bind_address=old.node.address,
            directory=old.options.data_dir.name,
            peers=old.options.peers,
            election_timeout=old.options.election_timeout,
        )

    async def leader(self, *, among: Sequence[Running] | None = None) -> Running:
        """Wait until one of the nodes leads and has committed something of its term."""
        nodes = self.running if among is None else among
        while True:
            for one in nodes:
                if one.node.is_leader and one.node.term_start_committed:
                    return one
            await trio.sleep(0.005)


def _no_sync(_descriptor: int) -> None:
    """Nodes here are stopped, machines are not: other tests look after power cuts."""


@asynccontextmanager
async def cluster(directory: Path) -> AsyncIterator[Cluster]:
    """A cluster in which every wait is bounded; everything is stopped at the end."""
    with trio.fail_after(PATIENCE), patch("os.fsync", _no_sync), patch("os.fdatasync", _no_sync):
        async with trio.open_nursery() as nursery:
            yield Cluster(directory, nursery)
            nursery.cancel_scope.cancel()


async def committed_everywhere(nodes: Sequence[Running], index: int) -> None:
    for one in nodes:
        await one.node.changes.wait_until(lambda one=one: one.node.commit_index >= index)  # type: ignore[misc]


async def propose(leader: Running, *datas: bytes) -> Index:
    """Propose on a leader and wait until it is committed."""
    term = leader.node.term
    index = leader.node.log.propose(datas, term=term)
    await leader.node.wait_committed(index, term)
    return index
