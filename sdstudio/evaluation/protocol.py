"""What a protocol asks for, checked before anything is drawn: its rows, their pictures, and the hash of it all.

Every model, the base model always among them, is asked the same prompts with the same seeds, so that rows are paired.
`{trigger}` in a prompt becomes the trigger words of the checkpoint; the base model, which has none, gets the text of
the first trained model.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sdstudio import registry
from sdstudio.models import checkpoint_hash, hash_base_model, read_checkpoint, resolve_base_model, resolve_checkpoint
from sdstudio.results import FLOOR, Picture, Row
from sdstudio.schema import Metric, ModelRef, Protocol, UserError, to_json
from sdstudio.workspace import Workspace

TRIGGER = "{trigger}"


def protocol_hash(protocol: Protocol, reference: Iterable[str] = (), encoder: str = "") -> str:
    """sha256 of the canonical JSON of all that makes two rows comparable.

    Prompts, seeds, sampler, the reference pictures' hashes and the encoder's files count; the protocol's name, its
    models, its list of metrics and the settings that change no picture do not.
    """
    content = conditions(protocol)
    content |= {"reference_pictures": sorted(reference), "encoder": encoder}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def conditions(protocol: Protocol) -> dict[str, Any]:
    """What of a protocol decides its numbers: all but its name, its models, its metrics and how pictures are batched.

    Which part of the reference is taken shows in the pictures themselves.
    """
    content: dict[str, Any] = to_json(protocol)
    for key in ("name", "models", "metrics", "reference_snapshot", "reference_part"):
        del content[key]
    for key in ("batch_size", "seed"):  # the protocol's own seeds are drawn
        del content["settings"][key]
    return content


def check_protocol(ws: Workspace, protocol: Protocol) -> list[Row]:
    """The rows that the protocol asks for, the base models first, without pictures yet.

    Raises UserError for no models, no or repeated prompts or seeds, an unknown metric, what a metric needs and the
    protocol does not have, a missing checkpoint or base model. Draws and writes nothing.
    """
    if not protocol.models:
        raise UserError("There is no model to compare: choose a checkpoint, or the base model alone.")
    if not protocol.prompts:
        raise UserError("There are no prompts: give at least one, with '{trigger}' where the trigger words go.")
    if not protocol.seeds:
        raise UserError("There are no seeds: give at least one, for example 0.")
    if not protocol.metrics:
        raise UserError("There is no metric: choose at least one.")
    for what, values in (("prompt", protocol.prompts), ("drift prompt", protocol.drift_prompts)):
        if not all(value.strip() for value in values):
            raise UserError(f"There is an empty {what}: write it or take its line out.")
    for what, items in (
        ("prompt", protocol.prompts),
        ("drift prompt", protocol.drift_prompts),
        ("seed", protocol.seeds),
        ("metric", protocol.metrics),
    ):
        value, count = Counter(items).most_common(1)[0] if items else ("", 0)
        if count > 1:
            raise UserError(f"The {what} {value!r} is there {count} times: give each {what} once.")
    if min(protocol.seeds) < 0:
        raise UserError("A seed is below zero: every model needs the same fixed seeds, so give them as 0 or more.")
    known = {name for metric in registry.load("sdstudio.metrics").values() for name in metric.features}
    for name in protocol.encoders:
        if name not in known:
            raise UserError(f"There is no encoder {name!r}: choose from {', '.join(sorted(known))}.")
    for metric in metrics_in(protocol):
        if "drift_prompts" in metric.needs and not protocol.drift_prompts:
            raise UserError(
                f"{metric.label} needs drift prompts, which have no trigger: add some, or leave {metric.name} out."
            )
        if "reference" in metric.needs and not protocol.reference:
            raise UserError(
                f"{metric.label} needs a reference: name a dataset of real pictures that were not trained on, "
                f"or leave {metric.name} out."
            )
    return _rows(ws, protocol)


def metrics_in(protocol: Protocol) -> list[Metric]:
    return [registry.find("sdstudio.metrics", "metric", name) for name in protocol.metrics]


def _rows(ws: Workspace, protocol: Protocol) -> list[Row]:
    trained = [_trained_row(ws, model) for model in protocol.models if model.checkpoints]
    bases = [_base_row(ws, ModelRef(base_model=row.model.base_model)) for row in trained]
    bases += [_base_row(ws, model) for model in protocol.models if not model.checkpoints]
    trigger = trained[0].trigger if trained else ""
    rows = {row.key: replace(row, trigger=trigger) for row in bases} | {row.key: row for row in trained}
    return _distinct_labels(list(rows.values()))


def _base_row(ws: Workspace, model: ModelRef) -> Row:
    base = resolve_base_model(ws, model.base_model)
    key = _key("base", base.ref if base.kind == "hub" else hash_base_model(ws, Path(base.path)))
    return Row(key=key, label=model.label or f"Base: {base.label}", role="base", model=model, trigger="", base=key)


def _trained_row(ws: Workspace, model: ModelRef) -> Row:
    folders = [(resolve_checkpoint(ws, one.checkpoint), one.weight) for one in model.checkpoints]
    folder = folders[0][0]
    checkpoint = read_checkpoint(folder)
    base = _base_row(ws, ModelRef(base_model=model.base_model))
    weights = " ".join(f"{_weights_hash(place)} {weight:g}" for place, weight in folders)
    return Row(
        key=_key(checkpoint.method, f"{base.key} {weights}"),
        label=model.label or f"{checkpoint.method}, {checkpoint.run}, step {checkpoint.step}",
        role="trained",
        model=replace(model, checkpoint=ws.within(folder)) if model.checkpoint else model,
        trigger=checkpoint.trigger,
        base=base.key,
    )


def _weights_hash(checkpoint: Path) -> str:
    try:
        return checkpoint_hash(checkpoint)
    except FileNotFoundError as error:
        raise UserError(f"The checkpoint {checkpoint} has lost its manifest: choose another one.") from error


def _key(name: str, content: str) -> str:
    return f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def _distinct_labels(rows: list[Row]) -> list[Row]:
    counts = Counter(row.label for row in rows) + Counter([FLOOR])
    return [row if counts[row.label] == 1 else replace(row, label=f"{row.label} ({row.key})") for row in rows]


def wanted(row: Row, protocol: Protocol) -> list[Picture]:
    """The pictures that the protocol asks of the row's model, not drawn yet."""
    prompts = [(prompt, False) for prompt in protocol.prompts] + [(prompt, True) for prompt in protocol.drift_prompts]
    return [
        Picture(prompt=prompt, text=_fill_trigger(prompt, row.trigger), seed=seed, file="", drift=drift)
        for prompt, drift in prompts
        for seed in protocol.seeds
    ]


def _fill_trigger(prompt: str, trigger: str) -> str:
    """The prompt with '{trigger}' replaced, without a gap where there is no trigger."""
    return re.sub(r"\s+", " ", prompt.replace(TRIGGER, trigger)).strip() if TRIGGER in prompt else prompt
