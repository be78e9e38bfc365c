"""What a server's `time_zone` comes to, so that members can be compared (pure).

Its own name says little: SYSTEM is the machine's, whose name MariaDB takes from the season in which it was
started (CET, CEST), and the same zone has many names. So it is asked for its distance to UTC in two months.
"""

_JANUARY, _JULY = "2025-01-15 12:00:00", "2025-07-15 12:00:00"

QUESTION = "SELECT " + ", ".join(
    f"TIMEDIFF(CONVERT_TZ('{moment}', '+00:00', @@GLOBAL.time_zone), '{moment}')"
    for moment in (_JANUARY, _JULY)
)
"""One row: the difference to UTC in January and in July, as `02:00:00`."""


def time_zone(january: str | None, july: str | None) -> str:
    """The zone in words, as `UTC+02:00`; empty when the server does not know it."""
    if january is None or july is None:
        return ""
    if january == july:
        return _distance(january)
    return f"{_distance(january)}, in July {_distance(july)}"


def _distance(difference: str) -> str:
    sign = "-" if difference.startswith("-") else "+"
    return f"UTC{sign}{difference.lstrip('-')[:5]}"
