"""Pictures and captions as a step takes them."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from sdstudio.engine.captions import shuffled
from sdstudio.engine.latents import LatentCache, Picture, scale_latents
from sdstudio.engine.pictures import Change, Size, target_size
from sdstudio.engine.streams import Showing, Stream, derived_seed
from sdstudio.engine.text import Texts
from sdstudio.families.loading import PictureSize
from sdstudio.methods.parts import Example
from sdstudio.schema import LoopConfig


@dataclass(frozen=True)
class Batch:
    """One micro-batch: latents (B, C, H, W), text and sizes for the U-Net, loss weights (B,), prior flags (B,)."""

    latents: Tensor
    text: dict[str, Tensor]
    sizes: list[PictureSize]
    weights: Tensor
    prior: Tensor


@dataclass(frozen=True)
class Material:
    """What a run learns from: examples, the picture of each, and how often one pass shows it."""

    examples: list[Example]
    pictures: list[Picture]
    repeats: list[int]

    def only(self, indices: list[int]) -> "Material":
        """These examples alone."""
        everything = (self.examples, self.pictures, self.repeats)
        return Material(*([values[index] for index in indices] for values in everything))  # type: ignore[arg-type]

    def passes(self) -> list[int]:
        """Indices of the examples that one pass shows: those to learn, each as often as it is repeated."""
        return [
            index
            for index, (example, repeats) in enumerate(zip(self.examples, self.repeats, strict=True))
            for _ in range(0 if example.prior else repeats)
        ]


def seed_step(loop: LoopConfig, number: int) -> None:
    """Make all that micro-batch `number` draws depend on the run's seed and the number alone."""
    torch.manual_seed(derived_seed(loop.seed, "step", number))


class TrainingData:
    """Batches that depend on (seed, number) alone, so that a resumed run meets the same ones.

    A batch holds `batch_size` pictures to learn, all of one size, and, where there are prior pictures, half as many of
    those, cut to that size too.
    """

    def __init__(self, material: Material, latents: LatentCache, texts: Texts, side: int, loop: LoopConfig) -> None:
        self._material, self._latents, self._texts, self._loop = material, latents, texts, loop
        own = material.passes()
        prior = [index for index, example in enumerate(material.examples) if example.prior]
        self._sizes = [target_size(picture.size, picture.fit, side) for picture in material.pictures]
        self._own = Stream(own, self._sizes, loop.batch_size, loop.seed, "own")
        square = [(side, side)] * len(self._sizes)
        self._prior = Stream(prior, square, math.ceil(loop.batch_size / 2), loop.seed, "prior") if prior else None

    def encode(self, tell: Callable[[int], None]) -> None:
        """Make the latents of every picture's first showing, so that one that cannot be read is found at once.

        `tell(i)` is called before picture i is made.
        """
        for index, size in enumerate(self._sizes):
            tell(index)
            self._latents.get(*self._pose(Showing(index, 0)), size)

    def batch(self, number: int, device: torch.device) -> Batch:
        """Micro-batch `number` of the run; draws from torch's default CPU generator."""
        own, prior, size = self._showings(number)
        showings, captions = [*own, *prior], self._captions(own) + self._captions(prior)
        encoded = [self._latents.get(*self._pose(showing), size) for showing in showings]
        mean, std = (torch.stack([getattr(item, name) for item in encoded]) for name in ("mean", "std"))
        latents = scale_latents(self._latents.vae, mean + std * torch.randn(mean.shape))
        text = self._texts(captions)
        examples = [self._material.examples[index] for index, _ in showings]
        return Batch(
            latents=latents.to(device),
            text={name: value.to(device) for name, value in text.items()},
            sizes=[item.size for item in encoded],
            weights=torch.tensor([example.weight for example in examples], device=device),
            prior=torch.tensor([example.prior for example in examples], device=device),
        )

    def seen(self, number: int) -> list[tuple[Image.Image, str]]:
        """(picture, caption) of what micro-batch `number` teaches, as `batch` encodes them; prior pictures left out."""
        seed_step(self._loop, number)
        own, _, size = self._showings(number)
        poses = [self._pose(showing) for showing in own]
        pictures = [picture.opened(size, changed)[0] for picture, changed in poses]
        return list(zip(pictures, self._captions(own), strict=True))

    def _pose(self, showing: Showing) -> tuple[Picture, Change]:
        """The picture of a showing, and how it is changed this time."""
        picture = self._material.pictures[showing.example]
        return picture, self._latents.change(picture, self._latents.variant(picture, showing.time))

    def _showings(self, number: int) -> tuple[list[Showing], list[Showing], Size]:
        """Those to learn, those not to forget, and the size of all."""
        own = self._own.batch(number)
        return own, self._prior.batch(number) if self._prior else [], self._sizes[own[0].example]

    def _captions(self, showings: list[Showing]) -> list[str]:
        """What each picture is called this time: shuffled, then dropped at random."""
        captions = [self._material.examples[index].caption for index, _ in showings]
        if self._loop.shuffle_tags:
            captions = [shuffled(caption, self._loop.keep_tags) for caption in captions]
        dropped = (torch.rand(len(captions)) < self._loop.caption_dropout).tolist()
        return ["" if drop else caption for drop, caption in zip(dropped, captions, strict=True)]
