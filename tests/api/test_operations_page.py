"""docs/operations.md lists every state, role, reason, finding and event that a node can show."""

import re
from pathlib import Path

import pytest
from test_findings import ROWS, seen

import wolfscale
from wolfscale.api.dashboard_models import Event, HistorySeries, Severity
from wolfscale.api.models import DatabaseState, RaftRole
from wolfscale.app.observation.events import KINDS
from wolfscale.replication.decision import CloneReason
from wolfscale.testing.statuses import node

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
NOW = 1_000_000.0


def rows_of(title: str) -> list[list[str]]:
    """The cells of the first table under a title, without its head."""
    after = PAGE.split(f"# {title}\n", 1)[1]
    table = after[after.index("|") :].split("\n\n", 1)[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def words(title: str) -> set[str]:
    """What stands in backticks in the table's first column."""
    return {word for row in rows_of(title) for word in re.findall(r"`([^`]+)`", row[0])}


def test_states_and_roles_are_all_there() -> None:
    assert words("What MariaDB does") == {state.value for state in DatabaseState}
    assert words("Roles") == {role.value for role in RaftRole}
    assert words("Why data is cloned") == {reason.value for reason in CloneReason}


def test_kinds_of_events_are_all_there() -> None:
    assert words("Events") == {
        *KINDS.values(),
        "refusal",
        "divergence",
        "process",
        "database",
        "disk",
    }


def pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, text.split("…"))))


FINDINGS = {row[0].strip("`"): row[1] for row in rows_of("Findings")}
SHOWN = {
    *((finding.what, finding.severity) for row in ROWS for finding in seen(row[1])),
    *(
        (finding.what, finding.severity)
        for finding in seen(
            node(),
            series=HistorySeries(commit_p50_ms=(900.0,) * 60),
            events=(
                *(Event(time=NOW, kind="leader", text="leader elected") for _ in range(9)),
                Event(time=NOW, kind="refusal", text="statements refused", fields={"count": "3"}),
                Event(time=NOW, kind="divergence", text="a stored program has set what no session may"),
                Event(
                    time=NOW,
                    kind="program",
                    text="a stored program would run what no session may",
                    fields={"program": "procedure demo.p", "reason": "it sets sql_log_bin"},
                ),
            ),
        )
    ),
}


@pytest.mark.parametrize(("what", "severity"), sorted(SHOWN))
def test_finding_has_a_row_with_its_severity(what: str, severity: Severity) -> None:
    matching = [text for text in FINDINGS if pattern(text).fullmatch(what)]
    assert matching, "describe it in docs/operations.md"
    assert any(severity.value in FINDINGS[text] for text in matching)


@pytest.mark.parametrize("text", FINDINGS)
def test_row_is_about_a_finding_that_exists(text: str) -> None:
    assert any(pattern(text).fullmatch(what) for what, _ in SHOWN)


def test_links_lead_somewhere() -> None:
    docs = Path(wolfscale.__file__).parents[2] / "docs"
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        file, _, anchor = target.partition("#")
        text = (docs / file).read_text(encoding="utf-8") if file else PAGE
        assert not anchor or anchor in anchors_of(text)


def anchors_of(page: str) -> set[str]:
    """What a link into a page may name: its titles."""
    return {
        re.sub(r"[^a-z -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", page, re.M)
    }
