"""Numbers with their nouns."""


def count(number: int, noun: str, plural: str = "") -> str:
    """'1 picture', '30 pictures'."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
