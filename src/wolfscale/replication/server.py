"""A MariaDB server as a process: what managed and external servers have in common."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import trio

from wolfscale.mysql.client import Connection
from wolfscale.mysql.errors import ConnectionLost, ServerError
from wolfscale.replication.processes import Owner, spawn
from wolfscale.replication.server_errors import ServerStartFailed
from wolfscale.replication.settings import Boot

LONGEST_SOCKET_PATH = 107
"""`sun_path` of a unix socket address holds 108 bytes with its final NUL (unix(7))."""

PROXY_HEADER = b"PROXY UNKNOWN\r\n"
"""From a network of proxy_protocol_networks a server waits for a header before it greets; from others it
closes the connection when it gets one."""

POLL_SECONDS = 0.01
ONCE_SECONDS = 600.0
"""A recovery of InnoDB takes as long as its log needs; this is for a server that hangs."""
ACCESS_DENIED = frozenset({1044, 1045, 1698})
_LOG_EXCERPT_LINES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The node's own account on the server; the same on every node since data is cloned.

    Attributes:
        user: its name, at localhost.
        password: its password; never shown.
    """

    user: str = "wolfscale"
    password: str = field(repr=False)


class Server(Protocol):
    """One MariaDB server on this machine. One task owns it; `wait_exit` may be awaited by others."""

    @property
    def data_directory(self) -> Path:
        """The server's data directory."""

    @property
    def socket_path(self) -> str:
        """Its unix socket."""

    @property
    def owner(self) -> Owner | None:
        """The account that must own the data; None: the node's own."""

    @property
    def account(self) -> Account:
        """The node's account on it."""

    @property
    def process_id(self) -> int:
        """Its process id; 0 when it does not run or is not known."""

    async def start(self, boot: Boot) -> None:
        """Start the server and wait until it lets the node's account in.

        When cancelled or failed, the server does not run.

        Raises:
            ServerStartFailed: it ended, or refused the account; carries its error log.
        """

    async def start_once(self, boot: Boot, argument: str, *, keep_log: bool) -> str:
        """Start the server's program with an argument that makes it end by itself; return its error log.

        Args:
            boot: as for `start`.
            argument: the argument.
            keep_log: return what earlier calls logged, too, so that a recovery that was killed finds it.

        Raises:
            ServerStartFailed: the program could not be started or did not end in time.
        """

    async def stop(self) -> bool:
        """Stop the server in good order; False when it had to be killed or was already dead."""

    async def kill(self) -> None:
        """Make sure, by SIGKILL, that no server runs on the data directory, of whichever start."""

    async def wait_exit(self) -> None:
        """Wait until the server's process has ended; returns at once when none runs."""

    async def create_data(self) -> None:
        """Make a fresh data directory with the node's account and schema, replacing leftovers.

        Raises:
            DataDirectoryUnusable: it cannot be made.
        """

    def data_exists(self) -> bool:
        """Whether the data directory holds a server's data."""


async def open_connection(
    socket_path: str, account: Account, *, proxy_header: bytes = PROXY_HEADER
) -> Connection:
    """Log in as the node's account.

    Args:
        socket_path: the server's socket.
        account: the account.
        proxy_header: what is sent first; empty for a server that does not know the PROXY protocol (yet).

    Raises:
        ConnectionLost, ServerError: as `Connection.connect`.
    """
    return await Connection.connect(
        user=account.user,
        password=account.password,
        socket_path=socket_path,
        proxy_header=proxy_header,
    )


async def wait_until_open(socket_path: str, account: Account, log: "LogTail") -> str:
    """Try until the server lets the account in; return its version text.

    Raises:
        ServerStartFailed: it refuses the account.
    """
    while True:
        try:
            async with await open_connection(socket_path, account) as connection:
                return connection.server_version
        except ConnectionLost:
            pass
        except ServerError as error:
            if error.errno in ACCESS_DENIED:
                text = await trio.to_thread.run_sync(log.read)
                raise access_denied(socket_path, account, error, text) from error
        await trio.sleep(POLL_SECONDS)


async def run_once(arguments: Sequence[str], *, owner: Owner | None, log: Path, keep_log: bool) -> str:
    """Run a server program that ends by itself and return its error log.

    Args:
        arguments: program and arguments; they name `log` as the error log.
        owner: the account to run as.
        log: the error log, for such starts only.
        keep_log: add to what is there.

    Raises:
        ServerStartFailed: it cannot be started, or did not end in time.
    """
    if not keep_log:
        await trio.to_thread.run_sync(partial(log.unlink, missing_ok=True))
    try:
        child = spawn(arguments, owner=owner, working_directory="/")
    except OSError as error:
        raise ServerStartFailed(f"cannot start {arguments[0]}: {error}") from error
    try:
        with trio.move_on_after(ONCE_SECONDS) as limit:
            await child.wait()
    finally:
        await child.end()
    text = await trio.to_thread.run_sync(LogTail(log, whole=True).read)
    if limit.cancelled_caught:
        raise ServerStartFailed(
            f"{arguments[0]} {arguments[-1]} did not end within {ONCE_SECONDS:.0f} s:\n{excerpt(text)}", text
        )
    return text


def access_denied(socket_path: str, account: Account, error: ServerError, log: str = "") -> ServerStartFailed:
    """Return the error for a server that does not know the node's account or its password."""
    return ServerStartFailed(
        f"the MariaDB server at {socket_path} does not let the node's account '{account.user}'@'localhost' "
        f"in ({error}): it must exist with all privileges, and have the same password on every node",
        log,
    )


class LogTail:
    """The part of an error log that a server writes from now on."""

    def __init__(self, path: Path, *, whole: bool = False) -> None:
        """Remember where the log ends now.

        Args:
            path: the log; need not exist yet.
            whole: begin at its beginning instead.
        """
        self._path = path
        try:
            self._offset = 0 if whole else path.stat().st_size
        except FileNotFoundError:
            self._offset = 0

    def read(self) -> str:
        """Return what was written since; empty when there is no file. Blocks."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""


def excerpt(log: str) -> str:
    """Return the lines of an error log that say what went wrong, newest last."""
    lines = [line for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if "[ERROR]" in line or "Assertion" in line or "signal" in line]
    chosen = (errors or lines)[-_LOG_EXCERPT_LINES:]
    return "\n".join(re.sub(r"^(\S+ +\S+) \d+ ", r"\1 ", line) for line in chosen)


def fits_socket_path(path: str) -> bool:
    """Whether a path can be a unix socket's address."""
    return len(os.fsencode(path)) <= LONGEST_SOCKET_PATH
