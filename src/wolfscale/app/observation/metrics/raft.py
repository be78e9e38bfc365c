"""Metrics of Raft and of the links between the members."""

from wolfscale.app.observation.metrics.metric import Sample, Samples, counter, gauge, histogram, states
from wolfscale.node.statistics import RaftStatistics
from wolfscale.node.status import MemberStatus, NodeStatus
from wolfscale.raft.types import Role, Suffrage

TERM = gauge("raft_term", "The Raft term that this node is in.")
ROLE = states("raft_role", "What this node does in its term.")
HAS_LEADER = gauge("raft_has_leader", "1 while this node knows who leads.")
MEMBERS = gauge("raft_members", "Members of the cluster.", "suffrage")
SPARE = gauge(
    "raft_spare_voters", "Voters that may be lost before nothing can be committed; below 0 nothing can."
)
FIRST = gauge("raft_first_index", "The oldest entry that this node's log still has.")
LAST = gauge("raft_last_index", "The newest entry of this node's log, committed or not.")
PERSISTED = gauge("raft_persisted_index", "The newest entry that this node's disk holds.")
COMMIT = gauge("raft_commit_index", "The newest entry that a majority holds, and this node's disk too.")
UNPERSISTED = gauge("raft_unpersisted_bytes", "Bytes of entries that wait for this node's disk.")
WRITING = gauge("raft_writing_seconds", "How long the write that is under way has lasted; 0 without one.")
ELECTIONS = counter("raft_elections", "Times that this node stood for election.")
WON = counter("raft_elections_won", "Times that this node became leader.")
LEADER_CHANGES = counter(
    "raft_leader_changes", "Times that this node learned of a new leader, or term of one."
)
PROPOSALS = counter("raft_proposed_entries", "Entries that this node appended as the leader.")
PROPOSED_BYTES = counter("raft_proposed_bytes", "Bytes of data in them.")
COMMIT_SECONDS = histogram("raft_commit_seconds", "On the leader, from an entry's proposal to its commit.")
PERSISTS = counter("raft_persists", "Writes of the log, each with one sync.")
READYS = counter(
    "raft_persisted_readys", "Steps of Raft that those writes made durable: how well they batch."
)
DROPPED_TICKS = counter("raft_dropped_ticks", "Ticks lost since the process was stopped or starved.")

CONNECTED = gauge("peers_connected", "Other members that a stream to or from is open.")
PEER_UP = gauge("peer_connected", "1 while a stream to or from the member is open.", "peer")
PEER_SILENT = gauge("peer_silent_seconds", "How long ago the member was last heard from.", "peer")
PEER_MATCH = gauge(
    "peer_match_index", "On the leader, the newest entry that the member surely holds.", "peer"
)
PEER_LAG = gauge("peer_lag_entries", "On the leader, entries that the member does not hold yet.", "peer")
PEER_DROPPED = counter("peer_dropped_messages", "Messages for the member that were not sent.", "peer")
STREAMS = gauge("peer_port_streams", "Streams that are open at this node's peer port.")
TURNED_AWAY = counter("peer_port_refused", "Connections to the peer port that were refused.", "reason")

METRICS = (
    *(TERM, ROLE, HAS_LEADER, MEMBERS, SPARE, FIRST, LAST, PERSISTED, COMMIT, UNPERSISTED, WRITING),
    *(ELECTIONS, WON, LEADER_CHANGES, PROPOSALS, PROPOSED_BYTES, COMMIT_SECONDS),
    *(PERSISTS, READYS, DROPPED_TICKS),
    *(CONNECTED, PEER_UP, PEER_SILENT, PEER_MATCH, PEER_LAG, PEER_DROPPED, STREAMS, TURNED_AWAY),
)


def raft_samples(status: NodeStatus, counted: RaftStatistics, spare_voters: int) -> Samples:
    """What a node shows of Raft."""
    yield Sample(TERM, status.term)
    yield Sample(ROLE, {role.value: role is status.role for role in Role})
    yield Sample(HAS_LEADER, status.leader is not None)
    for suffrage in Suffrage:
        count = sum(member.suffrage is suffrage for member in status.members)
        yield Sample(MEMBERS, count, (suffrage.name.lower(),))
    yield Sample(SPARE, spare_voters)
    yield Sample(FIRST, status.first_index)
    yield Sample(LAST, status.last_index)
    yield Sample(PERSISTED, status.persisted_index)
    yield Sample(COMMIT, status.commit_index)
    yield Sample(UNPERSISTED, status.unpersisted_bytes)
    yield Sample(WRITING, status.writing_for)
    yield Sample(ELECTIONS, counted.elections)
    yield Sample(WON, counted.elections_won)
    yield Sample(LEADER_CHANGES, counted.leader_changes)
    yield Sample(PROPOSALS, counted.proposals)
    yield Sample(PROPOSED_BYTES, counted.proposed_bytes)
    yield Sample(COMMIT_SECONDS, counted.commit_seconds)
    yield Sample(PERSISTS, status.persists)
    yield Sample(READYS, status.persisted_readys)
    yield Sample(DROPPED_TICKS, status.dropped_ticks)


def peer_samples(status: NodeStatus) -> Samples:
    """What a node shows of the other members."""
    peers = [member for member in status.members if member.id != status.id]
    yield Sample(CONNECTED, sum(peer.connected for peer in peers))
    for peer in peers:
        yield from _of_peer(peer, status.last_index)
    names = {peer.id: peer.name for peer in peers}
    for link in status.links:
        if link.peer in names:
            yield Sample(PEER_DROPPED, link.dropped, (names[link.peer],))
    port = status.listener
    yield Sample(STREAMS, port.open_streams)
    yield Sample(TURNED_AWAY, port.wrong_secret, ("wrong secret",))
    yield Sample(TURNED_AWAY, port.failed_handshakes, ("failed handshake",))
    yield Sample(TURNED_AWAY, port.turned_away, ("too many",))


def _of_peer(peer: MemberStatus, last_index: int) -> Samples:
    labels = (peer.name,)
    yield Sample(PEER_UP, peer.connected, labels)
    if peer.notice_age is not None:
        yield Sample(PEER_SILENT, peer.notice_age, labels)
    if peer.match_index is not None:
        yield Sample(PEER_MATCH, peer.match_index, labels)
        yield Sample(PEER_LAG, max(0, last_index - peer.match_index), labels)
