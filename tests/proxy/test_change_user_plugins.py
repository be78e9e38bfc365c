"""COM_CHANGE_USER to an account whose answer is good for one connection."""

import base64
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from proxy_pair import Pair, cluster, shared_servers
from raw_client import RawClient, raw_client

from wolfscale.mysql.commands import ChangeUser
from wolfscale.mysql.constants import NATIVE_PASSWORD
from wolfscale.mysql.handshake import parse_auth_switch
from wolfscale.mysql.results import parse_error
from wolfscale.proxy.accounts import CLIENT_ED25519

servers = shared_servers
pytestmark = pytest.mark.mariadb

_KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
_STORED = base64.b64encode(_KEY.public_key().public_bytes_raw()).decode().rstrip("=")


@pytest.fixture(autouse=True, scope="module")
def _account(shared_servers: Pair) -> Iterator[None]:
    shared_servers.primary.execute(
        f"CREATE USER keyed@'%' IDENTIFIED VIA ed25519 USING '{_STORED}'", "GRANT ALL ON demo.* TO keyed@'%'"
    )
    shared_servers.catch_up()
    yield
    shared_servers.primary.execute("DROP USER keyed@'%'")
    shared_servers.catch_up()


async def _change(client: RawClient, *, sign: bool = True) -> bytes:
    """Change to the account; the last packet of the dialogue."""
    change = ChangeUser(user=b"keyed", database=b"demo", collation=45, plugin=NATIVE_PASSWORD.encode())
    await client.send(change.build())
    switch = parse_auth_switch(await client.packets.read())
    assert switch.plugin == CLIENT_ED25519
    await client.packets.write(_KEY.sign(switch.data) if sign else bytes(64))
    return await client.packets.read()


@pytest.mark.parametrize("leads", [False, True], ids=["follower", "leader"])
async def test_session_goes_on_as_that_user_on_the_leader(servers: Pair, leads: bool) -> None:
    async with cluster(servers, leads=leads) as proxy, raw_client(proxy) as client:
        for _ in range(3):
            assert (await client.query("SELECT v FROM t WHERE id = 2"))[-2][1:] == b"two"
        local = proxy.listener.statistics.local_statements
        assert (await _change(client))[:1] == b"\x00"
        assert (await client.query("SELECT CURRENT_USER()"))[-2][1:] == b"keyed@%"
        for _ in range(3):
            assert (await client.query("SELECT v FROM t WHERE id = 2"))[-2][1:] == b"two"
        assert (await client.query("UPDATE t SET v = 'two' WHERE id = 2"))[0][:1] == b"\x00"
        assert proxy.listener.statistics.local_statements == local


async def test_wrong_signature_is_refused(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        assert parse_error(await _change(client, sign=False)).errno == 1045


async def test_session_of_that_user_is_told_to_connect_again_at_a_failover(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        await _change(client)
        proxy.change(term=2)
        packets = await client.query("SELECT v FROM t WHERE id = 2")
        assert parse_error(packets[-1]).errno == 1927
