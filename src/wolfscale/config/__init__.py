"""wolfscale.toml: its keys, their defaults, what they must be to each other, and where they went wrong.

The package knows every key and every rule between keys, expands `${NAME}`, and names the line and the
likely intended key of whatever it refuses. It knows nothing of how the values are used; it opens no
socket but to learn an address of this machine, and reads no file but the configuration and the secrets
it names.

Public API: `load`, `parse`, `find_config`, `Config` and its sections, `Durability`, `DatabaseMode`,
`ConfigError`, `InvalidConfigError`, `SecretMissingError`, `Address`, `parse_address`, `advertised_address`,
`outward_addresses`, `find_secret`, `make_secret`, `secret_path`, `commented_document`, `toml_value`,
`configuration_reference`.
"""

from wolfscale.config.addresses import Address, advertised_address, outward_addresses, parse_address
from wolfscale.config.document import commented_document, toml_value
from wolfscale.config.errors import ConfigError, InvalidConfigError, SecretMissingError
from wolfscale.config.models import (
    ApiConfig,
    ClusterConfig,
    Config,
    DatabaseConfig,
    DatabaseMode,
    Durability,
    NodeConfig,
    ProxyConfig,
    WalConfig,
)
from wolfscale.config.reading import find_config, load, parse
from wolfscale.config.reference import configuration_reference
from wolfscale.config.secret import find_secret, make_secret, secret_path

__all__ = [
    "Address",
    "ApiConfig",
    "ClusterConfig",
    "Config",
    "ConfigError",
    "DatabaseConfig",
    "DatabaseMode",
    "Durability",
    "InvalidConfigError",
    "NodeConfig",
    "ProxyConfig",
    "SecretMissingError",
    "WalConfig",
    "advertised_address",
    "commented_document",
    "configuration_reference",
    "find_config",
    "find_secret",
    "load",
    "make_secret",
    "outward_addresses",
    "parse",
    "parse_address",
    "secret_path",
    "toml_value",
]
