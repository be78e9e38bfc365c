"""The scripted tour: small steps against a running cluster, each of which holds or ends the tour."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pymysql
import trio

from wolfscale.demo.accounts import DATABASE
from wolfscale.demo.cluster import DemoCluster, Part, Reporter
from wolfscale.demo.comparison import compare_servers, judge, written_keys
from wolfscale.demo.conditions import level, serving, writable_node
from wolfscale.demo.errors import DemoError, StepFailedError
from wolfscale.demo.servers import Row
from wolfscale.demo.writers import CREATE_TABLE, Client, Writers, connect

_WAIT_SECONDS = 60.0
_POLL_SECONDS = 0.02
_OWN_READS = 50
_WRITES_BEFORE = 300
_WRITES_AFTER = 500
_CLONE_WAIT_SECONDS = 180.0

_SCHEMA = (
    "CREATE TABLE guests (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(40) NOT NULL, "
    "arrived DATETIME(6) NOT NULL DEFAULT NOW(6), ticket CHAR(36) NOT NULL DEFAULT UUID())",
    "CREATE TABLE notes (guest INT NOT NULL, note JSON, "
    "FOREIGN KEY (guest) REFERENCES guests (id) ON DELETE CASCADE)",
    "CREATE TABLE visits (total INT NOT NULL)",
    "INSERT INTO visits VALUES (0)",
    "CREATE TRIGGER count_visits AFTER INSERT ON guests FOR EACH ROW UPDATE visits SET total = total + 1",
)
_GUESTS = ("Ada", "Grace", "Katherine", "Hedy", "Radia")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: what it shows, and the coroutine that does it and returns what happened, in words."""

    title: str
    play: Callable[["Tour"], Awaitable[str]]


class Tour:
    """State that the steps of one tour share. Play it with `play`.

    Args:
        cluster: started, with the demo's account and database; at least three nodes.
        report: told each line as it happens.
    """

    def __init__(self, cluster: DemoCluster, report: Reporter) -> None:
        self.cluster = cluster
        self._report = report
        self._started = trio.current_time()
        ports = [cluster.node(number).mysql_port for number in cluster.numbers]
        self.writers = Writers(ports, count=2 * len(ports))
        self.killed = 0
        self.stopped_at = 0.0

    def say(self, text: str) -> None:
        """Report a line with the seconds since the tour began."""
        self._report(f"{trio.current_time() - self._started:7.2f} s  {text}")

    async def play(self) -> bool:
        """Play all steps in order; returns whether each held. The first that does not ends the tour."""
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            try:
                for position, step in enumerate(STEPS, start=1):
                    self.say(f"{position}/{len(STEPS)} {step.title}")
                    try:
                        self.say(f"    {await step.play(self)}")
                    except (DemoError, pymysql.err.MySQLError) as error:
                        self.say(f"    FAILED: {error}")
                        return False
            finally:
                self.writers.stop()
                nursery.cancel_scope.cancel()
        return True

    async def run(
        self, number: int, *statements: str, database: str | None = DATABASE
    ) -> list[tuple[Row, ...]]:
        """Run statements in one connection through a node's proxy, as the demo's account."""
        port = self.cluster.node(number).mysql_port

        def work() -> list[tuple[Row, ...]]:
            client = connect(port, database=database)
            try:
                return [_execute(client, statement) for statement in statements]
            finally:
                client.close()

        return await trio.to_thread.run_sync(work, abandon_on_cancel=True)


def _execute(client: Client, statement: str) -> tuple[Row, ...]:
    with client.cursor() as cursor:
        cursor.execute(statement)
        return tuple(cursor.fetchall())


async def _create_schema(tour: Tour) -> str:
    second = tour.cluster.numbers[1]
    tables = ", ".join(("acknowledged", "notes", "guests", "visits"))
    await tour.run(second, f"DROP TABLE IF EXISTS {tables}", *_SCHEMA, CREATE_TABLE)
    return f"4 tables with a foreign key and a trigger, created through {_name(tour, second)}"


async def _write(tour: Tour) -> str:
    third = tour.cluster.numbers[2]
    inserts = [f"INSERT INTO guests (name) VALUES ('{name}')" for name in _GUESTS]
    notes = "INSERT INTO notes SELECT id, JSON_OBJECT('likes', name) FROM guests"
    await tour.run(third, *inserts, "BEGIN", notes, "DELETE FROM guests WHERE name = 'Hedy'", "COMMIT")
    return f"{len(_GUESTS)} guests and a transaction with a cascade, written through {_name(tour, third)}"


async def _read_everywhere(tour: Tour) -> str:
    question = (
        "SELECT id, name, arrived, ticket FROM guests ORDER BY id",
        "SELECT guest, note FROM notes ORDER BY guest",
        "SELECT total FROM visits",
    )
    answers: dict[int, list[tuple[Row, ...]]] = {}
    with trio.move_on_after(_WAIT_SECONDS):
        while True:
            answers = {number: await tour.run(number, *question) for number in tour.cluster.numbers}
            first = next(iter(answers.values()))
            if all(answer == first for answer in answers.values()) and len(first[0]) == len(_GUESTS) - 1:
                if first[2] != ((len(_GUESTS),),):
                    raise StepFailedError(f"the trigger counted {first[2]} instead of {len(_GUESTS)}")
                return f"{len(answers)} nodes give the same {len(first[0])} guests, down to NOW(6) and UUID()"
            await trio.sleep(_POLL_SECONDS)
    raise StepFailedError(f"the nodes do not agree: {answers}")


async def _read_own_writes(tour: Tour) -> str:
    leader = await tour.cluster.wait_writable()
    follower = next(number for number in tour.cluster.numbers if number != leader)
    statements = []
    for value in range(_OWN_READS):
        statements += [f"UPDATE visits SET total = {1000 + value}", "SELECT total FROM visits"]
    results = await tour.run(follower, *statements)
    for value, rows in enumerate(results[1::2]):
        if rows != ((1000 + value,),):
            raise StepFailedError(f"read {rows} right after writing {1000 + value}")
    return f"{_OWN_READS} writes, each read at once through the follower {_name(tour, follower)}: never stale"


async def _start_writers(tour: Tour) -> str:
    tour.nursery.start_soon(tour.writers.run)
    if not await tour.writers.wait_acknowledged(_WRITES_BEFORE):
        raise StepFailedError(f"too few writes were acknowledged in 60 s: {_tally(tour)}")
    return f"{len(tour.cluster.numbers) * 2} writers through all nodes; {_tally(tour)}"


async def _kill_leader(tour: Tour) -> str:
    leader = await tour.cluster.wait_writable()
    tour.killed = leader
    killed_at = time.monotonic()
    tour.cluster.kill(leader, Part.BOTH)
    tour.say(f"    kill -9 of {_name(tour, leader)} and its MariaDB")
    successor = await tour.cluster.wait_writable(other_than=leader)
    tour.say(f"    {_name(tour, successor)} takes writes")
    if not await tour.writers.wait_acknowledged(_WRITES_AFTER):
        raise StepFailedError(f"too few writes were acknowledged after the kill: {_tally(tour)}")
    gap = tour.writers.record.longest_gap(killed_at - 0.5, time.monotonic())
    return f"{gap:.2f} s without an acknowledged write; {_tally(tour)}"


async def _bring_back(tour: Tour) -> str:
    tour.cluster.launch(tour.killed)
    await tour.cluster.wait_for(
        serving(*tour.cluster.numbers),
        f"{_name(tour, tour.killed)} to serve again",
        _CLONE_WAIT_SECONDS,
        lambda text: tour.say(f"    {text}"),
    )
    return f"{_name(tour, tour.killed)} serves again, while writers run; {_tally(tour)}"


async def _settle(tour: Tour) -> str:
    tour.writers.stop()
    statuses = await tour.cluster.wait_for(
        level(*tour.cluster.numbers), "all nodes to be level", _WAIT_SECONDS
    )
    leader = writable_node(statuses)
    status = statuses[leader] if leader is not None else None
    position = f"sequence {status.applied.sequence}, term {status.term}" if status else "the same position"
    return f"writers stopped; all nodes have applied everything ({position})"


async def _compare(tour: Tour) -> str:
    cluster, record = tour.cluster, tour.writers.record
    comparison = await compare_servers(cluster, cluster.numbers)
    if comparison.differences:
        raise StepFailedError("tables differ: " + "; ".join(comparison.differences))
    present: set[tuple[int, int]] = set()
    for number in cluster.numbers:
        present = await written_keys(cluster, number, DATABASE)
        if wrong := judge(record, present):
            raise StepFailedError(f"{_name(tour, number)}: " + "; ".join(wrong))
    done = len(record.unknown & present)
    return (
        f"{comparison.tables} tables have equal checksums on {len(cluster.numbers)} servers; all "
        f"{len(record.acknowledged)} acknowledged writes are there, "
        f"and {done} of {len(record.unknown)} whose outcome the client never learned"
    )


def _name(tour: Tour, number: int) -> str:
    return tour.cluster.node(number).name


def _tally(tour: Tour) -> str:
    record = tour.writers.record
    text = f"{len(record.acknowledged)} writes acknowledged, {len(record.unknown)} unknown"
    if record.errors:
        text += "; errors seen: " + "; ".join(f"{count}x {error}" for error, count in record.errors.items())
    return text


STEPS: tuple[Step, ...] = (
    Step(title="Create a schema through the second node", play=_create_schema),
    Step(title="Write through the third node", play=_write),
    Step(title="Read on every node", play=_read_everywhere),
    Step(title="Read your own writes at once on a follower", play=_read_own_writes),
    Step(title="Let writers run through all nodes", play=_start_writers),
    Step(title="Kill the leader's node and its MariaDB while they run", play=_kill_leader),
    Step(title="Bring the dead node back", play=_bring_back),
    Step(title="Wait until every node has everything", play=_settle),
    Step(title="Compare all servers with each other and with what was acknowledged", play=_compare),
)
