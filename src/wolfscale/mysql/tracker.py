"""Where a server's response ends, and what it said: a state machine fed the server's bytes.

The rules, for every command (MariaDB documentation, "Result Set Packets" and sql/protocol.cc):

* most commands are answered by one OK or ERR, or by results: column count, definitions, [EOF,] rows, end;
* a result whose end has MORE_RESULTS_EXISTS is followed by another; an ERR ends everything;
* EOF is a packet that starts with 0xFE and is shorter than 9 bytes; where EOF is deprecated, an OK packet
  that starts with 0xFE (a row that starts with 0xFE holds a value of 16 MiB, so its packet is full);
* a result that opens a cursor ends after its definitions, with CURSOR_EXISTS; results inside a procedure
  that has opened a cursor of its own have this flag too, and rows (and MORE_RESULTS_EXISTS, as more follows);
* STMT_PREPARE is answered by a fixed packet and two lists of definitions, STATISTICS by bare text, FIELD_LIST
  by definitions up to an end, STMT_CLOSE and STMT_SEND_LONG_DATA by nothing;
* 0xFB instead of a column count asks the client for a file; after the client's packets comes OK or ERR;
* an "error" 65535 is MariaDB's progress report and counts for nothing;
* a packet of full length is continued by the next, whose bytes mean nothing by themselves.

This is on a proxy's hot path: the states are plain integers and the common packets are read in place.
"""

import struct

from wolfscale.mysql.buffer import PacketBuffer
from wolfscale.mysql.constants import MAX_PACKET_PAYLOAD, Capability, Command, Status
from wolfscale.mysql.errors import LocalProtocolError, RemoteProtocolError, ServerError
from wolfscale.mysql.results import parse_error, parse_ok
from wolfscale.mysql.session_track import SessionChanges, parse_session_changes

_DONE = 0
_FIRST = 1  # OK, ERR, column count, request for a file
_COUNTED = 2  # a known number of packets, then _next
_DEFINITIONS_EOF = 3
_ROWS = 4
_FIELDS = 5  # COM_FIELD_LIST: definitions up to an end
_PREPARE = 6
_TEXT = 7  # COM_STATISTICS
_AUTHENTICATION = 8  # COM_CHANGE_USER: OK, ERR, or a dialogue
_ENDLESS = 9  # a dump; never a tracker's state

_MORE_RESULTS = int(Status.MORE_RESULTS_EXISTS)
_CURSOR_EXISTS = int(Status.CURSOR_EXISTS)
_CURSOR_OR_MORE = _CURSOR_EXISTS | _MORE_RESULTS
_STATE_CHANGED = int(Status.SESSION_STATE_CHANGED)

_UNUSUAL: dict[int, int] = {
    Command.QUIT: _DONE,
    Command.STMT_CLOSE: _DONE,
    Command.STMT_SEND_LONG_DATA: _DONE,
    Command.STMT_PREPARE: _PREPARE,
    Command.STMT_FETCH: _ROWS,
    Command.FIELD_LIST: _FIELDS,
    Command.STATISTICS: _TEXT,
    Command.CHANGE_USER: _AUTHENTICATION,
    Command.BINLOG_DUMP: _ENDLESS,
    Command.BINLOG_DUMP_GTID: _ENDLESS,
    Command.TABLE_DUMP: _ENDLESS,
}
_FIRST_STATES = tuple(_UNUSUAL.get(command, _FIRST) for command in range(256))
"""Where the response to a command begins, by the command's byte."""
# A packet's header, whose upper byte is the packet's number, and its payload's first byte; an EOF packet.
# One call costs less than putting the length together from three bytes, and this runs for each packet.
_read_start = struct.Struct("<IB").unpack_from
_read_eof = struct.Struct("<IBHH").unpack_from

_RUN_ROWS = 8
"""Rows ahead at which one of the same length is looked for before a run of them is."""


LONGEST_HEAD_BYTES = 2048
"""A longer head of a result is not kept."""


class ResultHead:
    """What stood around the rows of a statement's last results: nearly always the same again.

    Comparing it costs much less than stepping over its packets, and is as exact.

    Attributes:
        data: the packets before the rows; b"" where none are known.
        deprecates_eof: whether they, and `end`, are of a connection on which EOF is deprecated.
        columns: what they say.
        status: likewise.
        warnings: likewise.
        end: the packet that ended a response which was one result of one row; b"" where none is known.
        end_status: what it says.
        end_warnings: likewise.
    """

    __slots__ = (
        "columns",
        "data",
        "deprecates_eof",
        "end",
        "end_status",
        "end_warnings",
        "status",
        "warnings",
    )

    def __init__(self) -> None:
        self.data = self.end = b""
        self.deprecates_eof = False
        self.columns = self.status = self.warnings = self.end_status = self.end_warnings = 0


class ResponseTracker:
    """Follows the responses to one connection's commands, one after another.

    Call `begin` with each command's first byte, then `feed` with what the server sends until `done`.

    Attributes:
        status: server status flags of the newest OK or EOF; kept from one command to the next, since errors
            carry none.
        warnings: the count in the newest OK or EOF of this response.
        affected_rows: of the newest OK of this response (0 for a result set).
        last_insert_id: likewise.
        error: the ERR that ended this response, else None.
        changes: what session tracking told in this response, else None.
        columns: how many columns the newest result has; 0 when there was none.
        rows: whether a row came.
        statement_id: from a successful STMT_PREPARE; its parameters are counted by `parameters`, its result's
            columns by `columns`.
        awaiting_client: the server has asked for a file's contents or for a log-in answer, and it is the
            client's turn.
        done: whether the response is complete; true before the first command.
    """

    __slots__ = (
        "_caches_metadata",
        "_capabilities",
        "_continued",
        "_deprecates_eof",
        "_head",
        "_next",
        "_opens_cursor",
        "_pending",
        "_remaining",
        "_skip",
        "_state",
        "affected_rows",
        "awaiting_client",
        "changes",
        "columns",
        "done",
        "error",
        "last_insert_id",
        "parameters",
        "rows",
        "statement_id",
        "status",
        "warnings",
    )

    def __init__(self, capabilities: int, status: int = int(Status.AUTOCOMMIT)) -> None:
        """Start with no response under way.

        Args:
            capabilities: those that hold between the server and whoever talks to it.
            status: the status flags that the log-in's OK gave.
        """
        self._capabilities = int(capabilities)
        self._deprecates_eof = bool(capabilities & Capability.DEPRECATE_EOF)
        self._caches_metadata = bool(
            capabilities & Capability.MARIADB_CACHE_METADATA and not capabilities & Capability.MYSQL
        )
        self._state = _DONE
        self._next = _DONE
        self._remaining = 0
        self._skip = 0
        self._continued = False
        self._pending = b""
        self._head: ResultHead | None = None
        self._opens_cursor = False
        self.status = status
        self.warnings = 0
        self.affected_rows = 0
        self.last_insert_id = 0
        self.error: ServerError | None = None
        self.changes: SessionChanges | None = None
        self.columns = 0
        self.parameters = 0
        self.rows = False
        self.statement_id = 0
        self.awaiting_client = False
        self.done = True

    @property
    def gtid(self) -> str | None:
        """The last GTID that this response told."""
        return self.changes.gtid if self.changes is not None else None

    @property
    def schema(self) -> bytes | None:
        """The default schema that this response told of, if it changed."""
        return self.changes.schema if self.changes is not None else None

    def begin(self, command: int, head: ResultHead | None = None, *, opens_cursor: bool = False) -> None:
        """Expect the response to a command.

        Some commands have none: `done` is true at once then.

        Args:
            command: its first byte.
            head: of the statement's last result, and taken from this one if that is another.
            opens_cursor: it is an execution that asks for a cursor (`commands.opens_cursor`).

        Raises:
            LocalProtocolError: the last response has not ended, or this command's never ends.
        """
        if not self.done:
            raise LocalProtocolError("a command was begun before the response to the last one ended")
        state = _FIRST_STATES[command]
        if state == _ENDLESS:
            raise LocalProtocolError(f"the response to command 0x{command:02x} has no end to look for")
        self._state = state
        self.done = state == _DONE
        self._head = head
        self._opens_cursor = opens_cursor
        self.warnings = 0
        self.affected_rows = 0
        self.last_insert_id = 0
        self.error = None
        self.changes = None
        self.columns = 0
        self.rows = False
        self.awaiting_client = False

    def packet(self, payload: bytes | bytearray | memoryview, length: int | None = None) -> bool:
        """Feed one packet; true when the response is complete.

        Args:
            payload: the packet's payload without its header; of packets that are no OK, ERR or EOF the first
                16 bytes suffice.
            length: the payload's whole length in bytes, if only its start is given.

        Raises:
            RemoteProtocolError: the packet makes no sense here.
        """
        total = len(payload) if length is None else length
        data = total.to_bytes(4, "little") + payload
        self.feed(data)
        if self._pending:
            self._pending = b""
            raise LocalProtocolError("this packet decides where the response goes on and is needed whole")
        self._skip = 0
        self.done = self._state == _DONE and not self._continued
        return self.done

    def feed(self, data: bytes | bytearray, start: int = 0) -> int:
        """Feed received bytes, cut anywhere.

        Args:
            data: bytes with packet headers.
            start: where in it to begin.

        Returns:
            The offset just behind the response's last byte, or `len(data)` when more is to come
            (see `done`).

            Bytes behind the end are not looked at: they belong to the next response, or nobody
            asked for them.

        Raises:
            RemoteProtocolError: bytes that make no sense here.
        """
        pending = self._pending
        if pending:
            self._pending = b""
            return self.feed(pending + data[start:]) - len(pending) + start
        if self._state != _FIRST:
            pos = self._walk(data, start)
            self.done = self._state == _DONE and not self._skip and not self._continued
            return pos
        head = self._head
        if head is not None and head.end and data.startswith(head.data, start):
            # One row, as a read by key gives: what is around it is known, so its length says it all.
            row = start + len(head.data)
            header, first = _read_start(data, row) if row + 4 < len(data) else (0, 0)
            end = row + 4 + (header & 0xFFFFFF)
            if (
                len(data) - end == len(head.end)
                and data.endswith(head.end)
                and end > row + 4
                and first < 0xFE
                and head.deprecates_eof is self._deprecates_eof
            ):
                self.columns, self.status, self.warnings = head.columns, head.end_status, head.end_warnings
                self.rows = self.done = True
                self._state = _DONE
                return len(data)
        pos = self._walk(data, self._plain_result(data, start, len(data)))
        self.done = self._state == _DONE and not self._skip and not self._continued
        if head is not None and self.done and self.rows:
            self._remember_end(head, data, start, pos)
        return pos

    def _remember_end(self, head: ResultHead, data: bytes | bytearray, start: int, end: int) -> None:
        """Keep the packet that ended a whole response, if that was one row with this head."""
        row = start + len(head.data)
        if row + 4 >= end or not data.startswith(head.data, start) or self.changes or self.error:
            return
        last = row + 4 + (_read_start(data, row)[0] & 0xFFFFFF)
        if last + 4 < end and last + 4 + (_read_start(data, last)[0] & 0xFFFFFF) == end:
            head.end, head.end_status, head.end_warnings = bytes(data[last:end]), self.status, self.warnings

    def _walk(self, data: bytes | bytearray, pos: int) -> int:
        end = len(data)
        if self._skip:
            pos += self._skip
            if pos > end:
                self._skip = pos - end
                return end
            self._skip = 0
        while True:
            state = self._state
            if state == _ROWS and not self._continued:
                pos = self._rows(data, pos, end)
                if pos > end:
                    self._skip = pos - end
                    return end
            elif state == _DONE and not self._continued:
                return pos
            body = pos + 4
            if body > end:
                break
            length = data[pos] | data[pos + 1] << 8 | data[pos + 2] << 16
            after = body + length
            if self._continued:
                self._continued = length == MAX_PACKET_PAYLOAD
            elif not length:
                raise RemoteProtocolError("the server sent an empty packet inside a response")
            elif body == end:
                break
            elif (first := data[body]) < 0xFE and state == _ROWS:
                self.rows = True
                self._continued = length == MAX_PACKET_PAYLOAD
            elif state == _COUNTED and first != 0xFF:
                self._remaining -= 1
                if not self._remaining:
                    self._state = self._next
                self._continued = length == MAX_PACKET_PAYLOAD
            elif state == _TEXT and first != 0xFF:
                self._state = _DONE
                self._continued = length == MAX_PACKET_PAYLOAD
            elif first == 0xFE and state in (_ROWS, _FIELDS) and not self._is_end(length):
                self.rows = True
                self._continued = length == MAX_PACKET_PAYLOAD
            elif state == _FIELDS and first < 0xFE:
                pass
            elif after > end:
                break
            else:
                self._whole(state, first, data, body, after)
            if after > end:
                self._skip = after - end
                return end
            pos = after
        # A packet that is needed whole is kept until it is: an OK, an ERR, the first of a response.
        self._pending = bytes(data[pos:])
        return end

    def _plain_result(self, data: bytes | bytearray, pos: int, end: int) -> int:
        """Step over a result of the usual form as far as it is in the data; the loop does what this leaves.

        Nearly all responses are one, and are in one piece: this is the same walk, without its many branches.
        """
        head = self._head
        if (
            head is not None
            and head.data
            and head.deprecates_eof is self._deprecates_eof
            and data[pos : pos + len(head.data)] == head.data
        ):
            self.columns, self.status, self.warnings = head.columns, head.status, head.warnings
            self._state = _ROWS
            pos += len(head.data)
        else:
            start = pos
            pos = self._plain_head(data, pos, end)
            if self._state != _ROWS:
                return pos
            if head is not None and pos - start <= LONGEST_HEAD_BYTES:
                head.data, head.deprecates_eof = bytes(data[start:pos]), self._deprecates_eof
                head.end = b""
                head.columns, head.status, head.warnings = self.columns, self.status, self.warnings
        pos = self._rows(data, pos, end)
        if pos + 9 <= end and not self._deprecates_eof:
            header, first, warnings, status = _read_eof(data, pos)
            if first == 0xFE and header & 0xFFFFFF == 5:
                self.warnings, self.status = warnings, status
                self._state = _FIRST if status & _MORE_RESULTS else _DONE
                return pos + 9
        return pos

    def _plain_head(self, data: bytes | bytearray, pos: int, end: int) -> int:
        """Step over column count, definitions and what ends them."""
        if end - pos < 9 or data[pos] != 1 or data[pos + 1] or data[pos + 2] or not 0 < data[pos + 4] < 0xFB:
            return pos
        remaining = self.columns = data[pos + 4]
        self.awaiting_client = False
        pos += 5
        body = pos + 4
        while remaining and body < end:
            length = data[pos] | data[pos + 1] << 8 | data[pos + 2] << 16
            if data[body] > 0xFD or not 0 < length < MAX_PACKET_PAYLOAD or body + length > end:
                break
            pos = body + length
            body = pos + 4
            remaining -= 1
        if remaining:
            self._expect(remaining, _ROWS if self._deprecates_eof else _DEFINITIONS_EOF)
            return pos
        self._state = _ROWS
        if not self._deprecates_eof:
            if end - pos < 9 or data[pos] != 5 or data[body] != 0xFE or data[pos + 1] or data[pos + 2]:
                self._state = _DEFINITIONS_EOF
                return pos
            self._on_eof(data, body, body + 5)
            pos += 9
            if self._opens_cursor and self.status & _CURSOR_OR_MORE == _CURSOR_EXISTS:
                self._result_ended()
        return pos

    def _rows(self, data: bytes | bytearray, pos: int, end: int) -> int:
        """Step over plain rows; the offset behind the last one, which may be behind the data."""
        start = pos
        while pos + 4 < end:
            header, first = _read_start(data, pos)
            length = header & 0xFFFFFF
            if first > 0xFD or not 0 < length < MAX_PACKET_PAYLOAD:
                break
            after = pos + 4 + length
            # Rows of one length often come in runs: numbers, dates, codes.
            last = after + (_RUN_ROWS - 1) * (length + 4)
            if last + 4 < end and data[pos] == data[after] == data[last]:
                after = pos + _run_of_rows(data, pos, end, length + 4) * (length + 4)
            pos = after
        if pos > start:
            self.rows = True
        return pos

    def _is_end(self, length: int) -> bool:
        return length < (MAX_PACKET_PAYLOAD if self._deprecates_eof else 9)

    def _whole(self, state: int, first: int, data: bytes | bytearray, body: int, after: int) -> None:
        """Read a packet that decides where to go from here; it is in `data` whole."""
        self.awaiting_client = False
        if first == 0xFF:
            self._on_error(bytes(data[body:after]))
        elif state == _FIRST:
            self._on_first(first, data, body, after)
        elif state in (_ROWS, _FIELDS):  # first is 0xFE
            if self._deprecates_eof:
                self._on_ok(data, body, after)
            else:
                self._on_eof(data, body, after)
            self._result_ended()
        elif state == _DEFINITIONS_EOF:
            self._on_eof(data, body, after)
            if self._opens_cursor and self.status & _CURSOR_OR_MORE == _CURSOR_EXISTS:
                self._result_ended()
            else:
                self._state = _ROWS
        elif state == _PREPARE:
            self._on_prepared(bytes(data[body:after]))
        elif first == 0x00:  # the end of a log-in
            self._on_ok(data, body, after)
            self._state = _DONE
        else:
            self.awaiting_client = True

    def _result_ended(self) -> None:
        self._state = _FIRST if self.status & _MORE_RESULTS else _DONE

    def _on_first(self, first: int, data: bytes | bytearray, body: int, after: int) -> None:
        if first == 0x00 or (first == 0xFE and after - body > 5):
            self._on_ok(data, body, after)
            self._result_ended()
        elif first == 0xFE:
            self._on_eof(data, body, after)
            self._result_ended()
        elif first == 0xFB:
            self.awaiting_client = True
        elif after - body == 1:
            self.columns = first
            self._expect(first, _ROWS if self._deprecates_eof else _DEFINITIONS_EOF)
        else:
            buffer = PacketBuffer(bytes(data[body:after]))
            self.columns = buffer.lenenc_int()
            definitions = self.columns
            if self._caches_metadata and buffer.remaining and not buffer.uint8():
                definitions = 0
            self._expect(definitions, _ROWS if self._deprecates_eof else _DEFINITIONS_EOF)

    def _expect(self, packets: int, following: int) -> None:
        self._remaining = packets
        self._next = following
        self._state = _COUNTED if packets else following

    def _on_error(self, payload: bytes) -> None:
        if payload[1:3] != b"\xff\xff":
            self.error = parse_error(payload)
            self._state = _DONE

    def _on_eof(self, data: bytes | bytearray, body: int, after: int) -> None:
        if after - body < 5 or data[body] != 0xFE:
            raise RemoteProtocolError("the server sent something else where an EOF packet must be")
        self.warnings = data[body + 1] | data[body + 2] << 8
        self.status = data[body + 3] | data[body + 4] << 8

    def _on_ok(self, data: bytes | bytearray, body: int, after: int) -> None:
        # Nearly always both numbers are below 251, and then everything stands at fixed places.
        if after - body >= 7 and data[body + 1] < 0xFB and data[body + 2] < 0xFB:
            status = data[body + 3] | data[body + 4] << 8
            if not status & _STATE_CHANGED:
                self.affected_rows = data[body + 1]
                self.last_insert_id = data[body + 2]
                self.status = status
                self.warnings = data[body + 5] | data[body + 6] << 8
                return
        ok = parse_ok(bytes(data[body:after]), self._capabilities)
        self.affected_rows = ok.affected_rows
        self.last_insert_id = ok.last_insert_id
        self.status = ok.status
        self.warnings = ok.warnings
        if ok.session_data:
            self.changes = parse_session_changes(ok.session_data, self.changes)

    def _on_prepared(self, payload: bytes) -> None:
        buffer = PacketBuffer(payload)
        if buffer.uint8() != 0:
            raise RemoteProtocolError("malformed response to STMT_PREPARE")
        self.statement_id = buffer.uint32()
        self.columns = buffer.uint16()
        self.parameters = buffer.uint16()
        if buffer.remaining >= 3:
            buffer.take(1)
            self.warnings = buffer.uint16()
        eof = 0 if self._deprecates_eof else 1
        packets = sum(count + eof for count in (self.parameters, self.columns) if count)
        self._expect(packets, _DONE)


def _run_of_rows(data: bytes | bytearray, pos: int, end: int, step: int) -> int:
    """How many rows of the same length follow one another, the first one included.

    Args:
        data: has a whole row at `pos`.
        pos: where the first begins.
        end: where the data end.
        step: a row's length with its header.
    """
    end = pos + (end - pos) // step * step
    for offset in (0, 1, 2):
        lengths = data[pos + offset : end : step]
        others = lengths.lstrip(lengths[:1])
        if others:
            end -= len(others) * step
    firsts = data[pos + 4 : end : step]
    for other in (0xFE, 0xFF):
        if other in firsts:
            firsts = firsts[: firsts.index(other)]
    return len(firsts)
