"""`wolfscale proxy`: takes MySQL clients where no node is, and sends them on to the leader.

It watches the cluster through whichever of its peers answers, and needs nothing but the cluster's secret.
"""

import itertools
import signal
from collections.abc import Sequence

import trio

from wolfscale import logs
from wolfscale.app.backends import open_leader_session
from wolfscale.app.client_tls import client_tls, prepare
from wolfscale.app.identity import certificate_files
from wolfscale.app.tls_settings import tls_options
from wolfscale.app.workers import bind_clients
from wolfscale.config import Config, find_secret
from wolfscale.node.dialer import Dialer
from wolfscale.node.errors import NodeError
from wolfscale.node.tls import Credentials
from wolfscale.proxy.accounts import Account
from wolfscale.proxy.connections import Bounds
from wolfscale.proxy.consistency import Level
from wolfscale.proxy.control import ControlClient, Handler
from wolfscale.proxy.errors import ControlLost
from wolfscale.proxy.kill_calls import KillCall, Killed
from wolfscale.proxy.listener import Listener
from wolfscale.proxy.view import View, Views

log = logs.logger(__name__)

RETRY_SECONDS = 0.2
NAME = "proxy"


def run_proxy(config: Config, listen: str, peers: tuple[str, ...]) -> int:
    """Run a proxy without a MariaDB beside it until SIGTERM or SIGINT; returns the exit code.

    Raises:
        SecretMissingError: it does not know the cluster's secret.
        CertificateUnusable: the certificate for clients cannot be used.
        OSError: the address cannot be listened on.
    """
    return trio.run(_run, config, listen, peers)


class ClusterBackends:
    """The proxy's `Backends` through any of several nodes.

    Args:
        dialer: proves the secret.
        peers: addresses of nodes, one after the other.
    """

    def __init__(self, dialer: Dialer, peers: Sequence[str]) -> None:
        self.views = Views()
        self.handler: Handler | None = None
        """Answers what a node asks the proxy."""
        self._dialer = dialer
        self._peers = peers
        self._control: ControlClient | None = None
        self._failures = {peer: logs.Repetition() for peer in peers}

    async def watch(self) -> None:
        """Follow the cluster until cancelled, through the next peer whenever one is lost."""
        for peer in itertools.cycle(self._peers):
            try:
                stream = await self._dialer.open_stream(peer, "watch")
                control = ControlClient(stream)
                control.handler = self.handler
                async with stream, trio.open_nursery() as nursery:
                    await nursery.start(control.run)
                    log.info("following the cluster", through=peer)
                    self._control = control
                    await self._follow(control.views)
            except* (NodeError, ControlLost, OSError) as group:
                reason = str(group.exceptions[0])
                if times := self._failures[peer].times(reason):
                    log.warning("cannot follow the cluster", through=peer, reason=reason, times=times)
            self._control = None
            self.views.update(View())
            await trio.sleep(RETRY_SECONDS)

    async def _follow(self, views: Views) -> None:
        while True:
            self.views.place = views.place
            self.views.update(views.current)
            await views.changes.wait()

    async def open_local(self, _proxy_header: bytes) -> trio.abc.Stream:
        """There is none."""
        raise OSError("there is no MariaDB beside this proxy")

    async def open_leader(self, proxy_header: bytes) -> trio.abc.Stream:
        """A stream to the leader's MariaDB, which gets the PROXY header first."""
        return await open_leader_session(self._dialer, self.views.current, proxy_header)

    async def accounts(self, user: str) -> Sequence[Account]:
        """All accounts that a client of this name may be logged in to, as the followed node knows them."""
        return await self._present_control().accounts(user)

    async def intent_begin(self, connection_id: int) -> None:
        """Make the leader's intent mark durable."""
        await self._present_control().intent_begin(connection_id)

    async def intent_end(self, connection_id: int, *, finished: bool) -> None:
        """That statement has ended."""
        await self._present_control().intent_end(connection_id, finished=finished)

    async def members(self) -> list[dict[str, str]]:
        """The members as the followed node knows them."""
        return await self._present_control().members()

    async def read_position(self) -> int:
        """What is committed, confirmed by a majority."""
        return await self._present_control().read_position()

    async def spread_settings(
        self, *, term: int, names: Sequence[str], defaults: Sequence[str], user: str
    ) -> None:
        """Told to the followed node, which tells the leader's."""
        await self._present_control().spread_settings(term=term, names=names, defaults=defaults, user=user)

    async def settings(self) -> list[dict[str, str]]:
        """As the followed node knows them."""
        return await self._present_control().settings()

    async def kill(self, call: KillCall) -> Killed:
        """Asked of the followed node."""
        return await self._present_control().kill(call)

    async def interrupt(self, connection_id: int, *, leader: bool, term: int, connection: bool) -> bool:
        """Asked of the followed node."""
        return await self._present_control().interrupt(
            connection_id, leader=leader, term=term, connection=connection
        )

    async def is_applying_blocked(self) -> bool:
        """There is no MariaDB beside this proxy."""
        return False

    async def sessions(self) -> list[dict[str, str]]:
        """As the followed node knows them."""
        return await self._present_control().sessions()

    async def take_ids(self, count: int) -> list[int]:
        """New ids of the node that is followed."""
        return await self._present_control().take_ids(count)

    def _present_control(self) -> ControlClient:
        if self._control is None:
            raise ControlLost("no node of the cluster can be reached")
        return self._control


async def _run(config: Config, listen: str, peers: tuple[str, ...]) -> int:
    secret = find_secret(config)
    logs.hide(secret.decode(errors="replace"))
    files = certificate_files(config)
    dialer = Dialer(Credentials.from_files(files)) if files else Dialer.from_secret(secret, NAME)
    clients = bind_clients(listen)
    backends = ClusterBackends(dialer, peers)
    bounds = Bounds(
        replica_seconds=config.proxy.read_wait_ms / 1000,
        leader_seconds=config.proxy.write_wait_ms / 1000,
        consistency=Level(config.proxy.consistency),
        max_lag=config.proxy.max_lag,
    )
    tls = tls_options(config, node=NAME, listen=listen)
    if tls is not None:
        prepare(tls, secret, None)
    proxy = Listener(
        backends,
        bounds=bounds,
        max_sessions=config.proxy.max_connections,
        tls=client_tls(tls, secret),
    )
    backends.handler = proxy.answer
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as received:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(backends.watch)
            nursery.start_soon(proxy.serve, [clients])
            log.info("taking MySQL clients", address=listen)
            async for number in received:
                log.info("told to stop", signal=signal.Signals(number).name)
                break
            nursery.cancel_scope.cancel()
    return 0
