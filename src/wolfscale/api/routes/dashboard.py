"""`GET /`: the dashboard, a page with nothing secret in it, for everybody. Its data is `/dashboard/data`."""

from importlib import resources

from fastapi import APIRouter

from wolfscale.api.pages import is_page_file, page_routes
from wolfscale.api.services import Services

_DIRECTORY = "dashboard"
_PAGE = "index.html"


def page_paths() -> dict[str, str]:
    """The path of each of the page's files, by the file's name."""
    directory = resources.files("wolfscale.api").joinpath(_DIRECTORY)
    names = sorted(file.name for file in directory.iterdir() if is_page_file(file.name))
    return {name: "/" if name == _PAGE else f"/dashboard/assets/{name}" for name in names}


def router(_services: Services) -> APIRouter:
    """The page's files; they are read once."""
    return page_routes(_DIRECTORY, page_paths())
