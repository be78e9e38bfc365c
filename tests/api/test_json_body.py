"""Bodies that are nearly JSON are refused, and say where."""

from decimal import Decimal

import pytest

from wolfscale.api.json_body import parse_json
from wolfscale.api.problems import Problem


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"a": 1,}', "line 1, column"),
        (b'{"a": 1\n', "line 2, column 1"),
        (b"", "line 1, column 1"),
        (b"NaN", "NaN"),
        (b"[Infinity]", "Infinity"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "'c' stands twice"),
        (b'"\xff"', "no UTF-8 at byte 1"),
        (b"[" * 100_000, "too deeply"),
        (b"9" * 10_000, "cannot be used|can be used"),
    ],
)
def test_body_that_is_no_json_is_refused_with_the_place(body: bytes, reason: str) -> None:
    with pytest.raises(Problem, match=reason) as refused:
        parse_json(body)
    assert (refused.value.status, refused.value.body.error, refused.value.body.field) == (
        400,
        "bad_json",
        "body",
    )


def test_numbers_keep_every_digit() -> None:
    assert parse_json(b"[1.10, 1e400, 18446744073709551615]") == [
        Decimal("1.10"),
        Decimal("1E+400"),
        18446744073709551615,
    ]
    assert str(parse_json(b"1.10")) == "1.10"
