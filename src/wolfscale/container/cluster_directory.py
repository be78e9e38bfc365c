"""A directory that the nodes on one machine share: how they come by one secret, and remember the founding.

It is there for convenience. Each node keeps a copy of the secret in its own data directory, so that a lost
directory is filled again by whichever node starts next, and is not needed by nodes that have been members.
"""

import contextlib
import os
import secrets
import sys
import time
from pathlib import Path

from wolfscale.app.founding import note_path
from wolfscale.config import Config, secret_path
from wolfscale.container.errors import ContainerError
from wolfscale.durability import create_file, replace_file
from wolfscale.node.identity import IDENTITY_FILE

SECRET_FILE = "secret"
_POLL_SECONDS = 0.2


class ClusterDirectory:
    """The shared directory, seen from one node.

    Args:
        path: where it is mounted.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def configuration_path(self, node: str) -> Path:
        """Where this node's configuration goes: what `wolfscale start` notes beside it outlives its data."""
        return self._path / f"{node}.toml"

    def bring_secret(self, config: Config, *, founds: bool) -> None:
        """Put the cluster's secret into the node's data directory; waits for it where another node makes it.

        Args:
            config: the node's; one that has a secret keeps it.
            founds: whether this node may make the secret.

        Raises:
            ContainerError: a directory cannot be used.
        """
        if config.cluster.secret is not None:
            return
        own, shared = secret_path(config), self._path / SECRET_FILE
        try:
            if own.exists():
                self._offer(own.read_text(encoding="utf-8"))
                return
            if founds and not has_state(config):
                self._offer(secrets.token_hex(32) + "\n")
            self._wait_for(shared)
            own.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(own, shared.read_bytes(), mode=0o600)
        except OSError as error:
            raise unusable(Path(error.filename or self._path), error) from error

    def _offer(self, secret: str) -> None:
        """Make the secret this one unless there is one already; the first of several wins."""
        shared = self._path / SECRET_FILE
        if not shared.exists():
            with contextlib.suppress(FileExistsError):
                create_file(shared, secret.encode(), mode=0o600)

    def _wait_for(self, shared: Path) -> None:
        if not shared.exists():
            print(
                f"waiting for {shared}: the node with WOLFSCALE_BOOTSTRAP=true makes it at its first start",
                file=sys.stderr,
                flush=True,
            )
        while not shared.exists():
            time.sleep(_POLL_SECONDS)


def has_state(config: Config) -> bool:
    """Whether the node's data directory is that of a node that has been started before."""
    return (config.data_dir / IDENTITY_FILE).exists()


def may_found(config: Config, configuration: Path) -> bool:
    """Whether `--bootstrap` is right for a node that is meant to be the first.

    It is no longer when its cluster is known to have lived: then a node without data comes back as a new
    member, as every other one would.
    """
    return has_state(config) or not note_path(configuration).exists()


def unusable(path: Path, error: OSError) -> ContainerError:
    """An error about a directory, with what to do about its owner."""
    return ContainerError(
        f"{path} cannot be used: {error.strerror}. The container runs as uid {os.geteuid()}: what is mounted "
        f"there must be that user's (`chown -R {os.geteuid()}:{os.getegid()}`), and not read-only"
    )
