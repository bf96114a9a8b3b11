"""The little drawn world: seeded scenes of people, animals, vehicles and a mascot.

A `Scene` is the exact truth about a picture; `attributes` names what can be seen in it, `drawing.render` draws it.
"""

import random
from dataclasses import dataclass, replace

from sdstudio.starter.styles import COLORS, FUR, HAIR

PEOPLE = ("man", "woman")
ANIMALS = ("dog", "cat", "rabbit")
VEHICLES = ("car", "bus")
MASCOT = "monster"
EXPRESSIONS = ("happy", "sad", "surprised")
PLACES = ("beach", "forest", "city", "mountains", "room", "moon")
TIMES = ("day", "sunset", "night")
PROPS = ("ball", "balloon", "tree", "house")
PROP_COLORS = ("red", "blue", "green", "yellow")
UNSEEN_PAIRS = frozenset({("dog", "moon"), ("cat", "city"), ("car", "forest"), ("rabbit", "room")})
"""Combinations that training never shows, kept to test composition."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What one picture shows. `color` is the fur's, the vehicle's or the shirt's; `seed` fixes every jitter."""

    who: str
    place: str
    time: str
    seed: int
    color: str = ""
    expression: str = ""
    hair: str = ""
    hat: str = ""
    prop: str = ""
    prop_color: str = ""
    side: int = 1
    crossed_eyes: bool = False
    style: str = "world"

    @property
    def kind(self) -> str:
        if self.who in PEOPLE:
            return "person"
        if self.who in ANIMALS:
            return "animal"
        return "vehicle" if self.who in VEHICLES else "mascot"


def random_scene(rng: random.Random, *, who: str = "", style: str = "world", unseen: bool = False) -> Scene:
    """Draw a scene; `unseen` asks for the held-out (who, place) pairs only, otherwise they never come."""
    while True:
        kind = rng.choices((PEOPLE, ANIMALS, VEHICLES), (0.56, 0.29, 0.15))[0]
        subject = who or rng.choice(kind)
        place = rng.choice(PLACES)
        prop = rng.choice(PROPS if place not in ("room", "moon") else PROPS[:2]) if rng.random() < 0.5 else ""
        scene = Scene(
            who=subject,
            place=place,
            time="night" if place == "moon" else rng.choice(TIMES),
            prop=prop,
            prop_color=rng.choice(PROP_COLORS) if prop and prop != "tree" else "",
            side=rng.choice((-1, 1)),
            style=style,
            seed=rng.randrange(1 << 30),
        )
        if ((subject, place) in UNSEEN_PAIRS) == unseen:
            break
    if scene.kind == "person":
        hat = rng.choice(tuple(COLORS)) if rng.random() < 0.25 else ""
        scene = replace(scene, hair=rng.choice(tuple(HAIR)), color=rng.choice(tuple(COLORS)), hat=hat)
    elif scene.kind == "animal":
        scene = replace(scene, color=rng.choice(tuple(FUR)))
    elif scene.kind == "vehicle":
        scene = replace(scene, color=rng.choice(tuple(COLORS)))
    return scene if scene.kind == "vehicle" else replace(scene, expression=rng.choice(EXPRESSIONS))


def attributes(scene: Scene) -> dict[str, str]:
    """The visible facts of a scene by name; an absent hat or prop is 'none'. The moon has no time of day."""
    facts = {"who": scene.who, "place": scene.place}
    if scene.place != "moon":
        facts["time"] = scene.time
    if scene.kind != "mascot":
        facts["color"] = scene.color
    if scene.expression:
        facts["expression"] = scene.expression
    if scene.kind == "person":
        facts["hair"] = scene.hair
        facts["hat"] = scene.hat or "none"
    facts["prop"] = scene.prop or "none"
    if scene.prop_color:
        facts["prop color"] = scene.prop_color
    return facts
