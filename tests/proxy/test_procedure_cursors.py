"""A procedure's own cursor marks the results behind it as if a cursor were opened for the client."""

import pytest
from proxy_pair import Pair, cluster, rows, shared_servers
from raw_client import MODERN_CLIENT, OLD_CLIENT, raw_client

servers = shared_servers
pytestmark = pytest.mark.mariadb

PROCEDURE = (
    "CREATE OR REPLACE PROCEDURE walks(IN row INT) BEGIN DECLARE i INT; "
    "DECLARE c CURSOR FOR SELECT id FROM t ORDER BY id; "
    "OPEN c; FETCH c INTO i; CLOSE c; SET @walked = i; SELECT v FROM t WHERE id = row; SELECT i; END"
)


async def test_results_of_a_procedure_that_has_a_cursor_come_whole(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def client() -> None:
            with proxy.connect() as connection:
                rows(connection, PROCEDURE)
                for _ in range(3):
                    with connection.cursor() as cursor:
                        cursor.execute("CALL walks(2)")
                        assert cursor.fetchall() == (("two",),)
                        assert cursor.nextset()
                        assert cursor.fetchall() == ((1,),)
                    assert rows(connection, "SELECT v FROM t WHERE id = 3") == [("three",)]
                    assert rows(connection, "SELECT @walked") == [(1,)]
                rows(connection, "DROP PROCEDURE walks")

        await proxy.run(client)


@pytest.mark.parametrize("capabilities", [OLD_CLIENT, MODERN_CLIENT], ids=["old", "modern"])
@pytest.mark.parametrize("flags", [0, 1], ids=["plain", "cursor"])
async def test_prepared_calls_of_it_come_whole(servers: Pair, capabilities: int, flags: int) -> None:
    async with cluster(servers) as proxy, raw_client(proxy, capabilities) as client:
        await client.query(PROCEDURE)
        statement = await client.prepare("CALL walks(1)")
        for _ in range(3):
            packets = await client.execute(statement, types=False, flags=flags)
            assert any(b"one" in packet for packet in packets)
            assert client.tracker.error is None
        assert b"three" in b"".join(await client.query("SELECT v FROM t WHERE id = 3"))
        await client.query("DROP PROCEDURE walks")
