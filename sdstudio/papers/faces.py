"""The sweep of "Fine-tuning Strategies Based on DreamBooth" (Cao, Li, Xu and Wang, Georgetown University).

Eight DreamBooth runs on faces that differ in learning rate, steps for each picture and, once, in a second face that is
mixed in; LPIPS and FID against other pictures of the face, the best, second and third marked.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sdstudio import registry
from sdstudio.papers.numbers import Claim, Measured, judge, measured, values_of
from sdstudio.papers.orders import orders
from sdstudio.papers.page import (
    column,
    heading,
    machine,
    markdown_table,
    marks_of,
    metrics_of_protocol,
    notes,
    single,
    write,
)
from sdstudio.papers.plots import Point, line_plot
from sdstudio.papers.settings import FacesSettings
from sdstudio.papers.sheet import section, sheet
from sdstudio.papers.study import (
    Arm,
    Say,
    Trained,
    compare,
    costs_of,
    last_models,
    real_pictures,
    rows_shown,
    train_all,
)
from sdstudio.papers.subjects import FACE, FACES, SECOND, TRIGGER, face_prompts, install
from sdstudio.results import FLOOR, Evaluation, cells
from sdstudio.schema import LoopConfig, Protocol, SampleSettings, UserError
from sdstudio.starter.world import MASCOT
from sdstudio.words import count
from sdstudio.workspace import Workspace

NAME = "faces"
STARTER_RATE, PAPER_RATE = 3e-4, 2e-6
RUNS: dict[str, tuple[float, int]] = {
    "001": (2e-6, 100),
    "002": (2e-6, 150),
    "003": (2e-5, 100),
    "004": (5e-6, 100),
    "005": (2e-6, 75),
    "006": (2e-6, 250),
    "007": (2e-6, 500),
    "mix": (2e-6, 100),
}
"""The paper's runs: learning rate and steps for each picture; `mix` learns two faces under one name."""
METRICS = ["lpips", "fid", "kid", "clip_image", "clip_score"]

CLAIMS = [
    Claim(measure="lpips", better="lower", first="003", second="004", said="0.604 against 0.653"),
    Claim(measure="lpips", better="lower", first="004", second="007", said="0.653 against 0.659"),
    Claim(measure="lpips", better="lower", first="007", second="001", said="0.659 against 0.678"),
    Claim(measure="lpips", better="lower", first="mix", second="001", said="0.660 against 0.678"),
    Claim(measure="fid", better="lower", first="003", second="004", said="153 against 180.5"),
    Claim(measure="fid", better="lower", first="004", second="001", said="180.5 against 181.2"),
    Claim(measure="fid", better="lower", first="001", second="007", said="181 against 204"),
    Claim(measure="fid", better="lower", first="001", second="mix", said="181 against 189"),
]

SAID = {
    "lpips": {"001": "0.678", "003": "0.604", "004": "0.653", "007": "0.659", "mix": "0.660"},
    "fid": {"001": "181.2", "003": "153", "004": "180.5", "007": "204", "mix": "189"},
}
"""The paper's own figures by metric and run, of 20 drawn against 18 real photographs."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """What `paper faces` did: its runs and their comparison, in `folder`."""

    runs: list[Trained]
    finished: Evaluation
    folder: Path


def with_data(ws: Workspace, settings: FacesSettings) -> FacesSettings:
    """The settings with drawn data wherever none is named."""
    if settings.dataset and not (settings.reference and settings.trigger and settings.prompts and settings.class_word):
        raise UserError("With a dataset of your own, name --reference, --trigger, --class-word and --prompts too.")
    own = bool(settings.dataset)
    rate = settings.base_rate or (STARTER_RATE if settings.base_model == "starter" else PAPER_RATE)
    return replace(
        settings,
        dataset=settings.dataset or install(ws, FACE),
        reference=settings.reference or install(ws, FACES),
        second=settings.second or ("" if own else install(ws, SECOND)),
        trigger=settings.trigger or TRIGGER,
        class_word=settings.class_word or MASCOT,
        prompts=settings.prompts or face_prompts(10),
        base_rate=rate,
    )


def arms(settings: FacesSettings) -> list[Arm]:
    """The eight runs; the mix is left out where there is no second face."""
    found = []
    for name, (rate, steps) in RUNS.items():
        if name == "mix" and not settings.second:
            continue
        options = {
            "trigger": settings.trigger,
            "class_word": settings.class_word,
            "learning_rate": settings.base_rate * rate / PAPER_RATE,
            "detailed_captions": False,
            "prior_images": settings.prior_images,
        }
        loop = {"steps_per_instance": max(1, round(steps * settings.steps_share))}
        mix = (settings.second,) if name == "mix" else ()
        found.append(Arm(name=name, label=f"Run {name}", method="dreambooth", options=options, loop=loop, mix=mix))
    return found


def do_study(ws: Workspace, settings: FacesSettings, say: Say) -> Study:
    """Train every run with every seed and compare them; what the workspace holds is not done again."""
    loop = LoopConfig(
        batch_size=settings.batch_size,
        checkpoint_every=0,
        sample_every=0,
        validation_share=0.0,
        lr_scheduler="constant",
        warmup_steps=0,
        min_snr_gamma=0.0,
    )
    runs = train_all(ws, arms(settings), settings.base_model, settings.dataset, loop, settings.seeds, say)
    protocol = Protocol(
        name="Paper faces",
        models=last_models(runs),
        prompts=settings.prompts,
        seeds=list(range(1, settings.pictures + 1)),
        reference=settings.reference,
        metrics=METRICS,
        extractor=settings.extractor,
        settings=SampleSettings(steps=settings.steps, guidance_scale=settings.guidance_scale, batch_size=16),
    )
    folder, finished = compare(ws, protocol, say)
    return Study(runs=runs, finished=finished, folder=folder)


# ---------------------------------------------------------------- the page


def write_page(ws: Workspace, settings: FacesSettings, study: Study, folder: Path) -> Path:
    """Write `faces.md` and its sheet of pictures into `folder`; the page's path."""
    runs, finished = study.runs, study.finished
    labels = {run.arm.name: run.arm.label for run in runs}
    numbers = {metric.name: measured(finished, runs, metric.name) for metric in metrics_of_protocol(finished)}
    costs = costs_of(ws, runs)
    claims = [claim for claim in CLAIMS if {claim.first, claim.second} <= set(labels)]
    judged = judge(claims, values_of(numbers))
    total = sum(one.seconds or 0.0 for found in costs.values() for one in found)
    shown = rows_shown(finished, runs)
    text = "\n\n".join(
        [
            "# Fine-tuning strategies based on DreamBooth, done again",
            _about(settings, finished),
            "## The sweep\n\n" + _table(settings, finished, numbers, labels),
            notes(finished, runs),
            "## Which of the paper's orders held\n\n" + orders(judged, labels),
            f"## Over the steps\n\n{_ABOUT_PLOTS}\n\n" + "\n".join(f"![{name}]({NAME}-{name}.svg)" for name in PLOTTED),
            section(f"{NAME}-pictures.jpg", "What each run draws", shown),
            machine(total),
        ]
    )
    pictures = sheet(study.folder, shown, real_pictures(ws, finished))
    plots = {f"{NAME}-{name}.svg": _plot(name, settings, finished, numbers[name]) for name in PLOTTED}
    return write(folder, NAME, text, {**plots, f"{NAME}-pictures.jpg": pictures})


def _about(settings: FacesSettings, finished: Evaluation) -> str:
    pictures = len(finished.protocol.prompts) * len(finished.protocol.seeds)
    return (
        "Cao, Li, Xu and Wang fine-tune Stable Diffusion 1.5 on faces with DreamBooth and compare eight runs by LPIPS "
        "and FID, with 18 real and 20 drawn pictures each, too few for a FID of 2048 dimensions. Here: base model "
        f"`{settings.base_model}`, the paper's rate 2e-6 standing at {settings.base_rate:g} and the others in its "
        f"proportions, {settings.steps_share:g} of its steps for each picture, batches of {settings.batch_size}, "
        f"{count(settings.seeds, 'seed')}; {count(pictures, 'picture')} from each run against "
        f"{count(len(finished.reference), 'real one')}. `sdstudio paper faces` does it again; `--base-model`, "
        "`--dataset` and `--reference` take real ones, `--steps-share 1` the paper's own steps."
    )


def _table(
    settings: FacesSettings,
    finished: Evaluation,
    numbers: Mapping[str, Mapping[str, Measured]],
    labels: Mapping[str, str],
) -> str:
    """The paper's form: a column for each run, best, second and third marked."""
    table = cells(finished.results)
    base = next(row.label for row in finished.rows if row.role == "base")
    by_name = {arm.name: arm for arm in arms(settings)}
    rows = [
        ["Learning rate", *(f"{by_name[name].options['learning_rate']:g}" for name in labels), "", ""],
        ["Steps for each picture", *(str(by_name[name].loop["steps_per_instance"]) for name in labels), "", ""],
    ]
    for metric in metrics_of_protocol(finished):
        texts = column(metric, numbers[metric.name], list(labels))
        ends = [single(table.get(label, {}).get(metric.name), numbers[metric.name]) for label in (base, FLOOR)]
        rows.append([heading(metric), *(texts[name] for name in labels), *ends])
        if metric.name in SAID:
            said = [SAID[metric.name].get(name, "–") for name in labels]
            rows.append([f"*{metric.label} in the paper*", *said, "–", "–"])
    return markdown_table(["", *labels.values(), "*Base model*", "*Floor*"], rows)


PLOTTED = ("lpips", "fid")
_ABOUT_PLOTS = (
    "Each run by the steps that it took for each picture, a line for each learning rate; bars from the lowest to the "
    "highest seed."
)


def _plot(name: str, settings: FacesSettings, finished: Evaluation, found: Mapping[str, Measured]) -> str:
    """A metric over the steps for each picture: a line for each learning rate, and one for the mix."""
    lines: dict[str, list[Point]] = {}
    for arm in sorted(arms(settings), key=lambda arm: arm.loop["steps_per_instance"]):
        if arm.name in found:
            one = found[arm.name]
            rate = f"learning rate {arm.options['learning_rate']:g}" + (", two faces" if arm.mix else "")
            point = Point(x=arm.loop["steps_per_instance"], y=one.mean, low=min(one.values), high=max(one.values))
            lines.setdefault(rate, []).append(point)
    return line_plot(
        registry.load("sdstudio.metrics")[name].label, "Steps for each picture", lines, marks_of(finished, name)
    )
