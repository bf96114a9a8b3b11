"""A comparison of more pictures than one machine draws and looks at in the time there is, on a Ray cluster.

What takes the time is spread: drawing each model's pictures, and looking at them and at the reference through each
encoder. What is drawn goes into the comparison's folder, what is seen into the workspace's cache of features; the
comparison itself is then the same as on one machine, and finds everything made.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from sdstudio.bulk.generating import ASKED, asked, paint
from sdstudio.bulk.spreading import Row, spread
from sdstudio.evaluation import run_evaluate as compare
from sdstudio.evaluation.drawing import take_over
from sdstudio.evaluation.measuring import WEIGHTS
from sdstudio.evaluation.protocol import check_protocol, metrics_in, wanted
from sdstudio.evaluation.reference import reference_of
from sdstudio.jobs.context import JobContext
from sdstudio.pictures.image_folder import read_images
from sdstudio.results import PICTURES_FOLDER
from sdstudio.results import Row as Compared
from sdstudio.schema import Protocol, UserError
from sdstudio.words import count
from sdstudio.workspace import Workspace

if TYPE_CHECKING:
    from sdstudio.features.choosing import Encoders

SEEN = pa.schema([("id", pa.string()), ("path", pa.string())])
AT_ONCE = 32
"""Pictures that an encoder looks at together."""


class Looker:
    """One process of the cluster: one encoder, which fills the workspace's cache of features.

    What it cannot do (its weights are missing, a picture is broken) is left to the comparison, which says so.
    """

    def __init__(self, workspace: str, extractor: str, name: str) -> None:
        self._encoder = None
        with suppress(UserError):
            self._encoder = _encoders(Workspace(Path(workspace)), extractor).load(name)

    def __call__(self, rows: list[Row]) -> list[Row]:
        if self._encoder:
            with suppress(UserError):
                self._encoder.images([Path(row["path"]) for row in rows])
        return [{"id": row["id"]} for row in rows]


def run_evaluate(config: Protocol, ctx: JobContext) -> bool:
    """As `evaluation.run_evaluate`, with drawing and looking spread over the cluster."""
    rows = check_protocol(ctx.workspace, config)
    missing = pa.concat_tables([ASKED.empty_table(), *_missing(config, rows, ctx)])
    if not paint(ctx, missing, config.settings, "drawn"):
        return False
    folders = [ctx.folder / PICTURES_FOLDER / row.key for row in rows]
    drawn = [folder / image.file for folder in folders for image in read_images(folder)]
    paths = [str(path) for path in (*reference_of(ctx.workspace, config, rows).paths, *drawn)]
    work = pa.table({"id": paths, "path": paths}, schema=SEEN)
    encoders = _encoders(ctx.workspace, config.extractor, config.encoders)
    for name in dict.fromkeys(filter(None, map(encoders.name_for, metrics_in(config)))):
        ctx.log(f"Looking at {count(len(paths), 'picture')} through {name}")
        arguments = {"workspace": str(ctx.workspace.root), "extractor": config.extractor, "name": name}
        if not spread(ctx, work, Looker, arguments, AT_ONCE, lambda rows: None, "pictures", f"seen-{name}"):
            return False
    return compare(config, ctx)


def _missing(protocol: Protocol, rows: Sequence[Compared], ctx: JobContext) -> Iterator[pa.Table]:
    """What no comparison has drawn yet, by model."""
    for row in rows:
        folder = ctx.folder / PICTURES_FOLDER / row.key
        there = take_over(ctx.workspace, row, protocol, folder)
        pictures = [picture for picture in wanted(row, protocol) if (picture.text, picture.seed) not in there]
        texts, seeds = [picture.text for picture in pictures], [picture.seed for picture in pictures]
        yield asked(f"{row.key}-", row.model, texts, seeds, folder)


def _encoders(ws: Workspace, extractor: str, prefer: Sequence[str] = ()) -> "Encoders":
    from sdstudio.features.cache import CachedEncoder
    from sdstudio.features.choosing import Encoders
    from sdstudio.features.clip import load

    encoder = CachedEncoder(load(extractor), ws.cache / "features")
    return Encoders(encoder, extractor == "starter", ws.models / WEIGHTS, prefer=prefer)
