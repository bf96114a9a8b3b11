"""LPIPS on VGG-16, as papers that train with it report it."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from torch import nn

from sdstudio.features.encoding import default_device
from sdstudio.features.lpips import LpipsEncoder, Network
from sdstudio.features.weights import WeightsFile
from sdstudio.schema import Feature

SIDE = 128
"""Half of AlexNet's: a picture is then 8 MB, at 256 px it would be 32."""
CHANNELS, DEPTHS = (64, 128, 256, 512, 512), (2, 2, 3, 3, 3)
TAPS = (3, 8, 15, 22, 29)
FILE = WeightsFile("lpips-vgg.safetensors", "converting vgg16-397923af.pth and LPIPS' vgg.pth as docs/metrics.md says")


def network() -> Network:
    """VGG-16's convolutions, the last ReLU before each pooling read. Simonyan and Zisserman 2014, arXiv:1409.1556."""
    return Network(list(_layers()), TAPS, CHANNELS)


def _layers() -> Iterator[nn.Module]:
    for place, (width, depth) in enumerate(zip(CHANNELS, DEPTHS, strict=True)):
        if place:
            yield nn.MaxPool2d(2, 2)
        for before, after in pairwise([CHANNELS[place - 1] if place else 3] + [width] * depth):
            yield nn.Conv2d(before, after, 3, 1, 1)
            yield nn.ReLU()


def load(weights: Path, device: str = "") -> LpipsEncoder:
    """The encoder with the file in the folder `weights`; WeightsMissing where it is not there."""
    path, digest = FILE.find(weights)
    return LpipsEncoder("VGG-16", network(), SIDE, path, digest, device or default_device())


RECORD = Feature(
    name="lpips_vgg",
    label="LPIPS (VGG)",
    summary="Layers of VGG-16 with LPIPS' learned weights, for comparing with papers that report these.",
    paper="Zhang et al. 2018, arXiv:1801.03924",
    dimensions=0,
    load=load,
)
