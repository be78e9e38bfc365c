"""The feed's side of a connection until the replica asks for its dump: log-in and questions."""

import trio

from wolfscale.errors import WolfScaleError
from wolfscale.mysql.auth import new_salt, proof_from_answer
from wolfscale.mysql.constants import NATIVE_PASSWORD, Capability, Command
from wolfscale.mysql.errors import ConnectionLost, RemoteProtocolError, ServerError
from wolfscale.mysql.handshake import (
    Greeting,
    build_auth_switch,
    build_greeting,
    parse_handshake_response,
)
from wolfscale.mysql.results import Ok, build_error, build_ok
from wolfscale.mysql.transport import PacketStream
from wolfscale.replication.dump_commands import DumpRequest, parse_dump_request
from wolfscale.replication.questions import Questions

FEED_SERVER_ID = 0x7FFFFFFF
"""The server id under which the feed speaks; no MariaDB of the cluster ever has it."""

FEED_VERSION = "10.6.0-MariaDB"
"""What the feed claims to be: the oldest version that every replica of a cluster can follow."""

LOG_IN_SECONDS = 30.0
ACCESS_DENIED_ERRNO = 1045
UNKNOWN_COMMAND_ERRNO = 1047

_CAPABILITIES = (
    Capability.MYSQL
    | Capability.LONG_FLAG
    | Capability.CONNECT_WITH_DB
    | Capability.PROTOCOL_41
    | Capability.TRANSACTIONS
    | Capability.SECURE_CONNECTION
    | Capability.PLUGIN_AUTH
)


class ReplicaGone(WolfScaleError):
    """The replica's connection ended, or it did not do what replicas do. The feed closes it and goes on."""


class FeedSession:
    """One replica's connection. One task uses it.

    Attributes:
        packets: the connection; at the start of the dump its next sequence number is right.
        questions: what the replica has set so far.
    """

    def __init__(self, packets: PacketStream, *, connection_id: int, user: str, double_hash: bytes) -> None:
        """Prepare; nothing is sent yet.

        Args:
            packets: the connection.
            connection_id: a number for the greeting.
            user: the account name that is let in.
            double_hash: the double SHA1 of its password.
        """
        self.packets = packets
        self.questions = Questions(server_id=FEED_SERVER_ID, version=FEED_VERSION)
        self._connection_id = connection_id
        self._user = user
        self._double_hash = double_hash
        self._capabilities = int(_CAPABILITIES)

    async def wait_dump(self) -> DumpRequest:
        """Let the replica log in, answer what it asks, and return its request for the dump.

        Raises:
            ReplicaGone: it left, could not prove its password, took too long or asked for nonsense.
        """
        try:
            with trio.fail_after(LOG_IN_SECONDS):
                await self._log_in()
                return await self._answer_until_dump()
        except trio.TooSlowError:
            raise ReplicaGone(f"no dump was asked for within {LOG_IN_SECONDS:g} s") from None
        except ConnectionLost as error:
            raise ReplicaGone(str(error)) from error
        except RemoteProtocolError as error:
            raise ReplicaGone(f"it sent nonsense: {error}") from error

    async def refuse(self, error: ServerError) -> None:
        """Answer with an error.

        Raises:
            ReplicaGone: it left.
        """
        try:
            await self.packets.write(build_error(error.errno, error.sqlstate, error.message))
        except ConnectionLost as lost:
            raise ReplicaGone(str(lost)) from lost

    async def _log_in(self) -> None:
        packets = self.packets
        salt = new_salt()
        greeting = Greeting(
            server_version=f"5.5.5-{FEED_VERSION}",
            connection_id=self._connection_id,
            salt=salt,
            capabilities=int(_CAPABILITIES),
        )
        await packets.write(build_greeting(greeting), sequence=0)
        response = parse_handshake_response(await packets.read())
        self._capabilities &= response.capabilities
        answer = response.answer
        if response.plugin not in (b"", NATIVE_PASSWORD.encode()):
            salt = new_salt()
            await packets.write(build_auth_switch(NATIVE_PASSWORD, salt))
            answer = await packets.read()
        proven = proof_from_answer(answer, salt, self._double_hash) is not None
        if not proven or response.user != self._user.encode():
            await self.refuse(
                ServerError(
                    ACCESS_DENIED_ERRNO,
                    "28000",
                    "Access denied: this is the feed of a WolfScale node, for the MariaDB beside it only",
                )
            )
            raise ReplicaGone("it could not prove its password")
        await packets.write(build_ok(Ok(), self._capabilities))

    async def _answer_until_dump(self) -> DumpRequest:
        packets = self.packets
        while True:
            payload = await packets.read()
            command = payload[0] if payload else -1
            if command == Command.BINLOG_DUMP:
                return parse_dump_request(payload)
            if command == Command.QUIT:
                raise ReplicaGone("it said good-bye")
            if command == Command.QUERY:
                try:
                    text = payload[1:].decode(errors="replace")
                    answers = self.questions.answer(text, self._capabilities)
                except ServerError as error:
                    answers = [build_error(error.errno, error.sqlstate, error.message)]
            elif command in (Command.REGISTER_SLAVE, Command.PING):
                answers = [build_ok(Ok(), self._capabilities)]
            else:
                answers = [build_error(UNKNOWN_COMMAND_ERRNO, "08S01", "the feed of a WolfScale node")]
            for answer in answers:
                packets.queue(answer)
            await packets.flush()
