"""COM_CHANGE_USER: a log-in in the middle of a session, relayed like the first one."""

from dataclasses import replace

from wolfscale.mysql.commands import ChangeUser
from wolfscale.mysql.results import build_ok, parse_ok
from wolfscale.mysql.transport import PacketStream
from wolfscale.proxy.backend import BackendConnection, Backends, Credentials
from wolfscale.proxy.errors import ProxyError
from wolfscale.proxy.handshake import ER_ACCESS_DENIED, Proof, authenticate, verified_password


async def relay_change_user(
    client: PacketStream,
    connection: BackendConnection,
    command: ChangeUser,
    payload: bytes,
    backends: Backends,
    before: Credentials,
) -> tuple[Credentials, bytes]:
    """Relay the dialogue up to the server's OK.

    Args:
        client: has sent the command.
        connection: carries it; of no use afterwards if this raises.
        command: the command, parsed.
        payload: and as it was sent.
        backends: knows the stored hashes.
        before: the session's credentials until now.

    Returns:
        The new credentials, and the payload of the OK packet for the client, not sent yet.

    Raises:
        LogInRefused: the server refused and the client has been told.
        ProxyError: the proxy refuses; the session ends with it.
    """
    account = backends.views.current.node_account
    if account and command.user.decode(errors="replace") == account:
        raise ProxyError(
            ER_ACCESS_DENIED,
            "28000",
            f"Access denied for user '{account}': it is the node's own account, used on its socket only",
            fatal=True,
        )
    packets = connection.packets
    await packets.command(payload)
    # The client answers the first greeting's challenge or, as all do in practice, is sent a new one.
    proof = Proof(b"", command.answer)
    ok = await authenticate(client, packets, proof)
    sha1 = await verified_password(backends, command.user, proof)
    response = replace(
        before.response, user=command.user, collation=command.collation & 0xFF or before.response.collation
    )
    answer = replace(parse_ok(ok, connection.capabilities), session_data=b"")
    return (
        replace(before, response=response, sha1_password=sha1),
        build_ok(answer, before.client_capabilities),
    )
