"""The plots: axes, gaps, and values under a mouse, a finger and keys."""

import json
from typing import Any

import pytest
from dashboard_values import NOW, data, history
from page_node import FakeNode

from wolfscale.api.dashboard_models import History, HistorySeries
from wolfscale.testing.chromium import Chromium, Page

pytestmark = pytest.mark.browser

LIVE = "document.body?.dataset.state === 'live'"
FIRST = "#plots figure:first-child"
PLOT = f"{FIRST} svg[role=slider]"


async def call(page: Page, module: str, expression: str) -> Any:
    """The value of an expression over what a module of the page exports."""
    return await page.evaluate(
        f"import('/dashboard/assets/{module}').then((module) => {{ with (module) return {expression}; }})"
    )


TICKS = {
    "0": [0, 0.5, 1],
    "3": [0, 1, 2, 3],
    "3.1": [0, 2, 4],
    "0.3, { least: 0 }": [0, 0.1, 0.2, 0.3],
    "1250": [0, 500, 1000, 1500],
    "7, { least: 10 }": [0, 5, 10],
    "2, { integer: true }": [0, 1, 2],
    "0, { binary: true, least: 1024 }": [0, 512, 1024],
    "5000000, { binary: true }": [0, 2 << 20, 4 << 20, 6 << 20],
}


async def test_value_axis_counts_as_people_do(chromium: Chromium, node: FakeNode) -> None:
    async with node.served(), chromium.open_page() as page:
        await page.goto(node.url)
        for arguments, ticks in TICKS.items():
            assert await call(page, "scale.js", f"valueTicks({arguments})") == ticks, arguments


async def test_value_axis_covers_whatever_comes(chromium: Chromium, node: FakeNode) -> None:
    async with node.served(), chromium.open_page() as page:
        await page.goto(node.url)
        # Whole decades and what lies just beside them, where rounding goes wrong.
        wrong = await call(
            page,
            "scale.js",
            "Array.from({ length: 40000 }, (_, n) => 10 ** (n / 2000 - 6) * (1 + (n % 3 - 1) * 1e-12))"
            ".flatMap((value) => [[value, {}], [value, { binary: true }], [value, { integer: true }]])"
            ".filter(([value, options]) => { const ticks = valueTicks(value, { least: 1e-9, ...options });"
            "const rising = ticks.every((tick, index) => index === 0 || tick > ticks[index - 1]);"
            "const covering = ticks[0] === 0 && ticks.at(-1) >= value * (1 - 1e-9);"
            "return !(rising && covering && ticks.length >= 2 && ticks.length <= 5); })",
        )
        assert wrong == []


async def test_time_axis_has_round_moments(chromium: Chromium, node: FakeNode) -> None:
    async with node.served(), chromium.open_page() as page:
        await page.goto(node.url)
        assert await call(page, "scale.js", "timeTicks(1000, 1600, 5)") == [1080, 1200, 1320, 1440, 1560]
        assert await call(page, "scale.js", "timeTicks(1000, 1060, 3)") == [1000, 1020, 1040, 1060]


FIGURES = {
    "number(0)": "0",
    "number(0.12345)": "0.123",
    "number(12345.6)": "12,346",
    "milliseconds(0.456)": "0.456 ms",
    "milliseconds(1500)": "1.5 s",
    "bytes(1023)": "1,023 B",
    "bytes(3 * 2 ** 29)": "1.5 GiB",
    "duration(119)": "119 s",
    "duration(7199)": "119 min",
    "duration(7200)": "2 h 0 min",
    "duration(200000)": "2 d 7 h",
    "counted(1, 'voter')": "1 voter",
    "counted(1234, 'voter')": "1,234 voters",
}


async def test_figures_are_written_for_people(chromium: Chromium, node: FakeNode) -> None:
    async with node.served(), chromium.open_page() as page:
        await page.goto(node.url)
        for expression, text in FIGURES.items():
            assert await call(page, "format.js", expression) == text, expression


async def test_unknown_seconds_leave_gaps_and_a_lone_value_is_a_dot(
    chromium: Chromium, node: FakeNode
) -> None:
    values = (1.0, 2.0, None, 3.0, None, None, 4.0, 5.0)
    node.data = data(
        shown_history=History(
            end_time=NOW, series=HistorySeries(commits_per_second=values, sessions=(None,) * 8)
        )
    )
    async with node.served(), chromium.open_page() as page:
        await page.goto(node.url)
        await page.wait_until(LIVE)
        path = await page.evaluate(f"document.querySelector('{PLOT} path.line').getAttribute('d')")
        assert [run.count("L") for run in path.split("M")[1:]] == [1, 0, 1]
        assert "h0" in path.split("M")[2]
        # A series that is not known at all, and one that the node has not, draw nothing and show no number.
        empty = await page.evaluate(
            "Array.from(document.querySelectorAll('#plots figure'), (one) =>"
            "[one.querySelector('path.line').getAttribute('d'), one.querySelector('b').innerText])"
        )
        assert empty[3] == ["", "–"]
        assert empty[5] == ["", "–"]
        assert page.complaints == []


async def test_axes_are_labelled_with_units(chromium: Chromium, node: FakeNode) -> None:
    async with node.served(), chromium.open_page() as page:
        await page.goto(node.url)
        await page.wait_until(LIVE)
        labels = await page.evaluate(
            "Array.from(document.querySelectorAll('#plots figure'), (one) => "
            "Array.from(one.querySelectorAll('text[text-anchor=end]'), (text) => text.textContent))"
        )
        assert labels[:2] == [["0/s", "500/s", "1,000/s", "1,500/s"], ["0 ms", "5 ms", "10 ms", "15 ms"]]
        assert labels[3:] == [["0", "5", "10", "15"], ["0", "5", "10"], ["0 B/s", "256 KiB/s", "512 KiB/s"]]
        times = await page.evaluate(
            f"Array.from(document.querySelectorAll('{PLOT} .axes text[text-anchor=middle]'),"
            "(text) => text.textContent)"
        )
        assert len(times) >= 3
        assert all(len(time) == len("08:00") for time in times)


async def figures(page: Page) -> list[str]:
    return await page.texts("#plots b")


async def seconds_back(page: Page) -> int:
    """Where the cursor stands."""
    return -int(await page.evaluate(f"document.querySelector('{PLOT}').getAttribute('aria-valuenow')"))


async def expected(page: Page, seconds_back: int, node: FakeNode) -> str:
    value = node.data.history.series.commits_per_second[-1 - seconds_back]
    return str(await call(page, "format.js", f"number({json.dumps(value)}) + '/s'"))


async def test_mouse_shows_the_values_of_its_moment_in_all_plots(chromium: Chromium, node: FakeNode) -> None:
    async with node.served(), chromium.open_page() as page:
        await page.goto(node.url)
        await page.wait_until(LIVE)
        now = await figures(page)
        assert now[0] == await expected(page, 0, node)
        await page.point_at(PLOT, across=0.5)
        times = await page.texts("#plots .at")
        assert (len(times), len(set(times)), len(times[0])) == (6, 1, len("08:00:00"))
        back = await seconds_back(page)
        assert 250 < back < 400
        there = await figures(page)
        assert there[0] == await expected(page, back, node)
        assert there != now
        await page.point_at("#verdict")
        assert await figures(page) == now
        assert await page.text(f"{FIRST} .at") == ""


async def test_keys_move_the_cursor(chromium: Chromium, node: FakeNode) -> None:
    async with node.served(), chromium.open_page() as page:
        await page.goto(node.url)
        await page.wait_until(LIVE)
        await page.evaluate(f"document.querySelector('{PLOT}').focus()")
        for keys, back in (
            (("ArrowLeft", "ArrowLeft"), 2),
            (("PageUp",), 32),
            (("ArrowRight",), 31),
            (("Home",), 599),
            (("ArrowLeft",), 599),
            (("End",), 0),
        ):
            await page.press(*keys)
            assert await seconds_back(page) == back
            assert (await figures(page))[0] == await expected(page, back, node)
        read_out = await page.evaluate(f"document.querySelector('{PLOT}').getAttribute('aria-valuetext')")
        assert read_out.endswith(f": commits {await expected(page, 0, node)}")
        await page.press("Escape")
        assert await page.text(f"{FIRST} .at") == ""


async def test_finger_leaves_the_values_until_it_touches_elsewhere(
    chromium: Chromium, node: FakeNode
) -> None:
    async with node.served(), chromium.open_page(width=360, touch=True) as page:
        await page.goto(node.url)
        await page.wait_until(LIVE)
        await page.touch(PLOT, across=0.6)
        await page.wait_until(f"document.querySelector('{FIRST} .at').textContent")


async def test_choice_of_minutes_changes_what_is_shown(chromium: Chromium, node: FakeNode) -> None:
    node.data = data(shown_history=history(600))
    async with node.served(), chromium.open_page() as page:
        await page.goto(node.url)
        await page.wait_until(LIVE)
        points = f"document.querySelector('{PLOT} path.line').getAttribute('d').split('L').length"
        assert await page.evaluate(points) == 600
        await page.evaluate("document.querySelector('input[name=minutes][value=\"1\"]').click()")
        assert await page.evaluate(points) == 60


async def test_young_node_draws_from_the_right(chromium: Chromium, node: FakeNode) -> None:
    node.data = data(shown_history=history(30))
    async with node.served(), chromium.open_page() as page:
        await page.goto(node.url)
        await page.wait_until(LIVE)
        left, width = await page.evaluate(
            f"(() => {{ const box = document.querySelector('{PLOT} path.line').getBBox();"
            f"return [box.x, document.querySelector('{PLOT}').clientWidth]; }})()"
        )
        assert left > 0.9 * width
        # The cursor can stand where nothing is known.
        await page.point_at(PLOT, across=0.3)
        assert set(await figures(page)) == {"–"}
        assert page.complaints == []
