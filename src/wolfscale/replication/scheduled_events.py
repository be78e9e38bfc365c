"""Events of the event scheduler: they run on the primary only, and the cluster knows which are enabled."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from wolfscale.mysql.client import Connection, Result
from wolfscale.mysql.errors import ServerError
from wolfscale.mysql.literals import identifier, literal
from wolfscale.replication.schema import SCHEMA

_EVENT_IS_OVER = frozenset({1544, 1588, 1589})
_NO_SUCH_EVENT = 1539


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class EventName:
    """An event of the event scheduler."""

    schema: str
    name: str


class ScheduledEvents:
    """The events of one server. Raises what its queries raise.

    Args:
        query: runs a statement on the server.
        connect: opens a connection of the caller's own.
    """

    def __init__(
        self, query: Callable[[str], Awaitable[Result]], connect: Callable[[], Awaitable[Connection]]
    ) -> None:
        self._query = query
        self._connect = connect

    async def set_scheduler(self, on: bool) -> None:
        """Run events, or none: they belong to the primary."""
        await self._query(f"SET GLOBAL event_scheduler={'ON' if on else 'OFF'}")

    async def enabled(self) -> list[EventName]:
        """Return the events that are enabled here, in order."""
        return await self._events(
            "SELECT event_schema, event_name FROM information_schema.events WHERE status = 'ENABLED'"
        )

    async def recorded(self) -> list[EventName]:
        """Return the events that the cluster knows as enabled, in order."""
        return await self._events(f"SELECT schema_name, event_name FROM {SCHEMA}.enabled_event")

    async def record(self, events: Sequence[EventName]) -> None:
        """Make the cluster know exactly these events as enabled; only on the primary."""
        known = set(await self.recorded())
        wanted = set(events)
        if known == wanted:
            return
        async with await self._connect() as connection:
            await connection.query("BEGIN")
            for event in sorted(known - wanted):
                await connection.query(
                    f"DELETE FROM {SCHEMA}.enabled_event WHERE schema_name={literal(event.schema)} "
                    f"AND event_name={literal(event.name)}"
                )
            for event in sorted(wanted - known):
                values = f"{literal(event.schema)}, {literal(event.name)}"
                await connection.query(f"INSERT INTO {SCHEMA}.enabled_event VALUES ({values})")
            await connection.query("COMMIT")

    async def enable(self) -> None:
        """Enable exactly the events that the cluster knows as enabled, and run the event scheduler.

        On a replica every event became SLAVESIDE_DISABLED, a user's own DISABLED too.
        """
        recorded = await self.recorded()
        enabled = set(await self.enabled())
        for event in recorded:
            if event not in enabled:
                await self._enable(event)
        await self.set_scheduler(True)

    async def _enable(self, event: EventName) -> None:
        rows = (
            await self._query(
                "SELECT definer, sql_mode, character_set_client, collation_connection FROM "
                f"information_schema.events WHERE event_schema={literal(event.schema)} "
                f"AND event_name={literal(event.name)}"
            )
        ).rows
        if not rows:
            return
        definer, sql_mode, client, collation = (value or "" for value in rows[0])
        user, _, host = definer.rpartition("@")
        connection = await self._connect()
        try:
            # ALTER EVENT stores the session's sql_mode and takes the session's user for the definer.
            await connection.query(
                f"SET SESSION sql_mode={literal(sql_mode)}, character_set_client={literal(client)}, "
                f"collation_connection={literal(collation)}"
            )
            await connection.query(
                f"ALTER DEFINER={identifier(user)}@{identifier(host)} EVENT {identifier(event.schema)}."
                f"{identifier(event.name)} ENABLE"
            )
        except ServerError as error:
            if error.errno not in _EVENT_IS_OVER and error.errno != _NO_SUCH_EVENT:
                raise
        finally:
            await connection.aclose()

    async def _events(self, sql: str) -> list[EventName]:
        rows = (await self._query(sql)).rows
        return sorted(EventName(schema=row[0] or "", name=row[1] or "") for row in rows)
