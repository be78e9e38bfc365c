"""Which nodes a cluster on one machine has: names, directories, ports, and the configuration of each."""

import json
import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wolfscale.demo.accounts import DATABASE

LOOPBACK = "127.0.0.1"
MYSQL_PORT = 3307
HTTP_PORT = 8080
PEER_PORT = 7400

Settings = Mapping[str, Mapping[str, object]]
"""Keys of wolfscale.toml by section, over what the plan would write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlan:
    """One node: where it lives and where it listens (always on loopback).

    Attributes:
        number: from 1.
        directory: holds the configuration, the log file and the data directory.
        settings: this node's own keys over everything else.
    """

    number: int
    directory: Path
    mysql_port: int
    http_port: int
    peer_port: int
    settings: Settings = field(default_factory=dict)

    @property
    def name(self) -> str:
        """`node-1` and so on."""
        return f"node-{self.number}"

    @property
    def data_dir(self) -> Path:
        """The node's data directory."""
        return self.directory / "data"

    @property
    def config_path(self) -> Path:
        """The node's wolfscale.toml."""
        return self.directory / "wolfscale.toml"

    @property
    def log_path(self) -> Path:
        """Where the node's output goes."""
        return self.directory / "node.log"

    @property
    def endpoint(self) -> str:
        """The URL of its HTTP side."""
        return f"http://{LOOPBACK}:{self.http_port}"

    @property
    def peer_address(self) -> str:
        """Where the other nodes reach it."""
        return f"{LOOPBACK}:{self.peer_port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPlan:
    """A cluster's nodes and what they share.

    Attributes:
        directory: a directory of its own; each node has one below it.
        nodes: in order of their numbers.
        settings: keys that all nodes have over the defaults.
    """

    directory: Path
    nodes: tuple[NodePlan, ...]
    settings: Settings = field(default_factory=dict)

    @classmethod
    def with_fixed_ports(
        cls,
        directory: Path,
        nodes: int = 3,
        *,
        mysql_port: int = MYSQL_PORT,
        http_port: int = HTTP_PORT,
        peer_port: int = PEER_PORT,
        settings: Settings | None = None,
    ) -> "ClusterPlan":
        """A plan whose ports are known beforehand: node n has each base plus n - 1."""
        planned = tuple(
            NodePlan(
                number=offset + 1,
                directory=directory / f"node-{offset + 1}",
                mysql_port=mysql_port + offset,
                http_port=http_port + offset,
                peer_port=peer_port + offset,
            )
            for offset in range(nodes)
        )
        return cls(directory=directory, nodes=planned, settings=settings or {})

    @classmethod
    def with_free_ports(
        cls,
        directory: Path,
        nodes: int = 3,
        *,
        settings: Settings | None = None,
        node_settings: Mapping[int, Settings] | None = None,
    ) -> "ClusterPlan":
        """A plan on ports that nothing uses now; `node_settings` holds keys of single nodes by number."""
        ports = free_ports(3 * nodes)
        planned = tuple(
            NodePlan(
                number=number,
                directory=directory / f"node-{number}",
                mysql_port=ports.pop(),
                http_port=ports.pop(),
                peer_port=ports.pop(),
                settings=(node_settings or {}).get(number, {}),
            )
            for number in range(1, nodes + 1)
        )
        return cls(directory=directory, nodes=planned, settings=settings or {})

    @property
    def secret_path(self) -> Path:
        """The file with the secret that all nodes share."""
        return self.directory / "cluster-secret"

    def write(self) -> None:
        """Write the shared secret (kept when it is there) and each node's configuration."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if not self.secret_path.exists():
            descriptor = os.open(self.secret_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(32) + "\n")
        for node in self.nodes:
            self.write_node(node)

    def write_node(self, node: NodePlan) -> None:
        """Write one node's configuration."""
        node.directory.mkdir(parents=True, exist_ok=True)
        node.config_path.write_text(self.configuration(node), encoding="utf-8")

    def configuration(self, node: NodePlan) -> str:
        """One node's wolfscale.toml."""
        sections: dict[str, dict[str, object]] = {
            "node": {"id": node.name, "bind_address": node.peer_address, "data_dir": str(node.data_dir)},
            "database": {"database": DATABASE},
            "cluster": {
                "peers": [other.peer_address for other in self.nodes if other.number != node.number],
                "secret_file": str(self.secret_path),
            },
            "proxy": {"bind_address": f"{LOOPBACK}:{node.mysql_port}"},
            "api": {"bind_address": f"{LOOPBACK}:{node.http_port}"},
        }
        for settings in (self.settings, node.settings):
            for section, keys in settings.items():
                sections.setdefault(section, {}).update(keys)
        if sections["node"].get("witness"):
            del sections["database"]  # it has none, and a configuration that speaks of one is refused
        return _toml(sections)


def _toml(sections: Mapping[str, Mapping[str, object]]) -> str:
    """Sections as TOML; a JSON text, number, truth value or list of texts means the same there."""
    lines: list[str] = []
    for section, keys in sections.items():
        if keys:
            lines.append(f"[{section}]")
            lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in keys.items()]
            lines.append("")
    return "\n".join(lines)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nothing listens on now, all different."""
    probes = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def taken_ports(plan: ClusterPlan) -> Sequence[int]:
    """Those of the plan's ports that something else listens on."""
    taken = []
    for node in plan.nodes:
        for port in (node.mysql_port, node.http_port, node.peer_port):
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((LOOPBACK, port))
                except OSError:
                    taken.append(port)
    return taken
