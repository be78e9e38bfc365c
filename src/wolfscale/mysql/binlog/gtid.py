"""Global transaction ids, `domain-server_id-sequence`, as MariaDB writes them."""

import re
from dataclasses import dataclass

from wolfscale.mysql.binlog.errors import BinlogError

_GTID = re.compile(r"(\d{1,10})-(\d{1,10})-(\d{1,20})", re.ASCII)
_UINT32_MAX = 0xFFFFFFFF
_UINT64_MAX = 0xFFFFFFFFFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Gtid:
    """One transaction's id.

    Attributes:
        domain: replication domain, 32 bits.
        server_id: the server that wrote it first, 32 bits.
        sequence: its number in the domain, 64 bits.
    """

    domain: int
    server_id: int
    sequence: int

    def __str__(self) -> str:
        return f"{self.domain}-{self.server_id}-{self.sequence}"


def parse_gtid(text: str) -> Gtid:
    """Read one GTID.

    Raises:
        BinlogError: it is none, or a number is too large.
    """
    match = _GTID.fullmatch(text.strip())
    if match is None:
        raise BinlogError(f"{text!r} is no GTID: three numbers joined by hyphens are, such as 0-7-1234")
    domain, server_id, sequence = (int(part) for part in match.groups())
    if domain > _UINT32_MAX or server_id > _UINT32_MAX or sequence > _UINT64_MAX:
        raise BinlogError(f"{text!r} is no GTID: a number in it is too large")
    return Gtid(domain=domain, server_id=server_id, sequence=sequence)


def parse_gtid_position(text: str) -> tuple[Gtid, ...]:
    """Read a position: GTIDs of different domains joined by commas, or nothing.

    Raises:
        BinlogError: a part is no GTID.
    """
    return tuple(parse_gtid(part) for part in text.split(",") if part.strip())
