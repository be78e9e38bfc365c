"""What can be measured of how the page looks, and of how it is used without a mouse."""

import itertools

import pytest
from dashboard_values import NOW, WORRIES, data, healthy_members, healthy_node
from page_inspection import contrasts, overflow
from page_node import FakeNode

from wolfscale.api.dashboard_models import Event, Finding, Severity
from wolfscale.testing.chromium import Chromium

pytestmark = pytest.mark.browser

LIVE = "document.body?.dataset.state === 'live'"
SILENT = "document.body?.dataset.state === 'silent'"
LONG = "a-very-long-name-of-a-node-in-a-data-centre-far-away.example.com"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_contrast_is_enough_in_every_state(chromium: Chromium, node: FakeNode, dark: bool) -> None:
    node.data = data(findings=WORRIES)
    async with chromium.open_page(dark=dark) as page:
        async with node.served():
            await page.goto(node.url)
            await page.wait_until(LIVE)
            await page.point_at("#plots svg[role=slider]")
            live = await contrasts(page)
            assert live.too_low == []
            assert live.measured > 150
            node.token = "wanted"
            await page.wait_until("!document.querySelector('#token').hidden")
            assert (await contrasts(page)).too_low == []
            node.token = None
            node.data = data()
            await page.goto(node.url)
            await page.wait_until(LIVE)
            assert (await contrasts(page)).too_low == []
        await page.wait_until(SILENT)
        assert (await contrasts(page)).too_low == []


@pytest.mark.parametrize("width", [320, 360, 600, 768, 1024, 1920])
async def test_nothing_sticks_out_at_any_width(chromium: Chromium, node: FakeNode, width: int) -> None:
    members = tuple(
        member.model_copy(update={"name": f"{LONG}-{member.number}", "address": f"{LONG}:7400"})
        for member in healthy_members()
    )
    status = healthy_node().model_copy(update={"name": LONG, "members": members, "term": 10**9})
    node.data = data(
        status,
        findings=[Finding(severity=Severity.ERROR, what="x" * 300, next_step="y" * 300)],
        events=[Event(time=NOW - 10**6, kind="refusal", text="z" * 300, fields={"name": "v" * 300})],
    )
    async with chromium.open_page(width=width, height=740, touch=width < 700) as page:
        async with node.served():
            await page.goto(node.url)
            await page.wait_until(LIVE)
            assert await overflow(page) == []
            node.token = "wanted"
            await page.wait_until("!document.querySelector('#token').hidden")
            assert await overflow(page) == []
            node.token = None
            await page.goto(node.url)
            await page.wait_until(LIVE)
        await page.wait_until(SILENT)
        assert await overflow(page) == []


async def test_page_has_landmarks_headings_and_a_table_that_can_be_read_out(
    chromium: Chromium, node: FakeNode
) -> None:
    node.data = data(findings=WORRIES)
    async with node.served(), chromium.open_page(width=360, touch=True) as page:
        await page.goto(node.url)
        await page.wait_until(LIVE)
        tree = (await page.command("Accessibility.getFullAXTree"))["nodes"]
        roles = [item["role"]["value"] for item in tree if not item["ignored"]]
        assert {"main", "banner", "navigation", "contentinfo", "status"} <= set(roles)
        # The phone's cards are a table to whoever listens.
        assert roles.count("table") == 1
        assert roles.count("columnheader") == 7
        assert roles.count("rowheader") == 3
        assert roles.count("cell") == 18
        levels = await page.evaluate(
            "Array.from(document.querySelectorAll('h1, h2, h3')).filter((one) => one.checkVisibility())"
            ".map((one) => Number(one.tagName[1]))"
        )
        assert levels[0] == 1
        assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))
        operable = {"button", "link", "slider", "radio", "textbox"}
        named = [
            item["name"]["value"]
            for item in tree
            if item["role"]["value"] in operable and not item["ignored"]
        ]
        assert len(named) >= 6 + 3 + 2
        assert all(named)


async def test_screen_reader_is_told_of_changes_that_matter_only(chromium: Chromium, node: FakeNode) -> None:
    node.data = data(findings=WORRIES)
    async with node.served(), chromium.open_page() as page:
        await page.goto(node.url)
        await page.wait_until(LIVE)
        said = "The cluster takes writes, node-1 leads. 1 error, 1 warning."
        assert await page.text("#announcement") == said
        await page.evaluate(
            "window.said = 0;"
            "new MutationObserver((changes) => { window.said += changes.length; })"
            ".observe(document.querySelector('#announcement'), { childList: true, subtree: true })"
        )
        other = WORRIES[0].model_copy(update={"what": "node-3 has not been heard from for 43 s"})
        node.data = data(findings=(other, *WORRIES[1:]))
        await page.wait_until("document.querySelector('#findings').innerText.includes('43 s')")
        assert await page.evaluate("window.said") == 0
        node.data = data()
        await page.wait_until("window.said > 0")
        assert (
            await page.text("#announcement")
            == "The cluster takes writes, node-1 leads. 0 errors, 0 warnings."
        )


async def test_keyboard_reaches_everything_in_order(chromium: Chromium, node: FakeNode) -> None:
    async with node.served(), chromium.open_page() as page:
        await page.goto(node.url)
        await page.wait_until(LIVE)
        reached = []
        for _ in range(13):
            await page.press("Tab")
            reached.append(
                await page.evaluate(
                    "(() => { const at = document.activeElement;"
                    "return at.getAttribute('aria-label') ?? at.value ?? at.innerText; })()"
                )
            )
        assert reached[:3] == ["node-2", "node-3", "10"]
        assert reached[3] == "Commits of the cluster, a second"
        assert reached[9:] == ["/docs", "/status", "/cluster", "/metrics"]
        outlines = "getComputedStyle(document.activeElement).outlineStyle"
        assert await page.evaluate(outlines) != "none"


async def test_nothing_moves_for_those_who_want_it_still(chromium: Chromium, node: FakeNode) -> None:
    async with node.served(), chromium.open_page() as page:
        await page.goto(node.url)
        await page.wait_until(LIVE)
        moving = await page.evaluate(
            "Array.from(document.querySelectorAll('*'), (one) => getComputedStyle(one)).filter((style) => "
            "parseFloat(style.transitionDuration) > 0 || style.animationName !== 'none').length"
        )
        assert moving == 0
