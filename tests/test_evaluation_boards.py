"""Scoreboard, checkpoint picker, caption pairs and cost, on comparisons made without a model.

pytest tests/test_evaluation_boards.py
"""

from pathlib import Path

import pytest
from boards_helpers import METRICS, PROMPTS, comparison, row, run_with_checkpoints, two_comparisons

from sdstudio.evaluation import list_boards
from sdstudio.evaluation.captions import deltas, verdict
from sdstudio.evaluation.figures import figures
from sdstudio.evaluation.merging import merged
from sdstudio.evaluation.picking import aspects_of, candidates
from sdstudio.results import FLOOR
from sdstudio.results.report import render
from sdstudio.results.tables import table_csv, table_markdown
from sdstudio.schema import ModelRef
from sdstudio.workspace import Workspace


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def test_a_board_gathers_the_rows_of_all_comparisons_of_one_hash(ws: Workspace) -> None:
    two_comparisons(ws)
    comparison(ws, "other-3", [(row("Base"), {"kid": 9.0})], hash="g" * 64)
    other, board = list_boards(ws)
    assert [line.label for line in other.lines] == ["Base"] and other.hash == "g" * 64
    assert [line.label for line in board.lines] == ["Base", "A 30", "B 10", "A 5"]
    assert board.evaluations == ("two-2", "one-1")
    assert [metric.name for metric in board.metrics] == list(METRICS)
    found = {line.label: line.cells["kid"] for line in board.lines}
    assert (found["A 5"].evaluation, found["A 30"].evaluation) == ("one-1", "two-2")
    assert found["A 5"].result.value == 2.0 and board.floor["kid"].value == 0.01


def test_places_go_over_all_comparisons_and_the_floor_has_none(ws: Workspace) -> None:
    keys = {name: of.key for name, of in two_comparisons(ws).items()}
    places = {name: ranking.places for name, ranking in list_boards(ws)[0].rankings().items()}
    base = f"{keys['base']} zorb"
    assert places["kid"] == {keys["a30"]: 1, keys["a5"]: 2, keys["b10"]: 3, base: 4}
    assert places["clip_score"] == {base: 1, keys["a5"]: 2, keys["a30"]: 3, keys["b10"]: 4}


def test_a_run_tells_what_a_checkpoint_cost(ws: Workspace) -> None:
    [_, last] = run_with_checkpoints(ws, "run-a", [5, 30])
    found = figures(ws, ModelRef(checkpoint=last))
    assert found is not None
    assert (found.method, found.step, found.learning_rate, found.val_loss) == ("lora", 30, 1e-3, 0.5)
    assert found.seconds == pytest.approx(30 * 8 / 4.0) and found.memory == 10**8 + 30
    beside = [ws.root / last / name for name in ("checkpoint.json", "manifest.json")]
    assert found.storage == 30_000 + sum(file.stat().st_size for file in beside)
    assert found.loss == pytest.approx(sum(1 / step for step in range(11, 31)) / 20)
    assert figures(ws, ModelRef()) is None and figures(ws, ModelRef(checkpoint="runs/gone")) is None


def test_a_board_is_taken_out_with_every_row_and_picture(ws: Workspace) -> None:
    two_comparisons(ws)
    whole = merged(list_boards(ws)[0])
    lines = table_csv(whole.results).splitlines()
    assert len(lines) == 1 + 4 * len(METRICS) + 1 and lines[-1].startswith(f"{FLOOR},kid,0.01")
    assert "**1.00 [0.90, 1.10] N 8 vs 9** (1st)" in table_markdown(whole)
    html = render(whole, ws.evaluations, ws.root)
    assert html.count("<img ") == 4 * len(PROMPTS) and "A 5" in html and "B 10" in html


# ---------------------------------------------------------------- which checkpoint to keep


def test_the_front_holds_what_nothing_beats_in_everything(ws: Workspace) -> None:
    two_comparisons(ws)
    board = list_boards(ws)[0]
    assert {aspect: metric.name for aspect, metric in aspects_of(board).items()} == {
        "Fidelity": "kid",
        "Prompt-following": "clip_score",
        "Diversity": "vendi",
        "Copy risk": "copy_rate",
    }
    found = {one.line.label: one for one in candidates(board, [line for line in board.lines if line.role != "base"])}
    assert found["A 30"].on_front and found["A 5"].on_front
    assert not found["B 10"].on_front, "A 5 has better fidelity, prompt-following, diversity and fewer copies"
    assert found["A 30"].values == {"Fidelity": 1.0, "Prompt-following": 0.5, "Diversity": 1.5, "Copy risk": 0.2}


def test_checkpoints_that_no_aspect_tells_apart_are_named(ws: Workspace) -> None:
    refs = run_with_checkpoints(ws, "run-a", [5, 30, 60])
    rows = [row(f"A {step}", ref) for step, ref in zip((5, 30, 60), refs, strict=True)]
    values = [{"kid": 3.0, "clip_score": 0.4}, {"kid": 1.0, "clip_score": 0.6}, {"kid": 1.1, "clip_score": 0.6}]
    comparison(ws, "one-1", list(zip(rows, values, strict=True)))
    found = {one.line.label: one.like for one in candidates(list_boards(ws)[0], list_boards(ws)[0].lines)}
    assert found == {"A 5": (), "A 30": ("A 60",), "A 60": ("A 30",)}


# ---------------------------------------------------------------- did the captions help


def test_deltas_are_paired_and_the_verdict_says_what_can_be_told(ws: Workspace) -> None:
    two_comparisons(ws)
    board = list_boards(ws)[0]
    lines = {line.label: line for line in board.lines}
    found = {one.metric.name: one for one in deltas(board, lines["A 5"], lines["A 30"])}
    assert found["clip_score"].paired is not None
    assert found["clip_score"].paired.difference == pytest.approx(-0.19)
    assert found["kid"].paired is None and found["kid"].p is None
    assert found["clip_score"].p == pytest.approx(3 * 2 / 2**8), "Holm over the three that can be tested"
    said = verdict(list(found.values()))
    assert said == "They hurt CLIP score, Vendi score, Copy rate (paired tests over prompts, 5%, Holm)."
    same = deltas(board, lines["A 5"], lines["A 5"])
    assert verdict(same).startswith("No measure tells the two apart")
