"""The page in a real browser, over data that the test decides on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from dashboard_values import NOW, WORRIES, data, healthy_members, healthy_node
from page_inspection import foreign_requests
from page_node import FakeNode

from wolfscale.api.dashboard_models import Event, Finding, Severity
from wolfscale.api.models import CloneStatus, DatabaseState, DatabaseStatus, RaftRole
from wolfscale.testing.chromium import Chromium, Page

pytestmark = pytest.mark.browser

LIVE = "document.body?.dataset.state === 'live'"


@asynccontextmanager
async def shown(chromium: Chromium, node: FakeNode) -> AsyncIterator[Page]:
    """The node's page, live; nothing must go wrong in it, and nothing be asked of others."""
    async with node.served(), chromium.open_page() as page:
        await page.goto(node.url)
        await page.wait_until(LIVE)
        yield page
        assert page.complaints == []
        assert foreign_requests(page, node.url) == []


async def test_healthy_cluster_shows_first_that_it_takes_writes(chromium: Chromium, node: FakeNode) -> None:
    async with shown(chromium, node) as page:
        assert await page.text("#verdict-headline") == "The cluster takes writes, node-1 leads"
        facts = (await page.text("#verdict-facts")).replace("\n\n", "\n").splitlines()
        assert facts[:8] == [
            "Leader",
            "node-1",
            "Term",
            "3",
            "Voters alive",
            "3 of 3",
            "May still fail",
            "1 voter",
        ]
        assert await page.evaluate("document.title") == "node-1: takes writes – WolfScale"
        rows = [row.split("\t") for row in await page.texts("#members tbody tr")]
        assert [[cell.strip() for cell in row] for row in rows] == [
            ["node-1 (this node)", "leader, takes writes", "primary", "2", "50", "10", "127.0.0.1:7400"],
            ["node-2", "follower", "replica", "2", "50", "10", "127.0.0.1:7401"],
            ["node-3", "follower", "replica", "2", "50", "10", "127.0.0.1:7402"],
        ]
        assert (await page.text("#findings")).split() == ["Good", "Nothing", "is", "wrong."]


async def test_links_lead_to_the_other_members_pages(chromium: Chromium, node: FakeNode) -> None:
    async with shown(chromium, node) as page:
        links = await page.evaluate(
            "Array.from(document.querySelectorAll('nav a'), (a) => [a.innerText, a.href])"
        )
        assert links == [["node-1", ""], ["node-2", "http://127.0.0.1:2/"], ["node-3", "http://127.0.0.1:3/"]]


async def test_findings_come_with_their_next_step(chromium: Chromium, node: FakeNode) -> None:
    node.data = data(findings=WORRIES)
    async with shown(chromium, node) as page:
        assert [text.split("\n\n") for text in await page.texts("#findings li")] == [
            [word, finding.what, finding.next_step]
            for word, finding in zip(("Error", "Warning", "Note"), WORRIES, strict=True)
        ]


@pytest.mark.parametrize(
    ("change", "headline"),
    [
        ({"leader": None}, "No writes: the voters are electing a leader"),
        ({"members": (*healthy_members()[:1],)}, "The cluster takes writes, node-1 leads"),
        (
            {"members": tuple(m.model_copy(update={"alive": m.number == 1}) for m in healthy_members())},
            "The cluster takes writes, node-1 leads",
        ),
        (
            {
                "members": tuple(
                    m.model_copy(update={"alive": m.number == 2, "writable": False})
                    for m in healthy_members()
                )
            },
            "No writes: 1 of 3 voters alive, 2 needed",
        ),
        (
            {
                "members": tuple(
                    m.model_copy(
                        update={"writable": False, "database": DatabaseStatus(state=DatabaseState.PROMOTING)}
                    )
                    for m in healthy_members()
                )
            },
            "No writes yet: node-1 leads, its MariaDB is not ready (promoting)",
        ),
    ],
)
async def test_verdict_says_why_there_are_no_writes(
    chromium: Chromium, node: FakeNode, change: dict[str, object], headline: str
) -> None:
    node.data = data(healthy_node().model_copy(update=change))
    async with shown(chromium, node) as page:
        assert await page.text("#verdict-headline") == headline


async def test_members_show_silence_clones_learners_and_witnesses(chromium: Chromium, node: FakeNode) -> None:
    one, two, three = healthy_members()
    clone = CloneStatus(donor="node-1", phase="receiving", received_bytes=3 << 29)
    members = (
        one,
        two.model_copy(update={"alive": False}),
        three.model_copy(
            update={
                "suffrage": "learner",
                "database": DatabaseStatus(
                    state=DatabaseState.CLONING, reason="its disk is new", clone=clone
                ),
            }
        ),
        three.model_copy(
            update={
                "id": "w",
                "number": 4,
                "name": "node-4",
                "suffrage": "witness",
                "database": DatabaseStatus(state=DatabaseState.NONE),
            }
        ),
    )
    node.data = data(healthy_node().model_copy(update={"members": members, "role": RaftRole.FOLLOWER}))
    async with shown(chromium, node) as page:
        rows = [[cell.strip() for cell in row.split("\t")] for row in await page.texts("#members tbody tr")]
        assert rows[1][1:4] == ["not heard from (voter)", "replica, when last heard", "–"]
        assert rows[2][1:3] == ["learner", "cloning: receiving 1.5 GiB from node-1"]
        assert rows[3][1:5] == ["witness", "none", "–", "–"]
        # Who holds what of the log is known by the leader only.
        assert {len(row) for row in rows} == {6}


async def test_page_follows_the_data_without_a_reload(chromium: Chromium, node: FakeNode) -> None:
    async with shown(chromium, node) as page:
        await page.evaluate("window.same = true")
        event = Event(time=NOW, kind="demotion", text="MariaDB is a replica again", fields={"took_ms": "12"})
        node.data = data(
            healthy_node().model_copy(update={"leader": None, "term": 4}), events=(event, *node.data.events)
        )
        await page.wait_until("document.querySelector('#verdict-headline').innerText.startsWith('No writes')")
        assert "MariaDB is a replica again" in await page.text("#events li")
        assert await page.evaluate("window.same")


async def test_page_of_an_updated_node_is_loaded_anew(chromium: Chromium, node: FakeNode) -> None:
    async with shown(chromium, node) as page:
        await page.evaluate("window.same = true")
        old = healthy_node()
        new = old.process.model_copy(update={"version": "0.2.0"})
        node.data = data(old.model_copy(update={"process": new}))
        await page.wait_until("window.same === undefined")
        await page.wait_until("document.querySelector('#node')?.innerText.includes('0.2.0')")


async def test_long_list_of_events_is_cut_until_all_are_wanted(chromium: Chromium, node: FakeNode) -> None:
    events = [Event(time=NOW - n, kind="member", text=f"number {n // 2}", fields={}) for n in range(40)]
    events[21] = events[20]
    node.data = data(events=events)
    async with shown(chromium, node) as page:
        assert len(await page.texts("#events li")) == 12
        await page.evaluate("document.querySelector('#events-more').click()")
        assert len(await page.texts("#events li")) == 40
        assert await page.text("#events-more") == "Show only the newest"


async def test_statements_show_where_they_went(chromium: Chromium, node: FakeNode) -> None:
    async with shown(chromium, node) as page:
        shares = [text.split("\n")[-1] for text in await page.texts("#statements dl div")]
        assert shares == ["750 (75 %)", "250 (25 %)", "3", "1", "0"]
        widths = await page.evaluate(
            "Array.from(document.querySelectorAll('.share span'), (part) => part.clientWidth)"
        )
        assert widths[0] == pytest.approx(3 * widths[1], rel=0.02)


async def test_texts_of_others_never_become_markup(chromium: Chromium, node: FakeNode) -> None:
    evil = "<img src=x onerror='document.title=1'><script>alert(1)</script>"
    members = tuple(
        member.model_copy(update={"name": evil, "address": evil, "api_url": "javascript:alert(1)"})
        for member in healthy_members()
    )
    node.data = data(
        healthy_node().model_copy(update={"name": evil, "members": members}),
        findings=[Finding(severity=Severity.ERROR, what=evil, next_step=evil)],
        events=[Event(time=NOW, kind=evil, text=evil, fields={evil: evil})],
    )
    async with shown(chromium, node) as page:
        assert await page.evaluate("document.querySelectorAll('img, script').length") == 2
        assert await page.evaluate("document.querySelectorAll('a[href^=javascript]').length") == 0
        assert evil in await page.text("#findings")
        assert evil in await page.text("#members")
        assert evil in await page.text("#events")


async def test_hidden_page_asks_nothing_and_goes_on_when_it_is_seen(
    chromium: Chromium, node: FakeNode
) -> None:
    async with shown(chromium, node) as page:
        await page.evaluate(
            "window.covered = true;"
            "Object.defineProperty(document, 'hidden', { get: () => window.covered });"
            "document.dispatchEvent(new Event('visibilitychange'))"
        )
        await page.wait_until("document.body?.dataset.state === 'paused'")
        # Two of the page's own seconds later it may have had one request under way, no more.
        before = node.asked
        await page.evaluate("new Promise((resolve) => setTimeout(resolve, 2500))")
        assert node.asked <= before + 1
        await page.evaluate("window.covered = false; document.dispatchEvent(new Event('visibilitychange'))")
        await page.wait_until(LIVE)
