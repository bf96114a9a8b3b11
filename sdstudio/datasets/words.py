"""What captions are made of: how often words and tags occur, and what one caption changed of another."""

import re
from collections import Counter
from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import Literal

Operation = Literal["equal", "delete", "insert"]

_WORD = re.compile(r"\w+(?:['’-]\w+)*")
_PIECE = re.compile(r"\w+\s*|[^\w\s]+\s*|\s+")


def word_frequency(captions: Iterable[str]) -> Counter[str]:
    """In how many captions each word occurs, in lower case."""
    counts: Counter[str] = Counter()
    for caption in captions:
        counts.update(set(_WORD.findall(caption.casefold())))
    return counts


def tag_frequency(captions: Iterable[str]) -> Counter[str]:
    """In how many captions each tag (what stands between commas) occurs, in lower case."""
    counts: Counter[str] = Counter()
    for caption in captions:
        counts.update({tag for part in caption.casefold().split(",") if (tag := part.strip())})
    return counts


def word_diff(before: str, after: str) -> list[tuple[Operation, str]]:
    """How `before` became `after`, word by word: what is 'equal' and 'insert' reads as `after`.

    Gestalt pattern matching (Ratcliff and Metzener 1988) by the standard library's difflib.
    """
    old, new = _PIECE.findall(before), _PIECE.findall(after)
    matcher = SequenceMatcher(None, [piece.strip() for piece in old], [piece.strip() for piece in new], autojunk=False)
    steps: list[tuple[Operation, str]] = []
    space = ""
    for kind, old_start, old_end, new_start, new_end in matcher.get_opcodes():
        gone, there = "".join(old[old_start:old_end]), "".join(new[new_start:new_end])
        if kind == "equal":
            steps.append(("equal", there))
            space = " " if gone[-1].isspace() and not there[-1].isspace() else ""
            continue
        if gone:
            steps.append(("delete", space + gone))
        if there:
            steps.append(("insert", there))
    return steps
