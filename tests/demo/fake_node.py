"""Stands in for `wolfscale start`: serves a made-up status, with a process beside it that looks like MariaDB.

Which node leads is read from a file that the test writes. Nothing heavy is imported: many are started.
"""

import http.server
import signal
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

from wolfscale.api.models import DatabaseState, LeaderStatus, NodeStatus, RaftRole
from wolfscale.testing.statuses import node


def made_up_status(number: int, directory: Path) -> NodeStatus:
    leader_file = directory / "leader"
    leader = int(leader_file.read_text()) if leader_file.exists() else 1
    leads = leader == number
    return node(
        number,
        role=RaftRole.LEADER if leads else RaftRole.FOLLOWER,
        state=DatabaseState.PRIMARY if leads else DatabaseState.REPLICA,
        writable=leads,
        leader=LeaderStatus(id="x", name=f"node-{leader}", address="x:1"),
    )


def main(config: Path) -> None:
    settings = tomllib.loads(config.read_text())
    data = Path(settings["node"]["data_dir"])
    data.mkdir(parents=True, exist_ok=True)
    number = int(settings["node"]["id"].rpartition("-")[2])

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = made_up_status(number, config.parents[1]).model_dump_json().encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    host, _, port = settings["api"]["bind_address"].partition(":")
    server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    # -S -E: a bare interpreter starts at once.
    database = subprocess.Popen(
        ["mariadbd", "-S", "-E", "-c", "import time; time.sleep(1000)", f"--datadir={data}/mariadb"],
        executable=sys.executable,
    )
    stop.wait()
    server.shutdown()
    database.kill()
    database.wait()


if __name__ == "__main__":
    if "--bootstrap" in sys.argv:
        (Path(sys.argv[1]).parent / "bootstrapped").touch()
    main(Path(sys.argv[1]))
