"""From `WOLFSCALE_*` variables to a wolfscale.toml. Pure.

Every key of the configuration has its variable, `WOLFSCALE_<SECTION>_<KEY>`, and the usual ones a short name.
A secret's value is not written out: the document refers to the variable.
"""

import difflib
import json
import re
import shlex
from collections.abc import Mapping
from typing import Any, Final, get_args, get_origin

from pydantic import SecretStr

from wolfscale.config import ConfigError, toml_value
from wolfscale.config.expand import as_scalar
from wolfscale.config.relations import Key
from wolfscale.config.shape import SECTIONS
from wolfscale.container.errors import ContainerError

PREFIX: Final = "WOLFSCALE_"
NODE_ID: Final = "WOLFSCALE_NODE_ID"
BOOTSTRAP: Final = "WOLFSCALE_BOOTSTRAP"
CLUSTER_DIRECTORY: Final = "WOLFSCALE_CLUSTER_DIR"
FIRST_LINE: Final = "# Made from the container's variables at each start; changes here are lost."

SHORT_NAMES: Final[Mapping[str, Key]] = {
    "WOLFSCALE_PEERS": ("cluster", "peers"),
    "WOLFSCALE_SECRET": ("cluster", "secret"),
    "WOLFSCALE_SECRET_FILE": ("cluster", "secret_file"),
    "WOLFSCALE_DATABASE": ("database", "database"),
    "WOLFSCALE_USER": ("database", "application_user"),
    "WOLFSCALE_PASSWORD": ("database", "application_password"),
    "WOLFSCALE_PASSWORD_FILE": ("database", "application_password_file"),
}
OTHERS: Final = frozenset(
    {BOOTSTRAP, CLUSTER_DIRECTORY, "WOLFSCALE_CONFIG", "WOLFSCALE_LOG_FORMAT", "WOLFSCALE_LOG_LEVEL"}
)
"""Variables of the container and of the command line, which are no keys."""

_PEERS: Final = ("cluster", "peers")
_OPTIONS: Final = ("database", "options")
_ADVERTISED: Final = ("node", "advertise_address")
# What Kubernetes sets in every container of a namespace that has a service named wolfscale-something.
_OF_A_SERVICE = re.compile(r"_SERVICE_HOST|_SERVICE_PORT(_\w+)?|_PORT(_\d+_(TCP|UDP)(_\w+)?)?")


def variable_names() -> dict[str, Key]:
    """Every variable that stands for a key, with its key."""
    names = {
        f"{PREFIX}{section}_{key}".upper(): (section, key)
        for section, model in SECTIONS.items()
        for key in model.model_fields
    }
    return {**names, **SHORT_NAMES}


def has_settings(environment: Mapping[str, str]) -> bool:
    """Whether any variable stands for a key of the configuration."""
    return not variable_names().keys().isdisjoint(environment)


def document(environment: Mapping[str, str], defaults: Mapping[Key, object]) -> str:
    """Return the configuration that the variables say, as TOML.

    Args:
        environment: the variables; others than `WOLFSCALE_*` do not matter.
        defaults: keys that the image sets unless a variable does.

    Raises:
        ContainerError: a variable is unknown or given twice, or the node has no name.
    """
    names = variable_names()
    given: dict[Key, str] = {}
    for name in sorted(environment):
        if not name.startswith(PREFIX) or name in OTHERS:
            continue
        if name not in names:
            if _is_of_a_service(name):
                continue
            raise ContainerError(f"unknown variable {name}{_suggestion(name)}")
        key = names[name]
        if key in given:
            raise ContainerError(f"{given[key]} and {name} are the same setting: keep one of the two")
        given[key] = name
    if ("node", "id") not in given:
        raise ContainerError(
            f"{NODE_ID} is not set: give each node a name of its own, or mount a configuration at "
            "/etc/wolfscale/wolfscale.toml"
        )
    values = {**defaults, **{key: _value(key, name, environment[name]) for key, name in given.items()}}
    _take_own_address_out(values)
    return _written(values)


def in_words_of_variables(problem: ConfigError, environment: Mapping[str, str]) -> str:
    """A problem of the generated configuration, named by the variable to change."""
    names = variable_names()
    candidates = [name for name, key in names.items() if ".".join(key) == problem.key]
    given = [name for name in candidates if name in environment]
    # The short names come last, and are the better ones.
    return f"{(given or candidates[-1:] or [problem.key])[0]}: {problem.reason}"


def truth(environment: Mapping[str, str], name: str) -> bool:
    """A variable that says yes or no; absent or empty is no.

    Raises:
        ContainerError: it says something else.
    """
    text = environment.get(name, "").strip().lower()
    if text in {"", "0", "false", "no", "off"}:
        return False
    if text in {"1", "true", "yes", "on"}:
        return True
    raise ContainerError(f"{name} must be true or false, not {environment[name]!r}")


def _is_of_a_service(name: str) -> bool:
    return any(match.end() == len(name) for match in _OF_A_SERVICE.finditer(name))


def _suggestion(name: str) -> str:
    known = [*variable_names(), *OTHERS]
    # The beginning is common to all and would make anything look alike.
    close = difflib.get_close_matches(
        name.removeprefix(PREFIX), [other.removeprefix(PREFIX) for other in known], n=1, cutoff=0.7
    )
    return f"; did you mean {PREFIX}{close[0]}?" if close else "; docs/containers.md lists what there is"


def _value(key: Key, name: str, text: str) -> object:
    annotation = SECTIONS[key[0]].model_fields[key[1]].annotation
    if _mentions(annotation, SecretStr):
        return _Reference(name)
    if _mentions(annotation, tuple):
        return [_Plain(item) for item in _items(key, name, text)]
    if _mentions(annotation, int) or _mentions(annotation, bool):
        return as_scalar(text.strip())
    return _Plain(text)


def _mentions(annotation: Any, wanted: type) -> bool:
    if annotation is wanted or get_origin(annotation) is wanted:
        return True
    return any(_mentions(part, wanted) for part in get_args(annotation))


def _items(key: Key, name: str, text: str) -> list[str]:
    """A list as people write it in a variable: separated by blanks or commas; or as JSON.

    The server's options are taken apart as a shell does it: a comma may stand in one.
    """
    if text.lstrip().startswith("["):
        try:
            items = json.loads(text)
        except ValueError as error:
            raise ContainerError(f"{name} begins like a JSON list and is none: {error}") from error
        if not all(isinstance(item, str) for item in items):
            raise ContainerError(f"{name} must be a list of texts")
        return list(items)
    if key != _OPTIONS:
        return text.replace(",", " ").split()
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ContainerError(f"{name} cannot be taken apart: {error}") from error


class _Plain(str):
    """A variable's own words: a "${" in them stands for nothing else."""


class _Reference(str):
    """The name of a variable that holds a secret."""


def _take_own_address_out(values: dict[Key, object]) -> None:
    """Let all nodes have the same list of peers: the address whose host is the node's name is its own."""
    peers = values.get(_PEERS)
    if not isinstance(peers, list):
        return
    own = [peer for peer in peers if str(peer).rpartition(":")[0] == values["node", "id"]]
    if own:
        values[_PEERS] = [peer for peer in peers if peer not in own]
        values.setdefault(_ADVERTISED, own[0])


def _written(values: Mapping[Key, object]) -> str:
    lines = [FIRST_LINE]
    for section in SECTIONS:
        keys = {key: value for (name, key), value in values.items() if name == section}
        if keys:
            lines += ["", f"[{section}]", *(f"{key} = {_toml(value)}" for key, value in keys.items())]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, _Reference):
        return toml_value(f"${{{value}}}")
    if isinstance(value, _Plain):
        return toml_value(value.replace("${", "$${"))
    return toml_value(value)
