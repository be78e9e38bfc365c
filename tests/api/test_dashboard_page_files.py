"""The dashboard's files as they are served: headers, caching, and nothing in them that the policy forbids."""

import re
import tomllib
from pathlib import Path

import pytest
from api_serving import exchange, serving

from wolfscale.api.access import AccessPolicy
from wolfscale.api.routes.dashboard import page_paths
from wolfscale.api.server import ServerOptions

ROOT = Path(__file__).parents[2]
FILES = ROOT / "src" / "wolfscale" / "api" / "dashboard"
NAMES = sorted(path.name for path in FILES.iterdir())
LOCKED = ServerOptions(policy=AccessPolicy(token_on_loopback=True))


def test_every_file_has_its_path() -> None:
    assert sorted(page_paths()) == NAMES
    assert page_paths()["index.html"] == "/"


def test_every_file_is_packaged() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["wolfscale"]
    packaged = {path.name for pattern in patterns for path in (ROOT / "src" / "wolfscale").glob(pattern)}
    assert set(NAMES) <= packaged


async def test_files_are_for_everybody_and_the_data_is_not() -> None:
    async with serving(LOCKED) as port:
        for name, path in page_paths().items():
            answer = await exchange(port, "GET", path)
            assert answer.status == 200, path
            assert answer.body == (FILES / name).read_bytes()
        assert (await exchange(port, "GET", "/dashboard/data")).status == 401


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("index.html", "text/html"),
        ("dashboard.css", "text/css"),
        ("dashboard.js", "text/javascript"),
        ("icon.svg", "image/svg+xml"),
    ],
)
async def test_headers_forbid_what_the_page_does_not_need(name: str, kind: str) -> None:
    async with serving() as port:
        answer = await exchange(port, "GET", page_paths()[name])
    policy = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
    assert policy.pop("default-src") == "'none'"
    for directive in ("base-uri", "form-action", "frame-ancestors", "trusted-types"):
        assert policy.pop(directive) == "'none'"
    assert policy.pop("require-trusted-types-for") == "'script'"
    assert set(policy.values()) == {"'self'"}
    assert answer.headers["content-type"] == f"{kind}; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-cache"


async def test_browser_that_has_a_file_is_not_sent_it_again() -> None:
    async with serving() as port:
        first = await exchange(port, "GET", "/")
        tag = first.headers["etag"]
        for known in (tag, f'"other", W/{tag}', "*"):
            again = await exchange(port, "GET", "/", if_none_match=known)
            assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
            assert again.headers["content-security-policy"] == first.headers["content-security-policy"]
        assert (await exchange(port, "GET", "/", if_none_match='"other"')).status == 200
        head = await exchange(port, "HEAD", "/")
        assert (head.status, head.body, head.headers["etag"]) == (200, b"", tag)


@pytest.mark.parametrize("name", NAMES)
def test_file_names_nothing_elsewhere_and_runs_nothing_inline(name: str) -> None:
    text = (FILES / name).read_text(encoding="utf-8")
    addresses = {"http://www.w3.org/2000/svg"}  # the name of a language, never loaded
    assert set(re.findall(r"(?:https?:)?//[\w.-]+\.\w[\w./-]*", text)) <= addresses
    if name.endswith(".html"):
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", text)
    if name.endswith(".js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|Function\(", text
        )


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".js")])
def test_script_imports_files_that_are_there(name: str) -> None:
    text = (FILES / name).read_text(encoding="utf-8")
    assert {path.removeprefix("./") for path in re.findall(r'from "([^"]+)"', text)} <= set(NAMES)


def test_page_refers_to_files_that_are_there() -> None:
    text = (FILES / "index.html").read_text(encoding="utf-8")
    referred = re.findall(r'(?:src|href)="(dashboard/[^"]+)"', text)
    assert len(referred) >= 3
    assert {f"/{path}" for path in referred} <= set(page_paths().values())
