"""Scenes that more than one test plays, and what is needed to set them."""

from typing import TypeVar

from wolfscale.raft import Index, Message, NodeId, Raft, Role, Term
from wolfscale.raft.messages import RequestVote, TimeoutNow, VoteResponse
from wolfscale.testing.simulator import Cluster, ids

N1, N2, N3, N4, N5 = ids(1, 2, 3, 4, 5)

MessageType = TypeVar("MessageType")


def sent(
    cluster: Cluster, kind: type[MessageType], *, by: NodeId | None = None, to: NodeId | None = None
) -> list[MessageType]:
    """The messages of a kind that are on their way."""
    return [
        message
        for envelope in cluster.network
        if isinstance(message := envelope.message, kind)
        and by in {None, envelope.sender}
        and to in {None, envelope.receiver}
    ]


def tell(cluster: Cluster, receiver: NodeId, sender: NodeId, message: Message) -> None:
    """Give a member a message that nobody sent."""
    cluster.act(receiver, lambda raft: raft.step(sender, message))


def stand(cluster: Cluster, id: NodeId, *, term: int | None = None) -> None:
    """Let a member become a candidate, with its vote on disk and its requests on their way.

    Without a term, it stands in one that is new to the whole cluster.
    """
    if term is None:
        term = max(cluster.raft(other).term for other in cluster.running) + 2
    other = next(other for other in cluster.members if other != id)
    tell(cluster, id, other, TimeoutNow(term=Term(term - 1)))
    cluster.persist(id)
    assert cluster.raft(id).role is Role.CANDIDATE, cluster.describe()


def make_leader(cluster: Cluster, id: NodeId) -> None:
    """Let a member stand, and all be delivered."""
    if len(cluster.members) == 1:
        cluster.tick(id)
    else:
        stand(cluster, id)
    cluster.deliver_all()
    assert cluster.raft(id).is_leader, cluster.describe()


def carry(
    cluster: Cluster, kind: type[MessageType], *, by: NodeId | None = None, to: NodeId | None = None
) -> None:
    """Deliver the messages of a kind, and let the disks of the receivers finish."""
    chosen = [
        envelope
        for envelope in cluster.network
        if isinstance(envelope.message, kind)
        and by in {None, envelope.sender}
        and to in {None, envelope.receiver}
    ]
    for envelope in chosen:
        cluster.network.remove(envelope)
        cluster.receive(envelope)
        if cluster.members[envelope.receiver].raft is not None:
            cluster.persist(envelope.receiver)


def double_vote(raft: type[Raft]) -> None:
    """Two candidates of one term; the third member votes for one, crashes, and is asked by the other."""
    cluster = Cluster(1, raft=raft)
    stand(cluster, N1, term=2)
    stand(cluster, N2, term=2)
    carry(cluster, RequestVote, by=N1, to=N3)
    cluster.crash(N3)
    cluster.start(N3)
    carry(cluster, RequestVote, by=N2, to=N3)
    carry(cluster, VoteResponse, by=N3)
    assert len(cluster.leaders) == 1


def figure_8() -> None:
    """Thesis figure 3.7 (figure 8 of the paper), on three members.

    S1 leads and has an entry that nobody else got; S2 leads a later term with an entry of its own; S1
    leads again and brings its old entry, but nothing of its new term, to a majority; S2 may still win.
    """
    cluster = Cluster(1, max_append_bytes=1, sync=True)
    make_leader(cluster, N1)
    cluster.isolate(N1)
    cluster.propose(N1, b"old entry")
    make_leader_of(cluster, N2, voter=N3)
    cluster.network.clear()
    cluster.heal()
    cluster.isolate(N2)
    make_leader_of(cluster, N1, voter=N3)
    old = next(
        index
        for index in range(1, cluster.raft(N1).last_index + 1)
        if cluster.members[N1].disk.shown.entries(Index(index), Index(index), 1)[0].data == b"old entry"
    )
    disk = cluster.members[N3].disk
    while disk.durable.last_index < old:
        cluster.deliver()
    answers = [envelope for envelope in cluster.network if envelope.sender == N3]
    cluster.network.clear()
    for envelope in answers:
        cluster.receive(envelope)
    cluster.network.clear()
    cluster.heal()
    cluster.isolate(N1)
    make_leader_of(cluster, N2, voter=N3)
    cluster.settle()


def make_leader_of(cluster: Cluster, id: NodeId, *, voter: NodeId) -> None:
    """Let a member become leader by one vote, and nothing that it sends as leader arrive."""
    stand(cluster, id)
    carry(cluster, RequestVote, by=id, to=voter)
    carry(cluster, VoteResponse, by=voter, to=id)
    assert cluster.raft(id).is_leader, cluster.describe()
