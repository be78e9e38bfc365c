"""Accepting clients: bounded in number, bounded in time until they are logged in."""

import contextlib
import socket
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import msgspec
import trio

from wolfscale import logs
from wolfscale.errors import WolfScaleError
from wolfscale.mysql.errors import ConnectionLost, RemoteProtocolError, ServerError
from wolfscale.mysql.proxy_protocol import build_local, build_v1
from wolfscale.mysql.results import build_error
from wolfscale.mysql.transport import PacketStream
from wolfscale.proxy.acknowledged import Acknowledged
from wolfscale.proxy.admission import Admission
from wolfscale.proxy.backend import RECEIVE_BYTES, Backends
from wolfscale.proxy.classify import Classifier
from wolfscale.proxy.client_tls import ClientTls
from wolfscale.proxy.connections import Bounds
from wolfscale.proxy.dialogue import LogInRefused
from wolfscale.proxy.engine import Engine
from wolfscale.proxy.errors import ControlLost, ProxyError
from wolfscale.proxy.handshake import relay_log_in
from wolfscale.proxy.idle_sessions import IdleSessions
from wolfscale.proxy.kill_calls import KillCall, Killed
from wolfscale.proxy.session import Session
from wolfscale.proxy.session_ids import SessionIds, first_id
from wolfscale.proxy.statistics import Statistics
from wolfscale.proxy.view import Views
from wolfscale.sockets import NonblockingListener, NonblockingStream

log = logs.logger(__name__)

ER_CON_COUNT_ERROR = 1040
ER_HANDSHAKE_ERROR = 1043
MAX_SESSIONS = 2000
MAX_LOG_INS = 256
"""Connections of one worker that are logging in at a time; more wait for their turn, up to the time-out."""


class Listener:
    """Serves clients on listening sockets.

    Attributes:
        statistics: counters.
    """

    def __init__(
        self,
        backends: Backends,
        *,
        bounds: Bounds | None = None,
        max_sessions: int = MAX_SESSIONS,
        max_log_ins: int = MAX_LOG_INS,
        tls: ClientTls | None = None,
        acknowledged: Acknowledged | None = None,
        of_session: Callable[[], AbstractContextManager[Backends]] | None = None,
    ) -> None:
        """Prepare.

        Args:
            backends: where the servers are.
            bounds: how long sessions wait.
            max_sessions: clients that may be connected.
            max_log_ins: of these, that may be logging in.
            tls: what clients are offered; None: nothing.
            acknowledged: shared with the proxy's other processes; None: there are none.
            of_session: each session's own backends, where not all read from the same server.
        """
        self.statistics = Statistics()
        self._backends = backends
        self._of_session = of_session or (lambda: contextlib.nullcontext(backends))
        self._tls = tls
        self._bounds = bounds or Bounds()
        self._acknowledged = acknowledged or Acknowledged()
        self._max_sessions = max_sessions
        self._admission = Admission(max_sessions=max_sessions, max_log_ins=max_log_ins)
        self._classifier = Classifier(node_account=backends.views.current.node_account)
        self._sessions: dict[int, Session] = {}
        self._idle_sessions = IdleSessions()
        self._ids = SessionIds()
        self._taken_ids: set[int] = set()

    async def serve(
        self,
        sockets: Sequence[socket.socket],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept clients until cancelled, which closes all their sessions.

        Args:
            sockets: listening already, non-blocking or not.
            task_status: started when clients may connect.
        """
        listeners = [NonblockingListener(item) for item in sockets]
        engine = Engine(self._backends.views)

        async def on_client(stream: NonblockingStream) -> None:
            await self._on_client(stream, engine)

        with contextlib.closing(engine):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(engine.run)
                nursery.start_soon(self._idle_sessions.run)
                nursery.start_soon(self._fence)
                nursery.start_soon(self._let_apply)
                await nursery.start(trio.serve_listeners, on_client, listeners)
                task_status.started()

    async def answer(self, name: str, arguments: dict[str, Any]) -> Any:
        """Answer what the node asks about this worker's sessions.

        Raises:
            WolfScaleError: it asks what this worker does not know.
        """
        match name:
            case "kill":
                call = msgspec.convert(arguments["call"], KillCall)
                return msgspec.to_builtins(await self._kill(call))
            case "sessions":
                return [session.described() for session in list(self._sessions.values())]
            case "uploads":
                return sum(session.connections.passing_on for session in self._sessions.values())
        raise WolfScaleError(f"a proxy worker knows no request {name!r}: worker and node differ in version")

    async def _kill(self, call: KillCall) -> Killed:
        meant = [session for session in self._sessions.values() if session.is_meant(call)]
        allowed = [session for session in meant if call.privileged or session.user == call.by]
        done: list[bool] = []

        async def kill(session: Session) -> None:
            interruption = session.interruption
            done.append(await (interruption.end() if call.connection else interruption.interrupt()))

        async with trio.open_nursery() as nursery:
            for session in allowed:
                nursery.start_soon(kill, session)
        return Killed(done=sum(done), denied=len(meant) - len(allowed), waiting=len(done) - sum(done))

    async def _fence(self) -> None:
        """After a change of term, cut the connections to old leaders once they have had time to answer."""
        views = self._backends.views
        term = views.current.term
        async with trio.open_nursery() as nursery:
            while True:
                await views.changes.wait_until(lambda seen=term: views.current.term != seen)  # type: ignore[misc]
                term = views.current.term
                nursery.start_soon(self._cut_before, term)

    async def _cut_before(self, term: int) -> None:
        await trio.sleep(self._bounds.fence_seconds)
        for session in list(self._sessions.values()):
            await session.connections.fence(term)

    async def _let_apply(self) -> None:
        """Roll local transactions back whose locks keep the local MariaDB from applying the log."""
        stuck_at: dict[Views, int] = {}
        while True:
            await trio.sleep(self._bounds.apply_seconds)
            servers: dict[Views, list[Session]] = defaultdict(list)
            for session in self._sessions.values():
                servers[session.connections.backends.views].append(session)
            before, stuck_at = stuck_at, {}
            for views, sessions in servers.items():
                view = views.current
                if view.applied_sequence < view.committed_sequence:
                    stuck_at[views] = view.applied_sequence
                    if view.applied_sequence == before.get(views):
                        await self._cut_local_transactions(sessions)

    async def _cut_local_transactions(self, sessions: Sequence[Session]) -> None:
        """Of sessions that read from one server."""
        inside = [session for session in sessions if session.in_local_transaction]
        with contextlib.suppress(ControlLost):
            if inside and await inside[0].connections.backends.is_applying_blocked():
                for session in inside:
                    await session.connections.cut_local()

    async def _on_client(self, stream: NonblockingStream, engine: Engine) -> None:
        statistics = self.statistics
        client = PacketStream(stream, receive_bytes=RECEIVE_BYTES)
        address = _peer_address(stream)
        if statistics.sessions >= self._max_sessions or not self._admission.arrive(address):
            statistics.refused_connections += 1
            await _tell(client, ER_CON_COUNT_ERROR, "08004", "Too many connections", sequence=0)
            return
        statistics.sessions += 1
        self._classifier.node_account = self._backends.views.current.node_account
        statistics.sessions_total += 1
        views = self._backends.views
        id = self._ids.take(first_id(views.current.number, views.place), self._taken_ids)
        self._taken_ids.add(id)
        try:
            with contextlib.suppress(OSError):
                stream.plain_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._of_session() as backends:
                try:
                    session = await self._log_in(client, stream, engine, address, id, backends)
                finally:
                    self._admission.leave(address)
                if session is not None:
                    self._sessions[id] = session
                    try:
                        await session.run()
                    finally:
                        del self._sessions[id]
        except Exception as error:
            # A bug of ours: this session ends by it, and no other one does.
            statistics.sessions_failed += 1
            log.error("a session failed", error=error)
        finally:
            statistics.sessions -= 1
            self._taken_ids.discard(id)
            statistics.classified_from_cache = self._classifier.hits
            statistics.classified_anew = self._classifier.misses
            await client.aclose_forcefully()

    async def _log_in(
        self,
        client: PacketStream,
        stream: NonblockingStream,
        engine: Engine,
        address: str,
        id: int,
        backends: Backends,
    ) -> Session | None:
        try:
            with trio.fail_after(self._bounds.log_in_seconds):
                async with self._admission.turn(address):
                    header = _proxy_header(stream)
                    logged_in = await relay_log_in(client, backends, header, self._tls, id)
            return Session(
                client,
                logged_in,
                backends=backends,
                classifier=self._classifier,
                statistics=self.statistics,
                bounds=self._bounds,
                acknowledged=self._acknowledged,
                engine=engine,
                idle_sessions=self._idle_sessions,
                id=id,
            )
        except LogInRefused:
            pass
        except ProxyError as error:
            await _tell(client, error.errno, error.sqlstate, str(error))
        except RemoteProtocolError as error:
            await _tell(client, error.errno, error.sqlstate, str(error))
        except ServerError as error:
            await _tell(client, error.errno, error.sqlstate, error.message)
        except trio.TooSlowError:
            message = (
                f"No log-in within {self._bounds.log_in_seconds:g} s: the client was slow, too many others "
                "were logging in, or no MariaDB could be reached: is the cluster up? See `wolfscale status`"
            )
            await _tell(client, ER_HANDSHAKE_ERROR, "08S01", message)
        except ConnectionLost:
            pass
        self.statistics.log_ins_failed += 1
        return None


def _peer_address(stream: NonblockingStream) -> str:
    """The client's address without its port; the same for all that have none."""
    try:
        name = stream.plain_socket.getpeername()
    except OSError:
        return ""
    return str(name[0]) if isinstance(name, tuple) else ""


def _proxy_header(stream: NonblockingStream) -> bytes:
    try:
        if stream.plain_socket.family not in (socket.AF_INET, socket.AF_INET6):
            return build_local()
        return build_v1(stream.plain_socket.getpeername()[:2], stream.plain_socket.getsockname()[:2])
    except OSError as error:
        raise ConnectionLost("the client is gone") from error


async def _tell(
    client: PacketStream, errno: int, sqlstate: str, message: str, *, sequence: int | None = None
) -> None:
    """Send an error to a client that is not logged in, if it still listens; then say that nothing follows."""
    with contextlib.suppress(ConnectionLost), trio.move_on_after(2):
        await client.write(build_error(errno, sqlstate, message), sequence=sequence)
        if isinstance(client.stream, NonblockingStream):
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await client.stream.send_eof()
