"""The image's health check: asks the node beside it `GET /health`; a program of its own.

It imports the standard library only: it starts every few seconds, and a whole `wolfscale status` would cost
more than an idle node.
"""

import http.client
import json
import ssl
import sys
from pathlib import Path

ADDRESS_FILE = Path("/var/lib/wolfscale/health.json")
TIMEOUT_SECONDS = 5.0


def check(address_file: Path = ADDRESS_FILE) -> tuple[bool, str]:
    """Whether the node can serve, and the reason when it cannot."""
    try:
        known = json.loads(address_file.read_text())
    except (OSError, ValueError) as error:
        return False, f"the node has not been started: {error}"
    if not known["enabled"]:
        return False, "[api] is not enabled, so there is nothing to ask: switch this health check off as well"
    try:
        status, answer = _ask(known)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return False, f"no answer from {known['host']}:{known['port']}: {error!r}"
    if status == http.client.OK:
        return True, "can serve clients"
    # It votes and keeps the log, and never serves clients: that it answers is all there is to ask.
    if answer.get("role") == "witness" or answer.get("reason") == "this node is a witness":
        return True, "a witness"
    return False, str(answer.get("reason") or f"HTTP status {status}")


def _ask(known: dict[str, object]) -> tuple[int, dict[str, object]]:
    host, port = str(known["host"]), int(str(known["port"]))
    if known.get("tls"):
        # The certificate is for the name that others use; this connection does not leave the machine.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, port, timeout=TIMEOUT_SECONDS, context=context
        )
    else:
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/health")
        response = connection.getresponse()
        answer = json.loads(response.read())
        return response.status, answer if isinstance(answer, dict) else {}
    finally:
        connection.close()


def main() -> None:
    """Exit with 0 when the node can serve, else with 1; the reason is printed."""
    healthy, reason = check()
    print(reason)
    sys.exit(0 if healthy else 1)


if __name__ == "__main__":
    main()
