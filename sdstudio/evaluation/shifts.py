"""Where a model's pictures lie beside the base model's and the real ones: crops, clusters, divergences, as a job."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from sdstudio import registry
from sdstudio.evaluation.logos import comparison_folder, cut_out
from sdstudio.jobs.context import JobContext
from sdstudio.metrics.distribution_shift import in_clusters
from sdstudio.metrics.divergence import paired, unpaired
from sdstudio.metrics.sample import Array
from sdstudio.results import Evaluation, Row, read_evaluation
from sdstudio.schema import (
    ClassShift,
    ModelShift,
    Place,
    ShiftConfig,
    ShiftFindings,
    UserError,
    from_json,
    to_json,
)
from sdstudio.words import count
from sdstudio.workspace import Workspace, write_json

if TYPE_CHECKING:
    from sdstudio.features.cache import CachedEncoder

SHIFT_FILE = "shift.json"
WHOLE = "all pictures"
ORIGINAL, BASE, TRAINED = SOURCES = ("original", "base", "trained")
FEWEST = 5
"""Crops that each of the three sets must have of a class before it is clustered."""


@dataclass(frozen=True)
class _Crop:
    """A piece of picture number `picture` of its set: the class it shows, and its file."""

    picture: int
    name: str
    path: Path


@dataclass(frozen=True)
class _Set:
    """Pictures of one source: their files, what each belongs to, and their crops with features (C, D)."""

    files: tuple[str, ...]
    groups: tuple[str, ...]
    crops: tuple[_Crop, ...]
    features: Array


def check_shift(ws: Workspace, config: ShiftConfig) -> Evaluation:
    """The comparison to look at; a UserError where it has no real pictures, no trained model or too few pictures."""
    evaluation = read_evaluation(comparison_folder(ws, config.comparison))
    if not evaluation.reference:
        raise UserError("This comparison has no reference pictures: choose one that was measured against real ones.")
    if not any(row.role == "trained" for row in evaluation.rows):
        raise UserError("This comparison has no trained model: choose one that has.")
    if len(evaluation.reference) < 2 * config.clusters:
        raise UserError(
            f"{count(len(evaluation.reference), 'reference picture')} cannot fill {config.clusters} clusters: take at "
            "most half as many clusters as there are pictures."
        )
    return evaluation


def run_shift(config: ShiftConfig, ctx: JobContext) -> bool:
    """Cut out, encode, cluster and compare; leaves `shift.json` here and, as the last one, with the comparison."""
    from sdstudio.features.cache import CachedEncoder
    from sdstudio.features.clip import load

    evaluation = check_shift(ctx.workspace, config)
    folder = comparison_folder(ctx.workspace, config.comparison)
    encoder = CachedEncoder(load(evaluation.protocol.extractor), ctx.workspace.cache / "features")
    rows = {row.key: row for row in evaluation.rows}
    trained = [row for row in evaluation.rows if row.role == "trained"]
    keys = dict.fromkeys([row.base for row in trained] + [row.key for row in trained])
    sets: dict[str, _Set] = {}
    ctx.progress(0, len(keys) + 1, "models", "looking at the real pictures")
    real = [ctx.workspace.root / path for path in evaluation.reference]
    names = [path.stem for path in real]
    sets[ORIGINAL] = _look(names, names, real, config, encoder, ctx.folder / "crops" / ORIGINAL)
    for done, key in enumerate(keys, start=1):
        ctx.progress(done, len(keys) + 1, "models", f"looking at {rows[key].label}")
        if ctx.should_stop():
            return False
        drawn = [picture for picture in rows[key].pictures if not picture.drift]
        files, prompts = [picture.file for picture in drawn], [picture.prompt for picture in drawn]
        paths = [folder / file for file in files]
        sets[key] = _look(files, prompts, paths, config, encoder, ctx.folder / "crops" / key)
    models = [_model_shift(row, sets[ORIGINAL], sets[row.base], sets[row.key], config) for row in trained]
    findings = ShiftFindings(
        config=config, extractor=encoder.encoder.label, models=models, flags=_flags(sets, trained, evaluation)
    )
    for place in (ctx.folder, folder):
        write_json(place / SHIFT_FILE, to_json(findings))
    ctx.progress(len(keys) + 1, len(keys) + 1, "models", f"compared {count(len(models), 'model')}")
    return True


def _look(
    files: Sequence[str],
    groups: Sequence[str],
    paths: Sequence[Path],
    config: ShiftConfig,
    encoder: "CachedEncoder",
    folder: Path,
) -> _Set:
    crops = _crops(paths, config, folder)
    features: Array = encoder.images([crop.path for crop in crops]).pooled if crops else np.zeros((0, 1))
    return _Set(tuple(files), tuple(groups), tuple(crops), np.asarray(features, np.float64))


def _crops(paths: Sequence[Path], config: ShiftConfig, folder: Path) -> list[_Crop]:
    if not config.detector:
        return [_Crop(number, WHOLE, path) for number, path in enumerate(paths)]
    from sdstudio.features.encoding import default_device

    record = registry.load("sdstudio.detectors")[config.detector]
    find = record.load(from_json(record.Options, config.detector_options), default_device())
    folder.mkdir(parents=True, exist_ok=True)
    crops = []
    for number, (path, boxes) in enumerate(zip(paths, find(paths), strict=True)):
        with Image.open(path) as picture:
            rgb = picture.convert("RGB")
        for place, box in enumerate(boxes):
            file = folder / f"{number:05}-{place:02}.png"
            cut_out(rgb, box).save(file)
            crops.append(_Crop(number, box.label, file))
    return crops


def _model_shift(row: Row, original: _Set, base: _Set, trained: _Set, config: ShiftConfig) -> ModelShift:
    sets = dict(zip(SOURCES, (original, base, trained), strict=True))
    names = sorted({crop.name for one in sets.values() for crop in one.crops})
    common = [name for name in names if all(_number(one, name) >= FEWEST for one in sets.values())]
    if not common:
        raise UserError(
            f"No class is there {FEWEST} times in the real pictures, the base model's and those of {row.label}: choose "
            "another detector, a lower threshold, or whole pictures."
        )
    found = [_class_shift(name, sets, config) for name in common]
    bins = {source: np.concatenate([counts[source] for _, counts in found], axis=1) for source in SOURCES}
    prompts = list(dict.fromkeys(base.groups))
    return ModelShift(
        key=row.key,
        label=row.label,
        base=paired(_by(prompts, base, bins[BASE]), _by(prompts, trained, bins[TRAINED]), config.rounds),
        original=unpaired(bins[ORIGINAL], bins[TRAINED], config.rounds),
        classes=[shift for shift, _ in found],
        left_out=[name for name in names if name not in common],
    )


def _number(one: _Set, name: str) -> int:
    return sum(crop.name == name for crop in one.crops)


def _class_shift(name: str, sets: dict[str, _Set], config: ShiftConfig) -> tuple[ClassShift, dict[str, Array]]:
    """The class, and for each source the counts (pictures, clusters) that its pictures add."""
    chosen = [
        (source, crop, row)
        for source, one in sets.items()
        for crop, row in zip(one.crops, one.features, strict=True)
        if crop.name == name
    ]
    points, ones = in_clusters(np.stack([row for *_, row in chosen]), config.components, config.clusters)
    counts: dict[str, Array] = {source: np.zeros((len(one.files), config.clusters)) for source, one in sets.items()}
    places = []
    for (source, crop, _), point, row in zip(chosen, points, ones, strict=True):
        counts[source][crop.picture] += row
        x, y = float(point[0]), float(point[1]) if len(point) > 1 else 0.0
        file = sets[source].files[crop.picture]
        places.append(Place(source=source, file=file, x=x, y=y, cluster=int(row.argmax())))
    totals = {source: [int(value) for value in table.sum(0)] for source, table in counts.items()}
    return ClassShift(name=name, counts=totals, places=places), counts


def _by(prompts: Sequence[str], one: _Set, counts: Array) -> Array:
    """The counts of each prompt's pictures together: (P, B)."""
    return np.stack([counts[[group == prompt for group in one.groups]].sum(0) for prompt in prompts])


def _flags(sets: dict[str, _Set], trained: Sequence[Row], evaluation: Evaluation) -> list[str]:
    prompts = len(set(sets[trained[0].key].groups))
    pictures = len(sets[trained[0].key].files)
    flags = []
    if prompts < pictures:
        flags.append(
            f"{pictures} pictures of {count(prompts, 'prompt')}: those of one prompt resemble each other, so that "
            "original‖trained looks surer than it is"
        )
    if prompts < 6:
        flags.append(f"with {count(prompts, 'prompt')} base‖trained cannot reach p = 0.05: use 6 or more")
    if evaluation.protocol.extractor == "starter":
        flags.append("seen through the starter's encoder, which knows its drawn world alone")
    return flags
