"""The caption that a picture is learned by. No torch here."""

from sdstudio.methods.parts import begins_with
from sdstudio.schema import LoopConfig, UserError


def as_learned(caption: str, trigger: str, loop: LoopConfig) -> str:
    """The caption by `loop.caption_mode`; empty where there is nothing to learn by.

    Raises UserError when the mode needs a trigger or class word and there is none.
    """
    if loop.caption_mode == "as written":
        return caption
    if loop.caption_mode == "class word":
        words = f"{trigger} {loop.class_word.strip()}".strip()
        if not words:
            raise UserError("Captions of the class word need one: give a class word, a trigger, or both.")
        return words
    if not trigger:
        raise UserError("There is no identifier to put in front of the captions: give the method a trigger.")
    if begins_with(caption, trigger):
        return caption
    return f"{trigger}. {caption}" if caption.strip() else trigger
