"""A configuration that is being put together: its values, what is wrong with them, and its file."""

import os
import re
import socket
import tomllib
from pathlib import Path
from typing import Final

from wolfscale.cli.exits import CommandError, Exit
from wolfscale.config import ConfigError, InvalidConfigError, commented_document, parse
from wolfscale.config.shape import SECTIONS, unknown_key, unknown_section

Key = tuple[str, str]

_SECRETS: Final = tuple(
    (section, key.removesuffix("_file"))
    for section, model in SECTIONS.items()
    for key in model.model_fields
    if key.endswith("_file") and key.removesuffix("_file") in model.model_fields
)
"""The keys that hold a secret; each has a twin that names a file instead."""
_REFERENCE_PAGE: Final = "docs/configuration.md explains every key"
_REFERENCE: Final = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")


class Draft:
    """The values chosen so far.

    Attributes:
        path: where the file will be; named in errors.
        values: by section and key.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict[Key, object] = {}

    def text(self) -> str:
        """The document as it stands."""
        return commented_document(self.values)

    def problems(self) -> tuple[list[ConfigError], list[ConfigError]]:
        """What is wrong with the values, and what only waits for a file that is not there yet."""
        try:
            parse(self.text(), path=self.path, environment=os.environ)
        except InvalidConfigError as error:
            waiting = [problem for problem in error.problems if self._waits_for_file(problem)]
            return [problem for problem in error.problems if problem not in waiting], waiting
        return [], []

    def _waits_for_file(self, problem: ConfigError) -> bool:
        section, _, key = problem.key.partition(".")
        if (section, key.removesuffix("_file")) not in _SECRETS or not key.endswith("_file"):
            return False
        return not Path(str(self.values[section, key])).expanduser().exists()

    def holds_secrets(self) -> bool:
        """Whether a password or a secret stands in the file itself, so that only its owner may read it."""
        return any(key in self.values and not _REFERENCE.fullmatch(str(self.values[key])) for key in _SECRETS)


def default_node_id() -> str:
    """This machine's name as far as it can be a node's, else `node-1`."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", socket.gethostname().partition(".")[0]).strip("._-")[:63]
    return name or "node-1"


def parsed_setting(text: str) -> tuple[Key, object]:
    """Take `section.key=value` apart; the value is read as TOML, and as a text where it is none.

    Raises:
        CommandError: it has another form.
    """
    name, separator, value = text.partition("=")
    section, dot, key = name.strip().partition(".")
    if not separator or not dot or not section or not key:
        raise CommandError(
            f"--set {text!r} is no setting",
            exit_code=Exit.USAGE,
            next_step="write --set SECTION.KEY=VALUE, as in --set wal.retention_hours=24",
        )
    if section not in SECTIONS or key not in SECTIONS[section].model_fields:
        known = section in SECTIONS
        why = unknown_key(section, key) if known else unknown_section(section, is_table=True)
        raise CommandError(f"--set {text!r}: {why}", exit_code=Exit.USAGE, next_step=_REFERENCE_PAGE)
    try:
        return (section, key), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return (section, key), value.strip()
