"""What can be measured on a page: contrast, width, what it asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from wolfscale.testing.chromium import Page

TEXT_RATIO = 4.5
"""WCAG 2.2, 1.4.3, level AA."""
LINE_RATIO = 3.0
"""WCAG 2.2, 1.4.11."""

_MEASURE = (Path(__file__).parent / "contrasts.js").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrasts:
    """What is hard to see.

    Attributes:
        measured: how many texts and lines were looked at.
        too_low: those with too little contrast, with the ratio.
    """

    measured: int
    too_low: list[str]


async def contrasts(page: Page) -> Contrasts:
    """Measure every text, line and shape that a page shows."""
    found: dict[str, list[dict[str, Any]]] = await page.evaluate(_MEASURE)
    too_low = [
        f"{thing['what']}: {thing['ratio']:.2f}"
        for kind, least in (("texts", TEXT_RATIO), ("lines", LINE_RATIO))
        for thing in found[kind]
        if thing["ratio"] < least
    ]
    return Contrasts(measured=sum(map(len, found.values())), too_low=too_low)


async def overflow(page: Page) -> list[str]:
    """The elements that stick out of the window to the right; empty when nothing does."""
    return list(
        await page.evaluate(
            "(() => { const width = document.documentElement.clientWidth;"
            "return Array.from(document.querySelectorAll('body *'))"
            ".filter((one) => !one.closest('.unseen, .shapes'))"
            ".filter((one) => one.getBoundingClientRect().right > width + 0.5)"
            ".map((one) => one.outerHTML.slice(0, 120))"
            ".concat(document.documentElement.scrollWidth > width ? ['page'] : []); })()"
        )
    )


def foreign_requests(page: Page, own_url: str) -> list[str]:
    """What a page asked of others than its own node."""
    own = urlsplit(own_url)
    asked = [urlsplit(request.url) for request in page.requests]
    return [url.geturl() for url in asked if (url.scheme, url.netloc) != (own.scheme, own.netloc)]
