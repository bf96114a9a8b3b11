"""The `sdstudio` command: what it prints, and one sentence with exit code 2 for everything that a person can mend."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from sdstudio import cli, demo, jobs, registry
from sdstudio.cli.flags import Command, Group, parse
from sdstudio.datasets import create_dataset, open_dataset
from sdstudio.schema import ENDED
from sdstudio.workspace import ENV_VAR, Workspace, write_json


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """An empty workspace that every command uses; the example datasets are left out, they take seconds to draw."""
    workspace = Workspace(tmp_path / "workspace")
    workspace.root.mkdir()
    monkeypatch.setenv(ENV_VAR, str(workspace.root))
    monkeypatch.setattr(cli, "install_starter", lambda ws: None)
    return workspace


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(4):
        Image.new("RGB", (64, 64), (60 * index, 80, 120)).save(folder / f"{index}.png")
        (folder / f"{index}.txt").write_text(f"asim. a plain picture, number {index}")
    return folder


def import_pictures(pictures: Path, dataset: str = "mine") -> None:
    assert cli.main(["dataset", "import", str(pictures), "--dataset", dataset]) == 0


def contents(ws: Workspace) -> set[Path]:
    """Every folder and file that is somebody's work: neither the cache nor the queue's own files."""
    parents = (ws.datasets, ws.runs, ws.images, ws.evaluations, ws.tasks)
    return {path for parent in parents for path in parent.rglob("*") if path.suffix != ".db-journal"}


def test_import_list_show_export(ws: Workspace, pictures: Path, tmp_path: Path, capsys) -> None:
    import_pictures(pictures)
    assert "4 added, 0 there already, 0 refused" in capsys.readouterr().out
    assert cli.main(["dataset", "list"]) == 0
    assert "mine" in capsys.readouterr().out
    assert cli.main(["dataset", "show", "mine", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert sorted(image["caption"] for image in shown) == [f"asim. a plain picture, number {n}" for n in range(4)]
    assert cli.main(["dataset", "export", "mine", str(tmp_path / "out"), "--format", "csv"]) == 0
    assert "4 pictures" in capsys.readouterr().out
    assert (tmp_path / "out" / "metadata.csv").is_file()


def test_json_is_all_that_standard_output_holds(ws: Workspace, pictures: Path, capsys) -> None:
    assert cli.main(["dataset", "import", str(pictures), "--dataset", "mine", "--json"]) == 0
    job = json.loads(capsys.readouterr().out)
    assert (job["state"], job["done"], job["report"]["added"]) == ("succeeded", 4, 4)
    for command in (["dataset", "list"], ["jobs", "list"], ["jobs", "show", job["id"]], ["jobs", "logs", job["id"]]):
        assert cli.main([*command, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)


def wrong_inputs() -> list[tuple[list[str], str]]:
    return [
        (["dataset", "import", "EMPTY", "--dataset", "new"], "is empty"),
        (["dataset", "import", "NONE", "--dataset", "new"], "There is no folder"),
        (["dataset", "import", "TEXTS", "--dataset", "new"], "no usable picture"),
        (["dataset", "import", "PICTURES", "--dataset", "../up"], "not a usable dataset name"),
        (["dataset", "import", "PICTURES"], "No dataset is named: give --dataset NAME"),
        (["caption"], "No dataset is named: give --dataset NAME"),
        (["train", "--rank", "8"], "No dataset is named: give --dataset NAME"),
        (["train", "--method", "none", "--rank", "8"], "no method named 'none'; choose one of"),
        (["dataset", "show", "none"], "There is no dataset 'none'"),
        (["dataset", "export", "mine", "PICTURES"], "is not empty"),
        (["caption", "--dataset", "none"], "There is no dataset 'none'"),
        (["caption", "--dataset", "mine", "--captioner", "none"], "no captioner named 'none'"),
        (["caption", "--dataset", "mine", "--num-beams", "0"], "num_beams is 0, the least is 1"),
        (["train", "--dataset", "bare"], "No picture of the dataset 'bare' has a caption"),
        (["train", "--dataset", "mine", "--method", "none"], "no method named 'none'"),
        (["train", "--dataset", "mine", "--base-model", "./none.safetensors"], "no base model"),
        (["train", "--dataset", "mine", "--base-model", "nonsense"], "base model 'nonsense' is unknown"),
        (["train", "--dataset", "mine", "--rank", "many"], "rank: Input should be a valid integer"),
        (["train", "--dataset", "mine", "--steps", "0"], "steps is 0, the least is 1"),
        (["train", "--dataset", "mine", "--lr-scheduler", "up"], "choose one of constant"),
        (["train", "--dataset", "mine", "--snapshot", "0" * 64], "snapshot"),
        (["train", "--dataset", "mine", "--loud"], "Unrecognized arguments: --loud; `sdstudio train --help`"),
        (["train", "--dataset", "mine", "--step", "3"], "Unrecognized arguments: --step 3"),
        (["train", "--config", "NONE"], "There is no file"),
        (["train", "--config", "TEXTS/a.png"], "is not valid JSON"),
        (["train", "--config", "PICTURES"], "cannot be read"),
        (["train", "--config", "PICTURES/0.png"], "is not a text file in UTF-8"),
        (["train", "--config", "LIST"], "does not hold a JSON object"),
        (["train", "--config", "UNKNOWN"], "unknown key 'loop.stpes'"),
        (["generate"], "There is no prompt"),
        (["generate", "--prompts", "x", "--model", "runs/none/checkpoints/step-000001"], "no checkpoint"),
        (["generate", "--prompts", "x", "--model", "nonsense"], "'nonsense' is no run"),
        (["generate", "--prompts", "x", "--model", "nonsense"], "base model 'nonsense' is unknown"),
        (["generate", "--prompts", "x", "--guidance-scale", "99"], "the most is 30"),
        (["evaluate", "--model", "base", "--metrics", "beauty"], "beauty"),
        (["evaluate", "--model", "base", "--reference", "none"], "There is no dataset 'none'"),
        (["evaluate", "--model", "runs/none"], "no checkpoint"),
        (["jobs", "show", "none"], "There is no job none"),
        (["jobs", "stop", "../../etc"], "not a usable job name"),
        (["evaluate", "--model", "base", "--seed", "1"], "Unrecognized arguments: --seed 1"),
        (["jobs", "list", "--kind"], "expected one argument"),
        (["jobs", "logs", "none", "--lines", "-1"], "not a whole number of at least 1"),
        (["run", "--port", "99999"], "not a whole number from 1 to 65535"),
        (["jobs", "list", "--kind", "dance"], "no kind of job named 'dance'"),
        (["dance"], "invalid choice: 'dance'"),
        ([], "COMMAND"),
    ]


@pytest.mark.parametrize(("command", "message"), wrong_inputs(), ids=lambda value: str(value)[:60])
def test_wrong_input_is_one_sentence_and_code_2(
    ws: Workspace, pictures: Path, tmp_path: Path, capsys, command: list[str], message: str
) -> None:
    import_pictures(pictures)
    bare = create_dataset(ws, "bare")
    bare.add((pictures / "0.png").read_bytes(), "0.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.png").write_text("not a picture")
    write_json(tmp_path / "unknown.json", {"dataset": "mine", "loop": {"stpes": 3}})
    write_json(tmp_path / "list.json", ["dataset", "mine"])
    places = {
        "EMPTY": tmp_path / "empty",
        "NONE": tmp_path / "none",
        "TEXTS": tmp_path / "texts",
        "TEXTS/a.png": tmp_path / "texts" / "a.png",
        "PICTURES": pictures,
        "PICTURES/0.png": pictures / "0.png",
        "LIST": tmp_path / "list.json",
        "UNKNOWN": tmp_path / "unknown.json",
    }
    before = contents(ws)
    capsys.readouterr()
    assert cli.main([str(places.get(word, word)) for word in command]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    *log, sentence = printed.err.splitlines()
    assert sentence.startswith("sdstudio: ") and message in sentence
    if "TEXTS" not in command:  # only opening the files tells what they are: that job leaves its record
        assert log == []
        assert contents(ws) == before
    assert not (ws.datasets / "new").exists()


def test_a_port_in_use_is_said(ws: Workspace, capsys) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert cli.main(["run", "--port", str(taken.getsockname()[1])]) == 2
    assert "cannot be used (address already in use)" in capsys.readouterr().err


def test_ctrl_c_before_a_job_says_that_nothing_was_begun(ws: Workspace, monkeypatch, capsys) -> None:
    def interrupt(ws: Workspace) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "install_starter", interrupt)
    assert cli.main(["caption", "--dataset", "mine"]) == 130
    assert "Stopped; nothing was begun." in capsys.readouterr().err


def test_a_workspace_that_cannot_be_written_says_what_to_do(ws: Workspace, monkeypatch, capsys) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert cli.main(["dataset", "list"]) == 2
    assert "Set SDSTUDIO_WORKSPACE or --workspace to a folder of your own." in capsys.readouterr().err


def every_command() -> dict[str, Command]:
    """Each command by the words that call it."""
    found: dict[str, Command] = {}
    for name, command in cli.COMMANDS.items():
        inner = {f"{name} {one}": each for one, each in command.commands.items()} if isinstance(command, Group) else {}
        found |= inner or {name: command}
    return found


def shown_commands() -> list[str]:
    """Every `sdstudio …` line that a reader may copy."""
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    examples = [command.examples for command in every_command().values()]
    lines = "\n".join([readme, cli.EPILOG, demo.NEXT.format(lora="RUN"), *examples]).replace("\\\n", " ").splitlines()
    lines = [line.strip().split("   ")[0] for line in lines if re.match(r"\s*(\S*[\\/])?sdstudio [a-z]", line)]
    return [line for line in lines if "COMMAND" not in line]


@pytest.mark.parametrize("line", shown_commands())
def test_every_shown_command_is_understood(line: str, tmp_path: Path, monkeypatch, capsys) -> None:
    """In a folder with the files that the examples name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "config.toml").write_text("network_module = 'networks.lora'")
    _, *argv = shlex.split(line.partition(" > ")[0].replace("\\", "/"))
    try:
        assert parse(cli.parser(argv), argv).command
    except SystemExit as leaving:
        assert leaving.code == 0 and "--help" in argv


@pytest.mark.parametrize(("words", "command"), every_command().items(), ids=list(every_command()))
def test_every_command_shows_itself_at_work(words: str, command: Command) -> None:
    assert command.help[0].isupper() and command.help.endswith(".")
    lines = command.examples.splitlines()
    assert any(f"sdstudio {words}" in line for line in lines), "no example"
    assert all(len(line) <= 120 for line in lines)


def test_every_plugin_has_flags(ws: Workspace, capsys) -> None:
    """Also: no option of a plug-in takes a flag that the job itself has."""
    for package, command, flag in (
        ("sdstudio.methods", "train", "--method"),
        ("sdstudio.captioners", "caption", "--captioner"),
    ):
        for name, record in registry.load(package).items():
            with pytest.raises(SystemExit) as leaving:
                cli.main([command, flag, name, "--help"])
            assert leaving.value.code == 0
            text = capsys.readouterr().out
            for field in record.Options.__dataclass_fields__:
                assert f"--{field.replace('_', '-')}" in text


@pytest.mark.parametrize("command", [[], ["run"], ["dataset"], ["dataset", "import"], ["evaluate"], ["jobs", "stop"]])
def test_help_is_there(ws: Workspace, capsys, command: list[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        cli.main([*command, "--help"])
    assert leaving.value.code == 0
    assert "usage: sdstudio" in capsys.readouterr().out


def test_flags_win_over_the_config_file(ws: Workspace, pictures: Path, tmp_path: Path, capsys) -> None:
    import_pictures(pictures)
    config = {"dataset": "mine", "method": "sam", "method_options": {"rank": 4}, "loop": {"steps": 7, "seed": 3}}
    write_json(tmp_path / "run.json", config)
    argv = [
        "train",
        "--config",
        str(tmp_path / "run.json"),
        "--steps",
        "9",
        "--prior-images",
        "0",
        "--detach",
        "--json",
    ]
    from sdstudio.jobs.devices import compute_devices
    from sdstudio.jobs.locks import device_lock

    with device_lock(ws, compute_devices()[0]):
        capsys.readouterr()
        assert cli.main(argv) == 0
        job = json.loads(capsys.readouterr().out)
        written = json.loads((Path(job["folder"]) / "config.json").read_text())
        assert cli.main(["jobs", "stop", job["id"], "--now"]) == 0
        assert jobs.wait(ws, job["id"], 60).state == "cancelled"
    assert (written["loop"]["steps"], written["loop"]["seed"]) == (9, 3)
    assert (written["method_options"]["rank"], written["method_options"]["prior_images"]) == (4, 0)


def test_a_detached_job_is_queued_and_followed(ws: Workspace, pictures: Path, capsys) -> None:
    assert cli.main(["dataset", "import", str(pictures), "--dataset", "mine", "--detach"]) == 0
    job_id = capsys.readouterr().out.split()[1].rstrip(";")
    assert jobs.wait(ws, job_id, 60).state == "succeeded"
    for command, expected in (("show", "4/4"), ("logs", "4 added")):
        assert cli.main(["jobs", command, job_id]) == 0
        assert expected in capsys.readouterr().out
    assert cli.main(["jobs", "list"]) == 0
    assert job_id in capsys.readouterr().out


def start_long_import(ws: Workspace, tmp_path: Path) -> subprocess.Popen[str]:
    """A `sdstudio dataset import` in a process of its own, at work on 1500 pictures that are slow to read."""
    folder = tmp_path / "many"
    folder.mkdir()
    for index in range(1500):
        Image.new("RGB", (32, 32), (index % 256, index // 256, 7)).save(folder / f"{index}.png")
    command = [
        sys.executable,
        "-c",
        "import sys, time; from sdstudio import cli; from sdstudio.datasets import adding; "
        "cli.install_starter = lambda ws: None; read = adding.read_picture; "
        "adding.read_picture = lambda *given: (time.sleep(0.03), read(*given))[1]; sys.exit(cli.main())",
    ]
    process = subprocess.Popen(
        [*command, "dataset", "import", str(folder), "--dataset", "mine"],
        env={**os.environ, ENV_VAR: str(ws.root)},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (ws.tasks.is_dir() and any(job.done for job in jobs.list_jobs(ws))):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    return process


def test_ctrl_c_lets_the_job_save_and_exits_130(ws: Workspace, tmp_path: Path) -> None:
    process = start_long_import(ws, tmp_path)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    (job,) = jobs.list_jobs(ws)
    assert job.state == "cancelled"
    assert "Stopped as asked" in job.message and job.message in errors
    assert len(open_dataset(ws, "mine").images()) >= job.done > 0


def test_a_killed_command_leaves_an_interrupted_job(ws: Workspace, tmp_path: Path) -> None:
    process = start_long_import(ws, tmp_path)
    process.kill()
    process.communicate(timeout=60)
    (job,) = jobs.list_jobs(ws)
    assert job.state == "interrupted"


def test_doctor_says_what_to_do(ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    assert cli.main(["doctor", "--json"]) == 0
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)}
    needed = {"Python", "packages", "torch", "torchvision", "device", "memory", "SQLite", "workspace", "disk"}
    assert needed <= set(checks)
    assert checks["starter"]["level"] == "ok"
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("sdstudio.models.STARTER", tmp_path)
    assert cli.main(["doctor"]) == 1
    printed = capsys.readouterr().out
    assert "error  torchvision: installed but broken (RuntimeError: operator torchvision::nms" in printed
    assert "pip uninstall torchvision" in printed
    assert "error  starter: sd does not load" in printed


def test_train_generate_evaluate(ws: Workspace, pictures: Path, tmp_path: Path, capsys) -> None:
    import_pictures(pictures)
    capsys.readouterr()
    small = ["--steps", "2", "--batch-size", "2", "--rank", "2", "--sample-every", "0"]
    assert cli.main(["train", "--dataset", "mine", *small, "--json"]) == 0
    run = json.loads(capsys.readouterr().out)
    assert (run["state"], run["done"], run["unit"]) == ("succeeded", 2, "steps")
    drawing = ["generate", "--model", "base", "--model", run["id"], "--prompts", "asim. a cat", "--steps", "2"]
    assert cli.main([*drawing, "--seed", "5", "--count", "2"]) == 0
    files = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert len(files) == 4
    assert cli.main([*drawing, "--json"]) == 0
    assert [Path(file).is_file() for file in json.loads(capsys.readouterr().out)["files"]] == [True, True]
    models = ["--model", "base", "--model", run["id"]]
    assert cli.main(["evaluate", *models]) == 2
    assert "name --prompts and --reference" in capsys.readouterr().err
    assert cli.main(["evaluate"]) == 2, "the newest run is the default, and it was trained on something else"
    assert "name --prompts and --reference" in capsys.readouterr().err
    own = ["--prompts", "{trigger} a cat", "--metrics", "clip_score", "--steps", "2", "--json"]
    assert cli.main(["evaluate", *models, *own]) == 0
    compared = json.loads(capsys.readouterr().out)
    assert {result["metric"] for result in compared["results"]} == {"clip_score"}
    assert Path(compared["report"]).is_file()
    for file in files:
        with Image.open(file) as picture:
            assert picture.size == (64, 64)
    protocol = {"prompts": ["{trigger} a cat", "{trigger} a dog"], "drift_prompts": ["a cat", "a dog"], "seeds": [1, 2]}
    write_json(tmp_path / "protocol.json", {**protocol, "reference": "mine", "settings": {"steps": 2}})
    comparing = ["evaluate", "--config", str(tmp_path / "protocol.json"), "--model", "base", "--model", run["id"]]
    assert cli.main(comparing) == 0
    printed = capsys.readouterr().out
    assert "base" in printed and "report.html" in printed
    assert all(job.state in ENDED for job in jobs.list_jobs(ws))
