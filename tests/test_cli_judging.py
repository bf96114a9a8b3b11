"""`sdstudio logo`, `shift` and `ratings` on a comparison made without a model: pytest tests/test_cli_judging.py"""

import json
from pathlib import Path

import pytest
from drawn_comparison import finished_comparison, logos_beside_real_ones

from sdstudio import cli, registry
from sdstudio.ratings import store
from sdstudio.ratings.deck import dealt
from sdstudio.ratings.store import Press
from sdstudio.workspace import Workspace


@pytest.fixture
def folder(quiet_workspace: Workspace) -> Path:
    return finished_comparison(quiet_workspace, seeds=2)


@pytest.fixture
def logos(quiet_workspace: Workspace) -> Path:
    return logos_beside_real_ones(quiet_workspace)


def test_a_look_for_a_logo_prints_its_table_and_takes_the_options_of_both_plug_ins(logos: Path, capsys) -> None:
    asked = ["logo", logos.name, "--text", "ZORB", "--threshold", "0.6", "--reader-options-threshold", "0.4"]
    assert cli.main([*asked, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    values = {(one["model"], one["metric"]): one["value"] for one in printed["results"]}
    assert values["Model lora", "detector"] > 0.6 and values["Model base", "detector"] == 0
    assert Path(printed["file"]) == logos / "logo.json"
    looked = json.loads((logos / "logo.json").read_text(encoding="utf-8"))["config"]
    assert (looked["detector_options"]["threshold"], looked["reader_options"]["threshold"]) == (0.6, 0.4)
    assert cli.main(["logo", logos.name]) == 0
    text = capsys.readouterr().out
    assert "Model lora" in text and "not computed" in text, "without a word nothing is read"


def test_a_shift_prints_how_far_the_models_moved(logos: Path, capsys) -> None:
    few = ["--clusters", "4", "--components", "4", "--rounds", "199"]
    assert cli.main(["shift", logos.name, *few, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    [model] = printed["models"]
    assert model["label"] == "Model lora" and model["original"]["js"] < model["base"]["js"] / 2
    assert printed["flags"][0].startswith("16 pictures of 8 prompts")
    assert cli.main(["shift", logos.name, *few]) == 0
    text = capsys.readouterr().out
    assert "base‖trained" in text and "original‖trained" in text and printed["flags"][0] in text


def test_ratings_are_printed_once_a_question_was_ended(folder: Path, capsys) -> None:
    assert cli.main(["ratings", folder.name]) == 0
    assert capsys.readouterr().out == "Nobody has rated.\n"
    for rater, said in (("Ana", "yes"), ("Ben", "no")):
        id = store.start(folder, rater, "defect", "six fingers", repeats=0)
        presses = [
            Press(id=task.id, task=task.id, pictures=task.pictures, answer="no" if "base" in task.pictures[0] else said)
            for task in dealt(folder, id)
        ]
        store.add(folder, id, presses)
        store.end(folder, id)
    going = store.start(folder, "Cem", "preference")
    assert cli.main(["ratings", folder.name, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [(one["rater"], one["answered"], one["ended"]) for one in printed["sessions"]] == [
        ("Ana", 12, True), ("Ben", 12, True), ("Cem", 0, False),
    ]  # fmt: skip
    [question] = printed["questions"]
    assert question["question"] == "six fingers" and [one["value"] for one in question["results"]] == [0.0, 0.5]
    assert question["trust"] == ["2 raters, 12 pictures in common: Cohen's κ 0.00."]
    store.end(folder, going)
    assert cli.main(["ratings", folder.name]) == 0
    text = capsys.readouterr().out
    assert "Model lora  0.500" in text and "preference" in text and "Cohen's κ" in text


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["logo", "none"], "There is no finished comparison 'none'"),
        (["shift", "none"], "There is no finished comparison 'none'"),
        (["ratings", "none"], "There is no finished comparison 'none'"),
        (["logo", "COMPARISON", "--detector", "none"], "There is no detector named 'none'"),
        (["logo", "COMPARISON", "--threshold", "2"], "the most is 1"),
        (["shift", "COMPARISON"], "This comparison has no reference pictures"),
        (["shift", "COMPARISON", "--clusters", "1"], "clusters is 1, the least is 2"),
        (["shift", "COMPARISON", "--threshold", "0.5"], "Unrecognized arguments: --threshold"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(folder: Path, command: list[str], sentence: str, capsys) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert cli.main([folder.name if word == "COMPARISON" else word for word in command]) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize(("package", "flag"), [("sdstudio.detectors", "--detector"), ("sdstudio.readers", "--reader")])
def test_every_detector_and_reader_has_flags(folder: Path, package: str, flag: str, capsys) -> None:
    for name, record in registry.load(package).items():
        with pytest.raises(SystemExit) as leaving:
            cli.main(["logo", flag, name, "--help"])
        assert leaving.value.code == 0
        text = capsys.readouterr().out
        for field in record.Options.__dataclass_fields__:
            assert field.replace("_", "-") in text
