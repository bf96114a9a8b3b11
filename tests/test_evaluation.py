"""A comparison from protocol to report, on the bundled starter with a few steps and small drawn pictures."""

import csv
import io
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw

from sdstudio.datasets import create_dataset, open_dataset
from sdstudio.engine import pool
from sdstudio.engine.checkpoints import write_checkpoint
from sdstudio.engine.pipeline import LoadedModel, load_base
from sdstudio.evaluation import (
    check_protocol,
    list_boards,
    protocol_hash,
    read_evaluation,
    read_results,
    run_evaluate,
)
from sdstudio.evaluation.cost import cost
from sdstudio.evaluation.measuring import _reference_flags, read_reference
from sdstudio.evaluation.reference import reference_of
from sdstudio.features.clip import ClipEncoder, load
from sdstudio.jobs.context import STOP_FILE, JobContext
from sdstudio.methods import lora
from sdstudio.results import FLOOR
from sdstudio.schema import Checkpoint, Extra, ModelRef, Protocol, SampleSettings, UserError
from sdstudio.workspace import Workspace

RUN = "20260101-000000-lora"


def faces(ws: Workspace, name: str, count: int, seed: int) -> None:
    store = create_dataset(ws, name)
    rng = random.Random(seed)
    for index in range(count):
        picture = Image.new("RGB", (64, 64), rng.choice(["skyblue", "navy", "tan"]))
        left, side = rng.randrange(4, 20), rng.randrange(24, 36)
        ImageDraw.Draw(picture).ellipse((left, left, left + side, left + side), fill="gold", outline="black", width=3)
        data = io.BytesIO()
        picture.save(data, "PNG")
        store.add(data.getvalue(), f"{index}.png", caption=f"zorb a face {index}")


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A training set, a reference, and a LoRA checkpoint whose matrices are noise: no training is needed here."""
    ws = Workspace(tmp_path_factory.mktemp("workspace"))
    faces(ws, "faces", 4, seed=1)
    faces(ws, "heldout", 9, seed=2)
    pipeline = load_base(ws, "starter").pipeline
    options = lora.Options()
    trainable = lora.prepare(pipeline, options)
    torch.manual_seed(0)
    for parameter in trainable.groups[0].parameters.values():
        torch.nn.init.normal_(parameter, std=0.3)
    checkpoint = Checkpoint(
        method="lora",
        method_options={},
        base_model="starter",
        base_hash="",
        family="sd",
        trigger="zorb",
        run=RUN,
        step=1,
        snapshot=open_dataset(ws, "faces").snapshot().hash,
    )
    write_checkpoint(ws.runs / RUN, checkpoint, lambda folder: lora.save(pipeline, trainable, folder))
    return ws


def protocol(**changes: object) -> Protocol:
    given = Protocol(
        name="Faces",
        models=[ModelRef(checkpoint=RUN, label="LoRA")],
        prompts=["{trigger} a man on a beach", "{trigger} a <b>woman</b>"],
        drift_prompts=["a red car", "a cat in a city"],
        seeds=[3, 4],
        reference="heldout",
        settings=SampleSettings(steps=2),
    )
    return replace(given, **changes)


def evaluate(ws: Workspace, name: str, config: Protocol) -> Path:
    folder = ws.evaluations / name
    folder.mkdir(parents=True, exist_ok=True)
    run_evaluate(config, JobContext(ws, folder))
    return folder


@pytest.fixture(scope="module")
def folder(ws: Workspace) -> Path:
    return evaluate(ws, "whole", protocol())


def test_rows_are_base_then_trained_then_floor(folder: Path) -> None:
    results = read_results(folder)
    assert list(dict.fromkeys(result.model for result in results)) == ["Base: Starter (bundled)", "LoRA", FLOOR]
    found = {(result.model, result.metric): result for result in results}
    assert {metric for model, metric in found if model == "LoRA"} == {"fid", "kid", "clip_score", "language_drift"}
    assert {metric for model, metric in found if model == FLOOR} == {"fid", "kid"}
    assert all(result.value is not None for result in results)
    assert (found["LoRA", "fid"].n_generated, found["LoRA", "fid"].n_reference) == (4, 9)
    assert (found[FLOOR, "fid"].n_generated, found[FLOOR, "fid"].n_reference) == (4, 5)
    assert any("4 vs 5" in flag for flag in found[FLOOR, "kid"].flags)
    assert found["LoRA", "fid"].flags[0].startswith("exploratory") and found["LoRA", "fid"].interval is None
    assert found["LoRA", "kid"].interval and found["LoRA", "clip_score"].interval
    assert {result.extractor for result in results} == {load("starter", "cpu").label}


def test_drift_is_paired_with_the_base_on_the_same_prompts_and_seeds(folder: Path) -> None:
    found = {result.model: result for result in read_results(folder) if result.metric == "language_drift"}
    base, trained = found["Base: Starter (bundled)"], found["LoRA"]
    assert base.versus_base is None and base.n_generated == 4 and list(base.per_prompt) == protocol().drift_prompts
    assert trained.versus_base is not None
    assert trained.versus_base.difference == pytest.approx(trained.value - base.value)
    assert trained.versus_base.ratio == pytest.approx(trained.value / base.value)
    assert trained.versus_base.interval[0] <= trained.versus_base.difference <= trained.versus_base.interval[1]


def test_the_base_is_asked_the_very_text_of_the_trained_model(folder: Path) -> None:
    base, trained = read_evaluation(folder).rows
    assert base.flags == () and "was trained on other weights (starter)" in trained.flags[0]
    assert base.role == "base" and trained.role == "trained" and trained.base == base.key
    asked = [[(picture.text, picture.seed, picture.drift) for picture in row.pictures] for row in (base, trained)]
    assert asked[0] == asked[1]
    assert ("zorb a man on a beach", 3, False) in asked[0] and ("a red car", 4, True) in asked[0]
    for row in (base, trained):
        assert all((folder / picture.file).is_file() for picture in row.pictures)
    first, second = (Image.open(folder / row.pictures[0].file).tobytes() for row in (base, trained))
    assert first != second


def test_tables_hold_every_number(folder: Path) -> None:
    import pandas as pd

    from sdstudio.results import results_table, results_text

    results = read_results(folder)
    lines = list(csv.DictReader((folder / "table.csv").open(encoding="utf-8")))
    assert len(lines) == len(results)
    assert [float(line["value"]) for line in lines] == [result.value for result in results]
    table = results_table(results)
    assert list(table["Model"]) == ["Base: Starter (bundled)", "LoRA", FLOOR]
    assert table["FID"].dtype == "float64" and table.loc[1, "FID N"] == "4 vs 9"
    assert pd.isna(table.loc[2, "CLIP score"])
    [drift] = [result for result in results if (result.metric, result.model) == ("language_drift", "LoRA")]
    assert drift.versus_base and table.loc[1, "Language drift ÷ base"] == drift.versus_base.ratio
    assert results_text(results).count("\n") >= 3 and "[" in results_text(results)
    latex = (folder / "table.tex").read_text(encoding="utf-8")
    assert latex.count(r"\\") == 4 and r"\toprule" in latex and protocol_hash_of(folder)[:12] in latex


def protocol_hash_of(folder: Path) -> str:
    return str(json.loads((folder / "protocol.json").read_text())["hash"])


def test_the_report_stands_alone_and_escapes_text(folder: Path) -> None:
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert "http://" not in html and "https://" not in html and "<script" not in html
    assert html.count('src="data:image/') == 2 * 8 + 9 == html.count("<img ")
    assert "&lt;b&gt;woman" in html and "<b>woman" not in html
    assert protocol_hash_of(folder) in html and "prefers-color-scheme: dark" in html
    for text in (FLOOR, "LoRA", "starter CLIP (", "N 4 vs 9", "exploratory: 4 pictures for"):
        assert text in html


def test_a_second_run_encodes_nothing_and_gives_the_same_numbers(
    ws: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the encoder was asked again")

    monkeypatch.setattr(ClipEncoder, "images", refuse)
    monkeypatch.setattr(ClipEncoder, "texts", refuse)
    before = read_results(folder)
    times = {path: path.stat().st_mtime_ns for path in folder.glob("pictures/*/*.png")}
    assert read_results(evaluate(ws, "whole", protocol())) == before
    assert {path: path.stat().st_mtime_ns for path in folder.glob("pictures/*/*.png")} == times


def test_a_stopped_job_keeps_its_pictures_and_ends_without_results(ws: Workspace, folder: Path) -> None:
    half = ws.evaluations / "stopped"
    half.mkdir()
    context = JobContext(ws, half)

    class Stopping(JobContext):
        def progress(self, done: int, total: int, unit: str = "", message: str = "") -> None:
            super().progress(done, total, unit, message)
            if done >= 8:
                (self.folder / STOP_FILE).touch()

    run_evaluate(protocol(), Stopping(ws, half))
    assert not (half / "results.json").exists() and not (half / "report.html").exists()
    kept = {path: path.stat().st_mtime_ns for path in half.glob("pictures/*/*.png")}
    assert len(kept) >= 8
    (half / STOP_FILE).unlink()
    run_evaluate(protocol(), context)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    pairs = zip(read_results(half), read_results(folder), strict=True)
    assert all(one.value == pytest.approx(other.value, rel=1e-4) for one, other in pairs)


def test_a_reference_that_was_trained_on_is_flagged_and_not_ranked(ws: Workspace, folder: Path) -> None:
    config = protocol(reference="faces", metrics=["kid"], drift_prompts=[])
    target = ws.evaluations / "seen"
    target.mkdir()
    for file in folder.glob("pictures/*/*"):
        copy = target / file.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    results = {result.model: result for result in read_results(evaluate(ws, "seen", config))}
    assert "exploratory: 4 reference pictures were trained on" in results["LoRA"].flags
    assert [flag.split(":")[0] for flag in results["Base: Starter (bundled)"].flags] == ["4 pictures of 2 prompts"]
    assert "best" not in (target / "report.html").read_text().split("<tbody>")[1].split("</tbody>")[0]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"models": []}, "no model to compare"),
        ({"prompts": []}, "no prompts"),
        ({"prompts": ["a", " "]}, "empty prompt"),
        ({"prompts": ["a", "a"]}, "'a' is there 2 times"),
        ({"seeds": []}, "no seeds"),
        ({"seeds": [1, 1]}, "seed 1 is there 2 times"),
        ({"seeds": [-1]}, "below zero"),
        ({"metrics": []}, "no metric"),
        ({"metrics": ["beauty"]}, "no metric named 'beauty'.*clip_score,.* fid,.* kid, language_drift"),
        ({"drift_prompts": []}, "needs drift prompts"),
        ({"reference": ""}, "needs a reference"),
        ({"reference": "nothing"}, "nothing"),
        ({"reference": "one"}, "has fewer than 2 pictures"),
        ({"models": [ModelRef(checkpoint="runs/none/checkpoints/step-000001")]}, "no checkpoint"),
        ({"models": [ModelRef(base_model="/no/where.safetensors")]}, "no base model"),
        ({"extractor": str(Path(__file__).parent)}, "not a CLIP model"),
    ],
)
def test_a_protocol_that_cannot_be_followed_is_one_sentence_and_leaves_nothing(
    ws: Workspace, tmp_path: Path, changes: dict[str, object], sentence: str
) -> None:
    if changes.get("reference") == "one":
        faces(ws, "one", 1, seed=3)
    with pytest.raises(UserError, match=sentence):
        run_evaluate(protocol(**changes), JobContext(ws, tmp_path))
    assert not list(tmp_path.iterdir())


def test_the_base_model_is_always_a_row_and_keeps_its_label(ws: Workspace) -> None:
    alone = check_protocol(ws, protocol(models=[ModelRef()]))
    assert [(row.label, row.role, row.trigger) for row in alone] == [("Base: Starter (bundled)", "base", "")]
    named = check_protocol(ws, protocol(models=[ModelRef(checkpoint=RUN), ModelRef(label="before")]))
    assert [(row.label, row.trigger) for row in named] == [("before", "zorb"), (f"lora, {RUN}, step 1", "zorb")]
    same = check_protocol(ws, protocol(models=[ModelRef(checkpoint=RUN, label="x"), ModelRef(label="x")]))
    assert len({row.label for row in same}) == 2


def test_a_model_at_another_strength_or_with_another_checkpoint_beside_it_is_another_row(ws: Workspace) -> None:
    extra = Extra(checkpoint=RUN, weight=0.5)
    models = [
        ModelRef(checkpoint=RUN),
        ModelRef(checkpoint=RUN, weight=0.5),
        ModelRef(checkpoint=RUN, extras=[extra]),
        ModelRef(extras=[extra]),
    ]
    rows = check_protocol(ws, protocol(models=models))
    assert [row.role for row in rows] == ["base", "trained", "trained", "trained"]
    assert len({row.key for row in rows}) == 4, "one extra at 0.5 alone draws what the checkpoint at 0.5 draws"
    assert rows[-1].trigger == "zorb"


def test_a_checkpoint_without_manifest_is_one_sentence(ws: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    folder.mkdir()
    found = next((ws.runs / RUN / "checkpoints").glob("step-*"))
    (folder / "checkpoint.json").write_bytes((found / "checkpoint.json").read_bytes())
    with pytest.raises(UserError, match="has lost its manifest"):
        check_protocol(ws, protocol(models=[ModelRef(checkpoint=str(folder))]))


def test_a_model_added_to_a_protocol_computes_only_itself(ws: Workspace, folder: Path) -> None:
    added = protocol(
        models=[ModelRef(checkpoint=RUN, label="LoRA"), ModelRef(checkpoint=RUN, weight=0.5, label="half")]
    )
    found = cost(ws, added)
    assert [(row.label, row.pictures, row.found) for row in found.rows] == [
        ("Base: Starter (bundled)", 8, 8),
        ("LoRA", 8, 8),
        ("half", 8, 0),
    ]
    assert (found.to_draw, found.to_look_at) == (8, 8)
    second = read_evaluation(evaluate(ws, "added", added))
    assert second.drawn == 8 and second.protocol_hash == read_evaluation(folder).protocol_hash
    before = {(cell.model, cell.metric): cell.value for cell in read_results(folder)}
    after = {(cell.model, cell.metric): cell.value for cell in second.results}
    assert before.items() <= after.items() and ("half", "kid") in after
    [board] = [board for board in list_boards(ws) if board.hash == second.protocol_hash]
    assert {line.label for line in board.lines} == {"Base: Starter (bundled)", "LoRA", "half"}
    again = cost(ws, added)
    assert again.to_draw == 0 and again.seconds == 0 and again.paced_by == "Faces"
    assert cost(ws, protocol(settings=SampleSettings(steps=3))).to_draw == 16


def test_a_base_model_is_loaded_once_for_all_the_rows_that_grew_from_it(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    real = pool.load_base

    def counted(*given: Any) -> LoadedModel:
        loaded.append(given[1])
        return real(*given)

    monkeypatch.setattr(pool, "load_base", counted)
    settings = SampleSettings(steps=1)
    few = protocol(prompts=["{trigger} a man"], drift_prompts=[], seeds=[9], metrics=["sharpness"], settings=settings)
    assert read_evaluation(evaluate(ws, "once", few)).drawn == 2 and loaded == ["starter"]


def test_the_reference_can_be_a_snapshot_or_what_was_not_trained_on(ws: Workspace) -> None:
    store = open_dataset(ws, "heldout")
    whole = store.snapshot().hash
    rows = check_protocol(ws, protocol())
    everything = reference_of(ws, protocol(reference_snapshot=whole), rows)
    assert everything.ids == read_reference(ws, "heldout").ids and len(everything.captions) == 9
    untouched = protocol(reference="faces", reference_part="not trained on")
    with pytest.raises(UserError, match="fewer than 2 are left as a reference"):
        reference_of(ws, untouched, rows)
    assert len(reference_of(ws, replace(untouched, models=[]), rows[:1]).ids) == 4


def test_the_hash_holds_what_makes_rows_comparable_and_nothing_else() -> None:
    given = protocol_hash(protocol(), ["a", "b"], "encoder")
    assert given == protocol_hash(protocol(name="other", models=[], metrics=["fid"]), ["b", "a"], "encoder")
    same = protocol(settings=SampleSettings(steps=2, seed=9, batch_size=1))
    assert given == protocol_hash(same, ["a", "b"], "encoder")
    others = [
        protocol_hash(protocol(seeds=[3]), ["a", "b"], "encoder"),
        protocol_hash(protocol(settings=SampleSettings(steps=3)), ["a", "b"], "encoder"),
        protocol_hash(protocol(), ["a", "c"], "encoder"),
        protocol_hash(protocol(), ["a", "b"], "another"),
    ]
    assert len({given, *others}) == 5


def test_whether_the_reference_was_trained_on_is_asked_of_the_run_first(ws: Workspace) -> None:
    row = check_protocol(ws, protocol())[-1]
    seen, other = read_reference(ws, "faces"), read_reference(ws, "heldout")
    kept, copy = ws.runs / RUN / "snapshot.json", next(ws.datasets.glob("faces/snapshots/*.json"))
    copy.rename(kept)
    assert _reference_flags(ws, row, seen) == ("exploratory: 4 reference pictures were trained on",)
    assert _reference_flags(ws, row, other) == ()
    renewed = replace(seen, ids=other.ids)
    assert _reference_flags(ws, row, renewed) == ("the reference is the dataset that it was trained on",)
    aside = kept.rename(kept.with_suffix(".aside"))
    assert _reference_flags(ws, row, seen)[0].startswith("unknown whether the reference was trained on")
    assert _reference_flags(ws, check_protocol(ws, protocol())[0], seen) == ()
    aside.rename(copy)
