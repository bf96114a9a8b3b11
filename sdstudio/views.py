"""Pictures as one encoder sees them: what the metrics that look through it are given."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from sdstudio.metrics.sample import Pictures
from sdstudio.prompts import plain
from sdstudio.results import Picture

if TYPE_CHECKING:
    from sdstudio.features.cache import CachedEncoder


class View:
    """`encoder` None: the pictures are named and not looked at."""

    def __init__(self, encoder: "CachedEncoder | None") -> None:
        self.encoder = encoder
        self.extractor = encoder.encoder.label if encoder else ""
        self.preprocessing = encoder.encoder.preprocessing if encoder else ""

    def drawn(self, pictures: Sequence[Picture], folder: Path) -> Pictures:
        """Generated pictures of an evaluation's `folder`, with the embeddings of their prompts."""
        texts = [plain(picture.text) for picture in pictures]
        return self._look(
            [folder / picture.file for picture in pictures],
            tuple(picture.file for picture in pictures),
            tuple(picture.prompt for picture in pictures),
            texts,
        )

    def real(self, ids: Sequence[str], paths: Sequence[Path]) -> Pictures:
        """Real pictures, each on its own."""
        return self._look(paths, tuple(ids), tuple(ids), [])

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


def _source(paths: Sequence[Path]) -> str:
    """Format and size of the files, for instance 'PNG 64×64'; beyond three kinds they are only counted."""
    kinds = set()
    for path in paths:
        with Image.open(path) as picture:
            kinds.add(f"{picture.format} {picture.width}×{picture.height}")
    return ", ".join(sorted(kinds)) if len(kinds) <= 3 else f"{len(kinds)} formats and sizes"
