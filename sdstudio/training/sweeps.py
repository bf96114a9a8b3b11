"""A grid over the settings of a training run: one run a cell, and no run twice.

plan = plan_sweep(ws, TrainConfig(dataset="cats"), {"learning_rate": ["1e-4", "1e-3"], "steps": ["200", "400"]})
sweep = start_sweep(ws, plan, "rates and steps")
"""

import difflib
import hashlib
import itertools
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sdstudio import jobs, registry
from sdstudio.datasets import open_dataset
from sdstudio.jobs.kinds import get_kind
from sdstudio.options import Field, describe, flatten, merge, nest
from sdstudio.schema import STRICT, Job, JobState, Placement, TrainConfig, UserError, from_json, to_json
from sdstudio.workspace import Workspace, check_name, new_id, read_json, write_json

MOST_CELLS = 200
SNAPSHOT_FILE = "snapshot.json"
NOT_VARIED = ("name", "snapshot")
UNFINISHED: tuple[JobState, ...] = ("failed", "cancelled", "interrupted")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of a sweep. `values` are those of the axes by their short names; `key` names what it would compute.

    `run` is the job that has done, does or awaits exactly this, None when there is none yet.
    """

    values: dict[str, Any]
    config: TrainConfig
    key: str
    run: Job | None = None

    @property
    def to_do(self) -> bool:
        """False for what is done, under way or waiting already."""
        return self.run is None or self.run.state in UNFINISHED

    @property
    def status(self) -> str:
        """'new', or the run and the state it is in."""
        return f"{self.run.id} {self.run.state}" if self.run else "new"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The cells of a sweep in the order of its axes; `notes` say, a sentence each, what does not apply where."""

    axes: dict[str, list[Any]]
    cells: tuple[Cell, ...]
    notes: tuple[str, ...] = ()

    @property
    def to_do(self) -> tuple[Cell, ...]:
        """The cells that `start_sweep` would queue."""
        return tuple(cell for cell in self.cells if cell.to_do)


@dataclass(frozen=True, kw_only=True)
class SweepCell:
    """A cell as `sweeps/<id>.json` keeps it."""

    __pydantic_config__ = STRICT
    values: dict[str, Any]
    run: str


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """`sweeps/<id>.json`: which runs belong together, and what differs between them."""

    __pydantic_config__ = STRICT
    id: str
    name: str
    created: float
    axes: dict[str, list[Any]]
    cells: list[SweepCell]


# ---------------------------------------------------------------- which settings can be varied


def variable_fields(method: str) -> dict[str, Field]:
    """The settings of a run by `method` that hold one value, by their path in a TrainConfig."""
    record = registry.find("sdstudio.methods", "method", method)
    fields = [*describe(TrainConfig), *describe(record.Options, "method_options.")]
    return {field.name: field for field in fields if not field.many and field.name not in NOT_VARIED}


def short_name(path: str) -> str:
    """'learning_rate' for 'method_options.learning_rate'."""
    return path.rpartition(".")[2]


def parse_axis(text: str) -> tuple[str, list[str]]:
    """'steps=100,200' -> ('steps', ['100', '200']); a UserError when it is not of that form."""
    name, sign, values = text.partition("=")
    listed = parse_values(values)
    if not sign or not name.strip() or not listed:
        raise UserError(f"{text!r} is no axis of a grid: write a setting and its values, such as steps=200,400.")
    return name.strip().removeprefix("--").replace("-", "_"), listed


def parse_values(text: str) -> list[str]:
    """'100, 200' -> ['100', '200']."""
    return [value.strip() for value in text.split(",") if value.strip()]


def _find_field(name: str, fields: Mapping[str, Field]) -> Field | None:
    """The field that a path or the last part of one names; a UserError where the last part could be several."""
    if name in fields:
        return fields[name]
    found = [field for path, field in fields.items() if short_name(path) == name]
    if len(found) > 1:
        raise UserError(f"{name!r} could be {' or '.join(field.name for field in found)}: name one of them in full.")
    return found[0] if found else None


# ---------------------------------------------------------------- plan


def plan_sweep(ws: Workspace, base: TrainConfig, axes: Mapping[str, Sequence[Any]]) -> Plan:
    """Every combination of the axes' values laid over `base`, each checked as `jobs.submit` would.

    An axis is 'method', 'base_model' or any setting of one value, by its path or the last part of it. One that some
    method lacks leaves that method with fewer cells; one that none has is refused. What `base` changed from its
    method's defaults goes along to the other methods where they have it. Nothing is written.
    """
    if not axes or not all(axes.values()):
        raise UserError("A sweep needs at least one setting with its values, such as learning_rate=1e-4,1e-3.")
    methods = [str(value) for value in axes.get("method", [base.method])]
    _refuse_unknown(axes, methods)
    size = 1
    for values in axes.values():
        size *= len(values)
    if size > MOST_CELLS:
        raise UserError(f"This sweep would make {size:,} runs, the most is {MOST_CELLS}: take some values out.")
    frozen = base.snapshot or open_dataset(ws, base.dataset).frozen().hash if base.dataset else ""
    known = runs_by_key(ws)
    notes: list[str] = []
    cells: dict[str, Cell] = {}
    for combination in itertools.product(*axes.values()):
        cell = _cell(ws, base, dict(zip(axes, combination, strict=True)), frozen, notes)
        cells.setdefault(cell.key, replace(cell, run=known.get(cell.key)))
    return Plan(
        axes={short_name(name): list(values) for name, values in axes.items()},
        cells=tuple(cells.values()),
        notes=tuple(dict.fromkeys(notes)),
    )


def _refuse_unknown(axes: Mapping[str, Sequence[Any]], methods: Sequence[str]) -> None:
    everywhere = {path: field for method in methods for path, field in variable_fields(method).items()}
    for name in axes:
        if not any(_find_field(name, variable_fields(method)) for method in methods):
            near = difflib.get_close_matches(name, [short_name(path) for path in everywhere], n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(near)}?" if near else "`sdstudio train --help` lists the settings."
            raise UserError(f"There is no setting {name!r} that a sweep could vary; {hint}")


def _cell(ws: Workspace, base: TrainConfig, values: dict[str, Any], frozen: str, notes: list[str]) -> Cell:
    method = str(values.get("method", base.method))
    fields = variable_fields(method)
    options, left_out = _carried_options(base, method)
    notes += [f"{method} has no {name}: what was set is left out there." for name in left_out]
    given: dict[str, Any] = {}
    shown: dict[str, Any] = {}
    for name, value in values.items():
        field = _find_field(name, fields)
        if field is None:
            notes.append(f"{method} has no {short_name(name)}: it is run once, whatever that is.")
        else:
            given[field.name] = shown[short_name(name)] = value
    settings = merge({**to_json(base), "method_options": options}, nest(given))
    config: TrainConfig = get_kind("train").prepare(ws, from_json(TrainConfig, settings))
    complete = flatten(to_json(config))
    shown = {short_name(path): complete[path] for path in given}
    name = " · ".join(
        [
            *([base.name] if base.name else []),
            *(f"{axis.replace('_', ' ')} {_text(value)}" for axis, value in shown.items()),
        ]
    )
    return Cell(values=shown, config=replace(config, name=name), key=run_key(config, frozen))


def _carried_options(base: TrainConfig, method: str) -> tuple[dict[str, Any], list[str]]:
    """The method options of `base` for a run by `method`, and the names of those it has no place for."""
    if method == base.method:
        return base.method_options, []
    records = registry.load("sdstudio.methods")
    usual = to_json(records[base.method].Options())
    changed = {name: value for name, value in base.method_options.items() if value != usual.get(name)}
    own = to_json(records[method].Options())
    return {name: value for name, value in changed.items() if name in own}, [
        name for name in changed if name not in own
    ]


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


# ---------------------------------------------------------------- what has been run


def run_key(config: TrainConfig, snapshot: str) -> str:
    """sha256 of all that decides what the run computes: the whole config but its name, and what it learns from."""
    settings = {**to_json(config), "name": "", "snapshot": config.snapshot or snapshot}
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def runs_by_key(ws: Workspace) -> dict[str, Job]:
    """For each key the run that got furthest: one that succeeded, else one under way, else the newest that ended."""
    best: dict[str, Job] = {}
    for job in jobs.list_jobs(ws, "train"):
        try:
            config = from_json(TrainConfig, read_json(job.folder / "config.json"))
            kept = job.folder / SNAPSHOT_FILE
            snapshot = config.snapshot or (read_json(kept)["hash"] if kept.is_file() else _present(ws, config.dataset))
        except UserError:
            continue
        key = run_key(config, snapshot)
        if key not in best or _rank(job) > _rank(best[key]):
            best[key] = job
    return best


def _present(ws: Workspace, dataset: str) -> str:
    """A run that has not begun will take the dataset as it is."""
    return open_dataset(ws, dataset).frozen().hash


def _rank(job: Job) -> int:
    if job.state == "succeeded":
        return 2
    return 0 if job.state in UNFINISHED else 1


# ---------------------------------------------------------------- start, and look at it later


def start_sweep(
    ws: Workspace, plan: Plan, name: str = "", placement: Placement | None = None, owner: str = ""
) -> Sweep:
    """Queue the cells that are neither done nor under way, all on the dataset as it is now; the sweep is kept.

    A run of the same settings that was stopped or failed is resumed instead of begun anew. Raises UserError, with none
    queued, where one of them could not be done.
    """
    placement, cells = placement or Placement(), []
    for cell in plan.to_do:
        jobs.estimate(ws, "train", cell.config, placement)  # which refuses it before any is queued
    for cell in plan.cells:
        run = cell.run
        if run is None:
            config = cell.config
            if not config.snapshot:
                config = replace(config, snapshot=open_dataset(ws, config.dataset).snapshot().hash)
            run = jobs.submit(ws, "train", config, placement=placement, owner=owner)
        elif cell.to_do:
            run = jobs.resume_job(ws, run.id)
        cells.append(SweepCell(values=cell.values, run=run.id))
    id = new_id(name or "sweep")
    sweep = Sweep(id=id, name=name or "Sweep", created=time.time(), axes=plan.axes, cells=cells)
    write_json(_file(ws, id), to_json(sweep))
    return sweep


def read_sweep(ws: Workspace, id: str) -> Sweep:
    """The sweep of that id; a UserError when there is none."""
    check_name(id, "sweep")
    return from_json(Sweep, read_json(_file(ws, id)))


def list_sweeps(ws: Workspace) -> list[Sweep]:
    """Newest first; a file that cannot be read is passed over."""
    found = []
    for path in ws.sweeps.glob("*.json"):
        try:
            found.append(read_sweep(ws, path.stem))
        except UserError:
            continue
    return sorted(found, key=lambda sweep: (-sweep.created, sweep.id))


def _file(ws: Workspace, id: str) -> Path:
    return ws.sweeps / f"{id}.json"


def differences(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Setting -> {run: value} of those settings that are not the same in all of `configs` (run -> config as JSON).

    A setting that a run does not have, such as another method's option, is None there.
    """
    flat = {run: flatten(config) for run, config in configs.items()}
    paths: Iterable[str] = dict.fromkeys(path for config in flat.values() for path in config)
    rows = {path: {run: config.get(path) for run, config in flat.items()} for path in paths if path != "name"}
    return {path: row for path, row in rows.items() if len({json.dumps(value) for value in row.values()}) > 1}
