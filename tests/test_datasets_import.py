"""Ways in: tables, sidecars, kohya's folders, uploads, and what a job says of it."""

import io
import json
import os
from itertools import islice

import pytest
from import_helpers import COLOURS, bring, captions, picture, table, zipped

from sdstudio.datasets import create_dataset, open_dataset, stage_uploads
from sdstudio.datasets.bulk import Mark
from sdstudio.datasets.importer import check_import, run_import
from sdstudio.datasets.uploads import discard_upload, uploads_folder
from sdstudio.jobs.context import JobContext
from sdstudio.jobs.failures import explain
from sdstudio.jobs.folder import read_progress
from sdstudio.schema import ImportConfig, UserError
from sdstudio.workspace import Workspace, read_json


@pytest.fixture
def ws(tmp_path):
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def ctx(ws):
    folder = ws.root / "tasks" / "import"
    folder.mkdir(parents=True)
    return JobContext(ws, folder)


# ---------------------------------------------------------------- tables


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json", "parquet"])
def test_a_table_brings_in_the_pictures_that_it_names(ws, tmp_path, suffix):
    folder, elsewhere = tmp_path / "in", tmp_path / "elsewhere"
    (folder / "sub").mkdir(parents=True)
    elsewhere.mkdir()
    (folder / "sub" / "a.png").write_bytes(picture("red"))
    (elsewhere / "b.png").write_bytes(picture("blue"))
    (folder / "unlisted.png").write_bytes(picture("green"))
    rows = [("sub/a.png", 'says "hi",\nnaïve 猫'), (str(elsewhere / "b.png"), "b"), ("gone.png", "x"), ("", "nothing")]
    report = bring(ws, table(folder, f"list.{suffix}", rows))
    assert captions(ws) == {"sub/a.png": 'says "hi", naïve 猫', "b.png": "b"}
    reasons = [reason for _, reason in report.refused]
    assert len(reasons) == 2
    assert any("There is no such file beside the table." in reason for reason in reasons)
    assert any("cannot be used: it names no picture" in reason for reason in reasons)


def test_a_table_in_a_folder_captions_what_lies_beside_it(ws, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "in" / f"{name}.png").write_bytes(picture(COLOURS[ord(name) - ord("a")]))
    table(tmp_path / "in", "captions.parquet", [("a.png", "from parquet"), ("b.png", "from parquet")])
    (tmp_path / "in" / "b.txt").write_text("from the sidecar")
    assert bring(ws, tmp_path / "in").added == 3
    assert captions(ws) == {"a.png": "from parquet", "b.png": "from the sidecar", "c.png": ""}


def test_kohyas_metadata_is_a_table_whose_keys_may_lack_the_extension(ws, tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.png").write_bytes(picture(COLOURS[ord(name) - ord("a")]))
    metadata = {
        "a": {"caption": "first", "tags": "x"},
        "b.png": {"tags": "1girl, solo"},
        "gone": {"caption": "?"},
        "c": 3,
    }
    (tmp_path / "meta_cap.json").write_text(json.dumps(metadata))
    report = bring(ws, tmp_path)
    assert captions(ws) == {"a.png": "first", "b.png": "", "c.png": ""}
    assert sorted(reason for _, reason in report.refused) == [
        "Entry 3 names 'gone', which is not there.",
        "Entry 4 is not a JSON object.",
    ]
    bring(ws, tmp_path, "tags", caption_column="tags")
    assert captions(ws, "tags") == {"a.png": "x", "b.png": "1girl, solo", "c.png": ""}


def test_a_table_without_captions_is_said(ws, tmp_path):
    (tmp_path / "a.png").write_bytes(picture())
    (tmp_path / "list.csv").write_text("file_name,size\na.png,3\n")
    for place in (tmp_path, tmp_path / "list.csv"):
        report = bring(ws, place)
        assert report.notes == [
            "list.csv has no column of captions (such as text, caption, prompt, description, tags)."
        ]


def test_columns_can_be_named(ws, tmp_path):
    (tmp_path / "a.png").write_bytes(picture())
    path = tmp_path / "odd.csv"
    path.write_text("photo,words,text\na.png,wanted,not wanted\n")
    with pytest.raises(UserError, match="no column 'file_name' among its columns photo, words, text"):
        bring(ws, path)
    with pytest.raises(UserError, match="no column 'wrods'"):
        bring(ws, path, picture_column="photo", caption_column="wrods")
    bring(ws, path, picture_column="photo", caption_column="words")
    assert captions(ws) == {"a.png": "wanted"}


def test_pictures_inside_a_parquet_file_come_in_alone_and_from_a_folder_and_a_zip_file(ws, tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = {
        "image": [{"bytes": picture("red"), "path": "a.png"}, {"bytes": picture("blue"), "path": None}],
        "caption": [["first", "second"], None],
    }
    features = datasets.Features({"image": datasets.Image(), "caption": datasets.List(datasets.Value("string"))})
    folder = tmp_path / "in" / "data"
    folder.mkdir(parents=True)
    path = folder / "train-00000-of-00001.parquet"
    datasets.Dataset.from_dict(rows, features=features).to_parquet(path)
    expected = {"a.png": "first", "train-00000-of-00001-000001": ""}
    for name, place in {
        "alone": path,
        "folder": tmp_path / "in",
        "zip": zipped(tmp_path / "p.zip", {"data/train-00000-of-00001.parquet": path.read_bytes()}),
    }.items():
        report = bring(ws, place, name)
        assert (report.added, report.refused) == (2, [])
        assert captions(ws, name) == expected


def test_broken_tables_are_said(ws, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes(picture())
    (folder / "cut.parquet").write_bytes(b"PAR1 and no more")
    (folder / "words.jsonl").write_text(
        '{"file_name": "a.png", "text": "fine"}\nnot json\n[1]\n{"file_name": "a.png", "text": 5}'
    )
    (folder / "latin.csv").write_bytes("file_name,text\na.png,café\n".encode("latin-1"))
    report = bring(ws, folder)
    assert captions(ws) == {"a.png": "fine"}
    said = sorted((name, reason.split("(")[0].split(":")[0].strip()) for name, reason in report.refused)
    assert said == [
        ("cut.parquet", "It is not a Parquet file, or it is damaged"),
        ("latin.csv", "It is not UTF-8 text; save it as UTF-8."),
        ("words.jsonl", "Line 2 is not a JSON object."),
        ("words.jsonl", "Line 3 is not a JSON object."),
        ("words.jsonl", "Line 4 cannot be used"),
    ]


# ---------------------------------------------------------------- sidecars of several lines, kohya's folders


def test_of_a_sidecar_with_several_lines_all_or_the_first_is_taken(ws, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(picture())
    (tmp_path / "in" / "a.txt").write_text("\nline one\r\nline two\n")
    bring(ws, tmp_path / "in", "all")
    bring(ws, tmp_path / "in", "first", caption_lines="first")
    assert captions(ws, "all") == {"a.png": "line one line two"}
    assert captions(ws, "first") == {"a.png": "line one"}


def kohya(folder, *names):
    for name, colour in zip(names, COLOURS, strict=False):
        (folder / name).mkdir(parents=True)
        (folder / name / "1.png").write_bytes(picture(colour))
    return folder


def test_kohyas_folder_names_caption_what_has_no_caption(ws, tmp_path):
    root = kohya(tmp_path / "img", "10_asim style", "1_style")
    (root / "10_asim style" / "2.png").write_bytes(picture("white"))
    (root / "10_asim style" / "2.caption").write_text("asim. a closeup of a man")
    report = bring(ws, root)
    assert captions(ws) == {
        "1_style/1.png": "style",
        "10_asim style/1.png": "asim style",
        "10_asim style/2.png": "asim. a closeup of a man",
    }
    assert len(report.notes) == 2
    assert any("10 repeats" in note for note in report.notes)
    bring(ws, root, "plain", kohya_folders=False)
    assert captions(ws, "plain")["10_asim style/1.png"] == ""
    single = bring(ws, root / "10_asim style", "single")
    assert (single.notes, captions(ws, "single")) == ([], {"1.png": "", "2.png": "asim. a closeup of a man"})


def test_a_year_or_one_plain_folder_beside_is_not_kohyas(ws, tmp_path):
    bring(ws, kohya(tmp_path / "years", "2023_holiday", "2024_skiing"), "years")
    bring(ws, kohya(tmp_path / "mixed", "10_asim style", "more"), "mixed")
    assert set(captions(ws, "years").values()) == {""}
    assert set(captions(ws, "mixed").values()) == {""}


# ---------------------------------------------------------------- uploads


def files(**contents):
    return [(name.replace("__", "/").replace("_", "."), io.BytesIO(data)) for name, data in contents.items()]


def test_uploads_are_read_from_disk_and_gone_after_the_import(ws, ctx):
    same = [("deep/a.png", io.BytesIO(picture(colour))) for colour in ("white", "black")]
    place = stage_uploads(ws, [*files(b_jpg=picture("red", "JPEG"), b_txt=b"red"), *same])
    assert place.parent == uploads_folder(ws)
    (ctx.folder / "STOP").touch()
    run_import(ImportConfig(dataset="set", folder=str(place)), ctx)
    assert place.is_dir()  # a stopped import can go on
    (ctx.folder / "STOP").unlink()
    run_import(check_import(ImportConfig(dataset="set", folder=str(place))), ctx)
    assert captions(ws) == {"b.jpg": "red", "deep/a.png": "", "deep/a-2.png": ""}
    assert list(uploads_folder(ws).iterdir()) == []


def test_one_uploaded_zip_file_is_opened(ws, ctx, tmp_path):
    data = zipped(tmp_path / "x.zip", {"a.png": picture()}).read_bytes()
    place = stage_uploads(ws, files(set_zip=data))
    run_import(check_import(ImportConfig(dataset="set", folder=str(place))), ctx)
    assert captions(ws) == {"a.png": ""}
    assert list(uploads_folder(ws).iterdir()) == []


def test_an_upload_cannot_leave_its_folder_and_an_import_takes_nothing_else_away(ws, ctx, tmp_path):
    place = stage_uploads(ws, [("../../../evil.png", io.BytesIO(picture("red"))), ("/abs.png", io.BytesIO(picture()))])
    assert sorted(path.name for path in place.iterdir()) == ["abs.png", "evil.png"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.png").write_bytes(picture("blue"))
    run_import(ImportConfig(dataset="set", folder=str(tmp_path / "mine")), ctx)
    discard_upload(ws, str(uploads_folder(ws)))
    assert (tmp_path / "mine" / "a.png").exists()
    assert place.exists()
    os.utime(place, (0, 0))
    with pytest.raises(UserError, match="No file was uploaded"):
        stage_uploads(ws, [])
    assert not place.exists()  # what nobody imported goes with time


# ---------------------------------------------------------------- the job


def test_the_job_finds_the_kind_of_place_and_reports(ws, ctx, tmp_path):
    path = zipped(tmp_path / "set.zip", {"a.png": picture(), "b.png": b"no"})
    config = check_import(ImportConfig(dataset="set", folder=os.path.relpath(path)))
    assert (config.source, config.folder) == ("zip", str(path))
    run_import(config, ctx)
    report = read_json(ctx.folder / "report.json")
    assert (report["added"], [name for name, _ in report["refused"]], report["error"]) == (1, ["b.png"], "")
    assert (read_json(ctx.folder / "progress.json")["done"], read_json(ctx.folder / "progress.json")["total"]) == (2, 2)


def test_a_job_that_breaks_midway_reports_what_is_in(ws, ctx, tmp_path, monkeypatch):
    path = zipped(tmp_path / "set.zip", {f"{colour}.png": picture(colour) for colour in COLOURS})
    store = create_dataset(ws, "set")

    def full(self, pictures):
        yield from add_many(self, islice(pictures, 2))
        raise UserError("The picture cannot be stored: No space left on device.")

    add_many = type(store).add_many
    monkeypatch.setattr(type(store), "add_many", full)
    with pytest.raises(UserError, match="No space left"):
        run_import(ImportConfig(dataset="set", folder=str(path)), ctx)
    report = read_json(ctx.folder / "report.json")
    assert (report["added"], report["error"]) == (2, "The picture cannot be stored: No space left on device.")
    monkeypatch.undo()
    run_import(ImportConfig(dataset="set", folder=str(path)), ctx)
    report = read_json(ctx.folder / "report.json")
    assert (report["added"], report["duplicates"], report["error"]) == (4, 2, "")


def test_a_picture_that_was_deleted_stays_so_and_that_is_said(ws, tmp_path):
    path = zipped(tmp_path / "set.zip", {f"{colour}.png": picture(colour) for colour in COLOURS[:2]})
    bring(ws, path)
    store = open_dataset(ws, "set")
    store.bulk([store.images()[0].id], Mark(what="delete"))
    report = bring(ws, path)
    assert (report.added, report.duplicates) == (0, 1)
    assert report.refused[0][1].startswith("It was deleted from this dataset")
    assert len(store.images()) == 1


@pytest.mark.parametrize("place", ["", "nowhere", "/no/such/place", "../up", "a/b/c", "owner/na me"])
def test_a_place_that_is_none_is_said(ws, place):
    with pytest.raises(UserError, match="no folder, zip file, table or config"):
        check_import(ImportConfig(dataset="set", folder=place))


def test_an_import_that_took_nothing_keeps_nothing(ctx, tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.png").write_text("no picture")
    with pytest.raises(UserError, match="no usable picture") as error:
        run_import(ImportConfig(dataset="set", folder=str(tmp_path / "texts"), source="folder"), ctx)
    assert "is kept" not in explain(error.value, ctx.folder)
    assert read_progress(ctx.folder)["done"] == 0
