import pytest

from wolfscale.mysql.literals import identifier, literal


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "NULL"),
        (5, "5"),
        (-3, "-3"),
        (True, "TRUE"),
        ("it's", "'it''s'"),
        ("back\\slash", "'back\\\\slash'"),
        ("\0\n\r\x1a", "'\\0\\n\\r\\Z'"),
        (b"", "x''"),
        (b"\0\xff", "x'00ff'"),
    ],
)
def test_literal_of_each_kind(value: str | bytes | int | None, text: str) -> None:
    assert literal(value) == text


def test_identifier_doubles_its_quotes() -> None:
    assert identifier("a`b") == "`a``b`"
