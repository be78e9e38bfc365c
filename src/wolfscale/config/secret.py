"""Where a node has the cluster's secret from, and how the first node makes it."""

import contextlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from wolfscale.config.errors import SecretMissingError
from wolfscale.config.models import MINIMUM_SECRET_CHARACTERS, Config
from wolfscale.durability import create_file

SECRET_VARIABLE = "WOLFSCALE_SECRET"


def secret_path(config: Config) -> Path:
    """The file in the node's data directory that holds the secret when the configuration does not."""
    return config.data_dir / "cluster-secret"


def find_secret(config: Config, environment: Mapping[str, str] | None = None) -> bytes:
    """The cluster's secret: configured, else `WOLFSCALE_SECRET`, else the file in the data directory.

    Raises:
        SecretMissingError: there is none, or it is too short; the reason says what to copy or to set.
    """
    if config.cluster.secret is not None:
        return config.cluster.secret.get_secret_value().encode()
    path = secret_path(config)
    text = (os.environ if environment is None else environment).get(SECRET_VARIABLE)
    source = SECRET_VARIABLE
    if text is None:
        source = str(path)
        try:
            text = path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            raise SecretMissingError(
                "cluster.secret",
                None,
                "this node does not know the cluster's secret: copy the file cluster-secret from the data "
                f"directory of the node that was started with --bootstrap to {path} (mode 0600), or set "
                f"cluster.secret_file, or the variable {SECRET_VARIABLE}; start with --bootstrap only to "
                "make a new cluster",
            ) from None
        except OSError as error:
            raise SecretMissingError(
                "cluster.secret", None, f"{path} cannot be read: {error.strerror}"
            ) from error
    if len(text) < MINIMUM_SECRET_CHARACTERS:
        raise SecretMissingError(
            "cluster.secret", None, f"{source} holds fewer than {MINIMUM_SECRET_CHARACTERS} characters"
        )
    return text.encode()


def make_secret(config: Config) -> bytes:
    """The cluster's secret for a bootstrapping node: found, or made now (0600, synced, never overwritten).

    Raises:
        SecretMissingError: what is there cannot be used.
        OSError: the file cannot be written.
    """
    with contextlib.suppress(SecretMissingError):
        return find_secret(config)
    path = secret_path(config)
    if path.exists():
        return find_secret(config)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        create_file(path, secrets.token_hex(32).encode() + b"\n", mode=0o600)
    return find_secret(config)
