"""The whole node as the HTTP side shows it: Raft, log, database, members, proxy, process."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from wolfscale import __version__
from wolfscale.api.models import (
    AppliedStatus,
    CloneStatus,
    DatabaseState,
    DatabaseStatus,
    HostStatus,
    LeaderStatus,
    LogStatus,
    MemberStatus,
    NodeStatus,
    ProcessStatus,
    ProxyStatus,
    RaftRole,
)
from wolfscale.app.cluster import FRESH_SECONDS
from wolfscale.node.node import Node
from wolfscale.raft.types import Role, Suffrage
from wolfscale.replication.notice import HostNotice, MemberNotice, decode_notice

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_ROLES = {
    Role.FOLLOWER: RaftRole.FOLLOWER,
    Role.PRE_CANDIDATE: RaftRole.CANDIDATE,
    Role.CANDIDATE: RaftRole.CANDIDATE,
    Role.LEADER: RaftRole.LEADER,
}


class NodeStatusSource:
    """Builds one `NodeStatus` for each request; nothing in it blocks."""

    def __init__(
        self, node: Node, own_notice: Callable[[], MemberNotice], proxy: Callable[[], ProxyStatus | None]
    ) -> None:
        self._node = node
        self._own_notice = own_notice
        self._proxy = proxy
        self._started = time.monotonic()

    def status(self) -> NodeStatus:
        """The node as it is now."""
        node = self._node
        seen = node.status()
        own = self._own_notice()
        members = []
        for member in seen.members:
            notice = node.notices.get(member.id)
            said = own if member.id == node.id else decode_notice(notice.data) if notice else MemberNotice()
            fresh = member.notice_age is not None and member.notice_age <= FRESH_SECONDS
            members.append(
                MemberStatus(
                    id=member.id,
                    name=member.name,
                    number=member.number,
                    address=member.address,
                    suffrage=member.suffrage.name.lower(),
                    alive=member.id == node.id or (member.connected and fresh),
                    silent_seconds=0.0 if member.id == node.id else _rounded(member.notice_age),
                    match_index=member.match_index or 0,
                    database=_database(said),
                    applied=_applied(said),
                    writable=said.writable and said.term == seen.term,
                    api_url=said.api_url,
                    mysql_address=said.mysql_address,
                    host=_host(said.host, member.notice_age if member.id != node.id else 0.0),
                )
            )
        leader = node.leader
        return NodeStatus(
            id=node.id,
            name=node.name,
            number=node.number,
            address=node.address,
            role=_role(node),
            term=seen.term,
            leader=LeaderStatus(id=leader.id, name=leader.name, address=leader.address) if leader else None,
            log=LogStatus(
                first_index=seen.first_index,
                last_index=seen.last_index,
                commit_index=seen.commit_index,
                problem=seen.disk_problem or "",
            ),
            applied=_applied(own),
            database=_database(own),
            writable=own.writable,
            members=tuple(members),
            proxy=self._proxy(),
            process=ProcessStatus(
                process_id=os.getpid(),
                version=__version__,
                uptime_seconds=round(time.monotonic() - self._started, 3),
                rss_bytes=_resident_bytes(),
            ),
        )


def _host(host: HostNotice, age: float | None) -> HostStatus:
    offset = host.clock - (time.time() - age) if host.clock and age is not None else 0.0
    return HostStatus(
        version=host.version,
        disk_total_bytes=host.disk_total_bytes,
        disk_free_bytes=host.disk_free_bytes,
        fsync=host.fsync,
        certificate_ends=host.certificate_ends,
        clock_offset_seconds=round(offset, 3),
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _role(node: Node) -> RaftRole:
    member = node.member
    if member is None:
        return RaftRole.JOINING
    if member.suffrage is Suffrage.LEARNER:
        return RaftRole.LEARNER
    if member.suffrage is Suffrage.WITNESS and node.role is Role.FOLLOWER:
        return RaftRole.WITNESS
    return _ROLES[node.role]


def _database(notice: MemberNotice) -> DatabaseStatus:
    clone = notice.clone
    return DatabaseStatus(
        state=DatabaseState(notice.state.value),
        reason=notice.reason,
        clone=CloneStatus(donor=clone.donor, phase=clone.phase, received_bytes=clone.received_bytes)
        if clone
        else None,
        version=notice.server_version,
        time_zone=notice.time_zone,
        process_id=notice.process_id,
    )


def _applied(notice: MemberNotice) -> AppliedStatus:
    return AppliedStatus(
        sequence=notice.applied_sequence,
        index=notice.applied_index,
        lag_groups=max(0, notice.committed_sequence - notice.applied_sequence),
        settled_index=notice.settled_index,
    )


def _resident_bytes() -> int:
    fields = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * _PAGE_BYTES
