"""Whether a fine-tuned model still understands what it was not taught: the cosine on prompts without the trigger.

Ruiz et al. 2022 (DreamBooth) name the effect, arXiv:2208.12242. Pictures and prompts are embedded by
the frozen base encoders, never by the fine-tuned ones. The result's `versus_base` is the paired difference from the
base model and the ratio to it, on the same prompts and seeds.
"""

from sdstudio.metrics.clip_score import prompt_cosines
from sdstudio.metrics.sample import Sample
from sdstudio.schema import Metric, MetricResult


def compute(sample: Sample) -> MetricResult:
    """The raw cosine on the drift prompts, with the t-interval over prompt means."""
    return prompt_cosines("language_drift", sample, sample.drift)


RECORD = Metric(
    name="language_drift",
    label="Language drift",
    summary="Cosine between pictures and prompts without the trigger; what falls below the base model was forgotten.",
    paper="Ruiz et al. 2022, DreamBooth, arXiv:2208.12242",
    better="higher",
    needs=("drift_prompts",),
    features=("clip",),
    compute=compute,
)
