"""Hypothesis strategies for everything that travels between members."""

from hypothesis import strategies as st

from wolfscale.raft import (
    Entry,
    EntryKind,
    Index,
    LogBase,
    Member,
    Membership,
    Message,
    NodeId,
    Suffrage,
    Term,
)
from wolfscale.raft.messages import (
    Append,
    AppendResponse,
    Heartbeat,
    HeartbeatResponse,
    InstallBase,
    PreVoteResponse,
    RequestPreVote,
    RequestVote,
    TimeoutNow,
    VoteResponse,
)

NUMBERS = st.one_of(st.integers(0, 8), st.integers(0, (1 << 63) - 1))
TERMS = NUMBERS.map(Term)
INDEXES = NUMBERS.map(Index)
NODE_IDS = st.one_of(st.sampled_from(["n1", "n2", "n3", "n4"]), st.text(max_size=12)).map(NodeId)
MEMBERS = st.builds(
    Member,
    id=NODE_IDS,
    name=st.text(max_size=12),
    address=st.text(max_size=12),
    number=st.integers(0, (1 << 32) - 1),
    suffrage=st.sampled_from(Suffrage),
)
MEMBERSHIPS = st.builds(
    Membership,
    members=st.lists(MEMBERS, max_size=5, unique_by=lambda member: member.id).map(tuple),
    next_number=st.integers(0, (1 << 32) - 1),
)
BASES = st.builds(LogBase, index=INDEXES, term=TERMS, membership=MEMBERSHIPS)


@st.composite
def appends(draw: st.DrawFn) -> Append:
    prev_index = draw(INDEXES)
    bodies = draw(st.lists(st.tuples(TERMS, st.sampled_from(EntryKind), st.binary(max_size=20)), max_size=5))
    return Append(
        term=draw(TERMS),
        prev_index=prev_index,
        prev_term=draw(TERMS),
        commit_index=draw(INDEXES),
        entries=tuple(
            Entry(index=Index(index), term=term, kind=kind, data=data)
            for index, (term, kind, data) in enumerate(bodies, prev_index + 1)
        ),
    )


MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(RequestPreVote, term=TERMS, last_index=INDEXES, last_term=TERMS),
    st.builds(PreVoteResponse, term=TERMS, granted=st.booleans()),
    st.builds(RequestVote, term=TERMS, last_index=INDEXES, last_term=TERMS, transfer=st.booleans()),
    st.builds(VoteResponse, term=TERMS, granted=st.booleans()),
    appends(),
    st.builds(
        AppendResponse,
        term=TERMS,
        accepted=st.booleans(),
        index=INDEXES,
        hint_index=INDEXES,
        hint_term=TERMS,
    ),
    st.builds(InstallBase, term=TERMS, base=BASES),
    st.builds(Heartbeat, term=TERMS, commit_index=INDEXES, round=NUMBERS),
    st.builds(HeartbeatResponse, term=TERMS, round=NUMBERS),
    st.builds(TimeoutNow, term=TERMS),
)
