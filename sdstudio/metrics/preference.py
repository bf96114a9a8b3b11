"""Which model's pictures people prefer, two beside each other for the same prompt and seed: Bradley–Terry strengths."""

from sdstudio.metrics.sample import NOT_COMPUTED, Sample
from sdstudio.ratings import judged, store
from sdstudio.ratings.preference import bradley_terry
from sdstudio.schema import Metric, MetricResult


def compute(sample: Sample) -> MetricResult:
    """The model's log-odds of being preferred to the mean model of the comparison, with its 95% Wald interval.

    From the sessions that have ended. A tie is half a win for each. N are the duels that the model was in.
    """
    sessions = store.read(sample.folder).ended("preference") if sample.folder else []
    strength = bradley_terry(judged.duels(sessions)).get(sample.key)
    if strength is None:
        reason = f"{NOT_COMPUTED}: nobody has compared its pictures yet, open the rating room"
        return sample.result("preference", None, n_generated=len(sample.generated), flags=(reason,))
    return sample.result("preference", strength.score, n_generated=strength.duels, interval=strength.interval)


RECORD = Metric(
    name="preference",
    label="Preference",
    summary="Log-odds that people prefer the model's picture to the mean model's, both drawn for one prompt and seed.",
    paper="Bradley and Terry 1952, Rank Analysis of Incomplete Block Designs, Biometrika 39",
    better="higher",
    needs=("prompts", "ratings"),
    compute=compute,
)
