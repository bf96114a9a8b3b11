"""Look for a logo in all pictures of a comparison and read the word on it: a job, whose finds the metrics read."""

from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from sdstudio import registry
from sdstudio.jobs.context import JobContext
from sdstudio.metrics.found import LOGO_FILE
from sdstudio.metrics.spelling import similarity
from sdstudio.results import RESULTS_FILE, read_evaluation
from sdstudio.schema import Box, Finding, LogoConfig, LogoFindings, Reading, UserError, from_json, to_json
from sdstudio.words import count
from sdstudio.workspace import Workspace, safe_join, write_json

MARGIN = 0.05
"""Part of a box's sides that is left around it before the word in it is read."""


def comparison_folder(ws: Workspace, comparison: str) -> Path:
    """The folder of a finished comparison; a UserError where there is none."""
    folder = safe_join(ws.evaluations, comparison) if comparison else ws.evaluations
    if not (folder / RESULTS_FILE).is_file():
        raise UserError(f"There is no finished comparison {comparison!r}: choose one that has its results.")
    return folder


def run_logo(config: LogoConfig, ctx: JobContext) -> bool:
    """Look at every picture, and leave `logo.json` here and, as the last look, in the comparison's folder.

    Raises UserError where a detector or reader cannot be loaded; nothing of the comparison is changed then.
    """
    from sdstudio.features.encoding import default_device

    folder = comparison_folder(ctx.workspace, config.comparison)
    detector = registry.load("sdstudio.detectors")[config.detector]
    reader = registry.load("sdstudio.readers")[config.reader] if config.text else None
    find = detector.load(from_json(detector.Options, config.detector_options), default_device())
    read = reader.load(from_json(reader.Options, config.reader_options), default_device()) if reader else None
    files = [picture.file for row in read_evaluation(folder).rows for picture in row.pictures if not picture.drift]
    findings: dict[str, Finding] = {}
    ctx.progress(0, len(files), "pictures", "loading")
    for file, boxes in zip(files, find([folder / file for file in files]), strict=True):
        findings[file] = _finding(folder / file, boxes, read, config.text)
        ctx.progress(len(findings), len(files), "pictures", f"looking with {detector.label}")
        if ctx.should_stop():
            return False
    looked = LogoFindings(
        config=config, detector=detector.label, reader=reader.label if reader else "nothing read", findings=findings
    )
    for place in (ctx.folder, folder):
        write_json(place / LOGO_FILE, to_json(looked))
    hits = sum(one.box is not None for one in findings.values())
    ctx.progress(len(files), len(files), "pictures", f"found in {hits} of {count(len(files), 'picture')}")
    return True


def _finding(path: Path, boxes: Sequence[Box], read: Callable[[Image.Image], Reading] | None, text: str) -> Finding:
    box = max(boxes, key=lambda one: one.score, default=None)
    confidence = box.score if box else 0.0
    if read is None:
        return Finding(confidence=confidence, box=box)
    with Image.open(path) as picture:
        rgb = picture.convert("RGB")
    reading = read(cut_out(rgb, box) if box else rgb)
    return Finding(confidence=confidence, box=box, reading=reading, similarity=similarity(reading.text, text))


def cut_out(picture: Image.Image, box: Box) -> Image.Image:
    """The box with a small margin, as far as it lies in the picture, at least one pixel."""
    margins = MARGIN * (box.right - box.left), MARGIN * (box.bottom - box.top)
    left, top = max(0, round(box.left - margins[0])), max(0, round(box.top - margins[1]))
    right, bottom = round(box.right + margins[0]), round(box.bottom + margins[1])
    left, top = min(left, picture.width - 1), min(top, picture.height - 1)
    return picture.crop(
        (left, top, max(left + 1, min(right, picture.width)), max(top + 1, min(bottom, picture.height)))
    )
