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
