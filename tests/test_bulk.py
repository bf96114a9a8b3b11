"""Work spread over a cluster, without the cluster: the ledger, and drafts that are made once.

pytest tests/test_bulk.py          # `tests/test_jobs_ray.py` does the same over Ray
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from jobs_helpers import plain_pictures
from PIL import Image

from sdstudio.bulk import captioning, evaluating, generating, spreading
from sdstudio.bulk.spreading import LEDGER_FOLDER, Batches, Ledger, Row, spread, taken_in
from sdstudio.datasets import DatasetStore, create_dataset
from sdstudio.engine.generate import run_generate
from sdstudio.evaluation import run_evaluate
from sdstudio.jobs.context import STOP_FILE, JobContext
from sdstudio.pictures.image_folder import read_images
from sdstudio.pictures.start_pictures import check_start
from sdstudio.results import read_evaluation
from sdstudio.schema import CaptionConfig, GenerateConfig, ModelRef, Protocol, SampleSettings, StartPicture, UserError
from sdstudio.workspace import Workspace, read_json


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobContext:
    """A job's context, with this process in the place of the cluster."""

    def made(manifest: Path, maker: type, arguments: dict[str, Any], batch_size: int) -> Iterator[list[Row]]:
        rows, make = pq.read_table(manifest).to_pylist(), maker(**arguments)
        for start in range(0, len(rows), batch_size):
            yield make(rows[start : start + batch_size])

    monkeypatch.setattr(spreading, "_made", made)
    folder = tmp_path / "workspace" / "tasks" / "job"
    folder.mkdir(parents=True)
    return JobContext(Workspace(tmp_path / "workspace"), folder)


class Doubler:
    def __init__(self, factor: int) -> None:
        self._factor = factor

    def __call__(self, rows: list[Row]) -> list[Row]:
        return [{"id": row["id"], "value": row["value"] * self._factor} for row in rows]


def numbers(count: int) -> pa.Table:
    return pa.table({"id": [str(index) for index in range(count)], "value": list(range(count))})


def test_a_killed_job_makes_again_only_what_it_had_not_entered(context: JobContext) -> None:
    taken: list[Row] = []

    def take(rows: list[Row]) -> None:
        if len(taken) == 6:
            raise KeyboardInterrupt
        taken.extend(rows)

    with pytest.raises(KeyboardInterrupt):
        spread(context, numbers(10), Doubler, {"factor": 2}, 3, take, "numbers")
    assert [row["value"] for row in taken] == [0, 2, 4, 6, 8, 10]
    assert sorted(Ledger(context.folder / LEDGER_FOLDER).ids().to_pylist()) == list("012345")
    assert spread(context, numbers(10), Doubler, {"factor": 2}, 3, lambda rows: taken.extend(rows), "numbers")
    assert sorted(row["value"] for row in taken) == [2 * index for index in range(10)]
    assert spread(context, numbers(10), Doubler, {"factor": 2}, 3, lambda rows: pytest.fail("made again"), "numbers")
    assert read_json(context.folder / "progress.json")["done"] == 10


def test_a_stop_is_heard_after_what_came_was_entered(context: JobContext) -> None:
    (context.folder / STOP_FILE).touch()
    assert not spread(context, numbers(10), Doubler, {"factor": 2}, 3, lambda rows: None, "numbers")
    assert len(Ledger(context.folder / LEDGER_FOLDER).ids()) == 3


class Refuser:
    def __init__(self, at: str) -> None:
        self._at = at
        if at == "start":
            raise UserError("its weights are missing")

    def __call__(self, rows: list[Row]) -> list[Row]:
        if self._at == "work":
            raise UserError("its weights are missing")
        return rows


@pytest.mark.parametrize("at", ["start", "work"])
def test_what_a_process_of_the_cluster_refuses_reaches_the_person(at: str) -> None:
    with pytest.raises(UserError, match="its weights are missing"):
        taken_in(Batches(Refuser, {"at": at})(numbers(2)))
    assert taken_in(Batches(Refuser, {"at": "never"})(numbers(2))) == numbers(2).to_pylist()


@pytest.fixture
def store(context: JobContext, tmp_path: Path) -> DatasetStore:
    made = create_dataset(context.workspace, "set")
    for index in range(6):
        Image.new("RGB", (64, 64), (40 * index, 80, 120)).save(tmp_path / "picture.png")
        made.add((tmp_path / "picture.png").read_bytes(), f"{index}.png", "by a file" if index == 5 else "")
    return made


def caption(context: JobContext) -> bool:
    options = {"num_beams": 1, "max_length": 8, "batch_size": 2}
    return captioning.run_caption(CaptionConfig(dataset="set", options=options), context)


def test_every_picture_without_a_caption_is_drafted_once_and_a_broken_one_is_reported(
    context: JobContext, store: DatasetStore
) -> None:
    images = [image for image in store.images() if not image.caption]
    store.image_path(images[2].id).write_bytes(b"not a picture")
    stop = context.folder / STOP_FILE
    stop.touch()
    assert not caption(context)
    assert sum(bool(image.machine_caption) for image in store.images()) == 2
    stop.unlink()
    assert caption(context)
    report = read_json(context.folder / "report.json")
    assert (report["total"], report["drafted"], report["stopped"]) == (5, 4, False)
    assert [row["id"] for row in report["failed"]] == [images[2].id]
    drafts = {image.id: [entry.action for entry in store.history(image.id)].count("draft") for image in store.images()}
    assert sorted(drafts.values()) == [0, 0, 1, 1, 1, 1]


def test_pictures_are_drawn_as_one_machine_draws_them_and_listed_once(
    context: JobContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SampleSettings(steps=1, batch_size=2, seed=5)
    Image.new("RGB", (64, 64), "red").save(context.folder / "start.png")
    start = check_start(context.workspace, StartPicture(picture=str(context.folder / "start.png")))
    config = GenerateConfig(prompts=["a red square", "a blue dot"], count=2, settings=settings, start=start)
    (context.folder / "start.png").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(spreading.Ledger, "enter", lambda self, rows: (context.folder / STOP_FILE).touch())
        assert not generating.run_generate(config, context)  # stopped, and killed before it was entered
    (context.folder / STOP_FILE).unlink()
    assert generating.run_generate(config, context)
    images = read_images(context.folder)
    assert len(images) == len({image.file for image in images}) == 4
    assert sorted(path.name for path in context.folder.glob("*.png")) == sorted(image.file for image in images)
    alone = JobContext(context.workspace, context.folder.with_name("alone"))
    alone.folder.mkdir()
    assert run_generate(config, alone)
    for image in images:
        assert (alone.folder / image.file).read_bytes() == (context.folder / image.file).read_bytes()


def test_a_dataset_of_broken_pictures_only_is_a_failure(context: JobContext, store: DatasetStore) -> None:
    for image in store.images():
        store.image_path(image.id).write_bytes(b"not a picture")
    with pytest.raises(UserError, match="None of the 5 pictures"):
        caption(context)


def test_a_comparison_is_what_one_machine_makes_of_it_with_everything_made_on_the_cluster(
    tmp_path: Path, context: JobContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    ws = context.workspace
    plain_pictures(ws, 6)
    settings = SampleSettings(steps=1, batch_size=2)
    protocol = Protocol(
        models=[ModelRef()],
        prompts=["a red square", "a blue dot"],
        seeds=[4, 5],
        reference="set",
        metrics=["kid", "clip_score"],
        settings=settings,
    )
    alone, spread_out = (
        JobContext(Workspace(tmp_path / name), tmp_path / name / "evaluations" / "one") for name in "ab"
    )
    for each in (alone, spread_out):
        shutil.copytree(ws.root, each.workspace.root)
        each.folder.mkdir(parents=True)
    assert run_evaluate(protocol, alone)

    (spread_out.folder / STOP_FILE).touch()
    assert not evaluating.run_evaluate(protocol, spread_out)
    assert len(list(spread_out.folder.rglob("*.png"))) == 2
    (spread_out.folder / STOP_FILE).unlink()
    compare = evaluating.compare

    def compare_only(config: Protocol, ctx: JobContext) -> bool:
        monkeypatch.setattr("sdstudio.features.clip.ClipEncoder.images", lambda *_: pytest.fail("looked at again"))
        monkeypatch.setattr("sdstudio.engine.drawing.draw", lambda *_: pytest.fail("drawn again"))
        return compare(config, ctx)

    monkeypatch.setattr(evaluating, "compare", compare_only)
    assert evaluating.run_evaluate(protocol, spread_out)
    one, other = (read_evaluation(each.folder) for each in (alone, spread_out))
    assert one.protocol_hash == other.protocol_hash and len(one.results) == 3
    assert one.results == other.results
    pictures = {path.name: path.read_bytes() for path in alone.folder.rglob("*.png")}
    assert {path.name: path.read_bytes() for path in spread_out.folder.rglob("*.png")} == pictures
    assert len(pictures) == 4
