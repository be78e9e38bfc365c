"""`GET /docs`: the routes for people to read and try, drawn from `/openapi.json` by a script of its own."""

from fastapi import APIRouter

from wolfscale.api.pages import page_routes
from wolfscale.api.services import Services

_PATHS = {"index.html": "/docs", "docs.css": "/docs/docs.css", "docs.js": "/docs/docs.js"}


def router(_services: Services) -> APIRouter:
    """The page's files."""
    return page_routes("docs", _PATHS)
