"""Models to ask, how they are asked, and the pictures they give."""

from dataclasses import dataclass, field
from typing import Any

from sdstudio.schema.samplers import SAMPLER_NAMES
from sdstudio.validation import STRICT, option


@dataclass(frozen=True, kw_only=True)
class Extra:
    """A further checkpoint on the same base model, at `weight` times its strength."""

    __pydantic_config__ = STRICT
    checkpoint: str
    weight: float = option(1.0, "How strongly it counts; 0 not at all.", low=-2.0, high=2.0, step=0.05)


@dataclass(frozen=True, kw_only=True)
class ModelRef:
    """A model to ask: a base model, or a base model with checkpoint folders on it.

    `weight` multiplies what `checkpoint` has learned, `extras` are put on after it.
    """

    __pydantic_config__ = STRICT
    base_model: str = "starter"
    checkpoint: str = ""
    label: str = ""
    weight: float = option(1.0, "How strongly its checkpoint counts; 0 not at all.", low=-2.0, high=2.0, step=0.05)
    extras: list[Extra] = field(default_factory=list)

    @property
    def checkpoints(self) -> tuple[Extra, ...]:
        """All that is put on the base model, in order."""
        return (*([Extra(checkpoint=self.checkpoint, weight=self.weight)] if self.checkpoint else []), *self.extras)


@dataclass(frozen=True, kw_only=True)
class SampleSettings:
    """How pictures are drawn from a model."""

    __pydantic_config__ = STRICT
    negative_prompt: str = option("", "What the picture should not show.")
    steps: int = option(20, "Denoising steps.", low=1, high=500)
    guidance_scale: float = option(
        3.0, "Classifier-free guidance; the starter likes 3, Stable Diffusion 7.5.", low=1.0, high=30.0, step=0.5
    )
    seed: int = option(0, "Seed of the first picture; picture i has seed + i. -1 draws one.", low=-1, high=2**31 - 1)
    width: int = option(0, "Of the picture.", low=0, high=2048, step=8, unit="px", zero="the model's own")
    height: int = option(0, "Of the picture.", low=0, high=2048, step=8, unit="px", zero="the model's own")
    scheduler: str = option(
        "default",
        "The sampler; 'default' is the model's own.",
        choices=SAMPLER_NAMES,
        advanced=True,
    )
    clip_skip: int = option(
        0, "Last layers of the text encoder to leave out; models trained so want 1.", low=0, high=11, advanced=True
    )
    guidance: str = option("plain", "How the prompt steers the picture; a guidance plug-in.", advanced=True)
    guidance_options: dict[str, Any] = option({}, "The guidance's own options.", advanced=True)
    batch_size: int = option(8, "Pictures drawn at once.", low=1, high=64, advanced=True)


@dataclass(frozen=True, kw_only=True)
class StartPicture:
    """A picture to begin from instead of pure noise, and the part of it that is drawn anew."""

    __pydantic_config__ = STRICT
    picture: str = option("", "The picture to begin from: a PNG, JPEG or WebP file.")
    mask: str = option(
        "", "A picture that is white where the start is drawn anew and black where it stays; empty draws all anew."
    )
    strength: float = option(0.75, "Near 0 keeps the start, 1 forgets it where it is drawn anew.", low=0.01, high=1.0)
    feather: int = option(4, "Width of the edge where drawn and kept parts blend.", low=0, high=128, unit="px")
    left: int = option(0, "Room to draw, added on the left.", low=0, high=1024, step=8, unit="px", advanced=True)
    right: int = option(0, "Room to draw, added on the right.", low=0, high=1024, step=8, unit="px", advanced=True)
    top: int = option(0, "Room to draw, added above.", low=0, high=1024, step=8, unit="px", advanced=True)
    bottom: int = option(0, "Room to draw, added below.", low=0, high=1024, step=8, unit="px", advanced=True)


@dataclass(frozen=True, kw_only=True)
class GenerateConfig:
    """Pictures for each prompt from each model; the same seeds for every model."""

    __pydantic_config__ = STRICT
    models: list[ModelRef] = field(default_factory=lambda: [ModelRef()])
    prompts: list[str] = option([], "What to draw; one prompt a line.")
    count: int = option(1, "Pictures per prompt.", low=1, high=10_000)
    settings: SampleSettings = field(default_factory=SampleSettings)
    start: StartPicture | None = None


@dataclass(frozen=True, kw_only=True)
class GeneratedImage:
    """One line of `images.jsonl`; the same is inside the PNG. `file` is relative to the job's folder.

    `flags` say what the person did not ask for and got, such as a prompt that was cut.
    """

    file: str
    prompt: str
    negative_prompt: str
    seed: int
    model: ModelRef
    checkpoint_hash: str
    settings: SampleSettings
    width: int
    height: int
    flags: tuple[str, ...] = ()
    start: StartPicture | None = None
