"""Who this node is, and the secret that it shares with its cluster.

Both live in the data directory: `identity.json` is made at the first start and never changes but for
the number that the cluster gives; `cluster.secret` is made by the node that bootstraps and copied by
hand to the others.
"""

import contextlib
import json
import os
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from wolfscale.node.errors import IdentityError, SecretMissing
from wolfscale.raft.types import NodeId

IDENTITY_FILE = "identity.json"
SECRET_FILE = "cluster.secret"
SECRET_VARIABLE = "WOLFSCALE_CLUSTER_SECRET"
MIN_SECRET_CHARACTERS = 16
MAX_SECRET_CHARACTERS = 4096
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A node's identity: a disk that is lost takes it along, and the node comes back as a new member.

    Attributes:
        id: `<name>.<8 hex digits>`, unique for ever.
        name: from the configuration.
        number: given by the cluster when it took the node in; 0 before.
    """

    id: NodeId
    name: str
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSecret:
    """The secret that all nodes of one cluster hold.

    Attributes:
        value: its bytes.
        path: the file it stands in; None when it was configured.
        created: it was made by this start.
    """

    value: bytes = field(repr=False)
    path: Path | None = None
    created: bool = False


def load_or_create_identity(data_dir: Path, name: str) -> Identity:
    """The identity that stands in a data directory, made there if there is none.

    Raises:
        IdentityError: the file is damaged, or belongs to a node of another name.
        OSError: the directory cannot be used.
    """
    path = data_dir / IDENTITY_FILE
    if not _NAME.match(name):
        raise IdentityError(path, f"{name!r} cannot be a node's name: use letters, digits, '.', '-' and '_'")
    try:
        text = path.read_text()
    except FileNotFoundError:
        return new_identity(data_dir, name)
    try:
        stored = json.loads(text)
        identity = Identity(
            id=NodeId(str(stored["id"])), name=str(stored["name"]), number=int(stored["number"])
        )
    except (ValueError, TypeError, KeyError) as error:
        raise IdentityError(
            path, "is damaged; empty the data directory to let this node join again as a new member"
        ) from error
    if identity.name != name:
        raise IdentityError(
            path, f"this data directory belongs to {identity.name!r}, the configuration says {name!r}"
        )
    return identity


def new_identity(data_dir: Path, name: str) -> Identity:
    """Make an identity that nobody has had, in place of one that may be there."""
    identity = Identity(id=NodeId(f"{name}.{secrets.token_hex(4)}"), name=name)
    save_identity(data_dir, identity)
    return identity


def save_identity(data_dir: Path, identity: Identity) -> None:
    """Put an identity on disk, whole or not at all."""
    content = {"id": identity.id, "name": identity.name, "number": identity.number}
    write_durably(data_dir / IDENTITY_FILE, json.dumps(content, indent=2) + "\n", mode=0o644)


def load_or_create_secret(data_dir: Path, configured: str | None, allow_create: bool) -> ClusterSecret:
    """The cluster's secret: configured, from the environment, from the data directory, or new.

    Args:
        data_dir: where `cluster.secret` stands or is made (mode 0600).
        configured: the secret from the configuration; wins over everything.
        allow_create: make one when there is none (the node that bootstraps).

    Raises:
        SecretMissing: there is none and none may be made; says what to copy or to set.
        IdentityError: it is too short, or its file can be read by other users.
        OSError: the file cannot be read or made.
    """
    path = data_dir / SECRET_FILE
    given = configured or os.environ.get(SECRET_VARIABLE)
    if given is not None:
        return ClusterSecret(value=_checked(path, given))
    try:
        mode = path.stat().st_mode & 0o777
        text = path.read_text()
    except FileNotFoundError:
        if not allow_create:
            raise SecretMissing(path, SECRET_VARIABLE) from None
        text = secrets.token_hex(32)
        write_durably(path, text + "\n", mode=0o600)
        return ClusterSecret(value=text.encode(), path=path, created=True)
    except UnicodeDecodeError as error:
        raise IdentityError(path, "is no cluster secret; copy the file of another node again") from error
    if mode & 0o077:
        raise IdentityError(path, f"other users can read the cluster secret: run chmod 600 {path}")
    return ClusterSecret(value=_checked(path, text), path=path)


def _checked(path: Path, text: str) -> bytes:
    text = text.strip()
    if not MIN_SECRET_CHARACTERS <= len(text) <= MAX_SECRET_CHARACTERS:
        raise IdentityError(
            path,
            f"a cluster secret has {MIN_SECRET_CHARACTERS} to {MAX_SECRET_CHARACTERS} characters; make one "
            "with: openssl rand -hex 32",
        )
    return text.encode()


def write_durably(path: Path, text: str, *, mode: int) -> None:
    """Replace a small file atomically: after a power cut it is the old one or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".new")
    with contextlib.suppress(FileNotFoundError):
        scratch.unlink()
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.rename(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
