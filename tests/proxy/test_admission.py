"""Connections that are not logged in are bounded: in number, per address, and in time."""

import functools
import socket

import pytest
import trio
import trio.testing
from proxy_pair import Pair, cluster, rows, shared_servers

from wolfscale.proxy.admission import Admission
from wolfscale.proxy.connections import Bounds
from wolfscale.proxy.listener import Listener

servers = shared_servers


def test_address_with_too_many_half_open_connections_is_turned_away_and_others_are_not() -> None:
    admission = Admission(max_sessions=8, max_log_ins=4)
    assert [admission.arrive("a") for _ in range(7)] == [True] * 6 + [False]
    assert admission.arrive("b")
    admission.leave("a")
    assert admission.arrive("a")
    assert not admission.arrive("a")


def test_address_is_forgotten_with_its_last_connection() -> None:
    admission = Admission(max_sessions=100, max_log_ins=4)
    for number in range(1000):
        assert admission.arrive(f"10.0.0.{number}")
        admission.leave(f"10.0.0.{number}")
    assert admission.addresses == 0


@pytest.mark.parametrize("most", [1, 2, 3])
def test_few_sessions_in_all_are_not_made_fewer_by_the_bound_of_one_address(most: int) -> None:
    admission = Admission(max_sessions=most, max_log_ins=1)
    assert all(admission.arrive("a") for _ in range(most))


async def test_one_address_never_has_all_turns() -> None:
    admission = Admission(max_sessions=100, max_log_ins=4)
    having: list[str] = []

    async def log_in(address: str, *, for_ever: bool) -> None:
        assert admission.arrive(address)
        try:
            async with admission.turn(address):
                having.append(address)
                if for_ever:
                    await trio.sleep_forever()
        finally:
            admission.leave(address)

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(functools.partial(log_in, "flood", for_ever=True))
        await trio.testing.wait_all_tasks_blocked()
        assert having == ["flood", "flood"]
        with trio.fail_after(60):
            await log_in("other", for_ever=False)
        assert having[-1] == "other"
        nursery.cancel_scope.cancel()
    assert admission.addresses == 0


@pytest.mark.mariadb
async def test_flood_of_silent_connections_from_one_address_keeps_nobody_else_out(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        proxy.listener = listener = Listener(
            proxy, bounds=Bounds(log_in_seconds=60), max_sessions=40, max_log_ins=8
        )
        listening = socket.create_server(("127.0.0.1", 0), backlog=100)
        port = listening.getsockname()[1]
        async with trio.open_nursery() as nursery:
            await nursery.start(listener.serve, [listening])
            flood = [await _from("127.0.0.2", port) for _ in range(35)]
            with trio.fail_after(60):
                while listener.statistics.refused_connections < 5:
                    await trio.sleep(0.005)
            assert listener.statistics.sessions == 30
            proxy.address = ("127.0.0.1", port)

            def client() -> None:
                with proxy.connect() as connection:
                    assert rows(connection, "SELECT v FROM t WHERE id = 1") == [("one",)]

            await proxy.run(client)
            for stream in flood:
                await stream.aclose()
            with trio.fail_after(60):
                while listener.statistics.sessions:
                    await trio.sleep(0.005)
            assert listener._admission.addresses == 0
            nursery.cancel_scope.cancel()


async def _from(address: str, port: int) -> trio.SocketStream:
    sock = trio.socket.socket()
    await sock.bind((address, 0))
    await sock.connect(("127.0.0.1", port))
    return trio.SocketStream(sock)


@pytest.mark.mariadb
async def test_client_that_sends_a_byte_at_a_time_is_ended_at_the_limit(servers: Pair) -> None:
    async with cluster(servers, bounds=Bounds(log_in_seconds=0.5)) as proxy:
        stream = await trio.open_tcp_stream(*proxy.address)
        answer = b""

        async def drip() -> None:
            try:
                for byte in b"\xff\x00\x00\x01" + bytes(255):
                    await stream.send_all(bytes((byte,)))
                    await trio.sleep(0.01)
            except trio.BrokenResourceError:
                pass

        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            with trio.fail_after(60):
                while data := await stream.receive_some():
                    answer += data
            nursery.cancel_scope.cancel()
        assert b"No log-in within 0.5 s" in answer
        assert proxy.listener.statistics.log_ins_failed == 1
