"""The comparison of "SAM: Simpson's Artistic Memory" (Lin, Mo, Yang and Qu, CUHK-Shenzhen 2023).

Simple fine-tuning, LoRA, DreamBooth and SAM, and SAM without each of its three improvements, on one dataset; FID of
10 prompts, language drift, crossed eyes, time and storage, at the recorded epochs 5, 30, 60, 70 and 80.
"""

import io
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sdstudio.datasets import create_dataset
from sdstudio.papers.settings import SamSettings
from sdstudio.papers.study import Arm, Say, Trained, all_models, compare, last_models, train_all
from sdstudio.results import Evaluation
from sdstudio.schema import LoopConfig, Protocol, SampleSettings, UserError
from sdstudio.starter import examples
from sdstudio.starter.captions import detailed_caption
from sdstudio.starter.drawing import render
from sdstudio.starter.styles import STYLES
from sdstudio.starter.world import PEOPLE, random_scene
from sdstudio.workspace import Workspace

NEGATIVES = "asim-crossed-eyes"
NEGATIVE_COUNT = 10
PROMPTS = 10
"""The paper asks 10 prompts."""
METRICS = ["fid", "fid_per_prompt", "kid", "language_drift", "crossed_eyes", "clip_score"]
CURVE_METRICS = ["fid", "kid", "clip_score"]


def arms(settings: SamSettings, negatives: str) -> list[Arm]:
    """The four methods that the paper compares, then SAM without each improvement.

    Its DreamBooth learned from the identifier alone (`detailed_captions` off). Improvement 1 is LoRA, 2 the unfrozen
    last layers with detailed captions, 3 the negative examples.
    """
    trigger = settings.trigger or examples.STYLE
    subject = {"trigger": trigger, "prior_images": settings.prior_images}
    sam = {**subject, "negative_examples": negatives}
    return [
        Arm(name="simple", label="Simple fine-tuning", method="full"),
        Arm(name="lora", label="LoRA", method="lora"),
        Arm(
            name="dreambooth", label="DreamBooth", method="dreambooth", options={**subject, "detailed_captions": False}
        ),
        Arm(name="sam", label="SAM", method="sam", options=sam),
        Arm(name="sam-1", label="SAM without LoRA", method="sam", options={**sam, "rank": 0}),
        Arm(
            name="sam-2",
            label="SAM without unfrozen layers and detail",
            method="sam",
            options={**sam, "unfreeze": False, "detailed_captions": False},
        ),
        Arm(name="sam-3", label="SAM without negative examples", method="sam", options=subject),
    ]


@dataclass(frozen=True, kw_only=True)
class Study:
    """What `paper sam` did: its runs, the comparison of the finished models (in `folder`) and of recorded `epochs`."""

    runs: list[Trained]
    epochs: list[int]
    finished: Evaluation
    folder: Path
    recorded: Evaluation


def do_study(ws: Workspace, settings: SamSettings, say: Say) -> Study:
    """Train every arm with every seed, then compare the finished models and the recorded epochs.

    What the workspace holds is not done again. `settings` are those of `with_data`.
    """
    epochs = sorted(set(settings.epochs))
    if not epochs or epochs[0] < 1:
        raise UserError("The recorded epochs must be 1 or more: for example --epochs 5 30 60 70 80.")
    loop = LoopConfig(
        epochs=epochs[-1],
        interval_unit="epochs",
        checkpoint_every=0,
        checkpoint_at=epochs,
        sample_every=0,
        validate_every=5,
        batch_size=settings.batch_size,
    )
    compared = arms(settings, settings.negative_examples)
    runs = train_all(ws, compared, settings.base_model, settings.dataset, loop, settings.seeds, say)
    folder, finished = compare(ws, protocol(settings, runs), say)
    _, recorded = compare(ws, curve_protocol(settings, runs), say)
    return Study(runs=runs, epochs=epochs, finished=finished, folder=folder, recorded=recorded)


def protocol(settings: SamSettings, runs: list[Trained]) -> Protocol:
    """What the finished models are compared by."""
    return Protocol(
        name="Paper SAM: finished models",
        models=last_models(runs),
        prompts=settings.prompts,
        drift_prompts=settings.drift_prompts,
        seeds=list(range(1, settings.pictures + 1)),
        reference=settings.reference,
        metrics=METRICS,
        extractor=settings.extractor,
        settings=SampleSettings(steps=settings.steps, guidance_scale=settings.guidance_scale, batch_size=16),
    )


def curve_protocol(settings: SamSettings, runs: list[Trained]) -> Protocol:
    """What the recorded epochs are compared by: fewer pictures of each."""
    return replace(
        protocol(settings, runs),
        name="Paper SAM: recorded epochs",
        models=all_models(runs),
        drift_prompts=[],
        seeds=list(range(1, settings.curve_pictures + 1)),
        metrics=CURVE_METRICS,
    )


# ---------------------------------------------------------------- the drawn data


def with_data(ws: Workspace, settings: SamSettings) -> SamSettings:
    """The settings with the starter's drawn data wherever none is named."""
    examples.install(ws)
    if settings.dataset and not (settings.prompts and settings.reference and settings.trigger):
        raise UserError("With a dataset of your own, name --trigger, --prompts and --reference too.")
    if not settings.negative_examples and not settings.dataset and not ws.dataset(NEGATIVES).is_dir():
        create_dataset(ws, NEGATIVES, "Pictures in the style whose eyes are crossed: what not to draw.", _crossed())
    return replace(
        settings,
        dataset=settings.dataset or "asim-style",
        reference=settings.reference or "asim-style-heldout",
        prompts=settings.prompts or examples.STYLE_PROMPTS[:PROMPTS],
        drift_prompts=settings.drift_prompts or examples.DRIFT_PROMPTS[:PROMPTS],
        negative_examples=settings.negative_examples or ("" if settings.dataset else NEGATIVES),
    )


def _crossed() -> Iterator[tuple[bytes, str, str]]:
    """People in the style with crossed eyes, each under the caption that asked for it."""
    rng = random.Random(106)
    for index in range(NEGATIVE_COUNT):
        scene = replace(random_scene(rng, who=rng.choice(PEOPLE), style=STYLES[examples.STYLE].name), crossed_eyes=True)
        file = io.BytesIO()
        render(scene).save(file, "PNG")
        yield file.getvalue(), f"{NEGATIVES}-{index:02d}.png", detailed_caption(scene, examples.STYLE)
