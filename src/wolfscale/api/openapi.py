"""The OpenAPI document: what FastAPI knows of the routes, and what the gate before them adds.

The gate refuses for reasons that no route knows of, so FastAPI cannot know them either: rights, bodies,
headers. They are added here from the same table that the gate reads.
"""

import re
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from wolfscale.api.scopes import Scope, is_safe, needed_scope

_SECURITY: Final = "token"
_PROBLEM: Final = {"$ref": "#/components/schemas/ProblemBody"}
_METHODS: Final = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})

DESCRIPTION: Final = """\
Every node answers all of this, and passes on to the leader what only the leader can do.

From the node's own machine no token is needed, unless `require_token_on_loopback` is set. From elsewhere
send `Authorization: Bearer TOKEN` with one of the tokens in the file `api-tokens` in a node's data directory.
`x-wolfscale-scope` says which one: `admin` includes `write`, `write` includes `read`.

An answer that is no success has the form of `ProblemBody`.
"""

_ERRORS: Final[dict[str, tuple[str, str]]] = {
    "401": ("Unauthorized", "There is no token, or none that this node knows."),
    "403": ("Forbidden", "The token allows less than this, or a page of another site asks."),
    "408": ("TooSlow", "The body did not come in time."),
    "413": ("TooLarge", "The body is longer than `max_body_kb` allows."),
    "415": ("NotJson", "The body's Content-Type is not `application/json`."),
    "431": ("HeadersTooLarge", "The request's line and headers are too long."),
    "500": ("Failed", "The node failed to answer; its log says why."),
}
# What FastAPI writes when nobody says anything better.
_PLAIN_DESCRIPTIONS: Final = {
    "Successful Response": "The answer.",
    "Unprocessable Entity": "A part of the request is missing or wrong; `field` names it.",
    "Unprocessable Content": "A part of the request is missing or wrong; `field` names it.",
}
_ATTRIBUTE = re.compile(r"(\w+): (.*)")
_ALWAYS: Final = ("403", "431", "500")
_WITH_TOKEN: Final = ("401",)
# A body is read before any route sees the request, be it of use or not.
_WITH_BODY: Final = ("408", "413", "415")


def describe_api(app: FastAPI) -> None:
    """Have the application's document say everything; it is made at the first request for it."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(
                get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes)
            )
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    components = document.setdefault("components", {})
    components["securitySchemes"] = {
        _SECURITY: {"type": "http", "scheme": "bearer", "description": "A token of the cluster."}
    }
    components["responses"] = {
        name: {"description": text, "content": {"application/json": {"schema": _PROBLEM}}}
        for name, text in _ERRORS.values()
    }
    for schema in components.get("schemas", {}).values():
        _describe_fields(schema)
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in _METHODS:
                _complete_operation(operation, method.upper(), path)
    return document


def _complete_operation(operation: dict[str, Any], method: str, path: str) -> None:
    scope = needed_scope(method, path)
    operation["x-wolfscale-scope"] = scope.word
    # An empty requirement: it goes without, from the node's own machine.
    operation["security"] = [{_SECURITY: []}, {}] if scope is not Scope.NOTHING else []
    statuses = [*_ALWAYS]
    if scope is not Scope.NOTHING:
        statuses += _WITH_TOKEN
    if not is_safe(method):
        statuses += _WITH_BODY
    responses = operation["responses"]
    for response in responses.values():
        said = response.get("description")
        response["description"] = _PLAIN_DESCRIPTIONS.get(said, said)
    if not operation.get("parameters") and "requestBody" not in operation:
        responses.pop("422", None)
    for status in statuses:
        responses.setdefault(status, {"$ref": f"#/components/responses/{_ERRORS[status][0]}"})
    operation["responses"] = dict(sorted(responses.items()))


def _describe_fields(schema: dict[str, Any]) -> None:
    """Move what a model's docstring says of each field to that field."""
    text, found, attributes = schema.get("description", "").partition("\nAttributes:\n")
    if not found:
        return
    schema["description"] = text.strip()
    properties, described = schema.get("properties", {}), None
    for line in attributes.splitlines():
        match = _ATTRIBUTE.match(line.strip())
        if match and match[1] in properties:
            described = properties[match[1]]
            described.setdefault("description", match[2])
        elif described is not None and line.strip():
            described["description"] += f" {line.strip()}"
