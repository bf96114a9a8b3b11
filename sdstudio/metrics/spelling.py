"""How far a word that was read is from the word that should be there."""


def edits(first: str, second: str) -> int:
    """The fewest insertions, deletions and replacements of one character that make one into the other.

    Levenshtein 1966, Binary codes capable of correcting deletions, insertions, and reversals.
    """
    row = list(range(len(second) + 1))
    for place, character in enumerate(first, start=1):
        before, row[0] = row[0], place
        for other, wanted in enumerate(second, start=1):
            before, row[other] = row[other], min(row[other] + 1, row[other - 1] + 1, before + (character != wanted))
    return row[-1]


def error_rate(read: str, reference: str) -> float:
    """The character error rate: edits for each character of `reference`, which is not empty; it may exceed 1."""
    return edits(read, reference) / len(reference)


def similarity(read: str, reference: str) -> float:
    """1 − edits / the longer one's length, from 0 to 1; capitals count, runs of spaces are one."""
    one, other = " ".join(read.split()), " ".join(reference.split())
    return 1 - edits(one, other) / max(len(one), len(other), 1)
