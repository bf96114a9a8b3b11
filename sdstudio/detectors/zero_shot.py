"""A detector that is told in words what to find, by transformers: OWL-ViT, OWLv2, Grounding DINO.

Minderer et al. 2022, arXiv:2205.06230; Liu et al. 2023, arXiv:2303.05499.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from sdstudio.detectors.networks import boxes, load_network
from sdstudio.schema import STRICT, Box, Detector, UserError, option


@dataclass(frozen=True, kw_only=True)
class ZeroShotOptions:
    """A network and the words for what it looks for."""

    __pydantic_config__ = STRICT
    model: str = option("google/owlv2-base-patch16-ensemble", "A folder or a Hub id; its weights must be safetensors.")
    what: str = option("a logo", "What to look for, in words.")
    threshold: float = option(0.2, "What scores less is not found.", low=0.0, high=1.0, step=0.05)


def load(options: ZeroShotOptions, device: str) -> Callable[[Sequence[Path]], Iterator[list[Box]]]:
    """A function that gives the boxes of each picture file; a UserError where nothing is to be looked for."""
    import torch
    import transformers

    if not options.what.strip():
        raise UserError("Say in words what the detector should look for, for example 'a red logo'.")
    network, processor = load_network(
        transformers.AutoModelForZeroShotObjectDetection, options.model, "a zero-shot detector", device
    )
    words = [[options.what]]

    @torch.inference_mode()
    def find(paths: Sequence[Path]) -> Iterator[list[Box]]:
        for path in paths:
            with Image.open(path) as picture:
                rgb = picture.convert("RGB")
            inputs = processor(images=rgb, text=words, return_tensors="pt").to(device)
            [found] = processor.post_process_grounded_object_detection(
                network(**inputs),
                threshold=options.threshold,
                target_sizes=[(rgb.height, rgb.width)],
                text_labels=words,
            )
            yield boxes(found, [options.what] * len(found["scores"]))

    return find


RECORD = Detector(
    name="zero_shot",
    label="Detector by words",
    summary="Finds what you describe, without training: OWLv2, Grounding DINO.",
    paper="Minderer et al. 2022, Simple Open-Vocabulary Object Detection with Vision Transformers, arXiv:2205.06230",
    Options=ZeroShotOptions,
    load=load,
)
