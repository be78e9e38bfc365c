"""How a command ends: exit codes, and errors that say what to do next."""

import errno
import os
import sys
from enum import IntEnum
from typing import Final, NoReturn

from wolfscale.errors import InvariantError, WolfScaleError


class Exit(IntEnum):
    """The exit codes of every command (a number because the system wants one)."""

    OK = 0
    """It is done; for `status`: the node can serve clients."""
    FAILED = 1
    """It did not work, or what was looked at is not in order."""
    USAGE = 2
    """The command line or the configuration cannot be used."""
    UNREACHABLE = 3
    """No node answers."""
    REFUSED = 4
    """A node answers and wants a token, or another one."""
    INTERRUPTED = 130
    """Ended by Ctrl-C."""


class CommandError(WolfScaleError):
    """An expected end of a command: what happened, what to do next, and the exit code.

    Attributes:
        exit_code: what the process ends with.
        next_step: one line for the user; may be empty.
    """

    def __init__(self, message: str, *, exit_code: Exit = Exit.FAILED, next_step: str = "") -> None:
        self.exit_code = exit_code
        self.next_step = next_step
        super().__init__(message)


_ANOTHER_USER: Final = "run it as a user who may, or give that user the file or directory"
_FULL: Final = "make room on that file system; nothing that was acknowledged is lost"
_SYSTEM_ERRORS: Final = {
    errno.EACCES: _ANOTHER_USER,
    errno.EPERM: _ANOTHER_USER,
    errno.EROFS: "mount it for writing, or choose another directory",
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EIO: "the disk reports a fault: see the kernel's log (`dmesg`)",
    errno.EADDRINUSE: "stop what listens there (`ss -ltnp` shows it), or choose another port",
    errno.EADDRNOTAVAIL: "choose an address of this machine (`ip address` lists them)",
    errno.EAFNOSUPPORT: "choose an address of this machine (`ip address` lists them)",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path: a part of it is no directory",
    errno.EISDIR: "check the path: it is a directory",
    errno.EEXIST: "check the path: something else is there",
    errno.ELOOP: "check the path: its links lead in a circle",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.EMFILE: "allow the process more open files (LimitNOFILE= in a unit, `ulimit -n` in a shell)",
    errno.ENFILE: "allow the system more open files (`sysctl fs.file-max`)",
    errno.ENOMEM: "free some memory",
}
"""The system's errors that a user can cause, each with the way out; any other one is a bug of ours."""


def expected_errors(error: BaseException) -> list[WolfScaleError]:
    """The errors that need no traceback in an error or a nursery's group; none when any of it is a bug."""
    if isinstance(error, BaseExceptionGroup):
        found: list[WolfScaleError] = []
        for inner in error.exceptions:
            expected = expected_errors(inner)
            if not expected:
                return []
            found += expected
        return found
    if isinstance(error, WolfScaleError) and not isinstance(error, InvariantError):
        return [error]
    if isinstance(error, OSError) and error.errno in _SYSTEM_ERRORS:
        return [_as_command_error(error)]
    return []


def _as_command_error(error: OSError) -> CommandError:
    number = error.errno or 0
    message = error.strerror or os.strerror(number)
    if error.filename is not None:
        message = f"{os.fsdecode(error.filename)}: {message}"
    return CommandError(message, next_step=_SYSTEM_ERRORS[number])


def leave(*errors: WolfScaleError) -> NoReturn:
    """Print expected errors without a traceback and end the process with the first one's exit code."""
    code = Exit.FAILED
    sys.stdout.flush()
    for error in reversed(errors):
        code, next_step = Exit.FAILED, ""
        if isinstance(error, CommandError):
            code, next_step = error.exit_code, error.next_step
        print(f"wolfscale: {error}", file=sys.stderr)
        if next_step:
            print(f"  next: {next_step}", file=sys.stderr)
    raise SystemExit(int(code))
