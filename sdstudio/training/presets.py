"""Recipes to begin from: those of published projects, as they gave them, and quick ones for the bundled starter.

A recipe of Stable Diffusion's size is not for the starter, whose rates are some hundred times higher, and the other
way round: `starter` says which one it is.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A part of a TrainConfig as JSON; what it does not name keeps its default. `source` is where it comes from."""

    name: str
    label: str
    summary: str
    source: str
    method: str
    method_options: dict[str, Any] = field(default_factory=dict)
    loop: dict[str, Any] = field(default_factory=dict)
    starter: bool = False

    @property
    def config(self) -> dict[str, Any]:
        """What the preset sets of a TrainConfig."""
        return {"method": self.method, "method_options": dict(self.method_options), "loop": dict(self.loop)}


_SAM = "Lin, Mo, Yang and Qu 2023, SAM: Simpson's Artistic Memory (CUHK-Shenzhen)"
_FACES = "Cao, Li, Xu and Wang, Fine-tuning Strategies Based on DreamBooth (Georgetown University)"
_LOGO = "Personalizing Image Generation: Fine-Tuning Diffusion Models (thesis, June 2023)"
_STAGES = "Report: SD Finetuning with EveryDream2"
_STARTER = "measured on the starter, docs/methods.md"

_PUBLISHED = {"batch_size": 1, "lr_scheduler": "constant", "warmup_steps": 0, "min_snr_gamma": 0.0}
_TWO_STAGES = {"lr_scheduler": "constant", "crop_jitter": 0.05, "validation_share": 0.1, "interval_unit": "epochs"}

PRESETS: list[Preset] = [
    Preset(
        name="sam",
        label="SAM: a style from 100 pictures",
        summary="80 epochs with detailed captions behind an identifier; checkpoints at epochs 5, 30, 60, 70 and 80.",
        source=_SAM,
        method="sam",
        method_options={"trigger": "asim", "prior_images": 0},
        loop={
            **_PUBLISHED,
            "epochs": 80,
            "interval_unit": "epochs",
            "checkpoint_every": 0,
            "checkpoint_at": [5, 30, 60, 70, 80],
        },
    ),
    Preset(
        name="faces",
        label="A face by DreamBooth",
        summary="13 varied pictures of head and neck, 500 steps for each at 2e-6, with a class prior.",
        source=_FACES,
        method="dreambooth",
        method_options={
            "learning_rate": 2e-6, "class_word": "person", "detailed_captions": False, "prior_images": 200
        },
        loop={**_PUBLISHED, "steps_per_instance": 500},
    ),
    Preset(
        name="two-stage-1",
        label="Fine-tuning in two stages: the first, 30 epochs",
        summary="All weights at 1e-6, bicubic resize with crop jitter, 10% of the pictures for validation.",
        source=_STAGES,
        method="full",
        method_options={"learning_rate": 1e-6},
        loop={**_TWO_STAGES, "epochs": 30, "checkpoint_every": 1, "keep_last": 3},
    ),
    Preset(
        name="two-stage-2",
        label="Fine-tuning in two stages: the second, 10 epochs",
        summary="Goes on from the first stage's checkpoint, which you name, and stops when validation gets worse.",
        source=_STAGES,
        method="full",
        method_options={"learning_rate": 1e-6},
        loop={**_TWO_STAGES, "epochs": 10, "checkpoint_every": 1, "early_stop": 4},
    ),
    Preset(
        name="logo-dreambooth",
        label="A logo by DreamBooth",
        summary="2e-5 for 21 epochs: the best of the thesis in detail and spelling.",
        source=_LOGO,
        method="dreambooth",
        method_options={"learning_rate": 2e-5, "class_word": "logo"},
        loop={**_PUBLISHED, "epochs": 21},
    ),
    Preset(
        name="logo-lora",
        label="A logo by LoRA",
        summary="Rank 16, U-Net at 5e-6, text encoder at 1e-4: small files, hard to get right.",
        source=_LOGO,
        method="lora",
        method_options={
            "rank": 16, "learning_rate": 5e-6, "text_encoder": True, "text_encoder_learning_rate": 1e-4
        },
        loop={**_PUBLISHED, "epochs": 12},
    ),
    Preset(
        name="logo-textual-inversion",
        label="A logo by textual inversion",
        summary="A new word at 1e-3: the idea of the logo, not its letters.",
        source=_LOGO,
        method="textual_inversion",
        method_options={"learning_rate": 1e-3, "initial_word": "logo"},
        loop={**_PUBLISHED, "epochs": 100},
    ),
    Preset(
        name="starter-style",
        label="Starter: a style in minutes",
        summary="LoRA on the bundled model, for the set asim-style.",
        source=_STARTER,
        method="lora",
        loop={"steps": 600},
        starter=True,
    ),
    Preset(
        name="starter-sam",
        label="Starter: SAM in minutes",
        summary="SAM on the bundled model, for the set asim-style.",
        source=_STARTER,
        method="sam",
        loop={"steps": 400},
        starter=True,
    ),
    Preset(
        name="starter-thing",
        label="Starter: a thing in minutes",
        summary="DreamBooth with LoRA on the bundled model, for the set zorby-mascot.",
        source=_STARTER,
        method="dreambooth_lora",
        loop={"steps": 400},
        starter=True,
    ),
]  # fmt: skip


def preset(name: str) -> Preset:
    """The preset of this name; a KeyError when there is none."""
    return {item.name: item for item in PRESETS}[name]
