"""The peer port: who gets in, what strangers can do to it, streams, notices."""

import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
import trio
from node_cluster import SECRET, cluster, committed_everywhere, propose

from wolfscale.node import Dialer, SecretMismatch, StreamRefused, Unreachable, listener
from wolfscale.node.links import RaftHello
from wolfscale.node.node import Node

OPENS = pytest.mark.parametrize(
    "opens", [Dialer.open_stream, Dialer.open_nonblocking_stream], ids=["trio", "nonblocking"]
)
"""The two ways to open a stream."""
Opens = Callable[..., Awaitable[trio.abc.Stream]]


async def echo(kind: str, header: bytes, stream: trio.abc.Stream) -> None:
    await stream.send_all(kind.encode() + b" " + header + b"\n")
    async for data in stream:
        await stream.send_all(data)


async def say_bye(_kind: str, _header: bytes, stream: trio.abc.Stream) -> None:
    await stream.send_all(b"bye")


async def receive(stream: trio.abc.ReceiveStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += await stream.receive_some(size - len(data))
    return data


@OPENS
async def test_stream_reaches_its_handler_with_kind_and_header(tmp_path: Path, opens: Opens) -> None:
    async with cluster(tmp_path) as nodes:
        one = await nodes.start(
            "node-1", bootstrap=True, prepare=lambda node: node.handle_stream("session", echo)
        )
        dialer = Dialer.from_secret(SECRET, "a proxy's worker process")
        async with await opens(dialer, one.node.address, "session", b"PROXY") as stream:
            assert await receive(stream, 14) == b"session PROXY\n"
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.send_all, b"x" * 1_000_000)
                assert await receive(stream, 1_000_000) == b"x" * 1_000_000


@OPENS
async def test_stream_that_ends_on_purpose_ends_cleanly_and_a_torn_one_does_not(
    tmp_path: Path, opens: Opens
) -> None:
    def prepare(node: Node) -> None:
        node.handle_stream("clone", say_bye)
        node.handle_stream("session", echo)

    async with cluster(tmp_path) as nodes:
        one = await nodes.start("node-1", bootstrap=True, prepare=prepare)
        dialer = Dialer.from_secret(SECRET, "test")
        stream = await opens(dialer, one.node.address, "clone")
        assert await receive(stream, 3) == b"bye"
        assert await stream.receive_some() == b""
        await stream.aclose()
        stream = await opens(dialer, one.node.address, "session", b"PROXY")
        assert await receive(stream, 14) == b"session PROXY\n"
        await one.stop()
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        await trio.aclose_forcefully(stream)


@OPENS
async def test_stream_of_an_unknown_kind_is_refused_with_the_reason(tmp_path: Path, opens: Opens) -> None:
    async with cluster(tmp_path) as nodes:
        one = await nodes.start("node-1", bootstrap=True)
        with pytest.raises(StreamRefused, match="no streams of kind 'nonsense'"):
            await opens(Dialer.from_secret(SECRET, "test"), one.node.address, "nonsense")


async def test_handler_that_breaks_costs_its_stream_only(tmp_path: Path) -> None:
    async def break_down(_kind: str, _header: bytes, _stream: trio.abc.Stream) -> None:
        raise KeyError("a bug")

    async with cluster(tmp_path) as nodes:
        one = await nodes.start(
            "node-1", bootstrap=True, prepare=lambda node: node.handle_stream("session", break_down)
        )
        stream = await Dialer.from_secret(SECRET, "test").open_stream(one.node.address, "session")
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        await trio.aclose_forcefully(stream)
        await propose(await nodes.leader(), b"1")


@OPENS
async def test_dialer_with_another_secret_is_refused_and_counted(tmp_path: Path, opens: Opens) -> None:
    async with cluster(tmp_path) as nodes:
        one = await nodes.start("node-1", bootstrap=True)
        with pytest.raises(SecretMismatch):
            await opens(Dialer.from_secret(b"another secret of a stranger", "x"), one.node.address, "rpc")
        while True:
            status = one.node.status().listener
            if status.failed_handshakes + status.wrong_secret:
                break
            await trio.sleep(0.005)


@OPENS
async def test_dialer_that_finds_nobody_says_so(tmp_path: Path, opens: Opens) -> None:
    dialer = Dialer.from_secret(SECRET, "test")
    for address in ("127.0.0.1:1", "no port", "::1:7400"):
        with pytest.raises(Unreachable, match=address):
            await opens(dialer, address, "rpc")


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\x00" * 70_000, b"\xff" * 1000, b""]
)
async def test_garbage_on_the_peer_port_hurts_nobody(tmp_path: Path, garbage: bytes) -> None:
    async with cluster(tmp_path) as nodes:
        one = await nodes.start("node-1", bootstrap=True)
        host, port = one.node.address.split(":")
        stream = await trio.open_tcp_stream(host, int(port))
        try:
            await stream.send_all(garbage)
            await stream.send_eof()
            while await stream.receive_some():
                pass
        except trio.BrokenResourceError:
            pass
        await stream.aclose()
        await propose(await nodes.leader(), b"1")
        assert one.node.status().listener.handshakes == 0


async def test_half_open_connections_are_bounded_in_number_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "MAX_HANDSHAKES", 3)
    monkeypatch.setattr(listener, "HANDSHAKE_TIMEOUT", 0.2)
    async with cluster(tmp_path) as nodes:
        one = await nodes.start("node-1", bootstrap=True)
        host, port = one.node.address.split(":")
        silent = [await trio.open_tcp_stream(host, int(port)) for _ in range(6)]
        for stream in silent:
            with contextlib.suppress(trio.BrokenResourceError):
                assert await stream.receive_some() == b""
            await stream.aclose()
        assert one.node.status().listener.turned_away == 3
        two = await nodes.start("node-2")
        await two.node.wait_member()


async def test_raft_stream_for_another_identity_is_refused(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        one = await nodes.start("node-1", bootstrap=True)
        dialer = Dialer.from_secret(SECRET, "test")
        hello = RaftHello(sender="node-9.x", name="node-9", address="127.0.0.1:1", recipient="node-1.old")
        with pytest.raises(StreamRefused, match=f"this node is {one.node.id}"):
            await dialer.open_stream(one.node.address, "raft", msgspec.msgpack.encode(hello))
        with pytest.raises(StreamRefused, match="makes no sense"):
            await dialer.open_stream(one.node.address, "raft", b"\xc1")


async def test_nonsense_on_a_raft_stream_costs_that_stream_only(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        await nodes.grow(2)
        leader = await nodes.leader()
        hello = RaftHello(sender="node-9.x", name="9", address="127.0.0.1:1", recipient=leader.node.id)
        dialer = Dialer.from_secret(SECRET, "test")
        for nonsense in (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\2\0\xff", b"\0\0\0\3\x09ab"):
            stream = await dialer.open_stream(leader.node.address, "raft", msgspec.msgpack.encode(hello))
            await stream.send_all(nonsense)
            assert await stream.receive_some() == b""
            await stream.aclose()
        await committed_everywhere(nodes.running, await propose(leader, b"1"))


async def test_notices_reach_every_member_and_the_newest_wins(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        await nodes.grow(3)
        first = nodes.running[0].node
        for number in range(100):
            first.publish(b"%d" % number)
        for one in nodes.running:
            await one.node.changes.wait_until(
                lambda one=one: first.id in one.node.notices and one.node.notices[first.id].data == b"99"  # type: ignore[misc]
            )
        late = await nodes.start("node-4")
        await late.node.changes.wait_until(lambda: first.id in late.node.notices)
        with pytest.raises(ValueError, match="a notice of"):
            first.publish(bytes(70_000))
        ages = {member.id: member.notice_age for member in late.node.status().members}
        assert ages[first.id] is not None


async def test_status_shows_members_and_links(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        await nodes.grow(3)
        leader = await nodes.leader()
        await committed_everywhere(nodes.running, await propose(leader, b"1"))
        status = leader.node.status()
        assert [member.name for member in status.members] == ["node-1", "node-2", "node-3"]
        assert all(member.connected for member in status.members)
        assert status.leader_name == leader.node.name
        assert {link.outgoing for link in status.links} == {True}
        assert status.listener.open_streams >= 2
        follower = next(one for one in nodes.running if one is not leader)
        assert {member.match_index for member in follower.node.status().members} == {None}
