"""A Slurm cluster of one node on this machine, from Debian's slurm-wlm: own key, own ports, own folder.

python tests/slurm_cluster.py     starts one, prints the SLURM_CONF that its commands need, and ends with Ctrl-C
"""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

DAEMONS = ("munged", "slurmctld", "slurmd")
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/linear
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why no cluster can be started here; empty when one can."""
    absent = [name for name in (*DAEMONS, "sbatch") if shutil.which(name, path=_path()) is None]
    if absent:
        return f"{', '.join(absent)} is not installed: apt-get install slurm-wlm munge"
    return "" if hasattr(os, "geteuid") and os.geteuid() == 0 else "only root can start a node of Slurm"


@contextmanager
def cluster() -> Iterator[dict[str, str]]:
    """The variables under which Slurm's commands find a cluster that lives as long as the block."""
    host = socket.gethostname().partition(".")[0]
    with tempfile.TemporaryDirectory(prefix="slurm") as name:
        folder = Path(name)
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        (folder / "state").mkdir()
        (folder / "spool").mkdir()
        ports = {"controller_port": free_port(), "node_port": free_port()}
        conf = folder / "slurm.conf"
        conf.write_text(CONF.format(host=host, folder=folder, cpus=os.cpu_count(), **ports))
        environment = {"SLURM_CONF": str(conf), "PATH": _path()}
        munge = ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", f"--key-file={key}"]
        munge += [f"--{what}-file={folder}/munged.{what}" for what in ("pid", "log", "seed")]
        daemons = []
        try:
            for command in (munge, ["slurmctld", "-D"], ["slurmd", "-D", "-N", host]):
                daemons.append(psutil.Popen(command, env={**os.environ, **environment}, **QUIET))
            _wait_until_ready({**os.environ, **environment}, folder)
            yield environment
        finally:
            family = [process for daemon in daemons for process in daemon.children(recursive=True)]
            for process in [*reversed(daemons), *family]:
                process.kill()
            psutil.wait_procs([*daemons, *family], timeout=10)


QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def _wait_until_ready(environment: dict[str, str], folder: Path) -> None:
    deadline = time.monotonic() + 60
    command = ["sinfo", "--noheader", "--format=%T"]
    while subprocess.run(command, capture_output=True, text=True, env=environment).stdout.strip() != "idle":
        if time.monotonic() > deadline:
            raise RuntimeError("\n".join(log.read_text()[-2000:] for log in folder.glob("*.log")))
        time.sleep(0.5)


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    with cluster() as variables:
        print(f"export SLURM_CONF={variables['SLURM_CONF']}", flush=True)
        while True:
            time.sleep(3600)
