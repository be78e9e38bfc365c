"""What a node tells its proxy workers at their start; apart, so that a worker imports little."""

import os
from pathlib import Path
from typing import Any

import msgspec

from wolfscale.app.client_tls import TlsOptions
from wolfscale.logs import LogFormat


class WorkerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is told on its standard input.

    Attributes:
        name: the node's name, for its certificate and its log lines.
        secret: the cluster's secret.
        certificates: certificate, key and authority files where they are given.
        listen_descriptor: the listening socket.
        control_descriptor: the control stream's socket.
        acknowledged_descriptor: memory for `Acknowledged`.
        place: this worker's there.
        max_connections: clients at once in this worker.
        write_wait: seconds that a statement waits for a leader.
        read_wait: seconds that a read waits for the local MariaDB.
        consistency: how much reads must have seen, unless a session chooses otherwise.
        max_lag: transactions that the local MariaDB may be behind and still serve reads; 0: any number.
        tls: what clients are offered; None: no TLS.
        log_format: what log lines look like.
        log_level: events below it are dropped.
    """

    name: str
    secret: bytes
    certificates: tuple[Path, Path, Path] | None
    listen_descriptor: int
    control_descriptor: int
    acknowledged_descriptor: int
    place: int
    max_connections: int
    write_wait: float
    read_wait: float
    consistency: str
    max_lag: int
    tls: TlsOptions | None
    log_format: LogFormat
    log_level: int


def encoded(options: WorkerOptions) -> bytes:
    """As a worker reads it from its standard input: JSON, paths as text."""
    return msgspec.json.encode(options, enc_hook=os.fspath)


def decoded(text: bytes) -> WorkerOptions:
    """What `encoded` has made, as it was."""
    return msgspec.json.decode(text, type=WorkerOptions, dec_hook=_path)


def _path(_kind: type, value: Any) -> Path:
    """The one type that msgspec does not know itself."""
    return Path(value)
