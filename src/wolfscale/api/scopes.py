"""Which requests need which right: one table for all routes. Pure.

`read` shows the cluster and its data, `write` changes rows, `admin` does whatever the database's owner may.
A schema statement needs `admin`: what can create a table can as well drop one, and create an account or
grant it everything, so that a token for it would be an administrator's under another name.

A request that stands in no row needs `read` when it can change nothing and `admin` when it could: the
router then answers 404 or 405 to whoever may know. A test holds every route of the application to have
a row of its own.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class Scope(IntEnum):
    """What a caller may do; a greater one includes the smaller ones."""

    NOTHING = 0
    """Only what everybody may see."""
    READ = 1
    WRITE = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        """As it is written in a token file and in messages."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One row of the table.

    Attributes:
        method: of the request; HEAD counts as GET.
        path: of the request; a `*` at its end stands for one further part.
        scope: what the caller must have.
    """

    method: str
    path: str
    scope: Scope

    def covers(self, method: str, path: str) -> bool:
        """Whether the row speaks of this request."""
        if method != self.method:
            return False
        if not self.path.endswith("/*"):
            return path == self.path
        prefix = self.path.removesuffix("*")
        return path.startswith(prefix) and "/" not in path.removeprefix(prefix)


def _rules(scope: Scope, method: str, *paths: str) -> tuple[Rule, ...]:
    return tuple(Rule(method=method, path=path, scope=scope) for path in paths)


RULES: Final = (
    # For load balancers, which hold no token: tells strangers nothing but yes, or why not.
    *_rules(Scope.NOTHING, "GET", "/health"),
    # Pages without data: their scripts ask for it with the token that the reader gives them.
    *_rules(Scope.NOTHING, "GET", "/", "/dashboard/assets/*", "/docs", "/docs/*", "/favicon.ico"),
    *_rules(Scope.READ, "GET", "/status", "/cluster", "/cluster/nodes", "/dashboard/data", "/metrics"),
    *_rules(Scope.READ, "GET", "/ids", "/openapi.json"),
    *_rules(Scope.READ, "POST", "/query"),
    *_rules(Scope.WRITE, "POST", "/write/insert", "/write/update", "/write/delete", "/write/batch"),
    *_rules(Scope.ADMIN, "POST", "/write/ddl", "/cluster/leader"),
)

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def is_safe(method: str) -> bool:
    """Whether a request of this method changes nothing (RFC 9110, 9.2.1)."""
    return method in _SAFE_METHODS


def rule_of(method: str, path: str) -> Rule | None:
    """The row that speaks of a request; None when there is none."""
    asked = "GET" if method == "HEAD" else method
    return next((rule for rule in RULES if rule.covers(asked, path)), None)


def needed_scope(method: str, path: str) -> Scope:
    """What a request needs; see the module for those without a row."""
    rule = rule_of(method, path)
    if rule is not None:
        return rule.scope
    return Scope.READ if is_safe(method) else Scope.ADMIN
