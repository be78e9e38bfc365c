"""The page over a real cluster: the real leader, its death, the way to another node, tokens."""

import tempfile
from pathlib import Path

import pytest
import trio
from page_inspection import contrasts, foreign_requests, overflow

from wolfscale.app.admin import admin_connection_info
from wolfscale.demo import ClusterPlan, DemoCluster, Part, running_cluster
from wolfscale.demo.conditions import serving
from wolfscale.demo.writers import CREATE_TABLE, Writers
from wolfscale.testing.chromium import Chromium, Page

pytestmark = [
    pytest.mark.cluster,
    # PyMySQL leaks its socket when a unix socket refuses the connection (1.1, `Connection.connect`).
    pytest.mark.filterwarnings("ignore:.*socket.socket.*family=1:Warning"),
]

LIVE = "document.body?.dataset.state === 'live'"
HEADLINE = "document.querySelector('#verdict-headline').innerText"


async def open_page(page: Page, cluster: DemoCluster, number: int) -> None:
    await page.goto(f"{cluster.node(number).endpoint}/")
    await page.wait_until(LIVE)
    await page.evaluate("window.same = true")


async def check_leader_is_shown(page: Page, cluster: DemoCluster, leader: int) -> None:
    await page.wait_until(f"{HEADLINE} === 'The cluster takes writes, node-{leader} leads'")
    await page.wait_until(
        "Array.from(document.querySelectorAll('#members tbody tr'), (row) => row.innerText)"
        f".some((row) => row.startsWith('node-{leader}') && row.includes('leader, takes writes'))"
    )
    status = await cluster.status(leader)
    assert status is not None
    assert f"\n{status.term}\n" in (await page.text("#verdict-facts")).replace("\n\n", "\n")


async def check_writes_are_shown(page: Page, cluster: DemoCluster) -> None:
    """Through one node: its plots and counters move."""
    await cluster.on_writable(["USE demo", CREATE_TABLE])
    number = "Number(document.querySelector('#statements dl div:nth-child(2) dd').innerText.split(' ')[0])"
    [port] = {node.mysql_port for node in cluster.plan.nodes if f":{node.http_port}/" in await url(page)}
    writers = Writers([port], count=2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writers.run)
        await page.wait_until(f"{number} > 0")
        await page.wait_until("parseFloat(document.querySelector('#plots b').innerText) > 0")
        await page.wait_until("document.querySelectorAll('#plots b')[1].innerText.endsWith('ms')")
        await page.wait_until("document.querySelector('#node').innerText.includes('2 sessions')")
        writers.stop()


async def url(page: Page) -> str:
    return str(await page.evaluate("location.href"))


async def play(cluster: DemoCluster, chromium: Chromium) -> None:
    await cluster.wait_for(serving(*cluster.numbers), "all nodes to serve")
    leader = await cluster.wait_writable()
    follower, other = (number for number in cluster.numbers if number != leader)
    async with chromium.open_page() as page, chromium.open_page() as doomed:
        await open_page(page, cluster, follower)
        await open_page(doomed, cluster, leader)
        await check_leader_is_shown(page, cluster, leader)
        await check_leader_is_shown(doomed, cluster, leader)
        assert len(await page.texts("#members tbody tr")) == 3
        await check_writes_are_shown(page, cluster)

        cluster.kill(leader, Part.BOTH)
        await doomed.wait_until(f"{HEADLINE} === 'node-{leader} does not answer'")
        successor = await cluster.wait_writable(other_than=leader)
        await check_leader_is_shown(page, cluster, successor)
        await page.wait_until(
            f"document.querySelector('#events').innerText.includes('leader=node-{successor}')"
        )
        await page.wait_until("document.querySelector('#members').innerText.includes('not heard from')")
        await page.wait_until(f"document.querySelector('#findings').innerText.includes('node-{leader}')")
        assert await page.evaluate("window.same"), "the page was loaded anew"
        assert (await contrasts(page)).too_low == []
        await page.resize(360, 740, touch=True)
        assert await overflow(page) == []

        await doomed.evaluate("document.querySelector('#verdict-detail a').click()")
        await doomed.wait_until(f"document.readyState === 'complete' && {LIVE}")
        assert await url(doomed) in {f"{cluster.node(number).endpoint}/" for number in (follower, other)}
        await check_leader_is_shown(doomed, cluster, successor)

        cluster.launch(leader)
        await page.wait_until("!document.querySelector('#members').innerText.includes('not heard from')")
        await cluster.wait_for(serving(*cluster.numbers), "all nodes to serve")
        assert page.complaints == []
        assert foreign_requests(page, await url(page)) == []
    await check_token(cluster, chromium, follower)


async def check_token(cluster: DemoCluster, chromium: Chromium, number: int) -> None:
    """Whoever comes through a proxy is a stranger, though the connection is from this machine."""
    tokens = (cluster.node(number).data_dir / "api-tokens").read_text(encoding="utf-8").splitlines()
    words = dict(line.split() for line in tokens if line and not line.startswith("#"))
    async with chromium.open_page() as page:
        await page.command("Network.setExtraHTTPHeaders", headers={"X-Forwarded-For": "192.0.2.7"})
        await page.goto(f"{cluster.node(number).endpoint}/")
        await page.wait_until("document.activeElement.id === 'token-value'")
        assert "node-" not in await page.evaluate("document.body.innerText")
        await page.write(words["read"])
        await page.press("Enter")
        await page.wait_until(LIVE)
        assert "takes writes" in await page.text("#verdict-headline")


async def test_page_follows_a_real_cluster_through_the_death_of_its_leader(chromium: Chromium) -> None:
    # Not under pytest's own directory: unix sockets' paths may have 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="wolfscale-test-", dir="/tmp") as name:
        directory = Path(name)
        directory.chmod(0o755)  # noqa: ASYNC240
        plan = ClusterPlan.with_free_ports(directory)
        async with running_cluster(plan, access=admin_connection_info) as cluster:
            await play(cluster, chromium)
