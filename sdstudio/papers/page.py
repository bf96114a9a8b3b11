"""A study's page: Markdown with tables, plots beside it, and a sheet of pictures."""

import io
import os
import platform
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from PIL import Image, ImageDraw

from sdstudio import registry
from sdstudio.papers.numbers import Judged, Measured
from sdstudio.results import ARROWS, FLOOR, Evaluation, Row, count_text, decimals
from sdstudio.results.ranking import rank
from sdstudio.schema import Metric, MetricResult
from sdstudio.words import duration, size
from sdstudio.workspace import atomic_write

ORDINALS = {1: "1st", 2: "2nd", 3: "3rd"}
SIDE, MARGIN, PROMPT_COLUMNS = 96, 190, 6


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of GitHub's Markdown, the first column to the left, the others to the right."""
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def column(metric: Metric, found: Mapping[str, Measured], order: Sequence[str]) -> dict[str, str]:
    """By arm: the mean over seeds ± their standard deviation, and its place where arms can be ranked."""
    digits = decimals([one.mean for one in found.values()])
    places = rank(metric, {name: one.cell for name, one in found.items()}).places
    texts = {}
    for name in order:
        if name not in found:
            texts[name] = "–"
            continue
        spread = found[name].spread
        text = f"{found[name].mean:.{digits}f}" + (f" ± {spread:.{digits}f}" if spread is not None else "")
        place = places.get(name)
        texts[name] = f"**{text}** ({ORDINALS[place]})" if place in ORDINALS else text
    return {name: text.replace("-", "−") for name, text in texts.items()}


def heading(metric: Metric) -> str:
    return f"{metric.label} {ARROWS[metric.better]}"


def metrics_of_protocol(evaluation: Evaluation) -> list[Metric]:
    """The metrics that the comparison was asked for, in its order."""
    records: Mapping[str, Metric] = registry.load("sdstudio.metrics")
    return [records[name] for name in evaluation.protocol.metrics if name in records]


def single(cell: MetricResult | None, column: Mapping[str, Measured]) -> str:
    """The value of the base model or the floor, with the decimals of the column that it stands in."""
    if cell is None or cell.value is None:
        return "–"
    digits = decimals([one.mean for one in column.values()])
    return f"{cell.value:.{digits}f}".replace("-", "−")


def notes(found: Evaluation) -> str:
    """How to read a table of means over seeds, and every flag of the cells behind it."""
    ns = sorted({count_text(one) for one in found.results if one.model != FLOOR and one.value is not None})
    extractors = ", ".join(dict.fromkeys(one.extractor for one in found.results if one.extractor))
    missing = [one for one in found.results if one.value is None and one.model != FLOOR]
    flags = dict.fromkeys(flag for one in found.results for flag in one.flags)
    text = (
        "Mean over seeds ± their standard deviation; N of each seed "
        f"{' or '.join(ns)} (drawn vs real). 1st, 2nd, 3rd: variants that a paired sign-flip test over prompts does "
        "not tell apart (5%, Holm) share a place; a measure without a value for each prompt is ranked by its means. "
        f"Features: {extractors}. Protocol `{found.protocol_hash[:12]}`."
    )
    if any(one.metric == "crossed_eyes" for one in missing):
        text += (
            " Crossed eyes are for people to judge: nobody has rated these pictures yet (Evaluate, Rating room), and "
            "no number stands in for them."
        )
    return text + "\n\n" + "\n".join(f"- {flag}" for flag in flags)


def orders(judged: Sequence[Judged], labels: Mapping[str, str]) -> str:
    """The paragraph and the table of the paper's orders: which held here and which did not."""
    verdicts = [one.verdict for one in judged]
    told = "; ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts))
    rows = [
        (
            f"{labels[one.claim.first]} before {labels[one.claim.second]}",
            measure_label(one.claim.measure),
            one.claim.said,
            " against ".join(measure_text(one.claim.measure, value) for value in one.values) if one.values else "–",
            f"{one.seeds[0]} of {one.seeds[1]}" if one.values else "–",
            f"{one.p:.3f}" if one.p is not None else "–",
            f"**{one.verdict}**",
        )
        for one in judged
    ]
    heads = ("Order", "By", "In the paper", "Here", "Seeds that agree", "p (Holm)", "Verdict")
    return (
        f"Of the {len(judged)} orders that the paper reports: {told}. An order held where every seed agrees with it "
        "and, where a measure has a value for each prompt, a paired sign-flip test over prompts (mean over seeds) "
        "tells the two apart at 5% after Holm's adjustment over all of these. What was not measured, or on too few "
        "pictures, cannot be told.\n\n" + markdown_table(heads, rows)
    )


FIGURES: dict[str, tuple[str, Callable[[float], str]]] = {
    "seconds": ("training time", duration),
    "storage": ("checkpoint size", size),
}


def measure_label(name: str) -> str:
    """A metric's own label, or that of a run's figure."""
    records: Mapping[str, Metric] = registry.load("sdstudio.metrics")
    return FIGURES[name][0] if name in FIGURES else records[name].label if name in records else name


def measure_text(name: str, value: float) -> str:
    return FIGURES[name][1](value) if name in FIGURES else f"{value:.{decimals([value])}f}"


def machine(seconds: float) -> str:
    """Where, when and with what the study was done."""
    when = time.strftime("%d %B %Y")
    parts = [f"{name} {version(name)}" for name in ("sdstudio", "torch", "diffusers", "transformers", "peft")]
    return (
        f"Done on {when}, {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"{', '.join(parts)}. The steps of all runs together took {seconds / 60:.0f} minutes by the clock of a machine "
        "that may have had other work."
    )


def sheet(folder: Path, rows: Sequence[tuple[str, Row]]) -> bytes:
    """A JPEG: a row of pictures for each model, the first seed of the first prompts, the same for all."""
    prompts = list(dict.fromkeys(one.prompt for one in rows[0][1].pictures if not one.drift))[:PROMPT_COLUMNS]
    image = Image.new("RGB", (MARGIN + SIDE * len(prompts), SIDE * len(rows)), "white")
    pen = ImageDraw.Draw(image)
    for y, (label, row) in enumerate(rows):
        pen.multiline_text((8, y * SIDE + SIDE // 2 - 10), _wrapped(label), fill="black", font_size=13)
        first = {one.prompt: one for one in reversed(row.pictures)}
        for x, prompt in enumerate(prompts):
            with Image.open(folder / first[prompt].file) as opened:
                image.paste(opened.convert("RGB").resize((SIDE, SIDE)), (MARGIN + x * SIDE, y * SIDE))
    memory = io.BytesIO()
    image.save(memory, "JPEG", quality=85)
    return memory.getvalue()


def _wrapped(label: str, width: int = 26) -> str:
    return "\n".join(textwrap.wrap(label, width))


def write(folder: Path, name: str, text: str, files: Mapping[str, str | bytes]) -> Path:
    """Write `<name>.md` and the files beside it (each name begins with `<name>-`); the page's path."""
    for file, content in files.items():
        atomic_write(folder / file, content)
    atomic_write(folder / f"{name}.md", text.rstrip() + "\n")
    return folder / f"{name}.md"
