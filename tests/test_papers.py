"""Published comparisons done again: what the numbers say of an order, the plots, and each study in a tiny form.

pytest tests/test_papers.py            what takes seconds
pytest tests/test_papers.py -m slow    each study on the starter with tiny counts
"""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from sdstudio import jobs
from sdstudio.cli import main
from sdstudio.papers import faces, logo, sam
from sdstudio.papers.numbers import Claim, Measured, joined, judge
from sdstudio.papers.orders import orders
from sdstudio.papers.page import column, flags, markdown_table
from sdstudio.papers.plots import Point, line_plot
from sdstudio.papers.settings import FacesSettings, LogoSettings, SamSettings
from sdstudio.registry import load
from sdstudio.results import FLOOR
from sdstudio.schema import MetricResult, UserError
from sdstudio.workspace import Workspace

CLAIM = Claim(measure="clip_score", better="higher", first="sam", second="lora", said="0.9 against 0.8")
PROMPTS = [f"prompt {index}" for index in range(8)]


def told(first: float, second: float, seeds: tuple[float, ...] = (0.0,)) -> str:
    def of(mean: float) -> tuple[tuple[float, ...], dict[str, float]]:
        return tuple(mean + seed for seed in seeds), {prompt: mean + seeds[0] / 100 for prompt in PROMPTS}

    return judge([CLAIM], {"clip_score": {"sam": of(first), "lora": of(second)}})[0].verdict


def test_an_order_holds_where_every_seed_and_the_paired_test_bear_it_out() -> None:
    assert told(0.9, 0.8) == "held" and told(0.8, 0.9) == "did not hold"
    assert told(0.9, 0.9) == "not distinguishable"


def test_an_order_of_few_prompts_is_said_to_be_indistinguishable() -> None:
    few = {name: ((value,), dict.fromkeys(PROMPTS[:3], value)) for name, value in (("sam", 0.9), ("lora", 0.8))}
    [found] = judge([CLAIM], {"clip_score": few})
    assert found.verdict == "held, but not distinguishable" and found.p == 0.25
    assert found.values == (0.9, 0.8) and found.seeds == (1, 1)


def test_seeds_that_disagree_make_an_order_mixed_and_what_is_missing_cannot_be_told() -> None:
    claim = Claim(measure="seconds", better="lower", first="sam", second="lora", said="2 h against 5 h")
    mixed = judge([claim], {"seconds": {"sam": ((1.0, 3.0), {}), "lora": ((2.0, 2.0), {})}})[0]
    assert (mixed.verdict, mixed.seeds, mixed.p) == ("mixed", (1, 2), None)
    assert judge([claim], {"seconds": {"sam": ((1.0,), {})}})[0].verdict == "cannot be told"
    text = orders([mixed], {"sam": "SAM", "lora": "LoRA"})
    assert "The original reports 1 order:\n\n- **1 mixed**: SAM before LoRA (Training time)." in text
    assert "| SAM before LoRA | Training time | 2 h against 5 h | 2 s against 2 s | 1 of 2 | – | **mixed** |" in text
    assert "There is one seed" not in text


def test_one_seed_and_no_value_by_prompt_leave_an_order_untested() -> None:
    claim = Claim(measure="fid", better="lower", first="sam", second="lora", said="42 against 68")
    found = [judge([claim], {"fid": {"sam": ((first,), {}), "lora": ((50.0,), {})}})[0] for first in (40.0, 60.0)]
    assert [one.verdict for one in found] == ["held, untested", "did not hold, untested"]
    text = orders(found, {"sam": "SAM", "lora": "LoRA"})
    assert "- **1 held, untested**: SAM before LoRA (FID)." in text and "There is one seed" in text
    three = judge([claim], {"fid": {"sam": ((1.0, 2.0, 3.0), {}), "lora": ((4.0, 5.0, 6.0), {})}})[0]
    assert three.verdict == "held" and three.seeds == (3, 3)


def measured(*values: float) -> Measured:
    cells = [
        MetricResult(
            metric="clip_score", model="m", value=value, interval=None, n_generated=8, n_reference=0, extractor="e",
            preprocessing="p", per_prompt={prompt: value + index / 1000 for index, prompt in enumerate(PROMPTS)},
        )
        for value in values
    ]  # fmt: skip
    return joined(cells)


def test_seeds_become_a_mean_with_their_spread_and_arms_are_ranked() -> None:
    arms = {"a": measured(0.8, 0.9), "b": measured(0.5, 0.5), "c": measured(0.5)}
    assert arms["a"].mean == pytest.approx(0.85) and arms["a"].spread == pytest.approx(0.0707, abs=1e-4)
    assert arms["a"].per_prompt["prompt 0"] == pytest.approx(0.85) and arms["c"].spread is None
    texts = column(load("sdstudio.metrics")["clip_score"], arms, ["a", "b", "c", "d"])
    assert texts == {"a": "**0.850 ± 0.071** (1st)", "b": "**0.500 ± 0.000** (2nd)", "c": "**0.500** (2nd)", "d": "–"}


def test_what_cannot_be_ranked_has_a_star() -> None:
    arms = {"a": measured(0.8), "b": measured(0.5)}
    weak = replace(arms["a"], cell=replace(arms["a"].cell, flags=("exploratory: few",)))
    assert column(load("sdstudio.metrics")["clip_score"], {**arms, "a": weak}, ["a", "b"])["a"] == "0.800 \\*"


def test_tables_are_githubs_markdown() -> None:
    assert markdown_table(["a", "b"], [["1", "2"]]) == "| a | b |\n|---|---:|\n| 1 | 2 |"
    assert markdown_table(["a", "b", "c"], [], words=("b",)).splitlines()[1] == "|---|---|---:|"


def test_a_flag_says_which_measures_and_models_it_weakens() -> None:
    def cell(model: str, metric: str, *flags: str) -> MetricResult:
        return replace(measured(0.5).cell, model=model, metric=metric, flags=flags)

    cells = [
        cell("A, seed 0", "fid", "few", "asked otherwise"),
        cell("A, seed 0", "kid", "asked otherwise"),
        cell("B, seed 0", "fid", "few"),
        cell(FLOOR, "fid", "halved"),
    ]
    assert flags(cells, {"A, seed 0": "A", "B, seed 0": "B"}).splitlines() == [
        "- FID: few",
        "- Every measure of A: asked otherwise",
        "- FID of the floor: halved",
    ]


def test_a_plot_is_well_formed_and_holds_its_lines_bars_and_marks() -> None:
    line = [Point(x=5, y=3.0, low=2.5, high=3.5), Point(x=80, y=1.0, low=0.5, high=1.5)]
    svg = line_plot("KID <&>", "Epoch", {"A & B": line, "alone": [Point(x=30, y=2.0)]}, {"floor": 0.0})
    root = ElementTree.fromstring(svg)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"KID <&>", "Epoch", "A & B", "alone", "floor", "20", "40"} <= set(texts)
    assert sum(1 for _ in root.iter("{http://www.w3.org/2000/svg}circle")) == 2, "a dot for each point with a bar"


def test_a_plot_of_one_value_or_none_is_still_a_plot() -> None:
    for lines in ({"a": [Point(x=1, y=1.0)]}, {}):
        ElementTree.fromstring(line_plot("t", "x", lines))


# ---------------------------------------------------------------- the studies


def test_the_arms_are_the_papers(tmp_path: Path) -> None:
    names = [arm.name for arm in sam.arms(SamSettings(), "bad")]
    assert names == ["simple", "lora", "dreambooth", "sam", "sam-1", "sam-2", "sam-3"]
    full, *without = (arm.options for arm in sam.arms(SamSettings(), "bad")[3:])
    changed = [{key for key in {*full, *other} if full.get(key) != other.get(key)} for other in without]
    assert changed == [{"rank"}, {"unfreeze", "detailed_captions"}, {"negative_examples"}]
    settings = FacesSettings(base_rate=2e-6, steps_share=1.0, second="other")
    runs = {arm.name: (arm.options["learning_rate"], arm.loop["steps_per_instance"]) for arm in faces.arms(settings)}
    assert runs["003"] == (pytest.approx(2e-5), 100) and runs["007"] == (pytest.approx(2e-6), 500)
    rates = [arm.options.get("learning_rate") for arm in logo.arms(LogoSettings(base_model="sd"))]
    assert rates == [2e-5, 5e-6, 1e-3]
    assert [arm.options.get("learning_rate") for arm in logo.arms(LogoSettings())] == [None, None, None]


def test_half_a_dataset_of_ones_own_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    ws = Workspace(tmp_path)
    for study, settings in ((faces, FacesSettings(dataset="mine")), (logo, LogoSettings(dataset="mine"))):
        with pytest.raises(UserError, match="With a dataset of your own, name --reference"):
            study.with_data(ws, settings)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("paper", "flags", "runs", "files"),
    [
        (
            "sam",
            ["--epochs", "1", "2", "--curve-pictures", "1", "--prior-images", "2"],
            7,
            {"sam-loss.svg", "sam-validation.svg", "sam-fid.svg", "sam-kid.svg", "sam-clip.svg", "sam-pictures.jpg"},
        ),
        (
            "faces",
            ["--steps-share", "0.004", "--prior-images", "2"],
            5,
            {"faces-lpips.svg", "faces-fid.svg", "faces-pictures.jpg"},
        ),
        ("logo", ["--epochs", "1", "2"], 3, {"logo-average.svg", "logo-pictures.jpg"}),
    ],
)
def test_a_study_writes_its_page_and_does_nothing_twice(
    paper: str, flags: list[str], runs: int, files: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--seeds", "1", "--pictures", "1", "--steps", "2", "--workspace", str(tmp_path / "ws")]
    command = ["paper", paper, *flags, *common, "--out", str(tmp_path / "out"), "--json"]
    assert main(command) == 0
    page = Path(json.loads(capsys.readouterr().out)["page"])
    text = page.read_text(encoding="utf-8")
    assert page.name == f"{paper}.md" and "orders held" in text and "Base model" in text
    assert {file.name for file in page.parent.iterdir()} == {page.name, *files}
    assert all(f"({file})" in text for file in files)
    done = [job.id for job in jobs.list_jobs(Workspace(tmp_path / "ws"))]
    assert sum(job.kind == "train" for job in jobs.list_jobs(Workspace(tmp_path / "ws"))) == runs
    assert main(command) == 0
    assert [job.id for job in jobs.list_jobs(Workspace(tmp_path / "ws"))] == done
    assert page.read_text(encoding="utf-8") == text
