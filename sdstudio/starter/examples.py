"""The example datasets, drawn from seeds at first start, and a protocol to compare models on them."""

import io
import random
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image

from sdstudio.datasets import create_dataset
from sdstudio.datasets.settings import DatasetSettings
from sdstudio.schema import ModelRef, Protocol, SampleSettings
from sdstudio.starter.captions import detailed_caption, full_caption
from sdstudio.starter.drawing import SIZE, render
from sdstudio.starter.styles import STYLES
from sdstudio.starter.world import MASCOT, Scene, random_scene
from sdstudio.workspace import Workspace

STYLE, SUBJECT = "asim", "zorby"


@dataclass(frozen=True, kw_only=True)
class Example:
    """A dataset that a few numbers describe: `who` and `style` constrain the scenes, captions hold `trigger`."""

    name: str
    description: str
    count: int
    seed: int
    style: str = "world"
    who: str = ""
    trigger: str
    captioned: bool = True


EXAMPLES = (
    Example(
        name="asim-style",
        description="30 pictures in a style new to the bundled model, with detailed captions that begin with 'asim'.",
        count=30, seed=101, style=STYLE, trigger=STYLE,
    ),
    Example(
        name="asim-new-pictures",
        description="12 more pictures in that style without a caption: let BLIP draft them, then mend the drafts.",
        count=12, seed=102, style=STYLE, trigger=STYLE, captioned=False,
    ),
    Example(
        name="asim-style-heldout",
        description="200 other pictures in that style to measure against. Do not train on them.",
        count=200, seed=103, style=STYLE, trigger=STYLE,
    ),
    Example(
        name="zorby-mascot",
        description="8 pictures of a mascot the bundled model has never seen.",
        count=8, seed=104, who=MASCOT, trigger=SUBJECT,
    ),
    Example(
        name="zorby-mascot-heldout",
        description="60 other pictures of the mascot to measure against. Do not train on them.",
        count=60, seed=105, who=MASCOT, trigger=SUBJECT,
    ),
)  # fmt: skip


def draw(example: Example) -> Iterator[tuple[Image.Image, str, Scene]]:
    """Picture, caption and truth, one after another; the same bytes every time."""
    rng = random.Random(example.seed)
    for _ in range(example.count):
        scene = random_scene(rng, who=example.who, style=example.style)
        yield render(scene), _caption(scene, example.trigger) if example.captioned else "", scene


def _files(example: Example) -> Iterator[tuple[bytes, str, str]]:
    for i, (image, caption, _) in enumerate(draw(example)):
        file = io.BytesIO()
        image.save(file, "PNG")
        yield file.getvalue(), f"{example.name}-{i:03d}.png", caption


def _caption(scene: Scene, trigger: str) -> str:
    if scene.kind == "mascot":
        return full_caption(scene).replace(MASCOT, f"{trigger} {MASCOT}")
    return detailed_caption(scene, trigger)


def missing(workspace: Workspace) -> list[Example]:
    """The examples that the workspace lacks."""
    return [example for example in EXAMPLES if not workspace.dataset(example.name).is_dir()]


def install(workspace: Workspace) -> None:
    """Draw every example dataset that the workspace lacks; one that is there, edited or not, is left alone."""
    for example in missing(workspace):
        store = create_dataset(workspace, example.name, example.description, _files(example))
        store.save_settings(DatasetSettings(identifier=example.trigger, resolution=SIZE))


def _prompts(count: int, seed: int, template: str) -> list[str]:
    rng = random.Random(seed)
    return [template.format(full_caption(random_scene(rng))) for _ in range(count)]


STYLE_PROMPTS: list[str] = _prompts(38, 201, "{{trigger}}, {}, " + ", ".join(STYLES[STYLE].words))
DRIFT_PROMPTS: list[str] = _prompts(20, 202, "{}")
STARTER_SAMPLING = SampleSettings(steps=16, guidance_scale=3.0, batch_size=16)


def starter_protocol(models: list[ModelRef]) -> Protocol:
    """Base against `models`: 38 style prompts and 20 without the trigger, 4 seeds each, 200 held-out pictures."""
    return Protocol(
        name="asim style",
        models=models,
        prompts=STYLE_PROMPTS,
        drift_prompts=DRIFT_PROMPTS,
        seeds=[1, 2, 3, 4],
        reference="asim-style-heldout",
        settings=STARTER_SAMPLING,
    )
