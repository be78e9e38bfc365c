"""Where each kind of statement runs: a table, one row a kind, and what must hold for any text."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.proxy.classify import Classifier
from wolfscale.proxy.lexer import LexerMode
from wolfscale.proxy.router import SessionFacts, Target, route
from wolfscale.proxy.statement import Effect, Kind, Statement

MODE = LexerMode()
LOCAL, LEADER, EITHER, PREVIOUS = Target.LOCAL, Target.LEADER, Target.EITHER, Target.PREVIOUS


def classified(sql: str, mode: LexerMode = MODE, *, prepared: bool = False) -> Statement:
    return Classifier(node_account="wolfscale").classify(sql.encode(), mode, prepared=prepared)


PLAIN_READS = (
    "SELECT 1",
    "select c from sbtest1 where id=5;",
    "SELECT c FROM sbtest1 WHERE id BETWEEN 1 AND 100 ORDER BY c",
    "SELECT DISTINCT c FROM t WHERE a IN (1, 2, 3) GROUP BY c WITH ROLLUP HAVING COUNT(*) > 1 LIMIT 5, 10",
    "(SELECT 1) UNION ALL (SELECT 2) ORDER BY 1",
    "SELECT 1 EXCEPT SELECT 2",
    "WITH RECURSIVE n (x) AS (SELECT 1 UNION SELECT x + 1 FROM n WHERE x < 5) SELECT * FROM n",
    "SELECT `order`.`from` FROM `db`.`order` LEFT JOIN t USING (a)",
    "SELECT * FROM a JOIN b ON a.x = b.x JOIN c ON c.y = b.y",
    "SELECT x'41', b'1', _utf8mb4'x', N'y', 0x1F, 1.5e-3, DATE '2020-01-01', INTERVAL 1 DAY + NOW()",
    "SELECT CAST(a AS DATETIME(6)), CONVERT(b USING utf8mb4), CONVERT(c, CHAR(10)) FROM t",
    "SELECT JSON_VALUE(a, '$.b'), JSON_EXTRACT(a, '$[0]') FROM t",
    "SELECT MATCH (a, b) AGAINST ('x' IN BOOLEAN MODE) FROM t",
    "SELECT a FROM t WHERE a = ANY (SELECT b FROM u) AND EXISTS (SELECT 1 FROM v)",
    "SELECT ROW_NUMBER() OVER (PARTITION BY a ORDER BY b) FROM t",
    "SELECT CASE a WHEN 1 THEN 'x' ELSE IF(b, c, d) END FROM t",
    "SELECT UUID(), RAND(), NOW(6), SLEEP(0), USER(), DATABASE(), VERSION(), CONNECTION_ID()",
    "SELECT @@version, @@session.sql_mode, @@lower_case_table_names",
    "SELECT 'SELECT 1 INTO OUTFILE', \"x -- y\", '/*! z */'",
    "SELECT 1 -- a comment; DROP TABLE t",
    "SELECT /* FOR UPDATE */ 1 # INTO OUTFILE",
    "SELECT 'it''s', 'back\\'slash', \"dou\"\"ble\"",
    "SELECT * FROM information_schema.tables WHERE table_schema = DATABASE()",
    "SELECT t.into_ FROM t",
    "SELECT * FROM t FORCE INDEX (k) WHERE a LIKE 'x%' ESCAPE '!'",
    "SELECT ST_AsText(g), POINT(1, 2) FROM t",
    "SELECT SQL_NO_CACHE a FROM t",
    "SHOW TABLES",
    "SHOW FULL TABLES FROM demo LIKE 'x%'",
    "SHOW CREATE TABLE t",
    "SHOW INDEX FROM t",
    "SHOW DATABASES",
    "SHOW COLUMNS FROM t WHERE Field = 'a'",
    "SHOW COLLATION",
    "DESCRIBE t",
    "DESC t a",
    "EXPLAIN SELECT 1",
    "EXPLAIN FORMAT=JSON SELECT a FROM t",
    "EXPLAIN EXTENDED SELECT a FROM t",
)

LEADERS = (
    # statement, intent
    ("INSERT INTO t VALUES (1)", False),
    ("INSERT INTO t (a) VALUES (1) RETURNING id", False),
    ("REPLACE t VALUES (1)", False),
    ("UPDATE t SET server_id = 1, read_only = 2", False),
    ("DELETE FROM t", False),
    ("LOAD DATA LOCAL INFILE 'x' INTO TABLE t", False),
    ("INSERT INTO mysql.user VALUES (1)", True),
    ("SELECT * FROM t FOR UPDATE", False),
    ("SELECT * FROM t FOR SHARE", False),
    ("SELECT * FROM t LOCK IN SHARE MODE", False),
    ("SELECT * FROM t FOR UPDATE SKIP LOCKED", False),
    ("SELECT @a", False),
    ("SELECT @a := 1", False),
    ("SELECT a INTO @b FROM t", False),
    ("SELECT a FROM t INTO OUTFILE '/tmp/x'", False),
    ("SELECT a INTO DUMPFILE '/tmp/x' FROM t", False),
    ("SELECT SQL_CALC_FOUND_ROWS a FROM t", False),
    ("SELECT LAST_INSERT_ID()", False),
    ("SELECT @@last_insert_id", False),
    ("SELECT @@identity, @@last_gtid", False),
    ("SELECT @@server_id", False),
    ("SELECT @@read_only, @@version", False),
    ("SELECT GET_LOCK('x', 1)", False),
    ("SELECT IS_FREE_LOCK('x')", False),
    ("SELECT my_function(1)", False),
    ("SELECT demo.count(1)", False),
    ("SELECT `sleep`(1)", False),
    ("SELECT NEXTVAL(s)", False),
    ("SELECT NEXT VALUE FOR s", False),
    ("SELECT PREVIOUS VALUE FOR s", False),
    ("SELECT s.nextval", False),
    ("SELECT SETVAL(s, 5)", False),
    ("SELECT LOAD_FILE('/etc/passwd')", False),
    ("SELECT MASTER_GTID_WAIT('0-1-5')", False),
    ("SELECT * FROM t PROCEDURE ANALYSE()", False),
    ("SELECT /*! 1 */ + 1", False),
    ("SELECT /*!99999 1 */ 2", False),
    ("SELECT /*M!100100 1 */ 2", False),
    ("SELECT * FROM information_schema.processlist", False),
    ("SELECT * FROM information_schema.innodb_trx", False),
    ("SELECT * FROM information_schema.events", False),
    ("SELECT * FROM `information_schema`.`PROCESSLIST`", False),
    ("SELECT * FROM performance_schema.threads", False),
    ("SELECT * FROM mysql.gtid_slave_pos", False),
    ("SELECT 1; SELECT 2", False),
    ("VALUES (1, 2), (3, 4)", False),
    ("SHOW PROCESSLIST", False),
    ("SHOW STATUS", False),
    ("SHOW VARIABLES LIKE 'x'", False),
    ("SHOW ENGINE INNODB STATUS", False),
    ("SHOW MASTER STATUS", False),
    ("SHOW EVENTS", False),
    ("SHOW CREATE EVENT e", False),
    ("SHOW TABLES WHERE f(1)", False),
    ("EXPLAIN UPDATE t SET a = 1", False),
    ("EXPLAIN SELECT * FROM t FOR UPDATE", False),
    ("ANALYZE SELECT 1", False),
    ("ANALYZE TABLE t", True),
    ("OPTIMIZE TABLE t", True),
    ("BEGIN", False),
    ("COMMIT AND CHAIN", False),
    ("ROLLBACK TO SAVEPOINT s", False),
    ("SAVEPOINT s", False),
    ("SET TRANSACTION READ ONLY", False),
    ("SET @a = 1", False),
    ("SET @a = 1, sql_mode = ''", False),
    ("SET sql_mode = @old", False),
    ("SET sql_mode = CONCAT(@@sql_mode, ',ANSI')", False),
    ("SET PASSWORD = PASSWORD('x')", True),
    ("SET DEFAULT ROLE r", True),
    ("SET STATEMENT max_statement_time = 1 FOR SELECT 1", False),
    ("SET STATEMENT max_statement_time = 1 FOR ALTER TABLE t ADD b INT", True),
    ("LOCK TABLES t WRITE", False),
    ("UNLOCK TABLES", False),
    ("FLUSH TABLES", True),
    ("FLUSH TABLES WITH READ LOCK", True),
    ("HANDLER t OPEN", False),
    ("DO SLEEP(1)", False),
    ("CALL p()", True),
    ("CREATE TABLE t (a INT)", True),
    ("CREATE TABLE t SELECT 1", True),
    ("CREATE TEMPORARY TABLE t (a INT)", False),
    ("ALTER TABLE t ADD b INT", True),
    ("DROP TABLE t", True),
    ("RENAME TABLE a TO b", True),
    ("TRUNCATE t", True),
    ("CREATE SEQUENCE s", True),
    ("CREATE USER a IDENTIFIED BY 'wolfscale'", True),
    ("GRANT SELECT ON wolfscale.* TO a", True),
    ("CREATE PROCEDURE p() UPDATE t SET server_id = 1", True),
    ("CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW SET NEW.server_id = 1", True),
    ("XA START 'x'", True),
    ("XA PREPARE 'x'", True),
    ("PREPARE s FROM 'DROP TABLE t'", False),
    ("EXECUTE s", True),
    ("EXECUTE IMMEDIATE 'DROP TABLE t'", True),
    ("EXECUTE IMMEDIATE 'SELECT 1'", False),
    ("DEALLOCATE PREPARE s", False),
    ("BEGIN NOT ATOMIC SELECT 1; END", True),
    ("nonsense", True),
    ("SELECT 'open", True),
    ("SELECT 1 /* open", True),
)

SETTINGS = (
    "SET NAMES utf8mb4",
    "SET NAMES 'utf8mb4' COLLATE 'utf8mb4_bin'",
    "SET CHARACTER SET latin1",
    "SET autocommit = 0",
    "SET SESSION sql_mode = 'ANSI_QUOTES', @@session.time_zone = '+00:00', LOCAL wait_timeout = 5",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET ROLE r",
    "USE demo",
)

DIAGNOSTICS = (
    "SHOW WARNINGS",
    "SHOW WARNINGS LIMIT 1",
    "SHOW COUNT(*) ERRORS",
    "SELECT FOUND_ROWS()",
    "SELECT ROW_COUNT()",
    "SELECT @@warning_count",
)

REFUSED = (
    "SET sql_log_bin = 0",
    "set SESSION `sql_log_bin` := 0",
    "SET @@sql_log_bin = 0",
    "SET @@session.sql_log_bin = 0",
    "SET @@`session`.`sql_log_bin` = 0",
    "SET autocommit = 1, sql_log_bin = 0",
    "SET/**/sql_log_bin=0",
    "SET -- comment\nsql_log_bin = 0",
    "/*! SET sql_log_bin = 0 */",
    "/*!50101 SET */ sql_log_bin = /*M!100100 0 */",
    "SET STATEMENT sql_log_bin = 0 FOR INSERT INTO t VALUES (1)",
    "SELECT 1; SET sql_log_bin = 0",
    "SET sql_mode = 'NO_BACKSLASH_ESCAPES'; SELECT '\\'; SET sql_log_bin = 0; -- '",
    "PREPARE s FROM 'SET sql_log_bin = 0'",
    "EXECUTE IMMEDIATE 'SET sql_log_bin = 0'",
    "EXECUTE IMMEDIATE 'EXECUTE IMMEDIATE ''SET sql_log_bin = 0'''",
    "SELECT 1; PREPARE s FROM @q",
    "BEGIN NOT ATOMIC SET sql_log_bin = 0; END",
    "BEGIN NOT ATOMIC IF 1 THEN SET sql_log_bin = 0; END IF; END",
    "BEGIN NOT ATOMIC DECLARE EXIT HANDLER FOR SQLEXCEPTION SET sql_log_bin = 0; SELECT 1; END",
    "BEGIN NOT ATOMIC EXECUTE IMMEDIATE 'SET sql_log_bin = 0'; END",
    "CREATE PROCEDURE p() SET sql_log_bin = 0",
    "CREATE PROCEDURE p() COMMENT 'x' DETERMINISTIC SET sql_log_bin = 0",
    "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SET sql_log_bin = 0",
    "IF 1 THEN SET sql_log_bin = 0; END IF",
    "SET gtid_domain_id = 1",
    "SET gtid_seq_no = 1",
    "SET server_id = 1",
    "SET GLOBAL gtid_slave_pos = ''",
    "SET GLOBAL gtid_strict_mode = 0",
    "SET skip_replication = 1",
    "SET binlog_format = 'STATEMENT'",
    "SET binlog_row_image = 'MINIMAL'",
    "SET GLOBAL rpl_semi_sync_master_enabled = 0",
    "SET GLOBAL read_only = 0",
    # Oracle's way to set a session's variable.
    "sql_log_bin := 0",
    '"sql_log_bin" := 0',
    "BEGIN sql_log_bin := 0; END",
    "BEGIN PURGE BINARY LOGS TO 'x'; END",
    "BEGIN SET sql_log_bin = 0; END",
    "BEGIN KILL 5; END",
    "DECLARE a INT; BEGIN IF a THEN `sql_log_bin` := 0; END IF; END",
    "CREATE PROCEDURE p AS BEGIN NULL; sql_log_bin := 0; END",
    "CREATE PACKAGE BODY k AS PROCEDURE p AS BEGIN sql_log_bin := 0; END; END",
    """EXECUTE IMMEDIATE 'BEGIN "sql_log_bin" := 0; END'""",
    "SET GLOBAL max_connections = 5",
    "SET @@global.max_connections = 5",
    "CHANGE MASTER TO MASTER_HOST = 'x'",
    "CHANGE MASTER 'c' TO MASTER_HOST = 'x'",
    "START SLAVE",
    "START REPLICA",
    "START ALL SLAVES",
    "STOP SLAVE",
    "STOP /* x */ ALL REPLICAS",
    "RESET SLAVE ALL",
    "RESET MASTER",
    "PURGE BINARY LOGS TO 'x'",
    "PURGE MASTER LOGS BEFORE NOW()",
    "SHUTDOWN",
    "SELECT 1; KILL 5",
    "BEGIN NOT ATOMIC KILL QUERY 5; END",
    "CREATE PROCEDURE p() KILL 5",
    "PREPARE s FROM 'KILL HARD CONNECTION 5'",
    "INSTALL SONAME 'x'",
    "UNINSTALL PLUGIN x",
    "SET PASSWORD FOR wolfscale = PASSWORD('x')",
    "SET PASSWORD FOR 'wolfscale'@'localhost' = ''",
    "ALTER USER wolfscale@localhost IDENTIFIED BY 'x'",
    "ALTER USER IF EXISTS a, `wolfscale`@`localhost` ACCOUNT LOCK",
    "DROP USER a, wolfscale",
    "RENAME USER wolfscale TO x",
    "CREATE OR REPLACE USER wolfscale",
    "GRANT USAGE ON *.* TO wolfscale IDENTIFIED BY 'x'",
    "REVOKE ALL ON *.* FROM wolfscale@localhost",
)


@pytest.mark.parametrize("sql", PLAIN_READS)
def test_plain_read_stays_local(sql: str) -> None:
    statement = classified(sql)
    assert route(statement, SessionFacts()).target is LOCAL, statement.reason
    assert not statement.intent
    assert statement.refusal is None


@pytest.mark.parametrize(("sql", "intent"), LEADERS)
def test_anything_else_goes_to_the_leader(sql: str, intent: bool) -> None:
    statement = classified(sql)
    assert route(statement, SessionFacts()).target is LEADER, statement.reason
    assert statement.intent is intent, statement.reason
    assert statement.refusal is None


@pytest.mark.parametrize("sql", SETTINGS)
def test_session_settings_may_run_on_either(sql: str) -> None:
    statement = classified(sql)
    assert route(statement, SessionFacts()).target is EITHER, statement.reason
    assert not statement.intent


@pytest.mark.parametrize("sql", DIAGNOSTICS)
def test_diagnostics_follow_the_previous_statement(sql: str) -> None:
    assert route(classified(sql), SessionFacts()).target is PREVIOUS


@pytest.mark.parametrize("sql", REFUSED)
def test_what_would_cut_a_server_loose_is_refused(sql: str) -> None:
    statement = classified(sql)
    assert statement.refusal is not None, statement.reason
    assert "WolfScale" in str(statement.refusal.error())


def test_block_of_oracles_dialect_may_leave_temporary_tables() -> None:
    statement = classified("BEGIN CREATE TEMPORARY TABLE t (i INT); END")
    assert statement.effects & Effect.PERHAPS_TEMPORARY_TABLES
    assert statement.intent
    assert not statement.begins
    assert classified("BEGIN WORK").begins


@pytest.mark.parametrize("name", ["install", "shutdown", "kill", "a"])
def test_variable_of_an_oracle_program_may_have_the_name_of_a_refused_statement(name: str) -> None:
    assert classified(f"CREATE PROCEDURE p ({name} OUT INT) AS BEGIN {name} := 10; END").refusal is None


@pytest.mark.parametrize(
    "facts",
    [
        SessionFacts(in_transaction=True),
        SessionFacts(autocommit=False),
        SessionFacts(effects=Effect.TEMPORARY_TABLES),
        SessionFacts(effects=Effect.PERHAPS_TEMPORARY_TABLES),
        SessionFacts(effects=Effect.TABLE_LOCKS),
        SessionFacts(system_schema=True),
        SessionFacts(foreign_syntax="Oracle"),
    ],
)
def test_plain_read_in_a_bound_session_goes_to_the_leader(facts: SessionFacts) -> None:
    found = route(classified("SELECT 1"), facts)
    assert found.target is LEADER
    assert found.reason


def test_statements_that_differ_in_literals_only_are_judged_once() -> None:
    classifier = Classifier()
    first = classifier.classify(b"SELECT a FROM t WHERE b = 1 AND c = 'x'", MODE)
    second = classifier.classify(b"SELECT a FROM t WHERE b = 22.5 AND c = 'it''s'", MODE)
    assert first is second
    assert (classifier.hits, classifier.misses) == (1, 1)


def test_lists_of_any_length_share_a_digest() -> None:
    classifier = Classifier()
    names = "some_long_column_name, " * 20
    for count in (3, 50, 900):
        values = ",".join(["1"] * count)
        classifier.classify(f"SELECT {names} x FROM t WHERE a IN ({values})".encode(), MODE)
    assert classifier.misses == 1


def test_what_depends_on_a_literal_is_never_remembered() -> None:
    classifier = Classifier(node_account="wolfscale")
    harmless = classifier.classify(b"PREPARE s FROM 'SELECT 1'", MODE)
    harmful = classifier.classify(b"PREPARE s FROM 'RESET MASTER'", MODE)
    assert harmless.refusal is None
    assert harmful.refusal is not None
    assert classifier.classify(b"DROP USER 'a'", MODE).refusal is None
    assert classifier.classify(b"DROP USER 'wolfscale'", MODE).refusal is not None


def test_cache_is_bounded() -> None:
    classifier = Classifier(entries=10)
    for number in range(100):
        classifier.classify(f"SELECT c{number} FROM t".encode(), MODE)
    classifier.classify(b"SELECT c0 FROM t", MODE)
    assert classifier.misses == 101


def test_backslash_in_a_name_under_ansi_quotes_hides_no_statement() -> None:
    mode = LexerMode(ansi_quotes=True)
    for sql in (
        'SELECT 1 AS "a\\"; SET SESSION sql_log_bin = 0 -- "',
        'SELECT 1 AS "a\\"; SET SESSION sql_log_bin = 0; SELECT 1 AS "b\\"',
    ):
        assert classified(sql, mode).refusal is not None
        assert classified(sql).refusal is None


def test_double_quotes_are_names_under_ansi_quotes() -> None:
    sql = 'SELECT * FROM "information_schema"."processlist"'
    assert classified(sql, LexerMode(ansi_quotes=True)).kind is Kind.OTHER
    assert classified('SELECT "a" FROM "t"', LexerMode(ansi_quotes=True)).kind is Kind.READ
    assert classified('SELECT "sleep"(1)', LexerMode(ansi_quotes=True)).kind is Kind.OTHER


def test_backslash_ends_no_string_without_escapes() -> None:
    sql = "SELECT '\\'; DROP TABLE t; -- '"
    assert classified(sql).kind is Kind.READ
    statement = classified(sql, LexerMode(backslash_escapes=False))
    assert statement.kind is Kind.OTHER
    assert statement.intent


def test_text_in_a_multibyte_character_set_is_never_read_locally() -> None:
    classifier = Classifier()
    # In gbk the byte 0xBF takes the backslash with it, so that the string ends and code follows.
    sql = b"SELECT '\xbf\\'; SET sql_log_bin = 0; -- '"
    assert classifier.classify(sql, MODE, character_set="gbk").refusal is not None
    assert classifier.classify(b"SELECT 1", MODE, character_set="gbk").kind is Kind.OTHER


def test_executable_comment_of_a_newer_version_is_no_code() -> None:
    assert classified("SELECT 1 /*M!999999 ; RESET MASTER */").refusal is None
    assert classified("SELECT 1 /*!100100 ; RESET MASTER */").refusal is not None
    assert classified("SELECT 1 /*!50700 ; RESET MASTER */").refusal is None


def test_parameters_make_a_setting_the_leaders() -> None:
    assert classified("SET time_zone = ?", prepared=True).kind is Kind.OTHER
    assert classified("SELECT a FROM t WHERE b = ? LIMIT ?", prepared=True).kind is Kind.READ


HOSTILE = (
    "(",
    "-",
    "not ",
    "~",
    "case when ",
    "f(",
    "[",
    "{",
    "a.",
    "interval ",
    "join t ",
    "+1",
    "a in (",
    "/*!",
)


@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.parametrize("count", [50, 1000])
def test_hostile_nesting_is_judged_without_a_parse(piece: str, count: int) -> None:
    for sql in ("SELECT " + piece * count, "SELECT 1 FROM t " + piece * count + "1"):
        assert classified(sql) is not None


_VOCABULARY = """
    SELECT FROM WHERE ( ) , ; ' " ` @ @@ := = /* */ /*! -- # \\ INTO FOR UPDATE SET sql_log_bin a t 1 ? . *
    BEGIN END NOT ATOMIC UNION WITH AS IN sleep f KILL PREPARE EXECUTE IMMEDIATE NAMES VALUES CASE
"""
_WORDS = st.sampled_from([*_VOCABULARY.split(), "\n"])


@given(st.lists(_WORDS, max_size=30).map(" ".join), st.booleans(), st.booleans())
def test_any_words_are_classified(sql: str, escapes: bool, ansi: bool) -> None:
    statement = classified(sql, LexerMode(backslash_escapes=escapes, ansi_quotes=ansi))
    assert statement.kind is not Kind.READ or statement.refusal is None


@given(st.binary(max_size=80))
def test_any_bytes_are_classified(sql: bytes) -> None:
    for character_set in ("", "gbk", "sjis"):
        assert Classifier().classify(sql, MODE, character_set=character_set) is not None


@given(st.text(string.printable, max_size=20))
def test_a_string_literal_never_changes_the_kind(content: str) -> None:
    quoted = "'" + content.replace("\\", "\\\\").replace("'", "''") + "'"
    assert classified(f"SELECT {quoted}").kind is Kind.READ
    assert classified(f"INSERT INTO t VALUES ({quoted})").kind is Kind.WRITE


@given(st.text(string.printable, max_size=20).filter(lambda text: "*/" not in text and "/*" not in text))
def test_a_comment_hides_no_refused_statement(content: str) -> None:
    if content.startswith(("!", "M!")):
        content = " " + content
    assert classified(f"SET /*{content}*/ sql_log_bin = 0").refusal is not None
