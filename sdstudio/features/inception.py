"""Inception-v3 as FID knows it: the network of 2015-12-05 with 1008 classes, its last average pooling.

Szegedy et al. 2015, arXiv:1512.00567, with the deviations of the published TensorFlow graph that Heusel et al. 2017
measured with: average pooling that leaves padding out of its mean, max pooling in the last block's pool branch, batch
norm ε 0.001, and pixels (x − 128)/128. Pictures come to 299 × 299 by PIL's bicubic filter on floats (Parmar et al.
2022, arXiv:2104.11222). Parameters carry the names of the PyTorch port of those weights.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sdstudio.features.encoding import BATCH, ImageFeatures, default_device, open_rgb, resized
from sdstudio.features.weights import WeightsFile, fill
from sdstudio.schema import Feature

SIDE, DIMENSIONS, CLASSES = 299, 2048, 1008
FILE = WeightsFile(
    "inception-2015-12-05.safetensors",
    "converting pt_inception-2015-12-05-6726825d.pth as docs/metrics.md says",
)
Kernel = int | tuple[int, int]


class Step(NamedTuple):
    """One convolution of a branch; it keeps the size where it does not stride."""

    name: str
    out: int
    kernel: Kernel = 1
    stride: int = 1


Chain = Sequence[Step | list[Step]]
"""Steps one after the other; a list of steps forks, and their outputs are joined."""


class Convolution(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, channels: int, out: int, kernel: Kernel, stride: int = 1, padded: bool = False) -> None:
        super().__init__()
        tall, wide = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        padding = (tall // 2, wide // 2) if padded else 0
        self.conv = nn.Conv2d(channels, out, (tall, wide), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=0.001)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x_BCHW)))


class Mixed(nn.Module):
    """Chains of convolutions beside a pooling (with a 1 × 1 convolution to `pooled` channels), outputs joined."""

    def __init__(self, channels: int, chains: Sequence[Chain], pool: Callable[[Tensor], Tensor], pooled: int) -> None:
        super().__init__()
        self.pool, self.chains, self.out = pool, [], pooled or channels
        for chain in chains:
            links = [link if isinstance(link, list) else [link] for link in chain]
            width = channels
            for link in links:
                for step in link:
                    padded = step.stride == 1
                    self.add_module(step.name, Convolution(width, step.out, step.kernel, step.stride, padded))
                width = link[0].out
            self.chains.append([[step.name for step in link] for link in links])
            self.out += sum(step.out for step in links[-1])
        self.branch_pool = Convolution(channels, pooled, 1) if pooled else nn.Identity()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        joined: list[Tensor] = []
        for links in self.chains:
            ends = [x_BCHW]
            for names in links:
                ends = [self.get_submodule(name)(ends[0]) for name in names]
            joined += ends
        return torch.cat([*joined, self.branch_pool(self.pool(x_BCHW))], 1)


def _average(x_BCHW: Tensor) -> Tensor:
    return functional.avg_pool2d(x_BCHW, 3, 1, 1, count_include_pad=False)


def _max(x_BCHW: Tensor) -> Tensor:
    return functional.max_pool2d(x_BCHW, 3, 1, 1)


def _halve(x_BCHW: Tensor) -> Tensor:
    return functional.max_pool2d(x_BCHW, 3, 2)


def _block_a(channels: int, pooled: int) -> Mixed:
    """35 × 35."""
    chains: list[Chain] = [
        [Step("branch1x1", 64)],
        [Step("branch5x5_1", 48), Step("branch5x5_2", 64, 5)],
        [Step("branch3x3dbl_1", 64), Step("branch3x3dbl_2", 96, 3), Step("branch3x3dbl_3", 96, 3)],
    ]
    return Mixed(channels, chains, _average, pooled)


def _block_b(channels: int) -> Mixed:
    """35 × 35 to 17 × 17."""
    chains: list[Chain] = [
        [Step("branch3x3", 384, 3, 2)],
        [Step("branch3x3dbl_1", 64), Step("branch3x3dbl_2", 96, 3), Step("branch3x3dbl_3", 96, 3, 2)],
    ]
    return Mixed(channels, chains, _halve, 0)


def _block_c(channels: int, inner: int) -> Mixed:
    """17 × 17, its convolutions of 7 × 7 taken apart."""
    wide, tall = (1, 7), (7, 1)
    chains: list[Chain] = [
        [Step("branch1x1", 192)],
        [Step("branch7x7_1", inner), Step("branch7x7_2", inner, wide), Step("branch7x7_3", 192, tall)],
        [
            Step("branch7x7dbl_1", inner),
            Step("branch7x7dbl_2", inner, tall),
            Step("branch7x7dbl_3", inner, wide),
            Step("branch7x7dbl_4", inner, tall),
            Step("branch7x7dbl_5", 192, wide),
        ],
    ]
    return Mixed(channels, chains, _average, 192)


def _block_d(channels: int) -> Mixed:
    """17 × 17 to 8 × 8."""
    chains: list[Chain] = [
        [Step("branch3x3_1", 192), Step("branch3x3_2", 320, 3, 2)],
        [
            Step("branch7x7x3_1", 192),
            Step("branch7x7x3_2", 192, (1, 7)),
            Step("branch7x7x3_3", 192, (7, 1)),
            Step("branch7x7x3_4", 192, 3, 2),
        ],
    ]
    return Mixed(channels, chains, _halve, 0)


def _block_e(channels: int, pool: Callable[[Tensor], Tensor]) -> Mixed:
    """8 × 8, with forks."""
    chains: list[Chain] = [
        [Step("branch1x1", 320)],
        [Step("branch3x3_1", 384), [Step("branch3x3_2a", 384, (1, 3)), Step("branch3x3_2b", 384, (3, 1))]],
        [
            Step("branch3x3dbl_1", 448),
            Step("branch3x3dbl_2", 384, 3),
            [Step("branch3x3dbl_3a", 384, (1, 3)), Step("branch3x3dbl_3b", 384, (3, 1))],
        ],
    ]
    return Mixed(channels, chains, pool, 192)


class Inception(nn.Module):
    """Pixels (B, 3, 299, 299), from 0 to 255, to features (B, 2048)."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Convolution(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = Convolution(32, 32, 3)
        self.Conv2d_2b_3x3 = Convolution(32, 64, 3, padded=True)
        self.Conv2d_3b_1x1 = Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = Convolution(80, 192, 3)
        blocks = {
            "Mixed_5b": _block_a(192, 32),
            "Mixed_5c": _block_a(256, 64),
            "Mixed_5d": _block_a(288, 64),
            "Mixed_6a": _block_b(288),
            "Mixed_6b": _block_c(768, 128),
            "Mixed_6c": _block_c(768, 160),
            "Mixed_6d": _block_c(768, 160),
            "Mixed_6e": _block_c(768, 192),
            "Mixed_7a": _block_d(768),
            "Mixed_7b": _block_e(1280, _average),
            "Mixed_7c": _block_e(2048, _max),
        }
        self.blocks = list(blocks)
        for name, block in blocks.items():
            self.add_module(name, block)
        self.fc = nn.Linear(DIMENSIONS, CLASSES)  # not used; its 1008 rows tell these weights from ImageNet's 1000

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        x_BCHW = self.Conv2d_2a_3x3(self.Conv2d_1a_3x3((pixels_BCHW - 128) / 128))
        x_BCHW = _halve(self.Conv2d_2b_3x3(x_BCHW))
        x_BCHW = _halve(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x_BCHW)))
        for name in self.blocks:
            x_BCHW = self.get_submodule(name)(x_BCHW)
        return torch.mean(x_BCHW, (2, 3))


class InceptionEncoder:
    """The network with its weights, which are read when something is first encoded."""

    preprocessing = f"PIL bicubic on floats to {SIDE}×{SIDE} px, (x − 128)/128"

    def __init__(self, path: Path, digest: str, device: str) -> None:
        self.path, self.fingerprint, self.device = path, digest, device
        self.label = f"Inception-v3 FID ({DIMENSIONS}-d, {digest[:8]})"

    @cached_property
    def _network(self) -> Inception:
        network = Inception()
        fill(network, self.path)
        return network.to(self.device)

    @torch.inference_mode()
    def images(self, paths: Sequence[Path]) -> ImageFeatures:
        """Features of picture files, in batches; a UserError names a file that is not a picture."""
        pooled = [np.zeros((0, DIMENSIONS), np.float32)]
        for start in range(0, len(paths), BATCH):
            pixels = np.stack([resized(open_rgb(path), SIDE) for path in paths[start : start + BATCH]])
            pooled.append(self._network(torch.from_numpy(pixels).to(self.device)).cpu().numpy())
        features = np.concatenate(pooled)
        return ImageFeatures(features, features[:, :0])


def load(weights: Path, device: str = "") -> InceptionEncoder:
    """The encoder with the file in the folder `weights`; WeightsMissing where it is not there."""
    path, digest = FILE.find(weights)
    return InceptionEncoder(path, digest, device or default_device())


RECORD = Feature(
    name="inception",
    label="Inception-v3 (FID)",
    summary="The network that FID and KID are defined on; saw photographs of ImageNet.",
    paper="Szegedy et al. 2015, arXiv:1512.00567; weights of Heusel et al. 2017, arXiv:1706.08500",
    dimensions=DIMENSIONS,
    load=load,
)
