"""Who this node is: `identity.json` in its data directory.

It is made at the first start and never changes but for the number that the cluster gives.
"""

import json
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from wolfscale.durability import replace_file
from wolfscale.node.errors import IdentityError
from wolfscale.raft.types import NodeId

IDENTITY_FILE = "identity.json"
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
    text = json.dumps(content, indent=2) + "\n"
    replace_file(data_dir / IDENTITY_FILE, text.encode(), mode=0o644)
