"""MariaDB's binary log: events, GTIDs, event groups, and how they travel from a primary to a replica.

Knows the bytes from both ends and does no input or output but `files.scan_file`; what a group means to a
cluster is decided elsewhere. Rows are opaque: nothing here reads anybody's data.

| module | what it has |
|---|---|
| `errors` | `BinlogError`, `ChecksumMismatch` |
| `gtid` | `Gtid`, `parse_gtid`, `parse_gtid_position` |
| `header` | `EventType`, `EventHeader`, `parse_header`, `build_event`, checksums |
| `events` | the few events whose body matters: Rotate, Gtid, Gtid_list, Query, Heartbeat |
| `format` | `BinlogFormat`: the Format Description event |
| `groups` | `GroupAssembler`: events in, slices of event groups out |
| `dump` | `DumpDecoder`, `DumpEncoder`: events in the packets of COM_BINLOG_DUMP |
| `files` | `scan_file`: the groups of a binlog file, torn at its end or not |
"""
