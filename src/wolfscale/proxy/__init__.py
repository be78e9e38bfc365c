"""What clients talk to: it speaks MariaDB's protocol, reads locally, and sends the rest to the leader.

Knows the wire protocol (`wolfscale.mysql`) and what its node tells it over the control stream; knows nothing
of Raft, logs or links. One session is one client connection, one connection to the local MariaDB and, from
the first statement that is no plain read, one to the leader's.

| module | what it has |
|---|---|
| `worker` | `serve`: sockets and a control stream in, served sessions out; `StreamOpener` |
| `control`, `view` | both ends of the control stream (`ControlClient`, `serve_control`); `View`, `Views` |
| `listener` | `Listener`: accepts, bounds, fences |
| `handshake`, `change_user` | log-ins relayed to a real server, and the password proof they give |
| `session` | `Session`: one client's commands |
| `memory` | what statements leave behind in a session |
| `execution`, `relay` | one statement: waits, sending, second lock; bytes back to the client |
| `connections`, `backend` | the two connections of a session; `Backends`, what the proxy needs of its node |
| `prepared` | the binary protocol's statements |
| `lexer`, `settings`, `known` | tokens, SET lists, names that are the same everywhere (pure) |
| `refused`, `reads`, `judge`, `classify`, `statement` | from a text to what it is (pure) |
| `splitting`, `outline` | statements of a text; what it is by its first words, without a parser (pure) |
| `router`, `consistency`, `state` | where it runs, what it must have seen, what it must be told (pure) |
| `statistics`, `errors` | counters; what clients are told |

Importing this package imports none of them.
"""
