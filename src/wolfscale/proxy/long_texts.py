"""Judging texts of more than 1 MiB in little memory, piece by piece: other sessions get their turns."""

import codecs
from collections.abc import Iterator
from dataclasses import replace

import trio

from wolfscale.mysql.errors import ER_NET_PACKET_TOO_LARGE
from wolfscale.proxy.condensing import PIECE_BYTES, Condenser
from wolfscale.proxy.errors import ProxyError
from wolfscale.proxy.judge import judge, other_mode_refusal, sets_mode
from wolfscale.proxy.lexer import LexerMode, codec_of, decode_sql, tokenize
from wolfscale.proxy.splitting import split_statements
from wolfscale.proxy.statement import Effect, Kind, Statement
from wolfscale.proxy.statement_scan import StatementScan

LONGEST_EXPRESSION_BYTES = 4 << 20
"""A text with a statement that is prepared from an expression is taken apart where it stands."""


class ExpressionTooLong(ProxyError):
    """A statement is prepared from an expression in a text that is too long to be taken apart (1153)."""

    def __init__(self) -> None:
        super().__init__(
            ER_NET_PACKET_TOO_LARGE,
            "08S01",
            "The proxy prepares statements from expressions in texts of up to "
            f"{LONGEST_EXPRESSION_BYTES >> 20} MiB only: give the text as one literal",
        )


def text_pieces(sql: bytes) -> Iterator[bytes]:
    """A text in pieces of a size that is worked on at a time."""
    for start in range(0, len(sql), PIECE_BYTES):
        yield sql[start : start + PIECE_BYTES]


async def is_one_statement(sql: bytes, mode: LexerMode) -> bool:
    """Whether a text is certainly no more than one statement, and without an executable comment."""
    scan = StatementScan(mode)
    for piece in text_pieces(sql):
        scan.feed(piece)
        if scan.several:
            return False
        await trio.lowlevel.checkpoint()
    return True


async def judge_long(sql: bytes, mode: LexerMode, character_set: str, node_account: str) -> Statement:
    """Classify a long text by the rules.

    Args:
        sql: as the client sent it.
        mode: how the session's server reads it.
        character_set: the session's character_set_client, "" when it is one that needs no care.
        node_account: the name of the node's own account, which clients may not touch.

    Raises:
        ExpressionTooLong: see there.
    """
    condenser = await _condensed(sql, mode, character_set)
    tokens = tokenize(condenser.finish(), mode)
    statement = judge(tokens, mode, node_account)
    if statement.source is not None:
        if len(sql) > LONGEST_EXPRESSION_BYTES:
            raise ExpressionTooLong
        # Where it stands in the text counts.
        statement = judge(tokenize(decode_sql(sql, character_set), mode), mode, node_account)
    if statement.refusal is None and sets_mode(statement) and len(split_statements(tokens.tokens)) > 1:
        other = replace(mode, backslash_escapes=not mode.backslash_escapes)
        text = (await _condensed(sql, other, character_set)).finish()
        statement = replace(statement, refusal=other_mode_refusal(text, mode, node_account))
    if statement.kind is Kind.READ:
        statement = replace(statement, kind=Kind.OTHER)
    if condenser.dropped:
        # What was left out may have assigned any variable.
        effects = statement.effects | Effect.USER_VARIABLES
        effects |= Effect.USER_LOCKS if condenser.locks else Effect.NONE
        statement = replace(statement, effects=effects, user_variables=None)
    return statement


async def _condensed(sql: bytes, mode: LexerMode, character_set: str) -> Condenser:
    condenser = Condenser(mode)
    decoder = codecs.getincrementaldecoder(codec_of(character_set))("replace")
    for piece in text_pieces(sql):
        condenser.feed(decoder.decode(piece))
        await trio.lowlevel.checkpoint()
    condenser.feed(decoder.decode(b"", final=True))
    return condenser
