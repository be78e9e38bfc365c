"""SQL literals for the statements that we compose ourselves."""

_ESCAPES = str.maketrans(
    {
        "\0": "\\0",
        "'": "''",
        '"': '\\"',
        "\\": "\\\\",
        "\n": "\\n",
        "\r": "\\r",
        "\x1a": "\\Z",
    }
)


def literal(value: str | bytes | int | None) -> str:
    """A value as an SQL literal, for sessions whose sql_mode lacks NO_BACKSLASH_ESCAPES.

    Text is quoted for the utf8mb4 connections of `Connection`; bytes become a hexadecimal literal.
    """
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    return f"'{value.translate(_ESCAPES)}'"


def identifier(name: str) -> str:
    """A name as a quoted identifier."""
    return "`" + name.replace("`", "``") + "`"
