"""Child processes that never outlive the node, and the processes that an earlier run left behind.

Linux only: the parent-death signal and process descriptors (`pidfd`) do the work.
"""

import ctypes
import os
import pwd
import select
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import trio

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)

_SERVER_NAMES = frozenset({"mariadbd", "mysqld"})

LEFTOVER_EXIT_SECONDS = 60.0
"""A killed process that a stalled disk holds in the kernel goes when the disk does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The account that owns the data directory and runs the server."""

    name: str
    uid: int
    gid: int


def server_owner(account: str = "mysql") -> Owner | None:
    """Return the account that servers run as; None when the node is not root and everything is its own.

    Raises:
        KeyError: the node is root and the account does not exist.
    """
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam(account)
    return Owner(name=account, uid=entry.pw_uid, gid=entry.pw_gid)


def _die_with_parent(parent: int) -> Callable[[], None]:
    def prepare() -> None:
        # After the change of user, which clears the signal. SIGKILL, since SIGTERM would make a primary
        # commit what waits for its acknowledgement.
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return prepare


class Child:
    """A child process: dies with the node, is waited for without a thread."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._descriptor = os.pidfd_open(process.pid)
        self.pid = process.pid
        self.stdout = process.stdout
        self.stdin = process.stdin

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def send_signal(self, number: int) -> None:
        """Signal the process; nothing happens when it has ended."""
        self._process.send_signal(number)

    def kill_group(self) -> None:
        """Kill the process and its own children; it must have been spawned with its own group."""
        if self._process.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)

    async def wait(self) -> int:
        """Wait until the process has ended and return its exit code; cancelling leaves it running.

        Several tasks may wait: each waits on a descriptor of its own, since one can only have one reader.
        """
        await trio.lowlevel.checkpoint()
        if self._process.poll() is None:
            descriptor = os.dup(self._descriptor)
            try:
                while self._process.poll() is None:
                    await trio.lowlevel.wait_readable(descriptor)
            finally:
                os.close(descriptor)
        return self._process.returncode

    async def end(self) -> int:
        """Kill the process if it runs, and wait for it; cannot be cancelled."""
        with trio.CancelScope(shield=True):
            self._process.kill()
            code = await self.wait()
        self.close()
        return code

    def close(self) -> None:
        """Give back the descriptors; call it once the process has ended."""
        if self._descriptor >= 0:
            trio.lowlevel.notify_closing(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
        for pipe in (self.stdin, self.stdout):
            if pipe is not None:
                pipe.close()


def spawn(
    arguments: Sequence[str],
    *,
    owner: Owner | None = None,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    stdout: int | IO[bytes] = subprocess.DEVNULL,
    stderr: int | IO[bytes] | None = subprocess.DEVNULL,
    own_group: bool = False,
    working_directory: str | None = None,
    pass_descriptors: Sequence[int] = (),
) -> Child:
    """Start a child that is killed when the calling thread ends.

    The parent-death signal is tied to the *thread* that forks, so this blocks the event loop's thread for
    a few milliseconds and must not be moved to a worker thread, which ends when it is idle.

    Raises:
        OSError: the program cannot be started.
    """
    process = subprocess.Popen(
        list(arguments),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=own_group,
        cwd=working_directory,
        pass_fds=tuple(pass_descriptors),
        user=owner.uid if owner else None,
        group=owner.gid if owner else None,
        extra_groups=[] if owner else None,
        preexec_fn=_die_with_parent(os.getpid()),  # noqa: PLW1509 - two system calls, no lock is taken
    )
    return Child(process)


async def run_to_end(
    arguments: Sequence[str], *, owner: Owner | None = None, working_directory: str | None = None
) -> tuple[int, str]:
    """Run a program to its end and return exit code and what it printed; cancelling kills it.

    Raises:
        OSError: the program cannot be started.
    """
    child = spawn(
        arguments,
        owner=owner,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        own_group=True,
        working_directory=working_directory,
    )
    assert child.stdout is not None
    output = bytearray()
    try:
        async with trio.lowlevel.FdStream(os.dup(child.stdout.fileno())) as stream:
            while chunk := await stream.receive_some(65536):
                output += chunk
        await child.wait()
    finally:
        child.kill_group()
        code = await child.end()
    return code, output.decode(errors="replace")


def servers_on(directory: Path) -> list[int]:
    """Return the ids of the MariaDB servers that run on a data directory. Blocks briefly.

    A server changes into its data directory, so this finds one however it was started, and also one that
    has not opened its socket yet. Other users' servers are seen by root only. The directory itself is
    compared, not its path: in a container on this machine the same path is another directory.
    """
    wanted = _identity(directory)
    path = directory.resolve()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if (entry / "comm").read_text().strip() not in _SERVER_NAMES:
                continue
            link = entry / "cwd"
            identity = _identity(link)
            # A disk that fails may not tell; then the path must do.
            if identity == wanted if identity and wanted else link.readlink() == path:
                found.append(int(entry.name))
        except OSError:
            continue  # it ended meanwhile, or is another user's
    return found


def _identity(directory: Path) -> tuple[int, int] | None:
    try:
        status = directory.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def kill_servers_on(directory: Path) -> list[int]:
    """Kill the MariaDB servers that run on a data directory and wait until they are gone. Blocks.

    Returns:
        Their process ids.

    Raises:
        TimeoutError: one did not go.
        PermissionError: one is another user's.
    """
    return [pid for pid in servers_on(directory) if _kill_server(pid, directory)]


def _kill_server(pid: int, directory: Path) -> bool:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        # The id may have been given to another process since it was found; the descriptor cannot be.
        if pid not in servers_on(directory):
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if not poll.poll(LEFTOVER_EXIT_SECONDS * 1000):
            raise TimeoutError(f"process {pid} was killed and does not end: its disk may hang")
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True
