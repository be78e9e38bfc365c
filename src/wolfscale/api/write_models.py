"""What is sent to `/write/*`, and what comes back."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _text(text: str) -> str:
    """What a server can be sent: JSON also writes halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("it is no Unicode: it holds half of a surrogate pair") from None
    return text


Text = Annotated[str, AfterValidator(_text)]
Name = Annotated[Text, Field(min_length=1, max_length=64, pattern=r"^[^\x00]+$")]
MAX_WRITES = 1000
MAX_DDL_CHARACTERS = 1 << 16


class Integers(StrEnum):
    """How integers stand in an answer: JavaScript's numbers are exact up to 2^53 only."""

    NUMBER = "number"
    STRING = "string"


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Insert(_Request):
    """One new row."""

    table: Name = Field(description="The table's name, without its database.")
    database: Name | None = Field(
        default=None, description="The table's database. Default: the one of the node's configuration."
    )
    values: dict[str, Any] = Field(
        description="The row's values by column. Columns left out get their defaults; a BIGINT primary key "
        "without AUTO_INCREMENT gets a snowflake id."
    )


class Update(_Request):
    """New values for one row."""

    table: Name = Field(description="The table's name, without its database.")
    database: Name | None = Field(default=None, description="The table's database.")
    set: dict[str, Any] = Field(min_length=1, description="The new values by column.")
    where_key: dict[str, Any] = Field(
        min_length=1, description="The row's whole primary key, or a whole unique key, by column."
    )


class Delete(_Request):
    """One row less."""

    table: Name = Field(description="The table's name, without its database.")
    database: Name | None = Field(default=None, description="The table's database.")
    where_key: dict[str, Any] = Field(
        min_length=1, description="The row's whole primary key, or a whole unique key, by column."
    )


class _WithAnswer(_Request):
    integers: Integers = Field(default=Integers.NUMBER, description="How the answer writes a new row's id.")


class InsertRequest(Insert, _WithAnswer):
    """What `/write/insert` takes."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"table": "users", "values": {"name": "Alice", "email": "alice@example.com"}}]
        }
    )


class UpdateRequest(Update):
    """What `/write/update` takes."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"table": "users", "set": {"email": "a@example.com"}, "where_key": {"id": 1}}]
        }
    )


class DeleteRequest(Delete):
    """What `/write/delete` takes."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"table": "users", "where_key": {"id": 1}}]})


class BatchInsert(Insert):
    """An insert among others."""

    kind: Literal["insert"]


class BatchUpdate(Update):
    """An update among others."""

    kind: Literal["update"]


class BatchDelete(Delete):
    """A delete among others."""

    kind: Literal["delete"]


BatchWrite = Annotated[BatchInsert | BatchUpdate | BatchDelete, Field(discriminator="kind")]


class BatchRequest(_WithAnswer):
    """What `/write/batch` takes: all of it is done, or nothing."""

    writes: list[BatchWrite] = Field(
        min_length=1, max_length=MAX_WRITES, description="Carried out in this order, in one transaction."
    )


class DdlRequest(_Request):
    """What `/write/ddl` takes."""

    ddl: Text = Field(
        min_length=1,
        max_length=MAX_DDL_CHARACTERS,
        description="One CREATE, ALTER, DROP, RENAME or TRUNCATE statement.",
        examples=["CREATE TABLE notes (id BIGINT PRIMARY KEY, text TEXT)"],
    )
    database: Name | None = Field(
        default=None, description="The database of names without one. Default: the configuration's."
    )


class RowResult(BaseModel):
    """What one write did.

    Attributes:
        affected_rows: rows inserted, deleted or really changed.
        matched_rows: of an update, rows that the key found.
        id: of an insert, the new row's id: the snowflake or AUTO_INCREMENT value given to it, or the value
            sent for a primary key of one integer.
    """

    affected_rows: int
    matched_rows: int | None = None
    id: int | str | None = None


class WriteAnswer(RowResult):
    """The answer to one write.

    Attributes:
        gtid: the transaction's, to be given as `after` to a query that shall see it; None when nothing was
            written.
    """

    gtid: str | None


class BatchAnswer(BaseModel):
    """The answer to several writes; `gtid` as in `WriteAnswer`."""

    results: list[RowResult]
    gtid: str | None


class DdlAnswer(BaseModel):
    """The answer to a definition; `gtid` as in `WriteAnswer`."""

    affected_rows: int
    gtid: str | None
