import socket
from pathlib import Path

from wolfscale.config import load
from wolfscale.demo import ClusterPlan
from wolfscale.demo.plan import free_ports, taken_ports


def test_fixed_ports_are_those_that_the_documentation_names(tmp_path: Path) -> None:
    plan = ClusterPlan.with_fixed_ports(tmp_path, 3)
    assert [(n.mysql_port, n.http_port, n.peer_port) for n in plan.nodes] == [
        (3307, 8080, 7400),
        (3308, 8081, 7401),
        (3309, 8082, 7402),
    ]


def test_written_configurations_are_valid_and_on_loopback_only(tmp_path: Path) -> None:
    plan = ClusterPlan.with_free_ports(
        tmp_path,
        3,
        settings={"wal": {"segment_size_mb": 1}, "database": {"options": ["--max-connections=50"]}},
        node_settings={2: {"node": {"witness": False}, "wal": {"fsync": False}}},
    )
    plan.write()
    configs = [load(node.config_path, {}) for node in plan.nodes]
    assert [config.node.id for config in configs] == ["node-1", "node-2", "node-3"]
    assert [config.wal.fsync for config in configs] == [True, False, True]
    assert {config.wal.segment_size_mb for config in configs} == {1}
    assert len({config.cluster.secret for config in configs}) == 1
    for config, node in zip(configs, plan.nodes, strict=True):
        assert config.data_dir == node.data_dir
        assert len(config.cluster.peers) == 2
        addresses = (config.node.bind_address, config.proxy.bind_address, config.api.bind_address)
        assert all(address.startswith("127.0.0.1:") for address in addresses)


def test_written_configuration_of_a_witness_is_valid(tmp_path: Path) -> None:
    plan = ClusterPlan.with_free_ports(tmp_path, 3, node_settings={3: {"node": {"witness": True}}})
    plan.write()
    configs = [load(node.config_path, {}) for node in plan.nodes]
    assert [config.node.witness for config in configs] == [False, False, True]


def test_shared_secret_is_private_and_kept_when_written_again(tmp_path: Path) -> None:
    plan = ClusterPlan.with_fixed_ports(tmp_path, 1)
    plan.write()
    secret = plan.secret_path.read_text()
    plan.write()
    assert plan.secret_path.read_text() == secret
    assert plan.secret_path.stat().st_mode & 0o777 == 0o600


def test_taken_ports_are_found(tmp_path: Path) -> None:
    assert len(set(free_ports(30))) == 30
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        plan = ClusterPlan.with_fixed_ports(tmp_path, 1, http_port=port, mysql_port=free_ports(1)[0])
        assert port in taken_ports(plan)
