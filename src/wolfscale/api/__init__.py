"""The HTTP side of a node: its state, its data and its pages, who may have them, and the client.

The package knows what is shown and how it travels. It knows nothing of Raft, MariaDB or the proxy: the
composition root gives it `Services`. The modules are imported one by one, because the server's
costs some 40 MiB that neither the client nor the models need.

A request comes through `connection` (hypercorn, bounded), is counted in `requests`, let in or refused by
`gate` (which asks `access`, over the table in `scopes`), and answered by one of `routes`.

Data goes through `gateway` (what the node gives: a session on the leader's MariaDB, one on its own):

| module | what it has |
|---|---|
| `json_body` | bodies read strictly, no digit lost |
| `values`, `tables`, `write_statements` | JSON to values and back; a table; one statement (pure) |
| `writing`, `defining` | rows and definitions on the leader, again on the next one where that is safe |
| `idempotency` | `Idempotency-Key`: the row that makes a retry safe |
| `querying` | reads, on the nearest server that has seen enough |
| `sql_problems` | a server's errors as answers (pure) |
| `write_models`, `query_models` | what is sent and answered |

Public API: `wolfscale.api.services` (`Services` and its parts), `wolfscale.api.app` (`build_app`),
`wolfscale.api.server` (`bind_http`, `serve_http`, `ServerOptions`), `wolfscale.api.access` (`AccessPolicy`),
`wolfscale.api.tokens` (made, stored, read),
`wolfscale.api.models` (what is shown), `wolfscale.api.health` (`health`, `cluster_summary`),
`wolfscale.api.client` (`ask`, `fetch_status`, `fetch_cluster`), `wolfscale.api.errors`.
"""
