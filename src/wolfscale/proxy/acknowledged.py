"""The newest write that any session of one proxy was told is committed, for those of all its processes.

A client that has heard OK on one connection may read on another, which another process may serve: so the
number is in memory that the processes share before the OK leaves, and each read looks there.

Layout of the memory: one GTID sequence for each process, 8 bytes in the machine's order. Each process writes
its own only, so that nothing has to be locked.
"""

import mmap
import os

SEQUENCE_BYTES = 8


def shared_memory(processes: int) -> int:
    """Make memory for so many processes; its descriptor, which the caller closes and children inherit.

    Raises:
        OSError: there is none.
    """
    descriptor = os.memfd_create("wolfscale-acknowledged")
    try:
        os.ftruncate(descriptor, SEQUENCE_BYTES * processes)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


class Acknowledged:
    """One process's view of it."""

    __slots__ = ("_place", "_sequences")

    def __init__(self, descriptor: int | None = None, place: int = 0) -> None:
        """Share the memory.

        Args:
            descriptor: of `shared_memory`, not needed afterwards; None: this process is the only one.
            place: this process's; no other has it at the same time.

        Raises:
            OSError: it cannot be mapped.
        """
        memory = bytearray(SEQUENCE_BYTES) if descriptor is None else mmap.mmap(descriptor, 0)
        self._sequences = memoryview(memory).cast("Q")
        self._place = place

    def note(self, sequence: int) -> None:
        """This process is about to tell a client that everything up to this GTID sequence is committed."""
        self._sequences[self._place] = max(self._sequences[self._place], sequence)

    def newest(self) -> int:
        """The newest GTID sequence that a client was told of."""
        return max(self._sequences)

    def lower(self, sequence: int) -> None:
        """Take back what this process has noted beyond a GTID sequence: its cluster is gone."""
        self._sequences[self._place] = min(self._sequences[self._place], sequence)
