"""The `wolfscale` command: one module a command, and what they share.

The package knows arguments, exit codes and how things are shown. It knows nothing of how a node works:
`start` and `proxy` hand over to `wolfscale.app`, `status` asks a node's HTTP side, `demo` drives
`wolfscale.demo`.

Public API: `main`.
"""

from wolfscale.cli.commands import main

__all__ = ["main"]
