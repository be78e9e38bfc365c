"""What the image runs: prepares a node's configuration, then becomes the command.

* `start` (also with options only, or with nothing): a mounted configuration is used as it is, else one is
  made from the variables; with a shared directory the secret is found or made; then `wolfscale start`.
* another command of `wolfscale`, or a program of the image: that, with the configuration at hand.
"""

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wolfscale.app.founding import note_path
from wolfscale.cli.commands import COMMANDS
from wolfscale.config import Config, InvalidConfigError, load, parse, parse_address
from wolfscale.container.cluster_directory import ClusterDirectory, may_found, unusable
from wolfscale.container.errors import ContainerError
from wolfscale.container.variables import (
    BOOTSTRAP,
    CLUSTER_DIRECTORY,
    FIRST_LINE,
    document,
    has_settings,
    in_words_of_variables,
    truth,
)
from wolfscale.errors import WolfScaleError

CONFIGURATION: Final = "wolfscale.toml"
HEALTH_FILE: Final = "health.json"
EXIT_USAGE: Final = 2
_WOLFSCALE: Final = (sys.executable, "-m", "wolfscale")
_BOOTSTRAP_OPTION: Final = "--bootstrap"
_ABOUT_THE_PROGRAM: Final = frozenset({"--help", "-h", "--version"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where things are in the image.

    Attributes:
        mounted: a configuration that somebody may have mounted.
        home: a volume, so that it can be written whatever else cannot; the working directory, so that every
            command finds the configuration that is made here; and the node's data directory unless something
            else is configured.
    """

    mounted: Path = Path("/etc/wolfscale/wolfscale.toml")
    home: Path = Path("/var/lib/wolfscale")


def main() -> None:
    """Prepare and become the command; what is wrong is said in a line, with exit code 2."""
    try:
        command = prepare(sys.argv[1:], os.environ)
    except WolfScaleError as error:
        print(f"wolfscale: {error}", file=sys.stderr)
        raise SystemExit(EXIT_USAGE) from None
    sys.stderr.flush()
    os.execv(command[0], command)


def prepare(
    arguments: Sequence[str], environment: Mapping[str, str], layout: Layout | None = None
) -> list[str]:
    """Make ready what the command needs; returns it with the path of its program.

    Raises:
        WolfScaleError: the variables, the configuration or a directory cannot be used.
    """
    layout = layout or Layout()
    given = list(arguments)
    if not given or (given[0].startswith("-") and given[0] not in _ABOUT_THE_PROGRAM):
        given.insert(0, "start")
    program = None if given[0] in COMMANDS else shutil.which(given[0], path=environment.get("PATH"))
    if program is not None:
        return [program, *given[1:]]
    if given[0] == "start" and _ABOUT_THE_PROGRAM.isdisjoint(given):
        return [*_WOLFSCALE, *_prepare_start(given, environment, layout)]
    if given[0] in COMMANDS and not _mounted(environment, layout) and has_settings(environment):
        _write_configuration(environment, layout)
    return [*_WOLFSCALE, *given]


def _prepare_start(given: list[str], environment: Mapping[str, str], layout: Layout) -> list[str]:
    mounted = _mounted(environment, layout)
    if mounted is not None:
        path, config = _beside_shared_notes(mounted, environment, layout)
    else:
        path, config = _write_configuration(environment, layout)
    founds = truth(environment, BOOTSTRAP) or _BOOTSTRAP_OPTION in given
    if directory := environment.get(CLUSTER_DIRECTORY):
        may_make_secret = founds and not note_path(path).exists()
        ClusterDirectory(Path(directory)).bring_secret(config, founds=may_make_secret)
    _check_writable(config.data_dir)
    _tell_health_check(config, layout)
    if founds and _BOOTSTRAP_OPTION not in given:
        if may_found(config, path):
            given.append(_BOOTSTRAP_OPTION)
        else:
            print(
                f"{BOOTSTRAP} is left aside: {note_path(path)} says that this cluster was founded before, so "
                "this node, whose data directory is empty, comes back as a new member",
                file=sys.stderr,
            )
    if "--config" not in given and "-c" not in given:
        given += ["--config", str(path)]
    return given


def _mounted(environment: Mapping[str, str], layout: Layout) -> Path | None:
    """The configuration that is somebody's own; None where one is to be made."""
    named = environment.get("WOLFSCALE_CONFIG")
    if named:
        return Path(named)
    at_hand = layout.home / CONFIGURATION
    if at_hand.is_file() and not at_hand.is_symlink() and not _is_made_here(at_hand):
        return at_hand
    return layout.mounted if layout.mounted.exists() else None


def _is_made_here(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline().rstrip() == FIRST_LINE


def _beside_shared_notes(
    mounted: Path, environment: Mapping[str, str], layout: Layout
) -> tuple[Path, Config]:
    """A mounted configuration, by a name where a note beside it can be written and lasts."""
    config = load(mounted, environment)
    if directory := environment.get(CLUSTER_DIRECTORY):
        path = ClusterDirectory(Path(directory)).configuration_path(config.node.id)
        _link(path, mounted)
    else:
        path = mounted
    if mounted != layout.home / CONFIGURATION:
        # An older one, made before this one was mounted, must not stand in its way.
        _link(layout.home / CONFIGURATION, path)
    return path, config


def _write_configuration(environment: Mapping[str, str], layout: Layout) -> tuple[Path, Config]:
    text = document(environment, {("node", "data_dir"): str(layout.home)})
    at_hand = layout.home / CONFIGURATION
    try:
        config = parse(text, path=at_hand, environment=environment)
    except InvalidConfigError as error:
        problems = [in_words_of_variables(problem, environment) for problem in error.problems]
        raise ContainerError("the variables cannot be used:\n" + "\n".join(problems)) from error
    directory = environment.get(CLUSTER_DIRECTORY)
    path = ClusterDirectory(Path(directory)).configuration_path(config.node.id) if directory else at_hand
    try:
        draft = path.with_name(f".{path.name}.new")
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise unusable(path.parent, error) from error
    if path != at_hand:
        _link(at_hand, path)
    return path, config


def _link(path: Path, target: Path) -> None:
    try:
        path.unlink(missing_ok=True)
        path.symlink_to(target)
    except OSError as error:
        raise unusable(path.parent, error) from error


def _check_writable(data: Path) -> None:
    """Say now, in the words of a container, what would fail later in the words of a node."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = data / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise unusable(data, error) from error


def _tell_health_check(config: Config, layout: Layout) -> None:
    """Leave the address for the health check, which runs too often to read a configuration."""
    address = parse_address(config.api.bind_address)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
    known = {"enabled": config.api.enabled, "host": host, "port": address.port, "tls": config.api.tls}
    try:
        (layout.home / HEALTH_FILE).write_text(json.dumps(known), encoding="utf-8")
    except OSError as error:
        raise unusable(layout.home, error) from error
