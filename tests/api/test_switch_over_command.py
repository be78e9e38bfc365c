"""`wolfscale switch-over` against a served HTTP side: what it asks for, says and ends with."""

from collections.abc import Sequence

import pytest
import trio
from api_serving import Source, serving

from wolfscale.api.client import switch_over
from wolfscale.api.services import Services
from wolfscale.api.switching import SwitchedOver, SwitchOverFailed
from wolfscale.cli import main
from wolfscale.cli import switch_over as module


class Switch:
    """Stands for the node; remembers what it was asked for."""

    def __init__(self, failure: SwitchOverFailed | None = None) -> None:
        self.asked: list[str | None] = []
        self._failure = failure

    async def switch_over(self, to: str | None) -> SwitchedOver:
        self.asked.append(to)
        if self._failure is not None:
            raise self._failure
        return SwitchedOver(leader=to or "node-3", term=7, changed=True, seconds=0.25)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["switch-over", "--endpoint", "http://127.0.0.1:1", *arguments])
    return int(ended.value.code or 0)


@pytest.mark.parametrize("to", ["node-2", None])
async def test_switch_over_is_posted_and_answered(to: str | None) -> None:
    switch = Switch()
    async with serving(services=Services(status=Source(), leader=switch)) as port:
        done = await switch_over(f"http://127.0.0.1:{port}", to, timeout_seconds=30)
    assert switch.asked == [to]
    assert (done.leader, done.term, done.changed) == (to or "node-3", 7, True)


async def test_switch_over_refused_by_the_node_says_why() -> None:
    switch = Switch(SwitchOverFailed("not_a_voter", 409, "node-2 is a learner and cannot lead"))
    async with serving(services=Services(status=Source(), leader=switch)) as port:
        with pytest.raises(SwitchOverFailed, match="is a learner") as failure:
            await switch_over(f"http://127.0.0.1:{port}", "node-2", timeout_seconds=30)
    assert (failure.value.word, failure.value.status) == ("not_a_voter", 409)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[SwitchedOver | Exception]:
    """What the node says to the command, the first first."""
    answers: list[SwitchedOver | Exception] = []

    async def ask(endpoint: str, to: str | None, **_: object) -> SwitchedOver:
        await trio.lowlevel.checkpoint()
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(module, "switch_over", ask)
    return answers


@pytest.mark.parametrize(("changed", "words"), [(True, "leads now"), (False, "leads already")])
def test_command_says_who_takes_writes(
    answers: list[SwitchedOver | Exception], capsys: pytest.CaptureFixture[str], changed: bool, words: str
) -> None:
    answers.append(SwitchedOver(leader="node-2", term=7, changed=changed, seconds=0.25))
    assert run("--to", "node-2") == 0
    assert f"node-2 {words} and takes writes (term 7" in capsys.readouterr().out


def test_command_that_is_refused_ends_with_one_and_a_next_step(
    answers: list[SwitchedOver | Exception], capsys: pytest.CaptureFixture[str]
) -> None:
    answers.append(SwitchOverFailed("unreachable", 409, "node-2 has not been heard from"))
    assert run("--to", "node-2") == 1
    said: Sequence[str] = capsys.readouterr().err.splitlines()
    assert said == ["wolfscale: node-2 has not been heard from", "  next: look with `wolfscale status`"]
