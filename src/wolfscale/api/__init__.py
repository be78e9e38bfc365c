"""The HTTP side of a node: its state, its data and its pages, who may have them, and the client.

The package knows what is shown and how it travels. It knows nothing of Raft, MariaDB or the proxy: the
composition root gives it `Services`. The modules are imported one by one, because the server's
costs some 40 MiB that neither the client nor the models need.

A request comes through `connection` (hypercorn, bounded), is counted in `requests`, let in or refused by
`gate` (which asks `access`, over the table in `scopes`), and answered by one of `routes`.

Public API: `wolfscale.api.services` (`Services` and its parts), `wolfscale.api.app` (`build_app`),
`wolfscale.api.server` (`bind_http`, `serve_http`, `ServerOptions`), `wolfscale.api.access` (`AccessPolicy`),
`wolfscale.api.tokens` (made, stored, read),
`wolfscale.api.models` (what is shown), `wolfscale.api.health` (`health`, `cluster_summary`),
`wolfscale.api.client` (`ask`, `fetch_status`, `fetch_cluster`), `wolfscale.api.errors`.
"""
