"""Two plain folders of pictures from anywhere, one held against the other: metrics without a model or a protocol."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from sdstudio import registry
from sdstudio.datasets.places import PICTURE_SUFFIXES
from sdstudio.evaluation.measuring import WEIGHTS
from sdstudio.evaluation.views import View, floor_of, has_floor, views
from sdstudio.metrics.sample import Pictures, Sample
from sdstudio.models import sha256_file
from sdstudio.results import FLOOR
from sdstudio.schema import Metric, MetricResult, UserError
from sdstudio.words import count
from sdstudio.workspace import Workspace

OFFERED = {"prompts", "reference", "partners", "pictures"}
"""What two folders can give to a metric."""


def measure_folders(
    ws: Workspace,
    images: Path,
    reference: Path | None,
    metrics: Sequence[str],
    extractor: str = "",
    prefer: Sequence[str] = (),
    tell: Callable[[str], None] = lambda text: None,
) -> list[MetricResult]:
    """The cells of the pictures in `images`, then those of real against real.

    Pictures in one subfolder count as drawn from one prompt, others each on its own; a picture's partner is the
    reference picture of its name. `extractor` is the CLIP model; 'starter' makes every metric look through the
    starter's encoders; `prefer` are encoders to take instead of a metric's own. Features are kept in the workspace's
    cache. Raises UserError, before anything is looked at, for a folder without pictures, an unknown metric, and one
    that two folders cannot give what it needs.
    """
    from sdstudio.features.cache import CachedEncoder
    from sdstudio.features.choosing import Encoders
    from sdstudio.features.clip import load

    asked = _metrics(metrics, reference)
    drawn = _pictures(images)
    real = _pictures(reference) if reference else []
    cache = ws.cache / "features"
    clip = CachedEncoder(load(extractor), cache) if extractor else None
    encoders = Encoders(clip, extractor == "starter", ws.models / WEIGHTS, cache, prefer)
    same = {sha256_file(path) for path in drawn} & {sha256_file(path) for path in real}
    flags = (f"exploratory: {count(len(same), 'picture')} in both folders",) if same else ()
    found: dict[tuple[str, str], MetricResult] = {}
    for view, group in views(asked, encoders):
        if view.encoder:
            tell(f"Looking at {count(len(drawn) + len(real), 'picture')} with {view.extractor}")
        sample = replace(_sample(view, images, reference, drawn, real), reference_flags=flags)
        found |= {("", metric.name): view.cell(metric, sample) for metric in group}
        floor = None if view.missing else floor_of(sample, seed=0)
        if floor:
            found |= {(FLOOR, metric.name): metric.compute(floor) for metric in group if has_floor(metric)}
    rows = [found["", metric.name] for metric in asked]
    return rows + [found[FLOOR, metric.name] for metric in asked if (FLOOR, metric.name) in found]


def _metrics(names: Sequence[str], reference: Path | None) -> list[Metric]:
    records = registry.load("sdstudio.metrics")
    possible = sorted(name for name, metric in records.items() if set(metric.needs) <= OFFERED)
    for name in names:
        if name not in possible:
            known = f"{name} needs more than two folders" if name in records else f"There is no metric named {name!r}"
            raise UserError(f"{known}: choose from {', '.join(possible)}.")
        if reference is None and {"reference", "partners"} & set(records[name].needs):
            raise UserError(f"{records[name].label} needs --reference, a folder of real pictures.")
    return [records[name] for name in names]


def _pictures(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file())
    if not found:
        raise UserError(f"There are no pictures (PNG, JPEG or WebP) in {folder}: name a folder that holds some.")
    return found


def _sample(view: View, images: Path, reference: Path | None, drawn: Sequence[Path], real: Sequence[Path]) -> Sample:
    places = {_name(path, reference): place for place, path in enumerate(real)} if reference else {}
    names = [_name(path, images) for path in drawn]
    return Sample(
        model=images.name,
        generated=_look(view, images, drawn),
        reference=_look(view, reference, real) if reference else None,
        partners=tuple((place, places[name]) for place, name in enumerate(names) if name in places),
        extractor=view.extractor,
        preprocessing=view.preprocessing,
    )


def _name(path: Path, folder: Path) -> Path:
    return path.relative_to(folder).with_suffix("")


def _look(view: View, folder: Path, paths: Sequence[Path]) -> Pictures:
    names = [path.relative_to(folder).as_posix() for path in paths]
    prompts = [path.parent.relative_to(folder).as_posix() for path in paths]
    groups = [name if prompt == "." else prompt for name, prompt in zip(names, prompts, strict=True)]
    return view.real(names, paths, groups)
