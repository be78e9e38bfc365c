"""Carrying one response from a back end to the client: the hot loop, kept small so that it can be replaced.

All of a response but its last chunk is sent on as it comes. The last chunk is handed back, because an OK may
leave only when the log holds what it promises.
"""

from wolfscale.mysql.constants import MAX_PACKET_PAYLOAD, Capability, Status
from wolfscale.mysql.errors import ConnectionLost, RemoteProtocolError
from wolfscale.mysql.framing import header, packet
from wolfscale.mysql.results import rewrite_ok
from wolfscale.mysql.transport import PacketStream
from wolfscale.proxy.backend import BackendConnection

FILE_PART_BYTES = 1 << 16
"""Of a client's file, so much is in memory at most."""
_HEADER = 4
_CURSOR_EXISTS = int(Status.CURSOR_EXISTS)
_CURSOR_OR_MORE = _CURSOR_EXISTS | int(Status.MORE_RESULTS_EXISTS)


class ClientGone(Exception):
    """The client's side broke while a response was on its way; the session ends."""


class PartlySent(Exception):
    """The back end broke when part of its response had reached the client: no error packet fits now."""


class Rewriter:
    """Takes session tracking out of the OK packets of one response, for a client that did not ask for it.

    Works on packets, whatever the chunks; only OK packets are rebuilt, and they are small.
    """

    __slots__ = (
        "_capabilities",
        "_client",
        "_continued",
        "_definitions",
        "_deprecates_eof",
        "_opens_cursor",
        "_rest",
        "_state",
    )

    def __init__(
        self,
        capabilities: int,
        client_capabilities: int,
        *,
        opens_cursor: bool = False,
        fetches: bool = False,
    ) -> None:
        """Begin a response.

        Args:
            capabilities: those of the connection to the server.
            client_capabilities: the client's.
            opens_cursor: it is that to an execution that asks for a cursor.
            fetches: it is that to COM_STMT_FETCH, which begins with rows.
        """
        self._capabilities = capabilities
        self._opens_cursor = opens_cursor
        self._client = client_capabilities
        self._deprecates_eof = bool(capabilities & Capability.DEPRECATE_EOF)
        self._rest = b""
        self._continued = False
        self._state = "rows" if fetches else "first"
        self._definitions = 0

    def feed(self, data: bytes | bytearray) -> bytes:
        """The same bytes with OK packets rebuilt; an unfinished packet is kept for the next time."""
        data = self._rest + bytes(data)
        parts: list[bytes] = []
        position, end = 0, len(data)
        while position + _HEADER <= end:
            length = int.from_bytes(data[position : position + 3], "little")
            after = position + _HEADER + length
            if after > end:
                break
            raw = data[position:after]
            if self._continued or not length:
                self._continued = length == MAX_PACKET_PAYLOAD
                parts.append(raw)
            else:
                parts.append(self._packet(raw))
                self._continued = length == MAX_PACKET_PAYLOAD
            position = after
        self._rest = data[position:]
        return b"".join(parts)

    def _packet(self, raw: bytes) -> bytes:
        payload = raw[_HEADER:]
        first = payload[0]
        if self._state == "first":
            if first == 0x00:
                return self._ok(raw)
            if first not in (0xFF, 0xFB, 0xFE):
                self._definitions = _column_count(payload)
                self._state = "definitions"
        elif self._state == "definitions":
            if self._definitions:
                self._definitions -= 1
                if not self._definitions and self._deprecates_eof:
                    self._state = "rows"
            elif first == 0xFE:  # the EOF behind the definitions
                status = int.from_bytes(payload[3:5], "little")
                has_no_rows = self._opens_cursor and status & _CURSOR_OR_MORE == _CURSOR_EXISTS
                self._state = "first" if has_no_rows else "rows"
        elif first == 0xFE and (self._deprecates_eof or len(payload) < 9):
            self._state = "first"
            if self._deprecates_eof:
                return self._ok(raw)
        return raw

    def _ok(self, raw: bytes) -> bytes:
        return packet(rewrite_ok(raw[_HEADER:], self._capabilities, self._client), raw[3])


def _column_count(payload: bytes) -> int:
    if payload[0] == 0xFC and len(payload) >= 3:
        return int.from_bytes(payload[1:3], "little")
    return payload[0]


def is_lone_ok(data: bytes | bytearray) -> bool:
    """Whether a chunk is exactly one OK packet."""
    return len(data) > 10 and data[4] == 0 and len(data) == _HEADER + (data[0] | data[1] << 8 | data[2] << 16)


async def relay_response(
    backend: BackendConnection,
    client: PacketStream,
    rewriter: Rewriter | None,
    *,
    whole: bool = False,
    first: bytes | bytearray | None = None,
    sent: bool = False,
) -> tuple[bytes | bytearray, bool]:
    """Pass a response on up to its last chunk.

    Args:
        backend: its tracker has begun the command.
        client: gets the bytes.
        rewriter: for a client that does not track sessions; None passes bytes as they are.
        whole: hand everything back in one piece, for short responses that are to be changed.
        first: a chunk that tracker and rewriter have been fed already.
        sent: whether the client has seen something of the response.

    Returns:
        The last chunk, not sent yet, and whether anything has been sent before it.

    Raises:
        ConnectionLost: the back end is gone and the client has seen nothing of the response.
        PartlySent: likewise, but it has seen part of it.
        RemoteProtocolError: the back end sent nonsense; to be treated the same.
        ClientGone: the client is.
    """
    tracker = backend.tracker
    collected = bytearray()
    while True:
        if first is not None:
            data, first = first, None
        else:
            data = await _receive(backend, rewriter, sent=sent)
        if collected or (whole and not tracker.done):
            collected += data
            data = collected
        if tracker.done:
            return data, sent
        if data and not whole:
            try:
                await client.send_raw(data)
            except ConnectionLost as error:
                raise ClientGone from error
            sent = True
        if tracker.awaiting_client:
            await _relay_file(backend, client)


async def _receive(backend: BackendConnection, rewriter: Rewriter | None, *, sent: bool) -> bytes | bytearray:
    try:
        data = await backend.packets.receive_raw()
    except ConnectionLost as error:
        if sent:
            raise PartlySent from error
        raise
    end = backend.tracker.feed(data)
    if end < len(data):
        # Nobody asked for more: the server says that it closes, and why. That is for no one to read.
        data = data[:end]
        backend.closed = True
    return data if rewriter is None else rewriter.feed(data)


async def _relay_file(backend: BackendConnection, client: PacketStream) -> None:
    """LOAD DATA LOCAL: the client's packets up to an empty one, passed on as they come.

    When the back end is lost the rest is read all the same: what follows it is the client's next command.
    """
    lost: ConnectionLost | None = None
    continued = False
    while True:
        try:
            left = length = await client.read_header()
            data = header(length, client.next_sequence - 1)
            while left:
                part = await client.read_part(min(left, FILE_PART_BYTES))
                left -= len(part)
                data += part
                # A short packet goes in one piece with its header.
                if left and len(data) < FILE_PART_BYTES:
                    continue
                lost = lost or await _send(backend, data)
                data = b""
        except (ConnectionLost, RemoteProtocolError) as error:
            raise ClientGone from error
        if data:
            lost = lost or await _send(backend, data)
        # An empty packet behind a full one ends that one only.
        if not length and not continued:
            break
        continued = length == MAX_PACKET_PAYLOAD
    if lost is not None:
        raise lost


async def _send(backend: BackendConnection, data: bytes) -> ConnectionLost | None:
    try:
        await backend.packets.send_raw(data)
    except ConnectionLost as error:
        return error
    return None
