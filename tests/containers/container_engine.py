"""A container engine of one's own: podman and buildah over a scratch directory, on a base by debootstrap.

Nothing is pulled from a registry. Root's own images and containers are not touched. Works inside of machines
whose limits and control groups an engine cannot change: hence the settings.
"""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
BASE: Final = "docker.io/library/debian:12-slim"
IMAGE: Final = "docker.io/library/wolfscale:latest"
MIRROR: Final = "http://deb.debian.org/debian"
PROGRAMS: Final = ("podman", "buildah", "runc", "conmon", "debootstrap", "docker-compose")
_BUILD_SECONDS: Final = 1200
_COMMAND_SECONDS: Final = 300
_ENOUGH: Final = 16384

_STORAGE = """
[storage]
driver = "overlay"
graphroot = "{scratch}/storage"
runroot = "{scratch}/run"
"""
_CONTAINERS = """
[containers]
default_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
static_dir = "{scratch}/libpod"
tmp_dir = "{scratch}/tmp"
[network]
network_backend = "netavark"
network_config_dir = "{scratch}/networks"
"""


def missing_programs() -> list[str]:
    """What `make image-test` would have installed and is not there."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


class Engine:
    """Builds the image and runs containers of it."""

    def __init__(self) -> None:
        self.scratch = Path(tempfile.mkdtemp(prefix="ws-engine-", dir="/var/tmp"))
        files, processes = (_limit(name) for name in ("Max open files", "Max processes"))
        (self.scratch / "storage.conf").write_text(_STORAGE.format(scratch=self.scratch))
        (self.scratch / "containers.conf").write_text(
            _CONTAINERS.format(scratch=self.scratch, files=files, processes=processes)
        )
        self._socket = self.scratch / "podman.sock"
        self._service: subprocess.Popen[bytes] | None = None

    def build(self) -> None:
        """Make the base, and the image from the Dockerfile."""
        base = self.scratch / "base"
        self._run("debootstrap", "--variant=minbase", "bookworm", str(base), MIRROR, seconds=_BUILD_SECONDS)
        if certificates := os.environ.get("PIP_CERT"):
            # This machine reaches the registry through an authority of its own.
            shutil.copy(certificates, base / "etc" / "registry-authority.pem")
            (base / "etc" / "pip.conf").write_text("[global]\ncert = /etc/registry-authority.pem\n")
        archive = self.scratch / "base.tar"
        self._run("tar", "-C", str(base), "-cf", str(archive), ".")
        shutil.rmtree(base)
        self.podman("import", str(archive), BASE)
        archive.unlink()
        self._run(
            *("buildah", "build", "--isolation=chroot", "--network=host", "--pull=false", "--format=docker"),
            *(f"--tag={IMAGE}", "--file=docker/Dockerfile", "."),
            seconds=_BUILD_SECONDS,
        )

    def serve(self) -> None:
        """Answer the Docker API on a socket, for compose."""
        self._service = subprocess.Popen(
            ["podman", "system", "service", "--time=0", f"unix://{self._socket}"],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _COMMAND_SECONDS
        while not self._socket.exists():
            assert self._service.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def podman(self, *arguments: str, check: bool = True, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run podman."""
        return self._run("podman", *arguments, check=check, text=text)

    def inspect(self, name: str) -> dict[str, Any]:
        """What the engine knows of a container or image."""
        return dict(json.loads(self.podman("inspect", name).stdout)[0])

    def compose(self, file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run compose as the project `wst`."""
        return self._run("docker-compose", "--project-name=wst", f"--file={file}", *arguments)

    def close(self) -> None:
        """Remove everything."""
        self.podman("rm", "--all", "--force", "--time=0", check=False)
        self.podman("network", "prune", "--force", check=False)
        if self._service is not None:
            self._service.terminate()
            self._service.wait()
        self._run("umount", "--recursive", f"{self.scratch}/storage/overlay", check=False)
        shutil.rmtree(self.scratch, ignore_errors=True)

    @property
    def _environment(self) -> Mapping[str, str]:
        return {
            **os.environ,
            "CONTAINERS_STORAGE_CONF": str(self.scratch / "storage.conf"),
            "CONTAINERS_CONF": str(self.scratch / "containers.conf"),
            "DOCKER_HOST": f"unix://{self._socket}",
            # There may be no systemd here to run health checks; the tests run them themselves.
            "DISABLE_HC_SYSTEMD": "true",
        }

    def _run(
        self, *command: str, check: bool = True, text: str = "", seconds: int = _COMMAND_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        answer = subprocess.run(
            command,
            cwd=ROOT,
            env=self._environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert not check or answer.returncode == 0, (
            f"{_shown(command)}\n{answer.stdout[-3000:]}\n{answer.stderr[-3000:]}"
        )
        return answer


def _limit(name: str) -> int:
    """A limit that a container can be given: this process's children may not be able to raise theirs."""
    for line in Path("/proc/self/limits").read_text().splitlines():
        if line.startswith(name):
            value = line.removeprefix(name).split()[1]
            return _ENOUGH if value == "unlimited" else min(int(value), _ENOUGH)
    raise AssertionError(name)


def _shown(command: Sequence[str]) -> str:
    return " ".join(command)
