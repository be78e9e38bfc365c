"""What a client sends as SQL: completed, judged, and answered here or run where it belongs."""

from collections.abc import Sequence
from dataclasses import replace

from wolfscale.mysql.constants import Capability
from wolfscale.mysql.errors import ServerError
from wolfscale.mysql.results import Column, Ok, build_ok, build_text_result
from wolfscale.mysql.transport import PacketStream
from wolfscale.proxy.backend import Backends
from wolfscale.proxy.classify import MAX_TEXT_BYTES, Classifier
from wolfscale.proxy.errors import ProxyError
from wolfscale.proxy.execution import Executor
from wolfscale.proxy.generated_ids import id_template, mentions_ids, with_ids
from wolfscale.proxy.judge import judge, other_mode_refusal
from wolfscale.proxy.kill_statement import first_kill
from wolfscale.proxy.killing import Killing
from wolfscale.proxy.lexer import tokenize
from wolfscale.proxy.long_texts import is_one_statement, judge_long
from wolfscale.proxy.memory import SessionMemory
from wolfscale.proxy.own_answers import OwnAnswers
from wolfscale.proxy.own_statements import Choose, Hint, mentions_own, own_statement
from wolfscale.proxy.prepared import ER_UNSUPPORTED_PS, PreparedStatements
from wolfscale.proxy.program_texts import may_be_unreadable, readable
from wolfscale.proxy.refused import ER_NOT_SUPPORTED_YET, NESTED_GLOBAL, NESTED_KILL
from wolfscale.proxy.requests import TextRequest
from wolfscale.proxy.session_ids import with_session_id
from wolfscale.proxy.statement import Effect, Kind, Statement
from wolfscale.proxy.statement_expressions import answer, error_of, has_settings, question
from wolfscale.proxy.statement_scan import StatementScan
from wolfscale.proxy.statistics import Statistics
from wolfscale.proxy.stream_status import asked_stream_status, stream_status
from wolfscale.proxy.table_engines import with_engine
from wolfscale.proxy.untold_settings import may_be_untold, with_scopes
from wolfscale.proxy.upload import LongRequest, Upload
from wolfscale.proxy.written_tables import LOSSLESS


class Texts:
    """Takes one session's texts."""

    def __init__(
        self,
        client: PacketStream,
        client_capabilities: int,
        *,
        session_id: int,
        executor: Executor,
        prepared: PreparedStatements,
        own_answers: OwnAnswers,
        killing: Killing,
        classifier: Classifier,
        backends: Backends,
        statistics: Statistics,
    ) -> None:
        self._client = client
        self._capabilities = client_capabilities
        self._session_id = session_id
        self._executor = executor
        self._prepared = prepared
        self._own_answers = own_answers
        self._killing = killing
        self._classifier = classifier
        self._backends = backends
        self._statistics = statistics
        self._stream_status = stream_status(client.stream)

    async def query(self, payload: bytes) -> None:
        """Run a COM_QUERY and answer it.

        Raises: see `Executor.execute`.
        """
        sql = payload[1:]
        asked = asked_stream_status(sql) if self._stream_status else None
        if asked is not None and asked in self._stream_status:
            await self._answer_rows(("Variable_name", "Value"), [(asked, self._stream_status[asked])])
        elif not mentions_own(sql):
            await self._run_query(payload, sql)
        elif not await self._answers_itself(sql):
            try:
                await self._run_query(payload, sql)
            finally:
                self._executor.consistency.hint = None

    async def _run_query(self, payload: bytes, sql: bytes) -> None:
        executor = self._executor
        has_counts = False
        if executor.variable_reads.is_active:
            counted = await executor.variable_reads.before(sql)
            has_counts = counted is not sql
            sql = counted
            payload = payload[:1] + sql
        numbered = self._with_id(sql)
        if numbered is not sql:
            sql = numbered
            payload = payload[:1] + sql
        if mentions_ids(sql):
            memory = executor.memory
            with self._executor.connections.waits.interruptible("Waiting for ids"):
                sql = await with_ids(sql, memory.mode, memory.character_set, self._backends)
            payload = payload[:1] + sql
        if may_be_untold(sql):
            sql = with_scopes(sql, executor.memory.mode, executor.memory.character_set)
            payload = payload[:1] + sql
        if len(sql) > MAX_TEXT_BYTES:
            statement = await self._classify_long(sql)
        else:
            statement = self._classifier.classify(
                sql, executor.memory.mode, character_set=executor.memory.character_set
            )
        if has_counts and statement.kind is Kind.READ:
            # Its place is behind the statement that it asks about, without a wait for another server.
            statement = replace(statement, kind=Kind.OTHER)
        if statement.refusal is NESTED_KILL and self._capabilities & Capability.MULTI_STATEMENTS:
            statement, sql = await self._kill_first(statement, sql)
            payload = payload[:1] + sql
        if statement.refusal is not None:
            self._statistics.refused_statements += 1
            raise statement.refusal.error()
        if statement.kill:
            await self._answer_ok(affected_rows=await self._killing.run(sql))
            return
        if statement.source is not None:
            statement, sql = await self._resolve(statement, sql)
            payload = payload[:1] + sql
        if executor.memory.loses_table_options or executor.memory.engine:
            statement, logged = _as_logged(statement, sql, executor.memory)
            payload = payload[:1] + logged
        if may_be_unreadable(sql) and not executor.memory.character_set:
            payload = payload[:1] + readable(payload[1:], executor.memory.mode)
        await executor.execute(statement, TextRequest(payload), sql)

    async def _kill_first(self, statement: Statement, sql: bytes) -> tuple[Statement, bytes]:
        """Carry out the KILL that a text of several statements begins with; the text without it.

        Nothing is done, and the text returned as it is, where the rest of it would be refused.
        """
        memory = self._executor.memory
        found = None if memory.character_set else first_kill(sql, memory.mode)
        if found is None:
            return statement, sql
        kill, rest = found
        judged = self._classifier.classify(rest, memory.mode)
        if judged.refusal is not None:
            return judged, sql
        await self._killing.run(kill)
        return judged, rest

    def _with_id(self, sql: bytes) -> bytes:
        memory = self._executor.memory
        return sql if memory.character_set else with_session_id(sql, memory.mode, self._session_id)

    async def _answers_itself(self, sql: bytes) -> bool:
        """Answer what is addressed to the proxy; what has a level of its own gets it and goes on (false)."""
        executor = self._executor
        match own_statement(sql, executor.memory.mode):
            case None:
                return False
            case Hint(level):
                executor.consistency.hint = level
                return False
            case Choose(level):
                executor.consistency.choose(level)
                await self._answer_ok()
            case question:
                await self._answer_rows(*await self._own_answers.answer(question))
        return True

    async def _answer_ok(self, *, affected_rows: int = 0) -> None:
        ok = Ok(affected_rows=affected_rows, status=self._executor.status)
        await self._client.write(build_ok(ok, self._capabilities))

    async def _answer_rows(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        payloads = build_text_result(
            [Column(name=name.encode()) for name in columns],
            [[value.encode() for value in row] for row in rows],
            self._capabilities,
            status=self._executor.status,
        )
        for payload in payloads:
            self._client.queue(payload)
        await self._client.flush()

    async def _classify_long(self, sql: bytes) -> Statement:
        """A long text is not taken apart where only one statement is in it."""
        memory, classifier = self._executor.memory, self._classifier
        if not memory.character_set and await is_one_statement(sql, memory.mode):
            statement = classifier.classify_long(sql, memory.mode)
            if statement is not None:
                return statement
        return await judge_long(sql, memory.mode, memory.character_set, classifier.node_account)

    async def _resolve(self, statement: Statement, sql: bytes) -> tuple[Statement, bytes]:
        """PREPARE and EXECUTE IMMEDIATE from an expression: evaluate it, judge it, run what was judged.

        The text that was judged is put in the expression's place, so that it cannot become another meanwhile.
        """
        assert statement.source is not None
        executor = self._executor
        mode, node_account = executor.memory.mode, self._classifier.node_account
        start, end = statement.source
        if executor.memory.character_set:
            raise ProxyError(
                ER_NOT_SUPPORTED_YET,
                "42000",
                f"The proxy does not prepare statements from expressions in {executor.memory.character_set}",
            )
        tokens = tokenize(sql.decode("latin-1"), mode)
        try:
            rows = await executor.ask_leader(question(sql, tokens, statement.source))
        except ServerError as error:
            raise error_of(error, tokens, statement.source) from error
        text = answer(rows)
        if text is None:
            return statement, sql  # NULL: the server says what it thinks of it
        inner = judge(tokenize(text.decode("latin-1"), mode), mode, node_account)
        if inner.refusal is None and has_settings(tokens, statement.source):
            # SET STATEMENT sql_mode = ... holds for the text as well.
            inner = replace(inner, refusal=other_mode_refusal(text.decode("latin-1"), mode, node_account))
        if inner.refusal is None and inner.source is not None:
            raise ProxyError(
                ER_NOT_SUPPORTED_YET,
                "42000",
                "The proxy does not run a prepared statement that prepares another from an expression",
            )
        refusal = NESTED_GLOBAL if inner.sets_globals else NESTED_KILL if inner.kill else inner.refusal
        if refusal is not None:
            self._statistics.refused_statements += 1
            raise refusal.error()
        literal = b" CONVERT(x'" + text.hex().encode() + b"' USING utf8mb4) "
        runs = not statement.effects & Effect.NAMED_STATEMENTS
        judged = Statement(
            kind=Kind.OTHER,
            reason=statement.reason,
            intent=runs and inner.intent,
            effects=statement.effects & ~Effect.PERHAPS_TEMPORARY_TABLES
            | (inner.effects if runs else Effect.NONE),
            may_write=runs,
            one_result=not runs or inner.one_result,
            tables=None if inner.tables is None else replace(inner.tables, alone=False),
        )
        return judged, sql[:start] + literal + sql[end:]

    async def prepare(self, payload: bytes) -> None:
        """Run a COM_STMT_PREPARE and answer it.

        Raises: see `Executor.execute`.
        """
        sql = payload[1:]
        executor = self._executor
        own = own_statement(sql, executor.memory.mode) if mentions_own(sql) else None
        if own is not None and not isinstance(own, Hint):
            raise ProxyError(
                ER_UNSUPPORTED_PS,
                "HY000",
                "What is addressed to the proxy cannot be prepared: send it as text",
            )
        sql = self._with_id(sql)
        ids = id_template(sql, executor.memory.mode, executor.memory.character_set)
        if ids is not None:
            sql = ids.example()
        memory = executor.memory
        if may_be_untold(sql):
            sql = with_scopes(sql, memory.mode, memory.character_set)
        if len(sql) > MAX_TEXT_BYTES:
            account = self._classifier.node_account
            statement = await judge_long(sql, memory.mode, memory.character_set, account)
        else:
            statement = self._classifier.classify(
                sql, memory.mode, prepared=True, character_set=memory.character_set
            )
        if statement.refusal is not None:
            self._statistics.refused_statements += 1
        if statement.kill:
            raise NESTED_KILL.error()
        # Whatever sql_mode it will be executed in. No CREATE TABLE has ids in it.
        statement, sql = _as_logged(statement, sql, memory)
        if may_be_unreadable(sql) and not memory.character_set:
            sql = readable(sql, memory.mode)
        await self._prepared.prepare(statement, sql, ids, own.level if own else None)

    async def long_query(self, upload: Upload) -> bool:
        """Run a long COM_QUERY as it comes; false when all of it is needed: to judge it, or for ids.

        Raises: see `Executor.execute`.
        """
        executor, memory = self._executor, self._executor.memory
        sql = upload.head[1:]
        if memory.character_set or mentions_ids(sql):
            return False
        scan = StatementScan(memory.mode)
        scan.feed(sql)
        statement = None if scan.several else self._classifier.classify_long(sql, memory.mode)
        if statement is None:
            return False
        if executor.variable_reads.is_active:
            sql = (await executor.variable_reads.before(sql)).rjust(len(sql))
        # What follows may assign user variables.
        statement = replace(statement, effects=statement.effects | Effect.USER_VARIABLES)
        await executor.execute(statement, LongRequest(TextRequest(upload.head[:1] + sql), upload, scan))
        return True


def _as_logged(statement: Statement, sql: bytes, memory: SessionMemory) -> tuple[Statement, bytes]:
    """A text so that MariaDB writes into its log all of a table that the text makes."""
    tables = statement.tables
    if tables is None or not tables.alone:
        return statement, sql
    if tables.engine_at is not None and memory.engine and not memory.character_set:
        sql = with_engine(sql, tables.engine_at, memory.engine)
        statement = replace(statement, tables=replace(tables, default_engine=False))
    return statement, LOSSLESS + sql if tables.from_query else sql
