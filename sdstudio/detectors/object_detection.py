"""A detector that was trained on its classes, by transformers: DETR, YOLOS, RT-DETR, D-FINE and their kin.

Carion et al. 2020, End-to-End Object Detection with Transformers, arXiv:2005.12872.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from sdstudio.detectors.networks import boxes, load_network
from sdstudio.schema import STRICT, Box, Detector, UserError, option


@dataclass(frozen=True, kw_only=True)
class ObjectDetectionOptions:
    """A network and the one of its classes that is looked for."""

    __pydantic_config__ = STRICT
    model: str = option("hustvl/yolos-tiny", "A folder or a Hub id; its weights must be safetensors.")
    what: str = option("", "The class to look for, as the model names it.", zero="any class")
    threshold: float = option(0.5, "What scores less is not found.", low=0.0, high=1.0, step=0.05)


def load(options: ObjectDetectionOptions, device: str) -> Callable[[Sequence[Path]], Iterator[list[Box]]]:
    """A function that gives the boxes of each picture file; a UserError where the model has no such class."""
    import torch
    import transformers

    network, processor = load_network(
        transformers.AutoModelForObjectDetection, options.model, "an object detector", device
    )
    names: dict[int, str] = network.config.id2label
    if options.what and options.what not in names.values():
        some = ", ".join(list(names.values())[:12])
        raise UserError(f"The detector {options.model!r} knows no class {options.what!r}; it knows {some} …")

    @torch.inference_mode()
    def find(paths: Sequence[Path]) -> Iterator[list[Box]]:
        for path in paths:
            with Image.open(path) as picture:
                rgb = picture.convert("RGB")
            output = network(**processor(images=rgb, return_tensors="pt").to(device))
            [found] = processor.post_process_object_detection(
                output, threshold=options.threshold, target_sizes=[(rgb.height, rgb.width)]
            )
            seen = boxes(found, [names[label] for label in found["labels"].tolist()])
            yield [box for box in seen if box.label == options.what or not options.what]

    return find


RECORD = Detector(
    name="object_detection",
    label="Object detector",
    summary="Finds a class that it was trained on; for a logo, a detector that you have trained on it.",
    paper="Carion et al. 2020, End-to-End Object Detection with Transformers, arXiv:2005.12872",
    Options=ObjectDetectionOptions,
    load=load,
)
