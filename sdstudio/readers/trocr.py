"""TrOCR, or any other network of transformers that writes down one line of text from a picture.

Li et al. 2021, TrOCR: Transformer-based Optical Character Recognition with Pre-trained Models, arXiv:2109.10282.
"""

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from sdstudio.detectors.networks import load_network
from sdstudio.schema import STRICT, Reader, Reading, option


@dataclass(frozen=True, kw_only=True)
class TrocrOptions:
    """Which network reads."""

    __pydantic_config__ = STRICT
    model: str = option("microsoft/trocr-base-printed", "A folder or a Hub id; its weights must be safetensors.")
    longest: int = option(32, "Tokens of a word at most.", low=1, high=256, unit="tokens")


def load(options: TrocrOptions, device: str) -> Callable[[Image.Image], Reading]:
    """A function that reads one line; its confidence is the geometric mean of the tokens' probabilities."""
    import torch
    import transformers

    network, processor = load_network(transformers.VisionEncoderDecoderModel, options.model, "a TrOCR reader", device)

    @torch.inference_mode()
    def read(picture: Image.Image) -> Reading:
        pixels = processor(images=picture, return_tensors="pt")["pixel_values"].to(device)
        written = network.generate(
            pixels, max_new_tokens=options.longest, num_beams=1, do_sample=False,
            return_dict_in_generate=True, output_scores=True,
        )  # fmt: skip
        logs = network.compute_transition_scores(written.sequences, written.scores, normalize_logits=True)
        [text] = processor.batch_decode(written.sequences, skip_special_tokens=True)
        return Reading(text=text.strip(), confidence=float(logs[0].mean().exp()))

    return read


RECORD = Reader(
    name="trocr",
    label="TrOCR",
    summary="A network that reads one printed line, for pictures of some hundred pixels.",
    paper="Li et al. 2021, TrOCR, arXiv:2109.10282",
    Options=TrocrOptions,
    load=load,
)
