"""Starting, finding and signalling the processes of one node."""

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import trio

_SERVER_NAMES = frozenset({"mariadbd", "mysqld"})
_NODE_VARIABLES = ("WOLFSCALE_CONFIG", "WOLFSCALE_SECRET")


def start_node_process(config: Path, log: Path, *, bootstrap: bool) -> subprocess.Popen[bytes]:
    """Start `wolfscale start` in a process group of its own, its output appended to `log`.

    The child is terminated when this process dies, however it dies (`setpriv` of util-linux sets
    PR_SET_PDEATHSIG and execs; a preexec function would run Python between fork and exec). The kernel
    ties that signal to the *thread* that forks, so call this in a thread that stays: the main one.
    """
    command = ["setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "wolfscale", "start"]
    command += ["--config", str(config)] + (["--bootstrap"] if bootstrap else [])
    environment = {name: value for name, value in os.environ.items() if name not in _NODE_VARIABLES}
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
            env=environment,
        )


def server_processes(data_dir: Path) -> list[int]:
    """Process ids of MariaDB servers that run on anything below a directory, whoever started them."""
    prefix = f"{data_dir}/"
    found = []
    for pid, arguments in _processes():
        if os.path.basename(arguments[0]) in _SERVER_NAMES and any(
            argument.partition("=")[2].startswith(prefix) for argument in arguments
        ):
            found.append(pid)
    return found


def with_descendants(pid: int, *, without: Sequence[int] = ()) -> list[int]:
    """A process and all that descend from it, parents first, leaving out subtrees that begin in `without`."""
    children: dict[int, list[int]] = {}
    for child, _ in _processes():
        parent = _parent(child)
        if parent is not None:
            children.setdefault(parent, []).append(child)
    found: list[int] = []
    waiting = [pid]
    while waiting:
        current = waiting.pop()
        if current not in without:
            found.append(current)
            waiting.extend(children.get(current, ()))
    return found


def send_signal(pids: Sequence[int], number: signal.Signals) -> None:
    """Send a signal to processes; those that are gone do not matter."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def kill_now(pids: Sequence[int]) -> None:
    """Send SIGKILL and return when the processes are gone, whoever their parent is; blocks."""
    descriptors = []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            descriptors.append(os.pidfd_open(pid))
            os.kill(pid, signal.SIGKILL)
    for descriptor in descriptors:
        # A killed process is gone as soon as it is next scheduled, which nothing can keep it from.
        select.select([descriptor], [], [])
        os.close(descriptor)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not yet waited for does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return status.rpartition(b") ")[2][:1] != b"Z"


async def wait_ended(pid: int) -> None:
    """Return when a process has ended, child of ours or not; at once when there is none."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        await trio.lowlevel.checkpoint()
        return
    try:
        await trio.lowlevel.wait_readable(descriptor)
    finally:
        os.close(descriptor)


def resident_bytes(pid: int) -> int:
    """Memory that a process holds in RAM; 0 when it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_bytes().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def processor_seconds(pid: int) -> float:
    """Processor time that a process has used so far; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
    except OSError:
        return 0.0
    # utime and stime, the 14th and 15th field of the line (proc(5)); the cut left the third in front.
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _processes() -> Iterator[tuple[int, list[str]]]:
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                raw = Path(entry.path, "cmdline").read_bytes()
            except OSError:
                continue
            if raw:
                yield int(entry.name), os.fsdecode(raw).rstrip("\0").split("\0")


def _parent(pid: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
    except OSError:
        return None
    return int(fields[1])
