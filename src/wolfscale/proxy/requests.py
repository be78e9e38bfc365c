"""A client's command on its way to a server: what makes its bytes, and how often it can be sent."""

from typing import Protocol

from wolfscale.mysql.errors import ConnectionLost
from wolfscale.proxy.backend import BackendConnection
from wolfscale.proxy.errors import ProxyError


class Request(Protocol):
    """A command that can be sent to either connection."""

    @property
    def command(self) -> int:
        """Its first byte."""
        ...

    @property
    def whole(self) -> bool:
        """Whether its response, which is short, is to be handed over in one piece."""
        ...

    @property
    def once(self) -> bool:
        """Whether it can be sent one time only: nobody has kept it."""
        ...

    @property
    def cut_short(self) -> bool:
        """Whether the server it was sent to has certainly not got all of it."""
        ...

    def on_response(self, connection: BackendConnection, data: bytes | bytearray) -> bytes | bytearray:
        """The last chunk of its response, seen and perhaps changed before the client gets it."""
        ...

    async def payload_for(self, connection: BackendConnection) -> bytes:
        """Its payload for this connection, which is made ready for it first.

        Raises:
            ServerError: the connection cannot be made ready (a statement does not prepare there).
        """
        ...

    async def send(self, connection: BackendConnection, payload: bytes) -> bool:
        """Send the payload that was made for this connection; false if it broke before it had all of it.

        Raises:
            ConnectionLost: it broke, and has perhaps got all of it.
        """
        ...


class CommandCutShort(ConnectionLost):
    """The connection broke before it had the whole command, which was not carried out then."""


class NotCarriedOut(ProxyError):
    """A command that only its client can send again was certainly not carried out (1213, 40001)."""

    def __init__(self, why: str, *, rolled_back: bool = False) -> None:
        also = ", and the transaction is rolled back" if rolled_back else ""
        super().__init__(
            1213,
            "40001",
            f"{why} in the middle of the command, which was not carried out{also}: try it again",
        )


class TextRequest:
    """A command whose bytes are the same for every connection."""

    __slots__ = ("_payload", "command")

    whole = False
    once = False
    cut_short = False

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self.command = payload[0]

    def on_response(self, connection: BackendConnection, data: bytes | bytearray) -> bytes | bytearray:
        """The chunk as it is."""
        return data

    async def payload_for(self, connection: BackendConnection) -> bytes:
        """The payload as it is."""
        return self._payload

    async def send(self, connection: BackendConnection, payload: bytes) -> bool:
        """Send it."""
        await connection.packets.command(payload)
        return True
