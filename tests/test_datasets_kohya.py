"""Datasets of kohya's trainer: its config brought in, its sidecars written: pytest tests/test_datasets_kohya.py"""

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from sdstudio.datasets import create_dataset, export_dataset, import_folder, import_pictures, open_dataset
from sdstudio.schema import ImportConfig, UserError
from sdstudio.workspace import Workspace

CONFIG = """
[general]
caption_extension = ".txt"
shuffle_caption = true

[[datasets]]
resolution = 512
caption_prefix = "asim,"

  [[datasets.subsets]]
  image_dir = "img/style"
  class_tokens = "asim style"
  num_repeats = 10

  [[datasets.subsets]]
  image_dir = "{absolute}"
  caption_extension = ".cap"
  caption_prefix = ""
  caption_suffix = "at night"

  [[datasets.subsets]]
  is_reg = true
  image_dir = "reg"
  class_tokens = "style"

[[datasets]]
  [[datasets.subsets]]
  image_dir = "fine"
  metadata_file = "fine_md.json"
  caption_separator = "; "

  [[datasets.subsets]]
  image_dir = "gone"
"""

SUBSET = "[[datasets]]\n[[datasets.subsets]]\n"


@pytest.fixture
def ws(tmp_path):
    return Workspace(tmp_path / "workspace")


def draw(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 8), (shade, 90, 160)).save(path)


def captions(ws, name="set"):
    return {image.file_name: image.caption for image in open_dataset(ws, name).images()}


@pytest.fixture
def config(tmp_path):
    root = tmp_path / "kohya"
    for shade, name in enumerate(
        ("img/style/1.png", "img/style/2.jpg", "img/style/10.png", "img/style/deeper/3.png", "other/a.png", "reg/r.png")
    ):
        draw(root / name, 20 * shade)
    (root / "img/style/2.txt").write_text("\n a car, red\nand more lines\n", encoding="utf-8")
    (root / "img/style/2.caption").write_text("not this one")
    (root / "img/style/10.txt").write_bytes("café".encode("latin-1"))
    (root / "img/style/notes.md").write_text("no picture")
    (root / "other/a.cap").write_text("a house")
    for shade, name in enumerate("bcd"):
        draw(root / f"fine/{name}.png", 200 + 10 * shade)
    rows = {"C:\\fine\\b.png": {"caption": "a boat", "tags": "sea, sky"}, "c": {"tags": "1girl"}, "x": {"caption": "?"}}
    (root / "fine_md.json").write_text(json.dumps(rows))
    path = root / "dataset.toml"
    path.write_text(CONFIG.replace("{absolute}", (root / "other").as_posix()), encoding="utf-8")
    return path


def test_a_config_brings_its_folders_in_with_the_captions_that_kohya_would_train(ws, config):
    report = import_pictures(ws, ImportConfig(dataset="set", folder=str(config)))
    assert captions(ws) == {
        "style/1.png": "asim, asim style",
        "style/2.jpg": "asim, a car, red",
        "style/10.png": "",
        "other/a.png": "a house at night",
        "fine/b.png": "a boat; sea, sky",
        "fine/c.png": "1girl",
        "fine/d.png": "",
    }
    assert [Path(name).name for name, _ in report.refused] == ["gone", "10.png"]
    assert "no such folder" in report.refused[0][1] and "not UTF-8" in report.refused[1][1]
    assert len(report.notes) == 2
    assert "10 repeats of its 3 pictures" in report.notes[0] and "class pictures" in report.notes[1]
    again = import_pictures(ws, ImportConfig(dataset="set", folder=str(config)))
    assert (again.added, again.duplicates) == (0, 7)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[datasets]\n", "cannot be read"),
        ("pretrained_model = 'x'\n", "is not a dataset config of kohya's trainer"),
        (f"{SUBSET}num_repeats = 1\n", "name an image_dir"),
        ("datasets = 3\n", "is not a dataset config"),
        (f"{SUBSET}image_dir = '.'\nmetadata_file = 'no.json'\n", "metadata file .* cannot"),
        (f"{SUBSET}image_dir = '.'\nclass_tokens = 3\n", "class_tokens .* is 3 in the config"),
    ],
)
def test_a_config_that_is_none_is_said_and_nothing_is_made(ws, tmp_path, text, said):
    draw(tmp_path / "a.png", 1)
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=said):
        import_pictures(ws, ImportConfig(dataset="set", folder=str(path)))
    assert not (ws.datasets / "set").exists()


def kohya_reads(picture: Path, extension: str) -> str:
    """As sd-scripts' `read_caption` does: the first line of the file of the same stem, stripped."""
    with picture.with_suffix(extension).open(encoding="utf-8") as file:
        return file.readlines()[0].strip()


def test_kohya_and_the_studio_read_the_exported_sidecars_alike(ws, tmp_path):
    store = create_dataset(ws, "set")
    words = ["", "naïve 猫 😀", 'says "hi", twice', "x, (y:1.2), \\(z\\)", "שלום עולם", "a" * 3000]
    for shade, caption in enumerate(words):
        memory = io.BytesIO()
        Image.new("RGB", (16, 8), (shade, 1, 2)).save(memory, "PNG")
        store.add(memory.getvalue(), f"10_asim style/{shade}.png", caption)
    export_dataset(ws, "set", tmp_path / "out", "txt")
    stored = {image.file_name: image.caption for image in store.images()}
    assert {name: kohya_reads(tmp_path / "out" / name, ".txt") for name in stored} == stored
    import_folder(ws, "back", tmp_path / "out")
    assert captions(ws, "back") == stored
