"""What a page of somebody else's can do to a node through a browser on the node's machine: nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from dashboard_values import healthy_node

from wolfscale.api.access import AccessPolicy
from wolfscale.api.models import NodeStatus
from wolfscale.api.server import ServerOptions, bind_http, serve_http
from wolfscale.api.services import Services
from wolfscale.testing.chromium import Chromium, Page

pytestmark = pytest.mark.browser

_PAGE = b"<!doctype html><title>Elsewhere</title><p>Look at these cats."

SEND = {
    "fetch": "fetch(NODE + 'status')",
    "fetch without CORS": "fetch(NODE + 'status', {mode: 'no-cors'})",
    "fetch that only writes": "fetch(NODE + 'write/insert', {method: 'POST', mode: 'no-cors', body: '{}'})",
    "fetch with a preflight": "fetch(NODE + 'query', {method: 'POST', body: '{}', "
    "headers: {'Content-Type': 'application/json'}})",
    "image": "new Promise((resolve, reject) => { const image = new Image(); image.onload = resolve;"
    "image.onerror = reject; image.src = NODE + 'dashboard/assets/icon.svg'; })",
    "script": "new Promise((resolve, reject) => { const script = document.createElement('script');"
    "script.onload = resolve; script.onerror = reject; script.src = NODE + 'status';"
    "document.head.append(script); })",
}
FORM = (
    "(() => { const form = document.createElement('form'); form.method = 'POST'; form.enctype = 'text/plain';"
    "form.action = NODE + 'write/insert'; document.body.append(form); form.submit(); })()"
)


class Source:
    def status(self) -> NodeStatus:
        return healthy_node()


class Node:
    """A served HTTP side and what it has answered."""

    def __init__(self) -> None:
        self.services = Services(status=Source())
        self._listener = bind_http("127.0.0.1:0")
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"

    async def statuses(self) -> set[int]:
        """Of all answers so far, of which there is at least one; it is counted a moment after it was sent."""
        with trio.fail_after(60):
            while not self.services.requests.answers:
                await trio.sleep(0.01)
        return {status for _, _, status in self.services.requests.answers}

    async def serve(
        self, options: ServerOptions, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        await serve_http(
            self.services, self._listener, stop=trio.sleep_forever, options=options, task_status=task_status
        )


async def show(stream: trio.abc.Stream) -> None:
    """Answer every request with the same page."""
    async with stream:
        while await stream.receive_some(65536):
            await stream.send_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s"
                % (len(_PAGE), _PAGE)
            )


@asynccontextmanager
async def elsewhere(
    chromium: Chromium, host: str = "localhost", *, allowed: bool = False
) -> AsyncIterator[tuple[Page, Node]]:
    """A page of another origin in the browser, and a node on the same machine."""
    node = Node()
    [listener, *_] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    origin = f"http://{host}:{listener.socket.getsockname()[1]}"
    options = ServerOptions(policy=AccessPolicy(allowed_origins=(origin,) if allowed else ()))
    async with trio.open_nursery() as nursery:
        await nursery.start(node.serve, options)
        nursery.start_soon(trio.serve_listeners, show, [listener])
        async with chromium.open_page() as page:
            await page.goto(f"{origin}/")
            await page.evaluate(f"globalThis.NODE = {node.url!r}")
            yield page, node
        nursery.cancel_scope.cancel()


# The same machine under another name is another site, and another port of it another origin.
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("way", SEND)
async def test_page_of_another_origin_gets_nothing(chromium: Chromium, host: str, way: str) -> None:
    async with elsewhere(chromium, host) as (page, node):
        await page.evaluate(f"{SEND[way]}.catch(() => null).then(() => null)")
        assert await node.statuses() == {403}


async def test_form_of_another_origin_is_refused(chromium: Chromium) -> None:
    async with elsewhere(chromium) as (page, node):
        await page.evaluate(FORM)
        await page.wait_until("document.body.innerText.includes('foreign_origin')")
        assert await node.statuses() == {403}


async def test_link_from_another_site_may_be_followed(chromium: Chromium) -> None:
    async with elsewhere(chromium) as (page, node):
        await page.evaluate("location.href = NODE + 'docs'")
        await page.wait_until("document.querySelectorAll('details').length > 0")
        assert await node.statuses() == {200}


async def test_frame_on_another_site_stays_empty(chromium: Chromium) -> None:
    async with elsewhere(chromium) as (page, node):
        await page.evaluate(
            "new Promise((resolve) => { const frame = document.createElement('iframe');"
            "frame.onload = resolve; frame.src = NODE; document.body.append(frame); })"
        )
        assert await page.evaluate("frames[0].length") == 0
        assert ("GET", "/dashboard/data") not in {(m, p) for m, p, _ in node.services.requests.answers}


async def test_page_of_an_allowed_origin_reads_the_answer(chromium: Chromium) -> None:
    async with elsewhere(chromium, allowed=True) as (page, node):
        name = await page.evaluate(
            "fetch(NODE + 'status').then((answer) => answer.json()).then((body) => body.name)"
        )
        assert name == healthy_node().name
        status = await page.evaluate(
            "fetch(NODE + 'query', {method: 'POST', body: '{}',"
            "headers: {'Content-Type': 'application/json'}}).then((answer) => answer.status)"
        )
        assert status in {422, 503}
        assert 403 not in await node.statuses()
