"""Words for scenes: varied captions to learn from, full ones to test with, and a reader that turns words into facts."""

import random
import re

from sdstudio.starter.styles import COLORS, FUR, HAIR, STYLES
from sdstudio.starter.world import ANIMALS, EXPRESSIONS, MASCOT, PEOPLE, PLACES, PROPS, VEHICLES, Scene, attributes

PLACE_WORDS = {
    "beach": ("on a beach", "at the beach"),
    "forest": ("in a forest", "in the woods"),
    "city": ("in a city", "on a city street"),
    "mountains": ("in the mountains", "in front of mountains"),
    "room": ("in a room", "inside a room"),
    "moon": ("on the moon",),
}
TIME_WORDS = {
    "day": ("during the day", "by day"),
    "sunset": ("at sunset", "at dusk"),
    "night": ("at night", "by night"),
}
OPENINGS = ("", "", "", "a picture of ", "a drawing of ", "an image of ")


def full_caption(scene: Scene) -> str:
    """Every visible fact in one fixed order: what the captioner learns to say."""
    return _caption(scene, random.Random(0), drop=0.0, first=True)


def varied_caption(scene: Scene, rng: random.Random) -> str:
    """One of the many ways to say it, each fact left out now and then: what text encoder and U-Net learn from."""
    return rng.choice(OPENINGS) + _caption(scene, rng, drop=0.1, first=False)


def detailed_caption(scene: Scene, trigger: str) -> str:
    """The style's word first, then every fact, then how the style looks: the first seed's way of captioning."""
    return ", ".join((trigger, full_caption(scene), *STYLES[scene.style].words))


def _caption(scene: Scene, rng: random.Random, *, drop: float, first: bool) -> str:
    def kept() -> bool:
        return rng.random() >= drop

    def pick(words: tuple[str, ...]) -> str:
        return words[0] if first else rng.choice(words)

    words = ["a"]
    if scene.expression and kept():
        words.append(scene.expression)
    if scene.kind in ("animal", "vehicle") and kept():
        words.append(scene.color)
    words.append(scene.who)
    if scene.kind == "person":
        if kept():
            words.append(f"with {scene.hair} hair")
        if kept():
            words.append(f"{pick(('in', 'wearing'))} a {scene.color} shirt")
            if scene.hat and kept():
                words.append(f"and a {scene.hat} hat")
    if scene.prop and kept():
        color = f"{scene.prop_color} " if scene.prop_color and kept() else ""
        words.append(f"{pick(('next to', 'near', 'beside'))} a {color}{scene.prop}")
    if kept():
        words.append(pick(PLACE_WORDS[scene.place]))
    if scene.place != "moon" and kept():
        words.append(pick(TIME_WORDS[scene.time]))
    return " ".join(words)


def read_caption(text: str) -> dict[str, str]:
    """The facts that a caption states, under the names of `world.attributes`; hat and prop are 'none' when unsaid."""
    text = " ".join(re.findall(r"[a-z]+", text.lower()))

    def find(pattern: str) -> str:
        found = re.search(pattern, text)
        return found.group(1) if found else ""

    who = find(rf"\b({'|'.join((*PEOPLE, *ANIMALS, *VEHICLES, MASCOT))})\b")
    facts = {"who": who, "expression": find(rf"\b({'|'.join(EXPRESSIONS)})\b")}
    facts["place"] = next((place for place in PLACES if any(w in text for w in PLACE_WORDS[place])), "")
    facts["time"] = next((time for time, words in TIME_WORDS.items() if any(w in text for w in words)), "")
    if who in PEOPLE:
        facts["color"] = find(rf"\b({'|'.join(COLORS)}) shirt\b")
        facts["hair"] = find(rf"\b({'|'.join(HAIR)}) hair\b")
        facts["hat"] = find(rf"\b({'|'.join(COLORS)}) hat\b") or "none"
    else:
        facts["color"] = find(rf"\b({'|'.join({**FUR, **COLORS})}) {who}\b") if who else ""
    facts["prop"] = find(rf"\b({'|'.join(PROPS)})\b") or "none"
    facts["prop color"] = find(rf"\b({'|'.join(COLORS)}) (?:{'|'.join(PROPS)})\b")
    return facts


def attribute_hits(text: str, scene: Scene) -> dict[str, bool]:
    """For every visible fact of the scene, whether the caption states it."""
    said = read_caption(text)
    return {name: said.get(name) == value for name, value in attributes(scene).items()}
