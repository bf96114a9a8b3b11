"""What is looked for in the pictures of a finished comparison, and what was found."""

from dataclasses import dataclass, field
from typing import Any

from sdstudio.validation import STRICT, option


@dataclass(frozen=True, kw_only=True)
class Box:
    """Something found in a picture: what, how sure from 0 to 1, and where, in pixels from the upper left corner."""

    label: str
    score: float
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The words that a reader sees, and how sure it is from 0 to 1; None where it does not say."""

    text: str
    confidence: float | None = None


@dataclass(frozen=True, kw_only=True)
class LogoConfig:
    """Look for a logo in every picture of a comparison, and read the word on it."""

    __pydantic_config__ = STRICT
    comparison: str = option("", "The comparison whose pictures are looked at.")
    detector: str = option("template", "What finds the logo.")
    detector_options: dict[str, Any] = field(default_factory=dict)
    reader: str = option("letters", "What reads the word.")
    reader_options: dict[str, Any] = field(default_factory=dict)
    text: str = option("", "The word on the logo, in its own capitals; empty: nothing is read.")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found in one picture: the surest box, and the word in it, or in the whole picture where there is none.

    `confidence` is the box's score, 0 without one; `similarity` that of the word to the one on the logo, None where
    nothing was to be read.
    """

    confidence: float
    box: Box | None = None
    reading: Reading | None = None
    similarity: float | None = None


@dataclass(frozen=True, kw_only=True)
class LogoFindings:
    """`logo.json` of a comparison: the last look at its pictures. `findings` are keyed by the pictures' files."""

    config: LogoConfig
    detector: str
    reader: str
    findings: dict[str, Finding]


@dataclass(frozen=True, kw_only=True)
class ShiftConfig:
    """Where the pictures of a comparison lie beside the base model's and the real ones, cluster by cluster."""

    __pydantic_config__ = STRICT
    comparison: str = option("", "The comparison whose pictures are looked at.")
    detector: str = option(
        "", "What cuts objects out of the pictures; each class is clustered alone.", zero="whole pictures"
    )
    detector_options: dict[str, Any] = field(default_factory=dict)
    clusters: int = option(8, "Clusters of each class.", low=2, high=64)
    components: int = option(8, "Principal components that are clustered.", low=2, high=64)
    rounds: int = option(999, "Random arrangements that the test compares with.", low=99, high=99999, advanced=True)


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """Of a first from a second set of pictures, in nats; `chance` is the JS to expect where nothing differs."""

    kl: float
    js: float
    chance: float
    p_value: float


@dataclass(frozen=True, kw_only=True)
class Place:
    """One picture, or one crop of it, on the first two principal components. `source` is original, base or trained."""

    source: str
    file: str
    x: float
    y: float
    cluster: int


@dataclass(frozen=True, kw_only=True)
class ClassShift:
    """One class of objects: how often each cluster holds the original, base and trained ones, and where they lie."""

    name: str
    counts: dict[str, list[int]]
    places: list[Place]


@dataclass(frozen=True, kw_only=True)
class ModelShift:
    """A trained model, by its row's key and label: all its classes together, and each alone.

    `base` is base‖trained, `original` original‖trained. `left_out` are classes too rare to be clustered.
    """

    key: str
    label: str
    base: Divergence
    original: Divergence
    classes: list[ClassShift]
    left_out: list[str]


@dataclass(frozen=True, kw_only=True)
class ShiftFindings:
    """`shift.json` of a job, and of the comparison that it looked at last. `flags` weaken what it says."""

    config: ShiftConfig
    extractor: str
    models: list[ModelShift]
    flags: list[str]
