"""Metrics of capture (MariaDB to log) and feed (log to MariaDB)."""

from wolfscale.app.observation.metrics.metric import Sample, Samples, counter, gauge, histogram
from wolfscale.replication.captured import CaptureStatistics
from wolfscale.replication.feed import Feed

GROUPS = counter("capture_groups", "Transactions that were captured from the primary.")
NOT_PLAIN = counter(
    "capture_not_plain_groups", "Those of them that are no plain transactions (DDL, accounts)."
)
FRAGMENTS = counter("capture_fragments", "Log entries that they became.")
BYTES = counter("capture_bytes", "Bytes of binlog events in them.")
RESENT = counter("capture_resent_groups", "Transactions that the primary sent again after a reconnect.")
CONNECTIONS = counter("capture_connections", "Connections to the primary's binlog.")
ACKS = counter("capture_acknowledgements", "Acknowledgements sent; one serves many transactions.")
PAUSES = counter("capture_pauses", "Times that capturing waited for this node's disk.")
ACK_SECONDS = histogram(
    "capture_ack_seconds", "From a transaction's end on the wire to its acknowledgement: what a commit waits."
)

FED_GROUPS = counter("feed_groups", "Transactions that were served to this node's MariaDB.")
FED_NOT_PLAIN = counter("feed_not_plain_groups", "Those of them that were served alone.")
FED_BYTES = counter("feed_bytes", "Bytes that were sent to it.")
FEED_CONNECTED = gauge("feed_connected", "1 while MariaDB's replica threads are connected.")
FEED_CONNECTIONS = counter("feed_connections", "Connections of theirs.")
FEED_REFUSED = counter("feed_refused_dumps", "Requests that the log could not serve.")

METRICS = (
    *(GROUPS, NOT_PLAIN, FRAGMENTS, BYTES, RESENT, CONNECTIONS, ACKS, PAUSES, ACK_SECONDS),
    *(FED_GROUPS, FED_NOT_PLAIN, FED_BYTES, FEED_CONNECTED, FEED_CONNECTIONS, FEED_REFUSED),
)


def capture_samples(counted: CaptureStatistics) -> Samples:
    """What was captured, over all of this node's tenures."""
    yield Sample(GROUPS, counted.groups)
    yield Sample(NOT_PLAIN, counted.not_plain)
    yield Sample(FRAGMENTS, counted.fragments)
    yield Sample(BYTES, counted.bytes)
    yield Sample(RESENT, counted.resent)
    yield Sample(CONNECTIONS, counted.connections)
    yield Sample(ACKS, counted.acknowledgements)
    yield Sample(PAUSES, counted.pauses)
    yield Sample(ACK_SECONDS, counted.ack_seconds)


def feed_samples(feed: Feed) -> Samples:
    """What was fed."""
    counted = feed.statistics
    yield Sample(FED_GROUPS, counted.groups)
    yield Sample(FED_NOT_PLAIN, counted.not_plain)
    yield Sample(FED_BYTES, counted.bytes)
    yield Sample(FEED_CONNECTED, feed.connected)
    yield Sample(FEED_CONNECTIONS, counted.connections)
    yield Sample(FEED_REFUSED, counted.refused)
