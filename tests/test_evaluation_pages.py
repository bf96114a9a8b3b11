"""The tabs of the Evaluate page, without a browser, on comparisons made without a model.

pytest tests/test_evaluation_pages.py
"""

import pytest
from boards_helpers import caption_pair, comparison, end_run, png, row, run_with_checkpoints, two_comparisons
from studio_pages import open_page, words

from sdstudio.datasets import create_dataset
from sdstudio.evaluation.cost import Cost, RowCost
from sdstudio.ui.evaluate.setting_up import cost_text
from sdstudio.workspace import Workspace


@pytest.fixture
def ws(quiet_workspace: Workspace) -> Workspace:
    two_comparisons(quiet_workspace)
    return quiet_workspace


@pytest.mark.parametrize(
    ("view", "hint"),
    [
        ("Compare", "train a model first"),
        ("Scoreboard", "fills with the first comparison"),
        ("Curves", "first training run"),
        ("Pictures", "compare models first"),
        ("Captions", "no two such runs yet"),
    ],
)
def test_an_empty_tab_says_what_to_do(quiet_workspace: Workspace, view: str, hint: str) -> None:
    assert hint in words(open_page("evaluate", view=view))


def test_the_scoreboard_shows_every_row_with_places_and_costs(ws: Workspace) -> None:
    app = open_page("evaluate", view="Scoreboard")
    table = app.dataframe[0].value
    assert list(table["Model"]) == ["Base", "A 30", "B 10", "A 5", "Floor: real against real"]
    assert list(table["KID ↓"]) == [3.0, 1.0, 2.5, 2.0, 0.01]
    assert list(table["Steps"].dropna()) == [30, 10, 5] and set(table["Method"].dropna()) == {"lora"}
    assert "share a place" in words(app)
    app.text_input[0].input("a 3").run()
    assert list(app.dataframe[0].value["Model"]) == ["Base", "A 30", "Floor: real against real"]


def test_a_board_of_thirty_runs_is_shown_whole(quiet_workspace: Workspace) -> None:
    rows = []
    for index in range(30):
        [ref] = run_with_checkpoints(quiet_workspace, f"run-{index:02d}", [5])
        rows.append((row(f"Run {index}", ref), {"kid": float(index), "clip_score": index / 40}))
    comparison(quiet_workspace, "many-1", [(row("Base"), {"kid": 40.0, "clip_score": 0.9}), *rows])
    app = open_page("evaluate", view="Scoreboard")
    assert len(app.dataframe[0].value) == 32 and "8 prompts cannot tell 31 rows apart" in words(app)


def test_an_earlier_protocol_fills_the_form_and_says_whom_its_rows_join(ws: Workspace) -> None:
    store = create_dataset(ws, "real")
    for shade in (10, 200):
        store.add(png(shade), f"{shade}.png")
    app = open_page("evaluate", table="new")
    app.selectbox(key="evaluate.from").select_index(0).run()
    assert not app.exception
    assert app.text_area(key="evaluate.Prompts").value.splitlines()[0] == "{trigger} prompt 0"
    assert app.number_input(key="evaluate.seeds").value == 1
    said = words(app)
    assert "8 pictures from each trained model" in said and "ranked together with the 4 models there" in said


def test_the_cost_is_said_in_one_line() -> None:
    rows = (RowCost(label="a", pictures=100, found=40), RowCost(label="b", pictures=100, found=100))
    text = cost_text(Cost(rows=rows, to_look_at=60, seconds=90.0, paced_by="x"))
    assert text == "About 1 min 30 s · 60 pictures to draw, 140 there already · 60 to look at"
    done = cost_text(Cost(rows=rows[1:], to_look_at=0, seconds=0.0))
    assert done == "No time to draw · 0 pictures to draw, 100 there already · all looked at before"


def test_pictures_show_the_worst_and_the_nearest_to_training(ws: Workspace) -> None:
    app = open_page("evaluate", view="Pictures")
    app.session_state["pictures.view"] = "Worst 12"
    app.run()
    assert not app.exception and "8 worst, the worst first" in words(app)
    app.session_state["pictures.view"] = "Most copied 12"
    app.run()
    assert not app.exception and not app.info


def test_curves_offer_to_measure_and_weigh_checkpoints(ws: Workspace) -> None:
    for run in ("run-a", "run-b"):
        end_run(ws, run)
    app = open_page("evaluate", view="Curves", runs="run-a")
    said = words(app)
    assert "Which checkpoint to keep" in said and "Pareto front" in said
    table = app.table[0].value
    assert sorted(table["Checkpoint"]) == ["A 30", "A 5"] and list(table[""]) == ["★", "★"]


def test_two_runs_that_differ_in_captions_alone_are_compared_prompt_by_prompt(ws: Workspace) -> None:
    caption_pair(ws)
    app = open_page("evaluate", view="Captions")
    said = words(app).replace("\\", "")
    assert "1 caption of faces changed between the two" in said
    assert "They helped CLIP score (paired tests over prompts, 5%, Holm)." in said
    table = app.table[0].value.map(lambda text: text.replace("\\", "")).set_index("Measure")
    assert table.loc["CLIP score ↑", "Change"] == "+0.100 [0.100, 0.100]"
    assert table.loc["CLIP score ↑", "p"] == "0.016"
    assert table.loc["KID ↓", "Change"] == "−1.00" and table.loc["KID ↓", "p"] == ""
