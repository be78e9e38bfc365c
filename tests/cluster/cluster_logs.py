"""What the nodes of a cluster logged: found again as events, and looked through for secrets."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from wolfscale.app.admin import admin_connection_info
from wolfscale.app.api_account import api_account

if TYPE_CHECKING:
    from cluster_under_test import ClusterUnderTest

CANARY = "correct-horse-battery-staple"
"""A password that tests use through the proxies."""

_FIELD = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S+)')


def logged(cluster: "ClusterUnderTest", number: int, event: str) -> list[dict[str, str]]:
    """The fields of each line of a node's log with this event, oldest first."""
    text = cluster.node(number).log_path.read_text(encoding="utf-8", errors="replace")
    lines = re.findall(rf": {re.escape(event)}(?= \w+=|$)(.*)$", text, re.MULTILINE)
    return [dict(_FIELD.findall(line)) for line in lines]


def assert_no_secret(cluster: "ClusterUnderTest") -> None:
    """No node logged the cluster's secret, a token, or a password; nor did its MariaDB."""
    for number in cluster.numbers:
        node = cluster.node(number)
        secrets = _secrets(cluster.plan.secret_path, node.data_dir)
        for path in (node.log_path, node.data_dir / "server" / "mysql.err"):
            if not path.exists():
                continue
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                found = [name for name, secret in secrets.items() if secret in line]
                assert not found, f"{path} holds {', '.join(found)}"


def _secrets(secret_path: Path, data_dir: Path) -> dict[str, str]:
    secret = secret_path.read_text().strip()
    found = {
        "the cluster's secret": secret,
        "a client's password": CANARY,
        "the password of the HTTP side's account": api_account(secret.encode()).password,
    }
    try:
        found["the password of the node's account"] = admin_connection_info(data_dir)[2]
        tokens = (data_dir / "api-tokens").read_text().splitlines()
    except OSError:
        return found  # a node that lost its disk
    words = [line.split() for line in tokens if not line.startswith("#")]
    return found | {f"the token to {scope}": token for scope, token in words}
