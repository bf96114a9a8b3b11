"""Numbers with their nouns and units."""


def count(number: int, noun: str, plural: str = "") -> str:
    """'1 picture', '30 pictures'."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def size(number: float) -> str:
    """Bytes as '1.2 MB', in thousands."""
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"
