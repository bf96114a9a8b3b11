"""The comparison of "Personalizing Image Generation: Fine-Tuning Diffusion Models" (thesis, June 2023).

DreamBooth, LoRA and textual inversion learn a logo; a detector says whether it looks like the logo, OCR whether it is
spelled right, and the best epoch of each method by the mean of the two is reported.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sdstudio import jobs, registry
from sdstudio.jobs.kinds import get_kind
from sdstudio.papers.numbers import Claim, Values, judge
from sdstudio.papers.orders import measure_text, orders
from sdstudio.papers.page import flags, machine, markdown_table, write
from sdstudio.papers.plots import Point, line_plot
from sdstudio.papers.settings import LogoSettings
from sdstudio.papers.sheet import section, sheet
from sdstudio.papers.study import Arm, Say, Trained, all_models, compare, costs_of, real_pictures, train_all
from sdstudio.papers.subjects import LOGO, LOGO_PROMPTS, LOGOS, TRIGGER, install
from sdstudio.results import Evaluation, cells
from sdstudio.results.judging import cells as cells_after
from sdstudio.schema import LogoConfig, LoopConfig, MetricResult, Protocol, SampleSettings, UserError, from_json
from sdstudio.words import count
from sdstudio.workspace import Workspace, read_json

NAME = "logo"
AVERAGE, DETECTOR, OCR = "logo_score", "detector", "ocr"
MEASURES = {AVERAGE: "average(ocr, detector)", DETECTOR: "mean confidence", OCR: "mean OCR score"}

CLAIMS = [
    Claim(measure=AVERAGE, better="higher", first="db", second="lora", said="0.725 against 0.595"),
    Claim(measure=AVERAGE, better="higher", first="lora", second="ti", said="0.595 against 0.545"),
    Claim(measure=DETECTOR, better="higher", first="db", second="ti", said="0.950 against 0.757"),
    Claim(measure=DETECTOR, better="higher", first="ti", second="lora", said="0.757 against 0.710"),
    Claim(measure=OCR, better="higher", first="db", second="lora", said="0.500 against 0.479"),
    Claim(measure=OCR, better="higher", first="lora", second="ti", said="0.479 against 0.333"),
]

SAID = {"db": ("0.725", "0.950", "0.500"), "lora": ("0.595", "0.710", "0.479"), "ti": ("0.545", "0.757", "0.333")}
"""The thesis's own figures by method, in the order of `MEASURES`."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """What `paper logo` did: its runs at the recorded `epochs`, their comparison, and what was found in its pictures.

    `found` is by model's label and metric.
    """

    runs: list[Trained]
    epochs: list[int]
    recorded: Evaluation
    folder: Path
    found: Mapping[str, Mapping[str, MetricResult]]


def with_data(ws: Workspace, settings: LogoSettings) -> LogoSettings:
    """The settings with drawn data wherever none is named."""
    if settings.dataset and not (settings.reference and settings.trigger and settings.prompts):
        raise UserError("With a dataset of your own, name --reference, --trigger and --prompts too.")
    return replace(
        settings,
        dataset=settings.dataset or install(ws, LOGO),
        reference=settings.reference or install(ws, LOGOS),
        trigger=settings.trigger or TRIGGER,
        prompts=settings.prompts or LOGO_PROMPTS,
    )


def arms(settings: LogoSettings) -> list[Arm]:
    """DreamBooth at 2e-5, LoRA of rank 16 at 5e-6 and 1e-4 in the text encoder, textual inversion at 1e-3.

    On the starter each method's own rate takes their place (see docs/methods.md), unless they are asked for.
    """
    own = settings.base_model != "starter" or settings.own_rates
    subject = {"trigger": settings.trigger, "class_word": settings.class_word, "prior_images": 0}
    lora = {"rank": 16, "text_encoder": True}
    lora_rates = {"learning_rate": 5e-6, "text_encoder_learning_rate": 1e-4}
    return [
        Arm(
            name="db",
            label="DreamBooth",
            method="dreambooth",
            options=subject | ({"learning_rate": 2e-5} if own else {}),
        ),
        Arm(name="lora", label="LoRA", method="lora", options=lora | (lora_rates if own else {})),
        Arm(
            name="ti",
            label="Textual inversion",
            method="textual_inversion",
            options={"initial_word": settings.class_word if own else "style"}
            | ({"learning_rate": 1e-3} if own else {}),
        ),
    ]


def do_study(ws: Workspace, settings: LogoSettings, say: Say) -> Study:
    """Train every method with every seed, draw at the recorded epochs, and look for the logo in the pictures."""
    epochs = sorted(set(settings.epochs))
    if not epochs or epochs[0] < 1:
        raise UserError("The recorded epochs must be 1 or more: for example --epochs 5 10 21.")
    loop = LoopConfig(
        epochs=epochs[-1],
        interval_unit="epochs",
        checkpoint_every=0,
        checkpoint_at=epochs,
        sample_every=0,
        validation_share=0.0,
        batch_size=settings.batch_size,
    )
    runs = train_all(ws, arms(settings), settings.base_model, settings.dataset, loop, settings.seeds, say)
    protocol = Protocol(
        name="Paper logo",
        models=all_models(runs),
        prompts=settings.prompts,
        seeds=list(range(1, settings.pictures + 1)),
        reference=settings.reference,
        metrics=["kid", "clip_score"],
        extractor=settings.extractor,
        settings=SampleSettings(steps=settings.steps, guidance_scale=settings.guidance_scale, batch_size=16),
    )
    folder, recorded = compare(ws, protocol, say)
    _look(ws, settings, folder.name, say)
    records = registry.load("sdstudio.metrics")
    found = cells(cells_after(recorded, folder, [records[name] for name in MEASURES]))
    return Study(runs=runs, epochs=epochs, recorded=recorded, folder=folder, found=found)


def _look(ws: Workspace, settings: LogoSettings, comparison: str, say: Say) -> None:
    """Look for the logo in the comparison's pictures, unless that was done in the same way."""
    config = LogoConfig(
        comparison=comparison,
        detector=settings.detector,
        detector_options=settings.detector_options,
        reader=settings.reader,
        reader_options=settings.reader_options,
        text=settings.text,
    )
    prepared = get_kind("logo").prepare(ws, config)
    for job in jobs.list_jobs(ws, "logo"):
        if job.state == "succeeded" and from_json(LogoConfig, read_json(job.folder / "config.json")) == prepared:
            return
    say("Looking for the logo in every picture")
    job = jobs.run_inline(ws, "logo", config, "Paper logo")
    if job.state != "succeeded":
        raise UserError(f"The look for the logo ended {job.state}: {job.error or job.message}. Run the command again.")


# ---------------------------------------------------------------- the page


@dataclass(frozen=True, kw_only=True)
class Best:
    """The recorded epoch at which an arm's mean over seeds is best by the average; `labels` are its models there."""

    epoch: int
    labels: tuple[str, ...]


def best_epochs(study: Study) -> dict[str, Best]:
    """For each arm the epoch that it is reported at."""
    found = {}
    for arm in dict.fromkeys(run.arm.name for run in study.runs):
        by_epoch = {epoch: _labels(study, arm, place) for place, epoch in enumerate(study.epochs)}
        scored = {epoch: _mean(study, labels, AVERAGE) or 0.0 for epoch, labels in by_epoch.items()}
        epoch = max(scored, key=scored.__getitem__)
        found[arm] = Best(epoch=epoch, labels=by_epoch[epoch])
    return found


def _labels(study: Study, arm: str, place: int) -> tuple[str, ...]:
    return tuple(
        f"{run.label}, step {run.checkpoints[place].step}"
        for run in study.runs
        if run.arm.name == arm and place < len(run.checkpoints)
    )


def _values(study: Study, labels: tuple[str, ...], metric: str) -> list[float]:
    found = [study.found.get(label, {}).get(metric) for label in labels]
    return [cell.value for cell in found if cell and cell.value is not None]


def _mean(study: Study, labels: tuple[str, ...], metric: str) -> float | None:
    values = _values(study, labels, metric)
    return sum(values) / len(values) if values else None


def write_page(ws: Workspace, settings: LogoSettings, study: Study, folder: Path) -> Path:
    """Write `logo.md`, its plot and its sheet of pictures into `folder`; the page's path."""
    labels = {run.arm.name: run.arm.label for run in study.runs}
    best = best_epochs(study)
    judged = judge(CLAIMS, {metric: _of_metric(study, best, metric) for metric in MEASURES})
    costs = costs_of(ws, study.runs)
    total = sum(one.seconds or 0.0 for found in costs.values() for one in found)
    rows = {row.label: row for row in study.recorded.rows}
    base = next(row for row in study.recorded.rows if row.role == "base")
    shown = [
        ("Base model", base),
        *((f"{labels[arm]}, epoch {one.epoch}", rows[one.labels[0]]) for arm, one in best.items()),
    ]
    curve = line_plot("average(ocr, detector) at the recorded epochs", "Epoch", _curves(study, labels), _base(study))
    text = "\n\n".join(
        [
            "# Personalizing image generation, done again: a logo",
            _about(settings, study),
            "## The best epoch of each method\n\n" + _table(study, best, labels),
            _notes(study),
            "## Which of the thesis's orders held\n\n" + orders(judged, labels),
            f"## Over the epochs\n\n![average(ocr, detector)]({NAME}-average.svg)",
            section(f"{NAME}-pictures.jpg", "What each method draws", shown),
            machine(total),
        ]
    )
    pictures = sheet(study.folder, shown, real_pictures(ws, study.recorded))
    return write(folder, NAME, text, {f"{NAME}-average.svg": curve, f"{NAME}-pictures.jpg": pictures})


def _of_metric(study: Study, best: Mapping[str, Best], metric: str) -> Values:
    found = {}
    for arm, one in best.items():
        of = [study.found[label][metric] for label in one.labels if metric in study.found.get(label, {})]
        values = [cell.value for cell in of if cell.value is not None]
        if values and len(values) == len(one.labels):
            prompts = of[0].per_prompt
            per_prompt = {prompt: sum(cell.per_prompt[prompt] for cell in of) / len(of) for prompt in prompts}
            found[arm] = (tuple(values), per_prompt)
    return found


def _about(settings: LogoSettings, study: Study) -> str:
    protocol = study.recorded.protocol
    rates = (
        "with each method's own learning rate for it, as the thesis's are made for Stable Diffusion"
        if settings.base_model == "starter" and not settings.own_rates
        else "with the thesis's learning rates"
    )
    return (
        "The thesis teaches Stable Diffusion the red HUGO logo by DreamBooth, LoRA and textual inversion, and reports "
        "for each the best of its settings by the mean of a detector's confidence (YOLOv8) and an OCR score. Here: "
        f"base model `{settings.base_model}` {rates}, {settings.epochs[-1]} epochs, {count(settings.seeds, 'seed')}; "
        f"detector `{settings.detector}`, reader `{settings.reader}`, the word {settings.text!r}; "
        f"{count(len(protocol.prompts), 'prompt')} × {count(len(protocol.seeds), 'picture')} at each recorded epoch. "
        "The best epoch is chosen on the pictures that it is reported on, as in the thesis, so it flatters every "
        "method a little. `sdstudio paper logo` does it again; `--base-model`, `--dataset`, `--reference`, "
        "`--detector` and `--reader` take real ones."
    )


def _table(study: Study, best: Mapping[str, Best], labels: Mapping[str, str]) -> str:
    """The thesis's form: a row for each method, its setting, the average and its two parts."""
    order = sorted(best, key=lambda arm: _mean(study, best[arm].labels, AVERAGE) or 0.0, reverse=True)
    base = next(row.label for row in study.recorded.rows if row.role == "base")
    rows = [[labels[arm], f"epoch {best[arm].epoch}", *_texts(study, best[arm].labels), *SAID[arm]] for arm in order]
    rows.append(["*Base model*", "", *_texts(study, (base,)), *["–"] * len(MEASURES)])
    heads = [*MEASURES.values(), *(f"*{name} in the thesis*" for name in MEASURES.values())]
    return markdown_table(["Method", "Reported at", *heads], rows)


def _texts(study: Study, labels: tuple[str, ...]) -> list[str]:
    means = {metric: _mean(study, labels, metric) for metric in MEASURES}
    return ["–" if mean is None else measure_text(metric, mean) for metric, mean in means.items()]


def _notes(study: Study) -> str:
    """What weakens the numbers, without the counts that each of them has of its own."""
    arms = {label: run.arm.label for run in study.runs for label in study.found if label.startswith(f"{run.label},")}
    found = [
        replace(
            cell,
            flags=tuple(
                flag for flag in cell.flags if not flag.startswith(("found in", "the reader's own confidence"))
            ),
        )
        for row in study.found.values()
        for cell in row.values()
    ]
    nothing = all(cell.value == 0 for cell in found if cell.metric == DETECTOR)
    blind = (
        "The detector found the logo in no picture of any model: by it, and by its half of the average, nothing can "
    )
    return (blind + "be compared here.\n\n" if nothing else "") + flags(found, arms)


def _curves(study: Study, labels: Mapping[str, str]) -> dict[str, list[Point]]:
    lines: dict[str, list[Point]] = {}
    for arm, label in labels.items():
        for place, epoch in enumerate(study.epochs):
            values = _values(study, _labels(study, arm, place), AVERAGE)
            if values:
                point = Point(x=epoch, y=sum(values) / len(values), low=min(values), high=max(values))
                lines.setdefault(label, []).append(point)
    return lines


def _base(study: Study) -> dict[str, float]:
    base = next(row.label for row in study.recorded.rows if row.role == "base")
    mean = _mean(study, (base,), AVERAGE)
    return {} if mean is None else {"base": mean}
