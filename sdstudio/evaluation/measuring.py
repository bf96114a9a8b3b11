"""From the pictures of every row to the cells of the comparison, one encoder after the other."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sdstudio.datasets import open_dataset
from sdstudio.evaluation.views import View, floor_of, has_floor, views
from sdstudio.jobs.context import JobContext
from sdstudio.metrics.sample import EXPLORATORY, Sample
from sdstudio.models import read_checkpoint, resolve_checkpoint
from sdstudio.prompts import plain
from sdstudio.results import FLOOR, Row
from sdstudio.results.judging import paired
from sdstudio.schema import Metric, MetricResult, Snapshot, UserError, from_json
from sdstudio.words import count
from sdstudio.workspace import Workspace, read_json

if TYPE_CHECKING:
    from sdstudio.features.cache import CachedEncoder

WEIGHTS = "features"
"""The folder of the workspace's models that holds the weights of encoders."""


@dataclass(frozen=True)
class Reference:
    """Real pictures, in the order of their ids (the sha256 of each file); none where a protocol has none."""

    ids: tuple[str, ...] = ()
    paths: tuple[Path, ...] = ()
    dataset: str = ""
    captions: tuple[str, ...] = ()


def read_reference(ws: Workspace, dataset: str) -> Reference:
    """The pictures of `dataset`; a UserError when there are fewer than two. No dataset, no pictures."""
    if not dataset:
        return Reference()
    store = open_dataset(ws, dataset)
    captions = {image.id: image.caption for image in store.images()}
    ids = tuple(sorted(captions))
    if len(ids) < 2:
        raise UserError(
            f"The reference dataset {dataset!r} has fewer than 2 pictures: add real ones that were not trained on, "
            "more than the encoder has dimensions for an FID that can be ranked."
        )
    files = store.image_paths()
    return Reference(ids, tuple(files[id] for id in ids), dataset, tuple(captions[id] for id in ids))


def measure(
    rows: Sequence[Row],
    metrics: Sequence[Metric],
    reference: Reference,
    extractor: str,
    encoder: "CachedEncoder",
    signature: str,
    ctx: JobContext,
    prefer: Sequence[str] = (),
) -> list[MetricResult]:
    """All cells, row by row in the order of `rows`, then the floor's; nothing when the job is stopped.

    `extractor` and `prefer` (its encoders) are the protocol's, `signature` is its hash, which decides how the reference
    is halved for the floor. The features of one encoder at a time are in memory; where its weights are missing its
    cells say so.
    """
    from sdstudio.features.choosing import Encoders

    encoders = Encoders(encoder, extractor == "starter", ctx.workspace.models / WEIGHTS, prefer=prefer)
    trained_on = _training(ctx.workspace, rows, metrics)
    found: dict[tuple[str, str], MetricResult] = {}
    for view, group in views(metrics, encoders):
        foreign = [row.key for row in rows if view.name and encoders.is_foreign(view.name, row.model.base_model)]
        samples = _samples(rows, reference, trained_on, view, foreign, ctx)
        if ctx.should_stop():
            return []
        found |= {(key, metric.name): view.cell(metric, sample) for key, sample in samples.items() for metric in group}
        floor = None if view.missing else floor_of(samples[rows[0].key], int(signature[:16], 16))
        if floor:
            found |= {(FLOOR, metric.name): metric.compute(floor) for metric in group if has_floor(metric)}
    results = [
        paired(found[row.key, metric.name], found[row.base, metric.name], row) for row in rows for metric in metrics
    ]
    return results + [found[FLOOR, metric.name] for metric in metrics if (FLOOR, metric.name) in found]


def _samples(
    rows: Sequence[Row],
    reference: Reference,
    trained_on: Mapping[str, Reference],
    view: View,
    foreign: Iterable[str],
    ctx: JobContext,
) -> dict[str, Sample]:
    """Each row's sample by its key, the base models' first; as far as the job was not stopped."""
    total = len(reference.paths) + sum(len(row.pictures) for row in rows)
    ctx.progress(0, total, "pictures", f"looking at the reference{_with(view)}")
    real = view.real(reference.ids, reference.paths) if reference.paths else None
    training = {key: view.real(pictures.ids, pictures.paths) for key, pictures in trained_on.items()}
    done = len(reference.paths)
    samples: dict[str, Sample] = {}
    for row in rows:
        ctx.progress(done, total, "pictures", f"looking at the pictures of {row.label}{_with(view)}")
        if ctx.should_stop():
            break
        drift = [picture for picture in row.pictures if picture.drift]
        warning = "the starter's encoder knows only its small drawn world: choose another extractor"
        samples[row.key] = Sample(
            model=row.label,
            key=row.key,
            folder=ctx.folder,
            generated=view.drawn([picture for picture in row.pictures if not picture.drift], ctx.folder),
            drift=view.drawn(drift, ctx.folder) if drift else None,
            reference=real,
            training=training.get(row.key),
            base=samples[row.base].generated if row.base != row.key else None,
            partners=_partners(row, reference),
            extractor=view.extractor,
            preprocessing=view.preprocessing,
            flags=(*row.flags, warning) if row.key in foreign else row.flags,
            reference_flags=_reference_flags(ctx.workspace, row, reference),
        )
        done += len(row.pictures)
    return samples


def _partners(row: Row, reference: Reference) -> tuple[tuple[int, int], ...]:
    """The pictures whose prompt is a reference picture's caption, each with that picture."""
    places = {caption: place for place, caption in enumerate(reference.captions) if caption}
    drawn = [plain(picture.text) for picture in row.pictures if not picture.drift]
    return tuple((place, places[text]) for place, text in enumerate(drawn) if text in places)


def _with(view: View) -> str:
    return f" with {view.extractor}" if view.extractor else ""


def _training(ws: Workspace, rows: Sequence[Row], metrics: Sequence[Metric]) -> dict[str, Reference]:
    """The pictures that each trained row learned from, where they are still here; nothing where no metric asks.

    A base model, which learned from none of them, is held against those of the first row that grew from it: what it
    scores is what a model scores that cannot have copied.
    """
    if not any("training" in metric.needs for metric in metrics):
        return {}
    found: dict[str, Reference] = {}
    for row in rows:
        snapshot = trained_on(ws, row.model.checkpoint) if row.role == "trained" else None
        if snapshot is None:
            continue
        try:
            store = open_dataset(ws, snapshot.dataset)
            paths = {image.id: store.image_path(image.id) for image in snapshot.images}
        except UserError:
            continue
        here = tuple(sorted(id for id, path in paths.items() if path.is_file()))
        if here:
            found[row.key] = Reference(here, tuple(paths[id] for id in here), snapshot.dataset)
            found.setdefault(row.base, found[row.key])
    return found


def _reference_flags(ws: Workspace, row: Row, reference: Reference) -> tuple[str, ...]:
    """What is known of the reference pictures having been trained on; nothing is asked of a base model."""
    if row.role == "base":
        return ()
    snapshot = trained_on(ws, row.model.checkpoint)
    if snapshot is None:
        return ("unknown whether the reference was trained on: the run's snapshot is not here",)
    seen = len({image.id for image in snapshot.images} & set(reference.ids))
    if seen:
        return (f"{EXPLORATORY}: {count(seen, 'reference picture')} {'was' if seen == 1 else 'were'} trained on",)
    return ("the reference is the dataset that it was trained on",) if snapshot.dataset == reference.dataset else ()


def trained_on(ws: Workspace, checkpoint: str) -> Snapshot | None:
    """The snapshot that the checkpoint's run keeps, or else its dataset's copy; None where neither is here."""
    folder = resolve_checkpoint(ws, checkpoint)
    copies = ws.datasets.glob(f"*/snapshots/{read_checkpoint(folder).snapshot or '-'}.json")
    found = next((file for file in (folder.parents[1] / "snapshot.json", *copies) if file.is_file()), None)
    return from_json(Snapshot, read_json(found)) if found else None
