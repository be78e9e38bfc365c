"""What each section may hold, and how to say that something else was found in it."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from wolfscale.config.models import (
    ApiConfig,
    ClusterConfig,
    DatabaseConfig,
    NodeConfig,
    ProxyConfig,
    Section,
    WalConfig,
)

SECTIONS: Final[Mapping[str, type[Section]]] = {
    "node": NodeConfig,
    "database": DatabaseConfig,
    "cluster": ClusterConfig,
    "wal": WalConfig,
    "proxy": ProxyConfig,
    "api": ApiConfig,
}

# Names that other systems use for the same thing, which no spelling distance would find.
_SYNONYMS: Final = {
    "listen": "bind_address",
    "bind": "bind_address",
    "address": "bind_address",
    "name": "id",
    "node_id": "id",
    "seeds": "peers",
    "nodes": "peers",
    "members": "peers",
    "username": "user",
    "passwd": "password",
    "db": "database",
    "datadir": "data_dir",
    "dir": "data_dir",
}
_SECRETS: Final = frozenset(
    {("database", "password"), ("database", "application_password"), ("cluster", "secret")}
)
_EXAMPLES: Final = {("node", "id"): 'id = "node-1"'}
_SIMILARITY = 0.6


def unknown_section(name: str, *, is_table: bool) -> str:
    """Why a name at the top of the file is refused, with the likely intended one."""
    if not is_table:
        homes = [section for section, model in SECTIONS.items() if name in model.model_fields]
        if homes:
            return f"stands outside a section: move it into [{homes[0]}]"
    what = "unknown section" if is_table else "unknown key outside a section"
    close = _closest(name, SECTIONS)
    return f"{what}; did you mean [{close}]?" if close else f"{what}; the sections are {', '.join(SECTIONS)}"


def unknown_key(section: str, key: str) -> str:
    """Why a key is refused, with the likely intended one, be it in another section."""
    known = SECTIONS[section].model_fields
    folded = key.lower().replace("-", "_")
    if folded in known:
        return f"unknown key; did you mean {folded}?"
    if _SYNONYMS.get(folded) in known:
        return f"unknown key; did you mean {_SYNONYMS[folded]}?"
    elsewhere = [name for name, model in SECTIONS.items() if folded in model.model_fields]
    if elsewhere:
        return f"unknown key here; {folded} belongs in [{elsewhere[0]}]"
    if close := _closest(folded, known):
        return f"unknown key; did you mean {close}?"
    everywhere = {name: home for home, model in SECTIONS.items() for name in model.model_fields}
    if close := _closest(folded, everywhere):
        return f"unknown key; did you mean {close} in [{everywhere[close]}]?"
    return f"unknown key; [{section}] knows {', '.join(known)}"


def _closest(name: str, candidates: Iterable[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name, list(candidates), n=1, cutoff=_SIMILARITY)), None)


def describe(section: str, key: str, detail: Mapping[str, Any]) -> str:
    """A pydantic complaint in the words of the file's reader; the value is shown unless it is secret."""
    kind, context = str(detail["type"]), detail.get("ctx", {})
    if kind == "missing":
        return f"is missing: write {_EXAMPLES.get((section, key), f'{key} = ...')} in [{section}]"
    got = "" if (section, key) in _SECRETS else f", not {_shown(detail['input'])}"
    if kind == "value_error":
        reason = str(context["error"])
        return reason if reason.startswith("must") else f"{_shown(detail['input'])} {reason}"
    wanted = {
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "bool_type": "true or false",
        "string_type": "a text in quotes",
        "string_sub_type": "a text in quotes",
        "path_type": "a path in quotes",
        "tuple_type": 'a list, as in ["one", "two"]',
        "greater_than_equal": f"at least {context.get('ge')}",
        "less_than_equal": f"at most {context.get('le')}",
        "enum": str(context.get("expected", "")).replace("'", '"'),
    }.get(kind)
    if wanted is None:
        return f"{detail['msg'][:1].lower()}{detail['msg'][1:]}{got}"
    return f"must be {wanted}{got}"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)
