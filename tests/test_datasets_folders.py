"""Folders in, folders out: captions beside pictures, refused files, running again, round trips."""

import csv
import errno
import io
import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from sdstudio.datasets import create_dataset, export_dataset, import_folder, list_datasets, open_dataset
from sdstudio.datasets.bulk import Mark
from sdstudio.datasets.export import FORMATS, exported
from sdstudio.datasets.importer import import_pictures, run_import
from sdstudio.datasets.parquet import plan_shards, write_shard
from sdstudio.jobs.context import JobContext
from sdstudio.schema import ImportConfig, UserError
from sdstudio.workspace import Workspace, read_json


@pytest.fixture
def ws(tmp_path):
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


def draw(path, colour="red", mode="RGB", **settings):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 8), colour).convert(mode).save(path, **settings)
    return path


def captions(ws, name="set"):
    return {image.file_name: image.caption for image in open_dataset(ws, name).images()}


# ---------------------------------------------------------------- import


def test_pictures_come_in_with_their_sidecars(ws, folder):
    draw(folder / "img10.png", "red")
    draw(folder / "img2.jpg", "green")
    draw(folder / "deep" / "er" / "blue.webp", "blue")
    draw(folder / "grey.png", "gray")
    (folder / "img10.txt").write_bytes("\ufeffa naïve caption\r\n".encode())
    (folder / "img2.caption").write_text("from .caption")
    (folder / "deep/er/blue.txt").write_text("line one\nline two\n")
    seen = []
    report = import_folder(ws, "set", folder, progress=lambda done, total: seen.append((done, total)))
    assert (report.added, report.duplicates, report.refused) == (4, 0, [])
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert captions(ws) == {
        "deep/er/blue.webp": "line one line two",
        "grey.png": "",
        "img2.jpg": "from .caption",
        "img10.png": "a naïve caption",
    }
    assert list(captions(ws)) == ["deep/er/blue.webp", "grey.png", "img2.jpg", "img10.png"]
    assert {image.source for image in open_dataset(ws, "set").images()} == {"file", ""}


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv"])
def test_metadata_is_read_relative_to_its_own_folder(ws, folder, name):
    rows = [("a.png", 'says "hi", twice'), ("sub/b.png", "naïve 猫"), ("missing.png", "x")]
    draw(folder / "train/a.png", "red")
    draw(folder / "train/sub/b.png", "blue")
    if name.endswith("jsonl"):
        text = "\n".join(json.dumps({"file_name": file, "text": text, "extra": 1}) for file, text in rows)
    else:
        buffer = io.StringIO()
        csv.writer(buffer).writerows([("extra", "file_name", "text"), *((1, *row) for row in rows)])
        text = buffer.getvalue()
    (folder / "train" / name).write_text(text, encoding="utf-8", newline="")
    report = import_folder(ws, "set", folder)
    assert captions(ws) == {"train/a.png": 'says "hi", twice', "train/sub/b.png": "naïve 猫"}
    assert [file for file, _ in report.refused] == [f"train/{name}"]
    assert "names 'missing.png', which is not there" in report.refused[0][1]


def test_a_sidecar_wins_over_metadata_and_txt_over_caption(ws, folder):
    for name in ("a", "b"):
        draw(folder / f"{name}.png", "red" if name == "a" else "blue")
        (folder / f"{name}.caption").write_text("from .caption")
    (folder / "a.txt").write_text("from .txt")
    (folder / "metadata.csv").write_text("file_name,text\na.png,from csv\nb.png,from csv\n")
    import_folder(ws, "set", folder)
    assert captions(ws) == {"a.png": "from .txt", "b.png": "from .caption"}


def test_what_is_refused_is_said_and_the_rest_is_in(ws, folder):
    good = draw(folder / "good.png")
    (folder / "cut.png").write_bytes(good.read_bytes()[:40])
    (folder / "lies.jpg").write_bytes(b"<svg/>")
    draw(folder / "moving.gif")
    (folder / "orphan.txt").write_text("a caption of nothing")
    draw(folder / "latin.png", "blue")
    (folder / "latin.txt").write_bytes("café".encode("latin-1"))
    (folder / "one" / "metadata.jsonl").parent.mkdir()
    (folder / "one" / "metadata.jsonl").write_text('{"file_name": 3}\n')
    (folder / "two" / "metadata.csv").parent.mkdir()
    (folder / "two" / "metadata.csv").write_text("photo,words\n")
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "junk").write_bytes(b"x")
    report = import_folder(ws, "set", folder)
    assert report.added == 2
    assert captions(ws) == {"good.png": "", "latin.png": ""}
    reasons = dict(report.refused)
    assert {name: reason.split(";")[0] for name, reason in reasons.items()} == {
        "cut.png": "It is damaged or cut short",
        "lies.jpg": "It is not a PNG, JPEG or WebP picture",
        "moving.gif": "It is not a PNG, JPEG or WebP picture",
        "orphan.txt": "There is no picture of this name for the caption.",
        "latin.txt": "It is not UTF-8 text",
        "one/metadata.jsonl": "Line 1 cannot be used: it names no picture.",
        "two/metadata.csv": "It has no column 'file_name' among its columns photo, words",
    }


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_or_a_broken_link_does_not_hang(ws, folder):
    draw(folder / "good.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "dangling.png").symlink_to(folder / "nowhere.png")
    (folder / "loop").symlink_to(folder)
    (folder / "ring").symlink_to(folder / "ring")
    report = import_folder(ws, "set", folder)
    assert report.added == 1
    assert {name: reason.split(" ", 3)[3] for name, reason in report.refused} == {
        "dangling.png": "read: No such file or directory.",
        "loop": "link to a folder, and those are not followed; import that folder itself.",
        "pipe.png": "device or a pipe, not a file.",
        "ring": "read: Too many levels of symbolic links.",
    }


def test_running_again_adds_nothing_twice(ws, folder):
    draw(folder / "a.png")
    draw(folder / "same.png")
    draw(folder / "print.jpg", "blue", mode="CMYK")
    first = import_folder(ws, "set", folder)
    assert (first.added, first.duplicates) == (2, 1)
    store = open_dataset(ws, "set")
    red = store.images()[0]
    store.set_caption(red.id, "a person's words", "person:ann", red.version)
    (folder / "a.txt").write_text("from the file")
    draw(folder / "new.png", "green")
    second = import_folder(ws, "set", folder)
    assert (second.added, second.duplicates) == (1, 3)
    assert store.image(red.id).caption == "a person's words"


def test_a_stop_keeps_what_is_in_and_the_next_run_goes_on(ws, folder):
    for index, colour in enumerate(("red", "green", "blue")):
        draw(folder / f"{index}.png", colour)
    asked = iter([False, True])
    report = import_folder(ws, "set", folder, should_stop=lambda: next(asked))
    assert (report.added, report.stopped) == (1, True)
    again = import_folder(ws, "set", folder)
    assert (again.added, again.duplicates, again.stopped) == (2, 1, False)


def test_a_stop_before_the_first_picture_makes_no_dataset(ws, folder):
    draw(folder / "0.png")
    assert import_folder(ws, "set", folder, should_stop=lambda: True).stopped
    assert list_datasets(ws) == []


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "holds no files"),
        ({"notes.md": b"hello"}, "no usable picture .1 files refused, such as notes.md: It is not a PNG"),
        ({"a.png": b"\x89PNG\r\n\x1a\n"}, "no usable picture .* damaged"),
        ({"a.txt": b"a caption"}, "no usable picture .* no picture of this name"),
    ],
)
def test_a_folder_without_pictures_makes_no_dataset(ws, folder, files, said):
    for name, data in files.items():
        (folder / name).write_bytes(data)
    with pytest.raises(UserError, match=said):
        import_folder(ws, "set", folder)
    assert not ws.datasets.exists() or list(ws.datasets.iterdir()) == []


def test_a_folder_without_pictures_leaves_an_existing_dataset_alone(ws, folder):
    create_dataset(ws, "set", "kept")
    with pytest.raises(UserError, match="holds no files"):
        import_folder(ws, "set", folder)
    assert open_dataset(ws, "set").description == "kept"


@pytest.mark.parametrize("missing", ["", "nowhere", "a file"])
def test_a_missing_folder_is_said(ws, tmp_path, missing):
    (tmp_path / "a file").write_text("x")
    with pytest.raises(UserError, match="There is no folder"):
        import_folder(ws, "set", tmp_path / missing if missing else "")
    with pytest.raises(UserError, match="not a usable dataset name"):
        import_folder(ws, "../set", tmp_path)
    assert not ws.datasets.exists()


def test_a_trouble_of_the_store_is_not_taken_for_a_bad_picture(ws, folder):
    draw(folder / "a.png")
    store = create_dataset(ws, "set")
    shutil.rmtree(store.folder / "images")
    (store.folder / "images").write_text("a file in the way")
    with pytest.raises(UserError, match="cannot be stored"):
        import_folder(ws, "set", folder)


def test_the_job_leaves_a_report_and_progress(ws, folder):
    draw(folder / "a.png")
    (folder / "b.png").write_bytes(b"no")
    task = ws.root / "tasks" / "one"
    task.mkdir(parents=True)
    run_import(ImportConfig(dataset="set", folder=str(folder)), JobContext(ws, task))
    report = read_json(task / "report.json")
    assert (report["added"], report["duplicates"], report["stopped"]) == (1, 0, False)
    assert [file for file, _ in report["refused"]] == ["b.png"]
    assert read_json(task / "progress.json")["done"] == 2
    (task / "STOP").touch()
    run_import(ImportConfig(dataset="later", folder=str(folder)), JobContext(ws, task))
    assert read_json(task / "report.json")["stopped"] is True


# ---------------------------------------------------------------- export


@pytest.fixture
def full(ws, folder):
    """Nested, odd and clashing names; captions that need quoting; one empty."""
    draw(folder / "b.png", "red")
    draw(folder / "b.jpg", "green")
    draw(folder / "B.webp", "yellow", lossless=True)
    draw(folder / "deep" / "c.v2.jpg", "blue", mode="CMYK")
    draw(folder / "naïve 猫.png", "black")
    import_folder(ws, "set", folder)
    store = open_dataset(ws, "set")
    words = ['says "hi", twice', "naïve 猫 😀", "=1+1", "back\\slash, comma", ""]
    for image, text in zip(store.images(), words, strict=True):
        store.set_caption(image.id, text, "person:ann", image.version)
    return store


def listing(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("format", FORMATS)
def test_out_in_and_out_again_is_the_same_to_the_byte(ws, full, tmp_path, format):
    assert export_dataset(ws, "set", tmp_path / "out", format) == 5
    report = import_folder(ws, "again", tmp_path / "out")
    assert (report.added, report.duplicates, report.refused) == (5, 0, [])
    before = {image.id: image.caption for image in full.images()}
    assert {image.id: image.caption for image in open_dataset(ws, "again").images()} == before
    export_dataset(ws, "again", tmp_path / "out2", format)
    first = listing(tmp_path / "out")
    assert first == listing(tmp_path / "out2")
    if format == "parquet":
        assert list(first) == ["data/train-00000-of-00001.parquet"]
        return
    pictures = [name for name in first if not name.endswith((".txt", ".csv", ".jsonl"))]
    assert len(pictures) == 5
    assert len({name.rpartition(".")[0].casefold() for name in pictures}) == 5  # one sidecar each, on any system
    assert "deep/c.v2.png" in pictures


@pytest.mark.parametrize("format", FORMATS)
def test_a_zip_file_out_in_and_out_again_is_the_same_to_the_byte(ws, full, tmp_path, format):
    seen = []
    export_dataset(ws, "set", tmp_path / "out.zip", format, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (5, 5)
    report = import_pictures(ws, ImportConfig(dataset="again", folder=str(tmp_path / "out.zip")))
    assert (report.added, report.duplicates, report.refused) == (5, 0, [])
    export_dataset(ws, "again", tmp_path / "out2.zip", format)
    assert (tmp_path / "out.zip").read_bytes() == (tmp_path / "out2.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.testzip() is None
    with pytest.raises(UserError, match="already is"):
        export_dataset(ws, "set", tmp_path / "out.zip", format)


def test_the_schema_is_the_one_that_datasets_writes(ws, full, tmp_path):
    datasets = pytest.importorskip("datasets")
    import pyarrow.parquet as pq

    export_dataset(ws, "set", tmp_path / "out", "parquet")
    ours = pq.ParquetFile(tmp_path / "out/data/train-00000-of-00001.parquet")
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    rows = {"image": [str(full.image_path(image.id)) for image in full.images()], "text": ["x"] * 5}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "theirs.parquet")
    theirs = pq.ParquetFile(tmp_path / "theirs.parquet")
    assert ours.schema_arrow.equals(theirs.schema_arrow, check_metadata=True)
    assert ours.metadata.metadata.keys() == theirs.metadata.metadata.keys()
    for column in range(3):
        mine, other = (file.metadata.row_group(0).column(column) for file in (ours, theirs))
        assert (mine.path_in_schema, mine.compression) == (other.path_in_schema, other.compression)
        assert set(mine.encodings) == set(other.encodings)


def test_parquet_is_split_into_shards_and_row_groups(full, tmp_path):
    rows = exported(full, full.images())
    shards = plan_shards(rows, most=rows[0].size + rows[1].size)
    assert len(shards) > 1
    assert [row for shard in shards.values() for row in shard] == list(rows)
    assert next(iter(shards)) == f"train-00000-of-{len(shards):05}.parquet"
    import pyarrow.parquet as pq

    write_shard(tmp_path / "one.parquet", rows, row_group=1)
    assert pq.ParquetFile(tmp_path / "one.parquet").metadata.num_row_groups == 5


@pytest.mark.parametrize("format", ["imagefolder", "parquet", "csv"])
def test_load_dataset_reads_what_the_store_holds(ws, full, tmp_path, format):
    datasets = pytest.importorskip("datasets")
    export_dataset(ws, "set", tmp_path / "out", format)
    place = str(tmp_path / "out")
    loaded = (
        datasets.load_dataset(place, split="train", cache_dir=str(tmp_path / "cache"))
        if format == "parquet"
        else datasets.load_dataset("imagefolder", data_dir=place, split="train", cache_dir=str(tmp_path / "cache"))
    )
    assert loaded[0]["image"].size == (16, 8)
    stored = {full.image_path(image.id).read_bytes(): image.caption for image in full.images()}
    undecoded = loaded.cast_column("image", datasets.Image(decode=False))
    none = None if format == "csv" else ""  # pandas, which reads the CSV there, takes an empty cell for none
    expected = {data: caption or none for data, caption in stored.items()}
    assert none in expected.values()
    assert {
        row["image"]["bytes"] or Path(row["image"]["path"]).read_bytes(): row["text"] for row in undecoded
    } == expected


def test_csv_has_a_header_and_file_names(ws, full, tmp_path):
    export_dataset(ws, "set", tmp_path / "out", "csv")
    with (tmp_path / "out/metadata.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["file_name", "text"]
    assert all((tmp_path / "out" / name).is_file() for name, _ in rows[1:])
    assert sorted(text for _, text in rows[1:]) == sorted(image.caption for image in full.images())


def test_what_is_excluded_from_training_stays_here(ws, full, tmp_path):
    full.bulk([full.images()[0].id], Mark(what="exclude"))
    assert export_dataset(ws, "set", tmp_path / "out", "txt") == 4
    assert len(list((tmp_path / "out").rglob("*.txt"))) == 4


def test_an_export_into_an_empty_folder_is_fine_and_into_a_full_one_is_refused(ws, full, tmp_path):
    (tmp_path / "empty").mkdir()
    export_dataset(ws, "set", tmp_path / "empty", "txt")
    before = listing(tmp_path / "empty")
    with pytest.raises(UserError, match="is not empty"):
        export_dataset(ws, "set", tmp_path / "empty", "txt")
    assert listing(tmp_path / "empty") == before
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="is not empty"):
        export_dataset(ws, "set", tmp_path / "file", "txt")


@pytest.mark.parametrize("target", ["out", "out.zip"])
def test_a_failed_export_leaves_nothing(ws, full, tmp_path, target, monkeypatch):
    def full_disk(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("shutil.copyfile", full_disk)
        with pytest.raises(UserError, match=r"failed .No space left on device.; nothing was written"):
            export_dataset(ws, "set", tmp_path / "new" / target, "csv")
    assert list((tmp_path / "new").iterdir()) == []
    full.image_path(full.images()[-1].id).unlink()
    with pytest.raises(UserError, match=r"failed: .* is missing"):
        export_dataset(ws, "set", tmp_path / "new" / target, "csv")
    assert list((tmp_path / "new").iterdir()) == []


def test_wrong_exports_are_said(ws, tmp_path):
    with pytest.raises(UserError, match="no dataset 'set'"):
        export_dataset(ws, "set", tmp_path / "out", "csv")
    create_dataset(ws, "set")
    with pytest.raises(UserError, match="no pictures to export"):
        export_dataset(ws, "set", tmp_path / "out", "csv")
    with pytest.raises(UserError, match="no export format 'zip'; choose one of csv, txt, imagefolder, parquet"):
        export_dataset(ws, "set", tmp_path / "out", "zip")
    assert not (tmp_path / "out").exists()
