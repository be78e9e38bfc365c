"""The page at /docs in a real browser, before the real gate."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from dashboard_values import healthy_node
from page_inspection import foreign_requests

from wolfscale.api.access import AccessPolicy
from wolfscale.api.app import build_app
from wolfscale.api.models import NodeStatus
from wolfscale.api.scopes import Scope
from wolfscale.api.server import ServerOptions, bind_http, serve_http
from wolfscale.api.services import Services
from wolfscale.api.tokens import Token, TokenList
from wolfscale.testing.chromium import Chromium, Page

pytestmark = pytest.mark.browser

TOKEN = "read-token-0123456789"
LOCKED = ServerOptions(
    policy=AccessPolicy(tokens=TokenList([Token(scope=Scope.READ, value=TOKEN)]), token_on_loopback=True)
)


class Source:
    def status(self) -> NodeStatus:
        return healthy_node()


SERVICES = Services(status=Source())
PATHS = list(build_app(SERVICES).openapi()["paths"])


@asynccontextmanager
async def shown(chromium: Chromium, options: ServerOptions | None = None) -> AsyncIterator[tuple[Page, str]]:
    """The page, loaded; it asks nobody else for anything."""
    listener = bind_http("127.0.0.1:0")
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[None]) -> None:
            await serve_http(
                SERVICES,
                listener,
                stop=trio.sleep_forever,
                options=options or ServerOptions(),
                task_status=task_status,
            )

        await nursery.start(serve)
        async with chromium.open_page() as page:
            await page.goto(f"{url}docs")
            yield page, url
            assert foreign_requests(page, url) == []
        nursery.cancel_scope.cancel()


async def test_every_route_is_shown_with_the_right_that_it_needs(chromium: Chromium) -> None:
    async with shown(chromium) as (page, _):
        await page.wait_until("document.querySelectorAll('details').length > 0")
        paths = await page.texts("summary .path")
        assert sorted(paths) == sorted(PATHS)
        rights = dict(zip(paths, await page.texts("summary .scope"), strict=True))
        assert rights["/health"] == "open to all"
        assert rights["/status"] == "needs read"
        assert page.complaints == []


async def test_route_is_tried_and_its_answer_shown_as_it_came(chromium: Chromium) -> None:
    async with shown(chromium) as (page, url):
        await page.wait_until("document.querySelectorAll('details').length > 0")
        await page.evaluate(
            "(() => { const all = [...document.querySelectorAll('details')];"
            "const health = all.find((one) => one.querySelector('.path').textContent === '/health');"
            "health.open = true; health.querySelector('input').value = 'replica';"
            "health.querySelector('form').requestSubmit(); })()"
        )
        await page.wait_until("document.querySelector('details[open] pre').textContent.includes('healthy')")
        answer = await page.text("details[open] pre")
        assert answer.startswith(f"curl '{url}health?role=replica'\n\n503\n{{\n  \"healthy\": false,\n")


async def test_token_is_asked_for_where_one_is_needed_and_then_sent(chromium: Chromium) -> None:
    async with shown(chromium, LOCKED) as (page, url):
        await page.wait_until("document.getElementById('state').textContent.includes('token')")
        assert await page.texts("details") == []
        await page.evaluate("document.getElementById('token').focus()")
        await page.write(TOKEN)
        await page.press("Enter")
        await page.wait_until("document.querySelectorAll('details').length > 0")
        assert await page.text("#state") == ""
        asked = [request for request in page.requests if request.url == f"{url}openapi.json"]
        assert [request.headers.get("authorization") for request in asked] == [None, f"Bearer {TOKEN}"]
        assert TOKEN not in await page.evaluate("location.href + document.cookie")


async def test_page_fits_on_a_phone(chromium: Chromium) -> None:
    async with shown(chromium) as (page, _):
        await page.resize(360, 640, touch=True)
        await page.wait_until("document.querySelectorAll('details').length > 0")
        await page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
