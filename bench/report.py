"""docs/performance.md: one section a measurement; a run replaces its own sections and leaves the others."""

import datetime
import os
import re
from pathlib import Path

REPORT = Path(__file__).resolve().parent.parent / "docs" / "performance.md"


def made_by(arguments: str, rounds: int, seconds: int | None = None) -> list[str]:
    """The lines that say where a section's numbers come from.

    Args:
        arguments: of `python -m bench`.
        rounds: how often each was measured; the numbers are medians.
        seconds: of each measurement.
    """
    each = f" of {seconds} s each" if seconds else ""
    times = "one round" if rounds == 1 else f"medians of {rounds} rounds"
    today = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    return [
        f"Made by `python -m bench {arguments}` on {today}: {times}{each},",
        f"all systems alternating in one run, {os.cpu_count()} cores for all.",
        "",
    ]


def with_section(text: str, section: str) -> str:
    """The report with one section replaced, or added at its end.

    Args:
        text: the report.
        section: begins with its heading, `## ...`.
    """
    heading = section.splitlines()[0]
    section = section.rstrip("\n") + "\n"
    found = re.search(rf"^{re.escape(heading)}\n.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        return f"{text.rstrip()}\n\n{section}"
    rest = text[found.end() :]
    return text[: found.start()] + section + ("\n" if rest else "") + rest


def write_sections(*sections: str) -> None:
    """Put sections into docs/performance.md."""
    text = REPORT.read_text(encoding="utf-8")
    for section in sections:
        text = with_section(text, section)
    REPORT.write_text(text, encoding="utf-8")
