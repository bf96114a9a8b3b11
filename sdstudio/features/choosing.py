"""Which encoder a metric looks through in a protocol."""

from collections.abc import Sequence
from pathlib import Path

from sdstudio import registry
from sdstudio.features.cache import CachedEncoder
from sdstudio.features.weights import WeightsMissing
from sdstudio.schema import Feature, Metric


class Encoders:
    """The encoders of one comparison, each loaded when it is asked for.

    `clip` is the protocol's own, None where it names none; `weights` the folder of those that do not come with the
    studio, `cache` that of features, by default the protocol's. `on_starter`: the protocol looks with the starter's
    encoder, and so does every metric that may; else the first of `prefer` that a metric may look through.
    """

    def __init__(
        self,
        clip: CachedEncoder | None,
        on_starter: bool,
        weights: Path,
        cache: Path | None = None,
        prefer: Sequence[str] = (),
    ) -> None:
        self.clip, self.on_starter, self.weights, self.prefer = clip, on_starter, weights, prefer
        self.cache = clip.folder if clip else cache
        self.records: dict[str, Feature] = dict(registry.load("sdstudio.features"))

    def name_for(self, metric: Metric) -> str:
        """The encoder's name, empty for a metric that looks through none."""
        bundled = [name for name in metric.features if self.records[name].bundled] if self.on_starter else []
        preferred = [name for name in self.prefer if name in metric.features]
        return next(iter([*bundled, *preferred, *metric.features]), "")

    def load(self, name: str) -> CachedEncoder:
        """The encoder with the cache; WeightsMissing where its weights are not here."""
        if name == "clip" and self.clip:
            return self.clip
        if name == "clip" or not self.cache:
            raise WeightsMissing("naming a CLIP model as the extractor: a CLIPModel folder or a Hub id")
        return CachedEncoder(self.records[name].load(self.weights), self.cache)

    def is_foreign(self, name: str, base_model: str) -> bool:
        """Whether the encoder knows the starter's drawn world alone, and the pictures are of something else."""
        starters = self.records[name].bundled or (name == "clip" and self.on_starter)
        return starters and base_model != "starter"
