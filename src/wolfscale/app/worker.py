"""A proxy worker process: `python -m wolfscale.app.worker`, started by the node and by nobody else."""

import os
import signal
import socket
import sys

import trio

from wolfscale import logs
from wolfscale.app.backends import open_leader_session
from wolfscale.app.client_tls import client_tls
from wolfscale.app.options import WorkerOptions, decoded
from wolfscale.node.dialer import Dialer
from wolfscale.node.tls import CertificateFiles, Credentials
from wolfscale.proxy.acknowledged import Acknowledged
from wolfscale.proxy.connections import Bounds
from wolfscale.proxy.consistency import Level
from wolfscale.proxy.control import ControlClient
from wolfscale.proxy.errors import ControlLost
from wolfscale.proxy.listener import Listener
from wolfscale.proxy.statistics import Statistics
from wolfscale.proxy.view import View
from wolfscale.proxy.worker import ControlledBackends, open_local_socket

log = logs.logger(__name__)

REPORT_SECONDS = 0.25


def main() -> None:
    """Serve clients until the node is gone."""
    # The node stops its workers itself; a Ctrl-C in the terminal goes to the whole process group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    options = decoded(sys.stdin.buffer.read())
    logs.configure(
        format=options.log_format,
        level=options.log_level,
        secrets=[options.secret.decode(errors="replace")],
    )
    trio.run(_run, options)


async def _run(options: WorkerOptions) -> None:
    if options.certificates is not None:
        certificate, key, authority = options.certificates
        files = CertificateFiles(certificate=certificate, key=key, authority=authority)
        dialer = Dialer(Credentials.from_files(files))
    else:
        dialer = Dialer.from_secret(options.secret, options.name)
    clients = socket.socket(fileno=options.listen_descriptor)
    control_socket = socket.socket(fileno=options.control_descriptor)
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(control_socket))
    control = ControlClient(stream)
    acknowledged = Acknowledged(options.acknowledged_descriptor, options.place)
    os.close(options.acknowledged_descriptor)

    async def open_leader(view: View, proxy_header: bytes) -> trio.abc.Stream:
        if view.is_leader:
            return await open_local_socket(view, proxy_header)
        return await open_leader_session(dialer, view, proxy_header)

    try:
        async with stream, trio.open_nursery() as nursery:
            await nursery.start(control.run)
            listener = Listener(
                ControlledBackends(control, open_leader),
                bounds=Bounds(
                    replica_seconds=options.read_wait,
                    leader_seconds=options.write_wait,
                    consistency=Level(options.consistency),
                    max_lag=options.max_lag,
                ),
                max_sessions=options.max_connections,
                tls=client_tls(options.tls, options.secret),
                acknowledged=acknowledged,
            )
            control.handler = listener.answer
            nursery.start_soon(_report, control, listener.statistics)
            await listener.serve([clients])
    except* ControlLost:
        log.debug("the node is gone")


async def _report(control: ControlClient, statistics: Statistics) -> None:
    """Tell the node the counters while they change, so often that a rate over a second is about right."""
    told: dict[str, int] = {}
    while True:
        counters = statistics.as_dict()
        if counters != told:
            await control.request("report", counters=counters)
            told = counters
        await trio.sleep(REPORT_SECONDS)


if __name__ == "__main__":
    main()
