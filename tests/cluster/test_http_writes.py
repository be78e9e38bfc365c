"""Writes, definitions and queries over HTTP, on every node of one cluster, and across killed leaders."""

import http.client
import json
from typing import Any

import pymysql
import pytest
import trio
from cluster_comparing import assert_identical
from cluster_http import Http, Reply
from cluster_under_test import PATIENCE, POLL_SECONDS, ClusterUnderTest

from wolfscale.app.api_account import USER
from wolfscale.demo.cluster import Part

pytestmark = pytest.mark.cluster

# One test lets a request wait that long in vain.
SETTINGS = {"proxy": {"write_wait_ms": 6000}}

ALL_TYPES = (
    "CREATE OR REPLACE TABLE every_type (id BIGINT UNSIGNED PRIMARY KEY, ti TINYINT, bo BOOLEAN, "
    "si SMALLINT UNSIGNED, mi MEDIUMINT, i INT, f FLOAT, d DOUBLE, de DECIMAL(40,10), bi BIT(64), da DATE, "
    "dt DATETIME(6), ts TIMESTAMP(6) NULL, tm TIME(3), y YEAR, c CHAR(5), vc VARCHAR(40), tx LONGTEXT, "
    "bn BINARY(4), vb VARBINARY(20), bl LONGBLOB, js JSON, en ENUM('a','b''c'), se SET('x','y'), u UUID, "
    "i4 INET4, i6 INET6, g POINT, ge INT AS (i - 1), la VARCHAR(10) CHARACTER SET latin1) "
    "CHARACTER SET utf8mb4"
)
EVERY_VALUE: dict[str, Any] = {
    "id": (1 << 64) - 1,
    "ti": -128,
    "bo": 1,
    "si": 65535,
    "mi": -8388608,
    "i": 2147483647,
    "f": 3.14,
    "d": 1.7976931348623157e308,
    "de": "-123456789012345678901234567890.1234567891",
    "bi": (1 << 64) - 1,
    "da": "9999-12-31",
    "dt": "1000-01-01T23:59:59.999999",
    "ts": "2024-02-29T12:00:00.000001Z",
    "tm": "-838:59:59.999",
    "y": 1901,
    "c": "ü€",
    "vc": "'; DROP TABLE users; -- \\ \" \0 😀",
    "tx": "line\nbreak\ttab",
    "bn": "AAH+/w==",
    "vb": "AP8nXCI=",
    "bl": "J1wA/w==",
    "js": {"a": [1, 2.50, None, True, "ü"], "b": {}},
    "en": "b'c",
    "se": "x,y",
    "u": "123e4567-e89b-12d3-a456-426614174000",
    "i4": "192.0.2.1",
    "i6": "2001:db8::1",
    "g": "AAAAAAEBAAAAAAAAAAAA8D8AAAAAAAAAQA==",
    "la": "é",
}


@pytest.fixture
def http_client(cluster: ClusterUnderTest) -> Http:
    return Http(cluster)


async def a_follower(cluster: ClusterUnderTest) -> int:
    return cluster.followers(await cluster.wait_writable())[0]


async def test_readme_insert_gets_a_snowflake_id_on_every_node(
    cluster: ClusterUnderTest, http_client: Http
) -> None:
    body = b'{"table": "users", "values": {"name": "Alice", "email": "alice@example.com"}}'
    ids = set()
    for number in cluster.numbers:
        answer = await http_client.done(number, "/write/insert", body)
        assert answer["affected_rows"] == 1
        assert answer["gtid"].startswith("0-")
        found = await http_client.rows(
            number,
            "SELECT name, email FROM users WHERE id = ?",
            parameters=[answer["id"]],
            after=answer["gtid"],
        )
        assert found == [["Alice", "alice@example.com"]]
        ids.add(answer["id"])
    assert len(ids) == len(cluster.numbers)
    assert min(ids) > 1 << 40


async def test_every_type_survives_both_ways_and_null_too(
    cluster: ClusterUnderTest, http_client: Http
) -> None:
    number = await a_follower(cluster)
    await http_client.done(number, "/write/ddl", {"ddl": ALL_TYPES})
    row = {"table": "every_type", "values": EVERY_VALUE}
    assert (await http_client.done(number, "/write/insert", row))["id"] == EVERY_VALUE["id"]
    await http_client.done(
        number,
        "/write/insert",
        {"table": "every_type", "values": {**dict.fromkeys(EVERY_VALUE, None), "id": 1}},
    )
    for consistency in ("strong", "leader"):
        answer = await http_client.done(
            number,
            "/query",
            {"sql": "SELECT * FROM every_type ORDER BY id DESC", "consistency": consistency},
        )
        full, empty = answer["rows"]
        assert full == {**EVERY_VALUE, "ge": EVERY_VALUE["i"] - 1}
        assert empty == {**dict.fromkeys(EVERY_VALUE, None), "id": 1, "ge": None}
        assert answer["source"] == ("leader" if consistency == "leader" else "replica")
    # What one node answered can be written again as it is, and is the same row.
    again = {name: value for name, value in full.items() if name not in ("id", "ge")}
    await http_client.done(
        number, "/write/update", {"table": "every_type", "set": again, "where_key": {"id": 1}}
    )
    names = ", ".join(again)
    [[kinds]] = await http_client.rows(
        number, f"SELECT COUNT(*) FROM (SELECT DISTINCT {names} FROM every_type) AS t"
    )
    assert kinds == 1


async def test_integers_come_as_strings_on_request(cluster: ClusterUnderTest, http_client: Http) -> None:
    number = await cluster.wait_writable()
    answer = await http_client.done(
        number,
        "/write/insert",
        {"table": "users", "values": {"name": "Bob", "email": "b"}, "integers": "string"},
    )
    assert isinstance(answer["id"], str)
    asked = {"sql": "SELECT id FROM users WHERE id = :id", "parameters": {"id": int(answer["id"])}}
    found = await http_client.done(number, "/query", {**asked, "integers": "string"})
    assert found["rows"] == [{"id": answer["id"]}]
    assert found["columns"] == [{"name": "id", "type": "bigint", "encoding": "integer in a string"}]


async def test_update_and_delete_find_their_row_by_any_key(
    cluster: ClusterUnderTest, http_client: Http
) -> None:
    number = await a_follower(cluster)
    await http_client.done(
        number,
        "/write/ddl",
        {
            "ddl": "CREATE OR REPLACE TABLE keyed (id INT AUTO_INCREMENT PRIMARY KEY, a INT, b VARCHAR(9), "
            "price DECIMAL(9,2), at DATE, UNIQUE (a, b), UNIQUE (price), UNIQUE (at))"
        },
    )
    values = {"a": 1, "b": "x", "price": "1.10", "at": "2024-01-02"}
    made = await http_client.done(number, "/write/insert", {"table": "keyed", "values": values})
    assert made["id"] == 1
    for key in ({"id": 1}, {"b": "x", "A": 1}, {"price": "1.10"}, {"at": "2024-01-02"}):
        update = {"table": "keyed", "set": {"a": 1}, "where_key": key}
        answer = await http_client.done(number, "/write/update", update)
        assert answer == {"affected_rows": 0, "matched_rows": 1, "gtid": None}
    missed = {"table": "keyed", "set": {"a": 5}, "where_key": {"id": 77}}
    answer = await http_client.done(number, "/write/update", missed)
    assert answer == {"affected_rows": 0, "matched_rows": 0, "gtid": None}
    for affected in (1, 0):
        deleted = await http_client.done(
            number, "/write/delete", {"table": "keyed", "where_key": {"price": "1.1"}}
        )
        assert deleted["affected_rows"] == affected
        assert (deleted["gtid"] is None) == (affected == 0)


WRONG: list[tuple[str, Any, tuple[int, str, str | None]]] = [
    ("/write/insert", b"{", (400, "bad_json", "body")),
    ("/write/insert", b'{"table": "users", "table": "users", "values": {}}', (400, "bad_json", "body")),
    ("/write/insert", b"", (400, "bad_json", "body")),
    ("/write/insert", {"values": {}}, (422, "invalid_request", "table")),
    ("/write/insert", {"table": "users", "values": {}, "valeus": {}}, (422, "invalid_request", "valeus")),
    ("/write/insert", {"table": "nope", "values": {}}, (404, "unknown_table", "table")),
    ("/write/insert", {"table": "users", "database": "nope", "values": {}}, (404, "unknown_table", "table")),
    ("/write/insert", {"table": "wrong", "values": {"nope": 1}}, (422, "unknown_column", "values.nope")),
    ("/write/insert", {"table": "wrong", "values": {"id": "x"}}, (422, "wrong_type", "values.id")),
    ("/write/insert", {"table": "wrong", "values": {"id": 1}}, (409, "duplicate_key", "values.id")),
    (
        "/write/insert",
        {"table": "wrong", "values": {"id": 2, "mail": "m"}},
        (409, "duplicate_key", "values.mail"),
    ),
    (
        "/write/insert",
        {"table": "wrong", "values": {"id": 2, "parent": 9}},
        (409, "foreign_key", "values.parent"),
    ),
    ("/write/insert", {"table": "wrong_child", "values": {}}, (422, "missing_column", "values.id")),
    ("/write/insert", {"table": "wrong", "values": {"id": None}}, (422, "null_in_column", "values.id")),
    ("/write/insert", {"table": "wrong", "values": {"id": 1 << 40}}, (422, "out_of_range", "values.id")),
    (
        "/write/insert",
        {"table": "wrong", "values": {"id": 2, "mail": "x" * 99}},
        (422, "too_long", "values.mail"),
    ),
    (
        "/write/insert",
        {"table": "wrong", "values": {"id": 2, "day": "2024-02-30"}},
        (422, "wrong_value", "values.day"),
    ),
    (
        "/write/insert",
        {"table": "wrong", "values": {"id": 2, "day": "soon"}},
        (422, "wrong_type", "values.day"),
    ),
    (
        "/write/insert",
        {"table": "wrong", "values": {"id": 2, "kind": "c"}},
        (422, "wrong_value", "values.kind"),
    ),
    (
        "/write/insert",
        {"table": "wrong", "values": {"id": 2, "age": -1}},
        (422, "check_failed", "values.age"),
    ),
    (
        "/write/insert",
        {"table": "wrong", "values": {"id": 2, "twice": 1}},
        (422, "generated_column", "values.twice"),
    ),
    ("/write/insert", {"table": "wrong", "values": {"id": 666}}, (422, "signalled", None)),
    ("/write/delete", {"table": "wrong", "where_key": {"id": 1}}, (409, "foreign_key", None)),
    ("/write/delete", {"table": "wrong", "where_key": {"age": 1}}, (422, "no_whole_key", "where_key.id")),
    ("/write/delete", {"table": "wrong", "where_key": {"mail": 0}}, (422, "wrong_type", "where_key.mail")),
    ("/write/delete", {"table": "wrong", "where_key": {}}, (422, "invalid_request", "where_key")),
    ("/write/delete", {"table": "wrong_view", "where_key": {"id": 1}}, (422, "no_key", "where_key")),
    (
        "/write/update",
        {"table": "wrong", "set": {"nope": 1}, "where_key": {"id": 1}},
        (422, "unknown_column", "set.nope"),
    ),
    ("/write/update", {"table": "wrong", "set": {}, "where_key": {"id": 1}}, (422, "invalid_request", "set")),
    (
        "/write/batch",
        {"writes": [{"kind": "upsert", "table": "wrong"}]},
        (422, "invalid_request", "writes.0"),
    ),
    ("/write/batch", {"writes": []}, (422, "invalid_request", "writes")),
    ("/write/ddl", {"ddl": "CREATE TABEL x"}, (400, "syntax", "ddl")),
    ("/write/ddl", {"ddl": "CREATE TABLE x (a INT); DROP TABLE wrong"}, (422, "one_statement", "ddl")),
    ("/write/ddl", {"ddl": "DELETE FROM wrong"}, (422, "no_definition", "ddl")),
    ("/write/ddl", {"ddl": "CREATE USER mallory"}, (422, "no_definition", "ddl")),
    ("/write/ddl", {"ddl": "CREATE TEMPORARY TABLE x (a INT)"}, (422, "temporary_table", "ddl")),
    ("/write/ddl", {"ddl": "DROP TABLE wolfscale.term"}, (403, "system_database", "ddl")),
    ("/write/ddl", {"ddl": "DROP DATABASE mysql"}, (403, "system_database", "ddl")),
    (
        "/write/ddl",
        {"ddl": "CREATE TABLE x (a INT)", "database": "mysql"},
        (403, "system_database", "database"),
    ),
    (
        "/write/ddl",
        {"ddl": "CREATE TABLE x (a INT)", "database": "nope"},
        (404, "unknown_database", "database"),
    ),
    ("/write/ddl", {"ddl": "CREATE TABLE wrong (a INT)"}, (409, "exists_already", "ddl")),
    ("/write/ddl", {"ddl": "DROP TABLE nope"}, (404, "unknown_table", "ddl")),
    (
        "/write/ddl",
        {"ddl": "CREATE DEFINER=root@localhost VIEW v AS SELECT 1"},
        (403, "access_denied", "ddl"),
    ),
    ("/write/ddl", {"ddl": "CREATE PROCEDURE p() BEGIN SET sql_log_bin = 0; END"}, (403, "refused", "ddl")),
    (
        "/write/insert",
        {"table": "term", "database": "wolfscale", "values": {}},
        (403, "system_database", "database"),
    ),
    (
        "/write/insert",
        {"table": "user", "database": "MySQL", "values": {}},
        (403, "system_database", "database"),
    ),
    ("/query", {"sql": "SELECT * FROM nope"}, (404, "unknown_table", "sql")),
    ("/query", {"sql": "SELECT nope FROM wrong"}, (422, "unknown_column", "sql")),
    ("/query", {"sql": "SELEC 1"}, (422, "no_query", "sql")),
    ("/query", {"sql": "SELECT FROM"}, (400, "syntax", "sql")),
    ("/query", {"sql": "SELECT 'open"}, (400, "syntax", "sql")),
    ("/query", {"sql": "DELETE FROM wrong"}, (422, "no_query", "sql")),
    ("/query", {"sql": "SELECT 1; SELECT 2"}, (422, "one_statement", "sql")),
    ("/query", {"sql": "SELECT ?"}, (422, "parameter_count", "parameters")),
    ("/query", {"sql": "SELECT :a"}, (400, "syntax", "sql")),
    ("/query", {"sql": "SELECT :a", "parameters": {"b": 1}}, (422, "missing_parameter", "parameters.a")),
    (
        "/query",
        {"sql": "SELECT :a", "parameters": {"a": 1, "b": 1}},
        (422, "unknown_parameter", "parameters.b"),
    ),
    ("/query", {"sql": "SELECT ?", "parameters": [[1]]}, (422, "wrong_type", "parameters.0")),
    ("/query", {"sql": "SELECT 1 AS a, 2 AS a"}, (422, "duplicate_column", "sql")),
    ("/query", {"sql": "SELECT 1", "consistency": "session"}, (422, "missing_after", "after")),
    ("/query", {"sql": "SELECT 1", "after": "soon"}, (422, "invalid_request", "after")),
    ("/query", {"sql": "SELECT 1", "after": "9999999999-1-1"}, (422, "wrong_gtid", "after")),
    ("/query", {"sql": "SELECT 1", "database": "nope"}, (404, "unknown_database", "database")),
    ("/query", {"sql": "SELECT 1", "max_rows": 0}, (422, "invalid_request", "max_rows")),
    ("/query", {"sql": "SELECT * FROM mysql.global_priv"}, (403, "access_denied", "sql")),
    ("/query", {"sql": "SELECT * FROM wolfscale.term"}, (403, "system_database", "sql")),
    ("/query", {"sql": "SELECT 1", "database": "WolfScale"}, (403, "system_database", "database")),
    ("/query", {"sql": "SELECT 1 INTO OUTFILE '/tmp/x'"}, (403, "access_denied", "sql")),
    ("/query", {"sql": "SELECT id FROM wrong FOR UPDATE"}, (403, "read_only", "sql")),
    ("/query", {"sql": "SELECT write_something()"}, (403, "read_only", "sql")),
    ("/query", {"sql": "SELECT NEXTVAL(counter)"}, (403, "read_only", "sql")),
    ("/query", {"sql": "SELECT SLEEP(30)", "timeout_ms": 50}, (504, "too_slow", "sql")),
]


async def test_everything_wrong_is_refused_and_names_the_field(
    cluster: ClusterUnderTest, http_client: Http
) -> None:
    number = await a_follower(cluster)
    for ddl in (
        "DROP TABLE IF EXISTS wrong_child, wrong",
        "CREATE TABLE wrong (id INT PRIMARY KEY, mail VARCHAR(20) UNIQUE, parent INT, day DATE, "
        "kind ENUM('a','b'), age INT CHECK (age >= 0), twice INT AS (age * 2), "
        "FOREIGN KEY (parent) REFERENCES wrong (id))",
        "CREATE TABLE wrong_child (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES wrong (id))",
        "CREATE OR REPLACE TRIGGER refuse BEFORE INSERT ON wrong FOR EACH ROW "
        "IF NEW.id = 666 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this one'; END IF",
        "CREATE OR REPLACE VIEW wrong_view AS SELECT id FROM wrong",
        "CREATE OR REPLACE FUNCTION write_something() RETURNS INT BEGIN DELETE FROM wrong; RETURN 1; END",
        "CREATE SEQUENCE IF NOT EXISTS counter",
    ):
        await http_client.done(number, "/write/ddl", {"ddl": ddl})
    first = {"table": "wrong", "values": {"id": 1, "mail": "m"}}
    await http_client.done(number, "/write/insert", first)
    await http_client.done(number, "/write/insert", {"table": "wrong_child", "values": {"id": 1}})
    for path, body, expected in WRONG:
        reply = await http_client.post(number, path, body)
        assert reply.problem == expected, (path, body, reply)
        assert reply.body["message"]
    assert await http_client.rows(number, "SELECT id, mail FROM wrong") == [[1, "m"]]


async def test_sql_error_comes_back_unchanged(cluster: ClusterUnderTest, http_client: Http) -> None:
    number = await a_follower(cluster)
    reply = await http_client.post(number, "/query", {"sql": "SELECT * FROM no_such_table"})
    with pytest.raises(pymysql.err.ProgrammingError) as told, cluster.clients.connect(number) as client:
        client.cursor().execute("SELECT * FROM no_such_table")
    assert told.value.args == (reply.body["errno"], reply.body["message"])
    assert (reply.body["errno"], reply.body["sqlstate"]) == (1146, "42S02")


async def test_wrong_content_type_is_refused(cluster: ClusterUnderTest, http_client: Http) -> None:
    reply = await http_client.post(
        1, "/write/insert", b'{"table": "users", "values": {}}', Content_Type="text/plain"
    )
    assert reply.problem == (415, "unsupported_media_type", "Content-Type")


@pytest.mark.parametrize(
    "text",
    [
        "users; DROP TABLE users",
        "users` (id) VALUES (1); --",
        "users`",
        "`users`",
        "demo.users",
        "users\0",
        "users /*",
        "' OR '1'='1",
        "😀",
    ],
)
async def test_injection_in_names_meets_no_table_and_no_column(
    cluster: ClusterUnderTest, http_client: Http, text: str
) -> None:
    number = await cluster.wait_writable()
    before = await http_client.rows(number, "SELECT COUNT(*) FROM users")
    table = await http_client.post(number, "/write/insert", {"table": text, "values": {"name": "x"}})
    assert table.status in (404, 422), table
    assert table.body["field"] == "table"
    for path, body in (
        ("/write/insert", {"table": "users", "values": {text: 1}}),
        ("/write/update", {"table": "users", "set": {text: 1}, "where_key": {"id": 1}}),
        ("/write/delete", {"table": "users", "where_key": {text: 1}}),
    ):
        column = await http_client.post(number, path, body)
        assert column.problem[:2] == (422, "unknown_column")
    database = {"table": "users", "database": text, "values": {"name": "x"}}
    assert (await http_client.post(number, "/write/insert", database)).status in (403, 404, 422)
    assert await http_client.rows(number, "SELECT COUNT(*) FROM users") == before


async def test_values_that_look_like_sql_are_values(cluster: ClusterUnderTest, http_client: Http) -> None:
    number = await a_follower(cluster)
    for text in ("'; DROP TABLE users; --", '"', "\\", "\\'", "%_", "\0", "🐺'", "/*", "?", ":name"):
        made = await http_client.done(
            number, "/write/insert", {"table": "users", "values": {"name": text, "email": "sql"}}
        )
        asked = {"parameters": {"n": text, "id": made["id"]}}
        [[name]] = await http_client.rows(
            number, "SELECT name FROM users WHERE name = :n AND id = :id", **asked
        )
        assert name == text


async def test_batch_is_done_whole_or_not_at_all(cluster: ClusterUnderTest, http_client: Http) -> None:
    number = await a_follower(cluster)
    await http_client.done(
        number, "/write/ddl", {"ddl": "CREATE OR REPLACE TABLE batched (id INT PRIMARY KEY, v INT)"}
    )
    writes: list[dict[str, Any]] = [
        {"kind": "insert", "table": "batched", "values": {"id": 1, "v": 1}},
        {"kind": "insert", "table": "batched", "values": {"id": 2, "v": 1}},
        {"kind": "update", "table": "batched", "set": {"v": 2}, "where_key": {"id": 1}},
        {"kind": "delete", "table": "batched", "where_key": {"id": 2}},
    ]
    answer = await http_client.done(number, "/write/batch", {"writes": writes})
    assert answer["results"] == [
        {"affected_rows": 1, "id": 1},
        {"affected_rows": 1, "id": 2},
        {"affected_rows": 1, "matched_rows": 1},
        {"affected_rows": 1},
    ]
    again = {"kind": "insert", "table": "batched", "values": {"id": 1, "v": 1}}
    fresh = {"kind": "insert", "table": "batched", "values": {"id": 3, "v": 1}}
    reply = await http_client.post(number, "/write/batch", {"writes": [fresh, again]})
    assert reply.problem == (409, "duplicate_key", "writes.1.values.id")
    assert await http_client.rows(number, "SELECT id, v FROM batched", after=answer["gtid"]) == [[1, 2]]


async def test_session_reads_see_the_write_on_every_node(
    cluster: ClusterUnderTest, http_client: Http
) -> None:
    await http_client.done(
        1, "/write/ddl", {"ddl": "CREATE OR REPLACE TABLE counted (id INT PRIMARY KEY, n INT)"}
    )
    await http_client.done(1, "/write/insert", {"table": "counted", "values": {"id": 1, "n": 0}})
    for n in range(1, 31):
        writer, reader = cluster.numbers[n % 3], cluster.numbers[(n + 1) % 3]
        answer = await http_client.done(
            writer, "/write/update", {"table": "counted", "set": {"n": n}, "where_key": {"id": 1}}
        )
        for fields in ({"after": answer["gtid"]}, {"consistency": "strong"}, {"consistency": "leader"}):
            assert await http_client.rows(reader, "SELECT n FROM counted", **fields) == [[n]]
    eventual = await http_client.rows(reader, "SELECT n FROM counted", consistency="eventual")
    assert 0 <= eventual[0][0] <= 30


async def test_long_answers_are_cut_and_say_so(cluster: ClusterUnderTest, http_client: Http) -> None:
    number = await a_follower(cluster)
    sql = "WITH RECURSIVE n AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM n WHERE a < 990) SELECT a FROM n"
    answer = await http_client.done(number, "/query", {"sql": sql, "max_rows": 5})
    assert (answer["row_count"], answer["truncated"]) == (5, True)
    answer = await http_client.done(number, "/query", {"sql": sql})
    assert (answer["row_count"], answer["truncated"]) == (990, False)
    wide = await http_client.done(
        number, "/query", {"sql": f"{sql.replace('SELECT a FROM', 'SELECT REPEAT(97, 50000) FROM')}"}
    )
    assert wide["truncated"]
    assert 1 < wide["row_count"] < 990


async def test_nothing_of_one_request_is_left_for_the_next(
    cluster: ClusterUnderTest, http_client: Http
) -> None:
    number = await a_follower(cluster)
    await http_client.rows(number, "SELECT @left := 1, GET_LOCK('left', 0)")
    for _ in range(10):
        assert await http_client.rows(number, "SELECT @left, IS_FREE_LOCK('left')") == [[None, 1]]


async def test_same_key_is_carried_out_once_and_answered_alike(
    cluster: ClusterUnderTest, http_client: Http
) -> None:
    body = {"table": "users", "values": {"name": "once", "email": "key-1"}}
    first = await http_client.post(1, "/write/insert", body, Idempotency_Key="key-1")
    assert "idempotent-replay" not in first.headers
    for number in cluster.numbers:
        reply = await http_client.post(number, "/write/insert", body, Idempotency_Key="key-1")
        assert reply.headers["idempotent-replay"] == "true"
        assert (reply.status, reply.body["id"]) == (200, first.body["id"])
        # Not the same GTID, which nobody knew when the answer was stored, but one that covers the write.
        found = await http_client.rows(
            number, "SELECT COUNT(*) FROM users WHERE email = 'key-1'", after=reply.body["gtid"]
        )
        assert found == [[1]]
    other = {"table": "users", "values": {"name": "twice", "email": "key-1"}}
    reused = await http_client.post(2, "/write/insert", other, Idempotency_Key="key-1")
    assert reused.problem == (422, "idempotency_key_reused", "Idempotency-Key")
    elsewhere = await http_client.post(
        2, "/write/batch", {"writes": [{"kind": "insert", **body}]}, Idempotency_Key="key-1"
    )
    assert elsewhere.problem == (422, "idempotency_key_reused", "Idempotency-Key")
    unusable = await http_client.post(2, "/write/insert", body, Idempotency_Key="a b")
    assert unusable.problem == (422, "invalid_request", "Idempotency-Key")


async def test_key_of_a_failed_write_may_be_used_again(cluster: ClusterUnderTest, http_client: Http) -> None:
    await http_client.done(1, "/write/ddl", {"ddl": "CREATE OR REPLACE TABLE failing (id INT PRIMARY KEY)"})
    body = {"table": "failing", "values": {"id": 1}}
    await http_client.done(1, "/write/insert", body)
    refused = await http_client.post(1, "/write/insert", body, Idempotency_Key="key-2")
    assert refused.status == 409
    await http_client.done(1, "/write/delete", {"table": "failing", "where_key": {"id": 1}})
    reply = await http_client.post(1, "/write/insert", body, Idempotency_Key="key-2")
    assert (reply.status, "idempotent-replay" in reply.headers) == (200, False)


async def test_same_key_at_the_same_time_is_carried_out_once(
    cluster: ClusterUnderTest, http_client: Http
) -> None:
    body = {"table": "users", "values": {"name": "together", "email": "key-3"}}
    replies: list[Reply] = []

    async def send(number: int) -> None:
        replies.append(await http_client.post(number, "/write/insert", body, Idempotency_Key="key-3"))

    async with trio.open_nursery() as nursery:
        for number in cluster.numbers * 3:
            nursery.start_soon(send, number)
    assert {reply.status for reply in replies} == {200}
    assert len({reply.body["id"] for reply in replies}) == 1
    assert sum("idempotent-replay" not in reply.headers for reply in replies) == 1
    assert await http_client.rows(1, "SELECT COUNT(*) FROM users WHERE email = 'key-3'") == [[1]]


async def test_definition_with_a_key_runs_once(cluster: ClusterUnderTest, http_client: Http) -> None:
    await http_client.done(1, "/write/ddl", {"ddl": "DROP TABLE IF EXISTS defined_once"})
    body = {"ddl": "CREATE TABLE defined_once (id INT PRIMARY KEY)"}
    for number in cluster.numbers:
        assert (await http_client.done(number, "/write/ddl", body, Idempotency_Key="key-4"))["gtid"]
    failing = await http_client.post(1, "/write/ddl", body, Idempotency_Key="key-5")
    assert failing.problem == (409, "exists_already", "ddl")
    await http_client.done(1, "/write/ddl", {"ddl": "DROP TABLE defined_once"})
    await http_client.done(1, "/write/ddl", body, Idempotency_Key="key-5")


async def test_definition_whose_end_nobody_saw_is_not_repeated(
    cluster: ClusterUnderTest, http_client: Http
) -> None:
    body = {"ddl": "CREATE TABLE IF NOT EXISTS half_seen (id INT PRIMARY KEY)"}
    await http_client.done(1, "/write/ddl", body, Idempotency_Key="key-6")
    # As if the node had died between the definition and the storing of its answer.
    await cluster.on_writable(
        ["UPDATE wolfscale.api_idempotency SET response = 'pending:other' WHERE idempotency_key = 'key-6'"]
    )
    reply = await http_client.post(2, "/write/ddl", body, Idempotency_Key="key-6")
    assert reply.problem == (409, "outcome_unknown", "Idempotency-Key")


async def test_account_of_the_http_side_is_nobody_elses(cluster: ClusterUnderTest) -> None:
    number = await cluster.wait_writable()
    with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
        cluster.clients.connect(number, user=USER, password="secret", database=None)
    grants = "\n".join(
        str(row[0]) for row in await cluster.query(number, f"SHOW GRANTS FOR {USER}@localhost")
    )
    assert "GRANT USAGE ON *.*" in grants
    assert "WITH GRANT OPTION" not in grants
    for schema in ("mysql", "sys", "wolfscale"):
        assert f"GRANT SHOW VIEW ON `{schema}`.*" in grants


async def test_writes_with_keys_across_killed_leaders_are_there_exactly_once(
    cluster: ClusterUnderTest, http_client: Http
) -> None:
    """Clients send until they get a 200, always with the same key, to one node after the other."""
    await http_client.done(
        1,
        "/write/ddl",
        {"ddl": "CREATE OR REPLACE TABLE exactly_once (id BIGINT PRIMARY KEY, number INT NOT NULL)"},
    )
    answered: dict[int, int] = {}
    stop = trio.Event()

    async def write(client: int) -> None:
        number = client
        while not stop.is_set():
            number += 10
            body = {"table": "exactly_once", "values": {"number": number}}
            answered[number] = await _until_done(http_client, cluster, body, f"exactly-{number}", client)

    async def progress(more: int) -> None:
        wanted = len(answered) + more
        with trio.fail_after(PATIENCE):
            while len(answered) < wanted:
                await trio.sleep(POLL_SECONDS)

    async with trio.open_nursery() as nursery:
        for client in range(4):
            nursery.start_soon(write, client)
        for part in (Part.BOTH, Part.MARIADB, Part.NODE):
            await progress(40)
            leader = await cluster.wait_writable()
            cluster.kill(leader, part)
            await cluster.wait_successor(leader)
            await progress(40)
            if part is not Part.MARIADB:
                cluster.launch(leader)
            await cluster.wait_serving()
        stop.set()
    rows = await http_client.rows(1, "SELECT number, id FROM exactly_once", max_rows=10000)
    assert sorted(rows) == sorted([number, row_id] for number, row_id in answered.items())
    await assert_identical(cluster)


async def _until_done(
    http_client: Http, cluster: ClusterUnderTest, body: dict[str, Any], key: str, client: int
) -> int:
    attempt = client
    while True:
        attempt += 1
        number = cluster.numbers[attempt % len(cluster.numbers)]
        try:
            reply = await http_client.post(number, "/write/insert", body, Idempotency_Key=key)
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            await trio.sleep(POLL_SECONDS)
            continue
        if reply.status == 200:
            row_id: int = reply.body["id"]
            return row_id
        assert reply.status in (503, 504), reply
        await trio.sleep(POLL_SECONDS)


async def test_planned_change_of_leader_fails_no_request(
    cluster: ClusterUnderTest, http_client: Http
) -> None:
    leader = await cluster.wait_writable()
    others = cluster.followers(leader)
    replies: list[Reply] = []
    stop = trio.Event()

    async def write(number: int) -> None:
        body = {"table": "users", "values": {"name": "planned", "email": "planned"}}
        while not stop.is_set():
            replies.append(await http_client.post(number, "/write/insert", body))
            query = {"sql": "SELECT COUNT(*) AS n FROM users WHERE name = 'planned'"}
            replies.append(await http_client.post(number, "/query", query))

    async def progress(more: int) -> None:
        wanted = len(replies) + more
        with trio.fail_after(PATIENCE):
            while len(replies) < wanted:
                await trio.sleep(POLL_SECONDS)

    async with trio.open_nursery() as nursery:
        for number in others * 2:
            nursery.start_soon(write, number)
        await progress(40)
        assert await cluster.terminate(leader) == 0
        await progress(40)
        cluster.launch(leader)
        await cluster.wait_serving()
        stop.set()
    assert {reply.status for reply in replies} == {200}, [reply for reply in replies if reply.status != 200]
    counted = [reply.body["rows"][0]["n"] for reply in replies if "rows" in reply.body]
    inserted = sum("id" in reply.body for reply in replies)
    assert await http_client.rows(leader, "SELECT COUNT(*) FROM users WHERE name = 'planned'") == [[inserted]]
    assert max(counted) <= inserted


async def test_commit_that_never_had_a_majority_is_done_anew_by_its_key(
    cluster: ClusterUnderTest, http_client: Http
) -> None:
    leader = await cluster.wait_writable()
    followers = cluster.followers(leader)
    body = {"table": "users", "values": {"name": "waiting", "email": "key-7"}}
    for follower in followers:
        cluster.pause(follower, Part.NODE)
    ended: list[str] = []

    async def send() -> None:
        try:
            reply = await http_client.post(leader, "/write/insert", body, Idempotency_Key="key-7")
        except (OSError, http.client.HTTPException):
            ended.append("lost")
        else:
            ended.append(f"answered {reply}")

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await cluster.wait_row_count(
                leader,
                f"SELECT id FROM information_schema.processlist WHERE user = '{USER}' AND "
                "(state = 'Commit' OR state LIKE 'Waiting for semi-sync ACK%')",
                1,
            )
            assert ended == [], "nothing is answered that no majority holds"
            cluster.kill(leader, Part.BOTH)
    finally:
        cluster.resume_all()
    assert ended == ["lost"]
    await cluster.wait_successor(leader)
    reply = await http_client.post(followers[0], "/write/insert", body, Idempotency_Key="key-7")
    assert reply.status == 200, reply
    cluster.launch(leader)
    await cluster.wait_serving()
    count = "SELECT COUNT(*) FROM users WHERE email = 'key-7'"
    assert await http_client.rows(leader, count, consistency="strong") == [[1]]


async def test_without_a_majority_nothing_is_written_and_the_answer_says_so(
    cluster: ClusterUnderTest, http_client: Http
) -> None:
    leader = await cluster.wait_writable()
    followers = cluster.followers(leader)
    cluster.kill_together([leader, followers[0]])
    left = followers[1]
    body = {"table": "users", "values": {"name": "alone", "email": "key-8"}}
    try:
        reply = await http_client.post(left, "/write/insert", body)
        assert reply.problem == (503, "no_leader", None)
        assert reply.headers["retry-after"] == "1"
        strong = await http_client.post(left, "/query", {"sql": "SELECT 1"})
        assert strong.problem == (503, "no_leader", None)
        eventual = await http_client.done(left, "/query", {"sql": "SELECT 1 AS a", "consistency": "eventual"})
        assert (eventual["rows"], eventual["source"]) == ([{"a": 1}], "replica")
    finally:
        for number in (leader, followers[0]):
            cluster.launch(number)
        await cluster.wait_serving()
    assert await http_client.rows(left, "SELECT COUNT(*) FROM users WHERE email = 'key-8'") == [[0]]
