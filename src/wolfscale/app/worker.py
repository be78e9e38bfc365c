"""A proxy worker process: `python -m wolfscale.app.worker`, started by the node and by nobody else."""

import signal
import socket
import sys

import msgspec
import trio

from wolfscale import logs
from wolfscale.app.backends import NodeBackends
from wolfscale.app.options import WorkerOptions
from wolfscale.node.dialer import Dialer
from wolfscale.node.tls import CertificateFiles, Credentials
from wolfscale.proxy.control import ControlClient
from wolfscale.proxy.errors import ControlLost
from wolfscale.proxy.statistics import Statistics
from wolfscale.proxy.worker import ProxyOptions, serve_clients

log = logs.logger(__name__)

REPORT_SECONDS = 1.0


def main() -> None:
    """Serve clients until the node is gone."""
    # The node stops its workers itself; a Ctrl-C in the terminal goes to the whole process group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    options = msgspec.json.decode(sys.stdin.buffer.read(), type=WorkerOptions)
    logs.configure(format=options.log_format, secrets=[options.secret.decode(errors="replace")])
    trio.run(_run, options)


async def _run(options: WorkerOptions) -> None:
    if options.certificates is not None:
        certificate, key, authority = options.certificates
        files = CertificateFiles(certificate=certificate, key=key, authority=authority)
        dialer = Dialer(Credentials.from_files(files))
    else:
        dialer = Dialer.from_secret(options.secret, options.name)
    listener = socket.socket(fileno=options.listen_descriptor)
    stream = trio.SocketStream(
        trio.socket.from_stdlib_socket(socket.socket(fileno=options.control_descriptor))
    )
    control = ControlClient(stream)
    backends = NodeBackends(control, dialer)
    statistics = Statistics()
    proxy_options = ProxyOptions(
        max_connections=options.max_connections,
        write_wait=options.write_wait,
        read_wait=options.read_wait,
    )
    try:
        async with stream, trio.open_nursery() as nursery:
            await nursery.start(control.run)
            nursery.start_soon(_report, control, statistics)
            nursery.start_soon(serve_clients, listener, backends, proxy_options, statistics)
    except* ControlLost:
        log.debug("the node is gone")


async def _report(control: ControlClient, statistics: Statistics) -> None:
    """Tell the node the counters once a second while they change."""
    told: dict[str, int] = {}
    while True:
        counters = statistics.as_dict()
        if counters != told:
            await control.request("report", counters=counters)
            told = counters
        await trio.sleep(REPORT_SECONDS)


if __name__ == "__main__":
    main()
