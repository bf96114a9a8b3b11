"""Pictures and captions as the U-Net takes them: latents and text embeddings made once, batches that a step repeats."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy
import torch
from diffusers import DiffusionPipeline
from PIL import Image, UnidentifiedImageError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from sdstudio.engine.pipeline import cut_prompts
from sdstudio.families.loading import PictureSize
from sdstudio.methods.parts import Example
from sdstudio.models import sha256_file
from sdstudio.schema import Family, UserError
from sdstudio.workspace import Workspace, atomic_write

PREPROCESSING = "centre-crop lanczos"


@dataclass(frozen=True)
class Posterior:
    """The VAE's Gaussian over a picture's latents: mean and standard deviation, each (C, H, W), and its sizes."""

    mean: Tensor
    std: Tensor
    size: PictureSize


@dataclass(frozen=True)
class Batch:
    """One micro-batch: latents (B, C, H, W), text and sizes for the U-Net, loss weights (B,), prior flags (B,)."""

    latents: Tensor
    text: dict[str, Tensor]
    sizes: list[PictureSize]
    weights: Tensor
    prior: Tensor


def derived_seed(*parts: object) -> int:
    """A 32-bit seed that depends on every part and on nothing else."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big")


def square(picture: Image.Image, side: int) -> tuple[Image.Image, PictureSize]:
    """The picture's centre as a square of `side` pixels: shorter side resized (Lanczos), the rest cut off."""
    width, height = picture.size
    scale = side / min(width, height)
    resized = picture.convert("RGB").resize(
        (max(side, round(width * scale)), max(side, round(height * scale))), Image.Resampling.LANCZOS
    )
    left, top = (resized.width - side) // 2, (resized.height - side) // 2
    size = PictureSize(original=(height, width), crop=(top, left), target=(side, side))
    return resized.crop((left, top, left + side, top + side)), size


def to_tensor(picture: Image.Image) -> Tensor:
    """RGB picture -> (3, H, W) float32 in −1…1."""
    return torch.from_numpy(numpy.array(picture, dtype=numpy.float32)).permute(2, 0, 1) / 127.5 - 1


def scale_latents(vae: torch.nn.Module, latents: Tensor) -> Tensor:
    """Latents as the U-Net knows them, by the VAE's own `scaling_factor` and, where it has them, mean and deviation."""
    config = vae.config
    if getattr(config, "latents_mean", None) is None:
        return latents * config.scaling_factor
    mean, std = (
        torch.tensor(value).view(1, -1, 1, 1).to(latents) for value in (config.latents_mean, config.latents_std)
    )
    return (latents - mean) * config.scaling_factor / std


@torch.no_grad()
def posteriors(
    ws: Workspace, pipeline: DiffusionPipeline, vae_key: str, examples: list[Example], side: int
) -> list[Posterior]:
    """Encode each example's picture once.

    Kept in the workspace's cache under a key of the picture's bytes, `vae_key` and the preprocessing, so that an edited
    picture or another VAE never meets an old entry. Raises UserError naming a picture that cannot be read.
    """
    return [_posterior(ws, pipeline.vae, vae_key, example, side) for example in examples]


def _posterior(ws: Workspace, vae: torch.nn.Module, vae_key: str, example: Example, side: int) -> Posterior:
    try:
        key = hashlib.sha256(f"{sha256_file(example.path)} {vae_key} {PREPROCESSING} {side}".encode()).hexdigest()
        with Image.open(example.path) as image:
            picture, size = square(image, side)
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise UserError(
            f"The picture {example.path} cannot be read: take it out of the dataset or import it again."
        ) from error
    cached = ws.cache / "latents" / f"{key}.safetensors"
    try:
        tensors = load_file(cached)
    except (OSError, SafetensorError):
        moments = vae.encode(to_tensor(picture)[None].to(vae.device, vae.dtype)).latent_dist
        tensors = {"mean": moments.mean[0].float().cpu(), "std": moments.std[0].float().cpu()}
        atomic_write(cached, save(tensors))
    return Posterior(tensors["mean"], tensors["std"], size)


class TrainingData:
    """Batches that depend on (seed, step) alone, so that a resumed run meets the same ones.

    Own pictures and prior pictures are two endless streams of shuffled passes; a batch holds `batch_size` own ones and,
    where there is a prior, half as many prior ones.
    """

    def __init__(
        self,
        pipeline: DiffusionPipeline,
        family: Family,
        examples: list[Example],
        encoded: list[Posterior],
        *,
        batch_size: int,
        caption_dropout: float,
        seed: int,
        log: Callable[[str], None],
    ) -> None:
        self._vae = pipeline.vae
        self._examples = examples
        self._posteriors = encoded
        self._own = [index for index, example in enumerate(examples) if not example.prior]
        self._prior = [index for index, example in enumerate(examples) if example.prior]
        self._counts = (batch_size, math.ceil(batch_size / 2) if self._prior else 0)
        self._dropout = caption_dropout
        self._seed = seed
        self._text = embed(pipeline, family, ["", *(example.caption for example in examples)], log)

    def batch(self, number: int, device: torch.device) -> Batch:
        """Micro-batch `number` of the run; draws from torch's default CPU generator."""
        chosen = [*self._take("own", number), *self._take("prior", number)]
        examples = [self._examples[index] for index in chosen]
        encoded = [self._posteriors[index] for index in chosen]
        mean, std = (torch.stack([getattr(item, name) for item in encoded]) for name in ("mean", "std"))
        latents = scale_latents(self._vae, mean + std * torch.randn(mean.shape))
        dropped = torch.rand(len(examples)) < self._dropout
        captions = ["" if drop else example.caption for example, drop in zip(examples, dropped.tolist(), strict=True)]
        rows = [self._text[caption] for caption in captions]
        return Batch(
            latents=latents.to(device),
            text={name: torch.stack([row[name] for row in rows]).to(device) for name in rows[0]},
            sizes=[item.size for item in encoded],
            weights=torch.tensor([example.weight for example in examples], device=device),
            prior=torch.tensor([example.prior for example in examples], device=device),
        )

    def _take(self, stream: str, number: int) -> list[int]:
        """Items number·n … number·n + n − 1 of the stream's endless shuffled passes."""
        members, count = (self._own, self._counts[0]) if stream == "own" else (self._prior, self._counts[1])
        places = [divmod(position, len(members)) for position in range(number * count, (number + 1) * count)]
        orders = {epoch: self._order(stream, epoch) for epoch, _ in places}
        return [members[orders[epoch][place]] for epoch, place in places]

    def _order(self, stream: str, epoch: int) -> list[int]:
        generator = torch.Generator().manual_seed(derived_seed(self._seed, stream, epoch))
        size = len(self._own if stream == "own" else self._prior)
        return torch.randperm(size, generator=generator).tolist()


def embed(
    pipeline: DiffusionPipeline, family: Family, captions: list[str], log: Callable[[str], None]
) -> dict[str, dict[str, Tensor]]:
    """Caption -> its text embeddings on the CPU, each caption encoded once; says how many are cut, and where."""
    unique = list(dict.fromkeys(captions))
    cut = cut_prompts(pipeline, unique)
    if cut:
        limit = pipeline.tokenizer.model_max_length
        log(f"Longer than {limit} tokens, and not learned beyond: {len(cut)} captions, such as {cut[0]!r}")
    embedded = {}
    for start in range(0, len(unique), 16):
        part = unique[start : start + 16]
        encoded = {name: value.cpu() for name, value in family.encode_prompts(pipeline, part).items()}
        embedded |= {caption: {name: value[row] for name, value in encoded.items()} for row, caption in enumerate(part)}
    return embedded
