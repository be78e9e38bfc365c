"""Small files that are written whole: their content, their mode, and what a failure leaves."""

import errno
import os
from pathlib import Path

import pytest

from wolfscale import durability
from wolfscale.durability import create_file, replace_file


def test_replaced_file_has_the_new_content_and_exactly_the_mode(tmp_path: Path) -> None:
    path = tmp_path / "made" / "file"
    before = os.umask(0o077)
    try:
        replace_file(path, b"old", mode=0o600)
        replace_file(path, b"new", mode=0o644)
    finally:
        os.umask(before)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(path.parent.iterdir()) == [path]


def test_draft_that_a_dead_process_left_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "file"
    (tmp_path / ".file.new").write_bytes(b"half")
    replace_file(path, b"whole", mode=0o600)
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


def test_created_file_is_made_by_the_first_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    create_file(path, b"first", mode=0o600)
    with pytest.raises(FileExistsError):
        create_file(path, b"second", mode=0o600)
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_failed_sync_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    replace_file(path, b"old", mode=0o600)

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(durability, "sync_file", fail)
    with pytest.raises(OSError, match="Input/output error"):
        replace_file(path, b"new", mode=0o600)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
