"""A planned change of the leader: what the HTTP side needs for it of the node it stands in."""

from typing import Protocol

from pydantic import BaseModel

from wolfscale.api.errors import ApiError


class SwitchOverFailed(ApiError):
    """The leader was not changed as asked, or nobody can say whether it was.

    Attributes:
        word: why, for programs.
        status: the HTTP status that says the same.
    """

    def __init__(self, word: str, status: int, message: str) -> None:
        self.word = word
        self.status = status
        super().__init__(message)


class SwitchedOver(BaseModel):
    """Who takes writes now.

    Attributes:
        leader: its name.
        term: the term in which it leads.
        changed: false when it was the leader already.
        seconds: from the request until it took writes.
    """

    leader: str
    term: int
    changed: bool
    seconds: float


class LeaderSwitch(Protocol):
    """Changes the leader, from any node."""

    async def switch_over(self, to: str | None) -> SwitchedOver:
        """Hand leadership to a member; returns when it takes writes.

        Args:
            to: its name or id; None: whichever is placed best.

        Raises:
            SwitchOverFailed: it leads not, or not yet.
        """
