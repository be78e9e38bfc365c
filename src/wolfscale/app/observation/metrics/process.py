"""Metrics of the node itself: its process, its disk, its HTTP side."""

import os
import resource
from pathlib import Path

from wolfscale import __version__
from wolfscale.api.models import ProcessStatus
from wolfscale.api.requests import RequestCounts
from wolfscale.app.observation.metrics.metric import Sample, Samples, counter, gauge, histogram, info
from wolfscale.replication.notice import HostNotice

NODE = info("node", "Name, identity and version of this node.")
UPTIME = gauge("process_uptime_seconds", "How long the node's process has run.")
CPU = counter("process_cpu_seconds", "Processor time that it has used.")
RSS = gauge("process_resident_bytes", "Memory that it holds.")
FDS = gauge("process_open_fds", "Files, sockets and pipes that it has open.")
FDS_LIMIT = gauge("process_max_fds", "How many it may have open.")
DISK_TOTAL = gauge("disk_total_bytes", "Size of the file system that holds the data directory.")
DISK_FREE = gauge("disk_free_bytes", "What is left of it.")
IDS = counter("ids_given", "Snowflake ids that this node has given, by SQL and HTTP.")
REQUESTS = counter("api_requests", "HTTP requests that were answered.", "method", "route", "status")
REQUEST_SECONDS = histogram("api_request_seconds", "How long an HTTP request took.")

METRICS = (
    *(NODE, UPTIME, CPU, RSS, FDS, FDS_LIMIT, DISK_TOTAL, DISK_FREE),
    *(IDS, REQUESTS, REQUEST_SECONDS),
)


def process_samples(name: str, id: str, process: ProcessStatus, host: HostNotice) -> Samples:
    """What a node shows of its process and its disk."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    yield Sample(NODE, {"name": name, "id": id, "version": __version__})
    yield Sample(UPTIME, process.uptime_seconds)
    yield Sample(CPU, used.ru_utime + used.ru_stime)
    yield Sample(RSS, process.rss_bytes)
    yield Sample(FDS, len(os.listdir(Path("/proc/self/fd"))))
    yield Sample(FDS_LIMIT, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    if host.disk_total_bytes:
        yield Sample(DISK_TOTAL, host.disk_total_bytes)
        yield Sample(DISK_FREE, host.disk_free_bytes)


def request_samples(counts: RequestCounts) -> Samples:
    """What was asked over HTTP."""
    for (method, route, status), count in sorted(counts.answers.items()):
        yield Sample(REQUESTS, count, (method, route, str(status)))
    yield Sample(REQUEST_SECONDS, counts.seconds)
