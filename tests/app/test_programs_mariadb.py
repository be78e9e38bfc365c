"""Stored programs that would run what no session may are found in a server, and MariaDB's own are not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from wolfscale import logs
from wolfscale.app import programs
from wolfscale.app.programs import forbidden_programs
from wolfscale.testing.single_server import Node, Primary, fresh_node

pytestmark = pytest.mark.mariadb

NODE_ACCOUNT = "wolfscale"
HARMFUL = {
    "app.unlogged": "CREATE PROCEDURE app.unlogged() BEGIN IF 1 THEN SET sql_log_bin = 0; END IF; END",
    "app.quoted": "SET sql_mode = 'ANSI_QUOTES'; CREATE PROCEDURE app.quoted() "
    "BEGIN DECLARE \"a'\" INT; SET binlog_format = 'ROW'; END",
    "app.every_day": "CREATE EVENT app.every_day ON SCHEDULE EVERY 1 DAY DISABLE DO SET GLOBAL read_only = 1",
    "app.dynamic": "CREATE PROCEDURE app.dynamic() EXECUTE IMMEDIATE 'RESET MASTER'",
    "app.copies": "CREATE PROCEDURE app.copies() BEGIN CREATE TEMPORARY TABLE app.own (v TEXT); "
    "CREATE TABLE app.made LIKE app.own; END",
    "app.selects": "SET sql_mode = 'ANSI'; CREATE PROCEDURE app.selects() CREATE TABLE app.made SELECT 1",
    "app.account": f"CREATE PROCEDURE app.account() DROP USER {NODE_ACCOUNT}@localhost",
}
HARMLESS = (
    "CREATE PROCEDURE app.counts() UPDATE app.t SET sql_log_bin = sql_log_bin + 1",
    "CREATE FUNCTION app.five() RETURNS INT RETURN 5",
    "SET sql_mode = ''; CREATE PROCEDURE app.makes() CREATE TABLE app.made SELECT 1",
    "CREATE PROCEDURE app.rotates() CREATE TABLE app.made LIKE app.t",
    "CREATE PROCEDURE app.text() SELECT 'SET sql_log_bin = 0'",
)


@asynccontextmanager
async def primary_with_programs() -> AsyncIterator[tuple[Node, Primary]]:
    async with fresh_node() as node:
        await node.boot()
        async with node.primary(5) as primary:
            await primary.execute("CREATE DATABASE app", "CREATE TABLE app.t (sql_log_bin INT)")
            for statement in (*HARMFUL.values(), *HARMLESS):
                await primary.execute(*statement.split("; ", 1) if "sql_mode" in statement else (statement,))
            yield node, primary


async def test_programs_that_would_run_refused_statements_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async with primary_with_programs() as (node, primary):
        found = await forbidden_programs(node.database, NODE_ACCOUNT)
        assert set(found) == set(HARMFUL)
        assert found["app.unlogged"].startswith("SET sql_log_bin: it would take")
        monkeypatch.setattr(programs, "PROGRAMS_A_QUERY", 2)
        assert await forbidden_programs(node.database, NODE_ACCOUNT) == found
        before = await programs._state(node.database)
        await primary.execute("DROP PROCEDURE app.dynamic")
        assert (await programs._state(node.database)).rows != before.rows
        assert set(await forbidden_programs(node.database, NODE_ACCOUNT)) == set(HARMFUL) - {"app.dynamic"}


def test_each_is_told_once_and_that_it_is_gone() -> None:
    told: list[tuple[str, dict[str, str]]] = []
    with logs.subscription(lambda event: told.append((event.template, dict(event.fields)))):
        programs._tell({}, {"a.p": "why", "a.q": "why"})
        programs._tell({"a.p": "why", "a.q": "why"}, {"a.q": "why"})
    assert [(template.rpartition(" ")[2], fields["program"]) for template, fields in told] == [
        ("may", "a.p"),
        ("may", "a.q"),
        ("gone", "a.p"),
    ]
