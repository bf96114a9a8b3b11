"""What `sdstudio generate` asks for: pytest tests/test_generate_cli.py"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import finished_run

from sdstudio import cli
from sdstudio.cli import generating
from sdstudio.schema import Axis, GenerateConfig, GridConfig
from sdstudio.workspace import Workspace, read_json, write_json


@pytest.fixture
def asked(quiet_workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[str, Any]]:
    """Run `sdstudio generate` with these arguments; the kind and config of the job that it begins."""

    def run(*arguments: str) -> tuple[str, Any]:
        begun: list[tuple[str, Any]] = []
        monkeypatch.setattr(generating, "do", lambda ws, given, kind, config: begun.append((kind, config)) or 0)
        assert cli.main(["generate", *arguments]) == 0
        [job] = begun
        return job

    return run


def test_every_flag_reaches_the_config(quiet_workspace: Workspace, asked: Callable[..., Any]) -> None:
    for run in ("run-a", "run-b"):
        finished_run(quiet_workspace, run, run, "asim, a cat")
    kind, config = asked(
        *("--prompt", "a cat", "--prompt", "a dog", "--negative", "rain", "--seed", "7", "--count", "3"),
        *("--model", "base", "--checkpoint", "run-a=0.5", "--add", "run-b=-0.25", "--scheduler", "unipc"),
    )
    assert kind == "generate" and isinstance(config, GenerateConfig)
    assert (config.prompts, config.count, config.settings.seed) == (["a cat", "a dog"], 3, 7)
    assert (config.settings.negative_prompt, config.settings.scheduler) == ("rain", "unipc")
    base, trained = config.models
    assert base.checkpoint == "" and Path(trained.checkpoint).parts[-3:] == ("run-a", "checkpoints", "step-000020")
    assert (base.weight, trained.weight) == (1.0, 0.5)
    assert [(extra.checkpoint, extra.weight) for extra in trained.extras] == [("run-b", -0.25)]


def test_a_suite_is_filled_with_the_subject(quiet_workspace: Workspace, asked: Callable[..., Any]) -> None:
    file = quiet_workspace.root / "own.txt"
    file.write_text("a {subject} on a beach\na hat\n", encoding="utf-8")
    _, config = asked("--suite", str(file), "--subject", "sks dog", "--prompt", "first")
    assert config.prompts == ["first", "a sks dog on a beach", "a hat"]


def test_a_grid_is_a_job_of_its_own_kind(asked: Callable[..., Any]) -> None:
    kind, config = asked("--prompt", "a cat", "--grid", "cfg=3,5,7", "steps=10,20")
    assert kind == "grid" and isinstance(config, GridConfig)
    assert config.axes == [
        Axis(setting="guidance_scale", values=["3", "5", "7"]),
        Axis(setting="steps", values=["10", "20"]),
    ]
    assert config.base.prompts == ["a cat"]


def test_a_guidance_brings_its_own_flags(asked: Callable[..., Any]) -> None:
    _, config = asked("--prompt", "a cat", "--guidance", "attend_and_excite", "--words", "cat", "--strength", "0.5")
    assert config.settings.guidance_options == {"words": "cat"} and config.start.strength == 0.5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--prompt", "x", "--subject", "dog"], "--suite"),
        (["--suite", "nowhere"], "no suite 'nowhere'"),
        (["--prompt", "x", "--checkpoint", "gone=0.5"], "'gone' is no run"),
        (["--prompt", "x", "--add", "gone=much"], "weight: Input should be a valid number"),
        (["--prompt", "x", "--grid", "cfg"], "'cfg' is no axis"),
        (["--prompt", "x", "--add", "gone"], "no checkpoint 'gone'"),
        (
            ["--prompt", "x", "--add", "runs/run-xl/checkpoints/step-000020"],
            "trained on the family 'sdxl' and does not fit Starter",
        ),
        (["--prompt", "x", "--width", "500"], "The width 500 is no multiple of 8: give 504"),
        (["--prompt", "a (cat"], "The bracket '(' at character 3 is never closed"),
        (["--prompt", "x", "--negative", "(bad:99)"], "The weight 99 at character"),
    ],
)
def test_a_wrong_argument_is_one_sentence(
    arguments: list[str], said: str, quiet_workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    file = finished_run(quiet_workspace, "run-xl", "run-xl", "x") / "checkpoints/step-000020/checkpoint.json"
    write_json(file, read_json(file) | {"family": "sdxl"})
    assert cli.main(["generate", *arguments]) == 2
    assert said in capsys.readouterr().err and not list(quiet_workspace.images.glob("*"))
