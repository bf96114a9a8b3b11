"""The pictures of a comparison: what any comparison has drawn before is taken over, the rest is drawn."""

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from sdstudio.evaluation.protocol import wanted
from sdstudio.jobs.context import JobContext
from sdstudio.pictures.image_folder import RECORDS_FILE, list_image, read_images
from sdstudio.results import PICTURES_FOLDER, Picture, Row
from sdstudio.schema import GeneratedImage, Protocol, SampleSettings, to_json
from sdstudio.words import count
from sdstudio.workspace import Workspace

Asked = tuple[str, int]
"""What a picture was asked for: the text that the model got, and the seed."""
NOT_IN_THE_PIXELS = ("seed", "batch_size")


def draw_rows(rows: Sequence[Row], protocol: Protocol, ctx: JobContext) -> tuple[list[Row], int, float]:
    """The rows with their pictures, as far as the job was not stopped; how many were drawn, and in how many seconds.

    What lies in the job's folder is kept, what another comparison drew from the same weights is copied. A base model is
    loaded once for all the rows that grew from it, as far as their checkpoints can be taken off again.
    """
    from sdstudio.engine.drawing import draw
    from sdstudio.engine.generate import flag_logger
    from sdstudio.engine.pool import ModelPool

    total = sum(len(wanted(row, protocol)) for row in rows)
    log_flags, pool = flag_logger(ctx.log), ModelPool(ctx.workspace)
    done, drawn, seconds = 0, 0, 0.0
    finished: list[Row] = []
    for row in rows:
        pictures, folder = wanted(row, protocol), ctx.folder / PICTURES_FOLDER / row.key
        images = take_over(ctx.workspace, row, protocol, folder)
        missing = [picture for picture in pictures if (picture.text, picture.seed) not in images]
        done += len(pictures) - len(missing)
        for image in images.values():
            log_flags(image)
        if missing:
            ctx.progress(done, total, "pictures", f"loading {row.label}")
            ctx.log(f"Drawing {count(len(missing), 'picture')} with {row.label}")

            def tell(image: GeneratedImage, message: str = f"drawing with {row.label}") -> None:
                nonlocal done, drawn
                done, drawn = done + 1, drawn + 1
                log_flags(image)
                ctx.progress(done, total, "pictures", message)

            began = time.monotonic()
            texts, seeds = [picture.text for picture in missing], [picture.seed for picture in missing]
            with pool.use(row.model) as loaded:
                new = draw(loaded, row.model, texts, seeds, protocol.settings, folder, tell, ctx.should_stop)
            seconds += time.monotonic() - began
            images |= {(image.prompt, image.seed): image for image in new}
        if ctx.should_stop():
            break
        finished.append(_with_pictures(row, pictures, images))
    pool.free()
    return finished, drawn, seconds


def _with_pictures(row: Row, pictures: Sequence[Picture], images: dict[Asked, GeneratedImage]) -> Row:
    made = [images[picture.text, picture.seed] for picture in pictures]
    files = [f"{PICTURES_FOLDER}/{row.key}/{image.file}" for image in made]
    flags = dict.fromkeys(flag for image in made for flag in image.flags)
    placed = [replace(picture, file=file) for picture, file in zip(pictures, files, strict=True)]
    return replace(row, pictures=tuple(placed), flags=tuple(flags))


def find(ws: Workspace, row: Row, protocol: Protocol) -> dict[Asked, tuple[Path, GeneratedImage]]:
    """Of the pictures that the protocol asks of the row, those that some comparison holds: (its folder, the picture).

    A folder of pictures is named by the weights that drew them (see `Row.key`).
    """
    asked = {(picture.text, picture.seed) for picture in wanted(row, protocol)}
    found: dict[Asked, tuple[Path, GeneratedImage]] = {}
    for folder in _folders(ws, row.key):
        for image in _listed(folder, (folder / RECORDS_FILE).stat().st_mtime_ns):
            if (image.prompt, image.seed) in asked and pixels(image.settings) == pixels(protocol.settings):
                found.setdefault((image.prompt, image.seed), (folder, image))
    return found


def _folders(ws: Workspace, key: str) -> Iterator[Path]:
    """The folders of pictures by these weights, the newest comparison's first."""
    listed = ws.evaluations.glob(f"*/{PICTURES_FOLDER}/{key}/{RECORDS_FILE}")
    return (file.parent for file in sorted(listed, reverse=True))


@lru_cache(maxsize=1000)
def _listed(folder: Path, stamp: int) -> list[GeneratedImage]:
    return read_images(folder)


def pixels(settings: SampleSettings) -> dict[str, Any]:
    """The settings that decide what is drawn."""
    return {name: value for name, value in to_json(settings).items() if name not in NOT_IN_THE_PIXELS}


def take_over(ws: Workspace, row: Row, protocol: Protocol, folder: Path) -> dict[Asked, GeneratedImage]:
    """The pictures of the row that there are, copied into `folder` where they are not there yet."""
    found = find(ws, row, protocol)
    there = {image.file for image in read_images(folder)}
    for source, image in found.values():
        if image.file not in there:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / image.file, folder / image.file)
            list_image(folder, image)
    return {asked: replace(image, model=row.model) for asked, (_, image) in found.items()}
