"""Hostile and honest clients at once: nobody's packets stop the proxy, leave anything, or reach another.

Each hostile session is a valid conversation whose bytes are changed, cut, repeated or lost on the way, from
the log-in on. The same seed gives the same conversations; what the scheduler makes of them is chance.
"""

import contextlib
import os
import random
import re
import struct

import pytest
import trio
import trio.testing
from proxy_pair import PASSWORD, Cluster, Pair, cluster, shared_servers
from raw_client import MODERN_CLIENT, OLD_CLIENT, execution

from wolfscale.mysql.client import Connection
from wolfscale.mysql.constants import Command
from wolfscale.mysql.errors import ConnectionLost, ProtocolError, ServerError
from wolfscale.mysql.framing import packet

servers = shared_servers
pytestmark = pytest.mark.mariadb

SECONDS = float(os.environ.get("WOLFSCALE_CLIENT_FUZZ_SECONDS", "10"))
SEED = int(os.environ.get("WOLFSCALE_CLIENT_FUZZ_SEED", "1"))
HOSTILE, HONEST = 16, 4
LEAST_CONVERSATIONS = 50
ANSWER_SECONDS = 3.0
"""A server that waits for what was cut off is left then."""
MARKER = re.compile(rb"mark[0-9a-f]{16}")
LONGEST_MARKER = 20


class Markers:
    """One a session, of 64 random bits: no change of bytes makes another's."""

    def __init__(self) -> None:
        self.given: set[bytes] = set()
        self.leaks: list[str] = []

    def give(self, chance: random.Random) -> bytes:
        marker = b"mark%016x" % chance.getrandbits(64)
        self.given.add(marker)
        return marker

    def check(self, own: bytes, data: bytes) -> None:
        self.leaks += [
            f"{own!r} was sent {found!r}"
            for found in MARKER.findall(data)
            if found != own and found in self.given
        ]


class Tampering(trio.abc.Stream):
    """A client's stream; what it sends may arrive as something else."""

    def __init__(
        self, stream: trio.abc.Stream, chance: random.Random, markers: Markers, own: bytes, *, rate: float
    ) -> None:
        self._stream = stream
        self._chance = chance
        self._markers = markers
        self._own = own
        self._rate = rate
        self._tail = b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        chance, changed = self._chance, bytearray(data)
        if changed and chance.random() < self._rate:
            self._change(changed)
        cut = chance.randrange(len(changed) + 1) if chance.random() < 0.3 else len(changed)
        for part in (changed[:cut], changed[cut:]):
            await self._stream.send_all(bytes(part))
            await trio.lowlevel.checkpoint()
        if chance.random() < self._rate / 8:
            await trio.aclose_forcefully(self._stream)

    def _change(self, data: bytearray) -> None:
        chance = self._chance
        for _ in range(chance.choice((1, 1, 2, 5))):
            position = chance.randrange(len(data) + 1)
            length = chance.choice((1, 1, 2, 4, 40))
            match chance.randrange(6):
                case 0 if position < len(data):
                    data[position] ^= 1 << chance.randrange(8)
                case 1:
                    del data[position : position + length]
                case 2:
                    data[position:position] = chance.randbytes(length)
                case 3:
                    data[position:position] = data[position : position + length]
                case 4 if len(data) >= 4:
                    # A length or a number of a packet that is not so.
                    data[:4] = struct.pack("<I", chance.choice((0, 1, 0xFFFFFF, chance.getrandbits(32))))
                case _:
                    data[position : position + length] = bytes(min(length, len(data) - position))

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._stream.receive_some(max_bytes)
        seen = self._tail + data
        self._markers.check(self._own, seen)
        self._tail = seen[-LONGEST_MARKER + 1 :]
        return data

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


def _command(number: int, rest: bytes = b"") -> bytes:
    return bytes((number,)) + rest


def _conversation(chance: random.Random, own: bytes) -> list[bytes]:
    """Commands as they are sent, one packet or several pipelined at a time; nothing that does harm."""
    text = (
        b"SELECT '" + own + b"'",
        b"SELECT v, '" + own + b"' FROM t WHERE id = 1",
        b"SELECT REPEAT('" + own + b"', 3000) FROM t",
        b"UPDATE t SET v = v WHERE id = 1",
        b"SET @a = '" + own + b"'",
        b"SELECT @a FOR UPDATE",
        b"BEGIN",
        b"ROLLBACK",
        b"SET NAMES utf8mb4",
        b"SELECT '" + own + b"'; SELECT 2",
    )
    whole = [_command(Command.QUERY, chance.choice(text)) for _ in range(chance.randrange(1, 6))]
    prepared = [
        _command(Command.STMT_PREPARE, b"SELECT ?, '" + own + b"' FROM t WHERE v <> ?"),
        struct.pack("<BIH", Command.STMT_SEND_LONG_DATA, 0xFFFFFFFF, 0) + own,
        execution(0xFFFFFFFF, (own, b"x")),
        execution(1, (own, b"x"), flags=chance.randrange(4)),
        struct.pack("<BII", Command.STMT_FETCH, 1, 2),
        struct.pack("<BI", Command.STMT_RESET, 1),
        struct.pack("<BI", Command.STMT_CLOSE, 1),
    ]
    others = [
        _command(Command.PING),
        _command(Command.INIT_DB, b"demo"),
        _command(Command.RESET_CONNECTION),
        _command(Command.STATISTICS),
        _command(Command.FIELD_LIST, b"t\0"),
        _command(Command.CHANGE_USER, b"app\0" + chance.randbytes(30)),
        _command(Command.SET_OPTION, b"\0\0"),
        chance.randbytes(chance.randrange(1, 60)),
    ]
    commands = [*whole, *(prepared if chance.random() < 0.5 else ()), *chance.sample(others, 2)]
    if chance.random() < 0.3:
        chance.shuffle(commands)
    # Random bytes that happen to be text could do anything.
    harmless = [payload for payload in commands if payload in whole + prepared + others[:-1]]
    harmless += [b"\xf0" + payload for payload in commands if payload not in harmless]
    packets = [packet(payload, 0) for payload in harmless]
    if chance.random() < 0.3:
        return [b"".join(packets)]
    return packets


async def _hostile(proxy: Cluster, chance: random.Random, markers: Markers) -> None:
    own = markers.give(chance)
    with contextlib.suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
        stream = Tampering(
            await trio.open_tcp_stream(*proxy.address),
            chance,
            markers,
            own,
            rate=chance.choice((0.0, 0.1, 0.3, 0.9)),
        )
        async with stream:
            if chance.random() < 0.1:
                await stream.send_all(chance.randbytes(chance.randrange(1, 400)))
            with (
                trio.move_on_after(ANSWER_SECONDS),
                contextlib.suppress(ConnectionLost, ServerError, ProtocolError),
            ):
                connection = await Connection.connect(
                    user="app",
                    password=PASSWORD,
                    database="demo",
                    capabilities=chance.choice((OLD_CLIENT, MODERN_CLIENT)),
                    stream=stream,
                )
                for data in _conversation(chance, own):
                    await connection.packets.send_raw(data)
                    if chance.random() < 0.5:
                        with trio.move_on_after(0.05):
                            await connection.packets.receive_raw()
                with trio.move_on_after(0.2):
                    while True:
                        await connection.packets.receive_raw()


async def _honest(proxy: Cluster, chance: random.Random, markers: Markers, until: float) -> int:
    """A client beside them: each answer must be the right one."""
    own = markers.give(chance)
    stream = Tampering(await trio.open_tcp_stream(*proxy.address), chance, markers, own, rate=0)
    connection = await Connection.connect(user="app", password=PASSWORD, database="demo", stream=stream)
    asked = 0
    try:
        await connection.query(f"SET @own = '{own.decode()}'")
        while trio.current_time() < until:
            asked += 1
            assert (
                await connection.value(f"SELECT CONCAT('{own.decode()}', {asked})")
                == f"{own.decode()}{asked}"
            )
            assert await connection.value("SELECT @own FOR UPDATE") == own.decode()
            assert await connection.value("SELECT v FROM t WHERE id = 1") == "one"
    finally:
        await connection.aclose()
    return asked


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _backend_sessions(pair: Pair) -> int:
    count = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'app'"
    return sum(int(server.execute(count)[0][0]) for server in (pair.primary, pair.replica))


async def test_marker_of_another_session_is_noticed_wherever_the_bytes_are_cut() -> None:
    markers, chance = Markers(), random.Random(1)
    own, other = markers.give(chance), markers.give(chance)
    data = b"--" + own + b"--" + other + b"--"
    for cut in range(len(data) + 1):
        markers.leaks.clear()
        mine, peer = trio.testing.memory_stream_pair()
        stream = Tampering(mine, chance, markers, own, rate=0)
        for part in (data[:cut], data[cut:]):
            if part:
                await peer.send_all(part)
                await stream.receive_some()
        assert len(markers.leaks) == 1, cut


async def test_hostile_conversations_harm_nobody(servers: Pair, caplog: pytest.LogCaptureFixture) -> None:
    print(f"seed {SEED}: WOLFSCALE_CLIENT_FUZZ_SEED={SEED} pytest {__file__}")
    chance, markers, conversations, answered = random.Random(SEED), Markers(), 0, 0
    async with cluster(servers) as proxy:
        # What is made once for good is made before anything is counted.
        await _honest(proxy, random.Random(0), markers, trio.current_time() + 0.1)
        with trio.fail_after(60):
            while proxy.listener.statistics.sessions or _backend_sessions(servers):
                await trio.sleep(0.01)
        before = _descriptors()
        until = trio.current_time() + SECONDS

        async def attack(own_chance: random.Random) -> None:
            nonlocal conversations
            while trio.current_time() < until:
                await _hostile(proxy, own_chance, markers)
                conversations += 1

        async def be_honest(own_chance: random.Random) -> None:
            nonlocal answered
            answered += await _honest(proxy, own_chance, markers, until)

        async with trio.open_nursery() as nursery:
            for _ in range(HOSTILE):
                nursery.start_soon(attack, random.Random(chance.getrandbits(64)))
            for _ in range(HONEST):
                nursery.start_soon(be_honest, random.Random(chance.getrandbits(64)))
        print(f"{conversations} hostile conversations, {answered} honest rounds")
        with trio.fail_after(60):
            while proxy.listener.statistics.sessions or _backend_sessions(servers):
                await trio.sleep(0.01)
            # A closed socket's descriptor goes when its task has ended.
            while _descriptors() > before:
                await trio.sleep(0.01)
        assert markers.leaks == []
        assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
        assert conversations >= LEAST_CONVERSATIONS
        assert answered > 0
