"""`sdstudio dataset show`, `check`, `snapshot` and `diff`.   pytest tests/test_cli_dataset.py"""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdstudio import cli
from sdstudio.datasets import DatasetStore, create_dataset
from sdstudio.datasets.bulk import Mark
from sdstudio.datasets.query import Query
from sdstudio.workspace import ENV_VAR, Workspace


def picture(number: int, side: int = 512) -> bytes:
    buffer = io.BytesIO()
    corners = np.random.default_rng(number).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    Image.fromarray(corners).resize((side, side)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetStore:
    monkeypatch.setenv(ENV_VAR, str(tmp_path / "workspace"))
    monkeypatch.setattr(cli, "install_starter", lambda ws: None)
    captions = ("asim a cat", "asim a dog", "a tree", "asim a house")
    pictures = ((picture(number), f"{number}.png", caption) for number, caption in enumerate(captions))
    return create_dataset(Workspace(tmp_path / "workspace"), "mine", pictures=pictures)


def answer(capsys: pytest.CaptureFixture[str], *command: str, code: int = 0) -> str:
    assert cli.main(["dataset", *command]) == code
    return capsys.readouterr().out


def shown(capsys: pytest.CaptureFixture[str], *flags: str) -> list[str]:
    return [image["file_name"] for image in json.loads(answer(capsys, "show", "mine", "--json", *flags))]


def test_show_takes_the_filters_of_the_page(store, capsys):
    store.bulk([store.ids(Query())[3]], Mark(what="exclude"))
    assert shown(capsys) == ["0.png", "1.png", "2.png", "3.png"]
    assert shown(capsys, "--contains", "ASIM", "--limit", "2") == ["0.png", "1.png"]
    assert shown(capsys, "--regex", "(cat|tree)$", "--sort", "name", "--descending") == ["2.png", "0.png"]
    assert shown(capsys, "--without", "asim") == ["2.png"]
    assert shown(capsys, "--excluded") == ["3.png"]
    assert shown(capsys, "--no-excluded", "--word", "dog") == ["1.png"]
    assert shown(capsys, "--empty") == shown(capsys, "--deleted") == []
    text = answer(capsys, "show", "mine", "--limit", "1")
    assert "asim a cat" in text
    assert "1 of 4 pictures shown" in text


def test_check_says_what_and_which_and_fails_on_a_problem(store, capsys):
    assert answer(capsys, "check", "mine") == "Nothing to mend: every picture is ready.\n"
    image = store.images()[1]
    store.set_caption(image.id, "", "person:me", image.version)
    text = answer(capsys, "check", "mine", code=1)
    assert "problem  1 picture without a caption" in text
    assert "1.png" in text
    (finding,) = json.loads(answer(capsys, "check", "mine", "--json", code=1))
    assert (finding["code"], finding["ids"]) == ("empty", [image.id])


def test_check_asks_for_the_side_that_the_dataset_is_trained_at(store, capsys):
    assert "enlarged" not in answer(capsys, "check", "mine")
    assert "4 pictures smaller than 768 px" in answer(capsys, "check", "mine", "--side", "768")
    store.save_settings(type(store.settings())(resolution=1024))
    assert "4 pictures smaller than 1024 px" in answer(capsys, "check", "mine")


def test_check_reads_every_file_when_asked(store, capsys):
    image = store.images()[2]
    store.image_path(image.id).write_bytes(picture(9))
    assert answer(capsys, "check", "mine") == "Nothing to mend: every picture is ready.\n"
    assert "2.png (changed on disk)" in answer(capsys, "check", "mine", "--thorough", code=1)


def test_settings_are_shown_and_changed_one_by_one(store, capsys):
    before = json.loads(answer(capsys, "settings", "mine", "--json"))
    after = json.loads(answer(capsys, "settings", "mine", "--identifier", "asim", "--fit", "white", "--json"))
    assert after == {**before, "identifier": "asim", "fit": "white"}
    assert "identifier      asim" in answer(capsys, "settings", "mine")
    for wrong in (["--fit", "round"], ["--resolution", "3"], ["--template", "a [b"], ["--tokenizer", "nowhere"]):
        answer(capsys, "settings", "mine", "--identifier", "other", *wrong, code=2)
    assert json.loads(answer(capsys, "settings", "mine", "--json")) == after


def test_snapshots_are_taken_listed_and_compared(store, capsys):
    assert cli.main(["dataset", "diff", "mine"]) == 2
    assert "no snapshot yet" in capsys.readouterr().err
    first = json.loads(answer(capsys, "snapshot", "mine", "--json"))
    assert first["pictures"] == 4
    assert "0 captions changed" in answer(capsys, "diff", "mine")
    image, gone = store.images()[:2]
    store.set_caption(image.id, "asim a lynx", "person:me", image.version)
    store.bulk([gone.id], Mark(what="delete"))
    store.add(picture(7), "7.png", "new")
    text = answer(capsys, "diff", "mine")
    for line in ("+ 7.png: new", "- 1.png: asim a dog", "  - asim a cat", "  + asim a lynx"):
        assert line in text.splitlines()
    assert len(store.snapshots()) == 1, "comparing with now keeps nothing"
    second = answer(capsys, "snapshot", "mine").split()[0]
    assert second[:10] in answer(capsys, "snapshot", "mine", "--list")
    found = json.loads(answer(capsys, "diff", "mine", second[:12], first["hash"], "--json"))
    assert (found["from"], found["to"]) == (second, first["hash"])
    assert [image["file_name"] for image in found["added"]] == ["1.png"]
    assert found["changed"][0][1]["caption"] == "asim a cat"
    for name in ("zz", ""):
        assert cli.main(["dataset", "diff", "mine", name, "now"]) == (2 if name else 0)
