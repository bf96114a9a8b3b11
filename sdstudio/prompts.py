"""What a person writes into a prompt field: weights, breaks and compositions, in the syntax that A1111 made common.

(word)        attention × 1.1, nested again × 1.1        [word]        attention ÷ 1.1
(word:1.3)    attention × 1.3                            \\( \\) \\[ \\]  the character itself
BREAK         what follows begins a new chunk of 77      AND, AND NOT  several prompts at once, see `compose`
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sdstudio.schema import UserError

STEP = 1.1
LOWEST, HIGHEST = -10.0, 10.0
_CLOSES = {"(": ")", "[": "]"}
_TOKEN = re.compile(r"\\[()\[\]\\]|:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)|[()\[\]]|\bBREAK\b|[^\\()\[\]:B]+|.", re.DOTALL)
_LORA = re.compile(r"<(lora|lyco|hypernet):[^>]*>")
_SCHEDULED = re.compile(r":\s*\d*\.?\d+\s*$")
_WEIGHTED = re.compile(r"^(.*?)\s*:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*$", re.DOTALL)


@dataclass(frozen=True)
class Part:
    """A stretch of text and the factor of its attention."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True)
class Composed:
    """One of several prompts that steer a picture together; a negative `weight` steers away from it."""

    prompt: str
    weight: float = 1.0


@dataclass
class _Open:
    bracket: str
    place: int
    first_part: int


def parse(prompt: str) -> list[list[Part]]:
    """Chunks, separated by BREAK, of weighted parts; neighbours of one weight are joined. '' is one empty chunk.

    Raises UserError for a bracket without its partner, a weight out of bounds, and syntax that other programs know
    and this one does not; each names the place, counted from 1.
    """
    _refuse_foreign(prompt)
    chunks: list[list[Part]] = [[]]
    opened: list[_Open] = []
    for match in _TOKEN.finditer(prompt):
        token, place, parts = match.group(), match.start() + 1, chunks[-1]
        if token in _CLOSES:
            opened.append(_Open(token, place, len(parts)))
        elif token in (")", "]") or match.group(1):
            factor = _close(opened, token[-1], place + len(token) - 1, match.group(1), prompt)
            start = opened.pop().first_part
            parts[start:] = [Part(part.text, part.weight * factor) for part in parts[start:]]
        elif token == "BREAK":
            if opened:
                raise UserError(f"BREAK at character {place} stands inside a bracket: close the bracket before it.")
            chunks.append([])
        else:
            parts.append(Part(token[1:] if token[0] == "\\" and len(token) > 1 else token))
    if opened:
        wrong = opened[-1]
        raise UserError(
            f"The bracket {wrong.bracket!r} at character {wrong.place} is never closed: close it, or write "
            f"'\\{wrong.bracket}' to mean the character."
        )
    return [_joined(parts) for parts in chunks]


def _close(opened: list[_Open], bracket: str, place: int, weight: str | None, prompt: str) -> float:
    """The factor that the closing bracket gives to what it encloses."""
    if not opened or _CLOSES[opened[-1].bracket] != bracket:
        raise UserError(
            f"The bracket {bracket!r} at character {place} closes nothing: take it out, or write '\\{bracket}'."
        )
    if bracket == "]":
        inside = prompt[opened[-1].place : place - 1]
        if _SCHEDULED.search(inside) or "|" in inside:
            raise UserError(
                f"'[{inside}]' asks for words that change while the picture forms, which is not supported; "
                "brackets alone lower attention."
            )
        return 1 / STEP
    if weight is None:
        return STEP
    value = float(weight)
    if not LOWEST <= value <= HIGHEST:
        raise UserError(f"The weight {weight} at character {place} is out of bounds: {LOWEST:g} to {HIGHEST:g}.")
    return value


def _refuse_foreign(prompt: str) -> None:
    found = _LORA.search(prompt)
    if found:
        raise UserError(f"{found.group()!r} is not read here: choose trained models in the list of models instead.")


def _joined(parts: list[Part]) -> list[Part]:
    joined: list[Part] = []
    for part in parts:
        if joined and joined[-1].weight == part.weight:
            joined[-1] = Part(joined[-1].text + part.text, part.weight)
        else:
            joined.append(part)
    return [part for part in joined if part.text]


def escape(text: str) -> str:
    """`text` as a prompt that means just these words, such as a caption with brackets in it."""
    escaped = re.sub(r"[()\[\]\\]", lambda match: f"\\{match.group()}", text)
    return re.sub(r"\b(BREAK|AND)\b", lambda match: match.group().lower(), escaped)


def plain(prompt: str) -> str:
    """What the picture should show, in words alone, as a scorer should read it.

    Without weights and BREAK, one space between words; of a composition the prompts that it steers towards, joined by
    commas.
    """
    wanted = [part.prompt for part in compose(prompt) if part.weight > 0]
    return ", ".join(words(text) for text in wanted)


def words(prompt: str) -> str:
    """The words of one prompt alone: without weights and BREAK, one space between them. Raises UserError as `parse`."""
    return " ".join(" ".join("".join(part.text for part in chunk) for chunk in parse(prompt)).split())


def count_tokens(prompt: str, tokens: Callable[[str], int], room: int) -> tuple[int, int]:
    """How many tokens the words of a prompt take, and in how many windows of `room` tokens they are read.

    Of prompts that are joined by AND, those of all and the windows of the longest.
    """
    used, windows = 0, 1
    for part in compose(prompt):
        counts = [sum(tokens(piece.text) for piece in chunk) for chunk in parse(part.prompt)]
        used += sum(counts)
        windows = max(windows, sum(max(-(-count // room), 1) for count in counts))
    return used, windows


def check_distinct(prompts: Sequence[str]) -> None:
    """A UserError when a prompt is there more than once."""
    prompt, times = Counter(prompts).most_common(1)[0]
    if times > 1:
        raise UserError(f"The prompt {prompt!r} is there {times} times: give each prompt once.")


def compose(prompt: str) -> list[Composed]:
    """The prompts between AND and AND NOT, each with its weight ('a cat :1.2 AND a dog AND NOT rain :0.5').

    Liu et al. 2022, Composable Diffusion, arXiv:2206.01714: NOT is a negative weight. Raises UserError for a missing
    side.
    """
    pieces = re.split(r"\b(AND\s+NOT|AND)\b", prompt)
    found = []
    for place in range(0, len(pieces), 2):
        negated = place > 0 and "NOT" in pieces[place - 1]
        match = _WEIGHTED.match(pieces[place].strip())
        text, weight = (match.group(1), float(match.group(2))) if match else (pieces[place].strip(), 1.0)
        if not text and len(pieces) > 1:
            raise UserError("AND joins two prompts and one side is empty: write words on both sides of it.")
        found.append(Composed(text, -weight if negated else weight))
    return found
