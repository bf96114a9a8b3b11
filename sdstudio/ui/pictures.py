"""Pictures that were drawn, as gallery items."""

from pathlib import Path

from sdstudio.collection import Picture
from sdstudio.schema import GeneratedImage
from sdstudio.ui.files import small_png_url
from sdstudio.ui.gallery import Item
from sdstudio.workspace import Workspace


def picture_item(workspace: Workspace, picture: Picture) -> Item:
    said = ["★" * picture.marks.rating, "♥" * picture.marks.favourite]
    said += [f"bad: {picture.marks.bad}"] if picture.marks.bad else []
    note = " ".join(part for part in said if part) or f"seed {picture.seed} · {picture.model}"
    file = workspace.root / picture.ref
    return Item(
        id=picture.ref,
        src=small_png_url(workspace, file, (picture.width, picture.height)),
        text=picture.prompt or "no prompt",
        note=f"{'⚠ ' if picture.flagged else ''}{note}",
        done=picture.marks.favourite,
    )


def model_label(image: GeneratedImage) -> str:
    return image.model.label or Path(image.model.checkpoint).name or image.model.base_model
