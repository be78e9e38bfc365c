"""Thirty operations with asyncmy, and what each gave, as a line of JSON.

Run by the driver's own environment: `asyncmy_script.py HOST PORT USER PASSWORD DATABASE`.
"""

import asyncio
import datetime
import decimal
import json
import sys
from typing import Any

import asyncmy
from asyncmy.cursors import DictCursor, SSCursor
from asyncmy.errors import Error


def plain(value: Any) -> Any:
    """A value as JSON can say it, with its type."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes):
        return {"bytes": value.hex()} if len(value) < 100 else {"bytes": len(value)}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return {type(value).__name__: str(value)}


async def main() -> None:
    """Connect, run the statements in their order, print what came."""
    host, port, user, password, database = sys.argv[1:]
    account = {"host": host, "port": int(port), "user": user, "password": password, "database": database}
    connection = await asyncmy.connect(**account, charset="utf8mb4", local_infile=True)
    number = 0

    def show(what: str, outcome: Any) -> None:
        nonlocal number
        number += 1
        print(json.dumps([f"{number:02} {what}", plain(outcome)]), flush=True)

    async def run(sql: str, arguments: Any = None, kind: Any = None) -> Any:
        async with connection.cursor(kind) as cursor:
            try:
                await cursor.execute(sql, arguments)
                rows = await cursor.fetchall() if cursor.description else None
            except Error as error:
                return {"error": list(error.args), "type": type(error).__name__}
            return [rows, cursor.rowcount, cursor.lastrowid]

    statements: list[tuple[str, Any]] = [
        ("SELECT @@version, @@autocommit, DATABASE(), CURRENT_USER()", None),
        ("DROP TABLE IF EXISTS compat_async", None),
        (
            "CREATE TABLE compat_async (id INT AUTO_INCREMENT PRIMARY KEY, price DECIMAL(10,3),"
            " moment DATETIME(6), name VARCHAR(50) CHARACTER SET utf8mb4, raw BLOB)",
            None,
        ),
        (
            "INSERT INTO compat_async (price, moment, name, raw) VALUES (%s, %s, %s, %s)",
            (
                decimal.Decimal("1.500"),
                datetime.datetime(2026, 1, 2, 3, 4, 5, 678901),
                "Zoë 🐺",
                b"\x00\xff'",
            ),
        ),
        ("SELECT LAST_INSERT_ID()", None),
        ("SELECT * FROM compat_async", None),
        ("SELECT ROW_COUNT()", None),
        ("UPDATE compat_async SET price = price * 2 WHERE name = %s", ("Zoë 🐺",)),
        ("SELECT price FROM compat_async", None),
        ("INSERT INTO compat_async (id) VALUES (1)", None),
        ("SELEC 1", None),
        ("SELECT * FROM compat_nothing", None),
        ("SET @compat = %s", (41,)),
        ("SELECT @compat + 1", None),
        ("CREATE TEMPORARY TABLE compat_mine AS SELECT 1 AS one", None),
        ("SELECT * FROM compat_mine", None),
        ("SELECT GET_LOCK('compat_async', 1)", None),
        ("SELECT RELEASE_LOCK('compat_async')", None),
        ("SELECT seq FROM seq_1_to_1000 WHERE seq %% %s = 0", (250,)),
        ("SHOW CREATE TABLE compat_async", None),
    ]
    for sql, arguments in statements:
        show(sql[:60], await run(sql, arguments))
    await connection.commit()
    await connection.begin()
    await run("DELETE FROM compat_async")
    show("inside a transaction", await run("SELECT COUNT(*) FROM compat_async"))
    await connection.rollback()
    show("rolled back", await run("SELECT COUNT(*) FROM compat_async"))
    show("rows as dictionaries", await run("SELECT id, name FROM compat_async", None, DictCursor))
    show("rows one by one", await run("SELECT seq, REPEAT('y', 100) FROM seq_1_to_5", None, SSCursor))
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO compat_async (price, name) VALUES (%s, %s)", [(n, f"row {n}") for n in range(30)]
        )
        show("many rows", cursor.rowcount)
    await connection.commit()
    show("all of them", await run("SELECT COUNT(*), SUM(price) FROM compat_async"))
    await connection.autocommit(True)
    show("autocommit", await run("SELECT @@autocommit"))
    await connection.ping()
    show("after a ping", await run("DROP TABLE compat_async"))
    connection.close()
    try:
        await asyncmy.connect(**{**account, "password": "wrong"})
    except Error as error:
        show("wrong password", [error.args[0], type(error).__name__])
    async with asyncmy.create_pool(**account, minsize=3, maxsize=3) as pool:

        async def ask(value: int) -> Any:
            async with pool.acquire() as one, one.cursor() as cursor:
                await cursor.execute("SELECT %s * 2", (value,))
                return await cursor.fetchall()

        show("a pool", await asyncio.gather(*(ask(value) for value in range(20))))


asyncio.run(main())
