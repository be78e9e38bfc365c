"""Writers whose transactions touch tables with and without keys, cascades and changed keys, and a judge.

Each writer is a thread with PyMySQL, an independent client: what it was told is what must be there. A
transaction's row in `written` says that it happened; every other table must agree with it.
"""

import random
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pymysql

DATABASE = "demo"
TABLES = ("written", "keyless", "moved", "parent", "child")
SCHEMA = (
    "CREATE TABLE demo.written (writer INT, number INT, PRIMARY KEY (writer, number))",
    "CREATE TABLE demo.keyless (writer INT, number INT, note VARCHAR(40))",
    "CREATE TABLE demo.moved (id INT PRIMARY KEY, writer INT, number INT, UNIQUE (writer, id))",
    "CREATE TABLE demo.parent (id INT PRIMARY KEY, number INT)",
    "CREATE TABLE demo.child (parent INT, number INT, KEY (parent), FOREIGN KEY (parent) "
    "REFERENCES demo.parent (id) ON UPDATE CASCADE ON DELETE CASCADE)",
    *(f"INSERT INTO demo.moved VALUES ({writer * 1000000}, {writer}, 0)" for writer in range(1, 9)),
    *(f"INSERT INTO demo.parent VALUES ({writer * 1000000}, 0)" for writer in range(1, 9)),
)
RETRY_SECONDS = 0.02
CONNECT_TIMEOUT_SECONDS = 2
READ_TIMEOUT_SECONDS = 20

Connect = Callable[[], "pymysql.Connection[Any]"]
"""Connects to a server, the primary or not; raises what PyMySQL raises, or OSError."""
Key = tuple[int, int]


def connect_to(socket_path: str, user: str, password: str, database: str | None) -> Any:
    """A connection to a server's unix socket; blocks.

    PyMySQL would leave the socket open when nobody listens, so it is given one.

    Raises:
        OSError, pymysql.MySQLError: nobody listens, or the server refuses.
    """
    connection = pymysql.connect(
        user=user,
        password=password,
        database=database,
        autocommit=True,
        read_timeout=READ_TIMEOUT_SECONDS,
        defer_connect=True,
    )
    stream = socket.socket(socket.AF_UNIX)
    try:
        stream.settimeout(CONNECT_TIMEOUT_SECONDS)
        stream.connect(socket_path)
        connection.connect(stream)
    except BaseException:
        stream.close()
        raise
    return connection


class Workload:
    """Writers that go from server to server until one takes their writes.

    Attributes:
        acknowledged: (writer, number) of each transaction whose OK was seen.
        unknown: of each that was sent and not answered with an OK: there or not.
        errors: how often each error was seen.
    """

    def __init__(self, servers: Sequence[Connect], *, writers: int = 4, seed: float = 0) -> None:
        self.acknowledged: set[Key] = set()
        self.unknown: set[Key] = set()
        self.errors: dict[str, int] = {}
        self._servers = list(servers)
        self._seed = seed
        self._running = threading.Event()
        self._ended = threading.Event()
        self._busy = [threading.Lock() for _ in range(writers)]
        self._threads = [
            threading.Thread(target=self._write, args=(writer,), name=f"writer-{writer}", daemon=True)
            for writer in range(1, writers + 1)
        ]

    def __enter__(self) -> "Workload":
        self._running.set()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._running.set()
        for thread in self._threads:
            thread.join(READ_TIMEOUT_SECONDS + 10)

    def pause(self) -> None:
        """Have the writers finish what they have sent, and wait for that; blocks."""
        self._running.clear()
        for lock in self._busy:
            with lock:
                pass

    def resume(self) -> None:
        """Let the writers go on."""
        self._running.set()

    def _write(self, writer: int) -> None:
        chance = random.Random(f"{self._seed} {writer}")
        number = 0
        turn = writer
        while not self._ended.is_set():
            turn += 1
            try:
                connection = self._servers[turn % len(self._servers)]()
            except (pymysql.MySQLError, OSError):
                self._ended.wait(RETRY_SECONDS)
                continue
            try:
                with connection.cursor() as cursor:
                    while not self._ended.is_set():
                        self._running.wait()
                        number += 1
                        with self._busy[writer - 1]:
                            if not self._transaction(cursor, writer, number, chance):
                                break
            finally:
                connection._force_close()  # type: ignore[attr-defined]
            self._ended.wait(RETRY_SECONDS)

    def _transaction(self, cursor: Any, writer: int, number: int, chance: random.Random) -> bool:
        """Run one; False when the connection is of no more use."""
        home, row = writer * 1000000, {"writer": writer, "number": number}
        place = home + number
        statements = [
            "BEGIN",
            "INSERT INTO demo.written VALUES (%(writer)s, %(number)s)",
            "INSERT INTO demo.keyless VALUES (%(writer)s, %(number)s, UUID())",
            f"UPDATE demo.moved SET id={place}, number=%(number)s WHERE writer=%(writer)s",
        ]
        match chance.randrange(4):
            case 0:
                statements.append(
                    f"INSERT INTO demo.child SELECT id, %(number)s FROM demo.parent WHERE id BETWEEN {home} "
                    f"AND {home + 999999}"
                )
            case 1:
                statements.append(
                    f"UPDATE demo.parent SET id={place}, number=%(number)s WHERE id BETWEEN {home} "
                    f"AND {home + 999999}"
                )
            case 2:
                statements.append(
                    f"UPDATE demo.keyless SET note=CONCAT('changed ', UUID_SHORT()) WHERE writer={writer} "
                    f"AND number > {number - 3}"
                )
            case _ if number % 40 == 0:
                statements += [
                    f"DELETE FROM demo.parent WHERE id BETWEEN {home} AND {home + 999999}",
                    f"INSERT INTO demo.parent VALUES ({place}, %(number)s)",
                ]
        try:
            for statement in statements:
                cursor.execute(statement, row)
            cursor.execute("COMMIT")
        except pymysql.MySQLError as error:
            self.unknown.add((writer, number))
            text = str(error.args)
            self.errors[text] = self.errors.get(text, 0) + 1
            return False
        self.acknowledged.add((writer, number))
        return True

    def judge(self, rows: Sequence[tuple[Any, ...]], keyless: Sequence[tuple[Any, ...]]) -> list[str]:
        """What is wrong on one server, given (writer, number) of all rows of two tables."""
        present, beside = set(rows), sorted(keyless)
        found = []
        if lost := self.acknowledged - present:
            found.append(f"{len(lost)} acknowledged transactions are lost: {sorted(lost)[:5]}")
        if invented := present - self.acknowledged - self.unknown:
            found.append(f"{len(invented)} are there that nobody sent: {sorted(invented)[:5]}")
        if beside != sorted(present):
            extra = [key for key in set(beside) if beside.count(key) != 1 or key not in present]
            missing = present - set(beside)
            found.append(f"the table without a key differs: {sorted(extra)[:5]} {sorted(missing)[:5]}")
        return found
