"""The dialogue of a log-in between a client and a MariaDB server, relayed; and what it proved.

A server asks its client to answer by the plugin of the account. What the proxy lets pass of that depends on
the plugin (`CLIENT_PLUGINS`): whether its answer is as good as the password, so that it may pass under TLS
only, and whether it opens the session's other connections too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import trio

from wolfscale.mysql.auth import scramble
from wolfscale.mysql.buffer import PacketBuffer
from wolfscale.mysql.constants import NATIVE_PASSWORD
from wolfscale.mysql.handshake import build_auth_switch, parse_auth_switch
from wolfscale.mysql.results import EOF_HEADER, ERROR_HEADER, OK_HEADER, build_error, parse_error
from wolfscale.mysql.transport import PacketStream
from wolfscale.proxy.accounts import CLIENT_ED25519, Account, Proof, Proven, matched, proven
from wolfscale.proxy.backend import CLEAR_TEXT, BackendConnection, Backends
from wolfscale.proxy.errors import BackendUnavailable, ControlLost, ProxyError

ER_NOT_SUPPORTED_AUTH_MODE = 1251
ER_ACCESS_DENIED_NO_PASSWORD = 1698
SERVER_SECONDS = 10.0
"""For one answer of a server to a log-in; none comes while an account statement waits for its majority."""
APPLY_SECONDS = 10.0
"""For the MariaDB beside the node to have the account that the leader's has."""
_SHA2_FAST_SUCCESS = b"\x01\x03"
"""caching_sha2_password: the answer was right, and the server's OK follows without another word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientPlugin:
    """How a client answers.

    Attributes:
        needs_tls: the answer is the password, or may be.
        repeats: what the client says opens further connections.
    """

    needs_tls: bool = False
    repeats: bool = False


CLIENT_PLUGINS = {
    NATIVE_PASSWORD: ClientPlugin(repeats=True),
    CLIENT_ED25519: ClientPlugin(),
    "parsec": ClientPlugin(),
    "auth_gssapi_client": ClientPlugin(),
    "caching_sha2_password": ClientPlugin(needs_tls=True),
    "dialog": ClientPlugin(needs_tls=True, repeats=True),
    "mysql_clear_password": ClientPlugin(needs_tls=True, repeats=True),
}


@dataclass(frozen=True, slots=True)
class KeptChallenge:
    """The challenge of mysql_native_password that a client has, in place of those of the session's servers.

    At COM_CHANGE_USER a MariaDB server asks with the challenge of its greeting again, so that Connector/C
    answers that one and does not look at what it is asked. Of the session's servers one at most has sent it.

    Attributes:
        challenge: 20 bytes.
        user: who wants to log in.
        backends: knows the accounts.
    """

    challenge: bytes
    user: bytes
    backends: Backends

    async def answer(self, proof: Proof, asked: bytes) -> bytes:
        """The answer to a server's challenge, made from the client's to this one.

        Where the client's proves nothing it is returned as it is: the server refuses it in its own words.

        Args:
            proof: what the client has answered.
            asked: the server's challenge.

        Raises:
            BackendUnavailable: the accounts cannot be read now.
        """
        if asked == self.challenge or not proof.answer:
            return proof.answer
        await _wait_applied(self.backends, self.backends.views.current.committed_sequence)
        found = proven(await find_accounts(self.backends, self.user), proof)
        if found is None or found.sha1_password is None:
            return proof.answer
        return scramble(found.sha1_password, asked)


class LogInRefused(Exception):
    """The client was answered and must be disconnected."""


class LeaderWanted(Exception):
    """The plugin's answer is good for one connection, and this one is not the leader's.

    Attributes:
        payload: the switch that the server has sent, and the client has not got.
    """

    def __init__(self, payload: bytes) -> None:
        super().__init__("the answer must be the leader's")
        self.payload = payload


async def authenticate(
    client: PacketStream,
    server: PacketStream,
    proof: Proof,
    *,
    secure: bool,
    final: bool,
    first: bytes | None = None,
    kept: KeptChallenge | None = None,
) -> bytes:
    """Relay the dialogue up to the server's OK, which is returned and not sent yet.

    Args:
        client: has answered the greeting, or sent COM_CHANGE_USER.
        server: has been told.
        proof: kept up to date.
        secure: whether what passes between client and proxy is encrypted.
        final: whether the session can do with this server alone.
        first: a packet that was read from the server before.
        kept: what the client is asked in place of the server's own challenge.

    Raises:
        LogInRefused: the client has been told.
        LeaderWanted: the dialogue must be had with the leader's MariaDB.
        ProxyError: the plugin is not let pass.
        ConnectionLost: either is gone.
        RemoteProtocolError: either sent nonsense.
    """
    while True:
        payload = await server_word(server) if first is None else first
        first, asked = None, b""
        header = payload[0] if payload else -1
        if header == OK_HEADER:
            return payload
        if header == ERROR_HEADER:
            await client.write(_explained(payload))
            raise LogInRefused
        if header == EOF_HEADER:
            switch = parse_auth_switch(payload)
            plugin = _allowed(switch.plugin, secure=secure)
            if not plugin.repeats and not final:
                raise LeaderWanted(payload)
            # A native challenge is ended by a NUL byte; others are not, and may end with one of their own.
            proof.salt = switch.salt if switch.plugin == NATIVE_PASSWORD else switch.data
            proof.plugin = switch.plugin
            if kept is not None and switch.plugin == NATIVE_PASSWORD:
                asked = switch.salt
                proof.salt = kept.challenge
                payload = build_auth_switch(NATIVE_PASSWORD, kept.challenge)
        elif proof.plugin == NATIVE_PASSWORD:
            # More than one answer: no dialogue that was switched to.
            raise _not_supported("another plugin")
        await client.write(payload)
        if payload == _SHA2_FAST_SUCCESS:
            continue
        proof.answer = await client.read()
        proof.answers = 1 if header == EOF_HEADER else proof.answers + 1
        await server.write(await kept.answer(proof, asked) if kept is not None and asked else proof.answer)


async def server_word(server: PacketStream) -> bytes:
    """What a server says next to somebody who is logging in.

    Raises:
        BackendUnavailable: nothing, for so long that it is not the client's fault.
        ConnectionLost: it is gone.
    """
    with trio.move_on_after(SERVER_SECONDS):
        return await server.read()
    raise BackendUnavailable(
        f"MariaDB has not answered this log-in for {SERVER_SECONDS:g} s: it hangs, or an account statement "
        "(CREATE USER, GRANT) waits for a majority of the nodes. See `wolfscale status`, then try again"
    )


def _allowed(name: str, *, secure: bool) -> ClientPlugin:
    plugin = CLIENT_PLUGINS.get(name)
    if plugin is None:
        raise _not_supported(name)
    if plugin.needs_tls and not secure:
        raise ProxyError(
            ER_NOT_SUPPORTED_AUTH_MODE,
            "08004",
            f"This account logs in by {name}, which shows the password: connect with TLS (mariadb --ssl)",
            fatal=True,
        )
    return plugin


def _not_supported(plugin: str) -> ProxyError:
    return ProxyError(
        ER_NOT_SUPPORTED_AUTH_MODE,
        "08004",
        f"This account logs in by {plugin}, which the proxy does not support; give it "
        f"{NATIVE_PASSWORD} (ALTER USER ... IDENTIFIED VIA {NATIVE_PASSWORD} USING PASSWORD('...'))",
        fatal=True,
    )


def _explained(payload: bytes) -> bytes:
    """A server's refusal; one for want of the right operating system user says what that means here."""
    error = parse_error(payload)
    if error.errno != ER_ACCESS_DENIED_NO_PASSWORD:
        return payload
    return build_error(error.errno, error.sqlstate, f"{error.message} ({_AT_THE_SOCKET})")


_AT_THE_SOCKET = (
    "accounts with unix_socket log in at MariaDB's own socket only; through the proxy an account needs a "
    "password: ALTER USER ... IDENTIFIED VIA mysql_native_password USING PASSWORD('...')"
)


async def find_accounts(backends: Backends, user: bytes) -> Sequence[Account]:
    """All accounts that a client of this name may be logged in to.

    Raises:
        BackendUnavailable: they cannot be read now.
    """
    try:
        return await backends.accounts(user.decode(errors="replace"))
    except ControlLost as error:
        raise BackendUnavailable(f"The accounts cannot be read now: {error}") from error


async def prove(
    backends: Backends,
    connection: BackendConnection,
    user: bytes,
    proof: Proof,
    accounts: Sequence[Account] | None = None,
) -> Proven:
    """What a log-in that the server accepted has proved, by the accounts that the node's own MariaDB has.

    It may not have applied yet what the leader's, which has accepted, goes by; that is waited for then.

    Args:
        backends: knows the accounts.
        connection: logged in.
        user: the name that the client gave.
        proof: what it answered last.
        accounts: what `find_accounts` has said before.

    Raises:
        BackendUnavailable: the accounts cannot be read now.
        ProxyError, ServerError, ConnectionLost: as `verify`.
    """
    committed = backends.views.current.committed_sequence
    try:
        return await verify(connection, accounts or await find_accounts(backends, user), user, proof)
    except ProxyError:
        if not connection.leader:
            raise
    await _wait_applied(backends, committed)
    return await verify(connection, await find_accounts(backends, user), user, proof)


async def _wait_applied(backends: Backends, committed: int) -> None:
    """Have the MariaDB beside the node apply what was committed, within a bound."""
    views = backends.views
    with trio.move_on_after(APPLY_SECONDS):
        await views.changes.wait_until(lambda: views.current.applied_sequence >= committed)


async def verify(
    connection: BackendConnection, accounts: Sequence[Account], user: bytes, proof: Proof
) -> Proven:
    """What a log-in that the server accepted has proved, if these are the accounts.

    Args:
        connection: logged in.
        accounts: all that it may be logged in to.
        user: the name that the client gave.
        proof: what it answered last.

    Raises:
        ProxyError: it has proved nothing of its own; the session must not begin.
        ServerError: the server does not say whom it took the client for.
        ConnectionLost: it is gone.
    """
    if any(account.trusts_the_socket for account in accounts):
        current = await connection.value("SELECT CURRENT_USER()") or b""
        accounts = matched(accounts, current.decode(errors="replace"))
    found = proven(accounts, proof)
    if found is not None:
        return found
    name = user.decode(errors="replace")
    if any(account.trusts_the_socket for account in accounts):
        raise ProxyError(
            ER_ACCESS_DENIED_NO_PASSWORD,
            "28000",
            f"Access denied for user '{name}' ({_AT_THE_SOCKET})",
            fatal=True,
        )
    plugin = CLIENT_PLUGINS.get(proof.plugin)
    if plugin is not None and proof.answers and proof.plugin not in (NATIVE_PASSWORD, CLIENT_ED25519):
        # Only the server can check it, and none of the account's methods looks at anything but the answer.
        password = _clear_password(proof)
        return Proven(None, reopens=password is not None, clear_password=password)
    raise ProxyError(
        ER_NOT_SUPPORTED_AUTH_MODE,
        "08004",
        f"The account '{name}' was changed during the log-in, or did not log in by {NATIVE_PASSWORD}, "
        "ed25519 or, with TLS, by clear text: see SHOW CREATE USER, and try again",
        fatal=True,
    )


def _clear_password(proof: Proof) -> bytes | None:
    """The password, if the client was asked for nothing else."""
    if proof.plugin not in CLEAR_TEXT or proof.answers != 1:
        return None
    return PacketBuffer(proof.answer).null_terminated_or_rest()
