"""What people answer is kept, counted once and read alike everywhere: pytest tests/test_ratings_store.py"""

import json
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from drawn_comparison import finished_comparison

from sdstudio import registry
from sdstudio.evaluation.boards import list_boards
from sdstudio.metrics.sample import NOT_COMPUTED, Pictures, Sample
from sdstudio.ratings import judged, store
from sdstudio.ratings.deck import deal
from sdstudio.ratings.store import Press, Session
from sdstudio.results import Picture, Row, judging, read_evaluation
from sdstudio.schema import ModelRef, UserError
from sdstudio.workspace import Workspace

PROMPTS = ("a man", "a cat", "a bus")


def rows(models: int = 2) -> list[Row]:
    return [
        Row(
            key=key,
            label=key,
            role="base" if key == "model-0" else "trained",
            model=ModelRef(),
            trigger="",
            base="model-0",
            pictures=tuple(
                Picture(prompt=prompt, text="", seed=seed, file=f"pictures/{key}/{prompt}-{seed}.png", drift=False)
                for prompt in PROMPTS
                for seed in range(4)
            ),
        )
        for key in (f"model-{number}" for number in range(models))
    ]  # fmt: skip


def begin(folder: Path, rater: str = "Ana", kind: store.Kind = "defect", what: str = "crossed eyes", **more) -> Session:
    id = store.start(folder, rater, kind, what, **more)
    return store.read(folder).session(id)


def answer(
    folder: Path, session: Session, said: dict[str, str] | str = "no", all_rows: list[Row] | None = None
) -> Session:
    """Answer the whole deck; `said` by file (of a pair: the better file, or a tie)."""
    presses = []
    for place, task in enumerate(deal(all_rows or rows(), session)):
        if session.kind == "defect":
            given = said if isinstance(said, str) else said.get(task.pictures[0], "no")
        else:
            better = next((file for file in task.pictures if file in said), "")
            given = ("first", "second")[task.pictures.index(better)] if better else "tie"
        presses.append(Press(id=f"{session.id}-{place}", task=task.id, pictures=task.pictures, answer=given))
    done = store.add(folder, session.id, presses)
    store.end(folder, session.id)
    return done


def sample(folder: Path, row: Row) -> Sample:
    nothing = np.zeros((len(row.pictures), 0))
    pictures = Pictures(
        pooled=nothing, image=nothing, text=nothing,
        groups=tuple(picture.prompt for picture in row.pictures), names=tuple(picture.file for picture in row.pictures),
    )  # fmt: skip
    return Sample(model=row.label, key=row.key, folder=folder, generated=pictures, extractor="", preprocessing="")


def measure(metric: str, folder: Path, row: Row):
    return registry.load("sdstudio.metrics")[metric].compute(sample(folder, row))


# ---------------------------------------------------------------- the file


def test_an_answer_is_read_back_after_a_press_and_gone_after_its_undo(tmp_path: Path) -> None:
    session = begin(tmp_path)
    first, second = (Press(id=name, task=name, pictures=(f"{name}.png",), answer="yes") for name in "ab")
    store.add(tmp_path, session.id, [first])
    before = (tmp_path / store.RATINGS_FILE).read_bytes()
    store.add(tmp_path, session.id, [second, Press(id="c", undoes="a")])
    assert (tmp_path / store.RATINGS_FILE).read_bytes().startswith(before)
    [kept] = store.read(tmp_path).session(session.id).answers
    assert (kept.press, kept.pictures, kept.answer) == ("b", ("b.png",), "yes")


def test_a_press_counts_once_however_often_it_arrives(tmp_path: Path) -> None:
    session = begin(tmp_path)
    press = Press(id="a", task="t", pictures=("x.png",), answer="yes")
    for presses in ([press], [press], [press, Press(id="b", task="t", pictures=("x.png",), answer="no")]):
        done = store.add(tmp_path, session.id, presses)
        assert [given.answer for given in done.answers] == ["yes"]
    store.add(tmp_path, session.id, [Press(id="c", undoes="a"), press])
    assert store.read(tmp_path).session(session.id).answers == ()


def test_a_line_torn_by_a_crash_costs_only_itself(tmp_path: Path) -> None:
    session = begin(tmp_path)
    press = [Press(id=name, task=name, pictures=(f"{name}.png",), answer="no") for name in "abc"]
    store.add(tmp_path, session.id, press[:2])
    file = tmp_path / store.RATINGS_FILE
    file.write_bytes(file.read_bytes()[:-9])
    assert [given.press for given in store.read(tmp_path).session(session.id).answers] == ["a"]
    done = store.add(tmp_path, session.id, press)
    assert [given.press for given in done.answers] == ["a", "b", "c"]
    assert store.read(tmp_path).session(session.id) == done


def rate_some(folder: Path, rater: str) -> None:
    session = begin(folder, rater, what="hands")
    for name in range(20):
        store.add(folder, session.id, [Press(id=f"{rater}{name}", task=str(name), pictures=("x.png",), answer="no")])


def test_raters_in_several_processes_lose_nothing(tmp_path: Path) -> None:
    raters = ("Ana", "Ben", "Cho", "Ben")
    with ProcessPoolExecutor(3) as pool:
        list(pool.map(rate_some, [tmp_path] * len(raters), raters))
    found = {session.rater: len(session.answers) for session in store.read(tmp_path).sessions}
    assert found == {"Ana": 20, "Ben": 20, "Cho": 20}
    assert all(json.loads(line) for line in (tmp_path / store.RATINGS_FILE).read_text("utf-8").splitlines())


def test_a_rater_goes_on_where_they_stopped_and_cannot_begin_again(tmp_path: Path) -> None:
    session = begin(tmp_path, "Ana", per_model=5)
    assert begin(tmp_path, " ana ", per_model=9) == session
    assert begin(tmp_path, "Ben") != session
    store.end(tmp_path, session.id)
    with pytest.raises(UserError, match="already rated"):
        begin(tmp_path, "Ana")
    with pytest.raises(UserError, match="has ended"):
        store.add(tmp_path, session.id, [Press(id="late", task="t", pictures=("x",), answer="no")])


@pytest.mark.parametrize(("rater", "what"), [("  ", "eyes"), ("x" * 61, "eyes"), ("Ana", ""), ("Ana", "y" * 61)])
def test_names_that_are_missing_or_too_long_are_refused(tmp_path: Path, rater: str, what: str) -> None:
    with pytest.raises(UserError):
        store.start(tmp_path, rater, "defect", what)
    assert not (tmp_path / store.RATINGS_FILE).exists()


def test_an_answer_that_the_question_does_not_have_is_refused_whole(tmp_path: Path) -> None:
    session = begin(tmp_path)
    good, bad = (Press(id=said, task=said, pictures=("x",), answer=said) for said in ("yes", "first"))
    with pytest.raises(UserError, match="no answer"):
        store.add(tmp_path, session.id, [good, bad])
    assert store.read(tmp_path).session(session.id).answers == ()


# ---------------------------------------------------------------- the deck


def test_every_picture_is_shown_once_and_some_again_later(tmp_path: Path) -> None:
    session = begin(tmp_path, repeats=0.25)
    tasks = deal(rows(), session)
    assert len({task.id for task in tasks}) == len(tasks) == 24 + 6
    places = {task.id: place for place, task in enumerate(tasks)}
    again = [task for task in tasks if task.again]
    assert {task.pictures[0] for task in tasks if not task.again} == {p.file for row in rows() for p in row.pictures}
    assert len({task.again for task in again}) == 6 and all(places[task.id] - places[task.again] >= 4 for task in again)
    assert deal(rows(), session) == tasks


def test_another_seed_is_another_order_without_a_pattern(tmp_path: Path) -> None:
    """Over many seeds each model is as often in the first half as in the second."""
    first = Counter()
    for seed in range(200):
        session = Session(
            id="s", rater="r", kind="defect", what="w", seed=seed, per_model=0, repeats=0, started=0
        )  # fmt: skip
        first.update(task.pictures[0].split("/")[1] for task in deal(rows(), session)[:12])
    assert abs(first["model-0"] - 1200) < 4 * np.sqrt(200 * 12 * 0.25)


def test_pairs_are_of_one_prompt_and_seed_with_both_sides_used(tmp_path: Path) -> None:
    session = begin(tmp_path, kind="preference", repeats=0.2)
    tasks = deal(rows(models=3), session)
    assert sum(not task.again for task in tasks) == 3 * 12
    for task in tasks:
        one, other = (file.split("/") for file in task.pictures)
        assert one[2] == other[2] and one[1] != other[1]
    left = Counter(task.pictures[0].split("/")[1] for task in tasks if not task.again)
    assert len(left) == 3
    by_id = {task.id: task for task in tasks}
    assert all(task.pictures == by_id[task.again].pictures[::-1] for task in tasks if task.again)


def test_a_part_takes_the_same_cells_of_every_model_and_prompts_in_turn(tmp_path: Path) -> None:
    session = begin(tmp_path, per_model=5, repeats=0)
    files = [task.pictures[0].split("/") for task in deal(rows(), session)]
    shown = {key: {name for _, model, name in files if model == key} for key in ("model-0", "model-1")}
    assert shown["model-0"] == shown["model-1"] and len(shown["model-0"]) == 5
    assert sorted(Counter(name.split("-")[0] for name in shown["model-0"]).values()) == [1, 2, 2]


# ---------------------------------------------------------------- what follows


def test_crossed_eyes_is_the_share_of_faces_by_hand(tmp_path: Path) -> None:
    base, trained = rows()
    said = {picture.file: "yes" for picture in base.pictures[:6]} | {trained.pictures[0].file: "yes"}
    said |= {picture.file: "absent" for picture in (*base.pictures[8:], *trained.pictures[10:])}
    answer(tmp_path, begin(tmp_path), said)
    found = measure("crossed_eyes", tmp_path, base)
    assert found.value == pytest.approx(6 / 8) and found.n_generated == 12
    assert found.interval == pytest.approx((0.409275, 0.928521), abs=1e-5)
    assert found.per_prompt == pytest.approx({"a man": 1.0, "a cat": 0.5})
    assert found.flags == ("over 8 of 12: the others show nothing that could have the defect",)
    assert measure("crossed_eyes", tmp_path, trained).value == pytest.approx(1 / 10)


def test_a_model_without_a_face_has_no_ratio(tmp_path: Path) -> None:
    answer(tmp_path, begin(tmp_path), "absent")
    found = measure("crossed_eyes", tmp_path, rows()[0])
    assert found.value is None and found.flags[0].startswith(NOT_COMPUTED)


@pytest.mark.parametrize("metric", ["crossed_eyes", "defect_rate", "preference"])
def test_nothing_counts_before_a_session_has_ended(tmp_path: Path, metric: str) -> None:
    session = begin(tmp_path)
    [task, *_] = deal(rows(), session)
    store.add(tmp_path, session.id, [Press(id="a", task=task.id, pictures=task.pictures, answer="yes")])
    found = measure(metric, tmp_path, rows()[0])
    assert found.value is None and "open the rating room" in found.flags[0]


def test_two_raters_share_a_picture(tmp_path: Path) -> None:
    base, _ = rows()
    answer(tmp_path, begin(tmp_path, "Ana"), {picture.file: "yes" for picture in base.pictures})
    answer(tmp_path, begin(tmp_path, "Ben"), {base.pictures[0].file: "yes", base.pictures[1].file: "absent"})
    found = measure("crossed_eyes", tmp_path, base)
    assert found.value == pytest.approx((1 + 1 + 10 * 0.5) / 12)
    assert found.per_picture[base.pictures[1].file] == 1


def test_the_defect_rate_counts_a_picture_once_for_any_defect(tmp_path: Path) -> None:
    base, _ = rows()
    answer(tmp_path, begin(tmp_path), {picture.file: "yes" for picture in base.pictures[:3]})
    answer(tmp_path, begin(tmp_path, what="Six fingers"), {picture.file: "yes" for picture in base.pictures[2:5]})
    found = measure("defect_rate", tmp_path, base)
    assert found.value == pytest.approx(5 / 12) and found.flags == ("any of: crossed eyes, six fingers",)
    assert measure("crossed_eyes", tmp_path, base).value == pytest.approx(3 / 12)


def test_preference_is_the_strength_of_the_better_model(tmp_path: Path) -> None:
    base, trained = rows()
    answer(tmp_path, begin(tmp_path, kind="preference"), {picture.file: "" for picture in trained.pictures[:9]})
    better, worse = measure("preference", tmp_path, trained), measure("preference", tmp_path, base)
    assert better.value == pytest.approx(-worse.value) and better.value > 0 and better.n_generated == 12
    assert better.interval[0] < better.value < better.interval[1]


def test_agreement_between_two_and_three_raters_and_with_oneself(tmp_path: Path) -> None:
    files = [picture.file for row in rows() for picture in row.pictures]
    yes = {"Ana": files[:12], "Ben": files[:6], "Cho": files[:12]}
    done = [
        answer(tmp_path, begin(tmp_path, rater, repeats=0.25), {file: "yes" for file in given})
        for rater, given in yes.items()
    ]
    two, three = judged.agreement(done[:2]), judged.agreement(done)
    assert (two.raters, two.pictures, two.kappa) == (2, 24, pytest.approx(0.5))
    assert (three.raters, three.pictures) == (3, 24) and 0.5 < three.kappa < 1
    assert judged.agreement(done[:1]) is None
    steady = judged.steadiness(done[0])
    assert (steady.repeats, steady.same) == (6, 6)


def test_a_second_look_does_not_count_but_tells_how_steady_a_rater_is(tmp_path: Path) -> None:
    session = begin(tmp_path, repeats=0.25)
    tasks = deal(rows(), session)
    presses = [
        Press(id=str(place), task=task.id, pictures=task.pictures, answer="yes" if task.again else "no")
        for place, task in enumerate(tasks)
    ]
    done = store.add(tmp_path, session.id, presses)
    assert judged.steadiness(done).same == 0 and judged.steadiness(done).repeats == 6
    assert {share.yes for share in judged.shares([done]).values()} == {0}


def test_the_scoreboard_shows_what_was_rated_after_the_comparison(tmp_path: Path) -> None:
    ws = Workspace(tmp_path)
    folder = finished_comparison(ws, seeds=1)
    drawn = read_evaluation(folder).rows
    assert judging.judged(read_evaluation(folder), folder) == read_evaluation(folder)
    [board] = list_boards(ws)
    assert board.metrics == ()
    answer(folder, begin(folder, repeats=0), {drawn[1].pictures[0].file: "yes"}, drawn)
    [board] = list_boards(ws)
    assert [metric.name for metric in board.metrics] == ["crossed_eyes", "defect_rate"]
    assert [line.cells["crossed_eyes"].result.value for line in board.lines] == pytest.approx([0, 1 / 3])
    assert board.lines[1].cells["crossed_eyes"].result.versus_base.difference == pytest.approx(1 / 3)
