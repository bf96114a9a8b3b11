"""The methods paragraph of a comparison: what was drawn, how it was measured, and how it was tested."""

from collections.abc import Sequence
from importlib.metadata import version

from sdstudio.metrics.statistics import CONFIDENCE
from sdstudio.results import Evaluation, Row, metrics_of
from sdstudio.results.ranking import SHARED
from sdstudio.schema import Metric
from sdstudio.words import count

KERNEL_METRICS = {"kid", "cmmd"}
SHARES_OF_PEOPLE = {"crossed_eyes", "defect_rate"}


def methods_text(evaluation: Evaluation) -> str:
    """The paragraph as plain text: models, pictures, reference, metrics with their sources, encoders, statistics."""
    metrics = metrics_of(evaluation.results)
    sentences = [*_pictures(evaluation), *_reference(evaluation), *_measures(evaluation, metrics)]
    return " ".join([*sentences, *_statistics(metrics), _made_with(evaluation)])


def _pictures(evaluation: Evaluation) -> list[str]:
    protocol, settings = evaluation.protocol, evaluation.protocol.settings
    trained = [row for row in evaluation.rows if row.role == "trained"]
    sampler = "the model's own sampler" if settings.scheduler == "default" else f"the {settings.scheduler} sampler"
    pictures = len(protocol.prompts) * len(protocol.seeds)
    sentences = [
        f"Compared were {_models(evaluation.rows)}.",
        f"Every model drew {count(pictures, 'picture')} ({count(len(protocol.prompts), 'prompt')} × "
        f"{count(len(protocol.seeds), 'seed')}) with {settings.steps} steps of {sampler} at guidance scale "
        f"{settings.guidance_scale:g}; prompts and seeds were the same for all, so rows are paired.",
    ]
    triggers = [row for row in trained if row.trigger]
    if triggers and any("{trigger}" in prompt for prompt in protocol.prompts):
        sentences.append(
            f"{{trigger}} was replaced by the trigger words of each model; the base model got those of "
            f"{triggers[0].label}, “{triggers[0].trigger}”."
        )
    if protocol.drift_prompts:
        drift = len(protocol.drift_prompts) * len(protocol.seeds)
        prompts = count(len(protocol.drift_prompts), "prompt")
        sentences.append(f"{drift} more pictures, from {prompts} without trigger, show what else the training changed.")
    return sentences


def _models(rows: Sequence[Row]) -> str:
    bases = ", ".join(dict.fromkeys(row.model.base_model for row in rows if row.role == "base"))
    trained = sum(row.role == "trained" for row in rows)
    return f"{count(trained, 'trained model')}, and untrained as a baseline {bases}"


def _reference(evaluation: Evaluation) -> list[str]:
    if not evaluation.reference:
        return []
    return [
        f"The reference is {count(len(evaluation.reference), 'real picture')} of the dataset "
        f"{evaluation.protocol.reference}; the floor holds two random parts of it against each other."
    ]


def _measures(evaluation: Evaluation, metrics: Sequence[Metric]) -> list[str]:
    seen = dict.fromkeys(
        ", ".join(part for part in (result.extractor, result.preprocessing) if part)
        for result in evaluation.results
        if result.extractor
    )
    measures = "; ".join(f"{metric.label} [{metric.paper}]" for metric in metrics)
    return [f"Measured were {measures}.", *([f"Pictures were seen through {'; '.join(seen)}."] if seen else [])]


def _statistics(metrics: Sequence[Metric]) -> list[str]:
    names = {metric.name for metric in metrics}
    intervals = ["t-intervals over prompt means"]
    kernels = [metric.label for metric in metrics if metric.name in KERNEL_METRICS]
    if kernels:
        intervals.append(f"for {' and '.join(kernels)} a two-sample jackknife over prompts and reference pictures")
    if names & SHARES_OF_PEOPLE:
        intervals.append("for shares that people judged, blind and shuffled, Wilson's intervals over pictures")
    if "preference" in names:
        intervals.append("for preference the Wald intervals of Bradley–Terry strengths")
    fid = (
        " FID has none, and is ranked only on more pictures than its encoder has dimensions." if "fid" in names else ""
    )
    return [
        f"Intervals are {CONFIDENCE:.0%}: {', '.join(intervals)}.{fid}",
        f"Rows are ranked only at equal N, encoder and preprocessing; {SHARED}.",
    ]


def _made_with(evaluation: Evaluation) -> str:
    return (
        f"Made with SD Studio {version('sdstudio')}, torch {version('torch')} and diffusers {version('diffusers')}; "
        f"protocol {evaluation.protocol_hash[:12]}."
    )
