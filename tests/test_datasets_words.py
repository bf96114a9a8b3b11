"""Words, tags, the difference of two captions, and the template with slots."""

import random

import pytest

from sdstudio.datasets.settings import TEMPLATE
from sdstudio.datasets.template import Slot, fill, open_slots, slots
from sdstudio.datasets.words import tag_frequency, word_diff, word_frequency
from sdstudio.schema import UserError


def test_frequencies_count_captions():
    captions = ["A red dog, red, Red dog", "a DOG's tail,, red ", "", "naïve straße"]
    words = word_frequency(captions)
    assert (words["red"], words["dog"], words["dog's"], words["a"], words["naïve"], words["strasse"]) == (
        2,
        1,
        1,
        2,
        1,
        1,
    )
    assert tag_frequency(captions) == {"a red dog": 1, "red": 2, "red dog": 1, "a dog's tail": 1, "naïve strasse": 1}


def test_a_diff_shows_the_words_that_changed():
    steps = word_diff("a red dog on the grass", "a blue dog, asleep on grass")
    assert [(kind, text.strip()) for kind, text in steps] == [
        ("equal", "a"),
        ("delete", "red"),
        ("insert", "blue"),
        ("equal", "dog"),
        ("insert", ", asleep"),
        ("equal", "on"),
        ("delete", "the"),
        ("equal", "grass"),
    ]
    assert word_diff("", "") == []
    assert word_diff("", "new") == [("insert", "new")]
    assert word_diff("same words", "same words") == [("equal", "same words")]


@pytest.mark.parametrize("seed", range(30))
def test_a_diff_reads_as_both_captions(seed):
    chosen = random.Random(seed)
    before, after = (" ".join(chosen.choices(["a", "red", "dog,", "(x)", "é"], k=chosen.randint(0, 9))) for _ in "ab")
    steps = word_diff(before, after)
    assert "".join(text for kind, text in steps if kind != "delete") == after
    assert "".join(text for kind, text in steps if kind != "insert").split() == before.split()


def test_the_slots_of_the_first_template():
    found = slots(TEMPLATE)
    assert found[0] == Slot(name="closeup", choices=("closeup",), optional=True)
    assert found[4] == Slot(name="man / woman / etc.", choices=("man", "woman"))
    assert [slot.name for slot in found][-1] == "time period"
    assert len(found) == 12


def test_filling_leaves_open_what_was_not_said():
    template = "asim. a [closeup?] of a [man / woman / etc.], in [time period]."
    assert fill(template, ["closeup", "robot", "daytime"]) == "asim. a closeup of a robot, in daytime."
    caption = fill(template, ["", " woman ", ""])
    assert caption == "asim. a of a woman, in [time period]."
    assert open_slots(caption) == ["[time period]"]
    assert fill("x [a?], y", [""]) == "x, y"
    with pytest.raises(UserError, match="has 3 slots, and 1 values"):
        fill(template, ["x"])


@pytest.mark.parametrize("template", ["a [b", "a] b", "[a [b]]", "[]"])
def test_a_bracket_without_a_partner_is_said(template):
    with pytest.raises(UserError, match="no partner"):
        slots(template)
