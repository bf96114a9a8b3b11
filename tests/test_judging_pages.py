"""The rating room, Logo and text, and Shift without a browser: pytest tests/test_judging_pages.py"""

from pathlib import Path

import pytest
from drawn_comparison import finished_comparison
from studio_pages import open_page, words

from sdstudio import jobs
from sdstudio.evaluation.shifts import SHIFT_FILE
from sdstudio.jobs.folder import CONFIG_FILE
from sdstudio.metrics.found import LOGO_FILE
from sdstudio.ratings import store
from sdstudio.ratings.deck import dealt
from sdstudio.ratings.store import Press
from sdstudio.results import read_evaluation
from sdstudio.schema import (
    Box,
    ClassShift,
    Divergence,
    Finding,
    LogoConfig,
    LogoFindings,
    ModelShift,
    Place,
    Reading,
    ShiftConfig,
    ShiftFindings,
    from_json,
    to_json,
)
from sdstudio.ui.jobs import results
from sdstudio.workspace import Workspace, read_json, write_json


@pytest.fixture
def folder(quiet_workspace: Workspace) -> Path:
    return finished_comparison(quiet_workspace, seeds=2)


def plain(app) -> str:
    """What the page says without the marks that keep Markdown out."""
    return words(app).replace("\\", "")


def tables(app) -> str:
    return "\n".join(element.value.to_string() for element in app.get("table"))


@pytest.mark.parametrize(
    ("view", "hint"),
    [
        ("Rating room", "nothing to rate yet"),
        ("Logo and text", "nothing to look for yet"),
        ("Shift", "no shift to measure yet"),
    ],
)
def test_without_a_comparison_the_tab_says_what_to_do_first(quiet_workspace: Workspace, view: str, hint: str) -> None:
    assert hint in words(open_page("evaluate", view=view))


def test_a_name_is_asked_for_and_a_session_is_in_the_address(folder: Path) -> None:
    app = open_page("evaluate", view="Rating room")
    assert "About 13 answers" in words(app)
    app.button(key="rating.begin").click().run()
    assert "Give your name first." in plain(app)
    app.text_input(key="rating.rater").set_value("Ana")
    app.button(key="rating.begin").click().run()
    [session] = store.read(folder).sessions
    assert app.query_params["rating"] in (session.id, [session.id])
    assert "You rate as Ana" in words(app) and "lora" not in words(app)


def rated(folder: Path, rater: str, said: str) -> store.Session:
    id = store.start(folder, rater, "defect", "six *fingers*", repeats=0.2)
    presses = []
    for task in dealt(folder, id):
        given = "no" if "base" in task.pictures[0] else said
        presses.append(Press(id=f"{rater} {task.id}", task=task.id, pictures=task.pictures, answer=given))
    return store.add(folder, id, presses)


def test_results_are_there_for_who_has_ended_and_say_how_far_raters_agree(folder: Path) -> None:
    ana, ben = rated(folder, "Ana", "yes"), rated(folder, "Ben", "no")
    app = open_page("evaluate", view="Rating room")
    assert tables(app) == "" and words(app).count("14 of 14") == 2
    for session in (ana, ben):
        store.end(folder, session.id)
    app = open_page("evaluate", view="Rating room", rating=ana.id)
    assert "**50.0%**" in tables(app) and "+50.0 [50.0, 50.0] points" in tables(app)
    assert "Six \\*fingers\\*" in words(app)
    said = plain(app)
    assert "Rated blind by Ana, Ben" in said and "2 raters, 12 pictures in common: Cohen's κ 0.00" in said
    assert "Ana said the same of 2 of 2 pictures shown twice" in said


def test_a_preference_is_shown_as_strengths(folder: Path) -> None:
    id = store.start(folder, "Ana", "preference", repeats=0)
    presses = [
        Press(
            id=task.id, task=task.id, pictures=task.pictures, answer="second" if "base" in task.pictures[0] else "first"
        )
        for task in dealt(folder, id)
    ]
    store.add(folder, id, presses)
    store.end(folder, id)
    app = open_page("evaluate", view="Rating room", rating=id)
    lines = tables(app).splitlines()
    assert "Model lora" in lines[1] and "**+" in lines[1] and "Model base" in lines[2] and "**−" in lines[2]
    assert "0 of 6 duels were ties" in words(app)


def test_a_look_for_a_logo_is_submitted_as_it_was_set(quiet_workspace: Workspace, folder: Path) -> None:
    app = open_page("evaluate", view="Logo and text")
    app.text_input(key="logo.text").set_value("  HUGO ").run()
    app.button(key="logo.start").click().run()
    [job] = jobs.list_jobs(quiet_workspace, "logo")
    config = from_json(LogoConfig, read_json(job.folder / CONFIG_FILE))
    assert (config.comparison, config.text, config.detector_options["threshold"]) == (folder.name, "HUGO", 0.5)
    assert "queued" in words(app)


def test_what_was_found_is_shown_with_the_best_model_in_bold(folder: Path) -> None:
    box = Box(label="logo", score=0.8, left=1, top=1, right=9, bottom=9)
    found = {}
    for row in read_evaluation(folder).rows:
        for picture in row.pictures:
            hit = Finding(confidence=0.8, box=box, reading=Reading(text="HUCO", confidence=0.5), similarity=0.75)
            miss = Finding(confidence=0.0, reading=Reading(text="", confidence=0.0), similarity=0.0)
            found[picture.file] = hit if row.key == "lora" else miss
    config = LogoConfig(comparison=folder.name, text="HUGO")
    looked = LogoFindings(config=config, detector="Your own YOLO weights", reader="TrOCR", findings=found)
    write_json(folder / LOGO_FILE, to_json(looked))
    app = open_page("evaluate", view="Logo and text")
    base, lora = tables(app).splitlines()[1:]
    assert "**Model lora**" in lora and "0.775" in lora and "6 of 6" in lora and "0.750" in lora and "0.50" in lora
    assert "Model base" in base and "0 of 6" in base
    assert "Found by: Your own YOLO weights. Read by: TrOCR. The word is HUGO." in words(app)


def test_a_shift_is_shown_with_its_flags(folder: Path) -> None:
    places = [Place(source=source, file="a.png", x=1.0, y=2.0, cluster=0) for source in ("original", "base", "trained")]
    shift = ClassShift(name="a *dog*", counts={"original": [1, 0], "base": [1, 0], "trained": [1, 0]}, places=places)
    model = ModelShift(
        key="lora", label="Model lora", base=Divergence(kl=0.5, js=0.25, chance=0.05, p_value=0.001),
        original=Divergence(kl=0.1, js=0.06, chance=0.05, p_value=0.4), classes=[shift], left_out=["a cat"],
    )  # fmt: skip
    found = ShiftFindings(
        config=ShiftConfig(comparison=folder.name), extractor="CLIP", models=[model], flags=["a *weak* sign"]
    )
    write_json(folder / SHIFT_FILE, to_json(found))
    app = open_page("evaluate", view="Shift")
    assert "**0.250**" in tables(app) and "original ‖ trained" in tables(app) and "0.400" in tables(app)
    assert "a \\*weak\\* sign" in words(app) and "Too rare to be clustered: a cat" in plain(app)


def test_a_shift_that_cannot_be_computed_is_refused_before_it_is_queued(
    quiet_workspace: Workspace, folder: Path
) -> None:
    app = open_page("evaluate", view="Shift")
    app.button(key="shift.start").click().run()
    assert "has no reference pictures" in words(app) and jobs.list_jobs(quiet_workspace, "shift") == []


def test_a_finished_look_leads_from_the_jobs_to_its_tab(quiet_workspace: Workspace, folder: Path) -> None:
    config = LogoConfig(comparison=folder.name)
    job = jobs.submit(quiet_workspace, "logo", config, "Logo")
    assert results._address(job, "evaluate", "table") == {"table": folder.name, "view": "Logo and text"}
