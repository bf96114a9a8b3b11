"""Latents made once: the VAE's Gaussian over each picture, kept on disk under what it was made from."""

import hashlib
from dataclasses import astuple, dataclass
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from sdstudio.engine.pictures import UNCHANGED, Change, Size, change, fitted, is_random, to_tensor
from sdstudio.engine.remembered import Remembered
from sdstudio.families.loading import PictureSize
from sdstudio.models import sha256_file
from sdstudio.schema import LoopConfig, UserError
from sdstudio.workspace import Workspace, atomic_write

PREPROCESSING = "bicubic 1"


@dataclass(frozen=True)
class Posterior:
    """The VAE's Gaussian over a picture's latents: mean and standard deviation, each (C, H, W), and its sizes."""

    mean: Tensor
    std: Tensor
    size: PictureSize


@dataclass(frozen=True)
class Picture:
    """A file to learn from: `digest` is the sha256 of its bytes, `size` its own."""

    path: Path
    fit: str
    digest: str
    size: Size

    @property
    def seed(self) -> int:
        """A number of its own, which orders and changes its variants."""
        return int(self.digest[:8], 16)

    def open(self) -> Image.Image:
        """The picture upright, in RGB; a UserError naming it when it cannot be read."""
        try:
            with Image.open(self.path) as image:
                return ImageOps.exif_transpose(image).convert("RGB")
        except (OSError, UnidentifiedImageError, SyntaxError) as error:
            raise _unreadable(self.path) from error

    def opened(self, size: Size, changed: Change = UNCHANGED) -> tuple[Image.Image, PictureSize]:
        """The picture fitted to `size`, and what is known of its crop."""
        return fitted(self.open(), self.fit, size, changed)


def look_at(path: Path, fit: str) -> Picture:
    """Size and digest of a picture file; a UserError naming it when it cannot be read."""
    try:
        with Image.open(path) as image:
            lies = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5  # a dataset's pictures are upright already
            size = image.size[::-1] if lies else image.size
        return Picture(path, fit, sha256_file(path), size)
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise _unreadable(path) from error


def _unreadable(path: Path) -> UserError:
    return UserError(f"The picture {path} cannot be read: take it out of the dataset or import it again.")


class LatentCache:
    """Posteriors of pictures, encoded when they are first asked for and then kept in the workspace's cache.

    The key is made of the picture's bytes, the model's weights, the size, the fit and the change, so an edited picture
    or another VAE never meets an old entry. Each picture is encoded by itself: its latents do not depend on what else
    is in its batch, nor on whether they were kept. With pictures that change at random and no number of variants,
    nothing is kept.
    """

    def __init__(self, ws: Workspace, pipeline: DiffusionPipeline, weights: str, loop: LoopConfig) -> None:
        self._folder = ws.cache / "latents"
        self.vae = pipeline.vae
        self._weights = weights
        self._loop = loop
        self._memory = Remembered[Posterior](lambda posterior: 2 * posterior.mean.nbytes)

    def variant(self, picture: Picture, showing: int) -> int:
        """Which variant of the picture its `showing`-th showing takes; pictures begin with different ones."""
        mirrored = 2 if self._loop.flip else 1
        count = self._loop.variants if is_random(self._loop) else mirrored
        return (picture.seed + showing) % count if count else showing

    def change(self, picture: Picture, variant: int) -> Change:
        return change(self._loop, variant, picture.seed)

    def get(self, picture: Picture, changed: Change, size: Size) -> Posterior:
        """The posterior of `picture` at `size`. Raises UserError when it has to be read and cannot be."""
        if is_random(self._loop) and not self._loop.variants and changed != UNCHANGED:
            return self._encode(picture, size, changed)
        made_from = (picture.digest, self._weights, PREPROCESSING, picture.fit, size, astuple(changed))
        key = hashlib.sha256(repr(made_from).encode()).hexdigest()
        return self._memory.get(
            key, lambda: self._from_disk(key) or self._kept(key, self._encode(picture, size, changed))
        )

    def _file(self, key: str) -> Path:
        return self._folder / f"{key}.safetensors"

    def _from_disk(self, key: str) -> Posterior | None:
        try:
            tensors = load_file(self._file(key))
            original, crop, target = tensors["size"].view(3, 2).tolist()
        except (OSError, SafetensorError, KeyError, RuntimeError):
            return None
        return Posterior(tensors["mean"], tensors["std"], PictureSize(tuple(original), tuple(crop), tuple(target)))

    def _kept(self, key: str, posterior: Posterior) -> Posterior:
        size = torch.tensor([*posterior.size.original, *posterior.size.crop, *posterior.size.target])
        atomic_write(self._file(key), save({"mean": posterior.mean, "std": posterior.std, "size": size}))
        return posterior

    @torch.no_grad()
    def _encode(self, picture: Picture, size: Size, changed: Change) -> Posterior:
        image, known = picture.opened(size, changed)
        moments = self.vae.encode(to_tensor(image)[None].to(self.vae.device, self.vae.dtype)).latent_dist
        return Posterior(moments.mean[0].float().cpu(), moments.std[0].float().cpu(), known)


def scale_latents(vae: torch.nn.Module, latents: Tensor) -> Tensor:
    """Latents as the U-Net knows them, by the VAE's own `scaling_factor` and, where it has them, mean and deviation."""
    config = vae.config
    if getattr(config, "latents_mean", None) is None:
        return latents * config.scaling_factor
    mean, std = (
        torch.tensor(value).view(1, -1, 1, 1).to(latents) for value in (config.latents_mean, config.latents_std)
    )
    return (latents - mean) * config.scaling_factor / std
