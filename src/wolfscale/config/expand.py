"""`${NAME}` in a value stands for an environment variable; `$${` is a literal `${`."""

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<name>[^}]*)\}?")
_WHOLE = re.compile(r"\$\{[^}]*\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Replace each reference by its variable's value, once: a value is never expanded again.

    Raises:
        ValueError: a variable is not set, or a reference is not well formed; the message names it.
    """

    def value(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        name = match["name"]
        if not match[0].endswith("}") or not _NAME.fullmatch(name):
            raise ValueError(f"{match[0]!r} is no variable: write ${{NAME}}, or $${{ for a literal ${{")
        if name not in environment:
            raise ValueError(
                f"the environment variable {name} is not set: set it for the process that starts WolfScale"
            )
        return environment[name]

    return _REFERENCE.sub(value, text)


def is_reference(text: str) -> bool:
    """Whether the text is one reference and nothing else, so that its value may stand for a number."""
    return _WHOLE.fullmatch(text) is not None


def as_scalar(text: str) -> str | int | bool:
    """A variable's value as TOML would read it where a number or a truth value is wanted."""
    if re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        return int(text)
    return {"true": True, "false": False}.get(text, text)
