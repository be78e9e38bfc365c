"""The health check: one request to a node, said with an exit code; imports next to nothing."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from wolfscale.certificates import ServerCertificate
from wolfscale.container.health import check, main


class Node(BaseHTTPRequestHandler):
    """Answers as a node does."""

    answer: ClassVar[tuple[int, object]] = (200, {})

    def do_GET(self) -> None:
        status, body = self.answer if self.path == "/health" else (404, {})
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def address_file(tmp_path: Path) -> Iterator[Path]:
    with HTTPServer(("127.0.0.1", 0), Node) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        path = tmp_path / "health.json"
        path.write_text(json.dumps({"enabled": True, "host": "127.0.0.1", "port": server.server_port}))
        yield path
        server.shutdown()
        thread.join()


def test_health_over_https_takes_the_certificate_of_the_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Node, "answer", (200, {"healthy": True}))
    context = ServerCertificate.from_secret(b"a secret of the cluster", "node-1", ["node-1"]).context()
    path = tmp_path / "health.json"
    with HTTPServer(("127.0.0.1", 0), Node) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        known = {"enabled": True, "host": "127.0.0.1", "port": server.server_port, "tls": True}
        path.write_text(json.dumps(known))
        answer = check(path)
        server.shutdown()
        thread.join()
    assert answer == (True, "can serve clients")


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, {"healthy": True, "reason": ""}, (True, "can serve clients")),
        (503, {"healthy": False, "reason": "this node is joining"}, (False, "this node is joining")),
        (503, {"healthy": False, "reason": "this node is a witness", "role": "witness"}, (True, "a witness")),
        (503, {"healthy": False, "reason": "this node is a witness"}, (True, "a witness")),
        (500, [], (False, "HTTP status 500")),
    ],
)
def test_health_says_what_the_node_says(
    address_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    body: object,
    expected: tuple[bool, str],
) -> None:
    monkeypatch.setattr(Node, "answer", (status, body))
    assert check(address_file) == expected


def test_health_of_a_node_that_does_not_answer_is_bad(address_file: Path, tmp_path: Path) -> None:
    assert check(tmp_path / "none") == (False, check(tmp_path / "none")[1])
    assert "has not been started" in check(tmp_path / "none")[1]
    known = json.loads(address_file.read_text())
    address_file.write_text(json.dumps({**known, "enabled": False}))
    assert check(address_file)[0] is False
    address_file.write_text(json.dumps({**known, "port": 1}))
    healthy, reason = check(address_file)
    assert not healthy
    assert "no answer from 127.0.0.1:1" in reason


def test_health_program_exits_with_the_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for healthy, code in ((True, 0), (False, 1)):
        monkeypatch.setattr("wolfscale.container.health.check", lambda healthy=healthy: (healthy, "because"))
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == code
        assert capsys.readouterr().out == "because\n"


def test_health_program_imports_nothing_but_the_standard_library() -> None:
    program = (
        "import wolfscale.container.health, sys; "
        "print([name for name in sys.modules if name.split('.')[0] not in sys.stdlib_module_names "
        "and name.split('.')[0] != '__main__'])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    allowed = {"wolfscale", "wolfscale.container", "wolfscale.container.health"}
    foreign = {
        name for name in eval(answer.stdout) if not name.startswith(("_", "__editable__", "sitecustomize"))
    }
    assert foreign <= allowed | {"sitecustomize"}
