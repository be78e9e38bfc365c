"""Accounts that MariaDB checks by PAM: the password itself passes, and so under TLS only."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from proxy_pair import PASSWORD, Pair, cluster, rows
from test_log_in_accounts import command_line, refusal

from wolfscale.certificates import ServerCertificate
from wolfscale.proxy.client_tls import ClientTls
from wolfscale.testing.mariadb import scratch_directory

pytestmark = [pytest.mark.mariadb, pytest.mark.faults]

_SERVICE = f"wolfscale-test-{os.getpid()}"
_CERTIFICATE = ServerCertificate.from_secret(b"a secret of sixteen", "n", ("127.0.0.1",))


def tls() -> ClientTls:
    return ClientTls(context=_CERTIFICATE.context())


@pytest.fixture(scope="module", params=["dialog", "mysql_clear_password"])
def servers(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """A pair that knows a PAM service which takes one password, by either of two client plugins."""
    service = Path("/etc/pam.d") / _SERVICE
    directory = scratch_directory()
    check = directory / "check"
    check.write_text(f"#!/bin/sh\n[ \"$(tr -d '\\0')\" = {PASSWORD} ]\n")
    check.chmod(0o755)
    service.write_text(
        f"auth required pam_exec.so expose_authtok quiet {check}\naccount required pam_permit.so\n"
    )
    pair = Pair()
    clear = int(request.param == "mysql_clear_password")
    for server in (pair.primary, pair.replica):
        server.arguments += ["--plugin-load-add=auth_pam_v1", f"--pam-use-cleartext-plugin={clear}"]
    try:
        pair.start()
        pair.primary.execute(
            f"CREATE USER pam@'%' IDENTIFIED VIA pam USING '{_SERVICE}'", "GRANT ALL ON demo.* TO pam@'%'"
        )
        pair.catch_up()
        yield pair
    finally:
        pair.stop()
        service.unlink()
        check.unlink()
        directory.rmdir()


async def test_pam_account_works_under_tls_also_after_a_failover(servers: Pair) -> None:
    async with cluster(servers, tls=tls()) as proxy:
        sql = "SELECT v FROM t WHERE id = 2; UPDATE t SET v = 'two' WHERE id = 2; SELECT CURRENT_USER();"
        answer = await command_line(proxy, "pam", sql, "--ssl")
        assert answer.split() == ["two", "pam@%"]
        assert proxy.listener.statistics.local_statements >= 1

        def client() -> None:
            with proxy.connect(user="pam") as connection:
                rows(connection, "UPDATE t SET v = 'two' WHERE id = 2")
                trio.from_thread.run_sync(lambda: proxy.change(term=2))
                rows(connection, "UPDATE t SET v = 'two' WHERE id = 2")
                assert rows(connection, "SELECT v FROM t WHERE id = 2") == [("two",)]

        if "--pam-use-cleartext-plugin=1" in servers.primary.arguments:
            await proxy.run(client)  # PyMySQL cannot do without a handler for dialogs
        assert "ERROR 1045" in await command_line(proxy, "pam", sql, "--ssl", password="wrong")


async def test_pam_account_is_not_asked_for_its_password_in_the_clear(servers: Pair) -> None:
    async with cluster(servers, tls=tls()) as proxy:
        number, message = await refusal(proxy, user="pam", ssl_disabled=True)
        assert number == 1251
        assert "connect with TLS" in message
