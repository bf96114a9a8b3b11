"""What captioners share: the options of wording, the arguments of `generate`, and how a draft is finished."""

from dataclasses import dataclass
from typing import Any

from sdstudio.schema import STRICT, UserError, option

TOP_P = 0.9
"""Nucleus sampling keeps the most likely words that together have this probability, as BLIP's own code does."""


@dataclass(frozen=True, kw_only=True)
class DraftOptions:
    """How a captioner words its drafts. Lengths count tokens (about one a word)."""

    __pydantic_config__ = STRICT
    model: str = option("", "A folder, or a Hub id.")
    sampling: str = option(
        "beam", "Beam search finds the likeliest words, nucleus sampling varied ones.", choices=("beam", "nucleus")
    )
    num_beams: int = option(3, "Candidates that beam search keeps; 1 is greedy.", low=1, high=16)
    min_length: int = option(0, "The least length of a draft.", low=0, high=500, unit="tokens")
    max_length: int = option(64, "The most; never more than the model can hold.", low=2, high=512, unit="tokens")
    repetition_penalty: float = option(
        1.0, "Above 1, words that were said become less likely.", low=1.0, high=5.0, step=0.1
    )
    prefix: str = option("", "Put before every draft, such as the trigger word.")
    suffix: str = option("", "Put after every draft.")
    batch_size: int = option(8, "Pictures captioned at once.", low=1, high=256, advanced=True)


def check_lengths(options: DraftOptions, longest: int) -> None:
    """A UserError when a draft cannot be as long as `min_length` asks; `longest` in tokens."""
    if options.min_length > longest:
        raise UserError(
            f"min_length is {options.min_length}, more than the {longest} tokens that max_length and the model allow; "
            "lower it."
        )


def search_arguments(options: DraftOptions) -> dict[str, Any]:
    """How `generate` of transformers looks for words."""
    how = (
        {"num_beams": options.num_beams, "do_sample": False}
        if options.sampling == "beam"
        else {"num_beams": 1, "do_sample": True, "top_p": TOP_P}
    )
    return {**how, "repetition_penalty": options.repetition_penalty}


def dress(draft: str, prefix: str, suffix: str) -> str:
    """Prefix, draft and suffix with single spaces between; none before a suffix that begins with punctuation."""
    words = " ".join(part for part in (prefix.strip(), draft) if part)
    suffix = suffix.strip()
    joint = "" if not words or suffix.startswith((",", ".", ";", ":", "!", "?")) else " "
    return words + joint + suffix if suffix else words
