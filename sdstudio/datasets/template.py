"""A caption with [slots]: 'asim. a [closeup?] of a [man / woman / etc.] in [time period].'"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sdstudio.schema import UserError

OPEN_SLOT = r"\[[^\[\]]+\]"
_SLOT = re.compile(OPEN_SLOT)


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One slot: what it asks for, the words it offers (others may be written), and whether it may be left out."""

    name: str
    choices: tuple[str, ...] = ()
    optional: bool = False


def slots(template: str) -> list[Slot]:
    """The template's slots in order; a UserError when a bracket has no partner."""
    if "[" in (rest := _SLOT.sub("", template)) or "]" in rest:
        raise UserError("A bracket of the template has no partner; write each slot as [words].")
    return [_slot(found[1:-1].strip()) for found in _SLOT.findall(template)]


def fill(template: str, values: Sequence[str]) -> str:
    """The caption, with one value for each slot in order.

    Where a value is empty, an optional slot goes and any other stays in its brackets, to be filled in later.
    """
    wanted = slots(template)
    if len(values) != len(wanted):
        raise UserError(
            f"The template has {len(wanted)} slots, and {len(values)} values were given; give one for each."
        )
    remaining = iter(zip(wanted, values, strict=True))

    def word(found: re.Match[str]) -> str:
        slot, value = next(remaining)
        return value.strip() or ("" if slot.optional else found[0])

    caption = _SLOT.sub(word, template)
    return re.sub(r" +([,.;:])", r"\1", re.sub(r" {2,}", " ", caption)).strip()


def open_slots(caption: str) -> list[str]:
    """The slots that were left in a caption, as [words]."""
    return _SLOT.findall(caption)


def _slot(text: str) -> Slot:
    optional = text.endswith("?")
    text = text.removesuffix("?").strip()
    words = [word.strip() for word in text.split("/")]
    choices = tuple(word for word in words if word and word != "etc.") if len(words) > 1 else (text,) * optional
    return Slot(name=text, choices=choices, optional=optional)
