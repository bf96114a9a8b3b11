"""The pictures that jobs left in their folders, as gallery items."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from sdstudio.schema import GeneratedImage, UserError, from_json
from sdstudio.ui.files import job_png_url
from sdstudio.ui.gallery import Item
from sdstudio.workspace import Workspace

IMAGES_FILE = "images.jsonl"


def read_images(folder: Path) -> list[GeneratedImage]:
    """The pictures listed in the folder's images.jsonl that exist; a line still being written is left out."""
    try:
        lines = (folder / IMAGES_FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    images = []
    for line in lines:
        try:
            image = from_json(GeneratedImage, json.loads(line))
        except (json.JSONDecodeError, UserError):
            continue
        if (folder / image.file).is_file():
            images.append(image)
    return images


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


def png_items(workspace: Workspace, files: Sequence[Path], texts: Mapping[str, str]) -> list[Item]:
    """Items for PNGs, with the text that `texts` has for a file's name."""
    return [Item(id=file.name, src=job_png_url(workspace, file), text=texts.get(file.name)) for file in files]


def model_label(image: GeneratedImage) -> str:
    return image.model.label or Path(image.model.checkpoint).name or image.model.base_model
