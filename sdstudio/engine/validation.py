"""The loss on pictures that are not trained on: the same noise and timesteps every time, so that it can be compared."""

import hashlib
from collections import defaultdict
from dataclasses import dataclass

import numpy
import torch
from torch import Tensor

from sdstudio.datasets import similar
from sdstudio.engine.data import Material
from sdstudio.engine.latents import LatentCache, Picture, scale_latents
from sdstudio.engine.loss import NoiseSchedule, errors
from sdstudio.engine.pictures import UNCHANGED, Size, target_size
from sdstudio.engine.streams import derived_seed
from sdstudio.engine.text import Texts
from sdstudio.families.loading import PictureSize
from sdstudio.schema import Family
from sdstudio.training.plan import set_aside

BINS = 4


def split(material: Material, share: float) -> tuple[Material, Material]:
    """(what is trained on, what is set aside): whole groups of near-duplicates, up to `share` of the pictures.

    Prior pictures and negative examples are always trained on. Which groups are set aside depends on the pictures
    alone, so that runs on the same pictures can be compared whatever their seed. A group that is too large is passed
    over; with few pictures nothing is set aside (see `plan.set_aside`).
    """
    own = [index for index, one in enumerate(material.examples) if not (one.prior or one.negative)]
    wanted = set_aside(len(own), share)
    groups: dict[int, list[int]] = defaultdict(list)
    if wanted:
        for index, number in zip(own, _group_numbers([material.pictures[index] for index in own]), strict=True):
            groups[number].append(index)
    aside: set[int] = set()
    for members in sorted(groups.values(), key=lambda members: _order([material.pictures[one] for one in members])):
        if len(aside) + len(members) <= wanted:
            aside.update(members)
    every = range(len(material.examples))
    return material.only([index for index in every if index not in aside]), material.only(sorted(aside))


def _group_numbers(pictures: list[Picture]) -> list[int]:
    """The same number for near-duplicates, and for pictures with the same bytes; another one for every other."""
    prints = [similar.fingerprint(picture.open()) for picture in pictures]
    found = similar.groups(numpy.frombuffer(b"".join(prints), dtype=numpy.uint8).reshape(len(prints), -1))
    return [int(number) if number >= 0 else -1 - place for place, number in enumerate(found)]


def _order(pictures: list[Picture]) -> str:
    """A place in the queue that looks random and depends on the pictures alone."""
    return min(hashlib.sha256(f"validation {picture.digest}".encode()).hexdigest() for picture in pictures)


@dataclass(frozen=True)
class Measurement:
    """Mean squared error of all, and of each quarter of the timesteps, the least noisy first."""

    loss: float
    bins: list[float]


@dataclass(frozen=True)
class _Trial:
    """One picture at one timestep."""

    index: int
    bin: int
    timestep: int


class Validation:
    """Measures a model on held-out pictures: each once in every quarter of the timesteps.

    Within a quarter the timesteps are spread evenly over the pictures. The error is not weighted, whatever the
    training loss is, so that runs with different weightings can be compared.
    """

    def __init__(
        self,
        material: Material,
        latents: LatentCache,
        texts: Texts,
        family: Family,
        schedule: NoiseSchedule,
        side: int,
        batch_size: int,
    ) -> None:
        self._material, self._latents, self._texts = material, latents, texts
        self._family, self._schedule = family, schedule
        sizes = [target_size(picture.size, picture.fit, side) for picture in material.pictures]
        self._batches = _batches(_trials(material.pictures, len(schedule.alphas_cumprod)), sizes, batch_size)

    @torch.no_grad()
    def measure(self, unet: torch.nn.Module) -> Measurement:
        """The error of `unet`, which must be in evaluation mode, as it is now."""
        found: list[tuple[int, Tensor]] = []
        for size, trials in self._batches:
            found += zip((trial.bin for trial in trials), self._errors(unet, size, trials), strict=True)
        bins = [torch.stack([error for place, error in found if place == number]).mean() for number in range(BINS)]
        return Measurement(torch.stack(bins).mean().item(), [value.item() for value in bins])

    def _errors(self, unet: torch.nn.Module, size: Size, trials: list[_Trial]) -> Tensor:
        device = self._schedule.alphas_cumprod.device
        pictures = [self._material.pictures[trial.index] for trial in trials]
        known: list[PictureSize] = []
        latents, noise = [], []
        for picture, trial in zip(pictures, trials, strict=True):
            posterior = self._latents.get(picture, UNCHANGED, size)
            generator = torch.Generator().manual_seed(derived_seed("validation", picture.digest, trial.bin))
            latents.append(posterior.mean)
            noise.append(torch.randn(posterior.mean.shape, generator=generator))
            known.append(posterior.size)
        text = self._texts([self._material.examples[trial.index].caption for trial in trials])
        inputs = self._family.unet_inputs({name: value.to(device) for name, value in text.items()}, known)
        timesteps = torch.tensor([trial.timestep for trial in trials], device=device)
        clean = scale_latents(self._latents.vae, torch.stack(latents)).to(device)
        return errors(unet, inputs, clean, torch.stack(noise).to(device), timesteps, self._schedule)


def _trials(pictures: list[Picture], timesteps: int) -> list[_Trial]:
    trials = []
    for number in range(BINS):
        order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(number)).tolist()
        for index, place in enumerate(order):
            share = (number + (place + 0.5) / len(pictures)) / BINS
            trials.append(_Trial(index, number, int(share * timesteps)))
    return trials


def _batches(trials: list[_Trial], sizes: list[Size], count: int) -> list[tuple[Size, list[_Trial]]]:
    """The trials in batches of one picture size, at most `count` in each."""
    by_size: dict[Size, list[_Trial]] = defaultdict(list)
    for trial in trials:
        by_size[sizes[trial.index]].append(trial)
    return [
        (size, same[start : start + count])
        for size, same in sorted(by_size.items())
        for start in range(0, len(same), count)
    ]
