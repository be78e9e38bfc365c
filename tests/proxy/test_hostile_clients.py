"""Whatever a client sends, the listener goes on serving others."""

import contextlib
import os
import struct

import hypothesis
import pytest
import trio
from hypothesis import strategies as st
from proxy_pair import Cluster, Pair, cluster, rows, shared_servers
from raw_client import MODERN_CLIENT, OLD_CLIENT, raw_client

from wolfscale.mysql.client import Connection
from wolfscale.mysql.constants import Command
from wolfscale.mysql.errors import ConnectionLost, RemoteProtocolError
from wolfscale.mysql.results import parse_error
from wolfscale.proxy import upload

servers = shared_servers
pytestmark = pytest.mark.mariadb

EXAMPLES = 2000 if os.environ.get("WOLFSCALE_HYPOTHESIS") == "chaos" else 60
_DANGEROUS = {int(Command.QUERY), int(Command.STMT_PREPARE)}


async def _send_and_drain(stream: trio.SocketStream, data: bytes) -> None:
    async with stream:
        with trio.fail_after(60), contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(data)
            await stream.send_eof()
            while await stream.receive_some():
                pass


async def _still_serves(proxy: Cluster) -> None:
    def client() -> None:
        with proxy.connect() as connection:
            assert rows(connection, "SELECT v FROM t WHERE id = 1") == [("one",)]

    await proxy.run(client)
    with trio.fail_after(60):
        while proxy.listener.statistics.sessions:
            await trio.sleep(0.005)


def examples(strategy: st.SearchStrategy[bytes]) -> list[bytes]:
    """A fixed choice, so that all run against one proxy."""
    found: list[bytes] = []

    @hypothesis.settings(max_examples=EXAMPLES)
    @hypothesis.given(strategy)
    def collect(data: bytes) -> None:
        found.append(data)

    collect()
    return found


async def test_garbage_instead_of_a_log_in_is_survived(servers: Pair) -> None:
    packet = st.builds(
        lambda body, sequence, wrong: struct.pack("<I", len(body) + wrong | sequence << 24) + body,
        st.binary(max_size=200),
        st.integers(0, 255),
        st.sampled_from([0, 0, 0, 1, 100_000]),
    )
    async with cluster(servers) as proxy:
        for data in examples(st.one_of(st.binary(max_size=300), packet)):
            await _send_and_drain(await trio.open_tcp_stream(*proxy.address), data)
        await _still_serves(proxy)
        assert proxy.listener.statistics.log_ins_failed > 0


@pytest.mark.parametrize("capabilities", [OLD_CLIENT, MODERN_CLIENT], ids=["old", "modern"])
async def test_garbage_commands_are_survived(servers: Pair, capabilities: int) -> None:
    # Text stays harmless: what is hostile here is the protocol.
    command = st.one_of(
        st.binary(max_size=40).filter(lambda data: not data or data[0] not in _DANGEROUS),
        st.builds(
            lambda number, rest: bytes((number,)) + rest,
            st.sampled_from([int(number) for number in Command if number not in _DANGEROUS]),
            st.binary(max_size=40),
        ),
        st.builds(
            lambda number, flags, rest: struct.pack("<BIBI", number, 1, flags, 1) + rest,
            st.sampled_from([int(Command.STMT_EXECUTE), int(Command.STMT_BULK_EXECUTE)]),
            st.integers(0, 255),
            st.binary(max_size=40),
        ),
    )
    async with cluster(servers) as proxy:
        for payload in examples(command):
            async with raw_client(proxy, capabilities) as client:
                try:
                    await client.prepare("SELECT v FROM t WHERE id = ? AND v = ?")
                    await client.send(payload)
                    await client.send(bytes((Command.QUIT,)))
                    stream = client.packets.stream
                    with trio.fail_after(60):
                        while await stream.receive_some():
                            pass
                except (ConnectionLost, RemoteProtocolError, trio.BrokenResourceError):
                    pass
        await _still_serves(proxy)


async def test_half_open_log_ins_are_bounded_in_time(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        proxy.listener._bounds = type(proxy.listener._bounds)(log_in_seconds=0.1)
        stream = await trio.open_tcp_stream(*proxy.address)
        async with stream:
            answer = b""
            with trio.fail_after(60):
                while data := await stream.receive_some():
                    answer += data
        assert b"No log-in within 0.1 s" in answer
        assert proxy.listener.statistics.log_ins_failed == 1


async def test_client_that_vanishes_in_a_response_ends_its_session(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        connection = await Connection.connect(
            user="app", password="secret", host=proxy.address[0], port=proxy.address[1], database="demo"
        )
        await connection.packets.command(b"\x03SELECT REPEAT('x', 1000000) FROM mysql.help_topic LIMIT 200")
        await connection.packets.read()
        await connection.packets.aclose_forcefully()
        await _still_serves(proxy)


async def test_command_without_an_end_is_refused(servers: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "LONGEST_COMMAND_BYTES", 3 << 24)
    async with cluster(servers) as proxy:
        for first in (b"\x00", b"\x03SELECT '", b"\x17\1\0\0\0", b"\x18\1\0\0\0\0\0", b"\x18\2\0\0\0\0\0"):
            async with raw_client(proxy) as client:
                await client.prepare("SELECT ?")
                # The refusal may overtake what is still being sent: then the connection breaks.
                with contextlib.suppress(ConnectionLost):
                    for _ in range(6):
                        packet = first.ljust((1 << 24) - 1, b"x")
                        await client.packets.send_raw(b"\xff\xff\xff\0" + packet)
                    assert parse_error(await client.packets.read()).errno == 1153
        await _still_serves(proxy)
