"""Words of people and files inside Streamlit's Markdown: shown letter by letter, never interpreted."""

import re
import time

from sdstudio.datasets.words import word_diff
from sdstudio.words import count as count
from sdstudio.words import duration as duration
from sdstudio.words import size as size

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:&])")
_ADDRESS = re.compile(r"(?<!\w)(?=https?://|www\.|[-.\w+]+@[-\w]+\.)", re.IGNORECASE)
_RIGHT_TO_LEFT = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]")
_NO_LINK = "\N{WORD JOINER}"
"""Before an address: Markdown makes it a link, escaped or not, unless what comes before is neither space nor sign."""


def literal(text: str) -> str:
    """`text` with every Markdown character escaped, for labels and messages that Streamlit would interpret."""
    return _MARKDOWN.sub(r"\\\1", _ADDRESS.sub(_NO_LINK, text))


def isolated(text: str) -> str:
    """`text` for a line with other words: what it holds of Arabic or Hebrew does not turn what stands beside it."""
    return f"\N{FIRST STRONG ISOLATE}{text}\N{POP DIRECTIONAL ISOLATE}" if _RIGHT_TO_LEFT.search(text) else text


def changed(before: str, after: str) -> str:
    """One line of Markdown: what is left out of `before` in red, what is new in `after` in green."""
    looks = {"equal": "{}", "delete": ":red[~~{}~~]", "insert": ":green[**{}**]"}
    line = ""
    for kind, words in word_diff(before, after):
        if words.strip():
            gap = "" if not line or words.strip().startswith(tuple(",.;:!?)")) else " "
            line += gap + looks[kind].format(literal(words.strip()))
    return line


def ago(seconds_since_epoch: float) -> str:
    """How long ago, in the largest unit that fits: 'just now', '5 min ago', '3 h ago', '2 days ago'."""
    passed = max(0.0, time.time() - seconds_since_epoch)
    for unit, length in (("day", 86400), ("h", 3600), ("min", 60)):
        units = int(passed // length)
        if units:
            return f"{units} {unit}{'s' if unit == 'day' and units > 1 else ''} ago"
    return "just now"


def at(seconds_since_epoch: float) -> str:
    """The moment in the server's local time: '20 Nov, 16:18:59'."""
    return time.strftime("%d %b, %H:%M:%S", time.localtime(seconds_since_epoch))
