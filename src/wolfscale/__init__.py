"""WolfScale: MariaDB on several machines, kept identical through a Raft-replicated binary log."""

__version__ = "0.1.0"
