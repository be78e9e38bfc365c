"""Snowflake ids: 41 bits of milliseconds, 10 of node, 12 of sequence, in a signed 64-bit integer.

Knows the bits and when a node may give which id; knows no clock, no disk and no cluster: those are the
caller's.

An id is *position* and node together. A position is a millisecond and a sequence number in it, read as one
number that a node's generator only ever counts up: to the clock's millisecond when the clock is ahead, by one
when it is not. So ids ascend, a full millisecond runs over into the next, and a clock that steps back changes
nothing but that ids go on from where they were.

Three things make that hold for the whole cluster and for ever:

* **The mark** keeps it across restarts: before ids are given, a time that they stay below is on disk; the
  next process begins there. It lies some seconds ahead, so that most ids cost no write.
* **The number** keeps two members apart. The cluster numbers its members and never uses a number again; an id
  holds the number modulo 1024, and no member is taken in under a number whose ten bits a present member has.
* **The lease** keeps a member apart from a former one with the same ten bits, 1024 joins earlier, which may
  be cut off from the cluster and not know that it was removed. Ids stay below the lease, `LEASE_MS` ahead of
  the clock at a moment at which a majority said that the node is a member. So a former member's last id is
  below its clock at its removal plus `LEASE_MS`. A member whose ten bits may have been another's begins when
  its own clock has come that far, plus `CLOCK_ERROR_MS` for what the two clocks differ by: `QUARANTINE_MS`
  after it was taken in. That is the only thing here that asks two clocks to agree, within an hour.

The lease also bounds how far ids may run ahead of the node's clock.
"""

from wolfscale.ids.bits import (
    END_MS,
    EPOCH_MS,
    MAX_COUNT,
    NODE_NUMBERS,
    IdParts,
    build_id,
    parse_id,
)
from wolfscale.ids.errors import IdError, IdsUnavailable, IdTimeOverflow
from wolfscale.ids.generator import (
    CLOCK_ERROR_MS,
    LEASE_MS,
    MARK_STEP_MS,
    QUARANTINE_MS,
    AheadOfClock,
    IdGenerator,
    LeaseNeeded,
    MarkNeeded,
    Obstacle,
)

__all__ = [
    "CLOCK_ERROR_MS",
    "END_MS",
    "EPOCH_MS",
    "LEASE_MS",
    "MARK_STEP_MS",
    "MAX_COUNT",
    "NODE_NUMBERS",
    "QUARANTINE_MS",
    "AheadOfClock",
    "IdError",
    "IdGenerator",
    "IdParts",
    "IdTimeOverflow",
    "IdsUnavailable",
    "LeaseNeeded",
    "MarkNeeded",
    "Obstacle",
    "build_id",
    "parse_id",
]
