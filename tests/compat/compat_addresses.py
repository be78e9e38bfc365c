"""Where the clients under test connect."""

from dataclasses import dataclass
from pathlib import Path

from wolfscale.demo.accounts import ACCOUNT, DATABASE, PASSWORD
from wolfscale.demo.plan import LOOPBACK


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a client connects, and as whom."""

    port: int
    host: str = LOOPBACK
    user: str = ACCOUNT
    password: str = PASSWORD
    database: str = DATABASE

    def arguments(self) -> list[str]:
        """What the scripts take."""
        return [self.host, str(self.port), self.user, self.password, self.database]


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """The same application's two choices, and what it must trust to verify the proxy's certificate."""

    direct: Address
    proxied: Address
    authority: Path
