"""Clones between real servers: from a primary under writers and DDL, from a replica, and interrupted."""

import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import trio

from wolfscale.mysql.binlog.gtid import parse_gtid
from wolfscale.replication import clone as clone_module
from wolfscale.replication.clone import CloneState, Phase, receive_clone, serve_clone
from wolfscale.replication.clone_files import CLONE_DIRECTORY
from wolfscale.replication.decision import CloneNeeded, CloneReason, Position
from wolfscale.replication.feed import Feed
from wolfscale.replication.record import DataState
from wolfscale.replication.server_errors import CloneFailed
from wolfscale.replication.settle import Settler, replica_position
from wolfscale.testing.single_server import Node, Primary, fresh_node, scratch_node, until_true

pytestmark = pytest.mark.mariadb

TABLES = ("app.t", "app.keyless", "app.later")


async def _clone(donor: Node, recipient: Node, tenure: Callable[[], int | None]) -> CloneState:
    """Run both ends over a socket."""
    ours, theirs = socket.socketpair()
    state = CloneState()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_serve, donor, _stream(theirs), tenure)
        await receive_clone(recipient.database, recipient.store, _stream(ours), state)
    return state


async def _serve(donor: Node, stream: trio.abc.Stream, tenure: Callable[[], int | None]) -> None:
    # Its errors reach the recipient, which is what is tested.
    with suppress(CloneFailed, trio.BrokenResourceError):
        await serve_clone(donor.database, stream, tenure=tenure)


def _stream(end: socket.socket) -> trio.SocketStream:
    return trio.SocketStream(trio.socket.from_stdlib_socket(end))


@asynccontextmanager
async def _replicating(node: Node) -> AsyncIterator[None]:
    """Let a recovered server apply the log."""
    reader = replica_position(node.database, node.log.find_sequence)
    settler = Settler(node.database, node.store, node.intents, reader)
    feed = Feed(
        node.log,
        user="feed",
        password="secret",
        before_not_plain=settler.before_not_plain,
        after_not_plain=settler.after_not_plain,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.run)
        host, port = await feed.wait_listening()
        await node.database.start_replica(host=host, port=port, user="feed", password="secret")
        yield
        await node.database.stop_replica()
        nursery.cancel_scope.cancel()


async def _catch_up(node: Node) -> None:
    newest = node.log.newest()

    async def is_level() -> bool:
        status = await node.database.replica_status()
        assert status.sql_errno == 0, status.sql_error
        return await node.database.position() == newest

    await until_true(is_level)


async def _checksums(node: Node) -> list[tuple[str | None, ...]]:
    return (await node.database.query(f"CHECKSUM TABLE {', '.join(TABLES)}")).rows


async def _write(primary: Primary, first: int, stop: trio.Event) -> None:
    async with await primary.client() as client:
        number = first
        while not stop.is_set():
            await client.query(f"INSERT INTO app.t VALUES ({number}, REPEAT('x', 2000))")
            number += 1


async def _change_schema(primary: Primary, stop: trio.Event) -> None:
    async with await primary.client() as client:
        number = 0
        while not stop.is_set():
            number += 1
            await client.query(f"CREATE TABLE app.passing{number} (id INT) ENGINE=InnoDB")
            await client.query(f"INSERT INTO app.keyless VALUES ({number})")
            await client.query(f"CREATE OR REPLACE USER passing{number % 3}@localhost")
            await client.query(f"DROP TABLE app.passing{number}")


async def _set_up(primary: Primary) -> None:
    await primary.execute(
        "CREATE DATABASE app",
        "CREATE TABLE app.t (id INT PRIMARY KEY, v TEXT) ENGINE=InnoDB",
        "CREATE TABLE app.keyless (id INT) ENGINE=Aria",
        "CREATE TABLE app.later (id INT) ENGINE=InnoDB",
        "CREATE SEQUENCE app.numbers",
    )


async def _stand(node: Node) -> Position:
    """Boot a clone where it stands."""
    return await node.boot()


async def test_fact_15_clone_of_a_primary_under_writers_and_ddl_goes_on_where_it_was_copied() -> None:
    async with fresh_node() as donor, scratch_node(donor.log) as recipient, scratch_node(donor.log) as third:
        await donor.boot()
        async with donor.primary(5) as primary:
            await _set_up(primary)
            stop = trio.Event()
            async with trio.open_nursery() as writers:
                for number in range(3):
                    writers.start_soon(_write, primary, number * 1_000_000, stop)
                writers.start_soon(_change_schema, primary, stop)
                await until_true(lambda: _has_written(donor, 50))
                state = await _clone(donor, recipient, lambda: 5)
                stop.set()
            assert state.phase is Phase.SWAPPING
            assert state.received_bytes > 1_000_000
            assert recipient.store.current.data is DataState.PRESENT
            copied = parse_gtid(recipient.store.current.settled.gtid)
            assert donor.log.find_sequence(copied.sequence) is not None
            await primary.execute("INSERT INTO app.later VALUES (1)", "INSERT INTO app.keyless VALUES (-1)")
            position = await _stand(recipient)
            assert position.gtid == copied
            async with _replicating(recipient):
                await _catch_up(recipient)
                assert await _checksums(recipient) == await _checksums(donor)
                # A replica's own position stands in its data: clone it in its turn.
                await _clone(recipient, third, lambda: None)
            assert third.store.current.settled.gtid == ""
            assert (await _stand(third)).gtid == donor.log.newest()
            assert await _checksums(third) == await _checksums(donor)
            # Neither copying nor serving left a transaction of the replica's own.
            assert await recipient.database.binlog_position() is None
            accounts = "SELECT User, Host, Priv FROM mysql.global_priv ORDER BY User"
            expected = (await donor.database.query(accounts)).rows
            assert (await recipient.database.query(accounts)).rows == expected
            assert (await third.database.query(accounts)).rows == expected


async def _has_written(node: Node, count: int) -> bool:
    return int(await node.database.value("SELECT COUNT(*) FROM app.t") or 0) >= count


async def test_fact_21_clone_keeps_a_prepared_xa_transaction() -> None:
    async with fresh_node() as donor, scratch_node(donor.log) as recipient:
        await donor.boot()
        async with donor.primary(5) as primary:
            await _set_up(primary)
            await primary.execute(
                "XA START 'transfer'", "INSERT INTO app.t VALUES (7, 'x')", "XA END 'transfer'",
                "XA PREPARE 'transfer'",
            )  # fmt: skip
            await _clone(donor, recipient, lambda: 5)
            await _stand(recipient)
            assert [row[3] for row in (await recipient.database.query("XA RECOVER")).rows] == ["transfer"]
            await primary.execute("XA COMMIT 'transfer'")
            async with _replicating(recipient):
                await _catch_up(recipient)
                assert await _checksums(recipient) == await _checksums(donor)


async def test_clone_replaces_everything_that_was_there() -> None:
    async with fresh_node() as donor, fresh_node() as recipient:
        await donor.boot()
        await recipient.boot()
        async with recipient.primary(3) as primary:
            await primary.execute("CREATE DATABASE foreign_data")
        recipient.log = donor.log
        async with donor.primary(5) as primary:
            await _set_up(primary)
            await _clone(donor, recipient, lambda: 5)
        await _stand(recipient)
        assert await recipient.database.value("SHOW DATABASES LIKE 'foreign_data'") is None
        assert recipient.store.current.tenure is None


async def test_clone_from_a_donor_whose_role_changes_fails_and_leaves_the_old_data() -> None:
    async with fresh_node() as donor, fresh_node() as recipient:
        await donor.boot()
        tenures = iter([None, 6])
        with pytest.raises(BaseExceptionGroup) as failed:
            await _clone(donor, recipient, lambda: next(tenures))
        assert "role changed" in str(failed.value.exceptions[0])
        assert await _still_boots(recipient)


async def test_clone_whose_donor_cannot_copy_says_why_and_leaves_the_old_data() -> None:
    async with fresh_node() as donor, fresh_node() as recipient:
        await donor.boot()
        await donor.database.kill()
        with pytest.raises(BaseExceptionGroup) as failed:
            await _clone(donor, recipient, lambda: None)
        assert "mariadb-backup failed on the donor" in str(failed.value.exceptions[0])
        assert await _still_boots(recipient)


async def test_clone_whose_donor_vanishes_leaves_the_old_data() -> None:
    async with fresh_node() as recipient:
        ours, theirs = socket.socketpair()
        theirs.close()
        with pytest.raises(CloneFailed):
            await receive_clone(recipient.database, recipient.store, _stream(ours), CloneState())
        assert await _still_boots(recipient)


async def _still_boots(node: Node) -> bool:
    assert node.store.current.data is DataState.PRESENT
    node.reopen()
    assert isinstance(await node.boot(), Position)
    return CLONE_DIRECTORY not in os.listdir(node.server.data_directory)


async def test_leftover_of_a_clone_that_was_killed_is_removed_before_the_server_starts() -> None:
    async with fresh_node() as node:
        (node.server.data_directory / CLONE_DIRECTORY / "mysql").mkdir(parents=True)
        assert await _still_boots(node)


@pytest.mark.parametrize("stage", ["receiving", "preparing", "finishing", "swapping", "recording"])
async def test_clone_killed_at_any_stage_is_done_again(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with fresh_node() as donor, fresh_node() as recipient:
        await donor.boot()
        async with donor.primary(5) as primary:
            await _set_up(primary)
            recipient.log = donor.log
            with monkeypatch.context() as patch:
                match stage:
                    case "receiving":
                        patch.setattr(clone_module, "_receive_archive", _killed)
                    case "preparing":
                        patch.setattr(clone_module, "run_to_end", _killed)
                    case "finishing":
                        patch.setattr(clone_module, "finish", _killed_now)
                    case "swapping":
                        patch.setattr(clone_module, "swap", _killed_now)
                    case _:
                        patch.setattr(clone_module, "fresh_data", _killed_now)
                with pytest.raises(BaseExceptionGroup) as killed:
                    await _clone(donor, recipient, lambda: 5)
                assert isinstance(killed.value.exceptions[0], _KilledError)
            recipient.reopen()
            if stage in {"swapping", "recording"}:
                outcome = recipient.decide(await recipient.recover())
                assert isinstance(outcome, CloneNeeded)
                assert outcome.reason is CloneReason.NO_DATA
            else:
                await _still_boots(recipient)
            await _clone(donor, recipient, lambda: 5)
            await _stand(recipient)
            assert CLONE_DIRECTORY not in os.listdir(recipient.server.data_directory)
            assert await _checksums(recipient) == await _checksums(donor)


class _KilledError(Exception):
    pass


async def _killed(*_: object, **__: object) -> None:
    raise _KilledError


def _killed_now(*_: object) -> None:
    raise _KilledError
