"""A comparison's numbers as files: CSV with everything, LaTeX and Markdown to read."""

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any

from sdstudio.results import (
    ARROWS,
    Evaluation,
    cells,
    count_text,
    decimals_of,
    interval_text,
    metrics_of,
    rankings,
)
from sdstudio.results.methods import methods_text
from sdstudio.results.ranking import SHARED, is_rankable
from sdstudio.schema import MetricResult

LEGEND = (
    "Values with 95% intervals; N: pictures drawn vs real ones. 1st, 2nd and 3rd only where rows can be ranked; "
    f"{SHARED}."
)


def table_csv(results: Sequence[MetricResult]) -> str:
    """One line per model and metric, every number in full, empty where there is none."""
    text = io.StringIO()
    lines = [_csv_line(result) for result in results]
    writer = csv.DictWriter(text, list(lines[0]) if lines else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _csv_line(result: MetricResult) -> dict[str, Any]:
    low, high = result.interval or (None, None)
    paired = result.versus_base
    paired_low, paired_high = (paired and paired.interval) or (None, None)
    return {
        "model": result.model,
        "metric": result.metric,
        "value": result.value,
        "low": low,
        "high": high,
        "n_generated": result.n_generated,
        "n_reference": result.n_reference,
        "difference_from_base": paired and paired.difference,
        "difference_low": paired_low,
        "difference_high": paired_high,
        "ratio_to_base": paired and paired.ratio,
        "extractor": result.extractor,
        "preprocessing": result.preprocessing,
        "flags": "; ".join(result.flags),
    }


def table_markdown(evaluation: Evaluation) -> str:
    """A table of GitHub's Markdown: value, interval and N, best, second and third; then flags and methods paragraph."""
    results = evaluation.results
    metrics = metrics_of(results)
    notes: dict[str, int] = {}
    places = rankings(results)

    def cell(found: MetricResult | None) -> str:
        if found is None:
            return "–"
        marks = "".join(f"<sup>{notes.setdefault(flag, len(notes) + 1)}</sup>" for flag in found.flags)
        if found.value is None:
            return f"not computed{marks}"
        digits = decimals_of(results, found.metric)
        parts = (f"{found.value:.{digits}f}", interval_text(found.interval, digits), f"N {count_text(found)}")
        place = places[found.metric].places.get(found.model)
        text = " ".join(part for part in parts if part) + marks
        return f"{_STRENGTH[place](text)} ({_ORDINALS[place]})" if place in _ORDINALS else text

    heads = [_markdown(f"{metric.label} {ARROWS[metric.better]}") for metric in metrics]
    lines = [f"| Model | {' | '.join(heads)} |", f"|---|{'---|' * len(metrics)}"]
    lines += [
        f"| {_markdown(model)} | {' | '.join(cell(row.get(metric.name)) for metric in metrics)} |"
        for model, row in cells(results).items()
    ]
    extractors = ", ".join(dict.fromkeys(result.extractor for result in results))
    foot = f"{LEGEND} Features: {extractors}. Protocol `{evaluation.protocol_hash[:12]}`."
    numbered = [f"{number}. {_markdown(flag)}" for flag, number in notes.items()]
    methods = f"**Methods.** {_markdown(methods_text(evaluation))}"
    return "\n".join([*lines, "", foot, *(["", *numbered] if numbered else []), "", methods]) + "\n"


_ORDINALS = {1: "1st", 2: "2nd", 3: "3rd"}
_STRENGTH: dict[int, Callable[[str], str]] = {1: "**{}**".format, 2: "*{}*".format, 3: "{}".format}


def _markdown(text: str) -> str:
    return "".join(f"\\{character}" if character in "\\`*_[]<>|" else character for character in text)


def table_latex(evaluation: Evaluation) -> str:
    """A booktabs table: a row per model with 95% intervals; best in bold, second underlined, third in italics."""
    results = evaluation.results
    metrics = metrics_of(results)
    places = rankings(results)
    heads = [_latex(f"{metric.label} {ARROWS[metric.better]}") for metric in metrics]
    lines = []
    for model, row in cells(results).items():
        line = [_latex(model)]
        for metric in metrics:
            line.append(
                _latex_cell(
                    row.get(metric.name), decimals_of(results, metric.name), places[metric.name].places.get(model)
                )
            )
        lines.append(" & ".join(line) + r" \\")
    extractors = ", ".join(dict.fromkeys(result.extractor for result in results))
    body = "\n".join(lines)
    return (
        f"% Protocol {evaluation.protocol_hash}\n"
        "\\begin{table}\n\\centering\n"
        f"\\begin{{tabular}}{{l{'r' * len(metrics)}}}\n\\toprule\n"
        f"Model & {' & '.join(heads)} \\\\\n\\midrule\n{body}\n\\bottomrule\n\\end{{tabular}}\n"
        f"\\caption{{{_latex(evaluation.protocol.name or 'Comparison')}. Values with 95\\% intervals; "
        f"features: {_latex(extractors)}; bold, underlined and italic: best, second and third where rows can be "
        f"ranked; {_latex(SHARED)}; "
        "$^*$ not ranked: exploratory or without an interval; "
        f"protocol {evaluation.protocol_hash[:12]}.}}\n"
        "\\end{table}\n"
    )


_LATEX_PLACES = {1: "textbf", 2: "underline", 3: "textit"}


def _latex_cell(cell: MetricResult | None, digits: int, place: int | None) -> str:
    if cell is None or cell.value is None:
        return "--"
    value = f"{cell.value:.{digits}f}"
    value = f"\\{_LATEX_PLACES[place]}{{{value}}}" if place in _LATEX_PLACES else value
    star = "" if is_rankable(cell) else "$^*$"
    interval = f" {{\\scriptsize {interval_text(cell.interval, digits)}}}" if cell.interval else ""
    return f"{value}{star}{interval}"


def _latex(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "×": r"$\times$"}
    special |= {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "÷": r"$\div$"}
    special |= {character: f"\\{character}" for character in "&%$#_{}"}
    return "".join(special.get(character, character) for character in text)
