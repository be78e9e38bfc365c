"""Python drivers connect with TLS and verify: `tls_drivers.py HOST PORT USER PASSWORD DATABASE AUTHORITY`.

The account must be one that is let in under TLS only. Prints a line for each driver.
"""

import asyncio
import importlib
import ssl
import sys
from typing import Any

import asyncmy

HOST, PORT, USER, PASSWORD, DATABASE, AUTHORITY = sys.argv[1:]
ACCOUNT: dict[str, Any] = {
    "host": HOST,
    "port": int(PORT),
    "user": USER,
    "password": PASSWORD,
    "database": DATABASE,
}


def show(name: str, connection: Any) -> None:
    """Read and write something."""
    cursor = connection.cursor()
    cursor.execute("SELECT 40 + 2")
    answer = cursor.fetchall()
    cursor.execute("CREATE OR REPLACE TABLE tls_drivers (a INT)")
    cursor.execute("INSERT INTO tls_drivers VALUES (7)")
    connection.commit()
    cursor.execute("SELECT a FROM tls_drivers")
    print(name, *answer[0], *cursor.fetchall()[0])
    connection.close()


async def asyncmy_too() -> None:
    """The same with asyncmy."""
    account = ACCOUNT | {"db": ACCOUNT["database"], "ssl": ssl.create_default_context(cafile=AUTHORITY)}
    del account["database"]
    connection = await asyncmy.connect(**account)
    async with connection.cursor() as cursor:
        await cursor.execute("SELECT 40 + 2")
        print("asyncmy", *(await cursor.fetchall())[0])
    await connection.ensure_closed()


VERIFYING: dict[str, dict[str, Any]] = {
    "pymysql": {"ssl_ca": AUTHORITY, "ssl_verify_cert": True, "ssl_verify_identity": True},
    "MySQLdb": {"ssl": {"ca": AUTHORITY}},
    "mariadb": {"ssl_ca": AUTHORITY, "ssl_verify_cert": True},
    "mysql.connector": {"ssl_ca": AUTHORITY, "ssl_verify_cert": True, "ssl_verify_identity": True},
}
for module, options in VERIFYING.items():
    show(module, importlib.import_module(module).connect(**ACCOUNT, **options))
asyncio.run(asyncmy_too())
