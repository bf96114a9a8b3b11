"""What a studio is told of its clusters: `clusters.json` in the workspace, and SDSTUDIO_RAY_ADDRESS."""

import os
import sys
from dataclasses import dataclass, field, replace

from sdstudio.schema import STRICT, from_json, option
from sdstudio.workspace import Workspace, read_json

FILE = "clusters.json"
RAY_ADDRESS = "SDSTUDIO_RAY_ADDRESS"


@dataclass(frozen=True, kw_only=True)
class RaySettings:
    """A Ray cluster. Each process of a job takes `resources`: CPU, GPU, memory, and names of the cluster's own."""

    __pydantic_config__ = STRICT
    address: str = option("", "The address of the cluster's dashboard, such as http://head:8265.")
    resources: dict[str, float] = option({}, "What each process of a job takes, such as {'GPU': 1}.")
    jobs: int = option(1, "Jobs handed to the cluster at a time.", low=1, high=1024)
    python: str = option(sys.executable, "The Python of the studio's environment on the cluster's machines.")


@dataclass(frozen=True, kw_only=True)
class SlurmSettings:
    """A Slurm cluster, reached through the commands that this machine has."""

    __pydantic_config__ = STRICT
    options: list[str] = option(
        [], "Options of sbatch, such as ['--partition=gpu', '--gpus={processes}', '--time=12:00:00']."
    )
    jobs: int = option(1, "Jobs handed to the cluster at a time.", low=1, high=1024)
    python: str = option(sys.executable, "The Python of the studio's environment on the cluster's machines.")


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """`clusters.json`."""

    __pydantic_config__ = STRICT
    ray: RaySettings = field(default_factory=RaySettings)
    slurm: SlurmSettings | None = None


def read_clusters(ws: Workspace) -> Clusters:
    """What the workspace's file says, with the address from the environment; a UserError when the file is damaged."""
    file = ws.root / FILE
    clusters = from_json(Clusters, read_json(file)) if file.exists() else Clusters()
    address = os.environ.get(RAY_ADDRESS)
    return replace(clusters, ray=replace(clusters.ray, address=address)) if address else clusters
