"""COM_CHANGE_USER of clients that answer the challenge of their greeting, whatever they are asked."""

from collections.abc import Iterator

import pytest
from proxy_pair import PASSWORD, Pair, cluster, shared_servers
from raw_client import RawClient, raw_client

from wolfscale.mysql.auth import scramble, sha1_of_password
from wolfscale.mysql.commands import ChangeUser
from wolfscale.mysql.constants import NATIVE_PASSWORD
from wolfscale.mysql.handshake import parse_auth_switch
from wolfscale.mysql.results import parse_error, parse_ok
from wolfscale.mysql.session_track import parse_session_changes

servers = shared_servers
pytestmark = pytest.mark.mariadb


@pytest.fixture(autouse=True, scope="module")
def _account(shared_servers: Pair) -> Iterator[None]:
    shared_servers.primary.execute(
        "CREATE USER other@'%' IDENTIFIED BY 'another'", "GRANT ALL ON demo.* TO other@'%'"
    )
    shared_servers.catch_up()
    yield
    shared_servers.primary.execute("DROP USER other@'%'")
    shared_servers.catch_up()


async def _ask(client: RawClient, user: str, password: str) -> bytes:
    """Ask for a change to an account of mysql_native_password; what is to be answered to the question."""
    answer = scramble(sha1_of_password(password), client.connection.greeting.salt)
    change = ChangeUser(
        user=user.encode(), answer=answer, database=b"demo", collation=45, plugin=NATIVE_PASSWORD.encode()
    )
    await client.send(change.build())
    asked = parse_auth_switch(await client.packets.read())
    assert (asked.plugin, asked.salt) == (NATIVE_PASSWORD, client.connection.greeting.salt)
    return answer


async def _change(client: RawClient, user: str, password: str) -> bytes:
    """Change to an account; the last packet of the dialogue."""
    await client.packets.write(await _ask(client, user, password))
    return await client.packets.read()


@pytest.mark.parametrize("leads", [False, True], ids=["follower", "leader"])
async def test_user_changes_whichever_server_answers(servers: Pair, leads: bool) -> None:
    async with cluster(servers, leads=leads) as proxy, raw_client(proxy) as client:
        for user, password in [("app", PASSWORD), ("other", "another")] * 2:
            ok = parse_ok(await _change(client, user, password), client.connection.capabilities)
            assert parse_session_changes(ok.session_data).schema == b"demo"
            assert (await client.query("SELECT CURRENT_USER()"))[-2][1:] == f"{user}@%".encode()
            assert (await client.query("UPDATE t SET v = 'two' WHERE id = 2"))[0][:1] == b"\x00"
        proxy.change(term=2)
        assert (await _change(client, "app", PASSWORD))[:1] == b"\x00"
        assert (await client.query("UPDATE t SET v = 'two' WHERE id = 2"))[0][:1] == b"\x00"


@pytest.mark.parametrize("user", ["other", "nobody"])
async def test_wrong_password_is_refused_by_the_server(servers: Pair, user: str) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        await client.query("UPDATE t SET v = 'two' WHERE id = 2")
        refused = parse_error(await _change(client, user, "wrong"))
        assert (refused.errno, refused.sqlstate) == (1045, "28000")
        assert f"Access denied for user '{user}'" in refused.message


async def test_account_that_is_not_applied_yet_is_waited_for(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        servers.replica.execute("STOP SLAVE SQL_THREAD")
        try:
            await client.query("CREATE USER late@'%' IDENTIFIED BY 'tonight'")
            await client.query("GRANT ALL ON demo.* TO late@'%'")
            answer = await _ask(client, "late", "tonight")
            await client.packets.write(answer)
        finally:
            servers.replica.execute("START SLAVE SQL_THREAD")
        assert (await client.packets.read())[:1] == b"\x00"
        servers.primary.execute("DROP USER late@'%'")
        servers.catch_up()
