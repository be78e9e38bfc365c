"""The node's proxy worker processes: started, fed with views, answered, counted, restarted when they die.

A worker gets the listening socket and its end of the control stream as descriptors, and what it must know
as JSON on its standard input, so that no secret stands in its arguments or environment.
"""

import os
import socket
import subprocess
import sys
from collections import Counter
from typing import Any

import msgspec
import trio

from wolfscale import logs
from wolfscale.api.models import ProxyStatus
from wolfscale.app.account_lookup import AccountLookup
from wolfscale.app.client_tls import prepare
from wolfscale.app.global_settings import GlobalSettingCalls
from wolfscale.app.ids import NodeIds
from wolfscale.app.intents import IntentCalls
from wolfscale.app.options import WorkerOptions, encoded
from wolfscale.app.questions import NodeQuestions
from wolfscale.app.session_calls import SessionCalls
from wolfscale.app.tls_settings import tls_options
from wolfscale.app.views import ViewPublisher
from wolfscale.config import Config, parse_address
from wolfscale.errors import WolfScaleError
from wolfscale.proxy.control import serve_control
from wolfscale.proxy.errors import ControlLost
from wolfscale.proxy.kill_calls import KillCall
from wolfscale.proxy.session_ids import WORKERS
from wolfscale.replication.database import Database
from wolfscale.replication.processes import Child, spawn

log = logs.logger(__name__)

BACKLOG = 1024
RESTART_SECONDS = 0.5
REMOTE = -1
"""Stands for the number of a worker that is none of this node's."""
REMOTE_PAUSE_SECONDS = 0.001
"""A proxy elsewhere follows all nodes, and a commit is news of each: under load several are told at once."""


def bind_clients(address: str) -> socket.socket:
    """A listening socket for MySQL clients.

    Raises:
        OSError: the address is taken, or not this machine's.
    """
    parsed = parse_address(address)
    family = socket.AF_INET6 if ":" in parsed.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((parsed.host, parsed.port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        reason = (
            f"cannot take MySQL clients at {address}: {error.strerror}. Choose another [proxy] bind_address"
        )
        raise OSError(error.errno, reason) from error
    return listener


class Workers:
    """All workers of one node.

    Args:
        config: the node's configuration.
        secret: the cluster's secret.
        listener: the clients' socket, shared by all workers.
        publisher: what the workers are pushed; somebody else runs it.
        acknowledged_descriptor: memory that the workers share with this process, which has place 0 there;
            `run` closes it.
        database: asked for accounts.
        intents: where intents go.
        settings: where global variables go.
        sessions: where KILL goes; asks the workers.
        ids: asked for ids.
        questions: asked for what is committed, and for the members.

    Raises:
        CertificateUnusable: the operator's certificate for clients cannot be used.
    """

    def __init__(
        self,
        *,
        config: Config,
        secret: bytes,
        listener: socket.socket,
        publisher: ViewPublisher,
        acknowledged_descriptor: int,
        database: Database,
        intents: IntentCalls,
        settings: GlobalSettingCalls,
        sessions: SessionCalls,
        ids: NodeIds,
        questions: NodeQuestions,
    ) -> None:
        self._config = config
        self._secret = secret
        self._listener = listener
        self._publisher = publisher
        self._acknowledged_descriptor = acknowledged_descriptor
        self._accounts = AccountLookup(database)
        self._intents = intents
        self._settings = settings
        self._sessions = sessions
        self._places: set[int] = set()
        self._ids = ids
        self._questions = questions
        self._reports: dict[int, dict[str, int]] = {}
        self._past: Counter[str] = Counter()
        self._tls = tls_options(config, node=config.node.id, listen=config.proxy.bind_address)
        if self._tls is not None:
            prepare(self._tls, secret, config.data_dir)

    async def run(self) -> None:
        """Keep the workers running until cancelled; then none is left."""
        try:
            async with trio.open_nursery() as nursery:
                for number in range(self._config.proxy.workers):
                    nursery.start_soon(self._keep_running, number)
        finally:
            os.close(self._acknowledged_descriptor)

    def status(self) -> ProxyStatus:
        """Where the proxy listens, its sessions and counters, summed over the workers."""
        total = Counter(self._past)
        for report in self._reports.values():
            total.update(report)
        sessions = total.pop("sessions", 0)
        address = self._config.proxy.bind_address
        return ProxyStatus(address=address, sessions=sessions, counters=dict(total))

    async def _keep_running(self, number: int) -> None:
        ends = logs.Repetition()
        while True:
            code = await self._run_one(number)
            report = self._reports.pop(number, {})
            report.pop("sessions", None)
            self._past.update(report)
            if times := ends.times(code):
                log.warning(
                    "a proxy worker ended; starting another", worker=number, exit_code=code, times=times
                )
            await trio.sleep(RESTART_SECONDS)

    async def _run_one(self, number: int) -> int:
        ours, theirs = socket.socketpair()
        with theirs:
            child = self._spawn(theirs, place=number + 1)
        try:
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._serve, number, stream)
                code = await child.wait()
                nursery.cancel_scope.cancel()
            return code
        finally:
            await child.end()

    def _spawn(self, control: socket.socket, place: int) -> Child:
        descriptors = (self._listener.fileno(), control.fileno(), self._acknowledged_descriptor)
        child = spawn(
            [sys.executable, "-m", "wolfscale.app.worker"],
            stdin=subprocess.PIPE,
            stderr=None,
            pass_descriptors=descriptors,
        )
        assert child.stdin is not None
        # The whole text fits into the pipe, so this does not block.
        with child.stdin as pipe:
            pipe.write(encoded(self._options(*descriptors, place)))
        return child

    def _options(
        self, listen_descriptor: int, control_descriptor: int, acknowledged_descriptor: int, place: int
    ) -> WorkerOptions:
        proxy, cluster = self._config.proxy, self._config.cluster
        certificates = None
        if cluster.tls_cert and cluster.tls_key and cluster.tls_ca:
            certificates = (cluster.tls_cert, cluster.tls_key, cluster.tls_ca)
        return WorkerOptions(
            name=self._config.node.id,
            secret=self._secret,
            certificates=certificates,
            listen_descriptor=listen_descriptor,
            control_descriptor=control_descriptor,
            acknowledged_descriptor=acknowledged_descriptor,
            place=place,
            max_connections=max(1, proxy.max_connections // proxy.workers),
            write_wait=proxy.write_wait_ms / 1000,
            read_wait=proxy.read_wait_ms / 1000,
            consistency=proxy.consistency,
            max_lag=proxy.max_lag,
            tls=self._tls,
            log_format=logs.current_format(),
            log_level=logs.current_level(),
        )

    async def watch(self, _kind: str, _header: bytes, stream: trio.abc.Stream) -> None:
        """Serve a proxy on another machine, which knows this node only."""
        await self._serve(REMOTE, stream)

    async def _serve(self, number: int, stream: trio.abc.Stream) -> None:
        async def handle(name: str, arguments: dict[str, Any]) -> Any:
            return await self._handle(number, name, arguments)

        # Two workers of a place give two sessions the same id; only more than there are places share one.
        place = next((place for place in range(WORKERS) if place not in self._places), WORKERS - 1)
        self._places.add(place)
        publisher = self._publisher
        remote = number == REMOTE
        try:
            await serve_control(
                stream,
                publisher.remote_views if remote else publisher.views,
                handle,
                place=place,
                callers=self._sessions.workers,
                pause_seconds=REMOTE_PAUSE_SECONDS if remote else 0.0,
            )
        except* ControlLost as group:
            log.debug("the control stream of a worker ended", worker=number, reason=str(group.exceptions[0]))
        finally:
            self._places.discard(place)

    async def _handle(self, number: int, name: str, arguments: dict[str, Any]) -> Any:
        match name:
            case "accounts":
                return await self._accounts.accounts(str(arguments["user"]))
            case "ids":
                return await self._ids.take(int(arguments["count"]))
            case "read_position":
                return await self._questions.read_position()
            case "spread_settings":
                await self._settings.spread(
                    term=int(arguments["term"]),
                    names=arguments["names"],
                    defaults=arguments["defaults"],
                    user=str(arguments["user"]),
                )
            case "kill":
                call = msgspec.convert(arguments["call"], KillCall)
                return msgspec.to_builtins(await self._sessions.kill(call))
            case "interrupt":
                return await self._sessions.interrupt(
                    int(arguments["connection_id"]),
                    leader=bool(arguments["leader"]),
                    term=int(arguments["term"]),
                    connection=bool(arguments["connection"]),
                )
            case "is_applying_blocked":
                return await self._sessions.is_applying_blocked()
            case "sessions":
                return await self._sessions.listed()
            case "settings":
                return await self._settings.listed()
            case "members":
                return self._questions.members()
            case "intent_begin":
                await self._intents.begin(int(arguments["connection_id"]))
            case "intent_end":
                finished = bool(arguments["finished"])
                await self._intents.end(int(arguments["connection_id"]), finished=finished)
            case "report" if number != REMOTE:
                self._reports[number] = {str(key): int(value) for key, value in arguments["counters"].items()}
            case _:
                raise WolfScaleError(
                    f"this node knows no request {name!r}: worker and node differ in version"
                )
        return None
