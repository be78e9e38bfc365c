"""Pages that are whole in themselves: files of the package, answered under a strict policy."""

import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Final

from fastapi import APIRouter, Request, Response

_TYPES: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}

# Nothing is loaded from elsewhere, nothing inline runs, no text can become markup, nobody frames the page.
POLICY: Final = "; ".join(
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
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    # Asked for each time and answered with 304 while it is the same: an updated node shows at once.
    "Cache-Control": "no-cache",
}


class _File:
    """One file, read once."""

    def __init__(self, name: str, content: bytes) -> None:
        self._content = content
        self._type = f"{_TYPES[name.rpartition('.')[2]]}; charset=utf-8"
        self._headers = {**_HEADERS, "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"'}

    async def answer(self, request: Request) -> Response:
        """200 with the file, or 304 to a browser that has it."""
        wanted = request.headers.get("if-none-match", "").split(",")
        if {self._headers["ETag"], "*"} & {tag.strip().removeprefix("W/") for tag in wanted}:
            return Response(status_code=304, headers=self._headers)
        return Response(self._content, headers=self._headers, media_type=self._type)


def is_page_file(name: str) -> bool:
    """Whether a file is of a kind that pages are made of."""
    return name.rpartition(".")[2] in _TYPES


def page_routes(directory: str, paths: Mapping[str, str]) -> APIRouter:
    """Routes for the files of a page.

    Args:
        directory: below this package.
        paths: where each file is answered, by its name.
    """
    routes = APIRouter()
    found = resources.files("wolfscale.api").joinpath(directory)
    for name, path in paths.items():
        file = _File(name, found.joinpath(name).read_bytes())
        routes.add_api_route(path, file.answer, methods=["GET"], include_in_schema=False)
    return routes
