"""What a shell offers for the beginning of a command line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PROGRAM = Path(sys.executable).with_name("wolfscale")


def offered(line: str) -> list[str]:
    """What bash would offer, by the script that is installed for it."""
    words = line.split(" ")
    script = (
        'eval "$(_WOLFSCALE_COMPLETE=source_bash wolfscale)"\n'
        f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}\n"
        '_wolfscale_completion wolfscale; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", script],
        env={"PATH": f"{PROGRAM.parent}:{os.environ['PATH']}", "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.skipif(not PROGRAM.exists(), reason="the program is not installed beside the interpreter")
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("wolfscale st", ["start", "status"]),
        ("wolfscale re", []),
        ("wolfscale start --b", ["--bootstrap"]),
        ("wolfscale start --log-format j", ["json"]),
        ("wolfscale wal in", ["inspect"]),
        ("wolfscale status --to", ["--token-file"]),
    ],
)
def test_shell_completes_commands_and_options(line: str, words: list[str]) -> None:
    assert offered(line) == words


def test_completing_a_command_imports_none() -> None:
    code = (
        "import sys\n"
        "from wolfscale.cli import main\n"
        "try:\n    main([])\nfinally:\n"
        "    sys.stderr.write(' '.join(name for name in sys.modules if name.startswith('wolfscale.cli.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            "_WOLFSCALE_COMPLETE": "complete_bash",
            "COMP_WORDS": "wolfscale st",
            "COMP_CWORD": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["start", "status"]
    assert set(done.stderr.split()) == {"wolfscale.cli.commands", "wolfscale.cli.exits"}
