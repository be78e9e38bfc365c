"""SHOW STATUS LIKE 'Ssl_cipher', 'Ssl_version' or 'Compression': how applications look at their connection.

MariaDB would tell of the proxy's own connection to it. Only these questions are answered by the proxy, and
only to clients that have what they ask for: what else names them (information_schema, other patterns) is
MariaDB's.
"""

import re

import trio

from wolfscale.proxy.client_compression import CompressedStream
from wolfscale.sockets import NonblockingStream, TlsSocket

_LONGEST_BYTES = 64
_QUESTION = re.compile(
    rb"\s*SHOW\s+(?:(?:SESSION|LOCAL)\s+)?STATUS\s+LIKE\s+"
    rb"(?P<quote>['\"])(?P<name>Ssl_version%?|Ssl_cipher|Compression)(?P=quote)\s*;?\s*",
    re.IGNORECASE,
)


def stream_status(stream: trio.abc.Stream) -> dict[str, str]:
    """What is to be told of a client's stream; nothing where it has neither TLS nor compression."""
    status = {}
    if isinstance(stream, CompressedStream):
        status["Compression"] = "ON"
        stream = stream.inner
    if isinstance(stream, NonblockingStream) and isinstance(stream.socket, TlsSocket):
        status["Ssl_cipher"] = stream.socket.cipher()
        status["Ssl_version"] = stream.socket.version() or ""
    return status


def asked_stream_status(sql: bytes) -> str | None:
    """The variable that a text asks for; None when it asks something else.

    Double quotes are taken for a literal's, whatever the session's `sql_mode`.
    """
    found = _QUESTION.fullmatch(sql) if len(sql) <= _LONGEST_BYTES else None
    return None if found is None else found["name"].rstrip(b"%").capitalize().decode("ascii")
