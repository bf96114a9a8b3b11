"""Every picture ever made: found, marked, deleted with undo, taken out.   pytest tests/test_collection.py"""

import csv
import io
import os
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sdstudio import collection, jobs
from sdstudio.collection import Query, mark, pictures
from sdstudio.datasets import open_dataset
from sdstudio.methods.negatives import negative_examples
from sdstudio.pictures.image_folder import write_image
from sdstudio.schema import GeneratedImage, ModelRef, SampleSettings, UserError
from sdstudio.workspace import Workspace

BASE = ModelRef(label="base")
RUN = ModelRef(checkpoint="runs/20260102-lora/checkpoints/step-000010", label="lora")


def add(ws: Workspace, folder: str, prompt: str, seed: int, model: ModelRef = BASE) -> str:
    image = GeneratedImage(
        file=f"{prompt.replace(' ', '-')}-{seed}.png",
        prompt=prompt,
        negative_prompt="eyes",
        seed=seed,
        model=model,
        checkpoint_hash="",
        settings=SampleSettings(steps=7, seed=seed),
        width=8,
        height=8,
    )
    write_image(ws.root / folder, image, Image.new("RGB", (8, 8), (seed, 0, 0)), PngInfo())
    return f"{folder}/{image.file}"


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture
def refs(ws: Workspace) -> list[str]:
    """Four pictures, from the oldest to the newest."""
    return [
        add(ws, "images/20260101-a", "a red Toy", 1),
        add(ws, "runs/20260102-lora/samples/step-000010", "a toy", 2),
        add(ws, "images/20260103-b", "a cat, red", 3, RUN),
        add(ws, "images/20260103-b", "a cat", 4, RUN),
    ]


def found(ws: Workspace, **query: object) -> list[str]:
    return [picture.ref for picture in pictures(ws, Query(**query)).pictures]


def test_pictures_of_batches_runs_and_evaluations_are_found_newest_first(ws: Workspace, refs: list[str]) -> None:
    measured = add(ws, "evaluations/20260104-c/pictures/base", "a dog", 5)
    assert found(ws) == [measured, *reversed(refs)]
    assert found(ws, source="sample") == [refs[1]] and found(ws, source="evaluation") == [measured]
    assert found(ws, text="toy RED") == [refs[0]] and found(ws, text="red") == [refs[2], refs[0]]
    assert found(ws, run="20260102-lora") == [refs[3], refs[2], refs[1]]
    page = pictures(ws, start=1, count=2)
    assert page.total == 5 and [picture.ref for picture in page.pictures] == [refs[3], refs[2]]
    assert page.pictures[0].model == "lora" and page.pictures[0].seed == 4
    assert collection.record(ws, refs[0]).settings.steps == 7


def test_marks_are_kept_filtered_and_taken_back(ws: Workspace, refs: list[str]) -> None:
    mark(ws, refs[0], "rating", 4, "ann")
    mark(ws, refs[1], "rating", 5)
    mark(ws, refs[1], "rating", 2)
    mark(ws, refs[2], "favourite")
    mark(ws, refs[3], "bad", " left  eye ")
    assert found(ws, rating=3) == [refs[0]] and found(ws, rating=1) == [refs[1], refs[0]]
    assert found(ws, favourite=True) == [refs[2]]
    assert found(ws, bad="*") == [refs[3]] == found(ws, bad="left eye") and found(ws, bad="hand") == []
    mark(ws, refs[2], "favourite", False)
    mark(ws, refs[3], "bad", "")
    assert found(ws, favourite=True) == found(ws, bad="*") == []
    assert (ws.images / "marks.jsonl").read_text().count("\n") == 7  # only ever added


def test_a_torn_line_costs_only_itself(ws: Workspace, refs: list[str]) -> None:
    mark(ws, refs[0], "rating", 4)
    with (ws.images / "marks.jsonl").open("a") as file:
        file.write('{"picture": "' + refs[1] + '", "kind": "rat')
    mark(ws, refs[2], "rating", 5)
    assert found(ws, rating=1) == [refs[2], refs[0]]
    with (ws.root / "images/20260103-b/images.jsonl").open("a") as file:
        file.write('{"file": "torn')
    newest = add(ws, "images/20260103-b", "a hat", 6)
    assert found(ws, source="batch") == [newest, refs[3], refs[2], refs[0]]


def test_a_deleted_picture_lies_in_the_trash_and_comes_back(ws: Workspace, refs: list[str]) -> None:
    before = (ws.root / refs[0]).read_bytes()
    mark(ws, refs[0], "rating", 4)
    mark(ws, refs[0], "deleted")
    assert refs[0] not in found(ws) and found(ws, deleted=True) == [refs[0]]
    assert not (ws.root / refs[0]).exists()
    with pytest.raises(UserError, match="not there any more"):
        mark(ws, refs[0], "deleted")
    mark(ws, refs[0], "restored")
    assert (ws.root / refs[0]).read_bytes() == before
    assert found(ws, rating=4) == [refs[0]] and found(ws, deleted=True) == []
    (ws.root / refs[1]).unlink()  # by hand
    assert refs[1] not in found(ws) and found(ws, deleted=True) == []


def test_emptying_the_trash_takes_deleted_pictures_off_the_disk(ws: Workspace, refs: list[str]) -> None:
    mark(ws, refs[2], "deleted")
    assert jobs.deleted_pictures(ws) == 1
    emptied = jobs.empty_trash(ws)
    assert (emptied.folders, emptied.pictures) == (0, 1) and emptied.size > 50
    assert jobs.deleted_pictures(ws) == 0 and found(ws, deleted=True) == []
    with pytest.raises(UserError, match="not in the trash any more"):
        mark(ws, refs[2], "restored")
    assert found(ws) == [refs[3], refs[1], refs[0]]
    assert collection.marks.deleted_files(ws, ws.root / "images/20260103-b") == {Path(refs[2]).name}


def test_what_would_lose_something_is_refused(ws: Workspace, refs: list[str]) -> None:
    measured = add(ws, "evaluations/20260104-c/pictures/base", "a dog", 5)
    for picture, kind, value, message in [
        (measured, "deleted", True, "numbers stand on this picture"),
        (refs[0], "rating", 6, "0 .none. to 5"),
        (refs[0], "rating", True, "0 .none. to 5"),
        (refs[0], "bad", "x" * 61, "word or two"),
        (refs[0], "loved", 1, "no mark 'loved'"),
        (refs[0], "restored", True, "not in the trash"),
        ("images/../../x.png", "rating", 1, "leaves the folder"),
        ("cache/x.png", "rating", 1, "no picture of this workspace"),
        ("images/gone/x.png", "rating", 1, "not there any more"),
    ]:
        with pytest.raises(UserError, match=message):
            mark(ws, picture, kind, value)  # type: ignore[arg-type]
    assert not (ws.images / "marks.jsonl").exists() and len(found(ws)) == 5
    mark(ws, refs[0], "deleted")
    (ws.root / "images/20260101-a").rename(ws.root / "elsewhere")
    with pytest.raises(UserError, match="is in the trash: restore it first"):
        mark(ws, refs[0], "restored")


def test_a_list_that_changes_is_read_again(ws: Workspace, refs: list[str]) -> None:
    folder = ws.root / "images/20260103-b"
    os.utime(folder, (1, 1))
    os.utime(folder / "images.jsonl", (1, 1))
    assert len(found(ws)) == 4
    newest = add(ws, "images/20260103-b", "a hat", 6)
    assert found(ws)[0] == newest
    (ws.root / newest).unlink()
    assert len(found(ws)) == 4
    with (folder / "images.jsonl").open("a") as file:
        file.write('{"file": "../../a.png"}\n[]\n{"file": "x", "prompt": "", "seed": "y", "model": null}\n')
    assert len(found(ws)) == 4


def test_bad_pictures_become_negative_examples(ws: Workspace, refs: list[str]) -> None:
    with pytest.raises(UserError, match="No picture is marked as bad"):
        collection.negatives_dataset(ws)
    mark(ws, refs[2], "bad", "eyes")
    mark(ws, refs[0], "bad", "hand")
    assert collection.bad_pictures(ws, "20260102-lora") == [(ws.root / refs[2], "eyes")]
    assert len(collection.bad_pictures(ws)) == 2
    name = collection.negatives_dataset(ws, "20260102-lora")
    (held,) = open_dataset(ws, name).images()
    assert held.caption == "a cat, red, negative eyes"
    (example,) = negative_examples([(ws.root / refs[2], held.caption)], "nose")
    assert (example.caption, example.negative) == (held.caption, "eyes")
    open_dataset(ws, name).set_caption(held.id, "mine", "person:me", held.version)
    mark(ws, refs[3], "bad", "eyes")
    assert collection.negatives_dataset(ws, "20260102-lora") == name
    assert sorted(image.caption for image in open_dataset(ws, name).images()) == ["a cat, negative eyes", "mine"]


def test_pictures_are_taken_out_with_a_table(ws: Workspace, refs: list[str], tmp_path: Path) -> None:
    mark(ws, refs[1], "rating", 3)
    chosen = pictures(ws).pictures
    target = tmp_path / "out"
    assert collection.export_folder(ws, chosen, target) == 4
    rows = list(csv.DictReader((target / "pictures.csv").open(encoding="utf-8", newline="")))
    assert [row["prompt"] for row in rows] == ["a cat", "a cat, red", "a toy", "a red Toy"]
    assert rows[2]["file"] == "20260102-lora/samples-step-000010-a-toy-2.png" and rows[2]["rating"] == "3"
    assert rows[0]["steps"] == "7" and rows[0]["run"] == "20260102-lora"
    assert (target / rows[2]["file"]).read_bytes() == (ws.root / refs[1]).read_bytes()
    memory = io.BytesIO()
    collection.write_zip(ws, chosen, memory)
    with zipfile.ZipFile(memory) as archive:
        assert sorted(archive.namelist()) == sorted([*(row["file"] for row in rows), "pictures.csv"])
        assert archive.read(rows[2]["file"]) == (ws.root / refs[1]).read_bytes()
    for place, message in ((target, "not an empty folder"), (Path("out"), "whole path")):
        with pytest.raises(UserError, match=message):
            collection.export_folder(ws, chosen, place)
