"""The tokens: made, stored, read, exchanged."""

import logging
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.api.errors import TokenFileError
from wolfscale.api.scopes import Scope
from wolfscale.api.tokens import Token, TokenFile, TokenList, made_tokens, read_tokens, write_tokens

SECRET = b"a secret of some length"
FIRST = "first-0123456789abcdef"
SECOND = "second-0123456789abcdef"


def test_made_tokens_are_the_same_wherever_the_secret_is() -> None:
    tokens = made_tokens(SECRET)
    assert tokens == made_tokens(SECRET)
    assert [token.scope for token in tokens] == [Scope.READ, Scope.WRITE, Scope.ADMIN]
    values = {token.value for token in (*tokens, *made_tokens(SECRET + b"!"))}
    assert len(values) == 6
    assert all(len(value) >= 40 for value in values)


def test_made_tokens_are_written_once_and_are_readable_by_the_owner_only(tmp_path: Path) -> None:
    path, tokens = tmp_path / "api-tokens", made_tokens(SECRET)
    assert write_tokens(path, tokens)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_tokens(path) == tokens
    assert not write_tokens(path, tokens)
    path.chmod(0o644)
    assert write_tokens(path, tokens)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert write_tokens(path, made_tokens(b"another secret of the cluster"))
    assert os.listdir(tmp_path) == ["api-tokens"]


def test_token_never_shows_in_its_representation() -> None:
    assert FIRST not in repr(Token(scope=Scope.READ, value=FIRST))


@given(st.text())
def test_unknown_token_is_unknown_whatever_it_is(text: str) -> None:
    assert TokenList(made_tokens(SECRET)).scope_of(text) is None


def test_token_with_two_rights_has_the_greater_one() -> None:
    tokens = [Token(scope=Scope.ADMIN, value=FIRST), Token(scope=Scope.READ, value=FIRST)]
    assert TokenList(tokens).scope_of(FIRST) is Scope.ADMIN


def own_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "tokens"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def test_tokens_of_the_operator_are_read_with_comments(tmp_path: Path) -> None:
    path = own_file(tmp_path, f"# ours\n\nread {FIRST}  # the dashboard\nread {SECOND}\n")
    tokens = TokenFile(path)
    assert tokens.scope_of(FIRST) is tokens.scope_of(SECOND) is Scope.READ
    assert tokens.scope_of(made_tokens(SECRET)[0].value) is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "holds no token"),
        ("# nothing\n", "holds no token"),
        (f"owner {FIRST}\n", "line 1: is not one of read, write and admin"),
        (f"\n{FIRST}\n", "line 2: is not one of"),
        (f"read {FIRST} {SECOND}\n", "line 1: is not one of"),
        ("read short\n", "fewer than 16 characters"),
        ("read ümlaut-0123456789abcdef\n", "other characters"),
    ],
)
def test_unusable_token_file_is_refused_with_the_line(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(TokenFileError, match=complaint) as error:
        TokenFile(own_file(tmp_path, text))
    assert FIRST not in str(error.value)


def test_token_file_that_is_missing_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenFileError, match="cannot be read: No such file"):
        TokenFile(tmp_path / "none")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(TokenFileError, match="is not UTF-8"):
        TokenFile(tmp_path / "binary")


def test_token_file_is_read_again_when_it_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tokens = TokenFile(path := own_file(tmp_path, f"read {FIRST}\n"))
    path.write_text(f"admin {SECOND}\n", encoding="utf-8")
    assert tokens.scope_of(FIRST) is None
    assert tokens.scope_of(SECOND) is Scope.ADMIN
    caplog.set_level(logging.WARNING)
    for harm in (lambda: path.write_text("nonsense"), path.unlink):
        harm()
        assert tokens.scope_of(SECOND) is Scope.ADMIN
        assert "stay in force" in caplog.text
        caplog.clear()
    path.write_text(f"read {FIRST}\n", encoding="utf-8")
    assert tokens.scope_of(SECOND) is None


def test_token_file_that_everybody_can_read_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = own_file(tmp_path, f"read {FIRST}\n")
    path.chmod(0o644)
    caplog.set_level(logging.WARNING)
    TokenFile(path)
    assert "chmod" in caplog.text
    assert FIRST not in caplog.text
