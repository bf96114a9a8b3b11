"""What a job will need before it starts: from what earlier jobs of this workspace needed."""

import shutil
from typing import Any

from sdstudio.jobs.kinds import get_kind
from sdstudio.schema import Estimate
from sdstudio.workspace import Workspace


def estimate(ws: Workspace, kind: str, config: Any) -> Estimate:
    """What the job would need, and how that is known; what is not known is None and said."""
    free = shutil.disk_usage(ws.root).free
    get_kind(kind)
    return Estimate(
        seconds=None,
        memory_bytes=None,
        disk_bytes=None,
        free_bytes=free,
        notes=("No earlier job of this workspace tells what this one needs.",),
    )
