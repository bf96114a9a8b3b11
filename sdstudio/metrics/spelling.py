"""How alike a word that was read and the word that should be there are."""


def similarity(read: str, reference: str) -> float:
    """1 − edits / the longer one's length, from 0 to 1; capitals count, runs of spaces are one.

    An edit inserts, deletes or replaces one character (Levenshtein 1966, Binary codes capable of correcting deletions,
    insertions, and reversals).
    """
    from torchmetrics.functional.text import edit_distance

    one, other = " ".join(read.split()), " ".join(reference.split())
    return 1 - float(edit_distance([one], [other])) / max(len(one), len(other), 1)
