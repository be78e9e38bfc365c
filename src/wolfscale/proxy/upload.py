"""Long commands: their beginning is judged, and the rest goes from the client to the server as it comes.

What stands in memory is the beginning and one chunk, however long the command is. So it can be sent once
only: a leader that is lost in the middle of it has not carried it out, and the client has to send it again.
"""

import mmap

from wolfscale.mysql.constants import MAX_PACKET_PAYLOAD
from wolfscale.mysql.errors import ER_NET_PACKET_TOO_LARGE, ConnectionLost, RemoteProtocolError
from wolfscale.mysql.framing import DEFAULT_MAX_PAYLOAD_BYTES, header
from wolfscale.mysql.transport import PacketStream
from wolfscale.proxy.backend import BackendConnection
from wolfscale.proxy.errors import ProxyError
from wolfscale.proxy.refused import ER_NOT_SUPPORTED_YET
from wolfscale.proxy.relay import ClientGone
from wolfscale.proxy.requests import Request
from wolfscale.proxy.statement_scan import StatementScan

HEAD_BYTES = 1 << 20
"""The beginning that is kept. A shorter command is read whole."""
MAX_COMMAND_BYTES = 64 << 20
"""A command that cannot be judged by its beginning stands in memory, up to this length."""
LONGEST_COMMAND_BYTES = DEFAULT_MAX_PAYLOAD_BYTES
"""No server takes more; a client that sends on is not read from any longer."""
CHUNK_BYTES = 1 << 16


class SeveralStatements(ProxyError):
    """A long text may hold more than the statement that it begins with."""

    def __init__(self) -> None:
        super().__init__(
            ER_NOT_SUPPORTED_YET,
            "42000",
            "A command of 16 MiB or more may hold one statement only, and no executable comment: nothing of "
            "it was carried out, and the session ends; connect again, and send its statements one by one",
            fatal=True,
        )


class CommandTooLong(ProxyError):
    """A command that cannot be judged by its beginning is too long to be kept (1153)."""

    def __init__(self) -> None:
        super().__init__(
            ER_NET_PACKET_TOO_LARGE,
            "08S01",
            f"The proxy takes commands of more than {MAX_COMMAND_BYTES >> 20} MiB only if they execute a "
            "prepared statement, or are one INSERT, REPLACE, UPDATE, DELETE, LOAD, SELECT or CALL: send this "
            "one in parts",
        )


class EndlessCommand(ProxyError):
    """A command is longer than any server takes (1153, as MariaDB says it)."""

    def __init__(self) -> None:
        super().__init__(
            ER_NET_PACKET_TOO_LARGE,
            "08S01",
            "Got a packet bigger than 'max_allowed_packet' bytes",
            fatal=True,
        )


class Upload:
    """One long command, of which the client has sent the beginning.

    Attributes:
        head: its first `HEAD_BYTES`.
        continued: it takes more than one packet, so that its length is unknown until its last packet comes.
        cut_short: the server it was sent to has certainly not got all of it, and has not carried it out.
    """

    __slots__ = ("_announced", "_begun", "_client", "_left", "_more", "continued", "cut_short", "head")

    def __init__(self, client: PacketStream, head: bytes, length: int) -> None:
        self._client = client
        self._left = length - len(head)
        """Bytes of the packet under way that were not read yet."""
        self._more = self.continued = length == MAX_PACKET_PAYLOAD
        """Whether another packet follows it."""
        self._announced = length
        self._begun = False
        """Whether it was sent, as far as it may be."""
        self.cut_short = False
        self.head = head

    @classmethod
    async def begin(cls, client: PacketStream) -> "Upload":
        """Read the beginning of the next command, which is longer than `HEAD_BYTES`.

        Raises:
            ConnectionLost: the client is gone.
        """
        length = await client.read_header()
        head = bytearray()
        while len(head) < HEAD_BYTES:
            head += await client.read_part(HEAD_BYTES - len(head))
        return cls(client, bytes(head), length)

    async def collect(self) -> bytes:
        """The whole command.

        Raises:
            CommandTooLong: it is longer than `MAX_COMMAND_BYTES`; `drain` goes on from there.
            ClientGone: the client is gone.
        """
        # What grows in the heap stays there; these pages go back when they are copied.
        with mmap.mmap(-1, MAX_COMMAND_BYTES) as pages:
            pages.write(self.head)
            while chunk := await self._next():
                if pages.tell() + len(chunk) > MAX_COMMAND_BYTES:
                    raise CommandTooLong
                pages.write(chunk)
            return pages[: pages.tell()]

    async def drain(self) -> None:
        """Read what is left of it, for nothing.

        Raises:
            EndlessCommand: it is longer than any server takes.
            ClientGone: the client is gone.
        """
        while await self._next():
            pass

    async def send(
        self, connection: BackendConnection, head: bytes, scan: StatementScan | None = None
    ) -> bool:
        """Pass it on.

        Args:
            connection: gets it; closed if this raises, since it has got a part.
            head: in the place of its own, at most a packet longer, and not shorter.
            scan: of a text; has read the beginning.

        Returns:
            Whether the server has got all of it. If it has not it may still have said why.

        Raises:
            SeveralStatements: the scan says so.
            EndlessCommand: it is longer than any server takes.
            ClientGone: the client is gone.
        """
        assert not self._begun
        assert len(head) >= len(self.head)
        self._begun = self.cut_short = True
        sender = _Sender(connection.packets)
        try:
            await self._send(sender, head, scan)
            self.cut_short = sender.lost
            return not sender.lost
        except BaseException:
            await connection.abort()
            raise

    async def _send(self, sender: "_Sender", held: bytes, scan: StatementScan | None) -> None:
        number = 0
        while True:
            # Every packet but the last is full, so its length is known before what follows is.
            size = min(len(held) + self._left, MAX_PACKET_PAYLOAD)
            room, number, data = size - len(held), number + 1, header(size, number) + held
            while room:
                await sender.send(data)
                data = await self._scanned(room, scan)
                room -= len(data)
            # The end of the last packet is the end of the command, if it leaves.
            self.cut_short = size == MAX_PACKET_PAYLOAD
            await sender.send(data)
            held = b""
            while self._left:
                held += await self._scanned(self._left, scan)
            if size < MAX_PACKET_PAYLOAD:
                return
            if self._more:
                await self._begin_packet()

    async def _scanned(self, most: int, scan: StatementScan | None) -> bytes:
        chunk = await self._chunk(most)
        if scan is not None:
            scan.feed(chunk)
            if scan.several:
                raise SeveralStatements
        return chunk

    async def _next(self) -> bytes:
        """The next chunk; empty at the end."""
        while not self._left:
            if not self._more:
                return b""
            await self._begin_packet()
        return await self._chunk(self._left)

    async def _begin_packet(self) -> None:
        try:
            self._left = await self._client.read_header()
        except (ConnectionLost, RemoteProtocolError) as error:
            raise ClientGone from error
        self._more = self._left == MAX_PACKET_PAYLOAD
        self._announced += self._left
        if self._announced > LONGEST_COMMAND_BYTES:
            self._left, self._more = 0, False
            raise EndlessCommand

    async def _chunk(self, most: int) -> bytes:
        try:
            chunk = await self._client.read_part(min(most, CHUNK_BYTES))
        except (ConnectionLost, RemoteProtocolError) as error:
            raise ClientGone from error
        self._left -= len(chunk)
        return chunk


class LongRequest:
    """A request whose payload is an upload's beginning; it can be sent once."""

    __slots__ = ("_request", "_scan", "_upload", "command")

    whole = False
    once = True

    def __init__(self, request: Request, upload: Upload, scan: StatementScan | None = None) -> None:
        """Put a request before the rest of an upload.

        Args:
            request: gives the beginning, as the connection is to get it.
            upload: the rest.
            scan: of a text; has read the beginning.
        """
        self._request = request
        self._upload = upload
        self._scan = scan
        self.command = request.command

    def on_response(self, connection: BackendConnection, data: bytes | bytearray) -> bytes | bytearray:
        """As the request has it."""
        error = connection.tracker.error
        if error is not None and error.errno == ER_NET_PACKET_TOO_LARGE:
            connection.closed = True  # MariaDB closes it, as it would have to read to the command's end
        return self._request.on_response(connection, data)

    @property
    def cut_short(self) -> bool:
        """See `Upload`."""
        return self._upload.cut_short

    async def payload_for(self, connection: BackendConnection) -> bytes:
        """The beginning for this connection."""
        return await self._request.payload_for(connection)

    async def send(self, connection: BackendConnection, payload: bytes) -> bool:
        """Send the beginning and the rest; false if the connection broke before it had all.

        Raises: see `Upload.send`.
        """
        return await self._upload.send(connection, payload, self._scan)


class _Sender:
    """Sends until the server is lost: the client's rest is read all the same, so that it hears an answer."""

    __slots__ = ("_server", "lost")

    def __init__(self, server: PacketStream) -> None:
        self._server = server
        self.lost = False

    async def send(self, data: bytes) -> None:
        if not self.lost:
            try:
                await self._server.send_raw(data)
            except ConnectionLost:
                self.lost = True
