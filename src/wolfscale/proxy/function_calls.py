"""Calls of a function without arguments in a text, for which a value is put in before it is sent (pure)."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from wolfscale.proxy.lexer import LexerMode, Token, TokenKind, tokenize
from wolfscale.proxy.splitting import is_compound

_LONGEST_NAME = 200
_HEAD_TOKENS = 200
"""Tokens after which a statement is known to be a compound one, or not."""

_LIST_BEGINS = frozenset({"SELECT", "RETURNING"})
_LIST_ENDS = frozenset(
    {
        *("FROM", "INTO", "WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "OFFSET", "FETCH", "WINDOW"),
        *("UNION", "EXCEPT", "INTERSECT", "MINUS", "FOR", "LOCK", "PROCEDURE", "ON", "VALUES", "SET"),
    }
)
_BEFORE_ITEM = _LIST_BEGINS | {
    *(",", "ALL", "DISTINCT", "DISTINCTROW", "HIGH_PRIORITY", "STRAIGHT_JOIN", "SQL_SMALL_RESULT"),
    *("SQL_BIG_RESULT", "SQL_BUFFER_RESULT", "SQL_CACHE", "SQL_NO_CACHE", "SQL_CALC_FOUND_ROWS"),
}
_BEHIND_OPERAND = frozenset({"END", "NULL", "TRUE", "FALSE", "UNKNOWN"})
_BEHIND_ITEM = _LIST_ENDS | {",", ";", ")"}


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """Where a call begins and ends.

    Attributes:
        is_item: it is an item of a SELECT list, without a name of its own.
        kept: it stands where its value would be kept and used again: a stored program, a view, a default.
    """

    start: int
    end: int
    is_item: bool
    kept: bool = False


def find_calls(tokens: Sequence[Token], name: str) -> Iterator[FunctionCall]:
    """The calls of a function, by its upper-case name."""
    outer: list[bool] = []
    in_list = kept = compound = False
    first = 0
    for number, token in enumerate(tokens):
        if number == first and token.word != ";":
            # A compound statement goes on behind its semicolons.
            compound = compound or is_compound(tokens[first : first + _HEAD_TOKENS])
            kept = compound or token.word in ("CREATE", "ALTER")
        match token.word:
            case "(":
                outer.append(in_list)
                in_list = False
            case ")":
                in_list = outer.pop() if outer else False
            case ";":
                first = number + 1
                outer.clear()
                in_list = False
            case word if word == name and _is_call(tokens, number):
                is_item = in_list and _is_item(tokens, number)
                yield FunctionCall(token.start, tokens[number + 2].end, is_item, kept)
            case word if word in _LIST_BEGINS:
                in_list = True
            case word if word in _LIST_ENDS:
                in_list = False


def select_items(tokens: Sequence[Token]) -> Iterator[Sequence[Token]]:
    """The items of a query's own list, which name the columns of its result; nothing for other statements."""
    if not tokens or tokens[0].word != "SELECT":
        return
    first = 1
    while first < len(tokens) and tokens[first].word in _BEFORE_ITEM:
        first += 1
    depth = 0
    for number in range(first, len(tokens)):
        word = tokens[number].word
        depth += (word == "(") - (word == ")")
        if depth == 0 and (word in (",", ";") or word in _LIST_ENDS):
            if first < number:
                yield tokens[first:number]
            if word != ",":
                return
            first = number + 1
    if first < len(tokens):
        yield tokens[first:]


def has_name(item: Sequence[Token]) -> bool | None:
    """Whether an item of a SELECT list has a name of its own; None where that takes a parser to say."""
    depth = 0
    for token in item:
        depth += (token.word == "(") - (token.word == ")")
        if depth == 0 and token.word == "AS":
            return True
    last = item[-1]
    if len(item) < 2 or last.kind not in (TokenKind.WORD, TokenKind.QUOTED, TokenKind.STRING):
        return False
    before = item[-2]
    if before.word in (".", "@", "@@") or (before.kind is TokenKind.SYMBOL and before.word != ")"):
        return False
    return True if before.word == ")" and last.word not in _BEHIND_OPERAND else None


def split_at(sql: bytes, calls: Sequence[FunctionCall]) -> tuple[bytes, ...]:
    """What stands before, between and behind the calls, with the name that each result column had."""
    parts: list[bytes] = []
    behind, position = b"", 0
    for call in calls:
        parts.append(behind + sql[position : call.start])
        # A blank, since a letter may follow: `wolfscale_id()AS id`.
        text = sql[call.start : call.end].replace(b"`", b"``")
        behind = b" AS `" + text + b"` " if call.is_item else b" "
        position = call.end
    parts.append(behind + sql[position:])
    return tuple(parts)


def text_around_calls(
    sql: bytes, mode: LexerMode, name: str, *, left_alone: Set[str] = frozenset()
) -> tuple[bytes, ...]:
    """What stands before, between and behind a function's calls, so that a value can be put in their places.

    Columns keep the names that they would have. The whole text where there is no call, where values would be
    kept and used again, or where nothing can be put in.

    Args:
        sql: the text.
        mode: how the session's server reads it.
        name: the function's, upper case.
        left_alone: names that keep the calls in a text as they are.
    """
    lexed = tokenize(sql.decode("latin-1"), mode)
    if not lexed.complete or any(token.name in left_alone for token in lexed.tokens):
        return (sql,)
    calls = [call for call in find_calls(lexed.tokens, name) if not call.kept]
    if all(call.is_item for call in calls):
        return split_at(sql, calls)
    # Of an item that only holds a call, the name is its text.
    ends: dict[int, bytes] = {call.end: _alias(sql[call.start : call.end]) for call in calls if call.is_item}
    for item in select_items(lexed.tokens):
        start, end = item[0].start, item[-1].end
        inside = [call for call in calls if start <= call.start < end]
        if not inside or (len(inside) == 1 and inside[0].is_item):
            continue
        named = has_name(item)
        if named is None or end - start > _LONGEST_NAME:
            return (sql,)
        if not named:
            ends[end] = _alias(sql[start:end])
    return _with_names(sql, calls, ends)


def _with_names(sql: bytes, calls: Sequence[FunctionCall], ends: Mapping[int, bytes]) -> tuple[bytes, ...]:
    parts: list[bytes] = []
    part, position = b"", 0
    begins = {call.start: call.end for call in calls}
    for place in sorted(begins.keys() | ends.keys()):
        part += sql[position:place] + ends.get(place, b"")
        position = place
        if place in begins:
            parts.append(part)
            part, position = b" ", begins[place]
    parts.append(part + sql[position:])
    return tuple(parts)


def _alias(text: bytes) -> bytes:
    return b" AS `" + text.replace(b"`", b"``") + b"` "


def _is_call(tokens: Sequence[Token], number: int) -> bool:
    before = tokens[number - 1].word if number else ""
    behind = [token.word for token in tokens[number + 1 : number + 3]]
    return behind == ["(", ")"] and before not in (".", "@", "@@")


def _is_item(tokens: Sequence[Token], number: int) -> bool:
    before = tokens[number - 1].word
    behind = tokens[number + 3].word if number + 3 < len(tokens) else ";"
    return before in _BEFORE_ITEM and behind in _BEHIND_ITEM
