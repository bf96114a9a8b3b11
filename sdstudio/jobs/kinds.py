"""The kinds of jobs: the config each takes, the function that does it, and where its folder lies."""

import gc
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from sdstudio.jobs import prepare
from sdstudio.jobs.context import JobContext
from sdstudio.jobs.devices import DISK, NETWORK
from sdstudio.schema import (
    CaptionConfig,
    ExportConfig,
    GenerateConfig,
    GridConfig,
    ImportConfig,
    JobKind,
    LogoConfig,
    Protocol,
    PublishConfig,
    PushConfig,
    ShiftConfig,
    TrainConfig,
    TryCaptionsConfig,
    UserError,
)
from sdstudio.workspace import Workspace

Parent = Literal["runs", "images", "evaluations", "tasks"]

SELDOM = (20_000, 100, 1000)
"""Objects made between two looks of the garbage collector, and how many looks at the young come before one at older."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of job.

    `function` is 'module:name' of a `(config, JobContext) -> bool`, imported only in the process that does the job; it
    is False when the job ended early because it was asked to stop.
    `prepare(workspace, config)` returns the config made complete, or raises a UserError, before anything is written.
    A kind with a `place` needs no GPU or CPU of its own and runs beside those that do.
    A kind with `ranks` may be done by several processes at once, which share each step of it.
    `bulk` is the function, where there is one, that spreads the job over all machines of a Ray cluster.
    """

    config: type
    function: str
    parent: Parent
    prepare: Callable[[Workspace, Any], Any]
    place: str = ""
    ranks: bool = False
    bulk: str = ""

    def load(self, bulk: bool = False) -> Callable[[Any, JobContext], bool]:
        """The function that does the job; with `bulk` the one that spreads it, where there is one."""
        module, name = ((bulk and self.bulk) or self.function).split(":")
        function: Callable[[Any, JobContext], bool] = getattr(_imported(module), name)
        return function

    def parent_folder(self, ws: Workspace) -> Path:
        folder: Path = getattr(ws, self.parent)
        return folder


def _imported(module: str) -> ModuleType:
    """The module that does a job, imported with the garbage collector at rest most of the time.

    torch and diffusers bring a million objects that stay. The collector would go through them again and again while
    they load and once more when the process ends: a third of both times. Without it 9 MB of garbage would stay too.
    """
    if module in sys.modules:
        return sys.modules[module]
    usual = gc.get_threshold()
    gc.set_threshold(*SELDOM)
    try:
        return importlib.import_module(module)
    finally:
        gc.freeze()
        gc.set_threshold(*usual)


KINDS: dict[JobKind, Kind] = {
    "train": Kind(
        config=TrainConfig,
        function="sdstudio.engine.train:run_train",
        parent="runs",
        prepare=prepare.train,
        ranks=True,
    ),
    "generate": Kind(
        config=GenerateConfig,
        function="sdstudio.engine.generate:run_generate",
        bulk="sdstudio.bulk.generating:run_generate",
        parent="images",
        prepare=prepare.generate,
    ),
    "grid": Kind(config=GridConfig, function="sdstudio.engine.grid:run_grid", parent="images", prepare=prepare.grid),
    "evaluate": Kind(
        config=Protocol,
        function="sdstudio.evaluation:run_evaluate",
        bulk="sdstudio.bulk.evaluating:run_evaluate",
        parent="evaluations",
        prepare=prepare.evaluate,
    ),
    "logo": Kind(
        config=LogoConfig,
        function="sdstudio.evaluation.logos:run_logo",
        parent="tasks",
        prepare=prepare.logo,
    ),
    "shift": Kind(
        config=ShiftConfig,
        function="sdstudio.evaluation.shifts:run_shift",
        parent="tasks",
        prepare=prepare.shift,
    ),
    "caption": Kind(
        config=CaptionConfig,
        function="sdstudio.datasets.captioning:run_caption",
        bulk="sdstudio.bulk.captioning:run_caption",
        parent="tasks",
        prepare=prepare.caption,
    ),
    "import": Kind(
        config=ImportConfig,
        function="sdstudio.datasets.importer:run_import",
        parent="tasks",
        prepare=prepare.import_pictures,
        place=DISK,
    ),
    "try": Kind(
        config=TryCaptionsConfig,
        function="sdstudio.datasets.trying:run_try",
        parent="tasks",
        prepare=prepare.try_captions,
    ),
    "push": Kind(
        config=PushConfig,
        function="sdstudio.datasets.push:run_push",
        parent="tasks",
        prepare=prepare.push,
        place=NETWORK,
    ),
    "export": Kind(
        config=ExportConfig,
        function="sdstudio.sharing.exporting:run_export",
        parent="tasks",
        prepare=prepare.export,
        place=DISK,
    ),
    "publish": Kind(
        config=PublishConfig,
        function="sdstudio.sharing.publishing:run_publish",
        parent="tasks",
        prepare=prepare.publish,
        place=NETWORK,
    ),
}


def get_kind(name: str) -> Kind:
    """The kind of that name; a UserError naming those there are otherwise."""
    for known, kind in KINDS.items():
        if known == name:
            return kind
    raise UserError(f"There is no kind of job named {name!r}; choose one of {', '.join(KINDS)}.")
