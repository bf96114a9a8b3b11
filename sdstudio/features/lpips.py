"""LPIPS as distances between vectors: what its two backbones share.

Zhang et al. 2018, arXiv:1801.03924, version 0.1: activations of some layers, each scaled to unit length along its
channels, are compared by squared differences, weighted per channel, averaged over places and added over layers. The
weights are not negative, so the distance of two pictures is ‖φ(x) − φ(y)‖² of one vector each, and no pair of pictures
has to pass the network together.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sdstudio.features.encoding import ImageFeatures, open_rgb, resized
from sdstudio.features.weights import fill
from sdstudio.schema import UserError

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
BATCH = 8


class Head(nn.Module):
    """The learned weight of each channel of one layer, under the published names."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Dropout(), nn.Conv2d(channels, 1, 1, bias=False))


class Network(nn.Module):
    """Pixels (B, 3, H, W) from 0 to 255 to φ (B, D); `taps` are the places in `layers` that are read."""

    def __init__(self, layers: Sequence[nn.Module], taps: Sequence[int], channels: Sequence[int]) -> None:
        super().__init__()
        self.features, self.taps = nn.Sequential(*layers), tuple(taps)
        for place, width in enumerate(channels):
            self.add_module(f"lin{place}", Head(width))
        mean = torch.tensor([SHIFT, SCALE])[:, :, None, None]
        self.register_buffer("shift_and_scale", mean, persistent=False)

    def heads(self) -> list[Tensor]:
        """The weights of each layer's channels."""
        return [self.get_parameter(f"lin{place}.model.1.weight").flatten() for place in range(len(self.taps))]

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        shift, scale = self.get_buffer("shift_and_scale")
        x_BCHW = (pixels_BCHW / 127.5 - 1 - shift) / scale
        weights, parts = iter(self.heads()), []
        for place, layer in enumerate(self.features):
            x_BCHW = layer(x_BCHW)
            if place in self.taps:
                parts.append(weighted_unit(x_BCHW, next(weights)))
        return torch.cat(parts, 1)


def weighted_unit(x_BCHW: Tensor, weights: Tensor) -> Tensor:
    """One layer's part of φ: unit length along channels, times √(weight / places), flat: (B, C · H · W)."""
    unit = x_BCHW / (torch.linalg.vector_norm(x_BCHW, dim=1, keepdim=True) + 1e-10)
    places = x_BCHW.shape[2] * x_BCHW.shape[3]
    return torch.flatten(unit * (weights / places).sqrt()[:, None, None], 1)


class LpipsEncoder:
    """A backbone with its weights, which are read when something is first encoded."""

    def __init__(self, name: str, network: Network, side: int, path: Path, digest: str, device: str) -> None:
        self.label = f"LPIPS {name} v0.1 ({digest[:8]})"
        self.preprocessing = f"PIL bicubic on floats to {side}×{side} px"
        self.fingerprint, self.side, self.path, self.device = digest, side, path, device
        self._empty = network

    @cached_property
    def network(self) -> Network:
        fill(self._empty, self.path, ignore=("classifier.",))
        if any((weights < 0).any() for weights in self._empty.heads()):
            raise UserError(f"{self.path} holds negative weights, which LPIPS does not have: get it anew.")
        return self._empty.to(self.device)

    @torch.inference_mode()
    def images(self, paths: Sequence[Path]) -> ImageFeatures:
        """φ of picture files, in batches; a UserError names a file that is not a picture."""
        pooled = []
        for start in range(0, len(paths), BATCH):
            pixels = np.stack([resized(open_rgb(path), self.side) for path in paths[start : start + BATCH]])
            pooled.append(self.network(torch.from_numpy(pixels).to(self.device)).cpu().numpy())
        features = np.concatenate(pooled)
        return ImageFeatures(features, features[:, :0])
