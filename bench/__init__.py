"""Benchmarks: WolfScale beside a single MariaDB and a Galera cluster, alternating in one run.

`make bench` runs everything and writes docs/performance.md. Only ratios measured in the same run mean
anything on a shared machine, so that is what the tables lead with.
"""
