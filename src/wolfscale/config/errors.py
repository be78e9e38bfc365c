"""What can be wrong with a configuration: each problem has a key, a line and a reason."""

from collections.abc import Sequence
from pathlib import Path

from wolfscale.errors import WolfScaleError


class ConfigError(WolfScaleError):
    """One thing in the configuration that cannot be used.

    Attributes:
        key: the key as the user would look for it, e.g. `cluster.peers`; empty for the file as a whole.
        line: its line in the file, from 1; None when the key is not in the file.
        reason: what is wrong and what would be right; never the value of a secret.
    """

    def __init__(self, key: str, line: int | None, reason: str) -> None:
        self.key = key
        self.line = line
        self.reason = reason
        super().__init__(self.describe())

    def describe(self) -> str:
        """The problem as one line: `line 7: cluster.peers: ...`."""
        where = [f"line {self.line}"] if self.line is not None else []
        return ": ".join([*where, *([self.key] if self.key else []), self.reason])


class InvalidConfigError(ConfigError):
    """A configuration file with at least one problem; all of them are listed, in the file's order.

    Attributes:
        path: the file.
        problems: every problem found; the first one's key, line and reason are this error's own.
    """

    def __init__(self, path: Path, problems: Sequence[ConfigError]) -> None:
        self.path = path
        self.problems = tuple(problems)
        first = self.problems[0]
        super().__init__(first.key, first.line, first.reason)
        self.args = (self.describe(),)

    def describe(self) -> str:
        """One line a problem, each beginning with `file:line`, as editors and terminals understand it."""
        lines = []
        for problem in self.problems:
            where = str(self.path) if problem.line is None else f"{self.path}:{problem.line}"
            lines.append(": ".join([where, *([problem.key] if problem.key else []), problem.reason]))
        return "\n".join(lines)


class SecretMissingError(ConfigError):
    """A node that joins a cluster has no secret to prove itself with; the reason says where to put it."""
