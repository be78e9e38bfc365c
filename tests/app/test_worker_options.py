"""What a node tells its workers arrives as it was."""

from pathlib import Path

import pytest

from wolfscale.app.client_tls import TlsOptions
from wolfscale.app.options import WorkerOptions, decoded, encoded
from wolfscale.logs import LogFormat

OWN = TlsOptions(required=False, certificate=None, key=None, node="a", names=("localhost", "::1"))
GIVEN = TlsOptions(required=True, certificate=Path("/tls/c.pem"), key=Path("/tls/c.key"), node="a", names=())
FILES = (Path("/links/é.pem"), Path("/links/key"), Path("/links/ca"))


@pytest.mark.parametrize("tls", [None, OWN, GIVEN])
@pytest.mark.parametrize("certificates", [None, FILES])
def test_options_arrive_as_they_were(
    certificates: tuple[Path, Path, Path] | None, tls: TlsOptions | None
) -> None:
    options = WorkerOptions(
        name="a",
        secret=b"a secret of sixteen",
        certificates=certificates,
        listen_descriptor=3,
        control_descriptor=4,
        acknowledged_descriptor=5,
        place=1,
        max_connections=10,
        write_wait=1.5,
        read_wait=0.5,
        consistency="node",
        max_lag=0,
        tls=tls,
        log_format=LogFormat.JSON,
        log_level=20,
    )
    assert decoded(encoded(options)) == options
