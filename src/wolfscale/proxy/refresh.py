"""COM_REFRESH: what FLUSH and RESET do, asked for by the bits of one byte. Pure.

Source: MySQL's client/server protocol, COM_REFRESH; the bits are mysql_com.h's REFRESH_*.
"""

GRANT = 0x01
LOG = 0x02
TABLES = 0x04
HOSTS = 0x08
STATUS = 0x10
THREADS = 0x20
SLAVE = 0x40
MASTER = 0x80


def refresh_text(payload: bytes) -> bytes | None:
    """The statement to be judged and run instead of a COM_REFRESH; None: the command concerns one server.

    RESET is refused like its text. FLUSH PRIVILEGES, as a text, is logged and reaches all servers.
    """
    bits = payload[1] if len(payload) > 1 else 0
    if bits & MASTER:
        return b"RESET MASTER"
    if bits & SLAVE:
        return b"RESET SLAVE"
    return b"FLUSH PRIVILEGES" if bits == GRANT else None
