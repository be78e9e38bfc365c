"""How a command ends: exit codes, and errors that say what to do next."""

import sys
from enum import IntEnum
from typing import NoReturn

from wolfscale.errors import InvariantError, WolfScaleError


class Exit(IntEnum):
    """The exit codes of every command (a number because the system wants one)."""

    OK = 0
    """It is done; for `status`: the node is healthy."""
    FAILED = 1
    """It did not work, or what was looked at is not in order."""
    USAGE = 2
    """The command line or the configuration cannot be used."""
    UNREACHABLE = 3
    """No node answers."""


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


def expected_errors(error: BaseException) -> list[WolfScaleError]:
    """The errors of ours in an error or a nursery's group of them; none when anything in it is a bug."""
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
    return []


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
