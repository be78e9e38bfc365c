"""A cluster on one machine: its plan, its processes, its scripted tour.

The package knows how to start nodes as child processes, hurt them and compare them. It knows nothing of
what happens inside a node: it sees configuration files, HTTP, MySQL clients and process ids. It prints
nothing.

Public API: `ClusterPlan`, `NodePlan`, `DemoCluster`, `running_cluster`, `Part`, and the modules
`wolfscale.demo.conditions` (what a cluster is waited for), `wolfscale.demo.writers` (clients that remember
what was acknowledged), `wolfscale.demo.comparison` (whether all servers hold the same) and
`wolfscale.demo.tour`.
"""

from wolfscale.demo.cluster import DemoCluster, Part, running_cluster
from wolfscale.demo.plan import ClusterPlan, NodePlan

__all__ = ["ClusterPlan", "DemoCluster", "NodePlan", "Part", "running_cluster"]
