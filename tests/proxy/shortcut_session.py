"""A session's `Shortcut` over servers that are not there: what they send is fed by hand."""

import dataclasses
import socket

import msgspec
import pytest
import trio

from wolfscale.mysql.constants import Command
from wolfscale.mysql.framing import packet
from wolfscale.mysql.transport import PacketStream
from wolfscale.proxy.backend import BackendConnection, Credentials
from wolfscale.proxy.classify import Classifier
from wolfscale.proxy.connections import Bounds, Connections
from wolfscale.proxy.execution import Executor
from wolfscale.proxy.prepared import PreparedStatements
from wolfscale.proxy.router import SessionFacts
from wolfscale.proxy.shortcut import Shortcut, Verdict
from wolfscale.proxy.state import SessionState
from wolfscale.proxy.statement import Kind, Statement
from wolfscale.proxy.statistics import Statistics
from wolfscale.proxy.view import View, Views
from wolfscale.sockets import NonblockingStream

READ = b"SELECT v FROM t WHERE id = 1"
WRITE = b"UPDATE t SET v = 'x' WHERE id = 1"


@dataclasses.dataclass
class Following:
    """A session on a follower with both connections open, and its shortcut."""

    shortcut: Shortcut
    executor: Executor
    classifier: Classifier
    statistics: Statistics
    views: Views
    reader: BackendConnection
    writer: BackendConnection

    def know(self, *texts: bytes) -> None:
        """Have texts classified, as the session's task does when they come for the first time."""
        for text in texts:
            self.classifier.classify(text, self.executor.memory.mode)

    def change(self, **fields: object) -> None:
        """Another view."""
        self.views.update(msgspec.structs.replace(self.views.current, **fields))

    def query(self, text: bytes) -> Verdict:
        """A COM_QUERY comes."""
        return self.shortcut.request(packet(bytes((Command.QUERY,)) + text, 0))

    def begin(self, connection: BackendConnection, statement: Statement, command: int) -> None:
        """Have a command of any kind under way, as if it had been let through."""
        self.shortcut.begin(command, statement, connection)

    async def run(self, *_: object) -> None:
        """Nothing here is waited for."""
        raise AssertionError


def following(capabilities: int, client_capabilities: int | None = None, **view: object) -> Following:
    """A session as it is between two commands.

    Args:
        capabilities: those of its connections to servers.
        client_capabilities: those of the client; the same where it tracks sessions.
        view: what differs from the usual.
    """
    client = capabilities if client_capabilities is None else client_capabilities
    views = Views()
    views.update(msgspec.structs.replace(View(term=1, writable=True, database_ready=True), **view))
    statistics, classifier = Statistics(), Classifier()
    state, facts, bounds = SessionState(), SessionFacts(), Bounds()
    reader, writer = _connection(capabilities, leader=False), _connection(capabilities, leader=True)
    backends = _Backends(views)
    credentials = Credentials(
        response=None,  # type: ignore[arg-type]
        sha1_password=None,
        proxy_header=b"",
        client_capabilities=client,
    )
    connections = Connections(
        reader,
        backends=backends,  # type: ignore[arg-type]
        credentials=credentials,
        state=state,
        facts=facts,
        bounds=bounds,
        statistics=statistics,
    )
    connections.writer = writer
    executor = Executor(
        client=PacketStream(_Nothing()),
        client_capabilities=client,
        connections=connections,
        backends=backends,  # type: ignore[arg-type]
        state=state,
        facts=facts,
        bounds=bounds,
        statistics=statistics,
    )
    shortcut = Shortcut(
        client_capabilities=client,
        executor=executor,
        prepared=PreparedStatements(executor, backends),  # type: ignore[arg-type]
        classifier=classifier,
        statistics=statistics,
        views=views,
    )
    return Following(shortcut, executor, classifier, statistics, views, reader, writer)


def _connection(capabilities: int, *, leader: bool) -> BackendConnection:
    stream = NonblockingStream(socket.socket())
    stream.socket.close()
    return BackendConnection(
        PacketStream(stream),
        capabilities=capabilities,
        status=2,
        connection_id=7,
        term=1,
        leader=leader,
        server_version="10.11.2-MariaDB",
    )


@dataclasses.dataclass
class _Backends:
    views: Views

    def choose(self) -> bool:
        return False


class _Nothing(trio.abc.Stream):
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        pytest.fail(f"{bytes(data)!r} was sent by the session's task")

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        raise AssertionError

    async def wait_send_all_might_not_block(self) -> None:
        raise AssertionError

    async def aclose(self) -> None:
        pass


PLAIN_READ = Statement(kind=Kind.READ, reason="")
PLAIN_WRITE = Statement(kind=Kind.WRITE, reason="", may_write=True)
ANYTHING = Statement(kind=Kind.OTHER, reason="", may_write=True, one_result=False)
