"""Which of a paper's orders held: in words, and in a table with the paper's figures beside ours."""

from collections.abc import Callable, Mapping, Sequence
from typing import get_args

from sdstudio import registry
from sdstudio.papers.numbers import Judged, Verdict
from sdstudio.papers.page import markdown_table
from sdstudio.results import decimals
from sdstudio.schema import Metric
from sdstudio.words import count, duration, size

FIGURES: dict[str, tuple[str, Callable[[float], str]]] = {
    "seconds": ("Training time", duration),
    "storage": ("Checkpoint size", size),
}


def orders(judged: Sequence[Judged], labels: Mapping[str, str]) -> str:
    """What held and what did not in a list by verdict, how that was judged, and the table of it all."""
    one_seed = any(one.seeds[1] == 1 for one in judged)
    rules = (
        "An order held where every seed agrees with it and, where a measure has a value for each prompt, a paired "
        "sign-flip test over prompts (mean over seeds) tells the two apart at 5% after Holm's adjustment over all of "
        "these. What was not measured, or on too few pictures, cannot be told."
    )
    if one_seed:
        rules += (
            " There is one seed, so that every order is one of two runs, not yet of two methods, and where a measure "
            "has no value for each prompt nothing tests it."
        )
    said = f"The original reports {count(len(judged), 'order')}:\n\n{_in_words(judged, labels)}"
    return f"{said}\n\n{rules}\n\n{_table(judged, labels)}"


def _in_words(judged: Sequence[Judged], labels: Mapping[str, str]) -> str:
    lines = []
    for verdict in get_args(Verdict):
        by_measure: dict[str, list[str]] = {}
        for one in judged:
            if one.verdict == verdict:
                by_measure.setdefault(measure_label(one.claim.measure), []).append(_order(one, labels))
        if by_measure:
            number = sum(len(pairs) for pairs in by_measure.values())
            told = "; ".join(f"{', '.join(pairs)} ({measure})" for measure, pairs in by_measure.items())
            lines.append(f"- **{number} {verdict}**: {told}.")
    return "\n".join(lines)


def _order(one: Judged, labels: Mapping[str, str]) -> str:
    return f"{labels[one.claim.first]} before {labels[one.claim.second]}"


def _table(judged: Sequence[Judged], labels: Mapping[str, str]) -> str:
    rows = [
        (
            _order(one, labels),
            measure_label(one.claim.measure),
            one.claim.said,
            " against ".join(measure_text(one.claim.measure, value) for value in one.values) if one.values else "–",
            f"{one.seeds[0]} of {one.seeds[1]}" if one.values else "–",
            f"{one.p:.3f}" if one.p is not None else "–",
            f"**{one.verdict}**",
        )
        for one in judged
    ]
    heads = ("Order", "By", "In the original", "Here", "Seeds that agree", "p (Holm)", "Verdict")
    return markdown_table(heads, rows, words=("By", "Verdict"))


def measure_label(name: str) -> str:
    """A metric's own label, or that of a run's figure."""
    records: Mapping[str, Metric] = registry.load("sdstudio.metrics")
    return FIGURES[name][0] if name in FIGURES else records[name].label if name in records else name


def measure_text(name: str, value: float) -> str:
    return FIGURES[name][1](value) if name in FIGURES else f"{value:.{decimals([value])}f}"
