"""From a file to a `Config`, or to the list of everything that is wrong with it."""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import SecretStr, ValidationError

from wolfscale.config.errors import ConfigError, InvalidConfigError
from wolfscale.config.expand import as_scalar, expand, is_reference
from wolfscale.config.models import MINIMUM_SECRET_CHARACTERS, Config, Section
from wolfscale.config.positions import Positions
from wolfscale.config.relations import Key, conflicts
from wolfscale.config.shape import SECTIONS, describe, unknown_key, unknown_section

SYSTEM_CONFIG = Path("/etc/wolfscale/wolfscale.toml")
CONFIG_VARIABLE = "WOLFSCALE_CONFIG"
_AT_LINE = re.compile(r"\s*\(at line (\d+), column (\d+)\)")
_SECRET_FILES = (("database", "password"), ("database", "application_password"), ("cluster", "secret"))


def find_config() -> Path:
    """The configuration that counts: `WOLFSCALE_CONFIG`, ./wolfscale.toml, /etc/wolfscale/wolfscale.toml.

    Raises:
        ConfigError: there is none; the reason lists where it was looked for.
    """
    named = os.environ.get(CONFIG_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise ConfigError("", None, f"{CONFIG_VARIABLE} names {named}, and there is no such file")
        return Path(named)
    for candidate in (Path("wolfscale.toml"), SYSTEM_CONFIG):
        if candidate.is_file():
            return candidate
    raise ConfigError(
        "",
        None,
        f"no configuration: there is neither ./wolfscale.toml nor {SYSTEM_CONFIG}; "
        f"write one, or name it with --config or {CONFIG_VARIABLE}",
    )


def load(path: Path, environment: Mapping[str, str] | None = None) -> Config:
    """Read, expand and check a configuration file; passwords and secrets in files are read too.

    Args:
        path: the file.
        environment: what `${NAME}` refers to; the process's own unless given.

    Raises:
        InvalidConfigError: with every problem found, each with key, line and reason.
    """
    try:
        document = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidConfigError(
            path, [ConfigError("", None, f"cannot be read: {error.strerror}")]
        ) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InvalidConfigError(path, [ConfigError("", line, "is not UTF-8 text")]) from error
    return parse(document, path=path, environment=os.environ if environment is None else environment)


def parse(document: str, *, path: Path, environment: Mapping[str, str]) -> Config:
    """The same for a document that was read already; `path` is only named in errors."""
    try:
        tables = tomllib.loads(document)
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfigError(path, [_syntax_error(error)]) from error
    reading = _Reading(Positions(document), environment)
    config = reading.read(tables)
    if config is None:
        problems = sorted(reading.problems, key=lambda problem: (problem.line or 0, problem.key))
        raise InvalidConfigError(path, problems)
    return config


def _syntax_error(error: tomllib.TOMLDecodeError) -> ConfigError:
    text = str(error)
    at = _AT_LINE.search(text)
    reason = _AT_LINE.sub("", text)
    if at is None:
        return ConfigError("", None, f"is no valid TOML: {reason}")
    return ConfigError("", int(at[1]), f"is no valid TOML: {reason} (column {at[2]})")


def _wants_scalar(annotation: Any) -> bool:
    """Whether a key's type is a number or a truth value, be it optional or bounded."""
    return annotation in (int, bool) or any(_wants_scalar(part) for part in get_args(annotation))


class _Reading:
    """One pass over one document; collects problems instead of stopping at the first."""

    def __init__(self, positions: Positions, environment: Mapping[str, str]) -> None:
        self._positions = positions
        self._environment = environment
        self._unusable: set[Key] = set()
        self.problems: list[ConfigError] = []

    def read(self, tables: dict[str, Any]) -> Config | None:
        """The configuration, or None when there are problems."""
        values = {name: self._section(name, SECTIONS[name], table) for name, table in self._known(tables)}
        config = self._validated(values)
        for conflict in conflicts(config):
            if self._unusable.isdisjoint((conflict.key, *conflict.involves)):
                line = (
                    self._positions.element_line(conflict.key, conflict.element)
                    if conflict.element is not None
                    else None
                )
                self._add(conflict.key, conflict.reason, line)
        config = self._with_secret_files(config)
        return None if self.problems else config

    def _add(self, key: tuple[str, ...], reason: str, line: int | None = None) -> None:
        self.problems.append(ConfigError(".".join(key), line or self._positions.line(key), reason))

    def _known(self, tables: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        known = []
        for name, table in tables.items():
            if name not in SECTIONS:
                self._add((name,), unknown_section(name, is_table=isinstance(table, dict)))
            elif not isinstance(table, dict):
                self._add((name,), f"must be a section: write [{name}] on a line of its own")
                self._unusable.update((name, key) for key in SECTIONS[name].model_fields)
            else:
                known.append((name, table))
        if "node" not in tables:
            self._add(("node",), 'is missing: a node needs at least [node] with id = "a-name"')
            self._unusable.add(("node", "id"))
        return known

    def _section(self, name: str, model: type[Section], table: dict[str, Any]) -> dict[str, Any]:
        values = {}
        for key, value in table.items():
            if key not in model.model_fields:
                self._add((name, key), unknown_key(name, key))
                continue
            try:
                values[key] = self._expanded(model, key, value)
            except ValueError as error:
                self._add((name, key), str(error))
                self._unusable.add((name, key))
        return values

    def _expanded(self, model: type[Section], key: str, value: object) -> object:
        if isinstance(value, list):
            return [expand(item, self._environment) if isinstance(item, str) else item for item in value]
        if not isinstance(value, str):
            return value
        expanded = expand(value, self._environment)
        if is_reference(value) and _wants_scalar(model.model_fields[key].annotation):
            return as_scalar(expanded)
        return expanded

    def _validated(self, values: dict[str, dict[str, Any]]) -> Config:
        """The configuration with whatever cannot be used left out, so that the rest can be checked too."""
        try:
            return Config.model_validate(self._with_placeholder(values))
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                section, key = str(detail["loc"][0]), str(detail["loc"][1])
                self._unusable.add((section, key))
                values.get(section, {}).pop(key, None)
                line = None
                if len(detail["loc"]) > 2 and isinstance(detail["input"], str):
                    line = self._positions.element_line((section, key), detail["input"])
                self._add((section, key), describe(section, key, detail), line)
            return self._validated(values)

    def _with_placeholder(self, values: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        if ("node", "id") not in self._unusable:
            return {"node": {}, **values}
        return {**values, "node": {**values.get("node", {}), "id": "unknown"}}

    def _with_secret_files(self, config: Config) -> Config:
        updates: dict[str, Section] = {}
        for section, key in _SECRET_FILES:
            values: Section = getattr(config, section)
            path: Path | None = getattr(values, f"{key}_file")
            if path is None or (section, f"{key}_file") in self._unusable:
                continue
            content = self._secret_file((section, f"{key}_file"), path)
            if content is not None:
                updates[section] = values.model_copy(update={key: SecretStr(content)})
        return config.model_copy(update=updates)

    def _secret_file(self, key: Key, path: Path) -> str | None:
        try:
            content = path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
        except OSError as error:
            self._add(key, f"{path} cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            self._add(key, f"{path} is not UTF-8 text")
        else:
            least = MINIMUM_SECRET_CHARACTERS if key[0] == "cluster" else 1
            if len(content) >= least:
                return content
            self._add(key, f"{path} holds {len(content)} characters: at least {least} are needed")
        return None
