"""The client against scripted servers: breakage and cancellation at every point."""

import pytest
import trio
import trio.testing
from test_mysql_transport import ScriptedStream

from wolfscale.mysql.client import DEFAULT_CAPABILITIES, Connection
from wolfscale.mysql.constants import Capability, Status
from wolfscale.mysql.errors import ConnectionLost, LocalProtocolError, RemoteProtocolError, ServerError
from wolfscale.mysql.framing import packet
from wolfscale.mysql.handshake import Greeting, build_auth_switch, build_greeting
from wolfscale.mysql.results import Column, Ok, build_error, build_ok, build_text_result
from wolfscale.mysql.session_track import SessionChanges, build_session_changes

CAPABILITIES = int(DEFAULT_CAPABILITIES)
GREETING = packet(
    build_greeting(
        Greeting(server_version="10.11", connection_id=3, salt=b"s" * 20, capabilities=CAPABILITIES)
    ),
    0,
)
LOGGED_IN = packet(build_ok(Ok(), CAPABILITIES), 2)
ROWS = build_text_result([Column(name=b"a")], [[b"1"], [b"\xff"]], CAPABILITIES)
PROGRESS = b"\xff\xff\xff\x01\x01\x02\x10\x27\x00\x05stage"


def wire(*payloads: bytes) -> bytes:
    return b"".join(packet(payload, number + 1) for number, payload in enumerate(payloads))


def ok_with_gtid(gtid: str, status: int = 2) -> bytes:
    data = build_session_changes(SessionChanges(gtid=gtid))
    return build_ok(Ok(status=status, session_data=data), CAPABILITIES)


async def connected(*chunks: bytes) -> tuple[Connection, ScriptedStream]:
    stream = ScriptedStream(GREETING, LOGGED_IN, *chunks)
    return await Connection.connect(user="app", password="secret", stream=stream), stream


async def test_query_cut_into_single_bytes_is_read() -> None:
    connection, _ = await connected(*(bytes((byte,)) for byte in wire(*ROWS)))
    result = await connection.query("SELECT a")
    assert result.columns == ("a",)
    assert result.rows == [("1",), ("\udcff",)]
    assert result.value == "1"
    assert result.mappings()[0] == {"a": "1"}


async def test_query_whose_answer_breaks_off_anywhere_is_a_lost_connection() -> None:
    answer = wire(*ROWS)
    for length in range(len(answer)):
        connection, stream = await connected(*([answer[:length]] if length else []))
        with pytest.raises(ConnectionLost):
            await connection.query("SELECT a")
        assert connection.closed
        assert stream.closed
        with pytest.raises(ConnectionLost, match="closed"):
            await connection.query("SELECT a")


async def test_log_in_that_breaks_off_anywhere_closes_the_stream() -> None:
    log_in = GREETING + LOGGED_IN
    for length in range(len(log_in)):
        stream = ScriptedStream(*([log_in[:length]] if length else []))
        with pytest.raises(ConnectionLost):
            await Connection.connect(user="app", stream=stream)
        assert stream.closed


async def test_query_cancelled_at_every_checkpoint_closes_the_connection() -> None:
    payload = wire(*ROWS)
    for checkpoints in range(1, len(payload) + 1):
        connection, stream = await connected(*(bytes((byte,)) for byte in payload))
        with trio.CancelScope() as scope:
            stream.chunks = CountedChunks(stream.chunks, checkpoints, scope)  # type: ignore[assignment]
            await connection.query("SELECT a")
        assert scope.cancelled_caught is connection.closed
        assert stream.closed is connection.closed
        if checkpoints < len(payload):
            assert connection.closed


class CountedChunks:
    """A deque that cancels a scope when its n-th chunk is taken."""

    def __init__(self, chunks: object, count: int, scope: trio.CancelScope) -> None:
        self.chunks, self.count, self.scope = chunks, count, scope

    def __bool__(self) -> bool:
        return bool(self.chunks)

    def popleft(self) -> bytes:
        self.count -= 1
        if self.count == 0:
            self.scope.cancel()
        return self.chunks.popleft()  # type: ignore[attr-defined,no-any-return]


async def test_statements_of_two_tasks_wait_for_each_other() -> None:
    near, far = trio.testing.memory_stream_pair()
    answered: list[str | None] = []

    async def serve() -> None:
        await far.send_all(GREETING)
        await far.receive_some()
        await far.send_all(LOGGED_IN)
        for number in range(2):
            assert (await far.receive_some()).count(b"SELECT") == 1
            await trio.testing.wait_all_tasks_blocked()
            await far.send_all(
                wire(*build_text_result([Column(name=b"a")], [[b"%d" % number]], CAPABILITIES))
            )

    async def ask(connection: Connection) -> None:
        answered.append(await connection.value("SELECT"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        connection = await Connection.connect(user="app", stream=near)
        nursery.start_soon(ask, connection)
        nursery.start_soon(ask, connection)
    assert answered == ["0", "1"]


async def test_server_error_leaves_the_connection_usable() -> None:
    error = wire(build_error(1062, "23000", "Duplicate entry"))
    connection, _ = await connected(error, wire(ok_with_gtid("0-7-9")))
    with pytest.raises(ServerError) as caught:
        await connection.query("INSERT")
    assert (caught.value.errno, caught.value.sqlstate) == (1062, "23000")
    assert not connection.closed
    assert (await connection.query("INSERT")).gtid == "0-7-9"


async def test_error_among_rows_leaves_the_connection_usable() -> None:
    broken = wire(*ROWS[:-1], build_error(1242, "21000", "more than 1 row"))
    connection, _ = await connected(broken, wire(*ROWS))
    with pytest.raises(ServerError):
        await connection.query("SELECT a")
    assert await connection.value("SELECT a") == "1"


async def test_progress_reports_are_passed_over() -> None:
    connection, _ = await connected(
        wire(PROGRESS, PROGRESS, ok_with_gtid("0-7-9")), wire(*ROWS[:3], PROGRESS, *ROWS[3:])
    )
    assert (await connection.query("ALTER TABLE")).gtid == "0-7-9"
    assert len((await connection.query("SELECT a")).rows) == 2


async def test_several_results_give_the_first_with_columns_and_the_last_gtid() -> None:
    more = int(Status.MORE_RESULTS_EXISTS)
    first = build_ok(Ok(status=more), CAPABILITIES)
    second = build_text_result([Column(name=b"a")], [[b"1"]], CAPABILITIES, status=more)
    connection, _ = await connected(wire(first, *second, ok_with_gtid("0-7-9")))
    result = await connection.query("CALL")
    assert (result.columns, result.rows, result.gtid) == (("a",), [("1",)], "0-7-9")
    assert result.status & Status.SESSION_STATE_CHANGED


async def test_empty_answer_and_offer_of_a_file_are_refused() -> None:
    for payload in (b"", b"\xfb/etc/passwd"):
        connection, _ = await connected(wire(payload))
        with pytest.raises(RemoteProtocolError):
            await connection.query("LOAD DATA")
        assert connection.closed


async def test_capabilities_are_those_of_both() -> None:
    connection, _ = await connected()
    assert connection.capabilities == CAPABILITIES
    connection = await Connection.connect(
        user="app",
        stream=ScriptedStream(GREETING, LOGGED_IN),
        capabilities=CAPABILITIES | Capability.LOCAL_FILES,
    )
    assert connection.capabilities == CAPABILITIES


async def test_refusal_by_the_greeting_is_the_servers_error() -> None:
    stream = ScriptedStream(packet(b"\xff\x10\x04Too many connections", 0))
    with pytest.raises(ServerError) as caught:
        await Connection.connect(user="app", stream=stream)
    assert caught.value.errno == 1040
    assert stream.closed


async def test_switch_to_a_plugin_that_is_not_supported_says_what_to_do() -> None:
    stream = ScriptedStream(GREETING, packet(build_auth_switch("client_ed25519", b"s" * 32), 2))
    with pytest.raises(LocalProtocolError, match="client_ed25519"):
        await Connection.connect(user="app", stream=stream)
    assert stream.closed


async def test_connect_without_a_target_is_our_mistake() -> None:
    with pytest.raises(LocalProtocolError):
        await Connection.connect(user="app")


async def test_unreachable_server_is_a_lost_connection() -> None:
    with pytest.raises(ConnectionLost, match="ENOENT"):
        await Connection.connect(user="app", socket_path="/tmp/there-is-no-such-socket")
    with pytest.raises(ConnectionLost):
        await Connection.connect(user="app", host="127.0.0.1", port=1)


async def test_proxy_header_goes_before_anything_else() -> None:
    stream = ScriptedStream(GREETING, LOGGED_IN)
    await Connection.connect(user="app", stream=stream, proxy_header=b"PROXY UNKNOWN\r\n")
    assert stream.sent[0] == b"PROXY UNKNOWN\r\n"


async def test_close_says_good_bye_once() -> None:
    connection, stream = await connected()
    await connection.aclose()
    await connection.aclose()
    assert stream.sent[-1] == packet(b"\x01", 0)
    assert stream.closed
    with pytest.raises(ConnectionLost):
        await connection.ping()


async def test_close_of_a_broken_connection_is_quiet() -> None:
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(far.send_all, GREETING + LOGGED_IN)
        connection = await Connection.connect(user="app", stream=near)
    await far.aclose()
    await connection.aclose()
    assert connection.closed
