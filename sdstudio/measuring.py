"""From the pictures of every row to the cells of the comparison."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from sdstudio.datasets import open_dataset
from sdstudio.jobs.context import JobContext
from sdstudio.metrics.sample import EXPLORATORY, Pictures, Sample
from sdstudio.metrics.statistics import compare
from sdstudio.models import read_checkpoint, resolve_checkpoint
from sdstudio.prompts import plain
from sdstudio.results import FLOOR, Picture, Row
from sdstudio.schema import Metric, MetricResult, Snapshot, UserError, from_json
from sdstudio.words import count
from sdstudio.workspace import Workspace, read_json

if TYPE_CHECKING:
    from sdstudio.features.cache import CachedEncoder


@dataclass(frozen=True)
class Reference:
    """The real pictures, in the order of their ids (the sha256 of each file); none where a protocol has none."""

    ids: tuple[str, ...] = ()
    paths: tuple[Path, ...] = ()
    dataset: str = ""


def read_reference(ws: Workspace, dataset: str) -> Reference:
    """The pictures of `dataset`; a UserError when there are fewer than two. No dataset, no pictures."""
    if not dataset:
        return Reference()
    store = open_dataset(ws, dataset)
    ids = tuple(sorted(image.id for image in store.images()))
    if len(ids) < 2:
        raise UserError(
            f"The reference dataset {dataset!r} has fewer than 2 pictures: add real ones that were not trained on, "
            "more than the encoder has dimensions for an FID that can be ranked."
        )
    return Reference(ids, tuple(store.image_path(id) for id in ids), dataset)


def measure(
    rows: Sequence[Row],
    metrics: Sequence[Metric],
    reference: Reference,
    extractor: str,
    encoder: "CachedEncoder",
    signature: str,
    ctx: JobContext,
) -> list[MetricResult]:
    """All cells, row by row in the order of `rows`, then the floor's; what there is when the job is stopped.

    `extractor` is the protocol's, `signature` its hash, which decides how the reference is halved for the floor.
    """
    total = len(reference.paths) + sum(len(row.pictures) for row in rows) + 1
    ctx.progress(0, total, "pictures", "looking at the reference")
    real = _real(reference, encoder) if reference.paths else None
    done = len(reference.paths)
    samples: dict[str, Sample] = {}
    for row in rows:
        ctx.progress(done, total, "pictures", f"looking at the pictures of {row.label}")
        if ctx.should_stop():
            return []
        samples[row.key] = _sample(row, real, reference, extractor, encoder, ctx)
        done += len(row.pictures)
    found = {key: {metric.name: metric.compute(sample) for metric in metrics} for key, sample in samples.items()}
    results = [_paired(cell, found[row.base][name], row) for row in rows for name, cell in found[row.key].items()]
    if real is None:
        return results
    floor = _floor(real, len(samples[rows[0].key].generated), encoder, signature)
    return results + [metric.compute(floor) for metric in metrics if "reference" in metric.needs]


def _paired(result: MetricResult, base: MetricResult, row: Row) -> MetricResult:
    if row.role == "base":
        return result
    return replace(result, versus_base=compare(result.per_prompt, base.per_prompt))


def _sample(
    row: Row, real: Pictures | None, reference: Reference, extractor: str, encoder: "CachedEncoder", ctx: JobContext
) -> Sample:
    drift = [picture for picture in row.pictures if picture.drift]
    flags = list(row.flags)
    if extractor == "starter" and row.model.base_model != "starter":
        flags.append("the starter's encoder knows only its small drawn world: choose another extractor")
    return Sample(
        model=row.label,
        generated=_generated([picture for picture in row.pictures if not picture.drift], encoder, ctx.folder),
        drift=_generated(drift, encoder, ctx.folder) if drift else None,
        reference=real,
        extractor=encoder.encoder.label,
        preprocessing=encoder.encoder.preprocessing,
        flags=tuple(flags),
        reference_flags=_reference_flags(ctx.workspace, row, reference),
    )


def _reference_flags(ws: Workspace, row: Row, reference: Reference) -> tuple[str, ...]:
    """What is known of the reference pictures having been trained on; nothing is asked of a base model."""
    if row.role == "base":
        return ()
    snapshot = _trained_on(ws, row.model.checkpoint)
    if snapshot is None:
        return ("unknown whether the reference was trained on: the run's snapshot is not here",)
    seen = len({image.id for image in snapshot.images} & set(reference.ids))
    if seen:
        return (f"{EXPLORATORY}: {count(seen, 'reference picture')} {'was' if seen == 1 else 'were'} trained on",)
    return ("the reference is the dataset that it was trained on",) if snapshot.dataset == reference.dataset else ()


def _trained_on(ws: Workspace, checkpoint: str) -> Snapshot | None:
    """The snapshot that the checkpoint's run keeps, or else its dataset's copy; None where neither is here."""
    folder = resolve_checkpoint(ws, checkpoint)
    copies = ws.datasets.glob(f"*/snapshots/{read_checkpoint(folder).snapshot or '-'}.json")
    found = next((file for file in (folder.parents[1] / "snapshot.json", *copies) if file.is_file()), None)
    return from_json(Snapshot, read_json(found)) if found else None


def _generated(pictures: Sequence[Picture], encoder: "CachedEncoder", folder: Path) -> Pictures:
    paths = [folder / picture.file for picture in pictures]
    features = encoder.images(paths)
    words = [plain(picture.text) for picture in pictures]
    texts = list(dict.fromkeys(words))
    embeddings = dict(zip(texts, encoder.texts(texts), strict=True))
    return Pictures(
        pooled=features.pooled,
        image=features.embedding,
        text=np.stack([embeddings[text] for text in words]),
        groups=tuple(picture.prompt for picture in pictures),
        truncated=tuple(encoder.encoder.truncated(texts)),
        source=_source(paths),
    )


def _real(reference: Reference, encoder: "CachedEncoder") -> Pictures:
    features = encoder.images(reference.paths)
    return Pictures(
        pooled=features.pooled,
        image=features.embedding,
        text=features.embedding[:0],
        groups=reference.ids,
        source=_source(reference.paths),
    )


def _source(paths: Sequence[Path]) -> str:
    """Format and size of the files, for instance 'PNG 64×64'; beyond three kinds they are only counted."""
    kinds = set()
    for path in paths:
        with Image.open(path) as picture:
            kinds.add(f"{picture.format} {picture.width}×{picture.height}")
    return ", ".join(sorted(kinds)) if len(kinds) <= 3 else f"{len(kinds)} formats and sizes"


def _floor(real: Pictures, wanted: int, encoder: "CachedEncoder", signature: str) -> Sample:
    """Real against real, what a perfect model would score: two random parts, one of the models' N where it can be."""
    taken = min(wanted, len(real) // 2)
    order = np.random.default_rng(int(signature[:16], 16)).permutation(len(real))
    flags = [f"drawn at {taken} vs {len(real) - taken}: the models have {wanted} vs {len(real)}"]
    return Sample(
        model=FLOOR,
        generated=_part(real, order[:taken]),
        reference=_part(real, order[taken:]),
        extractor=encoder.encoder.label,
        preprocessing=encoder.encoder.preprocessing,
        flags=tuple(flags),
    )


def _part(pictures: Pictures, index: npt.NDArray[np.intp]) -> Pictures:
    return replace(
        pictures,
        pooled=pictures.pooled[index],
        image=pictures.image[index],
        groups=tuple(pictures.groups[place] for place in index),
    )
