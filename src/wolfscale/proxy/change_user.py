"""COM_CHANGE_USER: a log-in in the middle of a session, relayed like the first one."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from wolfscale.mysql.commands import ChangeUser
from wolfscale.mysql.errors import ServerError
from wolfscale.mysql.results import rewrite_ok
from wolfscale.mysql.transport import PacketStream
from wolfscale.proxy.accounts import Proof
from wolfscale.proxy.backend import BackendConnection, Backends, Credentials
from wolfscale.proxy.client_tls import is_secure
from wolfscale.proxy.dialogue import KeptChallenge, LeaderWanted, authenticate, prove
from wolfscale.proxy.errors import ProxyError
from wolfscale.proxy.handshake import leader_only, refuse_node_account


async def relay_change_user(
    client: PacketStream,
    connection: BackendConnection,
    command: ChangeUser,
    payload: bytes,
    backends: Backends,
    before: Credentials,
    leader: Callable[[], Awaitable[BackendConnection]],
) -> tuple[BackendConnection, Credentials, bytes]:
    """Relay the dialogue up to the server's OK.

    Args:
        client: has sent the command.
        connection: carries it; of no use afterwards if this raises.
        command: the command, parsed.
        payload: and as it was sent.
        backends: knows the accounts.
        before: the session's credentials until now.
        leader: opens the session's connection to the leader, for a plugin that proves one challenge only.

    Returns:
        The connection that has changed its user, the new credentials, and the payload of the OK packet for
        the client, not sent yet.

    Raises:
        LogInRefused: the server refused and the client has been told.
        ProxyError: the proxy refuses; the session ends with it.
    """
    refuse_node_account(backends, command.user)
    proof = Proof(before.challenge, command.answer)
    if command.plugin:
        proof.plugin = command.plugin.decode(errors="replace")
    secure = is_secure(client)
    kept = KeptChallenge(before.challenge, command.user, backends) if before.challenge else None
    await connection.packets.command(payload)
    try:
        ok = await authenticate(
            client, connection.packets, proof, secure=secure, final=connection.leader, kept=kept
        )
    except LeaderWanted:
        await connection.abort()
        connection = await leader()
        await connection.packets.command(payload)
        ok = await authenticate(client, connection.packets, proof, secure=secure, final=True, kept=kept)
    try:
        proven = await prove(backends, connection, command.user, proof)
    except ServerError as error:
        raise ProxyError(error.errno, error.sqlstate, error.message, fatal=True) from error
    response = replace(
        before.response, user=command.user, collation=command.collation & 0xFF or before.response.collation
    )
    credentials = replace(
        before,
        response=response,
        sha1_password=proven.sha1_password,
        clear_password=proven.clear_password,
        reopens=proven.reopens,
        leader_only=leader_only(proven, proof, connection),
    )
    return connection, credentials, rewrite_ok(ok, connection.capabilities, before.client_capabilities)
