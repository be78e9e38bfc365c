"""A wolfscale.toml written out: every key with its meaning, those that were chosen with their values."""

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from wolfscale.config.relations import Key
from wolfscale.config.shape import SECTIONS

_WIDTH = 100
_HEAD = """\
# WolfScale's configuration: every key with its meaning. A key behind a "#" has the value that stands there,
# or none. `wolfscale validate` checks the file.
"""


def commented_document(values: Mapping[Key, object]) -> str:
    """Return a whole configuration as TOML, all keys in their order, each below its meaning.

    Args:
        values: the keys that are written as chosen; all others are written as comments.
    """
    parts = [_HEAD]
    for section, model in SECTIONS.items():
        summary = (model.__doc__ or "").strip().splitlines()[0]
        parts.append(f"\n# {summary}\n[{section}]\n")
        for key, field in model.model_fields.items():
            parts.append("\n" + _comment(field.description or ""))
            if (section, key) in values:
                parts.append(f"{key} = {toml_value(values[section, key])}\n")
            else:
                parts.append(f"#{key} = {_default(field)}\n")
    return "".join(parts)


def toml_value(value: object) -> str:
    """Return a value as TOML writes it.

    Raises:
        TypeError: TOML has no such value, or no key here takes it.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, str | Path):
        # JSON's strings are TOML's, but for this one character.
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    raise TypeError(f"a {type(value).__name__} is no value of a configuration")


def _comment(text: str) -> str:
    lines = textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return "".join(f"# {line}\n" for line in lines)


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined or field.default is None:
        return "0" if "int" in str(field.annotation) else '""'
    return toml_value(field.default)
