"""Which rows may be ranked, and how numbers become text."""

import json
import math
from pathlib import Path

import pytest

from sdstudio import registry
from sdstudio.jobs.context import JobContext
from sdstudio.report import _about_floor
from sdstudio.results import (
    FLOOR,
    Evaluation,
    best,
    decimals,
    interval_text,
    results_table,
    results_text,
    table_csv,
    table_latex,
)
from sdstudio.schema import MetricResult, Protocol, SampleSettings, UserError, check_bounds, from_json
from sdstudio.workspace import Workspace, write_json

KID = registry.load("sdstudio.metrics")["kid"]
SCORE = registry.load("sdstudio.metrics")["clip_score"]


def cell(model: str, value: float | None, **changes: object) -> MetricResult:
    given = dict(metric="kid", interval=None, n_generated=8, n_reference=9, extractor="e", preprocessing="p", flags=())
    return MetricResult(model=model, value=value, **(given | changes))


def test_best_is_lowest_or_highest_as_the_metric_says_and_never_the_floor() -> None:
    rows = [cell("base", 3.0), cell("lora", 1.0), cell(FLOOR, 0.1)]
    assert best(rows, KID) == "lora"
    assert best([cell("base", 3.0, metric="clip_score"), cell("lora", 1.0, metric="clip_score")], SCORE) == "base"


def test_rows_that_cannot_be_compared_are_not_ranked() -> None:
    for changes in ({"n_generated": 7}, {"n_reference": 8}, {"extractor": "f"}, {"preprocessing": "q"}):
        assert best([cell("base", 3.0), cell("lora", 1.0, **changes)], KID) is None
    for flag in ("exploratory: few", "refused: few", "no interval: few"):
        assert best([cell("base", 3.0), cell("lora", 1.0, flags=(flag,))], KID) is None
    assert best([cell("base", 3.0), cell("lora", None), cell("sam", 2.0)], KID) == "sam"


def test_numbers_get_three_digits_of_the_largest() -> None:
    columns = ([123.0, 0.1], [12.3], [1.2], [0.3], [0.012], [], [0.0])
    assert [decimals(values) for values in columns] == [0, 1, 2, 3, 4, 3, 3]
    assert interval_text((-0.51, 2.0), 1) == "[-0.5, 2.0]" and interval_text(None, 1) == ""


def test_tables_say_what_was_refused_and_escape_their_text() -> None:
    rows = [cell("base_1", 2.0, interval=(1.0, 3.0)), cell("50% & more", None, flags=("refused: few",))]
    assert "not computed (1)" in results_text(rows) and "(1) refused: few" in results_text(rows)
    assert results_table(rows)["Flags"].tolist() == ["", "kid: refused: few"]
    assert table_csv(rows).splitlines()[2].startswith("50% & more,kid,,,,8,9")
    evaluation = Evaluation(protocol=Protocol(), protocol_hash="h", created=0.0, rows=(), results=tuple(rows))
    latex = table_latex(evaluation)
    assert "textbf" not in latex and "proves no difference" in latex
    assert r"base\_1 & 2.00 {\scriptsize [1.00, 3.00]} \\" in latex and r"50\% \& more & -- \\" in latex


def test_only_ranked_rows_are_bold() -> None:
    def latex(*flags: str) -> str:
        rows = (cell("base", 3.0, flags=flags), cell("lora", 1.0, flags=flags))
        return table_latex(Evaluation(protocol=Protocol(), protocol_hash="h", created=0.0, rows=(), results=rows))

    assert r"\textbf{1.00}" in latex() and r"\textbf{3.00}" not in latex()
    assert "textbf" not in latex("no interval: too few prompts or pictures")


def test_the_floor_of_too_few_pictures_promises_nothing() -> None:
    rows = [cell(FLOOR, 1.0), cell(FLOOR, 1.0, metric="fid", flags=("exploratory: few",))]
    metrics = [KID, registry.load("sdstudio.metrics")["fid"]]
    assert _about_floor(rows[:1], metrics) == "what a perfect model would get"
    assert _about_floor(rows, metrics).endswith("; too few pictures to tell: FID")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_stays_out_of_configs_and_files(number: float, tmp_path: Path) -> None:
    for refused in (
        lambda: from_json(SampleSettings, {"guidance_scale": number}),
        lambda: check_bounds(SampleSettings(guidance_scale=number)),
    ):
        with pytest.raises(UserError, match=r"guidance_scale.*finite number"):
            refused()
    with pytest.raises(ValueError):
        write_json(tmp_path / "x.json", {"value": number})
    assert not list(tmp_path.iterdir())
    JobContext(Workspace(tmp_path), tmp_path).metrics(step=1, loss=number)
    line = json.loads((tmp_path / "metrics.jsonl").read_text(), parse_constant=pytest.fail)
    assert line["loss"] is None and line["step"] == 1


def test_the_table_in_the_terminal_explains_itself() -> None:
    text = results_text([cell("base", 2.0, interval=(1.0, 3.0))], "0123456789abcdef")
    assert text.endswith(
        "[low, high]: 95% interval. N: pictures drawn vs real ones. Encoder: e. Protocol 0123456789ab."
    )
