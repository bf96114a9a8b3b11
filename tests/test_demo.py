"""The demo, shortened: fewer steps, prompts and reference pictures, everything else as `make demo` does it."""

from dataclasses import replace
from pathlib import Path

import pytest

from sdstudio import cli, demo, jobs
from sdstudio.datasets import create_dataset, open_dataset
from sdstudio.schema import ModelRef, Protocol, SampleSettings
from sdstudio.starter import examples
from sdstudio.workspace import Workspace


def few(ws: Workspace) -> None:
    """Six of the style's pictures for each of the two datasets that the demo uses."""
    names = {info.name for info in examples.EXAMPLES}
    for example in examples.EXAMPLES:
        if example.name in ("asim-style", "asim-style-heldout") and not (ws.datasets / example.name).exists():
            store = create_dataset(ws, example.name)
            for index, (image, caption, _) in enumerate(examples.draw(replace(example, count=6))):
                path = ws.root / f"{index}.png"
                image.save(path)
                store.add(path.read_bytes(), path.name, caption)
    assert {"asim-style", "asim-style-heldout"} <= names


def short_protocol(models: list[ModelRef]) -> Protocol:
    return Protocol(
        name="short",
        models=models,
        prompts=["{trigger}, a cat", "{trigger}, a dog"],
        drift_prompts=["a cat", "a dog"],
        seeds=[1],
        reference="asim-style-heldout",
        settings=SampleSettings(steps=2),
    )


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "install_starter", few)
    monkeypatch.setattr(examples, "starter_protocol", short_protocol)
    monkeypatch.setattr(demo, "STEPS", {"lora": 1, "sam": 1})


def test_the_demo_goes_the_whole_way(short: None, tmp_path: Path, capsys) -> None:
    ws = Workspace(tmp_path / "workspace")
    assert cli.main(["demo", "--workspace", str(ws.root)]) == 0
    printed = capsys.readouterr().out
    for expected in ("BLIP:", "LoRA", "SAM", "FID", "in all", "report.html", "What to try next"):
        assert expected in printed
    (report,) = ws.evaluations.glob("*/report.html")
    assert str(report) in printed
    drafts = {image.id: image for image in open_dataset(ws, demo.DRAFTS).images()}
    detailed = {image.id: image for image in open_dataset(ws, "asim-style").images()}
    assert drafts.keys() == detailed.keys() and len(drafts) == 6
    for image in drafts.values():
        assert image.caption == image.machine_caption != ""
        assert detailed[image.id].caption.startswith("asim")
        assert detailed[image.id].machine_caption == ""
    assert {job.kind for job in jobs.list_jobs(ws)} == {"caption", "train", "evaluate"}
    assert [job.state for job in jobs.list_jobs(ws)] == ["succeeded"] * 4


def test_a_failed_step_ends_the_demo_with_its_reason(
    short: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys
) -> None:
    def break_it(*_: object) -> None:
        raise RuntimeError("the captioner broke")

    monkeypatch.setattr("sdstudio.datasets.captioning.run_caption", break_it)
    assert cli.main(["demo", "--workspace", str(tmp_path / "workspace")]) == 1
    errors = capsys.readouterr().err
    assert "Draft captions with BLIP" in errors and "the captioner broke" in errors
