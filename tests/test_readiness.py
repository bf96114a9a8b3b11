"""What is asked of a run before its job is made.   pytest tests/test_readiness.py"""

from pathlib import Path

import pytest
from tiny_models import make_dataset

from sdstudio.datasets import DatasetStore, open_dataset
from sdstudio.datasets.store import PERSON
from sdstudio.methods.parts import identifier_of
from sdstudio.schema import LoopConfig
from sdstudio.training import machine
from sdstudio.training.machine import refusals
from sdstudio.training.readiness import captions_of
from sdstudio.workspace import Workspace


def test_captions_are_read_again_only_after_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ws, read, captions = Workspace(tmp_path), [], DatasetStore.trained_captions
    make_dataset(ws, "toys", ["asim. a toy", "", "asim. a ball"])
    monkeypatch.setattr(DatasetStore, "trained_captions", lambda store: read.append(store.name) or captions(store))
    assert captions_of(ws, "toys", "") == captions_of(ws, "toys", "") == ("asim. a toy", "asim. a ball")
    assert read == ["toys"]

    store = open_dataset(ws, "toys")
    snapshot = store.snapshot().hash
    image = store.images()[1]
    store.set_caption(image.id, "asim. a cube", PERSON, image.version)
    assert captions_of(ws, "toys", "") == ("asim. a toy", "asim. a cube", "asim. a ball")
    assert sorted(captions_of(ws, "toys", snapshot)) == ["asim. a ball", "asim. a toy"], "a snapshot stays as it is"


def test_what_this_machine_lacks_is_said_by_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusals(LoopConfig(), "cpu") == {}
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    found = refusals(LoopConfig(optimizer="prodigy", mixed_precision="fp16", compile=True), "cpu")
    assert found.keys() == {"optimizer", "mixed_precision", "compile"}
    assert "run `pip install prodigyopt`" in found["optimizer"] and "needs a GPU" in found["mixed_precision"]
    assert refusals(LoopConfig(mixed_precision="fp16"), "cuda:0") == {}
    bits = LoopConfig(optimizer="adamw 8-bit")
    assert "run `pip install bitsandbytes`" in refusals(bits, "cuda:0")["optimizer"]
    monkeypatch.setattr(machine, "find_spec", lambda name: machine)
    assert "needs an NVIDIA GPU" in refusals(bits, "cpu")["optimizer"] and refusals(bits, "cuda:0") == {}


def test_the_identifier_of_many_captions_is_found_in_one_pass() -> None:
    captions = [f"word{number}, a toy" for number in range(50_000)]
    assert identifier_of([*captions, "asim, a toy", "asim, a ball"], "") == "asim"
    assert identifier_of(["a toy", "b. toy", "c. toy"], "") == "b", "the first of those that are equally common"
