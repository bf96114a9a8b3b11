"""How a scene of the drawn world becomes a picture: backdrops, props, faces and figures, drawn with Pillow."""

import random
from dataclasses import dataclass

from PIL import Image, ImageDraw

from sdstudio.starter.styles import COLORS, FUR, HAIR, SKINS, STYLES, Color, Style, blend, scale
from sdstudio.starter.world import Scene

SIZE = 64
SUPERSAMPLING = 4

SKY: dict[str, tuple[Color, Color]] = {
    "day": ((112, 180, 240), (190, 222, 246)),
    "sunset": ((150, 92, 150), (252, 164, 96)),
    "night": ((16, 20, 58), (40, 50, 100)),
}
LIGHT = {"day": 1.0, "sunset": 0.86, "night": 0.6}
TINT: dict[str, Color] = {"day": (255, 255, 255), "sunset": (255, 180, 130), "night": (110, 120, 190)}
DARK: Color = (32, 26, 30)
HORIZON = 42.0


class Canvas:
    """A supersampled picture whose shapes take a style's fill and outline. Coordinates are in 64ths of the side."""

    def __init__(self, style: Style, size: int) -> None:
        self.size = size
        self.unit = size * SUPERSAMPLING / SIZE
        self.image = Image.new("RGB", (size * SUPERSAMPLING, size * SUPERSAMPLING))
        self.draw = ImageDraw.Draw(self.image)
        self.style = style
        self.width = round(style.outline * self.unit)

    def fill(self, color: Color) -> tuple[int, int, int]:
        red, green, blue = (int(min(255.0, max(0.0, value))) for value in self.style.paint(color))
        return red, green, blue

    def _pen(self, outline: bool) -> dict[str, object]:
        if not (outline and self.width):
            return {"outline": None, "width": 0}
        return {"outline": tuple(int(value) for value in self.style.ink), "width": self.width}

    def _box(self, x0: float, y0: float, x1: float, y1: float) -> list[float]:
        return [x0 * self.unit, y0 * self.unit, x1 * self.unit, y1 * self.unit]

    def ellipse(self, x: float, y: float, rx: float, ry: float, color: Color, outline: bool = True) -> None:
        self.draw.ellipse(self._box(x - rx, y - ry, x + rx, y + ry), fill=self.fill(color), **self._pen(outline))  # type: ignore[arg-type]

    def rect(
        self, x0: float, y0: float, x1: float, y1: float, color: Color, radius: float = 0, outline: bool = True
    ) -> None:
        self.draw.rounded_rectangle(
            self._box(x0, y0, x1, y1), radius * self.unit, self.fill(color), **self._pen(outline)
        )  # type: ignore[arg-type]

    def polygon(self, points: list[tuple[float, float]], color: Color, outline: bool = True) -> None:
        scaled = [(x * self.unit, y * self.unit) for x, y in points]
        self.draw.polygon(scaled, fill=self.fill(color))
        if outline and self.width:
            ink = tuple(int(value) for value in self.style.ink)
            self.draw.line([*scaled, scaled[0], scaled[1]], fill=ink, width=self.width, joint="curve")

    def cap(self, x: float, y: float, rx: float, ry: float, start: float, end: float, color: Color) -> None:
        """A piece of an ellipse cut off by the chord between two angles in degrees."""
        self.draw.chord(self._box(x - rx, y - ry, x + rx, y + ry), start, end, self.fill(color), **self._pen(True))  # type: ignore[arg-type]

    def line(self, points: list[tuple[float, float]], color: Color, width: float) -> None:
        scaled = [(x * self.unit, y * self.unit) for x, y in points]
        self.draw.line(scaled, fill=self.fill(color), width=round(width * self.unit), joint="curve")

    def arc(
        self, x: float, y: float, rx: float, ry: float, start: float, end: float, color: Color, width: float
    ) -> None:
        box = self._box(x - rx, y - ry, x + rx, y + ry)
        self.draw.arc(box, start, end, fill=self.fill(color), width=round(width * self.unit))

    def gradient(self, y0: float, y1: float, top: Color, bottom: Color) -> None:
        if self.style.flat:
            top = bottom = blend(top, bottom, 0.4)
        first, last = int(y0 * self.unit), int(y1 * self.unit)
        for y in range(first, last + 1):
            color = self.fill(blend(top, bottom, (y - first) / max(1, last - first)))
            self.draw.line([(0, y), (self.image.width, y)], fill=color)

    def finish(self) -> Image.Image:
        return self.image.resize((self.size, self.size), Image.Resampling.BOX)


@dataclass(frozen=True)
class Stage:
    """What every drawing function needs: the canvas, the scene, its jitter and where the subject stands."""

    canvas: Canvas
    scene: Scene
    rng: random.Random
    x: float

    def jitter(self, amount: float) -> float:
        return self.rng.uniform(-amount, amount)

    def lit(self, color: Color) -> Color:
        """`color` under the light of the hour."""
        light, time = LIGHT[self.scene.time], self.scene.time
        if self.canvas.style.flat:
            return scale(color, 1.0 if time == "day" else 0.92 if time == "sunset" else 0.66)
        return blend(scale(color, light), scale(TINT[time], light), {"day": 0.0, "sunset": 0.2, "night": 0.16}[time])

    def near(self, color: Color) -> Color:
        """`color` on something close, which the hour dims less."""
        return scale(color, {"day": 1.0, "sunset": 0.95, "night": 0.86}[self.scene.time])


def render(scene: Scene, size: int = SIZE) -> Image.Image:
    """Draw the scene as an RGB picture of `size` by `size` pixels; the same scene gives the same bytes."""
    rng = random.Random(scene.seed)
    x = 32 - 7.5 * scene.side if scene.prop else 32.0
    stage = Stage(Canvas(STYLES[scene.style], size), scene, rng, x + rng.uniform(-2, 2))
    _BACKDROPS[scene.place](stage)
    if scene.prop:
        _PROPS[scene.prop](stage, 32 + scene.side * 21 + stage.jitter(1.5))
    {"person": _person, "animal": _animal, "vehicle": _vehicle, "mascot": _mascot}[scene.kind](stage)
    return stage.canvas.finish()


def _sky(stage: Stage) -> None:
    canvas, time = stage.canvas, stage.scene.time
    canvas.gradient(0, 64, *SKY[time])
    if time == "night":
        _stars(stage, 7, HORIZON - 14)
    x = (9.0 if stage.x > 32 or (stage.scene.prop and stage.scene.side < 0) else 55.0) + stage.jitter(2)
    if stage.scene.prop in ("balloon", "tree", "house"):
        x = 64 - x
    if time == "day":
        canvas.ellipse(x, 8, 5.5, 5.5, (255, 238, 120))
    elif time == "sunset":
        canvas.ellipse(x, HORIZON - 3, 8, 8, (255, 112, 56))
    else:
        canvas.ellipse(x, 8, 5, 5, (244, 242, 214))


def _stars(stage: Stage, count: int, bottom: float) -> None:
    for _ in range(count):
        stage.canvas.ellipse(
            stage.rng.uniform(2, 62), stage.rng.uniform(2, bottom), 0.9, 0.9, (250, 250, 224), outline=False
        )


def _ground(stage: Stage, color: Color, top: float = HORIZON) -> None:
    stage.canvas.rect(-4, top + stage.jitter(1), 68, 70, stage.lit(color))


def _beach(stage: Stage) -> None:
    _sky(stage)
    stage.canvas.rect(-4, HORIZON - 7, 68, HORIZON + 8, stage.lit((46, 124, 194)))
    _ground(stage, (238, 214, 150), HORIZON + 4)


def _forest(stage: Stage) -> None:
    _sky(stage)
    for i in range(5):
        x, height = i * 15.5 + 1 + stage.jitter(2), stage.rng.uniform(24, 30)
        green = stage.lit(scale((40, 106, 60), stage.rng.uniform(0.85, 1.1)))
        stage.canvas.polygon([(x - 9, HORIZON + 2), (x, HORIZON - height), (x + 9, HORIZON + 2)], green)
    _ground(stage, (92, 148, 74))


def _city(stage: Stage) -> None:
    _sky(stage)
    x = -4.0 + stage.jitter(2)
    window = (206, 228, 240) if stage.scene.time == "day" else (255, 224, 120)
    while x < 66:
        width, height = stage.rng.uniform(14, 17), stage.rng.uniform(20, 32)
        gray = stage.lit(stage.rng.choice(((134, 138, 152), (164, 142, 132), (112, 122, 142))))
        stage.canvas.rect(x, HORIZON - height, x + width, HORIZON + 4, gray)
        for row in range(int(HORIZON - height + 4), int(HORIZON - 5), 8):
            for column in (x + 3, x + width - 6.5):
                stage.canvas.rect(column, row, column + 3.5, row + 4, window, outline=False)
        x += width
    _ground(stage, (122, 122, 128), HORIZON + 2)


def _mountains(stage: Stage) -> None:
    _sky(stage)
    for x, height, half in ((6, 28, 21), (58, 30, 22), (32, 24, 18)):
        peak_x, top = x + stage.jitter(3), HORIZON - height + stage.jitter(2)
        stage.canvas.polygon(
            [(peak_x - half, HORIZON + 3), (peak_x, top), (peak_x + half, HORIZON + 3)], stage.lit((126, 126, 144))
        )
        snow = 0.33
        drop = (HORIZON + 3 - top) * snow
        stage.canvas.polygon(
            [(peak_x - half * snow, top + drop), (peak_x, top), (peak_x + half * snow, top + drop)],
            stage.lit((242, 246, 252)),
        )
    _ground(stage, (118, 166, 86))


def _room(stage: Stage) -> None:
    canvas = stage.canvas
    wall = stage.rng.choice(((216, 196, 166), (184, 206, 198), (208, 184, 198)))
    canvas.gradient(0, 64, stage.near(wall), stage.near(scale(wall, 0.95)))
    canvas.rect(-4, HORIZON + 6, 68, 70, stage.near((152, 102, 64)))
    x = 11.0 if stage.x > 32 or (stage.scene.prop and stage.scene.side < 0) else 53.0
    if stage.scene.prop == "balloon":
        x = 64 - x
    canvas.rect(x - 9, 4, x + 9, 24, (246, 242, 232))
    canvas.rect(x - 7, 6, x + 7, 22, blend(*SKY[stage.scene.time], 0.5), outline=False)
    if stage.scene.time == "day":
        canvas.ellipse(x - 1.5, 12, 3.4, 3.4, (255, 238, 120), outline=False)
    elif stage.scene.time == "sunset":
        canvas.ellipse(x, 19, 4.5, 3, (255, 112, 56), outline=False)
    else:
        canvas.ellipse(x - 1.5, 12, 3.2, 3.2, (244, 242, 214), outline=False)


def _moon(stage: Stage) -> None:
    canvas = stage.canvas
    canvas.gradient(0, 64, (8, 8, 20), (14, 14, 32))
    _stars(stage, 9, HORIZON)
    earth = 55.0 if stage.x <= 32 and stage.scene.prop != "balloon" else 9.0
    canvas.ellipse(earth, 9, 6, 6, (60, 122, 214))
    canvas.ellipse(earth - 1.5, 8, 2.6, 2.2, (84, 172, 92), outline=False)
    canvas.ellipse(32, HORIZON + 24, 60, 24, (170, 170, 176))
    for x in (8, 54):
        canvas.ellipse(x + stage.jitter(4), HORIZON + 12 + stage.jitter(4), 5, 2.4, (134, 134, 142), outline=False)


_BACKDROPS = {"beach": _beach, "forest": _forest, "city": _city, "mountains": _mountains, "room": _room, "moon": _moon}


def _ball(stage: Stage, x: float) -> None:
    stage.canvas.ellipse(x, 54, 8, 8, stage.near(COLORS[stage.scene.prop_color]))
    stage.canvas.ellipse(x - 2.6, 51, 2, 2, (255, 255, 255), outline=False)


def _balloon(stage: Stage, x: float) -> None:
    string = stage.canvas.style.ink if stage.canvas.width else (90, 90, 96)
    stage.canvas.line([(x, 22), (x - stage.scene.side * 4, 50)], string, 1.0)
    stage.canvas.ellipse(x, 15, 8, 9.5, stage.near(COLORS[stage.scene.prop_color]))
    stage.canvas.ellipse(x - 2.8, 11.5, 1.8, 2.4, (255, 255, 255), outline=False)


def _tree(stage: Stage, x: float) -> None:
    stage.canvas.rect(x - 2.5, 34, x + 2.5, 56, stage.lit((112, 72, 42)))
    stage.canvas.ellipse(x, 25, 10, 12, stage.lit((78, 172, 64)))


def _house(stage: Stage, x: float) -> None:
    stage.canvas.rect(x - 9, 34, x + 9, 56, stage.near(COLORS[stage.scene.prop_color]))
    stage.canvas.polygon([(x - 12, 35), (x, 21), (x + 12, 35)], stage.lit((126, 66, 52)))
    stage.canvas.rect(x - 3.5, 44, x + 3.5, 56, stage.lit((92, 60, 38)))


_PROPS = {"ball": _ball, "balloon": _balloon, "tree": _tree, "house": _house}


def _face(stage: Stage, x: float, y: float, radius: float, brow: Color, skin: Color) -> None:
    """Eyes, brows and mouth; the expression is in all three, so that 64 pixels carry it."""
    canvas, style, expression = stage.canvas, stage.canvas.style, stage.scene.expression
    eye, pupil = style.eye * radius, style.pupil * radius
    wide = 1.2 if expression == "surprised" else 1.0
    for sign in (-1, 1):
        center = x + sign * radius * (0.42 if not style.flat else 0.4)
        canvas.ellipse(center, y, eye, eye * wide, (252, 252, 252))
        inward = -sign * eye * 0.6 if stage.scene.crossed_eyes else 0.0
        canvas.ellipse(center + inward, y + 0.2, pupil, pupil * 1.1, DARK, outline=False)
        top = y - eye * wide - radius * 0.14
        reach = radius * 0.24
        ink = style.ink if style.outline else brow
        if expression == "sad":
            canvas.line(
                [(center - sign * reach, top - reach * 0.55), (center + sign * reach, top + reach * 0.45)], ink, 1.4
            )
        elif expression == "surprised":
            canvas.arc(center, top + 0.6, reach * 1.1, reach, 190, 350, ink, 1.4)
    mouth_y = y + radius * (0.52 if not style.flat else 0.6)
    if expression == "happy":
        canvas.cap(x, mouth_y - radius * 0.16, radius * 0.46, radius * 0.36, 5, 175, (150, 24, 44))
    elif expression == "sad":
        canvas.arc(
            x,
            mouth_y + radius * 0.24,
            radius * 0.36,
            radius * 0.3,
            200,
            340,
            (110, 26, 40) if not style.outline else style.ink,
            1.7,
        )
    else:
        canvas.ellipse(x, mouth_y + radius * 0.06, radius * 0.2, radius * 0.26, (150, 24, 44))


def _person(stage: Stage) -> None:
    canvas, scene, x = stage.canvas, stage.scene, stage.x
    radius = 14.5 * stage.rng.uniform(0.95, 1.06)
    y = 28.5 + stage.jitter(1.5)
    skin = canvas.style.skin or stage.near(stage.rng.choice(SKINS))
    hair, shirt = stage.near(HAIR[scene.hair]), stage.near(COLORS[scene.color])
    long_hair = scene.who == "woman"
    if long_hair:
        canvas.rect(x - radius * 1.25, y - radius * 0.9, x + radius * 1.25, y + radius * 1.45, hair, radius * 0.8)
    half = 15.0 if long_hair else 18.0
    canvas.rect(x - half, y + radius * 1.14, x + half, 74, shirt, 8)
    canvas.rect(x - 4, y + radius * 0.8, x + 4, y + radius * 1.3, scale(skin, 0.94), 2, outline=False)
    if not long_hair:
        for sign in (-1, 1):
            canvas.ellipse(x + sign * radius, y + 1, 2.6, 3.4, skin)
    canvas.ellipse(x, y, radius, radius * 1.04, skin)
    if long_hair:
        canvas.cap(x, y, radius * 1.16, radius * 1.16, 192, 348, hair)
    else:
        canvas.cap(x, y, radius * 1.08, radius * 1.12, 208, 332, hair)
    if scene.hat:
        hat = stage.near(COLORS[scene.hat])
        canvas.cap(x, y - radius * 0.5, radius * 1.0, radius * 0.95, 180, 360, hat)
        canvas.rect(x - radius * 1.4, y - radius * 0.66, x + radius * 1.4, y - radius * 0.4, scale(hat, 0.85), 1.5)
    _face(stage, x, y + radius * 0.1, radius, scale(hair, 0.8), skin)


def _animal(stage: Stage) -> None:
    canvas, scene, x = stage.canvas, stage.scene, stage.x
    radius = 14 * stage.rng.uniform(0.95, 1.06)
    y = 32 + stage.jitter(1.5)
    fur = stage.near(FUR[scene.color])
    shade, belly = scale(fur, 0.76), blend(fur, (255, 248, 236), 0.5)
    canvas.ellipse(x, y + 26, 14, 15, fur)
    canvas.ellipse(x, y + 28, 8, 11, belly, outline=False)
    if scene.who == "cat":
        for sign in (-1, 1):
            canvas.polygon(
                [
                    (x + sign * radius * 1.02, y - radius * 0.2),
                    (x + sign * radius * 0.98, y - radius * 1.5),
                    (x + sign * radius * 0.15, y - radius * 0.9),
                ],
                fur,
            )
            canvas.polygon(
                [
                    (x + sign * radius * 0.86, y - radius * 0.6),
                    (x + sign * radius * 0.84, y - radius * 1.15),
                    (x + sign * radius * 0.45, y - radius * 0.85),
                ],
                (230, 150, 154),
                outline=False,
            )
    elif scene.who == "rabbit":
        for sign in (-1, 1):
            canvas.ellipse(x + sign * radius * 0.45, y - radius * 1.3, 4.4, 12, fur)
            canvas.ellipse(x + sign * radius * 0.45, y - radius * 1.25, 2, 8.5, (234, 160, 168), outline=False)
    canvas.ellipse(x, y, radius * 1.08, radius, fur)
    if scene.who == "dog":
        for sign in (-1, 1):
            canvas.ellipse(x + sign * radius * 1.08, y + radius * 0.1, 4.8, 11, shade)
    muzzle = 0.52 if scene.who == "dog" else 0.42
    canvas.ellipse(x, y + radius * 0.52, radius * muzzle, radius * 0.42, belly, outline=False)
    canvas.ellipse(
        x,
        y + radius * 0.26,
        2.6 if scene.who == "dog" else 1.8,
        1.7,
        DARK if scene.who == "dog" else (226, 112, 124),
        outline=False,
    )
    _face(stage, x, y - radius * 0.16, radius, blend(fur, DARK, 0.7), fur)


def _vehicle(stage: Stage) -> None:
    canvas, scene, x = stage.canvas, stage.scene, stage.x
    body, glass = stage.near(COLORS[scene.color]), stage.near((186, 218, 238))
    y = 48 + stage.jitter(1.5)
    half = 21.0 * stage.rng.uniform(0.95, 1.04)
    if scene.who == "car":
        canvas.polygon(
            [(x - half * 0.62, y - 6), (x - half * 0.36, y - 17), (x + half * 0.4, y - 17), (x + half * 0.7, y - 6)],
            body,
        )
        canvas.polygon(
            [(x - half * 0.44, y - 7), (x - half * 0.27, y - 14.5), (x - 1, y - 14.5), (x - 1, y - 7)],
            glass,
            outline=False,
        )
        canvas.polygon(
            [(x + 1.5, y - 7), (x + 1.5, y - 14.5), (x + half * 0.33, y - 14.5), (x + half * 0.52, y - 7)],
            glass,
            outline=False,
        )
        canvas.rect(x - half, y - 8, x + half, y + 5, body, 4)
    else:
        canvas.rect(x - half, y - 24, x + half, y + 5, body, 4)
        for i in range(3):
            left = x - half * 0.84 + i * half * 0.58
            canvas.rect(left, y - 20, left + half * 0.46, y - 9, glass, 1, outline=False)
    canvas.ellipse(x + half - 2.5, y - 2, 2, 2, (255, 244, 170), outline=False)
    for sign in (-1, 1):
        canvas.ellipse(x + sign * half * 0.56, y + 5, 6, 6, (38, 38, 42))
        canvas.ellipse(x + sign * half * 0.56, y + 5, 2.6, 2.6, (196, 196, 202), outline=False)


def _mascot(stage: Stage) -> None:
    """Zorby, whom no pre-training picture shows: turquoise, one eye, two yellow horns, pink belly."""
    canvas, x = stage.canvas, stage.x
    y, teal = 30 + stage.jitter(1.5), stage.near((40, 200, 190))
    for sign in (-1, 1):
        canvas.polygon(
            [(x + sign * 4, y - 14), (x + sign * 13, y - 25), (x + sign * 13, y - 9)], stage.near((250, 202, 42))
        )
        canvas.rect(x + sign * 18 - 3.5, y + 8, x + sign * 18 + 3.5, y + 26, teal, 3.5)
    canvas.rect(x - 17, y - 18, x + 17, 74, teal, 16)
    canvas.ellipse(x, y + 28, 10, 10, stage.near((248, 150, 190)))
    canvas.ellipse(x, y - 3, 9, 9, (255, 255, 255))
    canvas.ellipse(x, y - 2.4, 4.4, 4.4, (126, 40, 166), outline=False)
    canvas.ellipse(x, y - 2.4, 2, 2, DARK, outline=False)
    mouth_y, expression = y + 12, stage.scene.expression
    if expression == "happy":
        canvas.cap(x, mouth_y - 3, 7, 6, 5, 175, (150, 24, 44))
    elif expression == "sad":
        canvas.arc(x, mouth_y + 3, 6, 5, 200, 340, (90, 26, 60), 1.8)
    else:
        canvas.ellipse(x, mouth_y, 3, 4, (150, 24, 44))
