"""`wolfscale proxy`: takes MySQL clients where no node is; they read at one of the followers each.

It follows all nodes of the cluster, which it learns from those that it is given, and needs nothing but the
cluster's secret.
"""

import functools
import signal

import trio

from wolfscale import logs
from wolfscale.app.client_tls import client_tls, prepare
from wolfscale.app.followed_cluster import FollowedCluster
from wolfscale.app.identity import certificate_files
from wolfscale.app.session_backends import SessionBackends, session_backends
from wolfscale.app.tls_settings import tls_options
from wolfscale.app.workers import bind_clients
from wolfscale.config import Config, find_secret
from wolfscale.node.dialer import Dialer
from wolfscale.node.tls import Credentials
from wolfscale.proxy.connections import Bounds
from wolfscale.proxy.consistency import Level
from wolfscale.proxy.listener import Listener
from wolfscale.proxy.read_choice import DELAY_SECONDS, Limits

log = logs.logger(__name__)

NAME = "proxy"


def run_proxy(config: Config, listen: str, peers: tuple[str, ...]) -> int:
    """Run a proxy without a MariaDB beside it until SIGTERM or SIGINT; returns the exit code.

    Raises:
        SecretMissingError: it does not know the cluster's secret.
        CertificateUnusable: the certificate for clients cannot be used.
        OSError: the address cannot be listened on.
    """
    return trio.run(_run, config, listen, peers)


async def _run(config: Config, listen: str, peers: tuple[str, ...]) -> int:
    secret = find_secret(config)
    logs.hide(secret.decode(errors="replace"))
    files = certificate_files(config)
    dialer = Dialer(Credentials.from_files(files)) if files else Dialer.from_secret(secret, NAME)
    clients = bind_clients(listen)
    bounds = Bounds(
        replica_seconds=config.proxy.read_wait_ms / 1000,
        leader_seconds=config.proxy.write_wait_ms / 1000,
        consistency=Level(config.proxy.consistency),
        max_lag=config.proxy.max_lag,
    )
    # A read waits so long before the leader answers it: after that another follower is the better one.
    seconds = max(DELAY_SECONDS, bounds.replica_seconds)
    cluster = FollowedCluster(dialer, peers, Limits(transactions=bounds.max_lag, seconds=seconds))
    tls = tls_options(config, node=NAME, listen=listen)
    if tls is not None:
        prepare(tls, secret, None)
    proxy = Listener(
        SessionBackends(cluster),
        bounds=bounds,
        max_sessions=config.proxy.max_connections,
        tls=client_tls(tls, secret),
        of_session=functools.partial(session_backends, cluster),
    )
    cluster.handler = proxy.answer
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as received:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cluster.watch)
            nursery.start_soon(proxy.serve, [clients])
            log.info("taking MySQL clients", address=listen)
            async for number in received:
                log.info("told to stop", signal=signal.Signals(number).name)
                break
            nursery.cancel_scope.cancel()
    return 0
