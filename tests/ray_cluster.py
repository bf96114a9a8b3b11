"""A Ray cluster of two nodes on this machine: on loopback only, with a token, without telemetry.

`ray start` would put a second node beside the first only where both are open to the network, since it replaces
127.0.0.1 by the machine's own address; so both are started by Ray's own `cluster_utils`, in a process of their own.
"""

import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil
import pytest

LOOPBACK = "127.0.0.1"
STORE = 80 * 2**20
"""Bytes of each node's object store; Ray takes no less than 75 MiB."""
PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
"""Left to themselves, Ray's agents must say theirs within fifteen seconds, or their node ends."""
SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # without it 127.0.0.1 becomes the machine's own address
    "OMP_NUM_THREADS": "1",
}
PATIENCE = {
    "RAY_raylet_start_wait_time_s": "600",
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "600",
    "RAY_health_check_failure_threshold": "100",
    "RAY_agent_register_timeout_ms": "600000",
    "RAY_worker_niceness": "0",
}
"""Ray gives up on a machine that is busy with other things."""


@contextmanager
def cluster(patch: pytest.MonkeyPatch) -> Iterator[str]:
    """The dashboard's address, with the variables that it needs. The second node has the resource `trainer`."""
    for name, value in {**SETTINGS, **PATIENCE, "RAY_AUTH_TOKEN": secrets.token_hex(32)}.items():
        patch.setenv(name, value)
    dashboard = free_port()
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        command, environment = [sys.executable, __file__, str(dashboard)], {**os.environ, "RAY_TMPDIR": folder}
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
        try:
            assert process.stdout and any(line == "ready\n" for line in process.stdout)
            yield f"http://{LOOPBACK}:{dashboard}"
        finally:
            family = processes(process.pid)
            for each in family:
                with suppress(psutil.NoSuchProcess):
                    each.kill()
            psutil.wait_procs(family, timeout=30)


def processes(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def open_to_others() -> list[str]:
    """The addresses other than loopback's at which a process below this one listens."""
    found = []
    for process in processes(os.getpid()):
        with suppress(psutil.NoSuchProcess):
            places = [each.laddr for each in process.net_connections("inet") if each.status == psutil.CONN_LISTEN]
            found += [f"{at.ip}:{at.port}" for at in places if at.ip.removeprefix("::ffff:") not in (LOOPBACK, "::1")]
    return found


def node_ids(address: str) -> dict[str, str]:
    """The ids of the cluster's living nodes: that with the resource `trainer`, and the head."""
    from ray.util.state import list_nodes

    alive = [each for each in list_nodes(address=address) if each.state == "ALIVE"]
    return {"trainer" if "trainer" in each.resources_total else "head": str(each.node_id) for each in alive}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def hold(dashboard: int) -> None:
    """Keep the two nodes until this process is killed."""
    from ray.cluster_utils import Cluster

    def node() -> dict[str, Any]:
        ports = {name: free_port() for name in PORTS}
        return {"node_ip_address": LOOPBACK, "object_store_memory": STORE, **ports}

    head = {"include_dashboard": True, "dashboard_host": LOOPBACK, "dashboard_port": dashboard}
    made = Cluster(initialize_head=True, head_node_args={**node(), **head, "num_cpus": 2})
    made.add_node(**node(), num_cpus=1, resources={"trainer": 1})
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    hold(int(sys.argv[1]))
