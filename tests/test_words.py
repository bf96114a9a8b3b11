"""Numbers with their nouns and units, and errors in one line.   pytest tests/test_words.py"""

import pytest

from sdstudio.ui.text import ago, literal
from sdstudio.words import count, duration, first_line, size


def test_a_number_with_its_noun() -> None:
    assert [count(1, "picture"), count(1_200, "picture"), count(2, "entry", "entries")] == [
        "1 picture",
        "1,200 pictures",
        "2 entries",
    ]


def test_bytes_and_seconds_in_words() -> None:
    assert [size(999), size(1_200), size(3_000_000), size(5e12)] == ["999 bytes", "1.2 kB", "3.0 MB", "5000.0 GB"]
    assert [duration(59.4), duration(185), duration(7_800)] == ["59 s", "3 min 5 s", "2 h 10 min"]


@pytest.mark.parametrize(
    ("said", "line"),
    [("", "OSError"), ("\n  \n", "OSError"), ("\n It broke.\nat line 3", "It broke"), ("a" * 300, "a" * 200)],
)
def test_an_error_in_one_line(said: str, line: str) -> None:
    assert first_line(OSError(said)) == line


def test_words_of_people_are_escaped() -> None:
    assert literal("a *b* [c](d) :red[e] $f$ `g`") == r"a \*b\* \[c\]\(d\) \:red\[e\] \$f\$ \`g\`"


def test_what_was_long_ago_is_told_in_days() -> None:
    assert ago(0).endswith("days ago")
