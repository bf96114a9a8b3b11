"""A comparison as one HTML file that needs nothing else: pictures inside, no script, no link to anywhere."""

import base64
import io
import time
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from PIL import Image

from sdstudio.results import (
    Evaluation,
    Picture,
    Row,
    cells,
    count_text,
    decimals_of,
    interval_text,
    metrics_of,
    rankings,
)
from sdstudio.results.methods import methods_text
from sdstudio.results.ranking import SHARED, is_rankable
from sdstudio.schema import Metric, MetricResult
from sdstudio.words import count
from sdstudio.workspace import Workspace, atomic_write

REPORT_FILE = "report.html"
PROMPTS_SHOWN, SEEDS_SHOWN, REFERENCE_SHOWN = 16, 4, 18
LARGEST_SIDE = 256


def write_report(evaluation: Evaluation, folder: Path, ws: Workspace) -> Path:
    """Write `report.html` into the evaluation's folder; the reference pictures are read from the workspace."""
    path = folder / REPORT_FILE
    atomic_write(path, render(evaluation, folder, ws.root))
    return path


def render(evaluation: Evaluation, folder: Path, root: Path) -> str:
    """The report as HTML. Generated pictures are read from `folder`, reference pictures from `root`."""
    title = escape(evaluation.protocol.name or "Comparison of models")
    style = (Path(__file__).with_name("report.css")).read_text(encoding="utf-8")
    created = time.localtime(evaluation.created)
    when = f"{created.tm_mday} {time.strftime('%B %Y', created)}"
    parts = [
        f"<h1>{title}</h1>",
        f'<p class="lead">{when} · {_models(evaluation)} · protocol <code>{evaluation.protocol_hash[:12]}</code></p>',
        _scores(evaluation),
        _reference(evaluation, root),
        _grid(evaluation.rows, folder, drift=False),
        _grid(evaluation.rows, folder, drift=True),
        _methods(evaluation),
        _protocol(evaluation),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">\n"
        f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def _models(evaluation: Evaluation) -> str:
    trained = sum(row.role == "trained" for row in evaluation.rows)
    return f"{count(trained, 'trained model')} beside the base model"


# ---------------------------------------------------------------- the table


def _scores(evaluation: Evaluation) -> str:
    metrics = metrics_of(evaluation.results)
    notes: dict[str, int] = {}
    places = {name: ranking.places for name, ranking in rankings(evaluation.results).items()}
    roles = {row.label: row.role for row in evaluation.rows}
    heads = "".join(f"<th>{escape(metric.label)}<small>{metric.better} is better</small></th>" for metric in metrics)
    lines = []
    for model, row in cells(evaluation.results).items():
        role = roles.get(model, "floor")
        about = {"base": "before training", "trained": "", "floor": _about_floor(row.values(), metrics)}[role]
        about = f"<small>{about}</small>" if about else ""
        columns = "".join(
            _cell(row.get(metric.name), places[metric.name], evaluation.results, notes) for metric in metrics
        )
        kind = "" if role == "trained" else ' class="line"'
        lines.append(f"<tr{kind}><th>{escape(model)}{about}</th>{columns}</tr>")
    flags = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return (
        f'<h2>Results</h2>\n<div class="scroll"><table class="scores"><thead><tr><th>Model</th>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>\n"
        '<p class="soft">Under each value: its 95% interval, the number of pictures (generated vs real), and where '
        "pictures are paired the change from the base model. Best, second and third are marked only where rows can be "
        f"ranked; {SHARED}.</p>\n" + (f'<ol class="notes">{flags}</ol>' if flags else "")
    )


def _about_floor(row: Iterable[MetricResult], metrics: Sequence[Metric]) -> str:
    labels = {metric.name: metric.label for metric in metrics}
    weak = [labels[cell.metric] for cell in row if not is_rankable(cell)]
    told = "what a perfect model would get"
    return f"{told}; too few pictures to tell: {', '.join(weak)}" if weak else told


def _cell(
    cell: MetricResult | None, places: Mapping[str, int], results: Sequence[MetricResult], notes: dict[str, int]
) -> str:
    if cell is None:
        return '<td class="none">–</td>'
    marks = ", ".join(str(notes.setdefault(flag, len(notes) + 1)) for flag in cell.flags)
    marks = f"<sup>{marks}</sup>" if marks else ""
    if cell.value is None:
        return f'<td class="none">not computed{marks}<small>N {count_text(cell)}</small></td>'
    digits = decimals_of(results, cell.metric)
    small = f"<small>{_minus(interval_text(cell.interval, digits)) or 'no interval'}</small>"
    small += f"<small>N {count_text(cell)}</small>"
    if cell.versus_base:
        change = f"{cell.versus_base.difference:+.{digits}f} {interval_text(cell.versus_base.interval, digits)}"
        ratio = f" · ×{cell.versus_base.ratio:.2f}" if cell.versus_base.ratio is not None else ""
        small += f'<small class="change">vs base{ratio}</small><small>{_minus(change)}</small>'
    place = places.get(cell.model, 0)
    kind = _PLACES.get(place, "" if is_rankable(cell) else "unranked")
    value = _minus(f"{cell.value:.{digits}f}")
    return f'<td class="{kind}"><span class="value">{value}</span>{marks}{small}</td>'


_PLACES = {1: "best", 2: "second", 3: "third"}


def _minus(text: str) -> str:
    return escape(text.replace("-", "−"))


# ---------------------------------------------------------------- pictures


def _grid(rows: Sequence[Row], folder: Path, *, drift: bool) -> str:
    table = {row.key: _by_prompt(picture for picture in row.pictures if picture.drift is drift) for row in rows}
    prompts = list(table[rows[0].key])
    if not prompts:
        return ""
    seeds = max(len(pictures) for pictures in table[rows[0].key].values())
    heads = "".join(f"<th>{escape(row.label)}</th>" for row in rows)
    lines = "".join(
        f'<tr><th class="prompt">{escape(prompt).replace("{trigger}", "<i>{trigger}</i>")}</th>'
        + "".join(f"<td>{_tiles(table[row.key].get(prompt, []), folder)}</td>" for row in rows)
        + "</tr>"
        for prompt in prompts[:PROMPTS_SHOWN]
    )
    title = "Without the trigger: what else changed" if drift else "Side by side"
    hidden = [
        f"{shown} of {there} {what}"
        for shown, there, what in ((PROMPTS_SHOWN, len(prompts), "prompts"), (SEEDS_SHOWN, seeds, "seeds"))
        if there > shown
    ]
    shown = (
        f" Shown are {' and '.join(hidden)}; all pictures lie in the folder <code>pictures</code>." if hidden else ""
    )
    return (
        f'<h2>{title}</h2>\n<p class="soft">Same prompt, same seeds, in the same order for every model.{shown}</p>\n'
        f'<div class="scroll"><table class="pictures" style="--models: {len(rows)}">'
        f"<thead><tr><th>Prompt</th>{heads}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _by_prompt(pictures: Iterable[Picture]) -> dict[str, list[Picture]]:
    found: dict[str, list[Picture]] = {}
    for picture in pictures:
        found.setdefault(picture.prompt, []).append(picture)
    return found


def _tiles(pictures: Sequence[Picture], folder: Path) -> str:
    shown = pictures[:SEEDS_SHOWN]
    images = "".join(_image(folder / picture.file, f"{picture.text} (seed {picture.seed})") for picture in shown)
    return f'<div class="tiles{" several" if len(shown) > 1 else ""}">{images}</div>'


def _reference(evaluation: Evaluation, root: Path) -> str:
    if not evaluation.reference:
        return ""
    total = len(evaluation.reference)
    shown = evaluation.reference[:REFERENCE_SHOWN]
    images = "".join(_image(root / file, "a reference picture") for file in shown)
    part = f"{len(shown)} of the {total}" if len(shown) < total else f"The {total}"
    return (
        f'<h2>Reference</h2>\n<p class="soft">{part} real pictures of <code>{escape(evaluation.protocol.reference)}'
        f'</code> that the models are held against.</p>\n<div class="strip">{images}</div>'
    )


def _image(path: Path, text: str) -> str:
    """The picture as a data URL: the file's own bytes while small, a JPEG of at most 256 pixels a side otherwise."""
    with Image.open(path) as picture:
        width, height = picture.size
        if picture.format == "PNG" and max(width, height) <= LARGEST_SIDE:
            kind, data = "png", path.read_bytes()
        else:
            small = picture.convert("RGB")
            small.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
            width, height = small.size
            buffer = io.BytesIO()
            small.save(buffer, "JPEG", quality=88)
            kind, data = "jpeg", buffer.getvalue()
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    words = escape(text, quote=True)
    return f'<img src="{source}" alt="{words}" title="{words}" width="{width}" height="{height}">'


# ---------------------------------------------------------------- words


def _methods(evaluation: Evaluation) -> str:
    terms = "".join(
        f'<dt>{escape(metric.label)}</dt><dd>{escape(metric.summary)} <span class="soft">{escape(metric.paper)}'
        "</span></dd>"
        for metric in metrics_of(evaluation.results)
    )
    return f"<h2>Methods</h2>\n<p>{escape(methods_text(evaluation))}</p>\n<dl>{terms}</dl>"


def _protocol(evaluation: Evaluation) -> str:
    protocol = evaluation.protocol
    settings = protocol.settings
    size = f"{settings.width} × {settings.height} px" if settings.width and settings.height else "the model's own"
    entries = {
        "Models": [f"{row.label}: {row.model.base_model}{_on(row)}" for row in evaluation.rows],
        "Prompts": protocol.prompts,
        "Drift prompts": protocol.drift_prompts,
        "Seeds": [", ".join(str(seed) for seed in protocol.seeds)],
        "Negative prompt": [settings.negative_prompt] if settings.negative_prompt else [],
        "Size": [size],
        "Protocol hash": [evaluation.protocol_hash],
    }
    lines = "".join(f"<dt>{name}</dt><dd>{_values(values)}</dd>" for name, values in entries.items() if values)
    return f"<h2>Protocol</h2>\n<dl>{lines}</dl>"


def _on(row: Row) -> str:
    return f" + {row.model.checkpoint}" if row.model.checkpoint else ""


def _values(values: Sequence[str]) -> str:
    if len(values) == 1:
        return escape(values[0])
    return f"<ul>{''.join(f'<li>{escape(value)}</li>' for value in values)}</ul>"
