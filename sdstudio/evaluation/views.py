"""Pictures as one encoder sees them: what the metrics that look through it are given."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from sdstudio.metrics.sample import NOT_COMPUTED, Pictures, Sample, part
from sdstudio.prompts import plain
from sdstudio.results import FLOOR, Picture
from sdstudio.schema import Metric, MetricResult, UserError

if TYPE_CHECKING:
    from sdstudio.features.cache import CachedEncoder
    from sdstudio.features.choosing import Encoders


class View:
    """The encoder's view; without one the pictures are named and not looked at.

    `missing` says why there is none although the metrics need it; `extractor` names it all the same.
    """

    def __init__(self, encoder: "CachedEncoder | None", name: str = "", label: str = "", missing: str = "") -> None:
        self.encoder, self.name, self.missing = encoder, name, missing
        self.extractor = encoder.encoder.label if encoder else label
        self.preprocessing = encoder.encoder.preprocessing if encoder else ""

    def cell(self, metric: Metric, sample: Sample) -> MetricResult:
        """The metric of the sample; without a value where the encoder is missing: nothing is put in its place."""
        if not self.missing:
            cell: MetricResult = metric.compute(sample)
            return cell
        drawn = sample.drift if "drift_prompts" in metric.needs else sample.generated
        real = sample.reference if "reference" in metric.needs else None
        reason = f"{NOT_COMPUTED}: {self.missing}"
        return sample.result(
            metric.name, None, n_generated=len(drawn or ()), n_reference=len(real or ()), flags=(reason,)
        )

    def drawn(self, pictures: Sequence[Picture], folder: Path) -> Pictures:
        """Generated pictures of an evaluation's `folder`, with the embeddings of their prompts."""
        texts = [plain(picture.text) for picture in pictures]
        return self._look(
            [folder / picture.file for picture in pictures],
            tuple(picture.file for picture in pictures),
            tuple(picture.prompt for picture in pictures),
            texts,
        )

    def real(self, ids: Sequence[str], paths: Sequence[Path], groups: Sequence[str] = ()) -> Pictures:
        """Pictures without prompts, each on its own where no `groups` are given."""
        return self._look(paths, tuple(ids), tuple(groups or ids), [])

    def _look(
        self, paths: Sequence[Path], names: tuple[str, ...], groups: tuple[str, ...], texts: list[str]
    ) -> Pictures:
        nothing = np.zeros((len(paths), 0), np.float32)
        given = Pictures(
            pooled=nothing, image=nothing, text=nothing, groups=groups, names=names, paths=tuple(paths),
            source=_source(paths),
        )  # fmt: skip
        if self.encoder is None or not paths:
            return given
        features = self.encoder.images(paths)
        distinct = list(dict.fromkeys(texts))
        embeddings = dict(zip(distinct, self.encoder.texts(distinct), strict=True)) if distinct else {}
        return replace(
            given,
            pooled=features.pooled,
            image=features.embedding,
            text=np.stack([embeddings[text] for text in texts]) if texts else features.embedding[:0],
            truncated=tuple(self.encoder.truncated(distinct)),
        )


def views(metrics: Sequence[Metric], encoders: "Encoders") -> Iterator[tuple[View, list[Metric]]]:
    """Each encoder that the metrics look through, loaded when it is its turn, and those that do."""
    from sdstudio.features.weights import WeightsMissing

    by_encoder: dict[str, list[Metric]] = {}
    for metric in metrics:
        by_encoder.setdefault(encoders.name_for(metric), []).append(metric)
    for name, group in by_encoder.items():
        try:
            yield View(encoders.load(name) if name else None, name), group
        except WeightsMissing as missing:
            yield View(None, name, label=encoders.records[name].label, missing=str(missing)), group


def floor_of(row: Sample, seed: int) -> Sample | None:
    """Real against real, what a perfect model would score: two random parts, one of the models' N where it can be.

    None without a reference.
    """
    real, wanted = row.reference, len(row.generated)
    if real is None:
        return None
    taken = min(wanted, len(real) // 2)
    order = np.random.default_rng(seed).permutation(len(real))
    flag = f"drawn at {taken} vs {len(real) - taken}: the models have {wanted} vs {len(real)}"
    return Sample(
        model=FLOOR,
        generated=part(real, order[:taken]),
        reference=part(real, order[taken:]),
        extractor=row.extractor,
        preprocessing=row.preprocessing,
        flags=(flag,),
    )


def has_floor(metric: Metric) -> bool:
    """Whether real pictures against real ones say anything under this metric."""
    return {"prompts", "reference"} <= set(metric.needs) and "partners" not in metric.needs


def _source(paths: Sequence[Path]) -> str:
    """Format and size of the files, for instance 'PNG 64×64'; beyond three kinds they are only counted."""
    kinds = set()
    for path in paths:
        try:
            with Image.open(path) as picture:
                kinds.add(f"{picture.format} {picture.width}×{picture.height}")
        except (OSError, Image.DecompressionBombError) as error:
            raise UserError(f"The picture {path} cannot be read: delete or replace it.") from error
    return ", ".join(sorted(kinds)) if len(kinds) <= 3 else f"{len(kinds)} formats and sizes"
