"""Copies a whole server's data from a peer: `mariadb-backup` there, streamed, prepared and swapped in here.

On the stream, donor to recipient: frames of kind u8, length u32 (big-endian), body.

    1 header   JSON: the donor's role, versions
    2 data     a piece of the xbstream archive
    3 end      JSON: the donor's role when it was done
    4 error    text, UTF-8; ends the stream

The recipient's old data stays until the new data is complete on the disk. From the first deletion until
the swap is done the record says that the data directory is not to be trusted.
"""

import os
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import TypeVar

import msgspec
import trio

from wolfscale import logs
from wolfscale.replication.clone_files import (
    CLONE_DIRECTORY,
    begin,
    discard,
    finish,
    position_in_backup,
    private_options_file,
    swap,
)
from wolfscale.replication.database import Database
from wolfscale.replication.managed import find_program
from wolfscale.replication.processes import Child, run_to_end, spawn
from wolfscale.replication.record import DataState, RecordStore, Settled
from wolfscale.replication.recovery import fresh_data
from wolfscale.replication.server import excerpt
from wolfscale.replication.server_errors import CloneFailed

log = logs.logger(__name__)

CHUNK_BYTES = 256 * 1024
_FRAME = struct.Struct(">BI")
_SILENCE_SECONDS = 120.0
"""mariadb-backup copies a log now and then even when it waits; a donor silent for longer is stuck."""


class Role(StrEnum):
    """What the donor's server is; tells where the copy's position stands."""

    PRIMARY = "primary"
    """In `xtrabackup_binlog_info`; the `gtid_slave_pos` that comes along is stale."""
    REPLICA = "replica"
    """In the copied `mysql.gtid_slave_pos`."""


class Phase(StrEnum):
    """What a recipient is doing."""

    RECEIVING = "receiving"
    PREPARING = "preparing"
    SWAPPING = "swapping"


class _Frame(IntEnum):
    HEADER = 1
    DATA = 2
    END = 3
    ERROR = 4


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    role: Role
    tenure: int
    server_version: str


class _End(msgspec.Struct, frozen=True, kw_only=True):
    role: Role
    tenure: int


@dataclass(slots=True, kw_only=True)
class CloneState:
    """How far a clone is; read by whoever shows it.

    Attributes:
        phase: what is being done.
        received_bytes: bytes of the archive received so far.
    """

    phase: Phase = Phase.RECEIVING
    received_bytes: int = 0


async def serve_clone(
    database: Database, stream: trio.abc.Stream, *, tenure: Callable[[], int | None]
) -> int:
    """Send a copy of the running server's data; the server goes on working meanwhile.

    The copy blocks commits and DDL only while it takes its position. Errors go to the recipient, in the
    stream. Cancelling ends the backup.

    Args:
        database: the server to copy.
        stream: to the recipient; closed on return.
        tenure: the term of which the server is the primary; None: it is a replica. A copy during which
            this changes has no known position and fails.

    Returns:
        The size of the copy in bytes.

    Raises:
        CloneFailed: the backup failed; the recipient was told.
        trio.BrokenResourceError: the recipient went away.
    """
    async with stream:
        try:
            return await _send_backup(database, stream, tenure)
        except (CloneFailed, OSError) as error:
            await _send(stream, _Frame.ERROR, str(error).encode())
            raise CloneFailed(str(error)) from error


async def _send_backup(database: Database, stream: trio.abc.Stream, tenure: Callable[[], int | None]) -> int:
    program = find_program("mariadb-backup")
    term = tenure()
    header = _Header(role=_role(term), tenure=term or 0, server_version=database.version)
    await _send(stream, _Frame.HEADER, msgspec.json.encode(header))
    owner = database.server.owner
    with private_options_file(database.socket_path, database.account, owner) as (options, errors):
        with errors.open("wb") as error_file:
            child = spawn(
                [
                    str(program),
                    f"--defaults-file={options}",
                    "--backup",
                    "--stream=xbstream",
                    f"--datadir={database.data_directory}",
                    f"--target-dir={options.parent}",
                    f"--tmpdir={options.parent}",
                ],
                owner=owner,
                stdout=subprocess.PIPE,
                stderr=error_file,
                own_group=True,
                working_directory="/",
            )
        try:
            sent = await _forward(child, stream)
            code = await child.wait()
        finally:
            await child.end()
        text = await trio.to_thread.run_sync(lambda: errors.read_text(errors="replace"))
    if code != 0:
        raise CloneFailed(f"mariadb-backup failed on the donor (exit code {code}):\n{excerpt(text)}")
    if tenure() != term:
        raise CloneFailed("the donor's role changed while its data was copied: the copy is tried again")
    await _send(stream, _Frame.END, msgspec.json.encode(_End(role=_role(term), tenure=term or 0)))
    return sent


async def _forward(child: Child, stream: trio.abc.Stream) -> int:
    assert child.stdout is not None
    sent = 0
    async with trio.lowlevel.FdStream(os.dup(child.stdout.fileno())) as source:
        while chunk := await source.receive_some(CHUNK_BYTES):
            await _send(stream, _Frame.DATA, chunk)
            sent += len(chunk)
    return sent


async def receive_clone(
    database: Database, store: RecordStore, stream: trio.abc.Stream, state: CloneState
) -> None:
    """Replace the node's data by a peer's; afterwards `recover` boots it like after any unclean stop.

    The server is killed first. Killed at any point, this is done again from the beginning.

    Args:
        database: the node's server.
        store: the node's record.
        stream: from the donor's `serve_clone`; closed on return.
        state: kept up to date for whoever shows it.

    Raises:
        CloneFailed: donor, network, programs or disk failed; the old data is untouched unless the swap had
            begun.
        ServerUnsupported: mariadb-backup or mbstream is not installed here.
        OSError: the record cannot be written.
    """
    async with stream:
        backup, unpack = find_program("mariadb-backup"), find_program("mbstream")
        await database.kill()
        directory = database.data_directory
        target = directory / CLONE_DIRECTORY
        if store.current.data is DataState.ABSENT:
            await store.update(data=DataState.UNFINISHED)
        try:
            await trio.to_thread.run_sync(begin, target)
            header = await _receive_archive(stream, unpack, target, state)
            state.phase = Phase.PREPARING
            code, output = await run_to_end(
                [str(backup), "--no-defaults", "--prepare", "--use-memory=128M", f"--target-dir={target}"]
            )
            if code != 0:
                raise CloneFailed(f"mariadb-backup --prepare failed (exit code {code}):\n{excerpt(output)}")
            settled = None
            if header.role is Role.PRIMARY:
                gtid = await trio.to_thread.run_sync(position_in_backup, target)
                settled = Settled(gtid=gtid)
            await trio.to_thread.run_sync(finish, target, database.server.owner)
            state.phase = Phase.SWAPPING
            await store.update(data=DataState.UNFINISHED)
            await trio.to_thread.run_sync(swap, directory, target, database.server.owner)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise CloneFailed(f"the copy of the donor's data failed: {error}") from error
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(discard, target)
        await store.update(**fresh_data(settled))
        log.debug("replaced the data", donor_role=header.role, position=settled.gtid if settled else None)


async def _receive_archive(stream: trio.abc.Stream, unpack: Path, target: Path, state: CloneState) -> _Header:
    reader = _FrameReader(stream)
    header = _decode(await reader.next(expected=_Frame.HEADER), _Header)
    state.phase, state.received_bytes = Phase.RECEIVING, 0
    child = spawn(
        [str(unpack), "-x", "-C", str(target)],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        own_group=True,
        working_directory="/",
    )
    assert child.stdin is not None
    try:
        async with trio.lowlevel.FdStream(os.dup(child.stdin.fileno())) as sink:
            child.stdin.close()
            while True:
                kind, body = await reader.frame()
                if kind is not _Frame.DATA:
                    break
                await sink.send_all(body)
                state.received_bytes += len(body)
        if kind is not _Frame.END:
            raise CloneFailed("the donor sent something unexpected in the middle of its data")
        end = _decode(body, _End)
        if (end.role, end.tenure) != (header.role, header.tenure):
            raise CloneFailed("the donor's role changed while its data was copied")
        if await child.wait() != 0:
            raise CloneFailed(f"mbstream could not unpack the donor's data into {target}: is the disk full?")
    except trio.BrokenResourceError as error:
        raise CloneFailed(f"the copy broke off ({error}): donor, network or mbstream ended") from error
    finally:
        await child.end()
    return header


def _role(term: int | None) -> Role:
    return Role.REPLICA if term is None else Role.PRIMARY


async def _send(stream: trio.abc.Stream, kind: _Frame, body: bytes | bytearray) -> None:
    await stream.send_all(_FRAME.pack(kind, len(body)) + body)


class _FrameReader:
    """Frames from a stream; an error frame and an early end become `CloneFailed`."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def next(self, *, expected: _Frame) -> bytes:
        kind, body = await self.frame()
        if kind is not expected:
            raise CloneFailed(f"the donor sent {kind.name.lower()} where {expected.name.lower()} was due")
        return body

    async def frame(self) -> tuple[_Frame, bytes]:
        number, length = _FRAME.unpack(await self._exactly(_FRAME.size))
        try:
            kind = _Frame(number)
        except ValueError:
            raise CloneFailed(f"the donor sent a frame of unknown kind {number}") from None
        if length > 2 * CHUNK_BYTES:
            raise CloneFailed(f"the donor sent a frame of {length} bytes, more than allowed")
        body = await self._exactly(length)
        if kind is _Frame.ERROR:
            raise CloneFailed(f"the donor could not copy its data: {body.decode(errors='replace')}")
        return kind, body

    async def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            with trio.move_on_after(_SILENCE_SECONDS) as limit:
                chunk = await self._stream.receive_some(CHUNK_BYTES)
            if limit.cancelled_caught:
                raise CloneFailed(f"the donor has sent nothing for {_SILENCE_SECONDS:.0f} s")
            if not chunk:
                raise CloneFailed("the donor ended the copy early")
            self._buffer += chunk
        result = bytes(self._buffer[:count])
        del self._buffer[:count]
        return result


_Struct = TypeVar("_Struct", bound=msgspec.Struct)


def _decode(data: bytes, kind: type[_Struct]) -> _Struct:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise CloneFailed(f"the donor's description of its data cannot be read: {error}") from error
