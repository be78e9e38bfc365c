"""What a power cut leaves of a table that was being made or dropped."""

from pathlib import Path

import pytest

from wolfscale.replication.orphans import HEADER_BYTES, blank_tablespaces
from wolfscale.testing.single_server import fresh_node


def test_blank_tablespaces_are_files_of_tables_that_begin_with_zeros_only(tmp_path: Path) -> None:
    schema = tmp_path / "app"
    schema.mkdir()
    (schema / "zeros.ibd").write_bytes(bytes(4 * HEADER_BYTES))
    (schema / "nothing.ibd").write_bytes(b"")
    (schema / "whole.ibd").write_bytes(bytes(HEADER_BYTES - 1) + b"\x01" + bytes(HEADER_BYTES))
    (schema / "zeros.MAD").write_bytes(bytes(HEADER_BYTES))
    (tmp_path / "ibdata1").write_bytes(bytes(HEADER_BYTES))
    assert sorted(path.name for path in blank_tablespaces(tmp_path)) == ["nothing.ibd", "zeros.ibd"]


@pytest.mark.mariadb
async def test_recovery_removes_the_orphan_and_keeps_every_table() -> None:
    async with fresh_node() as node:
        await node.boot()
        async with node.primary(5) as primary:
            await primary.execute(
                "CREATE DATABASE app",
                "CREATE TABLE app.`kept-1` (id INT)",
                "INSERT INTO app.`kept-1` VALUES (1)",
            )
            await primary.settler.settle_now(node.log.newest().sequence)
            await node.database.kill()
        orphan = node.database.data_directory / "app" / "gone.ibd"
        orphan.write_bytes(bytes(65536))
        await node.crash()
        assert not orphan.exists()
        assert await node.database.value("SELECT id FROM app.`kept-1`") == "1"
