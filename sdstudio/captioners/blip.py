"""BLIP drafts one sentence a picture (Li et al. 2022, https://arxiv.org/abs/2201.12086)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from sdstudio.schema import STRICT, Captioner, UserError, option

STARTER = Path(__file__).parents[1] / "starter" / "models" / "blip"
TOP_P = 0.9
"""Nucleus sampling keeps the most likely words that together have this probability, as BLIP's own code does."""


@dataclass(frozen=True, kw_only=True)
class BlipOptions:
    """How BLIP words its drafts. Lengths count tokens (about one a word)."""

    __pydantic_config__ = STRICT
    model: str = option("starter", "'starter', a folder, or a Hub id such as Salesforce/blip-image-captioning-base.")
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


def load(options: BlipOptions, model: str, device: str) -> Callable[[list[Image.Image]], list[str]]:
    """Load `model` onto `device`; the returned function gives one caption per picture.

    Half precision on a GPU, single precision elsewhere. A UserError when there is no such model, when it is not a
    BLIP captioner, or when the lengths contradict each other.
    """
    import torch
    import transformers

    path = str(STARTER) if model == "starter" else str(Path(model).expanduser()) if Path(model).is_dir() else model
    blip: Any = transformers.BlipForConditionalGeneration
    dtype = torch.float16 if device.startswith("cuda") else torch.float32
    try:
        if transformers.BlipConfig.get_config_dict(path)[0].get("model_type") != "blip":
            raise UserError(f"{model!r} is not a BLIP captioning model; choose 'starter', a BLIP folder or a Hub id.")
        network, info = blip.from_pretrained(path, use_safetensors=True, dtype=dtype, output_loading_info=True)
        processor = transformers.BlipImageProcessorPil.from_pretrained(path)
        tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"The BLIP model {model!r} cannot be loaded ({str(error).splitlines()[0]}); give 'starter', a folder or a "
            "Hub id that is in reach."
        ) from error
    if info["missing_keys"] or info["mismatched_keys"]:
        raise UserError(f"{model!r} lacks weights of a BLIP captioning model; choose a BLIP *captioning* model.")
    network.to(device).eval()

    longest = min(options.max_length, network.config.text_config.max_position_embeddings)
    if options.min_length > longest:
        raise UserError(
            f"min_length is {options.min_length}, more than the {longest} tokens that max_length and the model allow; "
            "lower it."
        )
    arguments = generate_arguments(options, longest)

    def caption(pictures: list[Image.Image]) -> list[str]:
        pixels = processor(pictures, return_tensors="pt")["pixel_values"].to(device, dtype)
        tokens = network.generate(pixel_values=pixels, **arguments)
        drafts = tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [dress(draft.strip(), options.prefix, options.suffix) for draft in drafts]

    return caption


def generate_arguments(options: BlipOptions, longest: int) -> dict[str, Any]:
    """The arguments of transformers' `generate` for these options."""
    how = (
        {"num_beams": options.num_beams, "do_sample": False}
        if options.sampling == "beam"
        else {"num_beams": 1, "do_sample": True, "top_p": TOP_P}
    )
    return {
        **how,
        "min_length": options.min_length,
        "max_length": longest,
        "repetition_penalty": options.repetition_penalty,
    }


def dress(draft: str, prefix: str, suffix: str) -> str:
    """Prefix, draft and suffix with single spaces between; none before a suffix that begins with punctuation."""
    words = " ".join(part for part in (prefix.strip(), draft) if part)
    suffix = suffix.strip()
    joint = "" if not words or suffix.startswith((",", ".", ";", ":", "!", "?")) else " "
    return words + joint + suffix if suffix else words


RECORD = Captioner(
    name="blip",
    label="BLIP",
    summary="One sentence that describes the picture, from the bundled model or any BLIP captioner.",
    paper="https://arxiv.org/abs/2201.12086",
    Options=BlipOptions,
    load=load,
)
