"""SHOW STATUS LIKE 'Ssl_cipher' or 'Ssl_version': how applications ask whether they are under TLS.

MariaDB would tell of the proxy's own connection to it. Only these two questions are answered by the proxy,
and only to clients under TLS: what else names them (information_schema, other patterns) is MariaDB's.
"""

import re

import trio

from wolfscale.proxy.client_compression import CompressedStream
from wolfscale.sockets import NonblockingStream, TlsSocket

_LONGEST_BYTES = 64
_QUESTION = re.compile(
    rb"\s*SHOW\s+(?:(?:SESSION|LOCAL)\s+)?STATUS\s+LIKE\s+'(Ssl_version%?|Ssl_cipher)'\s*;?\s*", re.IGNORECASE
)


def tls_status(stream: trio.abc.Stream) -> dict[str, str]:
    """What is to be told of a client's stream; nothing where it is not under TLS."""
    if isinstance(stream, CompressedStream):
        stream = stream.inner
    if not isinstance(stream, NonblockingStream) or not isinstance(stream.socket, TlsSocket):
        return {}
    return {"Ssl_cipher": stream.socket.cipher(), "Ssl_version": stream.socket.version() or ""}


def asked_tls_status(sql: bytes) -> str | None:
    """The variable that a text asks for; None when it asks something else."""
    found = _QUESTION.fullmatch(sql) if len(sql) <= _LONGEST_BYTES else None
    return None if found is None else found[1].rstrip(b"%").capitalize().decode("ascii")
