"""The sections of wolfscale.toml: each key with its type, bounds, default and meaning.

What keys must be to *each other* stands in `relations`. The descriptions become docs/configuration.md.
"""

import os
import re
from enum import Enum, StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from wolfscale.config.addresses import Address, advertised_address, parse_address, reachable_address

MINIMUM_SECRET_CHARACTERS = 16
_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


def _address(text: str) -> str:
    parse_address(text)
    return text


def _node_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(
            "must be 1 to 63 letters, digits, '.', '_' or '-', beginning and ending with a letter or digit"
        )
    return text


def _absolute(path: Path) -> Path:
    expanded = path.expanduser()
    if not expanded.is_absolute():
        raise ValueError(f"must be an absolute path, not {str(path)!r}")
    return expanded


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def _origin(text: str) -> str:
    if not _ORIGIN.fullmatch(text):
        raise ValueError("is no origin: write scheme and host, as in 'https://intranet.example:8443'")
    return text


def _host(text: str) -> str:
    address = f"[{text}]:1" if ":" in text else f"{text}:1"
    try:
        parse_address(address)
    except ValueError:
        raise ValueError("is neither a name nor an address") from None
    return text


OriginText = Annotated[str, AfterValidator(_origin)]
HostText = Annotated[str, AfterValidator(_host)]
AddressText = Annotated[str, AfterValidator(_address)]
AbsolutePath = Annotated[Path, Field(strict=False), AfterValidator(_absolute)]
Text = Annotated[str, AfterValidator(_not_blank)]
Port = Annotated[int, Field(ge=1, le=65535)]
# SecretStr refuses plain strings in strict mode, and a configuration file has nothing else.
Secret = Annotated[SecretStr, Field(strict=False)]


class Durability(StrEnum):
    """Whose fsync stands behind a commit on one machine."""

    WAL = "wal"
    FULL = "full"


class Consistency(StrEnum):
    """How much a read must have seen."""

    NODE = "node"
    SESSION = "session"
    EVENTUAL = "eventual"
    STRONG = "strong"
    LEADER = "leader"


class DatabaseMode(Enum):
    """Who starts and stops the MariaDB server."""

    MANAGED = "managed"
    EXTERNAL = "external"
    NONE = "none"


class Section(BaseModel):
    """What all sections share: unknown keys and wrong types are refused, values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class NodeConfig(Section):
    """This node itself."""

    id: Annotated[str, AfterValidator(_node_name)] = Field(
        description="The node's name, different on each node. Required."
    )
    bind_address: AddressText = Field(
        default="0.0.0.0:7400", description="Where this node listens for the other nodes (always encrypted)."
    )
    advertise_address: AddressText | None = Field(
        default=None,
        description="The address that the other nodes use to reach this one. Default: `bind_address`, or, "
        "where that is every address, the one this machine uses towards its first peer.",
    )
    data_dir: AbsolutePath | None = Field(
        default=None,
        description="Where the node keeps its log, its identity, the cluster's secret and the managed "
        "server's data. Default: `/var/lib/wolfscale/<id>` for root, else `~/.local/share/wolfscale/<id>`.",
    )
    witness: bool = Field(
        default=False,
        description="A witness votes and keeps the log but has no MariaDB and never leads for long.",
    )


class DatabaseConfig(Section):
    """The MariaDB server beside this node."""

    host: Text | None = Field(
        default=None,
        description="Absent: the node runs a MariaDB server of its own (managed). Given: a server on this "
        "machine under its own service (external), reached at this address.",
    )
    port: Port | None = Field(
        default=None,
        description="External: the server's port, 3306 unless given. Managed: the server also listens on "
        "this port of 127.0.0.1; unless given, on a unix socket only.",
    )
    socket: AbsolutePath | None = Field(
        default=None,
        description="External: the server's unix socket. Default: what the server itself reports.",
    )
    database: Text | None = Field(
        default=None,
        description="A database that the cluster creates at its first start when it does not exist.",
    )
    application_user: Text | None = Field(
        default=None,
        description="Managed: an account that the cluster creates while it has none but its own, with all "
        "rights on `database`, for clients from any address.",
    )
    application_password: Secret | None = Field(
        default=None, description="That account's password; this or `application_password_file` is required."
    )
    application_password_file: AbsolutePath | None = Field(
        default=None, description="A file that holds it; a newline at its end is ignored."
    )
    user: Text = Field(
        default="wolfscale",
        description="The node's own account on the server, the same on all nodes. Managed: the node creates "
        "it.",
    )
    password: Secret | None = Field(
        default=None,
        description="That account's password, the same on all nodes. External: this or `password_file` is "
        "required. Managed: derived from the cluster's secret unless given.",
    )
    password_file: AbsolutePath | None = Field(
        default=None, description="A file that holds the password; a newline at its end is ignored."
    )
    data_dir: AbsolutePath | None = Field(
        default=None, description="External: the server's data directory. Default: `/var/lib/mysql`."
    )
    systemd_unit: Text | None = Field(
        default=None,
        description="External: the unit with which the server is started, stopped and killed; nothing else "
        "may start it. Default: `mariadb`, unless the three commands are given.",
    )
    start_command: Text | None = Field(
        default=None,
        description="External, instead of `systemd_unit`: a shell command that starts the server.",
    )
    stop_command: Text | None = Field(
        default=None,
        description="External, instead of `systemd_unit`: a shell command that stops it in good order.",
    )
    kill_command: Text | None = Field(
        default=None,
        description="External, instead of `systemd_unit`: a shell command that kills it at once (SIGKILL).",
    )
    mariadbd: AbsolutePath | None = Field(
        default=None,
        description="The server's program (10.6 or later). Default: found in `PATH` and `/usr/sbin`.",
    )
    buffer_pool_mb: int = Field(
        default=128, ge=8, le=16 * 1024 * 1024, description="Managed: InnoDB's buffer pool in MiB."
    )
    options: Annotated[tuple[Text, ...], Field(strict=False)] = Field(
        default=(),
        description='Managed: further arguments for the server, as in `["--max-connections=500"]`.',
    )
    durability: Annotated[Durability, Field(strict=False)] = Field(
        default=Durability.WAL,
        description='`"wal"`: the node\'s log is the promise, MariaDB writes to disk at its leisure and '
        'is brought up to date from the log. `"full"`: MariaDB also syncs at each commit (about half '
        "the speed).",
    )

    @property
    def is_managed(self) -> bool:
        """Whether the node runs the server itself."""
        return self.host is None


class ClusterConfig(Section):
    """The other nodes, and how this one knows them."""

    peers: Annotated[tuple[AddressText, ...], Field(strict=False)] = Field(
        default=(),
        description="The other nodes' addresses, each with its port. One that answers is enough to join.",
    )
    heartbeat_interval_ms: int = Field(
        default=500, ge=10, le=60_000, description="How often the leader assures the others, in milliseconds."
    )
    election_timeout_ms: int = Field(
        default=2000,
        ge=50,
        le=600_000,
        description="How long a silent leader is waited for, in milliseconds; at least three heartbeats. A "
        "leader whose process dies is replaced at once and does not wait for this.",
    )
    secret: Secret | None = Field(
        default=None,
        description="What the nodes prove to each other before anything else is read; at least 16 "
        "characters, the same on all nodes. Default: the variable `WOLFSCALE_SECRET`, else the file "
        "`cluster-secret` in the data directory, which the bootstrapping node makes.",
    )
    secret_file: AbsolutePath | None = Field(
        default=None, description="A file that holds the secret; a newline at its end is ignored."
    )
    tls_cert: AbsolutePath | None = Field(
        default=None,
        description="A certificate (PEM) for the links between nodes. Default: the cluster makes its own.",
    )
    tls_key: AbsolutePath | None = Field(default=None, description="Its private key (PEM).")
    tls_ca: AbsolutePath | None = Field(
        default=None, description="The authority (PEM) that the other nodes' certificates must come from."
    )


class WalConfig(Section):
    """The node's log."""

    compression: bool = Field(default=True, description="Compress the log with LZ4.")
    segment_size_mb: int = Field(
        default=64, ge=1, le=4096, description="The size of one file of the log in MiB."
    )
    retention_hours: int = Field(
        default=168,
        ge=0,
        le=24 * 3650,
        description="How long the log is kept at least, in hours; longer while a living node still needs it. "
        "A node that was away for longer is given a copy of another one's data.",
    )
    fsync: bool = Field(
        default=True,
        description="Sync the log to disk before a commit is acknowledged. `false` gives up the promise that "
        "a power cut loses nothing; for throw-away tests.",
    )


class ProxyConfig(Section):
    """Where applications connect."""

    enabled: bool = Field(default=True, description="Whether this node takes MySQL clients.")
    bind_address: AddressText = Field(default="0.0.0.0:3307", description="Where it takes them.")
    workers: int = Field(default=1, ge=1, le=256, description="Processes that share the port.")
    max_connections: int = Field(
        default=2000, ge=1, le=1_000_000, description="Clients at once; further ones get error 1040."
    )
    write_wait_ms: int = Field(
        default=15_000,
        ge=0,
        le=3_600_000,
        description="How long a statement for the leader waits while there is none, in milliseconds.",
    )
    read_wait_ms: int = Field(
        default=1000,
        ge=0,
        le=3_600_000,
        description="How long a read waits for the local server to have the writes that it must see, in "
        "milliseconds, before it runs on the leader.",
    )
    consistency: Annotated[Consistency, Field(strict=False)] = Field(
        default=Consistency.NODE,
        description='How much reads must have seen. `"node"`: whatever a client of this node was told is '
        "committed, and never back in time. `\"session\"`: the session's own writes instead of all clients'. "
        '`"eventual"`: whatever the local server has. `"strong"`: all that was committed when the '
        'read began, as a majority confirms. `"leader"`: reads run on the leader. A session chooses '
        "for itself with `SET SESSION wolfscale_consistency = 'strong'`.",
    )
    max_lag: int = Field(
        default=0,
        ge=0,
        le=1_000_000_000,
        description="How many committed transactions the local server may be behind and still serve reads; "
        "beyond that they run on the leader. 0: any number.",
    )
    tls: bool = Field(
        default=True,
        description="Whether clients are offered TLS (docs/accounts.md). Without `tls_cert` with a "
        "certificate of the cluster's own; clients trust it by the file `tls-authority.pem` in the data "
        "directory.",
    )
    require_tls: bool = Field(
        default=False, description="Whether clients that do not use TLS are refused, with error 3159."
    )
    tls_cert: AbsolutePath | None = Field(
        default=None,
        description="A certificate for MySQL clients (PEM, with the chain up to its authority), read again "
        "when it changes.",
    )
    tls_key: AbsolutePath | None = Field(default=None, description="Its private key (PEM).")
    tls_names: Annotated[tuple[HostText, ...], Field(strict=False)] = Field(
        default=(),
        description="Further names and addresses for the certificate of the cluster's own, beside this "
        "machine's and the node's.",
    )


class ApiConfig(Section):
    """The HTTP side: status, health, reading and writing."""

    enabled: bool = Field(default=True, description="Whether this node serves HTTP.")
    bind_address: AddressText = Field(
        default="0.0.0.0:8080",
        description="Where. Requests from this machine need no token, all others do (docs/http.md, Access).",
    )
    require_token_on_loopback: bool = Field(
        default=False,
        description="Whether requests from this machine need a token too: for machines with users who must "
        "not reach the data.",
    )
    tokens_file: AbsolutePath | None = Field(
        default=None,
        description="A file with the tokens that are known: lines of `read`, `write` or `admin` and a token, "
        "read again after each change. Default: three tokens made from the cluster's secret, the same on all "
        "nodes, in the file `api-tokens` in the data directory.",
    )
    allowed_origins: Annotated[tuple[OriginText, ...], Field(strict=False)] = Field(
        default=(),
        description='Web pages that may ask this node from a browser, as in `["https://intranet.example"]`; '
        "pages of all other origins are refused.",
    )
    tls: bool = Field(
        default=False,
        description="Whether this node speaks https instead of http. Without `tls_cert` with a certificate "
        "of the cluster's own; clients trust it by the file `tls-authority.pem` in the data directory.",
    )
    tls_cert: AbsolutePath | None = Field(
        default=None, description="A certificate for https (PEM, with the chain up to its authority)."
    )
    tls_key: AbsolutePath | None = Field(default=None, description="Its private key (PEM).")
    tls_names: Annotated[tuple[HostText, ...], Field(strict=False)] = Field(
        default=(),
        description="Further names and addresses for the certificate of the cluster's own, beside this "
        "machine's and the node's.",
    )
    max_body_kb: int = Field(
        default=4096, ge=1, le=1 << 20, description="The longest body of a request, in KiB."
    )
    max_connections: int = Field(
        default=500,
        ge=1,
        le=100_000,
        description="Connections at once; a further one takes the place of the one idle for longest.",
    )


class Config(Section):
    """A whole wolfscale.toml, valid in itself."""

    node: NodeConfig
    database: DatabaseConfig = Field(default_factory=DatabaseConfig)
    cluster: ClusterConfig = Field(default_factory=ClusterConfig)
    wal: WalConfig = Field(default_factory=WalConfig)
    proxy: ProxyConfig = Field(default_factory=ProxyConfig)
    api: ApiConfig = Field(default_factory=ApiConfig)

    @property
    def data_dir(self) -> Path:
        """The node's directory: as configured, else by the node's id under root's or the user's place."""
        if self.node.data_dir is not None:
            return self.node.data_dir
        home = Path("/var/lib") if os.geteuid() == 0 else Path.home() / ".local" / "share"
        return home / "wolfscale" / self.node.id

    @property
    def database_mode(self) -> DatabaseMode:
        """Who starts and stops MariaDB; nobody on a witness."""
        if self.node.witness:
            return DatabaseMode.NONE
        return DatabaseMode.MANAGED if self.database.is_managed else DatabaseMode.EXTERNAL

    @property
    def database_data_dir(self) -> Path:
        """MariaDB's data directory: `mariadb` in the node's own, or the external server's."""
        if self.database.is_managed:
            return self.data_dir / "mariadb"
        return self.database.data_dir or Path("/var/lib/mysql")

    @property
    def database_address(self) -> Address | None:
        """The external server's address; None for a managed one."""
        if self.database.host is None:
            return None
        return Address(host=self.database.host, port=self.database.port or 3306)

    @property
    def systemd_unit(self) -> str | None:
        """The external server's unit; None where commands are given instead, and for a managed server."""
        if self.database.is_managed or self.database.start_command is not None:
            return None
        return self.database.systemd_unit or "mariadb"

    def advertised_address(self) -> str:
        """The `host:port` that the other nodes use; see `addresses.advertised_address`."""
        return advertised_address(self.node.bind_address, self.node.advertise_address, self.cluster.peers)

    def api_url(self) -> str:
        """Where the other machines reach this node's HTTP side; empty when they cannot."""
        if not self.api.enabled:
            return ""
        address = reachable_address(self.api.bind_address, self.advertised_address())
        return f"http{'s' if self.api.tls else ''}://{address}" if address else ""

    def mysql_address(self) -> str:
        """Where applications on other machines reach this node's proxy; empty when they cannot."""
        if not self.proxy.enabled or self.node.witness:
            return ""
        return reachable_address(self.proxy.bind_address, self.advertised_address())
