"""A small file whose content changes in one step: after a crash it is the old one or the new one.

Layout, little-endian: magic 8, CRC-32 of all that follows u32, length of the payload u32, payload; zeros up
to a multiple of 4096. The new content is written to a file that stands ready with its blocks (`<name>.next`),
synced, and renamed over the old one, then the directory is synced: so the change succeeds on a disk that has
become full, and dropping old segments can make room again.
"""

import struct
from pathlib import Path
from zlib import crc32

from wolfscale.wal.errors import WalCorrupt, WalFull, WalSyncFailed, WalWriteFailed, is_full
from wolfscale.wal.files import File, Files, read_file

_HEADER = struct.Struct("<8sII")
_CHECKED_FROM = 12
_BLOCK_BYTES = 4096
_SPARE_BYTES = 4 * _BLOCK_BYTES


class StableFile:
    """A file of at most a few KiB that is replaced as a whole. Not for two threads at once."""

    __slots__ = ("_files", "_magic", "_spare", "path")

    def __init__(self, files: Files, path: Path, *, magic: bytes) -> None:
        """Say where the file is; nothing is read or written yet.

        Args:
            files: the file system.
            path: the file; its directory must be there.
            magic: 8 bytes that say what it is.
        """
        self._files = files
        self._magic = magic
        self._spare = path.with_name(path.name + ".next")
        self.path = path

    def read(self) -> bytes | None:
        """The payload; None when there is no file.

        Raises:
            WalCorrupt: the file is there but is not as it was written.
        """
        try:
            data = read_file(self._files, self.path)
        except FileNotFoundError:
            return None
        if len(data) < _HEADER.size:
            raise WalCorrupt(self.path, len(data), "the file ends within its header")
        magic, checksum, length = _HEADER.unpack_from(data)
        if magic != self._magic:
            raise WalCorrupt(self.path, 0, "the file does not begin as one of its kind does")
        if crc32(data[_CHECKED_FROM : _HEADER.size + length]) != checksum:
            raise WalCorrupt(self.path, 0, "the content does not match its checksum, or ends too early")
        return data[_HEADER.size : _HEADER.size + length]

    def write(self, payload: bytes) -> None:
        """Replace the payload; durable on return.

        Raises:
            WalFull: no room; the old content stands.
            WalWriteFailed: the old content stands.
            WalSyncFailed: the old or the new content stands.
        """
        checked = _HEADER.pack(self._magic, 0, len(payload))[_CHECKED_FROM:] + payload
        data = self._magic + crc32(checked).to_bytes(4, "little") + checked
        data += bytes(-len(data) % _BLOCK_BYTES)
        try:
            file = self._open_spare()
            try:
                file.write_at(0, data)
                file.truncate(len(data))
                try:
                    file.sync()
                except OSError as error:
                    raise WalSyncFailed(self._spare, error) from error
            finally:
                file.close()
            self._files.rename(self._spare, self.path)
        except OSError as error:
            failure = WalFull if is_full(error) else WalWriteFailed
            raise failure(self._spare, error) from error
        try:
            self._files.sync_directory(self.path.parent)
        except OSError as error:
            raise WalSyncFailed(self.path, error) from error
        self._prepare_spare()

    def _open_spare(self) -> File:
        try:
            return self._files.open(self._spare, writable=True)
        except FileNotFoundError:
            return self._files.create(self._spare)

    def _prepare_spare(self) -> None:
        try:
            file = self._files.create(self._spare)
        except OSError:
            return  # it is made when it is needed, if there is room then
        try:
            file.write_at(0, bytes(_SPARE_BYTES))
        except OSError:
            return
        finally:
            file.close()
