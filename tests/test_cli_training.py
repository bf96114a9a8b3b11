"""`sdstudio train` and `sdstudio sweep`, without training: pytest tests/test_cli_training.py"""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_models import make_dataset

from sdstudio import jobs
from sdstudio.cli import main
from sdstudio.cli.outcomes import EXIT_OK, EXIT_USER
from sdstudio.datasets import create_dataset, open_dataset
from sdstudio.schema import TrainConfig, from_json
from sdstudio.training import machine
from sdstudio.workspace import Workspace, write_json


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace with one small dataset and without the starter's examples, whose jobs stay in the queue."""
    monkeypatch.setenv("SDSTUDIO_WORKSPACE", str(tmp_path))
    monkeypatch.setattr("sdstudio.cli.install_starter", lambda workspace: None)
    monkeypatch.setattr("sdstudio.jobs.queue._advance", lambda workspace, database: None)
    workspace = Workspace(tmp_path)
    make_dataset(workspace)
    return workspace


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> Any:
    """What the command prints as JSON."""
    assert main([*argv, "--json"]) == EXIT_OK
    return json.loads(capsys.readouterr().out)


def test_print_config_is_complete_and_can_be_given_back(
    ws: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["train", "--dataset", "toys", "--method", "lora", "--rank", "4", "--steps", "30", "--print-config"]
    config = printed(capsys, *argv)
    assert config["method_options"]["rank"] == 4 and config["method_options"]["targets"]
    assert config["loop"]["steps"] == 30 and config["name"] == "lora toys"
    write_json(tmp_path / "run.json", config)
    again = printed(capsys, "train", "--config", str(tmp_path / "run.json"), "--print-config", "--seed", "3")
    assert again == {**config, "loop": {**config["loop"], "seed": 3}}
    assert jobs.list_jobs(ws) == []


def test_further_datasets_are_mixed_in_by_a_flag(ws: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    make_dataset(ws, "world")
    argv = ["train", "--dataset", "toys", "--mix", "world,repeats=2,regularisation=true,weight=0.5", "--print-config"]
    mix = printed(capsys, *argv)["mix"]
    assert mix == [{"dataset": "world", "repeats": 2, "regularisation": True, "weight": 0.5}]


def test_a_name_that_method_and_loop_share_has_two_flags(ws: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["train", "--dataset", "toys", "--method", "dreambooth", "--class-word", "toy", "--loop-class-word", "doll"]
    config = printed(capsys, *argv, "--print-config")
    assert (config["method_options"]["class_word"], config["loop"]["class_word"]) == ("toy", "doll")


def test_a_preset_lies_under_the_flags(ws: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["train", "--preset", "starter-sam", "--dataset", "toys", "--batch-size", "2", "--print-config"]
    config = printed(capsys, *argv)
    assert (config["method"], config["loop"]["steps"], config["loop"]["batch_size"]) == ("sam", 400, 2)


def test_a_kohya_config_lies_under_the_flags(ws: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cat.toml"
    file.write_text('network_module = "networks.lora"\nnetwork_dim = 8\nmax_train_steps = 90\nclip_skip = 2\n')
    argv = ["train", "--kohya", str(file), "--dataset", "toys", "--base-model", "starter", "--steps", "70"]
    assert main([*argv, "--print-config"]) == EXIT_OK
    out, error = capsys.readouterr()
    config = from_json(TrainConfig, json.loads(out))
    assert (config.method, config.method_options["rank"], config.loop.steps) == ("lora", 8, 70)
    assert error.startswith("cat.toml: clip_skip is not taken: ") and len(error.splitlines()) == 1


def test_a_sweep_is_listed_then_queued_once(ws: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["sweep", "--dataset", "toys", "--grid", "learning-rate=1e-4,1e-3", "--grid", "steps=20,40", "--rank", "2"]
    listed = printed(capsys, *argv, "--dry-run")
    assert [cell["status"] for cell in listed] == ["new"] * 4 and jobs.list_jobs(ws) == []
    sweep = printed(capsys, *argv)
    assert {cell["run"] for cell in sweep["cells"]} == {job.id for job in jobs.list_jobs(ws)}
    assert main(argv) == EXIT_OK
    out = capsys.readouterr().out
    assert "0 of 4 runs queued" in out and out.count("--model ") == 5
    assert len(jobs.list_jobs(ws)) == 4


CAPTIONS = {
    "brackets": ["asim. a toy", "asim. a (red toy"],
    "commas": ["asim, (a red, round toy:1.2)"],
    "bare": ["", ""],
    "odd": ["zxqvy. a toy"],
    "broken": ["asim. a toy", "asim. a ball"],
}


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["train", "--kohya", "missing.toml"], "missing.toml cannot be read"),
        (["train", "--kohya", "CONFIG"], "no training config of kohya's"),
        (["train", "--dataset", "toys", "--method", "magic"], "no method named 'magic'"),
        (["train", "--print-config"], "No dataset is named"),
        (["train", "--preset", "magic"], "no preset 'magic'"),
        (["train", "--dataset", "toys", "--resolution", "65"], "65 is not a multiple of 8: take 64"),
        (["train", "--dataset", "toys", "--init-checkpoint", "gone"], "no checkpoint 'gone'"),
        (["train", "--config", "MIX"], "'toys' is mixed in twice"),
        (["train", "--dataset", "toys", "--mix", "world,repeat=2"], "repeat"),
        (["train", "--dataset", "toys", "--mix", "world"], "There is no dataset 'world'"),
        (["train", "--dataset", "brackets", "--weighted-captions"], "caption 'asim. a (red toy' cannot be read: The b"),
        (["train", "--dataset", "commas", "--weighted-captions", "--shuffle-tags"], "part '(a red' stands alone"),
        (["train", "--dataset", "toys", "--mix", "bare"], "'bare', which is mixed in, has no captions: write some"),
        (["train", "--dataset", "empty"], "The dataset 'empty' has no pictures; bring some in"),
        (["train", "--dataset", "broken"], "1 picture of the dataset 'broken' cannot be read, such as"),
        (["train", "--dataset", "odd", "--method", "sam"], "'zxqvy' is 5 tokens to this model (z, x, q, v, y)"),
        (["train", "--dataset", "bare", "--caption-mode", "class word"], "give a class word, a trigger, or both"),
        (["train", "--dataset", "toys", "--mixed-precision", "fp16"], "fp16 needs a GPU, and this run would be on the"),
        (["train", "--dataset", "toys", "--optimizer", "prodigy"], "run `pip install prodigyopt`, or choose 'adamw'"),
        (["train", "--dataset", "toys", "--optimizer", "adamw 8-bit", "--detach"], "run `pip install bitsandbytes`"),
        (["sweep", "--dataset", "toys", "--grid", "optimizer=adamw,prodigy"], "run `pip install prodigyopt`"),
        (["sweep", "--dataset", "toys"], "--grid"),
        (["sweep", "--dataset", "toys", "--grid", "steps"], "no axis"),
        (["sweep", "--dataset", "toys", "--grid", "stepz=1"], "did you mean steps"),
    ],
)
def test_wrong_input_is_one_sentence_and_leaves_nothing_behind(
    ws: Workspace,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    argv: list[str],
    said: str,
) -> None:
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    monkeypatch.setenv("SDSTUDIO_DEVICES", "cpu")
    files = {"CONFIG": tmp_path / "other.toml", "MIX": tmp_path / "mix.json"}
    files["CONFIG"].write_text("title = 'not a config'\n")
    write_json(files["MIX"], {"dataset": "toys", "mix": [{"dataset": "toys"}]})
    for name in CAPTIONS.keys() & set(argv):
        make_dataset(ws, name, CAPTIONS[name])
    if "broken" in argv:
        broken = open_dataset(ws, "broken")
        broken.image_path(broken.images()[1].id).write_bytes(b"not a picture")
    create_dataset(ws, "empty")
    assert jobs.list_jobs(ws) == []  # which makes the queue's database
    before = set(ws.root.rglob("*"))
    assert main([str(files.get(word, word)) for word in argv]) == EXIT_USER
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1
    assert set(ws.root.rglob("*")) == before
