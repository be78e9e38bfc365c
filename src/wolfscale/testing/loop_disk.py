"""A disk of a node's own that can lose power: an ext4 file system in an image, mounted on a loop device.

A power cut is `FS_IOC_SHUTDOWN` without flushing the journal: from then on each write and each fsync fails
with EIO, and after unmounting and mounting again only what was synced is there. The same call without
unmounting is a disk that dies under a running process.
"""

import atexit
import contextlib
import errno
import fcntl
import os
import shutil
import struct
import subprocess
import time
from pathlib import Path

from wolfscale.errors import WolfScaleError

FS_IOC_SHUTDOWN = 0x8004587D
"""linux/fs.h: _IOR('X', 125, __u32)."""
_WITHOUT_FLUSHING_THE_JOURNAL = 2
_UNMOUNT_SECONDS = 30.0
_LARGEST_PIECE_BYTES = 64 << 20
_BLOCK_BYTES = 4096


class LoopDiskError(WolfScaleError):
    """The machine did not do what a disk needs; the message says which command failed and how."""


class LoopDisk:
    """One file system in an image file. Blocks in all its methods; used by one task or thread at a time.

    Attributes:
        image: the image file.
        mount_point: where it is mounted; an empty directory while it is not.
    """

    def __init__(self, image: Path, mount_point: Path, *, size_mb: int = 1024) -> None:
        """Make the image and mount it.

        Args:
            image: must not exist; takes as much room as is written to it.
            mount_point: made if it is missing.
            size_mb: size of the file system in MiB.

        Raises:
            LoopDiskError: it cannot be made or mounted.
        """
        self.image = image
        self.mount_point = mount_point
        self._ballast = mount_point / "ballast"
        with image.open("xb") as file:
            file.truncate(size_mb << 20)
        mount_point.mkdir(parents=True, exist_ok=True)
        _run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,nodiscard", str(image))
        # A run that ends without its cleanup must leave nothing mounted.
        atexit.register(self.remove)
        try:
            self.mount()
        except LoopDiskError:
            self.remove()
            raise

    @property
    def mounted(self) -> bool:
        """Whether it is mounted."""
        return os.path.ismount(self.mount_point)

    def mount(self) -> None:
        """Mount it; what the journal holds is replayed.

        Raises:
            LoopDiskError: it cannot be mounted.
        """
        _run("mount", "-o", "loop,noatime", str(self.image), str(self.mount_point))

    def unmount(self) -> None:
        """Unmount it, waiting for the last process that uses it to be gone.

        Raises:
            LoopDiskError: something still uses it after half a minute.
        """
        deadline = time.monotonic() + _UNMOUNT_SECONDS
        while self.mounted:
            try:
                _run("umount", str(self.mount_point))
            except LoopDiskError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def fail(self) -> None:
        """Let it die: from now on it neither reads from its medium nor writes, until it is mounted again.

        Raises:
            OSError: the file system does not know the call.
        """
        descriptor = os.open(self.mount_point, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, FS_IOC_SHUTDOWN, struct.pack("I", _WITHOUT_FLUSHING_THE_JOURNAL))
        finally:
            os.close(descriptor)

    def remount(self) -> None:
        """Have the power back: unmount and mount; nothing may use it."""
        self.unmount()
        self.mount()

    def fill(self) -> None:
        """Take all the room that is left, while others may be writing."""
        piece = _LARGEST_PIECE_BYTES
        with self._ballast.open("ab") as file:
            size = file.tell()
            while piece >= _BLOCK_BYTES:
                try:
                    os.posix_fallocate(file.fileno(), size, piece)
                    size += piece
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    piece //= 2

    def make_room(self) -> None:
        """Give back what `fill` took."""
        self._ballast.unlink(missing_ok=True)

    def remove(self) -> None:
        """Unmount it and delete the image; nothing may use it. Harmless when done before."""
        atexit.unregister(self.remove)
        try:
            self.unmount()
        except LoopDiskError:
            # Whoever uses it keeps it; detached, it is gone when they are.
            with contextlib.suppress(LoopDiskError):
                _run("umount", "--lazy", str(self.mount_point))
        self.image.unlink(missing_ok=True)


def why_unavailable(directory: Path) -> str | None:
    """Return why this machine has no such disks; None when it has. Tries one in the directory."""
    if os.geteuid() != 0:
        return "mounting an image file needs root"
    for program in ("mkfs.ext4", "mount", "umount"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if not Path("/dev/loop-control").exists():
        return "this machine has no loop devices"
    try:
        disk = LoopDisk(directory / "probe.img", directory / "probe", size_mb=16)
    except (LoopDiskError, OSError) as error:
        return f"a loop device cannot be used: {error}"
    try:
        disk.fail()
    except OSError as error:
        return f"the file system knows no shutdown: {error}"
    finally:
        disk.remove()
    return None


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise LoopDiskError(f"{' '.join(command)} failed: {done.stderr.strip() or done.stdout.strip()}")
