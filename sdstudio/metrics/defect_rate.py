"""How many pictures have any of the defects that people looked for, crossed eyes among them."""

from dataclasses import replace

from sdstudio.metrics.rated import share_of_pictures
from sdstudio.metrics.sample import Sample
from sdstudio.ratings import judged, store
from sdstudio.ratings.judged import Share
from sdstudio.schema import Metric, MetricResult


def compute(sample: Sample) -> MetricResult:
    """The share of pictures with at least one defect, with Wilson's interval, from the sessions that have ended.

    A rater's pictures count once whatever the number of defects they looked for: with a defect where any of their
    answers is yes, without one where none is and at least one is no.
    """
    ratings = store.read(sample.folder) if sample.folder else store.Ratings()
    defects = dict.fromkeys(session.what for session in ratings.sessions if session.kind == "defect" and session.ended)
    answers: dict[tuple[str, str], set[str]] = {}
    for defect in defects:
        for session in ratings.ended("defect", defect):
            for (file,), answer in judged.first_answers(session).items():
                answers.setdefault((file, session.rater), set()).add(answer)
    shares: dict[str, Share] = {}
    for (file, _), said in answers.items():
        before = shares.get(file, Share(yes=0, seen=0, rated=0))
        shares[file] = Share(
            yes=before.yes + ("yes" in said), seen=before.seen + (said != {"absent"}), rated=before.rated + 1
        )
    result = share_of_pictures("defect_rate", sample, shares)
    return replace(result, flags=(f"any of: {', '.join(defects)}", *result.flags)) if len(defects) > 1 else result


RECORD = Metric(
    name="defect_rate",
    label="Defect rate",
    summary="Share of the pictures in which people, who do not see the model, found a defect they looked for.",
    paper="Wilson 1927, Probable Inference, JASA 22 (the interval)",
    better="lower",
    needs=("prompts", "ratings"),
    compute=compute,
)
