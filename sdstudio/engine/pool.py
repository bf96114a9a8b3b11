"""Base models kept in memory, and the checkpoints that are put on them as pictures ask for them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from sdstudio.engine.attaching import TakeOff, Wanted, check, described, find_wanted, put_on, weigh
from sdstudio.engine.memory import free_bytes, free_memory
from sdstudio.engine.pipeline import LoadedModel, load_base, local_path, pick_device
from sdstudio.models import hash_base_model, resolve_base_model
from sdstudio.schema import ModelRef
from sdstudio.workspace import Workspace

ROOM = 2.0
"""Times the size of a base model's weights that must be free for it to lie beside others, its work included."""


@dataclass
class _Kept:
    """A base model in memory and what lies on it, the last thing on top."""

    base: LoadedModel
    stack: list[tuple[Wanted, TakeOff]] = field(default_factory=list)

    def lasting(self, wanted: list[Wanted]) -> int:
        """How many of the things that lie here, from below, may stay as they are."""
        same = 0
        while same < min(len(wanted), len(self.stack)) and wanted[same].stays == self.stack[same][0].stays:
            same += 1
        return same

    def dress(self, wanted: list[Wanted], same: int) -> None:
        """Take off all but the lowest `same` things, and put on what is wanted above them."""
        while len(self.stack) > same:
            self.stack.pop()[1]()
        for item in wanted[same:]:
            self.stack.append((item, put_on(self.base.pipeline, item)))
        weigh(self.base.pipeline, wanted)


class ModelPool:
    """One caller at a time draws from it; a second base model lies beside the first only where both fit.

    On a GPU models are in bfloat16 and channels-last, on the CPU in float32.
    """

    def __init__(self, ws: Workspace) -> None:
        self._ws = ws
        self._lock = threading.RLock()
        self._kept: dict[tuple[str, str], _Kept] = {}  # by path and hash, the longest unused first

    @contextmanager
    def use(self, ref: ModelRef) -> Iterator[LoadedModel]:
        """The model that `ref` names, on its device; it is the caller's alone for the time of the block.

        Raises UserError when base model or checkpoint is missing, damaged, or one does not belong to the other.
        """
        with self._lock:
            wanted = find_wanted(self._ws, ref)
            kept = self._take(ref.base_model, wanted)
            same = kept.lasting(wanted)
            for item in wanted[same:]:
                check(kept.base, item, ref.base_model)
            try:
                kept.dress(wanted, same)
            except BaseException:
                self._forget(kept)  # it may be half dressed
                raise
            kept.base.pipeline.to(pick_device())
            yield described(kept.base, wanted, ref)

    def free(self) -> None:
        """Let go of every model, and of the memory that they had."""
        with self._lock:
            self._kept.clear()
            free_memory()

    @property
    def is_empty(self) -> bool:
        return not self._kept

    def _take(self, base_model: str, wanted: list[Wanted]) -> _Kept:
        path = local_path(resolve_base_model(self._ws, base_model))
        key = (str(path), hash_base_model(self._ws, path))
        kept = self._kept.pop(key, None)
        if kept and not all(item.can_be_taken_off for item, _ in kept.stack[kept.lasting(wanted) :]):
            kept = None
            free_memory()
        if kept is None:
            self._make_room(_weights(path))
            kept = _Kept(_load(self._ws, base_model))
        self._kept[key] = kept
        return kept

    def _make_room(self, size: int) -> None:
        while self._kept and free_bytes() < ROOM * size:
            del self._kept[next(iter(self._kept))]
            free_memory()

    def _forget(self, kept: _Kept) -> None:
        self._kept = {key: other for key, other in self._kept.items() if other is not kept}
        free_memory()


def _load(ws: Workspace, base_model: str) -> LoadedModel:
    if pick_device().type != "cuda":
        return load_base(ws, base_model, torch.float32)
    base = load_base(ws, base_model, torch.bfloat16)
    base.pipeline.unet.to(memory_format=torch.channels_last)
    return base


def _weights(path: Path) -> int:
    """Bytes of the model's weights, as its files hold them."""
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.glob("*/*.safetensors")))
