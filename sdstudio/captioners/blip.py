"""BLIP drafts one sentence a picture (Li et al. 2022, https://arxiv.org/abs/2201.12086)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from sdstudio import hub
from sdstudio.captioners.drafting import DraftOptions, check_lengths, dress, search_arguments
from sdstudio.schema import STRICT, Captioner, UserError, option
from sdstudio.words import first_line

STARTER = Path(__file__).parents[1] / "starter" / "models" / "blip"


@dataclass(frozen=True, kw_only=True)
class BlipOptions(DraftOptions):
    """How BLIP words its drafts. Lengths count tokens (about one a word)."""

    __pydantic_config__ = STRICT
    model: str = option("starter", "'starter', a folder, or a Hub id such as Salesforce/blip-image-captioning-base.")


def load(options: BlipOptions, model: str, device: str) -> Callable[[list[Image.Image]], list[str]]:
    """Load `model` onto `device`; the returned function gives one caption per picture.

    Half precision on a GPU, single precision elsewhere. A UserError when there is no such model, when it is not a
    BLIP captioner, or when the lengths contradict each other.
    """
    import torch
    import transformers

    path = str(STARTER if model == "starter" else hub.model_folder(model))
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
            f"The BLIP model {model!r} cannot be loaded ({first_line(error)}); give 'starter', a folder or a Hub id."
        ) from error
    if info["missing_keys"] or info["mismatched_keys"]:
        raise UserError(f"{model!r} lacks weights of a BLIP captioning model; choose a BLIP *captioning* model.")
    network.to(device).eval()

    longest = min(options.max_length, network.config.text_config.max_position_embeddings)
    check_lengths(options, longest)
    arguments = generate_arguments(options, longest)

    def caption(pictures: list[Image.Image]) -> list[str]:
        pixels = processor(pictures, return_tensors="pt")["pixel_values"].to(device, dtype)
        tokens = network.generate(pixel_values=pixels, **arguments)
        drafts = tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [dress(draft.strip(), options.prefix, options.suffix) for draft in drafts]

    return caption


def generate_arguments(options: BlipOptions, longest: int) -> dict[str, Any]:
    """The arguments of transformers' `generate` for these options."""
    return {**search_arguments(options), "min_length": options.min_length, "max_length": longest}


RECORD = Captioner(
    name="blip",
    label="BLIP",
    summary="One sentence that describes the picture, from the bundled model or any BLIP captioner.",
    paper="https://arxiv.org/abs/2201.12086",
    Options=BlipOptions,
    load=load,
)
