import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.mysql.commands import (
    LAST_PREPARED_STATEMENT,
    AnyCommand,
    BinlogDump,
    BoundParameters,
    ChangeUser,
    FieldList,
    InitDatabase,
    ProcessKill,
    Query,
    RegisterSlave,
    SetOption,
    Simple,
    StatementBulkExecute,
    StatementClose,
    StatementExecute,
    StatementFetch,
    StatementPrepare,
    StatementReset,
    StatementSendLongData,
    parse_command,
    statement_id,
    with_statement_id,
)
from wolfscale.mysql.constants import Capability, Command
from wolfscale.mysql.errors import LocalProtocolError, RemoteProtocolError

CAPABILITIES = int(Capability.PLUGIN_AUTH | Capability.CONNECT_ATTRS | Capability.SECURE_CONNECTION)

data = st.binary(max_size=40)
names = data.filter(lambda value: b"\0" not in value)
u8 = st.integers(0, 0xFF)
u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
commands: st.SearchStrategy[AnyCommand] = st.one_of(
    st.builds(
        Simple, st.sampled_from([Command.QUIT, Command.PING, Command.STATISTICS, Command.RESET_CONNECTION])
    ),
    st.builds(Query, data),
    st.builds(InitDatabase, data),
    st.builds(FieldList, names, data),
    st.builds(ProcessKill, u32),
    st.builds(SetOption, u16),
    st.builds(StatementPrepare, data),
    st.builds(StatementExecute, u32, u8, u32, data),
    st.builds(StatementSendLongData, u32, u16, data),
    st.builds(StatementClose, u32),
    st.builds(StatementReset, u32),
    st.builds(StatementFetch, u32, u32),
    st.builds(StatementBulkExecute, u32, u16, data),
    st.builds(
        ChangeUser,
        user=names,
        answer=data,
        database=names,
        collation=u16,
        plugin=names,
        attributes=st.dictionaries(data, data, max_size=3),
    ),
    st.builds(
        RegisterSlave,
        server_id=u32,
        host=data,
        user=data,
        password=data,
        port=u16,
        rank=u32,
        master_id=u32,
    ),
    st.builds(BinlogDump, server_id=u32, position=u32, flags=u16, file=data),
)


@given(commands)
def test_command_round_trips(command: AnyCommand) -> None:
    payload = command.build()
    assert payload[0] == command.command
    assert parse_command(payload, CAPABILITIES) == command


@given(st.binary(min_size=0, max_size=60), st.sampled_from([0, CAPABILITIES]))
def test_command_of_any_bytes_is_read_or_refused(payload: bytes, capabilities: int) -> None:
    try:
        parse_command(payload, capabilities)
    except RemoteProtocolError as error:
        assert error.errno in (1835, 1047)  # noqa: PT017


@given(commands, st.data())
def test_command_cut_anywhere_is_read_or_refused(command: AnyCommand, draw: st.DataObject) -> None:
    payload = command.build()
    cut = payload[: draw.draw(st.integers(0, len(payload)))]
    try:
        parse_command(cut, CAPABILITIES)
    except RemoteProtocolError as error:
        assert error.errno in (1835, 1047)  # noqa: PT017


@pytest.mark.parametrize("number", [0x00, 0x0B, 0x0F, 0x1E, 0x40, 0xFE])
def test_unknown_command_is_answered_as_the_server_does(number: int) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_command(bytes((number,)), 0)
    assert (caught.value.errno, caught.value.sqlstate) == (1047, "08S01")


@given(st.integers(1, 40), st.data())
def test_parameters_are_taken_apart_and_put_together(count: int, draw: st.DataObject) -> None:
    bound = BoundParameters(
        nulls=draw.draw(st.binary(min_size=(count + 7) // 8, max_size=(count + 7) // 8)),
        types=draw.draw(st.none() | st.binary(min_size=2 * count, max_size=2 * count)),
        values=draw.draw(data),
    )
    execute = StatementExecute(1, parameters=bound.build())
    assert execute.split_parameters(count) == bound


def test_parameters_get_the_types_that_another_connection_lacks() -> None:
    # The second execution of a statement with one INT, as MariaDB Connector/C sends it: no types.
    execute = StatementExecute(3, parameters=b"\0\0" + struct.pack("<i", 5))
    bound = execute.split_parameters(1)
    assert bound.types is None
    moved = BoundParameters(nulls=bound.nulls, types=b"\x03\0", values=bound.values)
    assert moved.build() == b"\0\x01\x03\0\x05\0\0\0"


def test_parameters_fewer_than_the_statement_has_are_refused() -> None:
    with pytest.raises(RemoteProtocolError):
        StatementExecute(1, parameters=b"\0\x01\x03").split_parameters(2)
    assert StatementExecute(1).split_parameters(0).build() == b""


def test_statement_id_is_read_and_replaced_in_place() -> None:
    payload = StatementExecute(7, 1, 1, b"rest").build()
    assert statement_id(payload) == 7
    moved = with_statement_id(payload, LAST_PREPARED_STATEMENT)
    assert parse_command(moved, 0) == StatementExecute(LAST_PREPARED_STATEMENT, 1, 1, b"rest")
    with pytest.raises(RemoteProtocolError):
        statement_id(b"\x17\0\0")


def test_change_of_user_may_end_after_the_schema() -> None:
    assert parse_command(b"\x11app\0\0db\0", CAPABILITIES) == ChangeUser(user=b"app", database=b"db")


def test_change_of_user_with_a_long_answer_is_our_mistake() -> None:
    with pytest.raises(LocalProtocolError):
        ChangeUser(user=b"app", answer=bytes(256)).build()
