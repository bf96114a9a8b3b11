"""Sweeps: a grid of runs, and no run twice: pytest tests/test_sweeps.py"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_models import make_dataset

from sdstudio import jobs
from sdstudio.datasets import open_dataset
from sdstudio.jobs.folder import read_state, write_state
from sdstudio.schema import JobState, LoopConfig, TrainConfig, UserError, from_json
from sdstudio.training.sweeps import (
    Plan,
    differences,
    list_sweeps,
    parse_axis,
    plan_sweep,
    read_sweep,
    run_key,
    start_sweep,
)
from sdstudio.workspace import Workspace, read_json

BASE = TrainConfig(dataset="toys", method_options={"rank": 4}, loop=LoopConfig(steps=50))
GRID = {"learning_rate": ["1e-4", "1e-3"], "steps": ["20", "40"]}


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace with one small dataset, whose jobs stay in the queue."""
    monkeypatch.setattr("sdstudio.jobs.queue._advance", lambda workspace, database: None)
    workspace = Workspace(tmp_path)
    make_dataset(workspace)
    return workspace


def end(ws: Workspace, job_id: str, state: JobState) -> None:
    """Let the job have ended, on the dataset as it is."""
    folder = jobs.get_job(ws, job_id).folder
    write_state(folder, replace(read_state(folder), state=state, ended=1.0))


def values(plan: Plan) -> list[dict[str, Any]]:
    return [cell.values for cell in plan.cells]


def config_of(ws: Workspace, run: str) -> TrainConfig:
    return from_json(TrainConfig, read_json(ws.runs / run / "config.json"))


def test_a_grid_is_one_run_a_cell(ws: Workspace) -> None:
    sweep = start_sweep(ws, plan_sweep(ws, replace(BASE, name="toys"), GRID), "rates and steps")
    configs = [config_of(ws, cell.run) for cell in sweep.cells]
    assert [(config.method_options["learning_rate"], config.loop.steps) for config in configs] == [
        (1e-4, 20), (1e-4, 40), (1e-3, 20), (1e-3, 40),
    ]  # fmt: skip
    assert {config.method_options["rank"] for config in configs} == {4}
    assert configs[0].name == "toys · learning rate 0.0001 · steps 20"
    assert {config.snapshot for config in configs} == {open_dataset(ws, "toys").snapshot().hash}
    assert sweep.cells[3].values == {"learning_rate": 1e-3, "steps": 40}
    assert read_sweep(ws, sweep.id) == sweep and list_sweeps(ws) == [sweep]


def test_what_was_run_is_not_run_again(ws: Workspace) -> None:
    first = start_sweep(ws, plan_sweep(ws, BASE, GRID))
    done, stopped, *_ = (cell.run for cell in first.cells)
    end(ws, done, "succeeded")
    end(ws, stopped, "cancelled")
    plan = plan_sweep(ws, BASE, {**GRID, "steps": ["20", "40", "60"]})
    assert [cell.run is not None for cell in plan.cells] == [True, True, False, True, True, False]
    assert [cell.to_do for cell in plan.cells] == [False, True, True, False, False, True]
    second = start_sweep(ws, plan)
    assert [cell.run for cell in second.cells if cell.values["steps"] < 60] == [cell.run for cell in first.cells]
    assert jobs.get_job(ws, stopped).state == "queued"
    assert len(jobs.list_jobs(ws, "train")) == 6


def test_another_caption_is_another_run(ws: Workspace) -> None:
    [cell] = start_sweep(ws, plan_sweep(ws, BASE, {"steps": [20]})).cells
    end(ws, cell.run, "succeeded")
    assert not plan_sweep(ws, BASE, {"steps": [20]}).to_do
    store = open_dataset(ws, "toys")
    image = store.images()[0]
    store.set_caption(image.id, "asim. another toy", "person:me", image.version)
    assert plan_sweep(ws, BASE, {"steps": [20]}).to_do


def test_a_run_that_was_started_alone_counts(ws: Workspace) -> None:
    alone = jobs.submit(ws, "train", replace(BASE, name="by hand", loop=LoopConfig(steps=20)))
    [twenty, thirty] = plan_sweep(ws, BASE, {"steps": [20, 30]}).cells
    assert twenty.run is not None and twenty.run.id == alone.id and not twenty.to_do
    assert thirty.run is None and thirty.to_do


def test_a_setting_that_a_method_lacks_makes_no_copies(ws: Workspace) -> None:
    base = replace(BASE, method_options={"rank": 4, "alpha": 2.0})
    plan = plan_sweep(ws, base, {"method": ["lora", "sam"], "dropout": [0.0, 0.1]})
    assert values(plan) == [
        {"method": "lora", "dropout": 0.0},
        {"method": "lora", "dropout": 0.1},
        {"method": "sam"},
    ]
    assert [cell.config.method_options["rank"] for cell in plan.cells] == [4, 4, 4]
    assert any("sam has no dropout" in note for note in plan.notes)
    assert any("sam has no alpha" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ({}, "at least one setting"),
        ({"steps": []}, "at least one setting"),
        ({"stepps": ["1"]}, "did you mean steps"),
        ({"sample_prompts": ["a"]}, "no setting 'sample_prompts'"),
        ({"steps": ["many"]}, "steps"),
        ({"steps": ["0"]}, "the least is 1"),
        ({"method": ["lora", "magic"]}, "no method named 'magic'"),
        ({"base_model": ["starter", "nowhere.safetensors"]}, "no base model at nowhere"),
        ({"seed": range(201)}, "201 runs"),
    ],
)
def test_a_wrong_grid_costs_a_sentence_and_no_run(ws: Workspace, axes: Mapping[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        plan_sweep(ws, BASE, axes)
    assert jobs.list_jobs(ws) == [] and list_sweeps(ws) == []


def test_an_axis_as_text() -> None:
    assert parse_axis("learning-rate = 1e-4, 1e-5,") == ("learning_rate", ["1e-4", "1e-5"])
    for wrong in ("steps", "=1", "steps=", "steps= ,"):
        with pytest.raises(UserError, match="no axis"):
            parse_axis(wrong)


def test_the_key_forgets_the_name_alone() -> None:
    key = run_key(BASE, "snapshot")
    assert run_key(replace(BASE, name="other"), "snapshot") == key
    assert run_key(replace(BASE, snapshot="snapshot"), "later") == key
    assert run_key(BASE, "later") != key
    assert run_key(replace(BASE, loop=LoopConfig(steps=50, seed=1)), "snapshot") != key


def test_settings_that_differ() -> None:
    configs = {
        "one": {"name": "a", "method": "lora", "loop": {"steps": 5, "seed": 0}, "method_options": {"rank": 4}},
        "two": {"name": "b", "method": "full", "loop": {"steps": 9, "seed": 0}, "method_options": {}},
    }
    assert differences(configs) == {
        "method": {"one": "lora", "two": "full"},
        "loop.steps": {"one": 5, "two": 9},
        "method_options.rank": {"one": 4, "two": None},
    }
