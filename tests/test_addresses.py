"""What an address names and is gone; labels, and words that run from right to left: pytest tests/test_addresses.py"""

import pytest
from studio_pages import open_page, words
from tiny_runs import finished_run

from sdstudio.datasets import create_dataset
from sdstudio.options import label_of
from sdstudio.ui.text import isolated
from sdstudio.workspace import Workspace


def test_a_page_says_once_that_it_shows_another(quiet_workspace: Workspace) -> None:
    finished_run(quiet_workspace, "20260101-run", "Cats", "a cat")
    create_dataset(quiet_workspace, "cats", "")
    app = open_page("train", run="deleted")
    assert [toast.value for toast in app.toast] == [
        "The run of this address is not here any more: the newest is shown."
    ]
    assert "Cats" in words(app) and "run" not in app.query_params
    assert not app.run().toast
    assert [toast.value for toast in open_page("annotate", dataset="deleted").toast] == [
        "The dataset of this address is not here any more: another is shown."
    ]


@pytest.mark.parametrize(
    ("name", "label"),
    [("loop.min_snr_gamma", "Min SNR gamma"), ("dora", "DoRA"), ("ema_decay", "EMA decay"), ("steps", "Steps")],
)
def test_abbreviations_are_written_as_they_are_known(name: str, label: str) -> None:
    assert label_of(name) == label


def test_only_words_from_right_to_left_are_set_apart() -> None:
    assert isolated("a cat") == "a cat"
    assert isolated("قطة") == "\u2068قطة\u2069" and isolated("a תמונה") == "\u2068a תמונה\u2069"
