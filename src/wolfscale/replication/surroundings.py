"""What the tasks of a database's roles have in common."""

from dataclasses import dataclass

from wolfscale.replication.application import Application
from wolfscale.replication.cluster import Cluster
from wolfscale.replication.database import Database
from wolfscale.replication.intents import IntentMarks
from wolfscale.replication.open_intents import OpenIntents
from wolfscale.replication.record import RecordStore
from wolfscale.replication.statistics import LifecycleStatistics


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """One member's database and what it is embedded in.

    Attributes:
        cluster: the node and its peers.
        database: the server.
        records: the node's durable record of it.
        marks: the intent marks on the disk.
        intents: which sessions they stand for.
        application: what the primary creates when it does not exist.
        statistics: what is counted.
        probe_seconds: silence after which a primary must prove that it makes progress, and the time it has.
    """

    cluster: Cluster
    database: Database
    records: RecordStore
    marks: IntentMarks
    intents: OpenIntents
    application: Application
    statistics: LifecycleStatistics
    probe_seconds: float
