"""Which rows may be ranked, and how numbers become text."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from sdstudio import registry
from sdstudio.jobs.context import JobContext
from sdstudio.results import (
    FLOOR,
    Evaluation,
    Row,
    decimals,
    interval_text,
    rankings,
    results_table,
    results_text,
)
from sdstudio.results.methods import methods_text
from sdstudio.results.report import _about_floor
from sdstudio.results.tables import table_csv, table_latex, table_markdown
from sdstudio.schema import MetricResult, ModelRef, Protocol, SampleSettings, UserError, check_bounds, from_json
from sdstudio.workspace import Workspace, write_json

KID = registry.load("sdstudio.metrics")["kid"]


def cell(model: str, value: float | None, **changes: object) -> MetricResult:
    given = dict(metric="kid", interval=None, n_generated=8, n_reference=9, extractor="e", preprocessing="p", flags=())
    return MetricResult(model=model, value=value, **(given | changes))


def test_places_follow_the_value_as_the_metric_says_and_the_floor_has_none() -> None:
    rows = [cell("base", 3.0), cell("lora", 1.0), cell("sam", 1.0), cell(FLOOR, 0.1)]
    assert rankings(rows)["kid"].places == {"lora": 1, "sam": 1, "base": 3}
    up = [cell("base", 3.0, metric="clip_score"), cell("lora", 1.0, metric="clip_score")]
    assert rankings(up)["clip_score"].places == {"base": 1, "lora": 2}


def test_rows_that_cannot_be_compared_are_not_ranked() -> None:
    for changes in ({"n_generated": 7}, {"n_reference": 8}, {"extractor": "f"}, {"preprocessing": "q"}):
        found = rankings([cell("base", 3.0), cell("lora", 1.0, **changes)])["kid"]
        assert not found.places and found.why_not == "rows differ in N, extractor or preprocessing"
    for flag in ("exploratory: few", "refused: few", "no interval: few"):
        assert not rankings([cell("base", 3.0), cell("lora", 1.0, flags=(flag,))])["kid"].places
    assert rankings([cell("base", 3.0), cell("lora", None), cell("sam", 2.0)])["kid"].places == {"sam": 1, "base": 2}


def score(model: str, values: list[float]) -> MetricResult:
    prompts = {f"prompt {index}": value for index, value in enumerate(values)}
    return cell(model, sum(values) / len(values), metric="clip_score", per_prompt=prompts)


def test_rows_that_paired_tests_do_not_tell_apart_share_a_place() -> None:
    noise = [0.01, -0.02, 0.03, -0.01, 0.02, -0.03, 0.01, -0.01, 0.02, -0.02]
    best = score("best", [0.9 + step for step in noise])
    close = score("close", [0.9 + step for step in reversed(noise)])
    worse = score("worse", [0.7 + step for step in noise])
    found = rankings([worse, close, best])["clip_score"]
    assert found.tested and found.places == {"best": 1, "close": 1, "worse": 3}
    assert not found.why_not


def test_a_row_behind_one_that_was_told_from_the_best_never_shares_its_place() -> None:
    """The last one's prompts scatter so much that no test tells it from anything."""
    step = [0.01 * index for index in range(10)]
    best, worse = score("best", [0.9 + one for one in step]), score("worse", [0.8 + one for one in step])
    wild = score("wild", [0.95, 0.1] * 5)
    places = rankings([wild, worse, best])["clip_score"].places
    assert places == {"best": 1, "worse": 2, "wild": 2}


def test_too_few_prompts_to_tell_rows_apart_are_said_and_nothing_is_ranked() -> None:
    rows = [score("best", [0.9, 0.8, 0.9, 0.8]), score("worse", [0.1, 0.1, 0.2, 0.1])]
    found = rankings(rows)["clip_score"]
    assert not found.places and found.why_not == "4 prompts cannot tell 2 rows apart at 5%: take more prompts"


def test_holm_makes_many_rows_harder_to_tell_apart() -> None:
    """Six prompts, all better: p = 2 / 64 tells two rows apart, not four."""
    rows = [score(f"row {index}", [index + step / 10 for step in range(6)]) for index in range(4)]
    assert rankings(rows[:2])["clip_score"].places == {"row 1": 1, "row 0": 2}
    assert not rankings(rows)["clip_score"].places
    alike = [score(f"row {index}", [0.5, 0.4, 0.6] * 4) for index in range(2)]
    assert rankings(alike)["clip_score"].why_not == "paired tests tell no row from another"


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
    assert "textbf" not in latex and "rows share a place" in latex
    assert r"base\_1 & 2.00 {\scriptsize [1.00, 3.00]} \\" in latex and r"50\% \& more & -- \\" in latex


def test_only_ranked_rows_are_marked() -> None:
    def tables(*flags: str) -> tuple[str, str]:
        rows = (cell("base", 3.0, flags=flags), cell("lora", 1.0, flags=flags))
        evaluation = Evaluation(protocol=Protocol(), protocol_hash="h", created=0.0, rows=(), results=rows)
        return table_latex(evaluation), table_markdown(evaluation)

    latex, markdown = tables()
    assert r"\textbf{1.00}" in latex and r"\underline{3.00}" in latex
    assert "| lora | **1.00 N 8 vs 9** (1st) |" in markdown and "| base | *3.00 N 8 vs 9* (2nd) |" in markdown
    latex, markdown = tables("no interval: too few prompts or pictures")
    assert "textbf" not in latex and "1.00$^*$" in latex
    assert "(1st)" not in markdown and "1.00 N 8 vs 9<sup>1</sup>" in markdown
    assert "\n1. no interval: too few prompts or pictures\n" in markdown


def test_markdown_shows_names_letter_by_letter() -> None:
    rows = (cell("a|b *c* <img>", 1.0), cell("base", None, flags=("refused: few",)))
    text = table_markdown(Evaluation(protocol=Protocol(), protocol_hash="h", created=0.0, rows=(), results=rows))
    assert "| a\\|b \\*c\\* \\<img\\> |" in text and "| base | not computed<sup>1</sup> |" in text


def test_the_methods_paragraph_says_what_was_compared_how_and_by_which_tests() -> None:
    rows = tuple(
        Row(key=name, label=name, role=role, model=ModelRef(base_model="sd"), trigger=trigger, base="base")
        for name, role, trigger in (("base", "base", ""), ("LoRA", "trained", "asim"))
    )
    protocol = Protocol(prompts=["{trigger}, a cat"], drift_prompts=["a dog", "a bus"], seeds=[1, 2], reference="real")
    results = (cell("LoRA", 1.0), cell("LoRA", 0.2, metric="crossed_eyes"))
    found = Evaluation(
        protocol=protocol, protocol_hash="f" * 64, created=0.0, rows=rows, results=results, reference=("a", "b", "c")
    )
    text = methods_text(found)
    for said in (
        "1 trained model, and untrained as a baseline sd",
        "2 pictures (1 prompt × 2 seeds) with",
        "the base model got those of LoRA, “asim”",
        "4 more pictures, from 2 prompts without trigger",
        "3 real pictures of the dataset real",
        "KID [Bińkowski et al. 2018",
        "for KID a two-sample jackknife",
        "Wilson's intervals over pictures",
        "a paired sign-flip test over prompts",
        "protocol ffffffffffff.",
    ):
        assert said in text, said
    assert "FID has none" not in text
    assert "**Methods.** Compared were 1 trained model" in table_markdown(found)
    alone = replace(found, reference=(), protocol=replace(protocol, drift_prompts=[]))
    assert "real pictures of" not in methods_text(alone) and "without trigger" not in methods_text(alone)


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
