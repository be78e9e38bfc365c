"""What the tasks of a database's roles have in common."""

from dataclasses import dataclass

from wolfscale.replication.cluster import Cluster
from wolfscale.replication.database import Database
from wolfscale.replication.intents import IntentMarks
from wolfscale.replication.open_intents import OpenIntents
from wolfscale.replication.record import RecordStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """One member's database and what it is embedded in.

    Attributes:
        cluster: the node and its peers.
        database: the server.
        records: the node's durable record of it.
        marks: the intent marks on the disk.
        intents: which sessions they stand for.
        schema: an application's schema that the primary creates when it does not exist.
        probe_seconds: silence after which a primary must prove that it makes progress, and the time it has.
    """

    cluster: Cluster
    database: Database
    records: RecordStore
    marks: IntentMarks
    intents: OpenIntents
    schema: str | None
    probe_seconds: float
