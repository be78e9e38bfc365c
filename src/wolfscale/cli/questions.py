"""What `wolfscale init` asks: one question a key, asked again until the answer can be used."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import typer

from wolfscale.cli.draft import Draft, Key, default_node_id
from wolfscale.cli.exits import CommandError

_MODES: Final = {"managed": "the node runs it itself", "external": "a service of its own", "witness": "none"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One key that is asked for.

    Attributes:
        key: section and key.
        text: the question.
        default: what Enter alone means; empty: the key is left out.
        required: Enter alone will not do where there is no default.
        value: makes the key's value of the answer.
    """

    key: Key
    text: str
    default: str = ""
    required: bool = False
    value: Callable[[str], object] = str


def _list(answer: str) -> list[str]:
    return answer.replace(",", " ").split()


_FIRST: Final = (
    Question(key=("node", "bind_address"), text="Listen for the other nodes at", default="0.0.0.0:7400"),
    Question(
        key=("cluster", "peers"),
        text="The other nodes' addresses, as in db2:7400 db3:7400 (Enter: none)",
        value=_list,
    ),
)
_EXTERNAL: Final = (
    Question(key=("database", "user"), text="The node's account on the MariaDB server", default="wolfscale"),
    Question(
        key=("database", "password_file"),
        text="The file with that account's password, or ${NAME} for a variable of the environment",
        required=True,
    ),
    Question(key=("database", "host"), text="The server's address", default="127.0.0.1"),
    Question(key=("database", "port"), text="The server's port", default="3306", value=int),
    Question(key=("database", "data_dir"), text="The server's data directory", default="/var/lib/mysql"),
    Question(key=("database", "systemd_unit"), text="The server's systemd unit", default="mariadb"),
)
_DATABASE: Final = (
    Question(key=("database", "database"), text="A database to create at the first start (Enter: none)"),
    Question(key=("proxy", "bind_address"), text="Take MySQL clients at", default="0.0.0.0:3307"),
)
_LAST: Final = (
    Question(key=("api", "bind_address"), text="Serve HTTP (status, health) at", default="0.0.0.0:8080"),
    Question(
        key=("cluster", "secret_file"),
        text="The file with the cluster's secret (Enter: the one that the first node makes in its data "
        "directory)",
    ),
)


_PROXY: Final = (
    Question(
        key=("cluster", "peers"),
        text="The nodes' addresses, as in db1:7400 db2:7400",
        required=True,
        value=_list,
    ),
    Question(
        key=("cluster", "secret_file"),
        text="The file with the cluster's secret, a copy of a node's",
        required=True,
    ),
    Question(key=("proxy", "bind_address"), text="Take MySQL clients at", default="0.0.0.0:3307"),
)


def ask_all(draft: Draft, *, proxy: bool = False) -> None:
    """Ask for what the draft has no value for yet.

    Args:
        draft: gets the answers.
        proxy: whether this is for a proxy alone, which has no MariaDB and is no member.

    Raises:
        CommandError: the answers end before the questions.
    """
    try:
        if proxy:
            for question in _PROXY:
                _ask(draft, question)
            return
        _ask(draft, Question(key=("node", "id"), text="This node's name", default=default_node_id()))
        for question in _FIRST:
            _ask(draft, question)
        mode = _mode(draft)
        if mode == "external":
            for question in _EXTERNAL:
                _ask(draft, question)
        elif mode == "witness":
            draft.values["node", "witness"] = True
        for question in (*(_DATABASE if mode != "witness" else ()), *_LAST):
            _ask(draft, question)
    except typer.Abort as ended:
        raise CommandError(
            "the questions were not answered to the end; nothing was written",
            next_step="give the answers as options with --yes: `wolfscale init --help` lists them",
        ) from ended


def _mode(draft: Draft) -> str:
    if draft.values.get(("node", "witness")):
        return "witness"
    if ("database", "host") in draft.values:
        return "external"
    if any(section == "database" for section, _ in draft.values):
        return "managed"
    choices = ", ".join(f"{mode} ({meaning})" for mode, meaning in _MODES.items())
    while True:
        answer = str(typer.prompt(f"This node's MariaDB: {choices}", default="managed")).strip().lower()
        if answer in _MODES:
            return answer
        typer.echo(f"  answer one of {', '.join(_MODES)}")


def _ask(draft: Draft, question: Question) -> None:
    if question.key in draft.values or _twin(question.key) in draft.values:
        return
    before = {str(problem) for problem in draft.problems()[0]}
    while True:
        answer = str(
            typer.prompt(question.text, default=question.default, show_default=bool(question.default))
        ).strip()
        if not answer:
            if not question.required:
                return
            typer.echo("  an answer is needed here")
            continue
        refers = answer.startswith("${")  # to a variable, in place of the value or of the file with it
        key = _twin(question.key) if refers else question.key
        try:
            draft.values[key] = answer if refers else question.value(answer)
        except ValueError:
            typer.echo(f"  {answer!r} is no number")
            continue
        new = [problem for problem in draft.problems()[0] if str(problem) not in before]
        if not new:
            return
        del draft.values[key]
        for problem in new:
            typer.echo(f"  {problem.key}: {problem.reason}")


def _twin(key: Key) -> Key:
    """The key that holds the secret itself instead of naming its file, or the key as it is."""
    return (key[0], key[1].removesuffix("_file"))
