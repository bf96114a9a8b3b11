"""A study: variants, each trained with several seeds, all looked at by the same protocols. Nothing is done twice."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sdstudio import jobs
from sdstudio.datasets import open_dataset
from sdstudio.evaluation.figures import Figures, figures
from sdstudio.jobs.kinds import get_kind
from sdstudio.models import FoundCheckpoint, list_checkpoints
from sdstudio.results import Evaluation, Row, read_evaluation
from sdstudio.results.judging import judged
from sdstudio.schema import ExtraDataset, Job, LoopConfig, ModelRef, Protocol, TrainConfig, UserError, to_json
from sdstudio.training.sweeps import run_key, runs_by_key
from sdstudio.workspace import Workspace, read_json

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One variant of a study: a method with its options. `loop` are settings of the loop that are its own."""

    name: str
    label: str
    method: str
    options: dict[str, Any] = field(default_factory=dict)
    loop: dict[str, Any] = field(default_factory=dict)
    dataset: str = ""
    mix: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Trained:
    """One run of an arm, ended."""

    arm: Arm
    seed: int
    job: Job
    checkpoints: tuple[FoundCheckpoint, ...]

    @property
    def label(self) -> str:
        return f"{self.arm.label}, seed {self.seed}"


def config_of(arm: Arm, base_model: str, dataset: str, loop: LoopConfig) -> TrainConfig:
    """The run of an arm; `loop` holds what all arms share, its seed among it."""
    return TrainConfig(
        name=f"{arm.label}, seed {loop.seed}",
        dataset=arm.dataset or dataset,
        mix=[ExtraDataset(dataset=name) for name in arm.mix],
        base_model=base_model,
        method=arm.method,
        method_options=arm.options,
        loop=replace(loop, **arm.loop),
    )


def train(ws: Workspace, arm: Arm, config: TrainConfig, say: Say) -> Trained:
    """The run that `config` describes: the one that was done, or else the one that was begun, or a new one.

    Raises UserError when it does not succeed, or is under way in another process.
    """
    config = replace(config, snapshot=config.snapshot or open_dataset(ws, config.dataset).snapshot().hash)
    config = get_kind("train").prepare(ws, config)
    job = runs_by_key(ws).get(run_key(config, config.snapshot))
    if job is None:
        say(f"{config.name}: training")
        job = jobs.run_inline(ws, "train", config, config.name)
    elif job.state in ("failed", "cancelled", "interrupted"):
        say(f"{config.name}: going on with {job.id}")
        job = jobs.resume_inline(ws, job.id)
    _must_have_succeeded(job)
    found = tuple(sorted((one for one in list_checkpoints(ws) if one.run == job.id), key=lambda one: one.step))
    return Trained(arm=arm, seed=config.loop.seed, job=job, checkpoints=found)


def train_all(
    ws: Workspace, arms: Sequence[Arm], base_model: str, dataset: str, loop: LoopConfig, seeds: int, say: Say
) -> list[Trained]:
    """Every arm with every seed, seed by seed, so that a study cut short has whole seeds."""
    return [
        train(ws, arm, config_of(arm, base_model, dataset, replace(loop, seed=seed)), say)
        for seed in range(seeds)
        for arm in arms
    ]


def compare(ws: Workspace, protocol: Protocol, say: Say) -> tuple[Path, Evaluation]:
    """The comparison that `protocol` describes, and its folder: one that was done, or a new one.

    What people rated meanwhile counts.
    """
    prepared = to_json(get_kind("evaluate").prepare(ws, protocol))
    for job in jobs.list_jobs(ws, "evaluate"):
        if read_json(job.folder / "config.json") == json.loads(json.dumps(prepared)):
            if job.state in ("failed", "cancelled", "interrupted"):
                say(f"{protocol.name}: going on with {job.id}")
                job = jobs.resume_inline(ws, job.id)
            _must_have_succeeded(job)
            return job.folder, judged(read_evaluation(job.folder), job.folder)
    say(f"{protocol.name}: drawing and measuring")
    job = jobs.run_inline(ws, "evaluate", protocol, protocol.name)
    _must_have_succeeded(job)
    return job.folder, judged(read_evaluation(job.folder), job.folder)


def _must_have_succeeded(job: Job) -> None:
    if job.state == "succeeded":
        return
    if job.state in ("queued", "starting", "running", "stopping"):
        raise UserError(f"{job.title} ({job.id}) is under way already: wait for it, or stop it, then go on.")
    raise UserError(f"{job.title} ({job.id}) ended {job.state}: {job.error or job.message}. Run the command again.")


def model_of(run: Trained, checkpoint: FoundCheckpoint, label: str) -> ModelRef:
    return ModelRef(base_model=checkpoint.checkpoint.base_model, checkpoint=checkpoint.ref, label=label)


def last_models(runs: Sequence[Trained]) -> list[ModelRef]:
    """The last checkpoint of each run, labelled by arm and seed."""
    return [model_of(run, run.checkpoints[-1], run.label) for run in runs]


def all_models(runs: Sequence[Trained]) -> list[ModelRef]:
    """Every recorded checkpoint of each run, labelled by arm, seed and step."""
    return [
        model_of(run, checkpoint, f"{run.label}, step {checkpoint.step}")
        for run in runs
        for checkpoint in run.checkpoints
    ]


def costs_of(ws: Workspace, runs: Sequence[Trained]) -> dict[str, list[Figures]]:
    """The figures of every run's last checkpoint, by arm."""
    found: dict[str, list[Figures]] = {}
    for run in runs:
        cost = figures(ws, model_of(run, run.checkpoints[-1], run.label))
        found.setdefault(run.arm.name, []).extend([cost] if cost else [])
    return found


def real_pictures(ws: Workspace, evaluation: Evaluation) -> list[Path]:
    """The files of the comparison's reference."""
    return [ws.root / path for path in evaluation.reference]


def rows_shown(evaluation: Evaluation, runs: Sequence[Trained]) -> list[tuple[str, Row]]:
    """The base model and the first seed of every arm, with the name that each has on a sheet of pictures.

    Arms whose settings come out the same are one run, and one row.
    """
    by_label = {row.label: row for row in evaluation.rows}
    base = next(row for row in evaluation.rows if row.role == "base")
    shown = [(run.arm.label, by_label[run.label]) for run in runs if run.seed == 0 and run.label in by_label]
    return [("Base model", base), *shown]
