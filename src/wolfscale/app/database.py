"""The MariaDB server that the configuration asks for, and how to reach a running node's."""

from wolfscale.certificates import ServerCertificate
from wolfscale.config import Config, DatabaseMode
from wolfscale.config import Durability as ConfiguredDurability
from wolfscale.replication.external import ExternalServer, shell_commands, systemd_commands
from wolfscale.replication.managed import ManagedServer
from wolfscale.replication.server import Account, Server
from wolfscale.replication.settings import Durability, ServerOptions

_DURABILITY = {
    ConfiguredDurability.WAL: Durability.WAL,
    ConfiguredDurability.FULL: Durability.FULL,
}
CONNECTION_FILE = "database-connection"
"""In the data directory: the socket's path, for tools that run beside the node."""
EXTERNAL_SOCKET = "/run/mysqld/mysqld.sock"


def build_server(config: Config, account: Account, secret: bytes) -> Server | None:
    """Return the server beside this node; None on a witness.

    Args:
        config: the node's configuration.
        account: the node's account on it.
        secret: the cluster's secret, from which a managed server gets a certificate.

    Raises:
        ServerUnsupported: MariaDB is not installed, or cannot be run as it must.
    """
    database = config.database
    match config.database_mode:
        case DatabaseMode.NONE:
            return None
        case DatabaseMode.MANAGED:
            return ManagedServer(
                config.data_dir,
                account=account,
                options=ServerOptions(
                    buffer_pool_mb=database.buffer_pool_mb,
                    durability=_DURABILITY[database.durability],
                    port=database.port,
                    extra=database.options,
                ),
                program=database.mariadbd,
                tls_pem=_certificate(config, secret),
            )
        case DatabaseMode.EXTERNAL:
            if database.start_command and database.stop_command and database.kill_command:
                commands = shell_commands(
                    database.start_command, database.stop_command, database.kill_command
                )
            else:
                commands = systemd_commands(config.systemd_unit or "mariadb")
            return ExternalServer(
                data_directory=config.database_data_dir,
                socket_path=str(database.socket or EXTERNAL_SOCKET),
                account=account,
                commands=commands,
                durability=_DURABILITY[database.durability],
                program=database.mariadbd,
            )


def _certificate(config: Config, secret: bytes) -> bytes:
    """For the proxies' connections to it, and for whoever connects to its port on this machine."""
    names = ("localhost", "127.0.0.1", "::1", config.node.id)
    return ServerCertificate.from_secret(secret, config.node.id, names).chain_pem
