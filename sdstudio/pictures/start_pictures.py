"""Pictures that drawing begins from: kept by their content, opened with their mask, and joined to what was drawn."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, ImageChops, ImageFilter, ImageOps

from sdstudio.datasets.intake import RefusedPicture, read_picture
from sdstudio.schema import StartPicture, UserError
from sdstudio.workspace import Workspace, atomic_write, safe_join

FOLDER = "starts"
DRAWN, KEPT = 255, 0


@dataclass(frozen=True)
class OpenStart:
    """A start as it is drawn on: `canvas` is RGB with the added room, `mask` L with 255 where it is drawn anew.

    Without a mask all of it is drawn anew.
    """

    settings: StartPicture
    canvas: Image.Image
    mask: Image.Image | None

    def size(self, own: int, factor: int) -> tuple[int, int]:
        """Width and height that the canvas is drawn at where none is asked for, in multiples of `factor`.

        Its own, unless it is far from the `own` side of the model's pictures: then as many pixels as those.
        """
        width, height = self.canvas.size
        ratio = math.sqrt(own * own / (width * height))
        scale = 1.0 if 2 / 3 <= ratio <= 2 else ratio
        return (
            max(factor, round(width * scale / factor) * factor),
            max(factor, round(height * scale / factor) * factor),
        )

    def resized(self, width: int, height: int) -> "OpenStart":
        """The start at this size; what does not fit its shape is cut off evenly."""
        if self.canvas.size == (width, height):
            return self
        mask = self.mask and ImageOps.fit(self.mask, (width, height), Image.Resampling.NEAREST)
        return replace(self, canvas=ImageOps.fit(self.canvas, (width, height), Image.Resampling.LANCZOS), mask=mask)

    def joined(self, drawn: Image.Image) -> Image.Image:
        """`drawn` where the mask asks for it, the canvas elsewhere; they blend in the kept part beside the mask."""
        if self.mask is None:
            return drawn
        blurred = self.mask.filter(ImageFilter.GaussianBlur(self.settings.feather / 3))
        soft = ImageChops.lighter(self.mask, blurred.point(lambda value: min(DRAWN, 2 * value)))
        return Image.composite(drawn, self.canvas, soft)


def keep(ws: Workspace, data: bytes) -> str:
    """Check a picture and keep it in the workspace; what a StartPicture calls it: 'starts/<sha256>.<ext>'.

    Raises UserError for what is no picture, before anything is written.
    """
    try:
        picture = read_picture(data)
    except RefusedPicture as error:
        raise UserError(f"This picture cannot be begun from. {error}") from error
    name = f"{FOLDER}/{picture.id}.{picture.extension}"
    if not (ws.root / name).is_file():
        atomic_write(ws.root / name, picture.data)
    return name


def check_start(ws: Workspace, start: StartPicture | None) -> StartPicture | None:
    """The start with its files kept in the workspace, so that it means the same later and elsewhere.

    Raises UserError for a missing or unusable file, a mask of another shape, and a mask that leaves nothing to draw.
    """
    if start is None or start == StartPicture():
        return None
    if not start.picture:
        raise UserError("No picture to begin from is given: choose one, or take its mask and settings away.")
    kept = replace(start, picture=_kept(ws, start.picture), mask=_kept(ws, start.mask) if start.mask else "")
    mask = open_start(ws, kept).mask
    if mask is not None and mask.getextrema()[1] == KEPT:
        raise UserError("The mask is black all over, so nothing would be drawn: paint white what should be new.")
    return kept


def _kept(ws: Workspace, file: str) -> str:
    path = Path(file).expanduser()
    try:
        return keep(ws, (path if path.is_absolute() else ws.root / path).read_bytes())
    except OSError as error:
        raise UserError(
            f"The picture {file} cannot be read: {error.strerror}. Give the whole path of a file."
        ) from error


def open_start(ws: Workspace, start: StartPicture) -> OpenStart:
    """The pictures of a checked start. Raises UserError for a mask whose sides are not in the picture's proportion."""
    picture = _open(ws, start.picture).convert("RGB")
    room = (start.left, start.top, start.right, start.bottom)
    painted = _mask(_open(ws, start.mask), picture.size) if start.mask else None
    if not any(room):
        return OpenStart(start, picture, painted)
    size = (picture.width + start.left + start.right, picture.height + start.top + start.bottom)
    mask = Image.new("L", size, DRAWN)
    mask.paste(painted or Image.new("L", picture.size, KEPT), (start.left, start.top))
    return OpenStart(start, _stretched(picture, size, (start.left, start.top)), mask)


def _open(ws: Workspace, name: str) -> Image.Image:
    try:
        with Image.open(safe_join(ws.root / FOLDER, Path(name).name), formats=("PNG", "JPEG", "WEBP")) as picture:
            picture.load()
            return picture
    except OSError as error:
        raise UserError(f"The picture {name} that this was begun from is not there any more.") from error


def _mask(mask: Image.Image, size: tuple[int, int]) -> Image.Image:
    if abs(mask.width / mask.height / (size[0] / size[1]) - 1) > 0.02:
        raise UserError(
            f"The mask is {mask.width} × {mask.height} and the picture {size[0]} × {size[1]}: give one of its shape."
        )
    grey = mask.convert("L").resize(size, Image.Resampling.BILINEAR)
    return grey.point(lambda value: DRAWN if value > 127 else KEPT)


def _stretched(picture: Image.Image, size: tuple[int, int], place: tuple[int, int]) -> Image.Image:
    """The picture on a larger canvas whose rest repeats its edges, which is what the new part begins from."""
    left, top = place
    right, bottom = left + picture.width, top + picture.height
    canvas = Image.new("RGB", size)
    canvas.paste(picture, place)
    for box, target in (
        ((left, top, left + 1, bottom), (0, top, left, bottom)),
        ((right - 1, top, right, bottom), (right, top, size[0], bottom)),
        ((0, top, size[0], top + 1), (0, 0, size[0], top)),
        ((0, bottom - 1, size[0], bottom), (0, bottom, size[0], size[1])),
    ):
        width, height = target[2] - target[0], target[3] - target[1]
        if width and height:
            canvas.paste(canvas.crop(box).resize((width, height)), target[:2])
    return canvas
