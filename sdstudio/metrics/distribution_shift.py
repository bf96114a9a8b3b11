"""How differently the generated and the real pictures spread over clusters of an encoder's space."""

import numpy as np

from sdstudio.metrics.clusters import k_means, principal_components
from sdstudio.metrics.divergence import unpaired
from sdstudio.metrics.sample import NO_INTERVAL, Array, Measured, Pictures, Sample, against_reference
from sdstudio.schema import Metric, MetricResult

CLUSTERS = COMPONENTS = 8
FEWEST = 2 * CLUSTERS


def compute(sample: Sample) -> MetricResult:
    """The Jensen–Shannon divergence in nats over clusters of both sets' principal components, with what chance gives.

    It has no interval: at few pictures it is biased upwards, which the value that chance gives shows.
    """
    return against_reference("distribution_shift", sample, _measure, fewest=FEWEST)


def in_clusters(features: Array, components: int, clusters: int) -> tuple[Array, Array]:
    """Points (N, components) of the features (N, D), and for each a row (N, clusters) with a 1 at its cluster."""
    points = principal_components(features, components)
    return points, np.eye(clusters)[k_means(points, clusters)]


def _measure(generated: Pictures, reference: Pictures) -> Measured:
    sets = [pictures.pooled[np.lexsort(pictures.pooled.T)] for pictures in (reference, generated)]  # in no one's order
    _, rows = in_clusters(np.concatenate(sets), COMPONENTS, CLUSTERS)
    found = unpaired(rows[: len(reference)], rows[len(reference) :])
    return Measured(
        value=found.js,
        flags=(
            f"{NO_INTERVAL}: chance alone gives {found.chance:.3f}, p = {found.p_value:.3f}",
            f"KL(original‖generated) {found.kl:.3f}",
        ),
    )


RECORD = Metric(
    name="distribution_shift",
    label="Distribution shift",
    summary="Jensen–Shannon divergence from the real pictures over clusters of CLIP features; 0 is the same spread.",
    paper="Lin 1991, Divergence measures based on the Shannon entropy",
    better="lower",
    needs=("prompts", "reference"),
    features=("clip",),
    compute=compute,
)
