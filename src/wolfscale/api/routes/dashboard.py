"""`GET /`: the dashboard, a page with nothing secret in it, for everybody. Its data is `/dashboard/data`."""

import hashlib
from importlib import resources
from importlib.resources.abc import Traversable

from fastapi import APIRouter, Request, Response

from wolfscale.api.services import Services

_PAGE = "index.html"
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}

# Nothing is loaded from elsewhere, nothing inline runs, no text can become markup, nobody frames the page.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Asked for each time and answered with 304 while it is the same: an updated node shows at once.
    "Cache-Control": "no-cache",
}


class _File:
    """A file of the page, as it is answered."""

    def __init__(self, name: str, content: bytes) -> None:
        self._content = content
        self._type = f"{_TYPES[name.rpartition('.')[2]]}; charset=utf-8"
        self._headers = {**_HEADERS, "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"'}

    async def answer(self, request: Request) -> Response:
        """200 with the file, or 304 to a browser that has it."""
        known = [
            tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")
        ]
        if self._headers["ETag"] in known or "*" in known:
            return Response(status_code=304, headers=self._headers)
        return Response(self._content, headers=self._headers, media_type=self._type)


def page_paths() -> dict[str, str]:
    """The path of each of the page's files, by the file's name."""
    names = sorted(file.name for file in _directory().iterdir() if file.name.rpartition(".")[2] in _TYPES)
    return {name: "/" if name == _PAGE else f"/dashboard/assets/{name}" for name in names}


def router(_services: Services) -> APIRouter:
    """The page's files; they are read once."""
    routes = APIRouter()
    for name, path in page_paths().items():
        file = _File(name, (_directory() / name).read_bytes())
        routes.add_api_route(path, file.answer, methods=["GET"], include_in_schema=False)
    return routes


def _directory() -> Traversable:
    return resources.files("wolfscale.api").joinpath("dashboard")
