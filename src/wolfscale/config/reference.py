"""docs/configuration.md, written from the models so that it cannot say anything else than the code."""

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from wolfscale.config.shape import SECTIONS

EXAMPLE = """\
[node]
id = "node-1"
bind_address = "0.0.0.0:7400"

[database]
host = "127.0.0.1"       # absent: managed
port = 3306
database = "myapp"
user = "wolfscale"
password = "secret"      # or password_file, or ${ENV}

[cluster]
peers = ["192.168.1.11:7400", "192.168.1.12:7400"]
heartbeat_interval_ms = 500
election_timeout_ms = 2000

[api]
bind_address = "0.0.0.0:8080"
"""

_HEAD = """\
# Configuration

One file, `wolfscale.toml`, looked for in this order: `--config`, the variable `WOLFSCALE_CONFIG`, the
working directory, `/etc/wolfscale/wolfscale.toml`. `wolfscale validate` checks it and lists everything that
is wrong, with the line and the likely intended key. Only `[node] id` is required.

`${NAME}` in any value is replaced by the environment variable `NAME`, which must be set; write `$${` for a
literal `${`. Paths are absolute or begin with `~`. Addresses are `host:port`, `[v6-address]:port`, or `:port`
for every address of the machine.

"""

_FOOT = """\

This page is written by `make reference`; change `src/wolfscale/config/models.py` instead.
"""


def configuration_reference() -> str:
    """The page as Markdown: an example, then a table for each section."""
    parts = [_HEAD, "```toml\n", EXAMPLE, "```\n"]
    for name, model in SECTIONS.items():
        summary = (model.__doc__ or "").strip().splitlines()[0]
        parts.append(f"\n## [{name}]\n{summary}\n\n| key | type | default | meaning |\n|---|---|---|---|\n")
        for key, field in model.model_fields.items():
            meaning = (field.description or "").replace("|", "\\|")
            parts.append(f"| `{key}` | {_type(field)} | {_default(field)} | {meaning} |\n")
    parts.append(_FOOT)
    return "".join(parts)


def _type(field: FieldInfo) -> str:
    text = str(field.annotation)
    for mark, name in (
        ("tuple", "list of texts"),
        ("bool", "true or false"),
        ("int", "number"),
        ("Durability", "text"),
        ("SecretStr", "text"),
        ("Path", "path"),
    ):
        if mark in text:
            return name
    return "text"


def _default(field: FieldInfo) -> str:
    if field.default is None or field.default is PydanticUndefined:
        return ""
    if isinstance(field.default, bool):
        return f"`{str(field.default).lower()}`"
    if isinstance(field.default, tuple):
        return "`[]`"
    return f'`"{field.default}"`' if isinstance(field.default, str) else f"`{field.default}`"
