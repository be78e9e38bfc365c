"""What a node remembers and shows of itself: the last minutes, notable events, metrics.

The parts count for themselves, in plain attributes; what is here reads them once a second, or when asked.

Public API: `recorder.Recorder`, `metrics.registry.build_registry`.
"""
