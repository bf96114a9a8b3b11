"""Pickles at every door through which a file of somebody else's comes in: a sentence, and nothing in them is run.

pytest tests/test_pickles.py
"""

import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from taught import taught
from tiny_models import build, make_dataset

from sdstudio import hub, jobs, registry
from sdstudio.datasets.importer import import_folder, import_pictures
from sdstudio.engine.attaching import load_model
from sdstudio.engine.pipeline import load_base
from sdstudio.models import MANIFEST_FILE, list_base_models, resolve_base_model, resolve_checkpoint, sha256_file
from sdstudio.schema import ExportConfig, GenerateConfig, ImportConfig, ModelRef, TrainConfig, UserError
from sdstudio.sharing.exporting import check_export
from sdstudio.workspace import PICKLES, Workspace, write_json


class Trap:
    """What is unpickled makes a folder."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.sprung),)


def lay(trap: Trap, file: Path) -> Path:
    """A pickle; where the name is one of torch's files, in the zip that torch writes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix in (".pt", ".pth"):
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(trap, protocol=2))
            archive.writestr("archive/version", "3\n")
    else:
        file.write_bytes(pickle.dumps(trap))
    return file


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "studio")
    workspace.root.mkdir()
    return workspace


@pytest.fixture
def trap(tmp_path: Path):
    trap = Trap(tmp_path / "sprung")
    yield trap
    assert not trap.sprung.exists(), "the pickle was read"
    pickle.loads(pickle.dumps(trap))
    assert trap.sprung.exists(), "the trap is none"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "sd1"
    build("sd1", folder)
    return folder


def plug_in(room: str, name: str, ws: Workspace, file: str) -> Any:
    record = registry.load(f"sdstudio.{room}")[name]
    return record.load(record.Options(model=file), "cpu")


def train_on(ws: Workspace, file: str) -> Any:
    make_dataset(ws)
    return jobs.submit(ws, "train", TrainConfig(dataset="toys", base_model=file))


DOORS: dict[str, Callable[[Workspace, str], Any]] = {
    "base model": resolve_base_model,
    "training": train_on,
    "checkpoint, LoRA or embedding": resolve_checkpoint,
    "generation": lambda ws, file: jobs.submit(
        ws, "generate", GenerateConfig(prompts=["a toy"], models=[ModelRef(checkpoint=file)])
    ),
    "export": lambda ws, file: check_export(ws, ExportConfig(checkpoint=file, format="kohya-lora")),
    "captioner": lambda ws, file: hub.model_folder(file),
    "detector": lambda ws, file: plug_in("detectors", "object_detection", ws, file),
    "open detector": lambda ws, file: plug_in("detectors", "zero_shot", ws, file),
    "reader": lambda ws, file: plug_in("readers", "trocr", ws, file),
    "CLIP": lambda ws, file: registry.load("sdstudio.features")["clip"].load(file, "cpu"),
}


@pytest.mark.parametrize("suffix", [*PICKLES, ".CKPT"])
@pytest.mark.parametrize("door", DOORS)
def test_a_pickle_is_refused_by_its_name(door: str, suffix: str, ws: Workspace, tmp_path: Path, trap: Trap) -> None:
    file = lay(trap, tmp_path / f"weights{suffix}")
    with pytest.raises(UserError, match=r"may hold pickled code, which the studio never runs: convert it"):
        DOORS[door](ws, str(file))
    assert not list(ws.root.rglob("config.json")), "a job was made of it"


@pytest.mark.parametrize("suffix", PICKLES)
def test_a_pickle_among_the_models_is_not_offered(suffix: str, ws: Workspace, trap: Trap) -> None:
    file = lay(trap, ws.models / f"style{suffix}")
    assert file.name not in [model.ref for model in list_base_models(ws)]
    with pytest.raises(UserError, match="pickled"):
        resolve_base_model(ws, file.name)


@pytest.mark.parametrize("suffix", [*PICKLES, ".png", ".zip", ".parquet"])
def test_a_pickle_is_no_picture_and_no_table(suffix: str, ws: Workspace, tmp_path: Path, trap: Trap) -> None:
    file = lay(trap, tmp_path / "pictures" / f"weights{suffix}")
    with pytest.raises(UserError, match=r"no usable picture|holds no files"):
        import_folder(ws, "set", file.parent)
    assert not ws.datasets.exists()
    if suffix in PICKLES:
        with pytest.raises(UserError, match="give one that holds"):
            import_pictures(ws, ImportConfig(dataset="set", folder=str(file)))


def test_a_pickle_that_is_called_safetensors_is_no_base_model(ws: Workspace, tmp_path: Path, trap: Trap) -> None:
    file = lay(trap, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"not a whole \.safetensors file"):
        load_base(ws, str(file))


@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_model_folder_with_a_pickle_in_place_of_weights_is_refused(
    part: str, suffix: str, tiny: Path, ws: Workspace, tmp_path: Path, trap: Trap
) -> None:
    folder = shutil.copytree(tiny, tmp_path / "model")
    [weights] = (folder / part).glob("*.safetensors")
    weights.unlink()
    lay(trap, weights.with_suffix(suffix))
    with pytest.raises(UserError, match="safetensors"):
        load_base(ws, str(folder))


@pytest.mark.parametrize("method", ["lora", "textual_inversion", "full"])
def test_a_checkpoint_whose_weights_are_a_pickle_is_refused(method: str, tiny: Path, ws: Workspace, trap: Trap) -> None:
    """Its manifest vouches for the pickle, as a stranger's would."""
    ref = taught(ws, tiny, method, "run")
    folder = resolve_checkpoint(ws, ref.checkpoint)
    for weights in folder.glob("*.safetensors"):
        lay(trap, weights)
    files = {file.name: sha256_file(file) for file in folder.iterdir() if file.is_file() and file.name != MANIFEST_FILE}
    write_json(folder / MANIFEST_FILE, {"files": files})
    with pytest.raises(UserError, match=r"not a whole \.safetensors file"):
        load_model(ws, ref)


@pytest.mark.parametrize("encoder", ["inception", "lpips_alex", "lpips_vgg"])
def test_pickled_weights_of_an_encoder_are_not_read(encoder: str, tmp_path: Path, trap: Trap) -> None:
    record = registry.load("sdstudio.features")[encoder]
    picture = Path(__file__).parent / "astronaut.jpg"
    weights = tmp_path / import_module(f"sdstudio.features.{encoder}").FILE.name
    lay(trap, weights.with_suffix(".pth"))
    with pytest.raises(UserError, match="weights missing, get them by converting"):
        record.load(tmp_path, "cpu")
    lay(trap, weights)
    with pytest.raises(UserError, match=r"get it (as docs/metrics\.md says|anew)"):
        record.load(tmp_path, "cpu").images([picture])
