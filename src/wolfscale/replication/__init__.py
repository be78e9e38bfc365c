"""Between MariaDB and the replicated log: how commits get into the log, and from there to the other servers.

Knows MariaDB's protocol, processes and files, and the log only through the Protocols that it declares itself
(`log.ReplicatedLog`, `cluster.Cluster`). It knows nothing of Raft, of peers' connections, or of clients.

The way of a commit: a primary's event group is cut into fragments by `capture` and proposed to the log; once
the log has committed the last one, the capture acknowledges it, and only then does the primary commit. On
every other node `feed` plays a primary for the MariaDB beside it and serves what the log has committed.

| module | what it has |
|---|---|
| `log` | `ReplicatedLog`, `LogEntry`: what the log must offer |
| `entry` | `Fragment`: what an entry holds of an event group; `sequence_of`, the log's key |
| `capture`, `captured` | `Capture`: primary -> log, and the acknowledgements back |
| `feed` | `Feed`: log -> replica; `feed_session`, `feed_dump`, `questions`, `dump_commands` are its parts |
| `group_reader`, `start_position`, `positions` | groups read from the log, and where a GTID is in it |
| `applied` | `AppliedTracker`: how far the local replica is |
| `server`, `managed`, `external`, `processes` | a MariaDB server as a process |
| `database`, `settings`, `schema` | the MariaDB beside the node: its operations and its settings |
| `record`, `recovery`, `decision`, `tail`, `settle`, `intents` | what a crash leaves, and what is believed |
| `promotion`, `progress`, `replica` | becoming a primary, judging one, watching a replica |
| `clone`, `clone_files` | a copy of a peer's data |
| `roles`, `lifecycle`, `cluster`, `notice` | what to do next, and the task that does it |
| `errors`, `server_errors` | what can go wrong |

Importing this package imports none of them.
"""
