"""MariaDB's client/server protocol: packets, log-in, commands, results, and an async client.

Knows the bytes, from both ends, and nothing about clusters: who asks what of which server is decided
elsewhere. Only `transport`, `server`, `client` and what builds on it do input and output (trio streams); the
rest are pure functions and small state machines that are fed bytes. The binary log's events are in
`wolfscale.mysql.binlog`.

| module | what it has |
|---|---|
| `errors` | `RemoteProtocolError`, `LocalProtocolError`, `ConnectionLost`, `ServerError` |
| `constants` | capabilities, commands, status flags, column types |
| `buffer` | `PacketBuffer`, the bounded reader; `lenenc_int`, `lenenc_bytes` |
| `framing` | `PacketReader`, `packet`, `pieces` |
| `handshake`, `auth` | greeting, response, switch of plugin; native password proofs |
| `server` | `accept_log_in`: the server's side of a log-in |
| `commands` | what clients send, parsed |
| `results`, `session_track` | OK, ERR, EOF, columns, rows, built and parsed; tracked GTID and schema |
| `tracker` | `ResponseTracker`: where a response ends and what it said |
| `transport`, `client` | `PacketStream`; `Connection`, `Result` |
| `binary`, `prepared_client` | bound values, typed rows; `execute`: one prepared statement |
| `session_reset` | `reset_session`: a used connection as good as new |
| `literals` | `literal`, `identifier`: quoting |
| `proxy_protocol` | PROXY headers v1 and v2 |
| `mimic` | typed result sets and character sets, through mysql-mimic (expensive to import) |

Importing this package imports none of them.
"""
