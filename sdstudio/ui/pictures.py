"""The pictures that jobs left in their folders, as gallery items."""

from collections.abc import Sequence
from pathlib import Path

from sdstudio.schema import GeneratedImage
from sdstudio.ui.files import job_png_url
from sdstudio.ui.gallery import Item
from sdstudio.workspace import Workspace


def image_items(workspace: Workspace, folder: Path, images: Sequence[GeneratedImage]) -> list[Item]:
    return [
        Item(
            id=image.file,
            src=job_png_url(workspace, folder / image.file),
            text=image.prompt,
            note=f"{'⚠ ' if image.flags else ''}seed {image.seed} · {model_label(image)}",
        )
        for image in images
    ]


def model_label(image: GeneratedImage) -> str:
    return image.model.label or Path(image.model.checkpoint).name or image.model.base_model
