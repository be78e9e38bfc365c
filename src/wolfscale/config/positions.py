"""On which line of a TOML document a key stands; `tomllib` gives values only.

The scanner is fed documents that `tomllib` has already accepted, so it need not judge them: it follows
table headers and the first key of each line, and steps over multi-line strings and arrays.
"""

import re
from collections.abc import Sequence

_HEADER = re.compile(r"^\s*\[\[?\s*(?P<name>[^\[\]]+?)\s*\]\]?\s*(#.*)?$")
_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_KEY = re.compile(rf"^\s*(?P<key>{_PART}(?:\s*\.\s*{_PART})*)\s*=")
_TOKEN = re.compile(r'"""|\'\'\'|"(?:[^"\\]|\\.)*"|\'[^\']*\'|#|[\[\]{}]')
_INLINE_KEY = re.compile(rf"(?:[{{,])\s*(?P<key>{_PART})\s*=")

KeyPath = tuple[str, ...]


class Positions:
    """Lines (from 1) of the tables and keys of one document."""

    __slots__ = ("_lines", "_positions")

    def __init__(self, document: str) -> None:
        self._lines = document.splitlines()
        self._positions = _scan(self._lines)

    def line(self, path: Sequence[str]) -> int | None:
        """The line of the key, else that of its table, else None."""
        key = tuple(path)
        return self._positions.get(key) or (self._positions.get(key[:1]) if key else None)

    def exact_line(self, path: Sequence[str]) -> int | None:
        """The line of the key itself; None where it is not in the document."""
        return self._positions.get(tuple(path))

    def element_line(self, path: Sequence[str], text: str) -> int | None:
        """The line on which an element of the array at `path` is written, else the array's own."""
        start = self.line(path)
        if start is None:
            return None
        later = [line for line in self._positions.values() if line > start]
        end = min(later, default=len(self._lines) + 1)
        for number in range(start, end):
            if text and text in self._lines[number - 1]:
                return number
        return start


def _parts(text: str) -> KeyPath:
    return tuple(part.strip("\"'") for part in re.findall(_PART, text))


def _scan(lines: Sequence[str]) -> dict[KeyPath, int]:
    found: dict[KeyPath, int] = {}
    table: KeyPath = ()
    depth = 0
    closing: str | None = None  # of the multi-line string that is open
    for number, line in enumerate(lines, start=1):
        if depth == 0 and closing is None:
            if header := _HEADER.match(line):
                table = _parts(header["name"])
                found.setdefault(table, number)
                continue
            if match := _KEY.match(line):
                path = (*table, *_parts(match["key"]))
                for length in range(1, len(path) + 1):
                    found.setdefault(path[:length], number)
                for inner in _INLINE_KEY.finditer(line, match.end()):
                    found.setdefault((*path, *_parts(inner["key"])), number)
        depth, closing = _after(line, depth, closing)
    return found


def _after(line: str, depth: int, closing: str | None) -> tuple[int, str | None]:
    """The nesting of arrays and the open multi-line string at the end of a line."""
    position = 0
    while position < len(line):
        if closing is not None:
            end = line.find(closing, position)
            if end < 0:
                return depth, closing
            position, closing = end + 3, None
            continue
        token = _TOKEN.search(line, position)
        if token is None or token[0] == "#":
            break
        position = token.end()
        if token[0] in ('"""', "'''"):
            closing = token[0]
        elif token[0] in "[{":
            depth += 1
        elif token[0] in "]}":
            depth -= 1
    return depth, closing
