"""How tools beside a node reach its MariaDB: a file in the data directory that only its owner reads."""

from pathlib import Path

import msgspec

from wolfscale.durability import replace_file

FILE_NAME = "database-access"


class DatabaseAccess(msgspec.Struct, frozen=True, kw_only=True):
    """The node's account on its own MariaDB."""

    socket_path: str
    user: str
    password: str


def save_database_access(data_dir: Path, access: DatabaseAccess) -> None:
    """Write the file (0600)."""
    replace_file(data_dir / FILE_NAME, msgspec.json.encode(access), mode=0o600)


def admin_connection_info(data_dir: Path) -> tuple[str, str, str]:
    """Return socket path, user and password of a node's account on its own MariaDB.

    Raises:
        OSError: the node has not been started yet, or its files may not be read.
    """
    access = msgspec.json.decode((data_dir / FILE_NAME).read_bytes(), type=DatabaseAccess)
    return access.socket_path, access.user, access.password
