"""An async client for the node's own work on its MariaDB: text protocol, one statement at a time."""

import errno as oserrors
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from wolfscale.mysql.auth import scramble, sha1_of_password
from wolfscale.mysql.buffer import PacketBuffer
from wolfscale.mysql.constants import NATIVE_PASSWORD, Capability, Command, Status
from wolfscale.mysql.errors import ConnectionLost, LocalProtocolError, RemoteProtocolError
from wolfscale.mysql.handshake import (
    Greeting,
    HandshakeResponse,
    build_handshake_response,
    parse_auth_switch,
    parse_greeting,
)
from wolfscale.mysql.results import (
    EOF_HEADER,
    ERROR_HEADER,
    OK_HEADER,
    Ok,
    parse_column,
    parse_error,
    parse_ok,
    parse_result_end,
    parse_text_row,
)
from wolfscale.mysql.transport import PacketStream

DEFAULT_CAPABILITIES = (
    Capability.MYSQL
    | Capability.LONG_FLAG
    | Capability.PROTOCOL_41
    | Capability.TRANSACTIONS
    | Capability.SECURE_CONNECTION
    | Capability.MULTI_RESULTS
    | Capability.PS_MULTI_RESULTS
    | Capability.PLUGIN_AUTH
    | Capability.CONNECT_ATTRS
    | Capability.SESSION_TRACK
    | Capability.DEPRECATE_EOF
)

_ATTRIBUTES = {b"program_name": b"wolfscale"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one statement gave.

    Attributes:
        columns: names, empty for a statement without rows.
        rows: values as text, None for NULL. What is not UTF-8 is kept by `surrogateescape`:
            `value.encode(errors="surrogateescape")` gives the bytes.
        affected_rows: rows changed (0 for a result set).
        gtid: the GTID the statement wrote, if the server tracks `last_gtid`.
        info: the server's remark, e.g. "Records: 3  Duplicates: 0  Warnings: 0".
        status: server status flags after it.
    """

    columns: tuple[str, ...] = ()
    rows: list[tuple[str | None, ...]]
    affected_rows: int = 0
    last_insert_id: int = 0
    info: str = ""
    gtid: str | None = None
    status: int = 0
    warnings: int = 0

    @property
    def value(self) -> str | None:
        """The first value of the first row; None when there is none."""
        return self.rows[0][0] if self.rows else None

    def mappings(self) -> list[dict[str, str | None]]:
        """The rows as dictionaries by column name."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


@dataclass(slots=True)
class Exchange:
    """One command and its answer.

    Attributes:
        over: the answer has been read to its end, so that the connection can be used again.
    """

    over: bool = False


class Connection:
    """A logged-in connection.

    Several tasks may use one connection: statements wait for each other. A statement that is cancelled or
    breaks in the middle closes the connection, since what it would have answered can no longer be told from
    the next answer; an error that the server answers (`ServerError`) does not.

    Attributes:
        packets: raw access, for commands such as COM_BINLOG_DUMP.
        capabilities: those that hold on this connection.
        greeting: the server's, with its version, connection id and challenge.
    """

    def __init__(self, packets: PacketStream, greeting: Greeting, capabilities: int) -> None:
        self.packets = packets
        self.greeting = greeting
        self.capabilities = capabilities
        self._lock = trio.Lock()
        self._closed = False

    @property
    def connection_id(self) -> int:
        """The server's id of this connection, as CONNECTION_ID() gives it."""
        return self.greeting.connection_id

    @property
    def server_version(self) -> str:
        """The server's version without the "5.5.5-" that MariaDB greets with."""
        return self.greeting.server_version.removeprefix("5.5.5-")

    @property
    def closed(self) -> bool:
        """Whether the connection can no longer be used."""
        return self._closed

    @classmethod
    async def connect(
        cls,
        *,
        user: str,
        password: str | None = None,
        sha1_password: bytes | None = None,
        socket_path: str | None = None,
        host: str | None = None,
        port: int | None = None,
        database: str | None = None,
        proxy_header: bytes = b"",
        capabilities: int = int(DEFAULT_CAPABILITIES),
        stream: trio.abc.Stream | None = None,
    ) -> "Connection":
        """Connect and log in.

        Args:
            user: account name.
            password: its password; None or "" means none.
            sha1_password: SHA1(password) instead, see `wolfscale.mysql.auth`.
            socket_path: a unix socket; else `host` and `port`; else `stream`, which is connected already.
            host: name or address.
            port: 3306 unless said otherwise.
            database: default schema.
            proxy_header: a PROXY protocol header to send before anything else.
            capabilities: what to ask for; what the server lacks is dropped.
            stream: a connected stream; closed by this connection, also when the log-in fails.

        Raises:
            ConnectionLost: the server cannot be reached, or went away.
            ServerError: the server refused.
            LocalProtocolError: the account's plugin is neither mysql_native_password nor unix_socket.
        """
        packets = PacketStream(stream or await _open_stream(socket_path, host, port))
        try:
            if proxy_header:
                await packets.send_raw(proxy_header)
            greeting = parse_greeting(await packets.read())
            wanted = capabilities | (Capability.CONNECT_WITH_DB if database else 0)
            shared = int(wanted & (greeting.capabilities | Capability.MYSQL))
            if password:
                sha1_password = sha1_of_password(password)
            await packets.write(
                build_handshake_response(
                    HandshakeResponse(
                        capabilities=shared,
                        user=user.encode(),
                        answer=scramble(sha1_password, greeting.salt) if sha1_password else b"",
                        database=(database or "").encode(),
                        attributes=_ATTRIBUTES,
                    )
                )
            )
            await _finish_log_in(packets, sha1_password, user)
        except BaseException:
            await packets.aclose_forcefully()
            raise
        return cls(packets, greeting, shared)

    async def query(self, sql: str | bytes) -> Result:
        """Run one statement and read all it answers.

        Of several results (CALL, or several statements where the capability was asked for) the first with
        columns is given, else the last; the GTID is the last one told.

        Raises:
            ServerError: the server's error; the connection stays usable.
            ConnectionLost: the outcome is unknown; the connection is closed.
        """
        results = await self.query_all(sql)
        chosen = next((result for result in results if result.columns), results[-1])
        gtid = next((result.gtid for result in reversed(results) if result.gtid), None)
        if gtid == chosen.gtid:
            return chosen
        return Result(
            columns=chosen.columns,
            rows=chosen.rows,
            affected_rows=chosen.affected_rows,
            last_insert_id=chosen.last_insert_id,
            info=chosen.info,
            gtid=gtid,
            status=results[-1].status,
            warnings=chosen.warnings,
        )

    async def query_all(self, sql: str | bytes) -> list[Result]:
        """Run statements and give every result; see `query`."""
        text = sql if isinstance(sql, bytes) else sql.encode(errors="surrogateescape")
        async with self.exchange() as exchange:
            await self.packets.command(bytes((Command.QUERY,)) + text)
            results = []
            while True:
                outcome = await self._read_result()
                if not isinstance(outcome, Result):
                    exchange.over = True
                    raise parse_error(outcome)
                results.append(outcome)
                if not outcome.status & Status.MORE_RESULTS_EXISTS:
                    exchange.over = True
                    return results

    async def value(self, sql: str | bytes) -> str | None:
        """The first value of the first row of a statement; None when it is NULL or there is none."""
        return (await self.query(sql)).value

    async def ping(self) -> None:
        """Have the server answer.

        Raises:
            ConnectionLost: it did not.
        """
        async with self.exchange() as exchange:
            await self.packets.command(bytes((Command.PING,)))
            payload = await self.packets.read()
            exchange.over = True
        if payload[:1] == b"\xff":
            raise parse_error(payload)

    @asynccontextmanager
    async def exchange(self) -> AsyncIterator["Exchange"]:
        """Have the connection for one command and its answer, on `packets`; used by further commands.

        On the way out the connection is closed unless the answer was declared `over`.

        Raises:
            ConnectionLost: it is closed already.
        """
        async with self._lock:
            if self._closed:
                raise ConnectionLost("the connection is closed")
            exchange = Exchange()
            try:
                yield exchange
            finally:
                if not exchange.over:
                    await self.aclose_forcefully()

    async def aclose_forcefully(self) -> None:
        """Close at once, also while another task waits for an answer: it gets `ConnectionLost`."""
        self._closed = True
        await self.packets.aclose_forcefully()

    async def aclose(self) -> None:
        """Say good-bye and close; harmless when closed already. Cancelled, it closes at once."""
        if self._closed:
            return
        self._closed = True
        try:
            await self.packets.command(bytes((Command.QUIT,)))
            await self.packets.aclose()
        except ConnectionLost:
            pass
        finally:
            await self.packets.aclose_forcefully()

    async def __aenter__(self) -> "Connection":
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    async def _read_result(self) -> Result | bytes:
        """One result, or the payload of the error that came instead."""
        first = await read_past_progress(self.packets)
        if not first:
            raise RemoteProtocolError("an empty packet starts no result")
        if first[0] == ERROR_HEADER:
            return first
        if first[0] == OK_HEADER:
            return _result((), [], parse_ok(first, self.capabilities))
        if first[0] == 0xFB:
            raise RemoteProtocolError("the server asked for a local file, which was never offered")
        count = PacketBuffer(first).lenenc_int()
        columns = []
        for _ in range(count):
            definition = parse_column(await self.packets.read(), self.capabilities)
            columns.append(definition.name.decode(errors="replace"))
        deprecates_eof = self.capabilities & Capability.DEPRECATE_EOF
        if not deprecates_eof:
            await self.packets.read()
        rows: list[tuple[str | None, ...]] = []
        while True:
            payload = await read_past_progress(self.packets)
            header = payload[0] if payload else -1
            if header == ERROR_HEADER:
                return payload
            if header == EOF_HEADER and (deprecates_eof or len(payload) < 9) and len(payload) < 0xFFFFFF:
                return _result(tuple(columns), rows, parse_result_end(payload, self.capabilities))
            row = parse_text_row(payload, count)
            rows.append(
                tuple(None if value is None else value.decode(errors="surrogateescape") for value in row)
            )


def _result(columns: tuple[str, ...], rows: list[tuple[str | None, ...]], ok: Ok) -> Result:
    return Result(
        columns=columns,
        rows=rows,
        affected_rows=ok.affected_rows,
        last_insert_id=ok.last_insert_id,
        info=ok.info.decode(errors="replace"),
        gtid=ok.session_changes.gtid if ok.session_data else None,
        status=ok.status,
        warnings=ok.warnings,
    )


async def read_past_progress(packets: PacketStream) -> bytes:
    """The next packet that is no report of progress, which counts for nothing; raises as `packets.read`."""
    while True:
        payload = await packets.read()
        if payload[:3] != b"\xff\xff\xff":
            return payload


async def _open_stream(socket_path: str | None, host: str | None, port: int | None) -> trio.abc.Stream:
    target = socket_path or f"{host}:{port or 3306}"
    try:
        if socket_path is not None:
            return await trio.open_unix_socket(socket_path)
        if host is not None:
            return await trio.open_tcp_stream(host, port or 3306)
    except OSError as error:
        reason = oserrors.errorcode.get(error.errno or 0, "") or str(error)
        raise ConnectionLost(f"cannot connect to MariaDB at {target}: {reason}") from error
    raise LocalProtocolError("connect needs a socket_path, a host or a stream")


async def _finish_log_in(packets: PacketStream, sha1_password: bytes | None, user: str) -> None:
    while True:
        payload = await packets.read()
        header = payload[0] if payload else -1
        if header == OK_HEADER:
            return
        if header == ERROR_HEADER:
            raise parse_error(payload)
        if header != EOF_HEADER:
            raise LocalProtocolError(f"the account {user!r} wants a log-in dialogue that is not supported")
        switch = parse_auth_switch(payload)
        if switch.plugin != NATIVE_PASSWORD:
            raise LocalProtocolError(
                f"the account {user!r} logs in by {switch.plugin}; give it {NATIVE_PASSWORD} or unix_socket"
            )
        await packets.write(scramble(sha1_password, switch.salt) if sha1_password else b"")
