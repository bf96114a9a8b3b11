"""SAM's negative examples: pictures that went wrong, taught under their prompt and 'negative <part>'."""

import re
from collections.abc import Sequence
from pathlib import Path

from sdstudio.methods.parts import Example
from sdstudio.schema import UserError

_NEGATIVE = re.compile(r"\bnegative ([\w -]*\w)", re.IGNORECASE)


def negative_examples(pictures: Sequence[tuple[Path, str]], part: str) -> list[Example]:
    """Each picture under its prompt and 'negative <part>', where the prompt does not say so itself.

    `pictures` are (file, prompt that drew it). Raises UserError counting those without a prompt.
    """
    without = sum(not prompt.strip() for _, prompt in pictures)
    if without:
        raise UserError(
            f"{without} of {len(pictures)} negative examples have no caption: give each the prompt that drew it."
        )
    return [_example(path, prompt, part) for path, prompt in pictures]


def _example(path: Path, prompt: str, part: str) -> Example:
    said = _NEGATIVE.search(prompt)
    caption = prompt if said else f"{prompt.rstrip(' ,.')}, negative {part}"
    return Example(path=path, caption=caption, negative=said.group(1).lower() if said else part)


def avoiding(prompt: str, parts: Sequence[str]) -> str:
    """The prompt as SAM asks for it at inference: with 'no negative <part>' for each part that was taught."""
    return ", ".join([prompt, *(f"no negative {part}" for part in parts)])
