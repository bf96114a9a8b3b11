"""Weights, breaks and compositions in prompts: pytest tests/test_prompts.py"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdstudio.prompts import Composed, Part, compose, parse, plain
from sdstudio.schema import UserError


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("", []),
        ("a cat", [("a cat", 1)]),
        ("a (cat)", [("a ", 1), ("cat", 1.1)]),
        ("a ((cat)) here", [("a ", 1), ("cat", 1.21), (" here", 1)]),
        ("a [cat]", [("a ", 1), ("cat", 1 / 1.1)]),
        ("[[cat]]", [("cat", 1 / 1.21)]),
        ("([cat])", [("cat", 1)]),
        ("(cat:1.3)", [("cat", 1.3)]),
        ("(cat: .5 )", [("cat", 0.5)]),
        ("(cat:-1)", [("cat", -1)]),
        ("(a (red:1.5) cat:2)", [("a ", 2), ("red", 3), (" cat", 2)]),
        (r"a \(cat\) \[dog\]", [("a (cat) [dog]", 1)]),
        (r"back\\slash", [("back\\slash", 1)]),
        (r"a\b", [(r"a\b", 1)]),
        ("at 10:30", [("at 10:30", 1)]),
        ("(ratio 16:9 picture)", [("ratio 16:9 picture", 1.1)]),
        ("(:)", [(":", 1.1)]),
        ("BREAKFAST", [("BREAKFAST", 1)]),
        ("Bob", [("Bob", 1)]),
    ],
)
def test_weights(prompt: str, parts: list[tuple[str, float]]) -> None:
    (chunk,) = parse(prompt)
    assert [part.text for part in chunk] == [text for text, _ in parts]
    assert [part.weight for part in chunk] == pytest.approx([weight for _, weight in parts])


def test_break_begins_a_chunk() -> None:
    assert parse("a cat BREAK (a dog)") == [[Part("a cat ")], [Part(" "), Part("a dog", 1.1)]]
    assert parse("BREAK") == [[], []]


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ("a (cat", r"'\(' at character 3 is never closed"),
        ("a cat)", r"'\)' at character 6 closes nothing"),
        ("(a cat]", r"'\]' at character 7 closes nothing"),
        ("a [(cat]", r"'\]' at character 8 closes nothing"),
        ("cat:1.2)", r"'\)' at character 8 closes nothing"),
        ("(cat:99)", "weight 99 at character 8 is out of bounds"),
        ("(cat BREAK dog)", "BREAK at character 6 stands inside a bracket"),
        ("[cat:dog:0.5]", "change while the picture forms"),
        ("[cat|dog]", "change while the picture forms"),
        ("a cat <lora:asim:0.8>", "choose trained models in the list"),
    ],
)
def test_what_is_malformed_is_named_with_its_place(prompt: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        parse(prompt)


@given(st.text(alphabet="ab ()[]:.1\\BREAKND"))
def test_any_text_is_parsed_or_refused_in_words(text: str) -> None:
    try:
        chunks = parse(text)
    except UserError as error:
        assert str(error).endswith(".")
    else:
        assert all(part.text for chunk in chunks for part in chunk)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_escaped_text_means_itself(text: str) -> None:
    text = text.replace("BREAK", "break").replace("<", "")
    escaped = "".join(f"\\{letter}" if letter in "()[]\\" else letter for letter in text)
    assert "".join(part.text for chunk in parse(escaped) for part in chunk) == text


def test_plain_words() -> None:
    assert plain("a (red:1.4) [cat] BREAK on  the moon") == "a red cat on the moon"
    assert plain("a (cat) :1.2 AND a hat AND NOT rain") == "a cat, a hat"


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a cat", [("a cat", 1)]),
        ("", [("", 1)]),
        ("a cat AND a dog", [("a cat", 1), ("a dog", 1)]),
        ("a cat :1.2 AND a dog AND NOT rain:0.5", [("a cat", 1.2), ("a dog", 1), ("rain", -0.5)]),
        ("SAND AND BRAND", [("SAND", 1), ("BRAND", 1)]),
        ("a (cat:1.2) AND a dog", [("a (cat:1.2)", 1), ("a dog", 1)]),
    ],
)
def test_compositions(prompt: str, expected: list[tuple[str, float]]) -> None:
    assert compose(prompt) == [Composed(*pair) for pair in expected]


@pytest.mark.parametrize("prompt", ["a cat AND", "AND a cat", "a AND AND b", "a AND NOT"])
def test_a_missing_side_is_refused(prompt: str) -> None:
    with pytest.raises(UserError, match="one side is empty"):
        compose(prompt)
