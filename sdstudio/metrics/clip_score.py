"""How well pictures follow their prompts: the cosine between picture and prompt under a frozen CLIP.

Hessel et al. 2021, arXiv:2104.08718, without that paper's factor 2.5 and its cut at zero.
"""

from sdstudio.metrics.sample import REFUSED, Pictures, Sample, mean_over_prompts
from sdstudio.schema import Metric, MetricResult


def prompt_cosines(name: str, sample: Sample, pictures: Pictures | None) -> MetricResult:
    """Raw text–image cosine, averaged first within and then over prompts, with the t-interval over prompt means."""
    if pictures is None or not len(pictures):
        return sample.result(name, None, n_generated=0, flags=(f"{REFUSED}: there are no prompts",))
    if len(pictures.text) != len(pictures):
        refusal = f"{REFUSED}: it is not known which prompts the pictures were drawn from"
        return sample.result(name, None, n_generated=len(pictures), flags=(refusal,))
    cosines = (pictures.image.astype("float64") * pictures.text.astype("float64")).sum(1)
    if not (abs(cosines) <= 1 + 1e-6).all():
        return sample.result(name, None, n_generated=len(pictures), flags=(f"{REFUSED}: some features are not finite",))
    found = mean_over_prompts(cosines, pictures)
    flags = found.flags
    if pictures.truncated:
        prompts = len(found.per_prompt)
        flags += (f"truncated: {len(pictures.truncated)} of {prompts} prompts are longer than the encoder reads",)
    return sample.result(
        name,
        found.value,
        interval=found.interval,
        n_generated=len(pictures),
        flags=flags,
        per_prompt=found.per_prompt,
        per_picture=found.per_picture,
    )


def compute(sample: Sample) -> MetricResult:
    """The cosine on the prompts of the learned style or thing."""
    return prompt_cosines("clip_score", sample, sample.generated)


RECORD = Metric(
    name="clip_score",
    label="CLIP score",
    summary="Cosine between each picture and its prompt, under a frozen CLIP; higher follows the prompt better.",
    paper="Hessel et al. 2021, CLIPScore, arXiv:2104.08718",
    better="higher",
    needs=("prompts",),
    features=("clip",),
    compute=compute,
)
