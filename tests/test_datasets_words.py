"""Words, tags, the difference of two captions, and the template with slots."""

import random
import re
from dataclasses import replace

import pytest

from sdstudio.datasets import create_dataset
from sdstudio.datasets.settings import TEMPLATE
from sdstudio.datasets.template import OPEN_SLOT
from sdstudio.datasets.words import tag_frequency, word_diff, word_frequency
from sdstudio.schema import UserError
from sdstudio.workspace import Workspace


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


def test_the_first_template_can_be_kept(tmp_path):
    store = create_dataset(Workspace(tmp_path), "set")
    store.save_settings(replace(store.settings(), template=TEMPLATE))
    assert len(re.findall(OPEN_SLOT, store.settings().template)) == 12


@pytest.mark.parametrize("template", ["a [b", "a] b", "[a [b]]", "[]"])
def test_a_bracket_without_a_partner_is_refused(tmp_path, template):
    store = create_dataset(Workspace(tmp_path), "set")
    with pytest.raises(UserError, match="no partner"):
        store.save_settings(replace(store.settings(), template=template))
    assert store.settings().template == TEMPLATE
