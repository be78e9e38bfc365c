"""Raft's streams between the members: one outgoing for each peer, one incoming from each.

A link is made again as fast as is sensible, for how soon a leader is missed, and how soon a node is
back, depends on it. When both directions to a peer have been closed, its process is gone: that is
reported at once.
"""

import contextlib
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec
import trio

from wolfscale import logs
from wolfscale.node.dialer import Dialer, describe
from wolfscale.node.errors import FrameError, LinkError
from wolfscale.node.lanes import MAX_NOTICE_BYTES, Inbox, Outbox
from wolfscale.raft.errors import RaftError
from wolfscale.raft.messages import Message
from wolfscale.raft.types import Member, NodeId

log = logs.logger(__name__)

RECEIVE_BYTES = 256 * 1024
FIRST_RETRY, LAST_RETRY = 0.05, 1.0
"""Seconds between attempts to reach a peer: the first, and what it doubles to."""

OPEN_TIMEOUT = 2.0
NOTICE_INTERVAL = 1.0
"""Seconds after which an unchanged notice is sent again, so that its age tells whether a peer lives."""

MAX_STRANGERS = 64
"""Nodes that speak to this one and are not in its membership (it may lag behind)."""


class RaftHello(msgspec.Struct, frozen=True, kw_only=True):
    """The header of a raft stream: who speaks to whom.

    A node that lost its disk comes back at the same address with another identity: what is meant for the
    old one must not reach it.
    """

    sender: str
    name: str
    address: str
    recipient: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkStatus:
    """How one peer is connected.

    Attributes:
        outgoing: this node's stream to it is open.
        incoming: its stream to this node is open.
        error: why the last attempt to reach it failed; None when it is connected.
        dropped: messages for it that were not sent.
    """

    peer: NodeId
    address: str
    outgoing: bool
    incoming: bool
    error: str | None
    dropped: int


class _Link:
    """The state of one peer's two streams."""

    __slots__ = (
        "address",
        "error",
        "incoming",
        "outbox",
        "outgoing",
        "peer",
        "retry",
        "scope",
        "stated",
        "wake",
    )

    def __init__(self, peer: NodeId, address: str) -> None:
        self.peer = peer
        self.address = address
        self.stated: str | None = None
        self.outbox = Outbox()
        self.outgoing = False
        self.incoming: trio.abc.Stream | None = None
        self.error: str | None = None
        self.wake = trio.Event()
        self.retry = trio.Event()
        self.scope: trio.CancelScope | None = None


class Links:
    """Connects this node with its peers.

    Args:
        dialer: opens the streams.
        id: this node's identity.
        name: its name.
        on_messages: gets what a peer said, in order; called from the peer's own task, must not block.
        on_up: a peer has just become reachable.
        on_lost: a peer's process is gone (both streams are closed).
        on_notice: gets a peer's notice.
    """

    def __init__(
        self,
        *,
        dialer: Dialer,
        id: NodeId,
        name: str,
        on_messages: Callable[[NodeId, Sequence[Message]], None],
        on_up: Callable[[NodeId], None],
        on_lost: Callable[[NodeId], None],
        on_notice: Callable[[NodeId, bytes], None],
    ) -> None:
        self._dialer = dialer
        self._id = id
        self._name = name
        self._on_messages = on_messages
        self._on_up = on_up
        self._on_lost = on_lost
        self._on_notice = on_notice
        self._links: dict[NodeId, _Link] = {}
        self._members: dict[NodeId, str] = {}
        self._nursery: trio.Nursery | None = None
        self._notice: bytes | None = None
        self.address = ""
        """Where peers reach this node; set before `run`."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the links until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                self._update()
                task_status.started()
                while True:
                    await trio.sleep(NOTICE_INTERVAL)
                    self._send_notice()
            finally:
                self._nursery = None

    def set_peers(self, members: Iterable[Member]) -> None:
        """Connect with exactly these members (and with whoever speaks to this node)."""
        wanted = {member.id: member.address for member in members if member.id != self._id}
        for peer, link in self._links.items():
            if wanted.get(peer) != self._members.get(peer):
                link.stated = None  # the cluster has agreed on another address since
        self._members = wanted
        self._update()

    def send(self, peer: NodeId, message: Message) -> None:
        """Queue a message; it may be dropped. Never blocks."""
        link = self._links.get(peer)
        if link is not None:
            link.outbox.put(message)
            link.wake.set()

    def publish(self, notice: bytes) -> None:
        """Send a notice to every peer, now and every second; a newer one takes its place.

        Raises:
            ValueError: it is longer than 64 KiB.
        """
        if len(notice) > MAX_NOTICE_BYTES:
            raise ValueError(f"a notice of {len(notice)} bytes (at most {MAX_NOTICE_BYTES})")
        if notice != self._notice:
            self._notice = notice
            self._send_notice()

    def connected(self, peer: NodeId) -> bool:
        """Whether a stream from or to the peer is open: its process lives, or its host is silent."""
        link = self._links.get(peer)
        return link is not None and (link.outgoing or link.incoming is not None)

    def status(self) -> tuple[LinkStatus, ...]:
        """Every peer's link, by identity."""
        return tuple(
            LinkStatus(
                peer=link.peer,
                address=link.address,
                outgoing=link.outgoing,
                incoming=link.incoming is not None,
                error=link.error,
                dropped=link.outbox.dropped,
            )
            for link in sorted(self._links.values(), key=lambda link: link.peer)
        )

    def admit(self, header: bytes) -> str | None:
        """Say why a raft stream with this header is not taken; None takes it."""
        try:
            hello = msgspec.msgpack.decode(header, type=RaftHello)
        except msgspec.MsgspecError:
            return "the raft stream's header makes no sense"
        if hello.recipient != self._id:
            return f"this node is {self._id}, not {hello.recipient}"
        if hello.sender == self._id:
            return f"{self._id} speaks to itself: check the peers' addresses"
        strangers = len(self._links.keys() - self._members.keys())
        if NodeId(hello.sender) not in self._members and strangers >= MAX_STRANGERS:
            return "too many nodes that are not members speak to this one"
        return None

    async def serve(self, _kind: str, header: bytes, stream: trio.abc.Stream) -> None:
        """Read a peer's raft stream until it ends."""
        hello = msgspec.msgpack.decode(header, type=RaftHello)
        peer = NodeId(hello.sender)
        link = self._links.get(peer)
        if link is None:
            link = self._links[peer] = _Link(peer, hello.address)
        previous, link.incoming = link.incoming, stream
        # The peer knows its own address best: the membership here may not have it yet.
        link.stated = hello.address
        self._update()
        link.retry.set()
        if previous is not None:
            await trio.aclose_forcefully(previous)
        inbox = Inbox()
        try:
            while data := await stream.receive_some(RECEIVE_BYTES):
                messages = inbox.feed(data)
                if messages:
                    self._on_messages(peer, messages)
                if inbox.notice is not None:
                    notice, inbox.notice = inbox.notice, None
                    self._on_notice(peer, notice)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        except (FrameError, RaftError) as error:
            log.warning("closed the stream of a peer that sent nonsense", peer=peer, reason=str(error))
        finally:
            if link.incoming is stream:
                link.incoming = None
                self._closed(link)
                self._update()

    def learn_address(self, peer: NodeId, address: str) -> None:
        """Dial a member at this address from now on, whatever the membership says."""
        link = self._links.get(peer)
        if link is not None:
            link.stated = address
            self._update()

    def _update(self) -> None:
        """Bring the links in line with who shall be connected: members, and whoever speaks to this node."""
        for peer, link in list(self._links.items()):
            if peer not in self._members and link.incoming is None:
                del self._links[peer]
                if link.scope is not None:
                    link.scope.cancel()
        for peer in self._members:
            if peer not in self._links:
                self._links[peer] = _Link(peer, self._members[peer])
        for peer, link in self._links.items():
            address = link.stated or self._members.get(peer, link.address)
            if address != link.address:
                link.address = address
                link.retry.set()
            if link.scope is None and self._nursery is not None:
                link.scope = trio.CancelScope()
                self._nursery.start_soon(self._dial, link, link.scope)

    async def _dial(self, link: _Link, scope: trio.CancelScope) -> None:
        delay = FIRST_RETRY
        with scope:
            while True:
                link.retry = trio.Event()
                started = trio.current_time()
                try:
                    await self._connect(link)
                except LinkError as error:
                    if link.error != error.reason:
                        log.info(
                            "cannot reach a peer", peer=link.peer, address=link.address, reason=error.reason
                        )
                    link.error = error.reason
                else:
                    if trio.current_time() - started > LAST_RETRY:
                        delay = FIRST_RETRY
                # A peer that has just connected to this node lives again: no need to wait.
                with trio.move_on_after(delay * random.uniform(0.75, 1.0)):
                    await link.retry.wait()
                delay = min(2 * delay, LAST_RETRY)

    async def _connect(self, link: _Link) -> None:
        hello = RaftHello(sender=self._id, name=self._name, address=self.address, recipient=link.peer)
        stream = await self._dialer.open_stream(
            link.address, "raft", msgspec.msgpack.encode(hello), timeout=OPEN_TIMEOUT
        )
        try:
            link.error = None
            link.outgoing = link.outbox.connected = True
            log.info("connected to a peer", peer=link.peer, address=link.address)
            if self._notice is not None:
                link.outbox.put_notice(self._notice)
            link.wake.set()
            self._on_up(link.peer)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, stream, nursery.cancel_scope)
                await self._write(link, stream)
                nursery.cancel_scope.cancel()
        finally:
            link.outgoing = False
            link.outbox.disconnect()
            with contextlib.suppress(OSError):
                await trio.aclose_forcefully(stream)
            self._closed(link)

    async def _write(self, link: _Link, stream: trio.abc.SendStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while True:
                await link.wake.wait()
                link.wake = trio.Event()
                while not link.outbox.empty:
                    await stream.send_all(link.outbox.batch())

    async def _watch(self, stream: trio.abc.ReceiveStream, scope: trio.CancelScope) -> None:
        # The other side never sends anything: whatever comes is the end.
        try:
            await stream.receive_some(1)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            log.debug("an outgoing stream ended", reason=describe(error))
        scope.cancel()

    def _closed(self, link: _Link) -> None:
        if not link.outgoing and link.incoming is None:
            self._on_lost(link.peer)

    def _send_notice(self) -> None:
        if self._notice is None:
            return
        for link in self._links.values():
            if link.outgoing:
                link.outbox.put_notice(self._notice)
                link.wake.set()
