"""Thirty operations with one DB-API driver, and what each gave, as a line of JSON.

Run by the driver's own environment: `dbapi.py DRIVER HOST PORT USER PASSWORD DATABASE [compress]`. Knows
nothing of WolfScale: what it prints must be the same through a proxy and from a server itself.
"""

import datetime
import decimal
import importlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

DRIVERS = {
    "pymysql": "pymysql",
    "mysqlclient": "MySQLdb",
    "mariadb-connector-python": "mariadb",
    "mysql-connector-python": "mysql.connector",
}
TABLE = """CREATE TABLE compat_types (
    id INT AUTO_INCREMENT PRIMARY KEY, tiny TINYINT, big BIGINT UNSIGNED, price DECIMAL(20,6), ratio DOUBLE,
    day DATE, moment DATETIME(6), span TIME(3), stamp TIMESTAMP NULL, y YEAR,
    name VARCHAR(100) CHARACTER SET utf8mb4, body LONGTEXT, raw LONGBLOB, fixed BINARY(4), bits BIT(10),
    choice ENUM('a','b'), many SET('x','y'), doc JSON)"""


def plain(value: Any) -> Any:
    """A value as JSON can say it, with its type, so that an int is not taken for its text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes | bytearray):
        return {"bytes": bytes(value).hex()} if len(value) < 100 else {"bytes": len(value)}
    if isinstance(value, decimal.Decimal | datetime.date | datetime.timedelta):
        return {type(value).__name__: str(value)}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return {"set": sorted(plain(item) for item in value)}
    return {type(value).__name__: str(value)}


class Script:
    """One connection and the operations on it."""

    def __init__(
        self, driver: str, host: str, port: int, user: str, password: str, database: str, *, compress: bool
    ) -> None:
        self.driver = driver
        self.compress = compress
        self.module = importlib.import_module(DRIVERS[driver])
        self.account = {"host": host, "port": port, "user": user, "password": password}
        self.database = database
        self.connection = self.connect()

    def connect(self, **more: Any) -> Any:
        """A new connection to the database."""
        arguments = {**self.account, "database": self.database, **more}
        if self.compress:
            arguments["compress"] = True
        if self.driver in {"pymysql", "mysqlclient"}:
            arguments.setdefault("charset", "utf8mb4")
            arguments["local_infile"] = 1
        if self.driver == "mysql-connector-python":
            arguments["allow_local_infile"] = True
            arguments["use_pure"] = True
            arguments.setdefault("collation", "utf8mb4_general_ci")
        if self.driver == "mariadb-connector-python":
            arguments["local_infile"] = True
        return self.module.connect(**arguments)

    def run(self, sql: str, arguments: Any = None, **cursor: Any) -> dict[str, Any]:
        """Execute, and say everything that the driver tells of it."""
        handle = self.connection.cursor(**cursor)
        try:
            if arguments is None:
                handle.execute(sql)
            else:
                handle.execute(sql.replace("%s", "?") if self.question_marks(cursor) else sql, arguments)
            rows = handle.fetchall() if handle.description else None
            columns = [[item[0], int(item[1])] for item in handle.description] if handle.description else None
            return {
                "rows": plain(rows),
                "columns": columns,
                "rowcount": handle.rowcount,
                "lastrowid": handle.lastrowid or 0,
            }
        finally:
            handle.close()

    def question_marks(self, cursor: dict[str, Any]) -> bool:
        """Whether this cursor wants question marks for parameters."""
        return self.driver == "mariadb-connector-python" or "prepared" in cursor

    def fails(self, sql: str) -> Any:
        """The error that a statement gives."""
        try:
            return self.run(sql)
        except self.module.Error as error:
            number = getattr(error, "errno", None) or error.args[0]
            return {"error": str(number), "message": str(error), "type": type(error).__name__}

    def prepared(self) -> dict[str, Any]:
        """How the driver is asked to use the binary protocol."""
        match self.driver:
            case "mysql-connector-python":
                return {"prepared": True}
            case "mariadb-connector-python":
                return {"binary": True}
        return {}

    # The operations, in their order

    def op_01_version_and_settings(self) -> Any:
        return self.run("SELECT @@version, @@autocommit, @@character_set_client, @@sql_mode, DATABASE()")

    def op_02_user(self) -> Any:
        return self.run("SELECT CURRENT_USER(), SUBSTRING_INDEX(USER(), '@', 1), CONNECTION_ID() > 0")

    def op_03_create_table(self) -> Any:
        return [self.run("DROP TABLE IF EXISTS compat_types"), self.run(TABLE)]

    def op_04_insert_with_parameters(self) -> Any:
        result = self.run(
            "INSERT INTO compat_types (tiny, big, price, ratio, day, moment, span, y, name, raw, fixed,"
            " choice, many, doc) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                -128,
                2**64 - 1,
                decimal.Decimal("12345678901234.567891"),
                0.1,
                datetime.date(2026, 2, 28),
                datetime.datetime(2026, 2, 28, 23, 59, 59, 999999),
                "-12:34:56.789",
                2026,
                "Zoë 🐺",
                b"\x00\xff'\"\\\n",
                b"ab",
                "b",
                "x,y",
                json.dumps({"a": [1, None, "ü"]}),
            ),
        )
        self.connection.commit()
        return result

    def op_05_last_insert_id(self) -> Any:
        return self.run("SELECT LAST_INSERT_ID()")

    def op_06_select_all_types(self) -> Any:
        return self.run("SELECT * FROM compat_types")

    def op_07_select_prepared(self) -> Any:
        sql = "SELECT id, tiny, big, price, ratio, day, moment, name, raw FROM compat_types WHERE id = %s"
        return [self.run(sql, (number,), **self.prepared()) for number in (1, 99, 1)]

    def op_08_insert_many(self) -> Any:
        handle = self.connection.cursor()
        sql = "INSERT INTO compat_types (tiny, name) VALUES (%s, %s)"
        marks = sql.replace("%s", "?") if self.question_marks({}) else sql
        handle.executemany(marks, [(number, f"row {number}") for number in range(50)])
        self.connection.commit()
        return handle.rowcount

    def op_09_update(self) -> Any:
        return self.run("UPDATE compat_types SET tiny = tiny + 1 WHERE name LIKE %s", ("row 1%",))

    def op_10_rollback(self) -> Any:
        self.connection.rollback()
        return self.run("SELECT COUNT(*), SUM(tiny) FROM compat_types")

    def op_11_delete_and_commit(self) -> Any:
        deleted = self.run("DELETE FROM compat_types WHERE tiny > %s", (40,))
        self.connection.commit()
        return [deleted, self.run("SELECT COUNT(*) FROM compat_types")]

    def op_12_savepoint(self) -> Any:
        for sql in (
            "START TRANSACTION",
            "UPDATE compat_types SET tiny = 7",
            "SAVEPOINT here",
            "DELETE FROM compat_types",
        ):
            self.run(sql)
        gone = self.run("SELECT COUNT(*) FROM compat_types")
        self.run("ROLLBACK TO SAVEPOINT here")
        back = self.run("SELECT COUNT(*), MIN(tiny), MAX(tiny) FROM compat_types")
        self.connection.rollback()
        return [gone, back]

    def op_13_select_for_update(self) -> Any:
        locked = self.run("SELECT id FROM compat_types ORDER BY id LIMIT 2 FOR UPDATE")
        self.connection.rollback()
        return locked

    def op_14_duplicate_key(self) -> Any:
        return self.fails("INSERT INTO compat_types (id) VALUES (1)")

    def op_15_syntax_error(self) -> Any:
        return self.fails("SELEC 1")

    def op_16_unknown_table(self) -> Any:
        return self.fails("SELECT * FROM compat_nothing")

    def op_17_data_too_long(self) -> Any:
        return self.fails("INSERT INTO compat_types (fixed) VALUES ('too long for this')")

    def op_18_division_warning(self) -> Any:
        self.run("INSERT IGNORE INTO compat_types (tiny) VALUES (1000)")
        warnings = self.run("SHOW WARNINGS")
        self.connection.rollback()
        return warnings

    def op_19_show_and_describe(self) -> Any:
        return [
            self.run("SHOW TABLES LIKE 'compat_types'"),
            self.run("DESCRIBE compat_types"),
            self.run("SHOW CREATE TABLE compat_types"),
        ]

    def op_20_information_schema(self) -> Any:
        return self.run(
            "SELECT COLUMN_NAME, COLUMN_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE()"
            " AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION",
            ("compat_types",),
        )

    def op_21_procedure_with_results(self) -> Any:
        self.run("DROP PROCEDURE IF EXISTS compat_two")
        self.run("CREATE PROCEDURE compat_two(IN n INT) BEGIN SELECT n; SELECT n + 1, 'x'; END")
        handle = self.connection.cursor()
        results = []
        if self.driver == "mysql-connector-python":
            handle.callproc("compat_two", (5,))
            results = [plain(result.fetchall()) for result in handle.stored_results()]
        else:
            handle.callproc("compat_two", (5,))
            while True:
                if handle.description:
                    results.append(plain(handle.fetchall()))
                if not handle.nextset():
                    break
        handle.close()
        return results

    def op_22_user_variable(self) -> Any:
        self.run("SET @compat = 41")
        return self.run("SELECT @compat + 1")

    def op_23_temporary_table(self) -> Any:
        self.run("CREATE TEMPORARY TABLE compat_mine (n INT)")
        self.run("INSERT INTO compat_mine VALUES (1), (2)")
        rows = self.run("SELECT SUM(n) FROM compat_mine")
        self.run("DROP TEMPORARY TABLE compat_mine")
        return rows

    def op_24_named_lock(self) -> Any:
        return [
            self.run("SELECT GET_LOCK('compat', 1), IS_USED_LOCK('compat') = CONNECTION_ID()"),
            self.run("SELECT RELEASE_LOCK('compat')"),
        ]

    def op_25_found_rows(self) -> Any:
        self.run("SELECT SQL_CALC_FOUND_ROWS id FROM compat_types LIMIT 1")
        return self.run("SELECT FOUND_ROWS()")

    def op_26_load_data_local(self) -> Any:
        self.run("CREATE OR REPLACE TABLE compat_loaded (a INT, b VARCHAR(20))")
        with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
            file.write("".join(f"{number},line {number}\n" for number in range(1000)))
            file.flush()
            loaded = self.run(
                f"LOAD DATA LOCAL INFILE '{file.name}' INTO TABLE compat_loaded FIELDS TERMINATED BY ','"
            )
        self.connection.commit()
        return [loaded["rowcount"], self.run("SELECT COUNT(*), SUM(a), MAX(b) FROM compat_loaded")]

    def op_27_large_value(self) -> Any:
        self.run("UPDATE compat_types SET raw = %s WHERE id = 1", (b"\x01\x02\xff" * 700_000,))
        self.connection.commit()
        return self.run("SELECT LENGTH(raw), MD5(raw), raw FROM compat_types WHERE id = 1")

    def op_28_many_rows(self) -> Any:
        rows = self.run("SELECT seq, REPEAT('x', 50) FROM seq_1_to_20000")["rows"]
        return [len(rows), rows[0], rows[-1]]

    def op_29_wrong_password(self) -> Any:
        try:
            self.connect(password="wrong").close()
        except self.module.Error as error:
            return {
                "error": str(getattr(error, "errno", None) or error.args[0]),
                "type": type(error).__name__,
            }
        return "let in"

    def op_30_ping_autocommit_and_reconnect(self) -> Any:
        if hasattr(self.connection, "ping"):
            self.connection.ping()
        if self.driver in {"pymysql", "mysqlclient"}:
            self.connection.autocommit(True)
        else:
            self.connection.autocommit = True
        setting = self.run("SELECT @@autocommit")
        for table in ("compat_types", "compat_loaded"):
            self.run(f"DROP TABLE {table}")
        self.run("DROP PROCEDURE compat_two")
        self.connection.close()
        self.connection = self.connect()
        return [setting, self.run("SELECT @@autocommit, 1")]


def main() -> None:
    """Run every operation, each whatever became of the one before."""
    driver, host, port, user, password, database, *options = sys.argv[1:]
    script = Script(driver, host, int(port), user, password, database, compress="compress" in options)
    operations: list[tuple[str, Callable[[], Any]]] = [
        (name, getattr(script, name)) for name in sorted(dir(Script)) if name.startswith("op_")
    ]
    for name, operation in operations:
        try:
            outcome = operation()
        except Exception as error:
            outcome = {"raised": f"{type(error).__name__}: {error}".replace(str(Path.cwd()), "")}
        print(json.dumps([name, plain(outcome)]), flush=True)


if __name__ == "__main__":
    main()
