"""What can go wrong with the durable log, and what to do about it."""

import errno
from pathlib import Path

from wolfscale.errors import WolfScaleError


class WalError(WolfScaleError):
    """The root of the log's errors."""


class WalCorrupt(WalError):
    """Bytes that had been synced are not there any more, or are others. Nothing was changed."""

    def __init__(self, file: Path, offset: int, why: str) -> None:
        self.file = file
        self.offset = offset
        self.why = why
        super().__init__(
            f"{file}, byte {offset}: {why}. This log cannot be trusted: check the disk, then give this node "
            "a new identity and an empty data directory, so that it is filled from the other nodes"
        )


class WalFull(WalError):
    """There is no room on the disk. Nothing was appended; the same call may succeed once there is room."""

    def __init__(self, file: Path, cause: OSError) -> None:
        self.file = file
        super().__init__(
            f"{file}: {cause.strerror or cause}: nothing was appended, free some space on this file system"
        )


class WalWriteFailed(WalError):
    """A write failed for another reason than room. Nothing was appended; the log is as before the call."""

    def __init__(self, file: Path, cause: OSError) -> None:
        self.file = file
        super().__init__(f"{file}: {cause.strerror or cause}: nothing was appended, check the disk")


class WalSyncFailed(WalError):
    """The system could not say that something is on the disk: every later change of this log is refused.

    A second fsync may succeed without having written anything, since the kernel forgets the pages whose
    writing failed (LWN 752063, "PostgreSQL's fsync() surprise"). What is durable is found out by opening the
    log again.
    """

    def __init__(self, file: Path, cause: OSError) -> None:
        self.file = file
        super().__init__(
            f"{file}: {cause.strerror or cause}: it is unknown what is on the disk; nothing more is written, "
            "check the disk and start this node again"
        )


class WalBusy(WalError):
    """Another process has the log open."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        super().__init__(f"{directory} is in use by another process: two nodes cannot share a data directory")


class WalOutOfRange(WalError):
    """Records were asked for that the log does not hold."""

    def __init__(self, index: int, first_index: int, last_index: int) -> None:
        self.index = index
        self.first_index = first_index
        self.last_index = last_index
        super().__init__(f"record {index} is not in the log, which holds {first_index} to {last_index}")


def is_full(cause: OSError) -> bool:
    """Whether the system said that there is no room: the disk, a quota or a file size limit."""
    return cause.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
