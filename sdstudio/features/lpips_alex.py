"""LPIPS on AlexNet, the backbone that its authors recommend for measuring."""

from pathlib import Path

from torch import nn

from sdstudio.features.encoding import default_device
from sdstudio.features.lpips import LpipsEncoder, Network
from sdstudio.features.weights import WeightsFile
from sdstudio.schema import Feature

SIDE = 256
CHANNELS, TAPS = (64, 192, 384, 256, 256), (1, 4, 7, 9, 11)
FILE = WeightsFile(
    "lpips-alex.safetensors", "converting alexnet-owt-7be5be79.pth and LPIPS' alex.pth as docs/metrics.md says"
)


def network() -> Network:
    """AlexNet's convolutions, the ReLU after each read. Krizhevsky 2014, arXiv:1404.5997."""
    layers = [
        nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, 1, 1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU(),
    ]  # fmt: skip
    return Network(layers, TAPS, CHANNELS)


def load(weights: Path, device: str = "") -> LpipsEncoder:
    """The encoder with the file in the folder `weights`; WeightsMissing where it is not there."""
    path, digest = FILE.find(weights)
    return LpipsEncoder("AlexNet", network(), SIDE, path, digest, device or default_device())


RECORD = Feature(
    name="lpips_alex",
    label="LPIPS (AlexNet)",
    summary="Layers of AlexNet with LPIPS' learned weights: differences as people see them.",
    paper="Zhang et al. 2018, arXiv:1801.03924",
    dimensions=0,
    load=load,
)
