"""What a caption and a file name may hold."""


def clean_caption(text: str) -> str:
    """One line: line breaks become spaces, ends are stripped, what UTF-8 cannot hold is replaced."""
    text = text.replace("\0", "").encode("utf-8", "replace").decode()
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


def printable(text: str) -> str:
    """`text` fit for a log, a terminal and a page: what is not a visible character becomes one that says so."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def clean_file_name(name: str) -> str:
    """A relative path with '/' between its parts, without '..', drive or control characters."""
    if not name.isprintable():
        name = "".join(letter if letter.isprintable() else "_" for letter in name)
    parts = [part for part in name.replace("\\", "/").replace(":", "_").split("/") if part not in ("", ".", "..")]
    return "/".join(parts) or "picture"
