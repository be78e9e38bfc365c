"""A node that stops answering, and one that wants a token, as the page shows them."""

import pytest
from page_inspection import contrasts, foreign_requests, overflow
from page_node import FakeNode

from wolfscale.testing.chromium import Chromium, Page

pytestmark = pytest.mark.browser

LIVE = "document.body?.dataset.state === 'live'"
SILENT = "document.body?.dataset.state === 'silent'"


async def test_dead_node_is_shown_as_such_with_the_way_on_and_found_again(
    chromium: Chromium, node: FakeNode
) -> None:
    async with chromium.open_page() as page:
        async with node.served():
            await page.goto(node.url)
            await page.wait_until(LIVE)
            await page.evaluate("window.same = true")
        await page.wait_until(SILENT)
        assert await page.text("#verdict-headline") == "node-1 does not answer"
        detail = await page.text("#verdict-detail")
        assert detail.startswith("No data since ")
        assert "it cannot be reached" in detail
        links = await page.evaluate(
            "Array.from(document.querySelectorAll('#verdict-detail a'), (a) => [a.innerText, a.href])"
        )
        assert links == [["node-2", "http://127.0.0.1:2/"], ["node-3", "http://127.0.0.1:3/"]]
        assert (await page.text("#link-text")).startswith("No answer for ")
        assert await page.text("#announcement") == "node-1 does not answer."
        # What it said last stays, but nothing of it may look like the present.
        assert not await page.evaluate("document.querySelector('#verdict-facts').checkVisibility()")
        assert "grayscale" in await page.evaluate("getComputedStyle(document.querySelector('#shown')).filter")
        async with node.served():
            await page.wait_until(LIVE)
            assert await page.text("#verdict-headline") == "The cluster takes writes, node-1 leads"
            assert await page.evaluate("window.same")


async def test_node_that_fails_or_hangs_is_silent_with_the_reason(chromium: Chromium, node: FakeNode) -> None:
    async with node.served(), chromium.open_page() as page:
        await page.goto(node.url)
        await page.wait_until(LIVE)
        node.failure = 503
        await page.wait_until(
            f"{SILENT} && document.querySelector('#verdict').innerText.includes('try again')"
        )
        node.failure = None
        await page.wait_until(LIVE)
        node.silent = True
        await page.wait_until(SILENT)
        await page.wait_until("document.querySelector('#verdict').innerText.includes('it took too long')")
        node.silent = False
        await page.wait_until(LIVE)


async def test_node_that_never_answered_is_told_so(chromium: Chromium, node: FakeNode) -> None:
    node.failure = 503
    async with node.served(), chromium.open_page() as page:
        await page.goto(node.url)
        await page.wait_until(SILENT)
        assert await page.text("#verdict-headline") == "This node does not answer"
        node.failure = None
        await page.wait_until(LIVE)


async def test_page_asks_less_often_while_nobody_answers(chromium: Chromium, node: FakeNode) -> None:
    async with node.served(), chromium.open_page() as page:
        await page.goto(node.url)
        pauses = await page.evaluate(
            "import('/dashboard/assets/connection.js')"
            ".then(({ pauseAfter }) => [0, 1, 2, 3, 4, 5, 6, 5000].map(pauseAfter))"
        )
        assert pauses == [1000, 1000, 2000, 4000, 8000, 10000, 10000, 10000]


async def test_page_whose_script_did_not_arrive_says_so(chromium: Chromium, node: FakeNode) -> None:
    async with node.served(), chromium.open_page() as page:
        await page.command(
            "Network.setBlockedURLs", urlPatterns=[{"urlPattern": "*://*:*/*/scale.js", "block": True}]
        )
        await page.goto(node.url)
        visible = "document.querySelector('.unstarted').checkVisibility({ visibilityProperty: true })"
        assert not await page.evaluate(visible)
        await page.wait_until(visible)
        assert (await contrasts(page)).too_low == []
        assert await overflow(page) == []
        await page.command("Network.setBlockedURLs", urlPatterns=[])
        await page.evaluate("document.querySelector('.unstarted a').click()")
        await page.wait_until(LIVE)
        assert not await page.evaluate(visible)


async def give(page: Page, token: str) -> None:
    await page.wait_until("document.activeElement.id === 'token-value'")
    await page.write(token)
    await page.press("Enter")


async def test_token_is_asked_for_kept_in_the_tab_and_forgotten_on_request(
    chromium: Chromium, node: FakeNode
) -> None:
    node.token = "correct-horse"
    async with node.served(), chromium.open_page() as page:
        await page.goto(node.url)
        await page.wait_until("!document.querySelector('#token').hidden")
        assert "node-1" not in await page.evaluate("document.body.innerText")
        assert await page.text("#token-reason") == ""

        await give(page, "wrong-horse")
        await page.wait_until("document.querySelector('#token-reason').innerText.includes('refused')")
        assert await page.evaluate("sessionStorage.length") == 0

        await give(page, "correct-horse")
        await page.wait_until(LIVE)
        assert await page.text("#verdict-headline") == "The cluster takes writes, node-1 leads"
        assert await page.evaluate("document.querySelector('#token-value').value") == ""
        kept = await page.evaluate(
            "[Object.values(sessionStorage), localStorage.length, document.cookie, location.href]"
        )
        assert kept == [["correct-horse"], 0, "", node.url]
        sent = [request for request in page.requests if request.headers.get("authorization")]
        assert {request.url for request in sent} == {f"{node.url}dashboard/data"}
        assert sent[-1].headers["authorization"] == "Bearer correct-horse"

        await page.goto(node.url)
        await page.wait_until(LIVE)

        await page.evaluate("document.querySelector('#forget').click()")
        await page.wait_until("!document.querySelector('#token').hidden")
        assert await page.evaluate("sessionStorage.length") == 0
        assert "node-" not in await page.evaluate("document.body.innerText + document.title")
        # A link would not send the token.
        assert not await page.evaluate("document.querySelector('#open-links').checkVisibility()")
        assert foreign_requests(page, node.url) == []
        assert [text for text in page.complaints if "401" not in text] == []


async def test_token_that_is_no_longer_good_is_asked_for_again(chromium: Chromium, node: FakeNode) -> None:
    node.token = "first"
    async with node.served(), chromium.open_page() as page:
        await page.goto(node.url)
        await give(page, "first")
        await page.wait_until(LIVE)
        node.token = "second"
        await page.wait_until("!document.querySelector('#token').hidden")
        assert "does not know the token" in await page.text("#token-reason")
        await give(page, "second")
        await page.wait_until(LIVE)
