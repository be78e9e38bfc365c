"""The HTTP side of a node: `/status`, `/health`, `/cluster` in JSON, and the client that reads them.

The package knows what is shown and how it travels. It knows nothing of Raft, MariaDB or the proxy: the
composition root gives it `Services`. The modules are imported one by one, because the server's
costs some 40 MiB that neither the client nor the models need.

Public API: `wolfscale.api.services` (`Services` and its parts), `wolfscale.api.app` (`build_app`),
`wolfscale.api.server` (`bind_http`, `serve_http`),
`wolfscale.api.models` (what is shown), `wolfscale.api.health` (`health`, `cluster_summary`),
`wolfscale.api.client` (`ask`, `fetch_status`, `fetch_cluster`), `wolfscale.api.errors`.
"""
