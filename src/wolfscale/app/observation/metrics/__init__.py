"""From what the parts count to Prometheus: one module a part, one table of all metrics.

The parts know nothing of Prometheus. `registry.build_registry` makes a registry of its own whose collector
reads the live objects when it is scraped; nothing global is touched.
"""
