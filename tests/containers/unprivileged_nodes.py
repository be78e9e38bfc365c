"""Nodes as a container runs them, without an engine: the image's entry point, user and paths.

Each is in a mount namespace of its own in which its volume, the shared directory and this Python stand where
the image has them, and runs as the image's user without any capability. Needs root, to come down from.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pymysql

import wolfscale

IMAGE_USER: Final = 7400
PATIENCE_SECONDS: Final = 120.0
_POLL_SECONDS: Final = 0.5

_ENTER = """
set -e
mount --bind "$VOLUMES" /var/lib
mount --bind "$SHARED" /var/lib/wolfscale-cluster
mount --bind "$PYTHON" "$SCRATCH/python"
mount --bind "$PACKAGES" "$SCRATCH/packages"
mount --bind "$SOURCE" "$SCRATCH/source"
"""
_BECOME = """
cd /var/lib/wolfscale
exec setpriv --reuid="$IMAGE_USER" --regid="$IMAGE_USER" --clear-groups --no-new-privs \
  --inh-caps=-all --bounding-set=-all "$@"
"""


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Poll until something is so; fails after two minutes."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(_POLL_SECONDS)


class Machine:
    """What the nodes share: a scratch directory, and the directory of the cluster."""

    def __init__(self) -> None:
        self.scratch = Path(tempfile.mkdtemp(prefix="ws-image-", dir="/tmp"))
        self.scratch.chmod(0o711)
        self.shared = self.owned("cluster")
        for name in ("python", "packages", "source"):
            (self.scratch / name).mkdir()

    def owned(self, name: str) -> Path:
        """A new directory of the image's user, as the image has them."""
        path = self.scratch / name
        path.mkdir(mode=0o700)
        os.chown(path, IMAGE_USER, IMAGE_USER)
        return path

    def remove(self) -> None:
        """Remove everything; the nodes must have ended."""
        shutil.rmtree(self.scratch)


class UnprivilegedNode:
    """One container.

    Args:
        machine: where it lives.
        name: the node's.
        variables: what the container is given.
    """

    def __init__(self, machine: Machine, name: str, variables: Mapping[str, str]) -> None:
        self.name = name
        self._machine = machine
        self._variables = variables
        self._volumes = machine.scratch / f"{name}-volumes"
        self._volumes.mkdir()
        (self._volumes / "wolfscale-cluster").mkdir()
        self.volume = machine.owned(f"{name}-volumes/wolfscale")
        self.log = machine.scratch / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process_id(self) -> int:
        """The node's process."""
        assert self._process is not None
        return self._process.pid

    def start(self, *arguments: str) -> None:
        """Start the container; what becomes of it is for others to see."""
        command = [*self._python, "-m", "wolfscale.container", *arguments]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "unshare",
                    "--mount",
                    "--propagation",
                    "private",
                    "sh",
                    "-c",
                    _ENTER + _BECOME,
                    "sh",
                    *command,
                ],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def stop(self) -> int:
        """Stop it as an engine does, and return its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(PATIENCE_SECONDS)

    def end(self) -> None:
        """Kill it if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(PATIENCE_SECONDS)

    def execute(self, *command: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run something of Python's in the running container, as `docker exec` does."""
        return subprocess.run(
            [
                *("nsenter", f"--target={self.process_id}", "--mount", "--"),
                *("sh", "-c", _BECOME, "sh", *self._python, *command),
            ],
            env=self._environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def wipe(self) -> None:
        """Give the container a new volume."""
        shutil.rmtree(self.volume)
        self.volume = self._machine.owned(f"{self.name}-volumes/wolfscale")

    def is_healthy(self) -> bool:
        """What the image's health check says."""
        return self.execute("-I", "-c", _HEALTH.format(self._path)).returncode == 0

    def query(self, sql: str, *, user: str = "app", password: str = "secret") -> tuple[tuple[Any, ...], ...]:
        """Run a statement through the node's MySQL port."""
        port = int(self._variables["WOLFSCALE_PROXY_BIND_ADDRESS"].rpartition(":")[2])
        connection = pymysql.connect(
            host="127.0.0.1", port=port, user=user, password=password, autocommit=True, read_timeout=60
        )
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return tuple(cursor.fetchall())
        finally:
            connection.close()

    @property
    def _python(self) -> Sequence[str]:
        return [f"{self._machine.scratch}/python/bin/{Path(sys.executable).resolve().name}"]

    @property
    def _path(self) -> list[str]:
        return [f"{self._machine.scratch}/source", f"{self._machine.scratch}/packages"]

    @property
    def _environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "PYTHONPATH": ":".join(self._path),
            "PYTHONUNBUFFERED": "1",
            "PYTHONSAFEPATH": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "LD_LIBRARY_PATH": f"{self._machine.scratch}/python/lib",
            "VOLUMES": str(self._volumes),
            "SHARED": str(self._machine.shared),
            "SCRATCH": str(self._machine.scratch),
            "PYTHON": sys.base_prefix,
            "PACKAGES": str(Path(pymysql.__file__).parents[1]),
            "SOURCE": str(Path(wolfscale.__file__).parents[1]),
            "IMAGE_USER": str(IMAGE_USER),
            **self._variables,
        }


# An isolated interpreter reads no PYTHONPATH; in the image wolfscale is installed and needs none.
_HEALTH = "import sys; sys.path[:0] = {!r}; from wolfscale.container.health import main; main()"
