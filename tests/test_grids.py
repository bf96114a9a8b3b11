"""X/Y/Z grids: axes, cells, what is drawn once, sheets and tables.   pytest tests/test_grids.py"""

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tiny_models import SIDE, build, context

from sdstudio.collection import mark
from sdstudio.engine import drawing, grid
from sdstudio.engine.grid import by_cost, run_grid
from sdstudio.engine.pool import ModelPool
from sdstudio.grids import cells, check_grid, draw_sheet, parse_axes, read_cells, table
from sdstudio.jobs import prepare
from sdstudio.jobs.context import STOP_FILE, JobContext
from sdstudio.pictures.image_folder import read_images
from sdstudio.schema import Axis, GenerateConfig, GridConfig, ModelRef, SampleSettings, UserError, from_json, to_json
from sdstudio.workspace import Workspace

LORA = ModelRef(base_model="starter", checkpoint="runs/a/checkpoints/step-000010", label="lora")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    for kind in ("sd1", "sd2"):
        build(kind, root / kind)
    return root


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def a_grid(*axes: str, model: ModelRef | None = None, **settings: Any) -> GridConfig:
    drawn_with = SampleSettings(**{"steps": 2, "seed": 5, **settings})
    base = GenerateConfig(models=[model or ModelRef()], prompts=["a red toy"], settings=drawn_with)
    return check_grid(GridConfig(base=base, axes=parse_axes(axes)))


def test_axes_are_read_as_people_write_them() -> None:
    axes = parse_axes(["cfg=3, 5,7", "seed=1-3", "steps=10-50:20", 'sampler=euler a,"ddim"', 'prompt="a, b",c'])
    assert [(axis.setting, axis.values) for axis in axes] == [
        ("guidance_scale", ["3", "5", "7"]),
        ("seed", ["1", "2", "3"]),
        ("steps", ["10", "30", "50"]),
        ("scheduler", ["euler a", "ddim"]),
        ("prompt", ["a, b", "c"]),
    ]
    assert from_json(GridConfig, to_json(GridConfig(axes=axes))).axes == axes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cfg", "is no axis"),
        ("colour=1", "no setting 'colour'"),
        ("batch size=2", "no setting 'batch size'"),
        ("cfg=", "has no values"),
        ('cfg="3', "cannot be read"),
        ("seed=5-1", "no range"),
        ("seed=0-1000000000", "no range"),
        ("cfg=" + ",".join(map(str, range(201))), "the most is 200"),
    ],
)
def test_an_axis_that_is_none_is_one_sentence(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_axes([text])


def test_every_cell_has_its_own_settings(ws: Workspace) -> None:
    found = cells(ws, a_grid("cfg=3,5", "prompt=red,blue", "seed=7,8"))
    assert [cell.place for cell in found[:5]] == [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 1)]
    assert len(found) == 8 and found[-1].place == (1, 1, 1)
    assert (found[-1].prompt, found[-1].settings.guidance_scale, found[-1].settings.seed) == ("a blue toy", 5.0, 8)
    assert (found[0].prompt, found[0].settings.seed, found[0].settings.steps) == ("a red toy", 7, 2)


def test_a_random_seed_is_drawn_once(ws: Workspace) -> None:
    config = a_grid("cfg=3,5", seed=-1)
    seeds = {cell.settings.seed for cell in cells(ws, config)}
    assert len(seeds) == 1 and seeds.pop() >= 0 and check_grid(config) == config


def test_weights_and_models_are_axes_in_either_order(ws: Workspace) -> None:
    one = cells(ws, a_grid("lora=0.5,1", "model=base,starter", model=LORA))
    other = cells(ws, a_grid("model=base,starter", "lora=0.5,1", model=LORA))
    assert {cell.model for cell in map(hashable, one)} == {cell.model for cell in map(hashable, other)}
    alone = cells(ws, a_grid("lora=0,0.5", model=LORA))
    assert [cell.model.weight for cell in alone] == [0.0, 0.5] and alone[0].model.checkpoint == LORA.checkpoint


def hashable(cell: Any) -> Any:
    return replace(cell, model=str(to_json(cell.model)))


@pytest.mark.parametrize(
    ("axes", "settings", "message"),
    [
        (["cfg=3,0"], {}, "guidance_scale is 0.0, the least is 1"),
        (["cfg=3,x"], {}, "guidance_scale"),
        (["sampler=magic"], {}, "scheduler is 'magic'"),
        (["prompt=green,blue"], {}, "'green' is not in the prompt"),
        (["seed=1,-1"], {}, "seed of −1"),
        (["lora=1,2"], {}, "that of a checkpoint"),
        (["model=10,20"], {}, "is of a run"),
        (["model=base,gone"], {}, "unknown"),
    ],
)
def test_a_value_that_a_setting_does_not_take_is_one_sentence(
    ws: Workspace, axes: list[str], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        cells(ws, a_grid(*axes, **settings))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"axes": []}, "one to 3 axes, not 0"),
        ({"axes": parse_axes(["cfg=3", "seed=1", "steps=2", "width=64"])}, "one to 3 axes, not 4"),
        ({"axes": parse_axes(["cfg=3", "cfg=5"])}, "same setting"),
        ({"axes": parse_axes(["cfg=3,3"])}, "give each value once"),
        ({"axes": parse_axes(["cfg=3"]), "base": GenerateConfig(prompts=["a", "b"])}, "one prompt and one model"),
        ({"axes": parse_axes(["cfg=3"]), "base": GenerateConfig(prompts=["a"], count=2)}, "one picture in each cell"),
        ({"axes": [Axis(setting="seed", values=[str(n) for n in range(4001)])]}, "the most is 4,000"),
    ],
)
def test_what_no_grid_can_be_made_of_is_one_sentence(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_grid(replace(a_grid("cfg=3"), **changed))


def test_models_are_swapped_least(ws: Workspace) -> None:
    config = a_grid("lora=0.5,1", "cfg=3,5", model=LORA)
    one = cells(ws, config)
    other = [replace(cell, model=ModelRef(base_model="other")) for cell in one[:2]]
    third = [replace(cell, model=replace(LORA, checkpoint="runs/b")) for cell in one[:2]]
    mixed = [cell for trio in zip(one, [*other, *third], one[::-1], strict=True) for cell in trio[:2]]
    order = [
        (model[0][0].model.base_model, model[0][0].model.checkpoint, model[0][0].model.weight)
        for model in by_cost(mixed)
    ]
    assert order == [
        ("starter", LORA.checkpoint, 0.5),
        ("starter", LORA.checkpoint, 1.0),
        ("starter", "runs/b", 1.0),
        ("other", "", 1.0),
    ]
    assert sum(len(group) for model in by_cost(mixed) for group in model) == len(mixed)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many pictures are drawn, and how often a base model is loaded."""
    counts = {"drawn": 0, "loaded": 0}
    sample, take = drawing.sample, ModelPool._take

    def count_drawn(pipeline: Any, prompts: list[str], *rest: Any) -> Any:
        counts["drawn"] += len(prompts)
        return sample(pipeline, prompts, *rest)

    def count_loaded(pool: ModelPool, *rest: Any) -> Any:
        counts["loaded"] += 1
        return take(pool, *rest)

    monkeypatch.setattr(drawing, "sample", count_drawn)
    monkeypatch.setattr(ModelPool, "_take", count_loaded)
    return counts


def test_a_stopped_grid_goes_on_and_another_takes_its_pictures_over(
    tiny: Path, ws: Workspace, counted: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    sd1 = ModelRef(base_model=str(tiny / "sd1"), label="one")
    config = a_grid("cfg=3,5", f"model=base,{tiny / 'sd2'}", "seed=7,8", model=sd1)
    ctx = context(ws, "images", "first")
    with monkeypatch.context() as patched:
        patched.setattr(JobContext, "should_stop", lambda ctx: counted["drawn"] >= 4)
        assert not run_grid(config, ctx)
    kept = len(read_cells(ctx.folder))
    assert 0 < kept < 8
    (ctx.folder / STOP_FILE).unlink(missing_ok=True)
    counted.update(drawn=0, loaded=0)
    assert run_grid(config, ctx)
    assert counted["drawn"] == 8 - kept and counted["loaded"] <= 2
    found = read_cells(ctx.folder)
    assert len(found) == 8 == len(set(found.values())) == len(read_images(ctx.folder))

    counted.update(drawn=0, loaded=0)
    wider = a_grid("cfg=3,5,7", f"model=base,{tiny / 'sd2'}", "seed=7", model=sd1)
    later = context(ws, "images", "second")
    assert run_grid(wider, later)
    assert counted["drawn"] == 2 and counted["loaded"] == 2
    for place, file in read_cells(later.folder).items():
        if place[0] < 2:
            assert (later.folder / file).read_bytes() == (ctx.folder / found[place]).read_bytes()
    assert run_grid(wider, later) and counted == {"drawn": 2, "loaded": 2}
    mark(ws, f"images/second/{file}", "deleted")
    assert run_grid(wider, later) and counted == {"drawn": 2, "loaded": 2}
    assert len(read_images(later.folder)) == 5 and not (later.folder / file).exists()


def test_the_sheet_and_the_table_hold_every_cell(tiny: Path, ws: Workspace) -> None:
    config = prepare.grid(ws, a_grid("cfg=3,5,7", "prompt=red,blue", model=ModelRef(base_model=str(tiny / "sd1"))))
    ctx = context(ws, "images", "job")
    empty = draw_sheet(config, ctx.folder)
    assert run_grid(config, ctx)
    sheet, files = draw_sheet(config, ctx.folder), read_cells(ctx.folder)
    assert Image.open(ctx.folder / "sheet-001.png").tobytes() == sheet.tobytes()
    assert (ctx.folder / "cells.csv").read_text() == table(config, ctx.folder).replace("\r\n", "\n")
    assert sheet.width > 3 * 8 * SIDE and sheet.height > 2 * 8 * SIDE and empty.size != sheet.size
    rows = list(csv.DictReader(io.StringIO(table(config, ctx.folder))))
    assert [(row["Guidance scale"], row["Prompt, replaced"]) for row in rows] == [
        (cfg, word) for word in ("red", "blue") for cfg in ("3", "5", "7")
    ]
    assert rows[-1]["prompt"] == "a blue toy" and rows[-1]["file"] == files[2, 1, 0] and rows[0]["seed"] == "5"
    with Image.open(ctx.folder / files[2, 1, 0]) as last:
        corner = sheet.crop(
            (sheet.width - 8 - 8 * SIDE, sheet.height - 8 - 8 * SIDE, sheet.width - 8, sheet.height - 8)
        )
        assert corner.tobytes() == last.convert("RGB").resize(corner.size, Image.Resampling.NEAREST).tobytes()


def test_a_grid_that_cannot_be_is_refused_before_it_is_queued(ws: Workspace) -> None:
    for axes, message in (
        (["prompt=red,(blue"], "bracket|parenthes|weight"),
        (["model=gone/x.safetensors"], "no base model"),
    ):
        with pytest.raises(UserError, match=message):
            prepare.grid(ws, a_grid(*axes))
    assert grid.drawn_elsewhere(context(ws, "images", "job")) == {}
