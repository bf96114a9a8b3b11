"""Two plain folders of pictures, one held against the other: pytest tests/test_folders.py"""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdstudio.cli import main
from sdstudio.evaluation.folders import measure_folders
from sdstudio.features.clip import ClipEncoder
from sdstudio.results import FLOOR
from sdstudio.schema import MetricResult, UserError
from sdstudio.workspace import Workspace


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Four drawn pictures of each of two prompts, and nine real ones."""
    rng = np.random.default_rng(0)
    for name, count in (("drawn/a", 4), ("drawn/b", 4), ("real/a", 5), ("real", 4)):
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(count):
            Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    (tmp_path / "drawn/notes.txt").write_text("no picture")
    return tmp_path / "drawn", tmp_path / "real"


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setattr("sdstudio.cli.install_starter", lambda workspace: None)
    return Workspace(tmp_path / "workspace")


def by_metric(results: list[MetricResult]) -> dict[tuple[str, str], MetricResult]:
    return {(result.model, result.metric): result for result in results}


def test_pictures_of_a_subfolder_are_one_prompts_and_names_make_partners(
    folders: tuple[Path, Path], ws: Workspace
) -> None:
    names = ["fid", "lpips", "lpips_paired", "diversity", "clip_image"]
    found = by_metric(measure_folders(ws, *folders, names, "starter"))
    assert list(found["drawn", "lpips"].per_prompt) == ["a", "b"]
    assert set(found["drawn", "lpips"].per_picture) >= {"a/0.png", "b/3.png"}
    assert (found["drawn", "lpips"].n_generated, found["drawn", "lpips"].n_reference) == (8, 9)
    assert set(found["drawn", "lpips_paired"].per_picture) == {f"a/{index}.png" for index in range(4)}
    assert {metric for model, metric in found if model == FLOOR} == {"fid", "lpips", "clip_image"}
    assert all("starter CLIP" in result.extractor for result in found.values())


def test_nothing_stands_in_for_a_missing_encoder(folders: tuple[Path, Path], ws: Workspace) -> None:
    found = by_metric(measure_folders(ws, *folders, ["fid", "lpips", "clip_image"]))
    assert {model for model, _ in found} == {"drawn"}
    for metric, words in (("fid", "pt_inception"), ("lpips", "alexnet"), ("clip_image", "naming a CLIP model")):
        cell = found["drawn", metric]
        assert cell.value is None and cell.flags[0].startswith("not computed: weights missing, get them by")
        assert words in cell.flags[0] and (cell.n_generated, cell.n_reference) == (8, 9)


def test_the_second_time_no_encoder_is_asked(
    folders: tuple[Path, Path], ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = measure_folders(ws, *folders, ["kid", "clip_image"], "starter")

    def refuse(*_: object) -> None:
        raise AssertionError("the encoder was asked again")

    monkeypatch.setattr(ClipEncoder, "images", refuse)
    assert measure_folders(ws, *folders, ["kid", "clip_image"], "starter") == before


def test_pictures_in_both_folders_are_flagged_and_unknown_prompts_refused(
    folders: tuple[Path, Path], ws: Workspace
) -> None:
    drawn, real = folders
    (drawn / "copied.png").write_bytes((real / "1.png").read_bytes())
    kid, score = measure_folders(ws, drawn, real, ["kid", "clip_score"], "starter")[:2]
    assert "exploratory: 1 picture in both folders" in kid.flags
    assert score.value is None and "not known which prompts" in score.flags[0]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--metrics", "language_drift"], "language_drift needs more than two folders"),
        (["--metrics", "beauty"], "There is no metric named 'beauty'"),
        (["--metrics", "kid"], "KID needs --reference"),
        (["--reference", "nowhere"], "There is no folder nowhere"),
        (["--prompts", "a cat"], "leave --prompts out"),
        (["--model", "base"], "leave --model out"),
    ],
)
def test_what_two_folders_cannot_do_is_one_sentence(
    arguments: list[str], sentence: str, folders: tuple[Path, Path], ws: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "--images", str(folders[0]), *arguments, "--workspace", str(ws.root)]
    assert main(command) == 2
    assert sentence in capsys.readouterr().err


def test_broken_pictures_and_empty_folders_are_named(folders: tuple[Path, Path], ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no pictures"):
        measure_folders(ws, tmp_path / "empty", folders[1], ["kid"], "starter")
    (folders[0] / "torn.png").write_bytes(b"\x89PNG")
    with pytest.raises(UserError, match=r"torn\.png cannot be read"):
        measure_folders(ws, *folders, ["kid"], "starter")


def test_the_command_prints_json_and_takes_a_config(
    folders: tuple[Path, Path], ws: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn, real = map(str, folders)
    (tmp_path / "config.json").write_text(json.dumps({"reference": real, "metrics": ["vendi"], "extractor": "starter"}))
    command = ["evaluate", "--images", drawn, "--workspace", str(ws.root), "--config", str(tmp_path / "config.json")]
    assert main([*command, "--json"]) == 0
    assert [cell["metric"] for cell in json.loads(capsys.readouterr().out)] == ["vendi"]
    assert main([*command, "--metrics", "kid,cmmd"]) == 0
    assert "KID ↓" in (table := capsys.readouterr().out) and "CMMD ↓" in table and FLOOR in table
