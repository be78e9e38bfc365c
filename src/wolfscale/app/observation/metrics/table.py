"""All metrics, in the order in which they are shown, and the page about them."""

from wolfscale.app.observation.metrics import database, process, proxy, raft, replication, wal
from wolfscale.app.observation.metrics.metric import Metric

SECTIONS: dict[str, tuple[Metric, ...]] = {
    "Raft and the members": raft.METRICS,
    "The log on the disk": wal.METRICS,
    "MariaDB": database.METRICS,
    "Capture and feed": replication.METRICS,
    "Proxy": proxy.METRICS,
    "Process, disk, HTTP": process.METRICS,
}
METRICS: tuple[Metric, ...] = tuple(metric for section in SECTIONS.values() for metric in section)


def metrics_table() -> str:
    """The tables of docs/metrics.md, as Markdown."""
    lines: list[str] = []
    for title, metrics in SECTIONS.items():
        lines += [f"### {title}", "", "| name | type | labels | meaning |", "|---|---|---|---|"]
        for metric in metrics:
            labels = ", ".join(f"`{label}`" for label in metric.labels)
            lines.append(f"| `{metric.shown_name}` | {metric.kind.value} | {labels} | {metric.meaning} |")
        lines.append("")
    return "\n".join(lines)
