"""The card of a model on the Hub: how to use it, what it learned from, by which settings, and how good it is."""

import json
from pathlib import Path
from typing import Any

from sdstudio import hub
from sdstudio.jobs.context import METRICS_FILE
from sdstudio.models import read_checkpoint
from sdstudio.results import (
    RESULTS_FILE,
    cells,
    count_text,
    decimals_of,
    interval_text,
    metrics_of,
    read_evaluation,
)
from sdstudio.schema import Checkpoint, MetricResult, PublishConfig, UserError
from sdstudio.workspace import Workspace, read_json

TAG = "sd-studio"


def write_card(
    ws: Workspace, folder: Path, config: PublishConfig, weights: str, samples: list[tuple[str, str]], form: str
) -> str:
    """README.md of the checkpoint in `folder`; `weights` is the exported file's name, '' for a diffusers folder.

    Figures are those of this very run: its validation loss, and its row of every comparison of the workspace.
    """
    checkpoint = read_checkpoint(folder)
    run = ws.runs / checkpoint.run
    parts = [
        f"---\n{_front_matter(checkpoint, config, samples)}---\n",
        f"# {config.repository.rpartition('/')[2]}",
        f"{_what(checkpoint, form)} Made with SD Studio.",
        _usage(checkpoint, weights),
        _samples(samples),
        _learned_from(ws, checkpoint),
        _settings(run),
        _figures(ws, folder, run, checkpoint),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(checkpoint: Checkpoint, config: PublishConfig, samples: list[tuple[str, str]]) -> str:
    """YAML; each value is JSON, which is YAML too."""
    fields: dict[str, Any] = {
        **({"license": config.license} if config.license else {}),
        "library_name": "diffusers",
        "pipeline_tag": "text-to-image",
        "tags": [TAG, checkpoint.method, "stable-diffusion", "text-to-image"],
        **({"base_model": checkpoint.base_model} if hub.is_id(checkpoint.base_model) else {}),
        **({"instance_prompt": checkpoint.trigger} if checkpoint.trigger else {}),
        **(
            {"widget": [{"text": text, "output": {"url": f"samples/{file}"}} for file, text in samples]}
            if samples
            else {}
        ),
    }
    return "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in fields.items())


def _what(checkpoint: Checkpoint, form: str) -> str:
    name = Path(checkpoint.base_model).name or checkpoint.base_model
    return f"What {checkpoint.method} learned on {name} in {checkpoint.step:,} steps; {form[:1].lower()}{form[1:]}."


def _usage(checkpoint: Checkpoint, weights: str) -> str:
    lines = ["## Use it"]
    if checkpoint.trigger:
        lines.append(f"The word that calls what it learned is `{checkpoint.trigger}`.")
    for part in checkpoint.negative_parts:
        lines.append(f"It was shown what went wrong: add `no negative {part}` to prompts.")
    if weights:
        lines.append(f"The file is `{weights}`.")
    return "\n\n".join(lines) if len(lines) > 1 else ""


def _samples(samples: list[tuple[str, str]]) -> str:
    pictures = [f"![{_plain(prompt)}](samples/{file})\n\n{_plain(prompt)}" for file, prompt in samples]
    return "\n\n".join(["## Samples", *pictures]) if pictures else ""


def _learned_from(ws: Workspace, checkpoint: Checkpoint) -> str:
    kept = ws.runs / checkpoint.run / "snapshot.json"
    if not kept.is_file():
        return ""
    snapshot = read_json(kept)
    count = len(snapshot["images"])
    return f"## What it learned from\n\n{count:,} pictures with captions (snapshot `{snapshot['hash'][:12]}`)."


def _settings(run: Path) -> str:
    if not (run / "config.json").is_file():
        return ""
    config = read_json(run / "config.json")
    shown = {**config["method_options"], **config["loop"]}
    rows = "\n".join(
        f"| {name.replace('_', ' ')} | {_cell(value)} |" for name, value in shown.items() if value not in ("", [])
    )
    return f"## Settings\n\n| Setting | Value |\n|---|---|\n{rows}\n\nAll of them are in `training_config.json`."


def _figures(ws: Workspace, folder: Path, run: Path, checkpoint: Checkpoint) -> str:
    parts = [_validation(run, checkpoint.step), *_comparisons(ws, folder)]
    return "\n\n".join(["## How good it is", *filter(None, parts)]) if any(parts) else ""


def _validation(run: Path, step: int) -> str:
    file = run / METRICS_FILE
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []
    row = next((row for row in rows if row["step"] == step and row.get("val_loss") is not None), None)
    if row is None:
        return ""
    base = f"; the base model's is {row['val_base']:.4f}" if row.get("val_base") is not None else ""
    return f"Loss on pictures that were set aside: {row['val_loss']:.4f}{base}."


def _comparisons(ws: Workspace, folder: Path) -> list[str]:
    """A table for each comparison that measured this very checkpoint: its row and its base model's."""
    tables = []
    for file in sorted(ws.evaluations.glob(f"*/{RESULTS_FILE}"), reverse=True):
        try:
            evaluation = read_evaluation(file.parent)
        except UserError:
            continue
        rows = {row.label: row for row in evaluation.rows}
        own = [row for row in evaluation.rows if row.model.checkpoint and _same(ws, row.model.checkpoint, folder)]
        for row in own:
            base = next((other.label for other in rows.values() if other.key == row.base), "")
            labels = [label for label in (base, row.label) if label]
            results = [result for result in evaluation.results if result.model in labels]
            tables.append(_table(results, {base: "Base model", row.label: "This model"}, evaluation.protocol_hash))
    return tables


def _same(ws: Workspace, ref: str, folder: Path) -> bool:
    return (ws.root / ref).resolve() == folder.resolve()


def _table(results: list[MetricResult], names: dict[str, str], protocol: str) -> str:
    metrics = metrics_of(results)
    lines = ["| | " + " | ".join(metric.label for metric in metrics) + " |", "|---" * (len(metrics) + 1) + "|"]
    for model, row in cells(results).items():
        texts = [_result(row.get(metric.name), results) for metric in metrics]
        lines.append(f"| {names[model]} | " + " | ".join(texts) + " |")
    note = f"Brackets: 95% interval. N: pictures measured, 'vs' real ones. Protocol {protocol[:12]}."
    return "\n".join(lines) + f"\n\n{note}"


def _result(cell: MetricResult | None, results: list[MetricResult]) -> str:
    if cell is None or cell.value is None:
        return ""
    places = decimals_of(results, cell.metric)
    return " ".join(
        part
        for part in (f"{cell.value:.{places}f}", interval_text(cell.interval, places), f"(N {count_text(cell)})")
        if part
    )


def _cell(value: Any) -> str:
    return _plain(", ".join(map(str, value)) if isinstance(value, list) else str(value))


def _plain(text: str) -> str:
    """Words of people inside Markdown: one line, nothing interpreted."""
    escaped = "".join(f"\\{sign}" if sign in r"\`*_{}[]()<>#|!" else sign for sign in text)
    return " ".join(escaped.split())
