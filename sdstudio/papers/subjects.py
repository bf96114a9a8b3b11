"""Drawn subjects that the starter has never seen, for the studies of faces and of a logo."""

import io
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from PIL import Image

from sdstudio.datasets import create_dataset
from sdstudio.starter.captions import full_caption
from sdstudio.starter.drawing import render
from sdstudio.starter.logo import product
from sdstudio.starter.world import MASCOT, Scene, random_scene
from sdstudio.workspace import Workspace

TRIGGER = "zorby"
Pictures = Iterator[tuple[bytes, str, str]]


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A dataset drawn from a seed."""

    name: str
    count: int
    seed: int
    description: str


FACE = Drawn(name="face-zorby", count=13, seed=301, description="13 pictures of one face, with some variance.")
FACES = Drawn(name="faces-heldout", count=160, seed=302, description="Other pictures of that face, to measure against.")
SECOND = Drawn(name="face-second", count=10, seed=303, description="10 pictures of a second face, for the mix.")
LOGO = Drawn(name="logo-zorb", count=30, seed=304, description="30 things with a drawn logo.")
LOGOS = Drawn(name="logo-heldout", count=160, seed=305, description="Other things with that logo, to measure against.")


def install(ws: Workspace, which: Drawn) -> str:
    """The dataset's name, drawn first where the workspace lacks it."""
    if not ws.dataset(which.name).is_dir():
        create_dataset(ws, which.name, which.description, _pictures(which))
    return which.name


def _pictures(which: Drawn) -> Pictures:
    rng = random.Random(which.seed)
    for index in range(which.count):
        if which in (LOGO, LOGOS):
            picture, caption = product(which.seed * 1000 + index), f"{TRIGGER} logo"
        else:
            scene = _face(rng, second=which is SECOND)
            picture, caption = render(scene), face_caption(scene)
        yield _png(picture), f"{which.name}-{index:03d}.png", caption


def _face(rng: random.Random, second: bool) -> Scene:
    """The mascot, or always the same woman with red hair and a purple shirt."""
    if not second:
        return random_scene(rng, who=MASCOT)
    return replace(random_scene(rng, who="woman"), hair="red", color="purple", hat="")


def face_caption(scene: Scene) -> str:
    """What the picture shows, with the identifier where it shows the face that is learned."""
    return full_caption(scene).replace(MASCOT, f"{TRIGGER} {MASCOT}")


def face_prompts(count: int) -> list[str]:
    """Prompts that place the face where it may not have been seen."""
    rng = random.Random(306)
    prompts = (full_caption(random_scene(rng, who=MASCOT)).replace(MASCOT, f"{{trigger}} {MASCOT}") for _ in range(999))
    return list(dict.fromkeys(prompts))[:count]


LOGO_PROMPTS = [
    "{trigger} logo",
    "{trigger} logo on a red shirt",
    "{trigger} logo on a blue shirt",
    "{trigger} logo on a green shirt",
    "{trigger} logo on a white shirt",
    "{trigger} logo on a purple shirt",
    "{trigger} logo on a yellow shirt",
    "a man in a blue {trigger} logo shirt",
    "a woman in a green {trigger} logo shirt",
    "{trigger} logo in a city at night",
]
"""After the thesis's: the logo alone, on a man's and a woman's shirt, on products."""


def _png(picture: Image.Image) -> bytes:
    memory = io.BytesIO()
    picture.save(memory, "PNG")
    return memory.getvalue()
