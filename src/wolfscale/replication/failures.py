"""What the errors mean that end a step of a database's life."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from wolfscale.replication.errors import WritebackLost
from wolfscale.replication.filesystem import describe_fault
from wolfscale.replication.replica import ReplicaBroken
from wolfscale.replication.server_errors import ServerStartFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a step came to nothing.

    Attributes:
        reason: in words.
        writeback_lost: the disk has lost what was written.
        replica_broken: the data turned out to differ from the primary's.
        start_failed: the server did not start.
    """

    reason: str
    writeback_lost: WritebackLost | None
    replica_broken: ReplicaBroken | None
    start_failed: bool

    @classmethod
    def of(cls, group: BaseExceptionGroup[BaseException], data_directory: Path) -> Self:
        """What these errors come to, on a server whose data is there."""
        errors = list(_leaves(group))
        reasons = (
            describe_fault(error, data_directory) if isinstance(error, OSError) else str(error)
            for error in errors
        )
        return cls(
            reason="; ".join(dict.fromkeys(reasons)),
            writeback_lost=next((error for error in errors if isinstance(error, WritebackLost)), None),
            replica_broken=next((error for error in errors if isinstance(error, ReplicaBroken)), None),
            start_failed=any(isinstance(error, ServerStartFailed) for error in errors),
        )


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
