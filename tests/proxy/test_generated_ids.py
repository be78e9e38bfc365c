"""Where `wolfscale_id()` is a call, what takes its place, and what is refused."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wolfscale.proxy.classify import MAX_TEXT_BYTES
from wolfscale.proxy.errors import ProxyError
from wolfscale.proxy.generated_ids import id_template, take_ids
from wolfscale.proxy.id_requests import MAX_IDS
from wolfscale.proxy.lexer import LexerMode, tokenize

MODE = LexerMode()
NO_ESCAPES = LexerMode(backslash_escapes=False)
ANSI = LexerMode(ansi_quotes=True)


def filled(sql: str, mode: LexerMode = MODE) -> str:
    """The text with 71, 72, 73... in it."""
    template = id_template(sql.encode(), mode)
    if template is None:
        return sql
    return template.fill(range(71, 71 + template.count)).decode()


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT wolfscale_id()", "SELECT 71 AS `wolfscale_id()` "),
        ("select WolfScale_ID();", "select 71 AS `WolfScale_ID()` ;"),
        ("SELECT wolfscale_id ( ) , 1", "SELECT 71 AS `wolfscale_id ( )`  , 1"),
        ("SELECT DISTINCT wolfscale_id() FROM t", "SELECT DISTINCT 71 AS `wolfscale_id()`  FROM t"),
        ("SELECT 1, wolfscale_id() LIMIT 1", "SELECT 1, 71 AS `wolfscale_id()`  LIMIT 1"),
        ("SELECT wolfscale_id()AS id", "SELECT 71 AS id"),
        ("SELECT wolfscale_id() id, wolfscale_id()", "SELECT 71  id, 72 AS `wolfscale_id()` "),
        ("SELECT wolfscale_id() + 1", "SELECT 71  + 1"),
        ("SELECT -wolfscale_id()", "SELECT -71 "),
        ("SELECT f(1, wolfscale_id())", "SELECT f(1, 71 )"),
        ("SELECT (SELECT wolfscale_id())", "SELECT (SELECT 71 AS `wolfscale_id()` )"),
        ("SELECT /* c */ wolfscale_id(/* ` */)", "SELECT /* c */ 71 AS `wolfscale_id(/* `` */)` "),
        ("SELECT wolfscale_id() UNION SELECT wolfscale_id()",
         "SELECT 71 AS `wolfscale_id()`  UNION SELECT 72 AS `wolfscale_id()` "),
        ("INSERT INTO t VALUES (wolfscale_id(), 1), (wolfscale_id(), 2)",
         "INSERT INTO t VALUES (71 , 1), (72 , 2)"),
        ("INSERT INTO t SET id = wolfscale_id()", "INSERT INTO t SET id = 71 "),
        ("INSERT INTO t (v) SELECT wolfscale_id() ON DUPLICATE KEY UPDATE v = 1",
         "INSERT INTO t (v) SELECT 71 AS `wolfscale_id()`  ON DUPLICATE KEY UPDATE v = 1"),
        ("INSERT INTO t (v) VALUES (1) RETURNING id, wolfscale_id()",
         "INSERT INTO t (v) VALUES (1) RETURNING id, 71 AS `wolfscale_id()` "),
        ("SET @id = wolfscale_id()", "SET @id = 71 "),
        ("CALL p(wolfscale_id())", "CALL p(71 )"),
        ("UPDATE t SET v = wolfscale_id() WHERE id = 1", "UPDATE t SET v = 71  WHERE id = 1"),
        ("SELECT 1; SELECT wolfscale_id()", "SELECT 1; SELECT 71 AS `wolfscale_id()` "),
        ("CREATE TABLE t (id BIGINT); INSERT INTO t VALUES (wolfscale_id())",
         "CREATE TABLE t (id BIGINT); INSERT INTO t VALUES (71 )"),
    ],
)  # fmt: skip
def test_call_is_replaced_by_an_id(sql: str, expected: str) -> None:
    assert filled(sql) == expected


@pytest.mark.parametrize(
    ("sql", "mode"),
    [
        ("SELECT 'wolfscale_id()'", MODE),
        ("SELECT \"wolfscale_id()\"", MODE),
        ("SELECT \"wolfscale_id()\"", ANSI),
        ("SELECT `wolfscale_id()` FROM t", MODE),
        (r"SELECT 'a\' wolfscale_id() '", MODE),
        ("SELECT 'a'' wolfscale_id() '", NO_ESCAPES),
        ("SELECT 1 -- wolfscale_id()", MODE),
        ("SELECT 1 # wolfscale_id()", MODE),
        ("SELECT /* wolfscale_id() */ 1", MODE),
        ("SELECT shop.wolfscale_id()", MODE),
        ("SELECT @wolfscale_id", MODE),
        ("SELECT wolfscale_id FROM t", MODE),
        ("SELECT wolfscale_id(1)", MODE),
        ("SELECT my_wolfscale_id()", MODE),
        ("SELECT wolfscale_ids()", MODE),
        ("SELECT wolfscale_id(), 'open", MODE),
        ("PREPARE s FROM 'SELECT wolfscale_id()'", MODE),
    ],
)  # fmt: skip
def test_text_without_a_call_stays_as_it_is(sql: str, mode: LexerMode) -> None:
    assert id_template(sql.encode(), mode) is None


def test_backslash_that_escapes_nothing_leaves_the_call_outside_of_the_string() -> None:
    assert filled(r"SELECT 'a\', wolfscale_id()", NO_ESCAPES) == r"SELECT 'a\', 71 AS `wolfscale_id()` "


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE PROCEDURE p() INSERT INTO t VALUES (wolfscale_id())",
        "CREATE PROCEDURE p() BEGIN SELECT 1; INSERT INTO t VALUES (wolfscale_id()); END",
        "CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW SET NEW.id = wolfscale_id()",
        "CREATE VIEW v AS SELECT wolfscale_id()",
        "CREATE TABLE t (id BIGINT DEFAULT wolfscale_id())",
        "ALTER TABLE t ALTER COLUMN id SET DEFAULT (wolfscale_id())",
        "CREATE FUNCTION wolfscale_id() RETURNS BIGINT RETURN 1",
        "BEGIN NOT ATOMIC WHILE 1 DO SELECT 2; INSERT INTO t VALUES (wolfscale_id()); END WHILE; END",
        "SELECT 1; CREATE VIEW v AS SELECT wolfscale_id()",
        "IF 1 THEN SELECT wolfscale_id(); END IF",
    ],
)
def test_call_whose_value_would_be_kept_is_refused(sql: str) -> None:
    with pytest.raises(ProxyError, match="the same for ever") as caught:
        id_template(sql.encode(), MODE)
    assert caught.value.errno == 1235


def test_call_in_a_long_text_is_refused_but_not_its_mention() -> None:
    row = b"('it''s wolfscale_id() \\' \"', 1),"
    values = b"INSERT INTO t VALUES " + row * (MAX_TEXT_BYTES // len(row) + 1) + b"('', 2)"
    assert id_template(values, MODE) is None
    assert id_template(values + b" -- wolfscale_id()\n", MODE) is None
    several = values + b"; SELECT 1"
    assert id_template(several, MODE) is None
    for sql in (
        several + b", wolfscale_id()",
        b"UPDATE t SET v = wolfscale_id(), w = '" + b"x" * MAX_TEXT_BYTES + b"'",
    ):
        with pytest.raises(ProxyError, match="more than 1 MiB"):
            id_template(sql, MODE)


def test_long_insert_has_an_id_in_each_row() -> None:
    row = b"(wolfscale_id(), 'it''s wolfscale_id() \\' \"'),"
    count = MAX_TEXT_BYTES // len(row) + 1
    template = id_template(b"INSERT INTO t VALUES " + row * count + b"(1, '')", MODE)
    assert template is not None
    assert template.count == count
    assert template.fill(range(count)).startswith(
        b"INSERT INTO t VALUES (0 , 'it''s wolfscale_id() \\' \"'),(1 ,"
    )


def test_call_beside_text_whose_bytes_may_look_like_quotes_is_refused() -> None:
    assert filled("SELECT wolfscale_id()") == "SELECT 71 AS `wolfscale_id()` "
    assert id_template(b"SELECT wolfscale_id()", MODE, "gbk") is not None
    # The second byte of the character is a backslash, which escapes no quote.
    text = b"SELECT '\x95\x5c', wolfscale_id()"
    with pytest.raises(ProxyError, match="with gbk text"):
        id_template(text, MODE, "gbk")
    assert id_template(b"SELECT '\x95\x5c wolfscale_id()'", MODE, "gbk") is None


_PIECES = st.sampled_from(
    ["SELECT ", "wolfscale_id()", "WOLFSCALE_ID( )", "'a'", '"b"', "`c`", ", ", " AS x", "(", ")", ";",
     " FROM t", "@v", "shop.", "1", "-- \n", "/* ' */", "\\", "INSERT INTO t VALUES ", " ", "'it''s'", "ü",
     "/*! ", "*/", "/*M!999999 ", "RETURNING ", "# ", "wolfscale_id", "(/* x */)", "\n", ".", "--", "x", "'"]
)  # fmt: skip


@given(st.lists(_PIECES, max_size=20))
def test_everything_but_the_calls_stays_and_no_call_is_left(pieces: list[str]) -> None:
    sql = "".join(pieces)
    try:
        template = id_template(sql.encode(), MODE)
    except ProxyError:
        return
    before = tokenize(sql.encode().decode("latin-1"), MODE)
    if template is None:
        return
    after = tokenize(template.fill(range(1, template.count + 1)).decode("latin-1"), MODE)
    assert before.complete == after.complete
    assert id_template(template.example(), MODE) is None, "a call is left, or an id has made one"
    words = [token.value for token in before.tokens]
    rest = [token.value for token in after.tokens]
    ids = iter(range(1, template.count + 1))
    # Putting the calls back, and taking the names away, gives the text again.
    back: list[str] = []
    position = 0
    while position < len(rest):
        call = words[len(back) : len(back) + 3]
        if [word.upper() for word in call] == ["WOLFSCALE_ID", "(", ")"] and rest[position].isdigit():
            assert int(rest[position]) == next(ids)
            back += call
            position += 1
            name = rest[position + 1] if position + 1 < len(rest) else ""
            if rest[position : position + 1] == ["AS"] and name.upper().startswith("WOLFSCALE_ID"):
                position += 2
        else:
            back.append(rest[position])
            position += 1
    assert back == words
    assert next(ids, None) is None


@given(
    st.sampled_from(["INSERT ", "replace\n"]),
    st.lists(_PIECES, max_size=20),
    st.sampled_from([MODE, NO_ESCAPES]),
)
def test_rows_are_read_alike_with_and_without_the_lexer(
    verb: str, pieces: list[str], mode: LexerMode
) -> None:
    sql = (verb + "".join(pieces)).encode()
    if not tokenize(sql.decode("latin-1"), mode).complete:
        return
    # A text of another session's character set is always read by the lexer.
    assume(sql.isascii())
    assert id_template(sql, mode) == id_template(sql, mode, "gbk")


class _Node:
    def __init__(self) -> None:
        self.asked: list[int] = []

    async def take_ids(self, count: int) -> list[int]:
        self.asked.append(count)
        return list(range(count))


async def test_statement_with_very_many_calls_asks_several_times() -> None:
    node = _Node()
    assert len(await take_ids(node, 2 * MAX_IDS + 1)) == 2 * MAX_IDS + 1  # type: ignore[arg-type]
    assert node.asked == [MAX_IDS, MAX_IDS, 1]
