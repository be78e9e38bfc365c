"""What a node derives from its configuration before anything runs: directory, lock, secret, account."""

import fcntl
import hashlib
import hmac
import os
from pathlib import Path

from wolfscale.config import Config, find_secret, make_secret, secret_path
from wolfscale.errors import WolfScaleError
from wolfscale.node.identity import ClusterSecret
from wolfscale.node.tls import CertificateFiles
from wolfscale.replication.server import Account

_ACCOUNT_PURPOSE = b"wolfscale node account"


class DataDirectoryInUse(WolfScaleError):
    """Another process runs on the same data directory."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"another wolfscale process uses {path}: stop it first, or give this node a data_dir of its own"
        )


def lock_data_directory(path: Path) -> int:
    """Make the directory (0700) and hold it for this process; returns the lock's descriptor.

    Raises:
        DataDirectoryInUse: somebody else holds it.
        OSError: it cannot be made.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise DataDirectoryInUse(path) from error
    return descriptor


def cluster_secret(config: Config, *, bootstrap: bool) -> ClusterSecret:
    """Find the cluster's secret, or make it when this node bootstraps.

    Raises:
        SecretMissingError: there is none and none may be made.
        OSError: it cannot be written.
    """
    if not bootstrap:
        return ClusterSecret(value=find_secret(config))
    path = secret_path(config)
    existed = path.exists()
    value = make_secret(config)
    created = path.exists() and not existed
    return ClusterSecret(value=value, path=path if created else None, created=created)


def node_account(config: Config, secret: bytes) -> Account:
    """The node's account on its MariaDB: as configured, else with a password derived from the secret.

    Deriving it makes it the same on every node, which it must be: accounts are cloned with the data.
    """
    configured = config.database.password
    if configured is not None:
        password = configured.get_secret_value()
    else:
        password = hmac.new(secret, _ACCOUNT_PURPOSE, hashlib.sha256).hexdigest()
    return Account(user=config.database.user, password=password)


def certificate_files(config: Config) -> CertificateFiles | None:
    """The certificates that the operator gave for the links; None: the cluster makes its own."""
    cluster = config.cluster
    if cluster.tls_cert is None or cluster.tls_key is None or cluster.tls_ca is None:
        return None
    return CertificateFiles(certificate=cluster.tls_cert, key=cluster.tls_key, authority=cluster.tls_ca)
