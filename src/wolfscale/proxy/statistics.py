"""What a worker counts."""

from dataclasses import dataclass, fields


@dataclass(slots=True)
class Statistics:
    """Counters of one worker, since its start.

    Attributes:
        sessions: open now.
        sessions_total: accepted ever.
        sessions_failed: ended by a bug of ours.
        log_ins_failed: refused by MariaDB or broken off.
        refused_connections: turned away because too many were open.
        local_statements: run on the local MariaDB.
        leader_statements: run on the leader's.
        relayed_statements: of both, those that the relay engine carried without the session's task.
        refused_statements: not let through.
        programs_cut_loose: sessions ended since a stored program has set what no session may.
        misjudged_reads: taken for plain reads, refused by the local MariaDB (1290, 1792), run on the leader.
        local_failures: reads that the local MariaDB could not serve, run on the leader.
        stale_reads: reads that gave up waiting for the local MariaDB and went to the leader.
        lagging_reads: reads that went to the leader since the local MariaDB was too far behind (max_lag).
        leader_connections: opened ever.
        transactions_lost: told 1213 because the leader changed.
        outcomes_unknown: told 08007.
        classified_from_cache: statements whose digest was known.
        classified_anew: statements that were judged.
    """

    sessions: int = 0
    sessions_total: int = 0
    sessions_failed: int = 0
    log_ins_failed: int = 0
    refused_connections: int = 0
    local_statements: int = 0
    leader_statements: int = 0
    relayed_statements: int = 0
    refused_statements: int = 0
    programs_cut_loose: int = 0
    misjudged_reads: int = 0
    local_failures: int = 0
    stale_reads: int = 0
    lagging_reads: int = 0
    leader_connections: int = 0
    transactions_lost: int = 0
    outcomes_unknown: int = 0
    classified_from_cache: int = 0
    classified_anew: int = 0

    def as_dict(self) -> dict[str, int]:
        """All counters by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}
