"""Three containers' nodes, without an engine: founded from variables, used, stopped, wiped and back again."""

import os
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest
from unprivileged_nodes import IMAGE_USER, Machine, UnprivilegedNode, wait_for

from wolfscale.demo.plan import free_ports

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to come down to the image's user from"),
    pytest.mark.skipif(
        os.path.exists("/etc/wolfscale"), reason="this machine has a configuration of its own"
    ),
]

NAMES = ("node-1", "node-2", "node-3")


def variables() -> dict[str, dict[str, str]]:
    """What docker/compose.yaml gives its nodes, on ports of loopback."""
    ports = free_ports(9)
    peers = dict(zip(NAMES, ports[:3], strict=True))
    every = {
        "WOLFSCALE_CLUSTER_DIR": "/var/lib/wolfscale-cluster",
        "WOLFSCALE_DATABASE": "demo",
        "WOLFSCALE_USER": "app",
        "WOLFSCALE_PASSWORD": "secret",
        "WOLFSCALE_DATABASE_BUFFER_POOL_MB": "32",
    }
    return {
        name: {
            **every,
            "WOLFSCALE_NODE_ID": name,
            "WOLFSCALE_NODE_BIND_ADDRESS": f"127.0.0.1:{peers[name]}",
            "WOLFSCALE_PEERS": " ".join(
                f"127.0.0.1:{port}" for other, port in peers.items() if other != name
            ),
            "WOLFSCALE_PROXY_BIND_ADDRESS": f"127.0.0.1:{ports[3 + number]}",
            "WOLFSCALE_API_BIND_ADDRESS": f"127.0.0.1:{ports[6 + number]}",
            **({"WOLFSCALE_BOOTSTRAP": "true"} if number == 0 else {}),
        }
        for number, name in enumerate(NAMES)
    }


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[UnprivilegedNode]]:
    """Three nodes that serve; a test leaves them so."""
    machine = Machine()
    found = [UnprivilegedNode(machine, name, given) for name, given in variables().items()]
    try:
        # The founder last: the others wait for the secret that it makes.
        for node in reversed(found):
            node.start()
        wait_serving(found)
        yield found
    finally:
        for node in found:
            node.end()
        machine.remove()


def wait_serving(nodes: list[UnprivilegedNode]) -> None:
    try:
        for node in nodes:
            wait_for(node.is_healthy, f"{node.name} to serve")
    except AssertionError:
        for node in nodes:
            print(f"--- {node.name}\n{node.log.read_text()[-3000:]}")
        raise


def leader_of(nodes: list[UnprivilegedNode]) -> UnprivilegedNode:
    answer = nodes[0].execute("-m", "wolfscale", "status", "--json")
    assert answer.returncode == 0, answer.stderr
    return next(node for node in nodes if f'"name": "{node.name}"' in answer.stdout.partition('"leader"')[2])


def test_nodes_from_variables_serve_their_first_account(nodes: list[UnprivilegedNode]) -> None:
    first, second, third = nodes
    second.query("CREATE TABLE demo.t (a INT PRIMARY KEY)")
    third.query("INSERT INTO demo.t VALUES (1), (2)")
    for node in nodes:
        assert node.query("SELECT a FROM demo.t ORDER BY a") == ((1,), (2,))
    with pytest.raises(pymysql.err.MySQLError):
        first.query("SELECT 1", password="wrong")
    with pytest.raises(pymysql.err.MySQLError):
        first.query("CREATE DATABASE another")


def test_nodes_and_their_servers_run_as_the_image_s_user(nodes: list[UnprivilegedNode]) -> None:
    for node in nodes:
        for file in (node.volume / "identity.json", node.volume / "mysql" / "ibdata1"):
            assert file.stat().st_uid == IMAGE_USER
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{node.process_id}/status").read_text().splitlines()
        )
        assert status["Uid"].split() == [str(IMAGE_USER)] * 4
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0


def test_account_made_beside_a_follower_logs_in_everywhere(nodes: list[UnprivilegedNode]) -> None:
    leader = leader_of(nodes)
    follower = next(node for node in nodes if node is not leader)
    create = ("-m", "wolfscale", "account", "create")
    made = follower.execute(*create, "owner", "--administrator", "--password-file", "-", text="a word\n")
    assert made.returncode == 0, made.stderr
    for node in nodes:
        wait_for(lambda node=node: logs_in(node, "owner", "a word"), f"the account at {node.name}")  # type: ignore[misc]
    leader.query("CREATE DATABASE shop", user="owner", password="a word")

    made = leader.execute(*create, "seller", "--database", "shop", "--password-file", "-", text="b word")
    assert made.returncode == 0, made.stderr
    follower.query("CREATE TABLE shop.t (a INT)", user="seller", password="b word")
    again = follower.execute(*create, "seller", "--database", "shop", "--password-file", "-", text="c word")
    assert again.returncode == 1
    assert "account password seller" in again.stderr
    assert "Traceback" not in again.stderr

    changed = follower.execute(
        "-m", "wolfscale", "account", "password", "seller", "--password-file", "-", text="d word"
    )
    assert changed.returncode == 0, changed.stderr
    assert logs_in(leader, "seller", "d word")
    assert not logs_in(leader, "seller", "b word")
    unknown = follower.execute(
        "-m", "wolfscale", "account", "password", "nobody", "--password-file", "-", text="x"
    )
    assert unknown.returncode == 1
    assert "no account 'nobody'" in unknown.stderr


def logs_in(node: UnprivilegedNode, user: str, password: str) -> bool:
    try:
        return node.query("SELECT 1", user=user, password=password) == ((1,),)
    except pymysql.err.OperationalError:
        return False


def test_leader_told_to_stop_ends_in_good_order_and_comes_back(nodes: list[UnprivilegedNode]) -> None:
    leader = leader_of(nodes)
    others = [node for node in nodes if node is not leader]
    assert leader.stop() == 0
    others[0].query("INSERT INTO demo.t VALUES (3)")
    assert not any((leader.volume / "server").glob("*.pid")), "MariaDB was stopped, not killed"
    leader.start()
    wait_serving([leader])
    for node in nodes:
        wait_for(lambda node=node: count(node) == 3, f"{node.name} to have it all")  # type: ignore[misc]


def count(node: UnprivilegedNode) -> int:
    return int(node.query("SELECT COUNT(*) FROM demo.t")[0][0])


def test_founder_that_lost_its_volume_founds_no_second_cluster(nodes: list[UnprivilegedNode]) -> None:
    first, *others = nodes
    for node in nodes:
        assert node.stop() == 0
    first.wipe()
    said = first.log.stat().st_size
    first.start()
    wait_for(lambda: "joining" in first.log.read_text()[said:], "node-1 to ask its peers")
    assert "comes back as a new member" in first.log.read_text()[said:]
    assert not first.is_healthy()
    for node in others:
        node.start()
    wait_serving(nodes)
    for node in nodes:
        wait_for(lambda node=node: count(node) == 3, f"{node.name} to have it all")  # type: ignore[misc]
    assert "makes a new cluster" not in first.log.read_text()[said:]
