"""What a node adds to its database's notice before the peers get it: itself, its machine, its pace."""

import datetime
import os
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec
from cryptography import x509

from wolfscale import __version__, logs
from wolfscale.config import Config
from wolfscale.replication.notice import HostNotice, MemberNotice, Pace

log = logs.logger(__name__)

LOOK_SECONDS = 10.0
"""How old the figures about disk and certificates may be."""


class Announcement:
    """Completes notices; one for each node.

    Attributes:
        pace: how fast the node commits; kept up to date by whoever measures it.
    """

    def __init__(self, config: Config) -> None:
        self.pace = Pace()
        self._api_url = config.api_url()
        self._mysql_address = config.mysql_address()
        self._data_dir = config.data_dir
        given = (config.cluster.tls_cert, config.cluster.tls_ca, config.api.tls_cert)
        self._certificates = [path for path in given if path is not None]
        self._fsync = config.wal.fsync
        self._looked_at = float("-inf")
        self._host = HostNotice()

    def complete(self, notice: MemberNotice) -> MemberNotice:
        """The notice with what the database does not know."""
        now = time.monotonic()
        if now - self._looked_at > LOOK_SECONDS:
            self._looked_at = now
            self._host = self._look()
        host = msgspec.structs.replace(self._host, clock=time.time())
        return msgspec.structs.replace(
            notice, api_url=self._api_url, mysql_address=self._mysql_address, host=host, pace=self.pace
        )

    def _look(self) -> HostNotice:
        total, free = _room(self._data_dir)
        return HostNotice(
            version=__version__,
            disk_total_bytes=total,
            disk_free_bytes=free,
            fsync=self._fsync,
            certificate_ends=first_end(self._certificates),
        )


def _room(directory: Path) -> tuple[int, int]:
    """Size of a directory's file system, and what is left of it for this user."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return 0, 0
    return found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize


def first_end(certificates: Iterable[Path]) -> float:
    """When the first of the certificates expires, in seconds since 1970; 0 when none does."""
    ends: list[float] = []
    for path in certificates:
        try:
            found = x509.load_pem_x509_certificates(path.read_bytes())
        except (OSError, ValueError) as error:
            log.debug("a certificate cannot be read", path=path, reason=str(error))
            continue
        ends += [_end(certificate) for certificate in found]
    return min(ends, default=0.0)


def _end(certificate: x509.Certificate) -> float:
    # The attribute with a time zone is there since cryptography 42.
    end: datetime.datetime = certificate.not_valid_after_utc
    return end.timestamp()
