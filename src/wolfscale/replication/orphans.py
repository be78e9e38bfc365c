"""Removes the empty shells of tables that a power cut can leave behind.

A table that was being made or dropped when the power went may leave a file of zeros that InnoDB's dictionary
does not know. InnoDB does not mind, but mariadb-backup refuses to copy such a server, for ever.
"""

from pathlib import Path

import trio

from wolfscale import logs
from wolfscale.replication.database import Database

log = logs.logger(__name__)

HEADER_BYTES = 4096
"""InnoDB's smallest page; the first page of a tablespace has its id, size and checksum in here."""

_KNOWN_TABLES = "SELECT name FROM information_schema.innodb_sys_tables"


async def remove_orphans(database: Database) -> None:
    """Delete the tablespace files without content that the running server does not know.

    Raises:
        ServerError, ConnectionLost: the server refused or is gone.
        OSError: a file cannot be read or deleted.
    """
    directory = database.data_directory
    blank = await trio.to_thread.run_sync(blank_tablespaces, directory)
    if not blank:
        return
    known = {row[0] for row in (await database.query(_KNOWN_TABLES)).rows}
    for path in blank:
        # Both are in the encoding of file names.
        if f"{path.parent.name}/{path.stem}" not in known:
            log.warning("removing what a power cut left of a table", path=path)
            path.unlink(missing_ok=True)


def blank_tablespaces(directory: Path) -> list[Path]:
    """Return the files of single tables whose first page was never written. Blocks; reads a page of each.

    Raises:
        OSError: one cannot be read.
    """
    found = []
    for path in directory.glob("*/*.ibd"):
        with path.open("rb") as file:
            if not any(file.read(HEADER_BYTES)):
                found.append(path)
    return found
