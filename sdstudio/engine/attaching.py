"""Checkpoints put on a base model that is in memory, and taken off again so that nothing of them is left."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline

from sdstudio.engine.pipeline import LoadedModel, find_method, load_base
from sdstudio.families.loading import tensor_names
from sdstudio.methods import lora
from sdstudio.methods.deltas import DELTA, load_delta
from sdstudio.methods.negatives import avoiding
from sdstudio.methods.parts import named_parameters, text_encoders
from sdstudio.methods.textual_inversion import FILES as WORDS
from sdstudio.methods.textual_inversion import tokenizer_of
from sdstudio.models import MANIFEST_FILE, checkpoint_hash, damage, read_checkpoint, resolve_checkpoint
from sdstudio.schema import Checkpoint, ModelRef, UserError, from_json
from sdstudio.workspace import Workspace, read_json

TakeOff = Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A checkpoint that was found, how strongly it shall count, and what its LoRA is called in the pipeline."""

    folder: Path
    checkpoint: Checkpoint
    hash: str
    weight: float
    adapter: str

    @property
    def has_lora(self) -> bool:
        return (self.folder / lora.WEIGHTS).is_file()

    @property
    def stays(self) -> tuple[str, float | None]:
        """Equal for checkpoints that need nothing put on or taken off between them: of a mere LoRA, any weights."""
        return (self.hash, self.weight if self._files != {lora.WEIGHTS} else None)

    @property
    def can_be_taken_off(self) -> bool:
        """False for the checkpoint of a method that writes files of its own kind."""
        return self._files <= {lora.WEIGHTS, DELTA, *WORDS.values()}

    @property
    def _files(self) -> set[str]:
        files = read_json(self.folder / MANIFEST_FILE)["files"]
        return {name for name in files if name.endswith(".safetensors")}


def load_model(ws: Workspace, ref: ModelRef, dtype: torch.dtype = torch.float32) -> LoadedModel:
    """The model that `ref` names, on the CPU, its checkpoints taken in.

    Raises UserError when base model or checkpoint is missing, damaged, or one does not belong to the other.
    """
    wanted = find_wanted(ws, ref)
    base = load_base(ws, ref.base_model, dtype)
    for item in wanted:
        check(base, item, ref.base_model)
    for item in wanted:
        put_on(base.pipeline, item)
    weigh(base.pipeline, wanted)
    return described(base, wanted, ref)


def find_wanted(ws: Workspace, ref: ModelRef) -> list[Wanted]:
    """The checkpoints of `ref`; a UserError for one that is missing or named twice."""
    found = []
    for place, extra in enumerate(ref.checkpoints):
        folder = resolve_checkpoint(ws, extra.checkpoint)
        checkpoint = read_checkpoint(folder)
        adapter = f"{lora.ADAPTER}_{place}" if place else lora.ADAPTER
        digest = checkpoint_hash(folder)
        found.append(Wanted(folder=folder, checkpoint=checkpoint, hash=digest, weight=extra.weight, adapter=adapter))
        if len({item.hash for item in found}) < len(found):
            raise UserError(f"{_name(checkpoint)} is chosen twice: choose it once, with the weight that it shall have.")
    return found


def check(base: LoadedModel, wanted: Wanted, base_model: str) -> None:
    """A UserError when the checkpoint is damaged or another family's, or cannot count more or less than it does."""
    checkpoint = wanted.checkpoint
    fault = damage(wanted.folder)
    if fault:
        raise UserError(f"The checkpoint {wanted.folder} is damaged ({fault}): choose an earlier one.")
    if base.family.name != checkpoint.family:
        raise UserError(
            f"The checkpoint {wanted.folder.name} was trained on the {checkpoint.family!r} family (base model "
            f"{checkpoint.base_model!r}) and does not fit {base_model!r}, which is {base.family.name!r}: "
            "choose the base model that it was trained on."
        )
    if wanted.weight != 1 and not (wanted.has_lora or (wanted.folder / DELTA).is_file()):
        raise UserError(
            f"{_name(checkpoint)} has no strength of its own: leave its weight at 1"
            + (f", and write ({checkpoint.trigger}:1.2) in the prompt." if checkpoint.trigger else ".")
        )


def put_on(pipeline: DiffusionPipeline, wanted: Wanted) -> TakeOff:
    """Put one checkpoint on; returns what takes it off, to be called before what was put on earlier is.

    The weight of its LoRA counts from the next `weigh` on. Raises UserError when it does not fit; what it had begun to
    change is then undefined.
    """
    checkpoint = wanted.checkpoint
    options = from_json(find_method(checkpoint.method).Options, checkpoint.method_options)
    if not wanted.can_be_taken_off:
        find_method(checkpoint.method).load(pipeline, wanted.folder, options)
        return _nothing
    undo: list[TakeOff] = []
    if (wanted.folder / DELTA).is_file():
        undo.append(_put_delta(pipeline, wanted))
    if wanted.has_lora:
        lora.load(pipeline, wanted.folder, options, wanted.adapter)
        undo.append(lambda: pipeline.delete_adapters(wanted.adapter))
    if any((wanted.folder / file).is_file() for file in WORDS.values()):
        undo.append(_put_word(pipeline, wanted, options))

    def take_off() -> None:
        for step in reversed(undo):
            step()

    return take_off


def weigh(pipeline: DiffusionPipeline, wanted: list[Wanted]) -> None:
    """Let the LoRAs of `wanted`, which are put on, count with their weights; without any, take what held them out."""
    weights = {item.adapter: item.weight for item in wanted if item.has_lora and item.can_be_taken_off}
    if weights:
        pipeline.set_adapters(list(weights), list(weights.values()))
    elif all(item.can_be_taken_off for item in wanted) and pipeline.get_list_adapters():
        pipeline.unload_lora_weights()


def described(base: LoadedModel, wanted: list[Wanted], ref: ModelRef) -> LoadedModel:
    """`base` as the model that it is with `wanted` on it: its label, its hash, and what is odd about it."""
    flags: list[str] = []
    parts = list(dict.fromkeys(part for item in wanted for part in item.checkpoint.negative_parts))
    for item in wanted:
        if base.base_hash != item.checkpoint.base_hash:
            flags.append(
                f"{_name(item.checkpoint)} was trained on other weights ({item.checkpoint.base_model}) than those it "
                f"is put on ({ref.base_model})"
            )
    if parts:
        flags.append(f"asked with {avoiding('', parts).removeprefix(', ')!r}, as negative examples taught it")
    names = [_name(item.checkpoint) + (f" × {item.weight:g}" if item.weight != 1 else "") for item in wanted]
    return replace(
        base,
        label=ref.label or " + ".join([base.label, *names]),
        checkpoint_hash="+".join(item.hash + (f"*{item.weight:g}" if item.weight != 1 else "") for item in wanted),
        flags=tuple(flags),
        negative_parts=tuple(parts),
    )


def _name(checkpoint: Checkpoint) -> str:
    return f"{checkpoint.run} step {checkpoint.step}"


def _nothing() -> None:
    """Takes nothing off: the base model must be loaded anew."""


def _put_delta(pipeline: DiffusionPipeline, wanted: Wanted) -> TakeOff:
    names = tensor_names(wanted.folder / DELTA)
    before = named_parameters(pipeline)
    kept = {name: before[name].data.to("cpu", copy=True) for name in names if name in before}
    load_delta(pipeline, wanted.folder, wanted.weight)

    def take_off() -> None:
        parameters = named_parameters(pipeline)
        for name, value in kept.items():
            parameters[name].data.copy_(value)

    return take_off


def _put_word(pipeline: DiffusionPipeline, wanted: Wanted, options: Any) -> TakeOff:
    known: Mapping[str, Any] = {component: tokenizer_of(pipeline, component) for component in text_encoders(pipeline)}
    taken = [word for word in _words(wanted) if any(word in tokenizer.get_vocab() for tokenizer in known.values())]
    if taken:
        raise UserError(
            f"The word {taken[0]!r} of {_name(wanted.checkpoint)} is taught by another chosen one, or known to the "
            "model already: choose one of them."
        )
    kept = {}
    for component, encoder in text_encoders(pipeline).items():
        embedding = encoder.get_input_embeddings()
        kept[component] = (embedding, embedding.weight.data)
        setattr(pipeline, _tokenizer_name(component), copy.deepcopy(known[component]))
    find_method(wanted.checkpoint.method).load(pipeline, wanted.folder, options)

    def take_off() -> None:
        for component, (embedding, weights) in kept.items():
            encoder = text_encoders(pipeline)[component]
            embedding.weight.data, embedding.num_embeddings = weights, len(weights)
            encoder.set_input_embeddings(embedding)
            encoder.config.vocab_size = len(weights)
            setattr(pipeline, _tokenizer_name(component), known[component])

    return take_off


def _words(wanted: Wanted) -> set[str]:
    files = (wanted.folder / file for file in WORDS.values())
    return {name for file in files if file.is_file() for name in tensor_names(file)}


def _tokenizer_name(component: str) -> str:
    return component.replace("text_encoder", "tokenizer")
