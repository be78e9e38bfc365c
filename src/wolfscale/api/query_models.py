"""What is sent to `/query`, and what comes back."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from wolfscale.api.write_models import Integers, Name, Text

DEFAULT_ROWS = 1000
MAX_ROWS = 10_000
DEFAULT_TIMEOUT_MS = 10_000
MAX_TIMEOUT_MS = 60_000
MAX_SQL_CHARACTERS = 1 << 16
"""Looking at a text takes the node's own time."""
MAX_PARAMETERS = 10_000
MAX_RESULT_BYTES = 4 << 20
MAX_RESULT_VALUES = 200_000
GTID_PATTERN = r"^[0-9]{1,10}-[0-9]{1,10}-[0-9]{1,19}$"


class ReadConsistency(StrEnum):
    """What a query must see."""

    EVENTUAL = "eventual"
    """What the server beside the asked node has applied, at once."""
    SESSION = "session"
    """At least the write whose GTID is given as `after`."""
    STRONG = "strong"
    """Everything that was acknowledged to anybody before the query was sent."""
    LEADER = "leader"
    """What the leader's server has."""


class RowForm(StrEnum):
    """What a row is in the answer."""

    OBJECTS = "objects"
    ARRAYS = "arrays"


# Looked at where it is bound, so that the answer names the one that is wrong; the document says it here.
Parameter = Annotated[
    Any,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": ["null", "boolean", "number", "string"]},
                {
                    "type": "object",
                    "properties": {"base64": {"type": "string", "contentEncoding": "base64"}},
                    "required": ["base64"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]


class QueryRequest(BaseModel):
    """What `/query` takes."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "sql": "SELECT * FROM users WHERE email = :email",
                    "parameters": {"email": "alice@example.com"},
                }
            ]
        },
    )

    sql: Text = Field(
        min_length=1,
        max_length=MAX_SQL_CHARACTERS,
        description="One SELECT, WITH, VALUES, SHOW, DESCRIBE or EXPLAIN statement.",
    )
    parameters: (
        Annotated[list[Parameter], Field(max_length=MAX_PARAMETERS)]
        | Annotated[dict[str, Parameter], Field(max_length=MAX_PARAMETERS)]
    ) = Field(
        default_factory=list,
        description="Values: a list for the `?` of the statement, or an object for its `:name`. Bytes are "
        'written as {"base64": "..."}.',
    )
    database: Name | None = Field(
        default=None, description="The database of names without one. Default: the configuration's."
    )
    consistency: ReadConsistency | None = Field(
        default=None, description="Default: `session` where `after` is given, else `strong`."
    )
    after: Annotated[str, Field(pattern=GTID_PATTERN)] | None = Field(
        default=None, description="The GTID of a write that the query shall see."
    )
    max_rows: int = Field(default=DEFAULT_ROWS, ge=1, le=MAX_ROWS, description="The answer has no more rows.")
    timeout_ms: int = Field(
        default=DEFAULT_TIMEOUT_MS,
        ge=1,
        le=MAX_TIMEOUT_MS,
        description="How long the server may take, in milliseconds.",
    )
    rows: RowForm = Field(default=RowForm.OBJECTS, description="What a row is in the answer.")
    integers: Integers = Field(default=Integers.NUMBER, description="How integers stand in the answer.")


class ColumnBody(BaseModel):
    """A column of an answer.

    Attributes:
        name: its name or alias.
        type: its type, e.g. `bigint unsigned`.
        encoding: how its values stand in JSON: `integer`, `integer in a string`, `number`, `decimal` (in a
            string), `text`, `base64`, `date`, `datetime`, `timestamp` (UTC), `time`, `json` or `null`.
    """

    name: str
    type: str
    encoding: str


class QueryAnswer(BaseModel):
    """The answer to a query.

    Attributes:
        columns: in order.
        rows: an object by column name each, or an array.
        row_count: how many.
        truncated: there were more rows than `max_rows`, or than fit into an answer.
        source: `replica` when the server beside the asked node answered, else `leader`.
    """

    columns: list[ColumnBody]
    rows: list[Any]
    row_count: int
    truncated: bool
    source: str
