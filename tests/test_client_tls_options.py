"""What a node's workers serve as TLS, from the configuration."""

import subprocess
import sys
from pathlib import Path

import pytest

from wolfscale.app.client_tls import client_tls, prepare
from wolfscale.app.tls_settings import tls_options
from wolfscale.certificates import AUTHORITY_FILE, CertificateUnusable, ServerCertificate
from wolfscale.config import Config, parse

SECRET = b"a secret of sixteen"


def config(proxy: str) -> Config:
    return parse(f'[node]\nid = "a"\n[proxy]\n{proxy}\n', path=Path("x"), environment={})


def given(directory: Path, node: str = "a") -> str:
    """The keys that name a certificate and its key, which are written."""
    made = ServerCertificate.from_secret(SECRET, node, ("localhost",)).chain_pem
    start = made.index(b"-----BEGIN CERTIFICATE-----")
    (directory / "key").write_bytes(made[:start])
    (directory / "cert").write_bytes(made[start:])
    return f'tls_cert = "{directory}/cert"\ntls_key = "{directory}/key"'


def test_certificate_of_the_clusters_own_is_for_the_names_of_the_node(tmp_path: Path) -> None:
    options = tls_options(config('tls_names = ["DB.example"]'), node="a", listen="192.0.2.7:3307")
    assert options is not None
    assert {"a", "localhost", "127.0.0.1", "192.0.2.7", "db.example"} <= set(options.names)
    prepare(options, SECRET, tmp_path)
    assert (tmp_path / AUTHORITY_FILE).read_bytes().startswith(b"-----BEGIN CERTIFICATE-----")
    served = client_tls(options, SECRET)
    assert served is not None
    assert not served.required


def test_tls_switched_off_serves_none() -> None:
    options = tls_options(config("tls = false"), node="a", listen=":3307")
    assert options is None
    assert client_tls(options, SECRET) is None


def test_certificate_of_the_operators_is_loaded_and_renewed(tmp_path: Path) -> None:
    keys = given(tmp_path)
    options = tls_options(config(keys + "\nrequire_tls = true"), node="a", listen=":3307")
    assert options is not None
    prepare(options, SECRET, None)
    served = client_tls(options, SECRET)
    assert served is not None
    assert served.required
    assert served.refresh is not None
    served.refresh()
    (tmp_path / "cert").write_text("nothing of use")
    served.refresh()  # the one before stays in force
    given(tmp_path, "b")
    served.refresh()


def test_certificate_that_cannot_be_used_stops_the_node_at_its_start(tmp_path: Path) -> None:
    keys = given(tmp_path)
    (tmp_path / "key").write_text("nothing of use")
    options = tls_options(config(keys), node="a", listen=":3307")
    assert options is not None
    with pytest.raises(CertificateUnusable):
        prepare(options, SECRET, None)


def test_worker_knows_no_configuration() -> None:
    """Its library would cost each worker some MiB."""
    script = "import sys, wolfscale.app.worker; print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
