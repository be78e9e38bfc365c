"""The OpenAPI document and the page that shows it."""

import re
from typing import Any

import pytest
from api_serving import Source, exchange, serving

from wolfscale.api.app import build_app
from wolfscale.api.scopes import needed_scope
from wolfscale.api.services import Services

DOCUMENT: dict[str, Any] = build_app(Services(status=Source())).openapi()
OPERATIONS = [
    (method.upper(), path, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
]


def resolved(value: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in value:
        found: Any = DOCUMENT
        for name in value["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        value = found
    return value


def references(value: object) -> set[str]:
    """Every `$ref` below a value."""
    if isinstance(value, dict):
        found = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return found.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


def test_every_reference_leads_somewhere() -> None:
    for reference in references(DOCUMENT):
        assert resolved({"$ref": reference})


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS)
def test_operation_says_who_may_and_how_it_fails(method: str, path: str, operation: dict[str, Any]) -> None:
    scope = needed_scope(method, path)
    assert operation["x-wolfscale-scope"] == scope.word
    assert operation["security"] == ([{"token": []}, {}] if scope else [])
    assert operation["description"] or operation["summary"]
    responses = operation["responses"]
    assert {"403", "431", "500"} <= set(responses)
    assert ("401" in responses) == bool(scope)
    assert ({"408", "413", "415"} <= set(responses)) == (method == "POST")
    for status, response in responses.items():
        assert resolved(response)["description"]
        if status[0] in "45" and (path, status) != ("/health", "503"):
            schema = resolved(response)["content"]["application/json"]["schema"]
            assert schema["$ref"] == "#/components/schemas/ProblemBody", (path, status)


def test_fields_are_described_by_their_models_docstrings() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        assert "Attributes:" not in schema.get("description", ""), name
    node = DOCUMENT["components"]["schemas"]["ClusterNode"]["properties"]
    assert node["mysql_address"]["description"].startswith("`host:port` where applications connect")
    assert DOCUMENT["components"]["schemas"]["ProblemBody"]["properties"]["field"]["description"]


async def test_page_is_whole_in_itself_and_allowed_nothing_else() -> None:
    async with serving() as port:
        page = await exchange(port, "GET", "/docs")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        text = page.body.decode()
        for name in re.findall(r'(?:src|href)="([^"]*)"', text):
            assert "//" not in name
            if name.startswith("docs/"):
                found = await exchange(port, "GET", f"/{name}")
                assert found.status == 200
                assert not re.search(rb"(https?:)?//[a-z]|@import|\burl\(", found.body)
        assert "<style" not in text
        assert not re.search(r"<script(?![^>]*src=)", text)


async def test_page_that_the_browser_has_is_not_sent_again() -> None:
    async with serving() as port:
        tag = (await exchange(port, "GET", "/docs")).headers["etag"]
        again = await exchange(port, "GET", "/docs", if_none_match=f'"other", W/{tag}')
        assert (again.status, again.body) == (304, b"")
        assert (await exchange(port, "GET", "/docs", if_none_match='"other"')).status == 200


async def test_page_needs_no_token_and_the_document_does() -> None:
    async with serving() as port:
        passed_on = {"x_forwarded_for": "192.0.2.1"}
        assert (await exchange(port, "GET", "/docs", **passed_on)).status == 200
        assert (await exchange(port, "GET", "/docs/docs.js", **passed_on)).status == 200
        assert (await exchange(port, "GET", "/openapi.json", **passed_on)).status == 401
        assert (await exchange(port, "GET", "/openapi.json")).json["openapi"] == "3.1.0"
