"""Which models there are: base models (starter, workspace, Hub cache) and the checkpoints that runs left. No torch."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from sdstudio.schema import Checkpoint, ModelRef, UserError, from_json
from sdstudio.workspace import Workspace, read_json, refuse_pickle, write_json

STARTER = Path(__file__).parent / "starter/models"
PIPELINES = {"StableDiffusionPipeline": "sd", "StableDiffusionXLPipeline": "sdxl"}
"""diffusers' pipelines that the studio trains, and the family that each is of."""
CHECKPOINT_FILE = "checkpoint.json"
MANIFEST_FILE = "manifest.json"


@dataclass(frozen=True)
class BaseModel:
    """A base model: `ref` is what configs carry, `path` a folder or file, or the repository id of a Hub model."""

    ref: str
    path: str | Path
    kind: Literal["folder", "file", "hub"]
    label: str


class FoundCheckpoint(NamedTuple):
    """A checkpoint folder of a run; `path` is absolute, `ref` what a ModelRef carries."""

    run: str
    step: int
    path: Path
    checkpoint: Checkpoint

    @property
    def ref(self) -> str:
        """The path relative to the workspace, so that a copied workspace keeps its meaning."""
        return f"runs/{self.run}/checkpoints/{self.path.name}"


# ---------------------------------------------------------------- base models


def resolve_base_model(ws: Workspace, ref: str) -> BaseModel:
    """Find the base model that `ref` names.

    `ref` is 'starter', a name in the workspace's models folder, a diffusers folder, a .safetensors file or a Hub id
    ('owner/name'). Raises UserError when it is none of these or holds pickled weights.
    """
    ref = ref.strip()
    if ref == "starter":
        return _local("starter", STARTER / "sd", "Starter (bundled)")
    if not ref:
        raise UserError("No base model is named: give 'starter', a diffusers folder, a .safetensors file or a Hub id.")
    for path in _existing(ws.models, ref):
        return _local(ref, path.resolve(), path.stem if path.is_file() else path.name)
    refuse_pickle(Path(ref))
    if Path(ref).suffix == ".safetensors" or Path(ref).is_absolute():
        raise UserError(f"There is no base model at {ref}: check the path, or choose a listed model.")
    if ref.count("/") == 1 and not ref.startswith((".", "~", "/")):
        return BaseModel(ref, ref, "hub", ref)
    raise UserError(
        f"The base model {ref!r} is unknown: give 'starter', a diffusers folder, a .safetensors file, "
        "or a Hub id such as 'stable-diffusion-v1-5/stable-diffusion-v1-5'."
    )


def _existing(root: Path, ref: str) -> list[Path]:
    """What lies at `ref` within `root`, then at `ref` itself; nothing for a name that no file can have."""
    try:
        return [path for path in (root / ref, Path(ref).expanduser()) if path.exists()]
    except (OSError, ValueError, RuntimeError):  # too long, odd characters, an unknown ~user
        return []


def _local(ref: str, path: Path, label: str) -> BaseModel:
    if path.is_dir():
        if not (path / "model_index.json").is_file():
            raise UserError(f"{path} is not a diffusers model folder: it holds no model_index.json.")
        return BaseModel(ref, path, "folder", label)
    refuse_pickle(path)
    if path.suffix != ".safetensors":
        raise UserError(f"{path.name} is not a base model: give a diffusers folder or a .safetensors file.")
    return BaseModel(ref, path, "file", label)


def list_base_models(ws: Workspace) -> list[BaseModel]:
    """The starter, what lies in the workspace's models folder, and the Stable Diffusion models of the Hub cache."""
    return [resolve_base_model(ws, "starter"), *_workspace_models(ws), *_hub_models()]


def _workspace_models(ws: Workspace) -> Iterator[BaseModel]:
    for path in sorted(ws.models.glob("*")):
        if path.suffix == ".safetensors" or _is_whole_model(path):
            yield _local(path.name, path, path.name.removesuffix(".safetensors"))


def _hub_models() -> Iterator[BaseModel]:
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        return
    for repository in sorted(repositories, key=lambda item: item.repo_id):
        if any(_is_whole_model(revision.snapshot_path) for revision in repository.revisions):
            yield BaseModel(repository.repo_id, repository.repo_id, "hub", f"{repository.repo_id} (Hub cache)")


def _is_whole_model(folder: Path) -> bool:
    """True for a diffusers folder with weights; one without is only the configuration of a single file."""
    return (folder / "model_index.json").is_file() and is_supported(folder) and any(folder.glob("unet/*.safetensors"))


def is_supported(folder: Path) -> bool:
    """True when the diffusers folder holds a Stable Diffusion pipeline of a family that the studio trains."""
    return pipeline_class_name(folder) in PIPELINES


def pipeline_class_name(folder: Path) -> str:
    """`_class_name` in the folder's model_index.json; a UserError when it cannot be read."""
    return str(read_json(folder / "model_index.json").get("_class_name", ""))


def hash_base_model(ws: Workspace, path: Path) -> str:
    """sha256 that tells base models apart by their weights.

    A single file: of its bytes (what other programs call its model hash). A diffusers folder: of the lines
    '<component>/<file name> <sha256 of its bytes>' over every component's .safetensors files, sorted.
    Digests are cached under the workspace by path, modification time and size.
    """
    if path.is_file():
        return _file_digest(ws, path)
    files = sorted(path.glob("*/*.safetensors"))
    if not files:
        raise UserError(f"{path} holds no .safetensors weights: convert the model, or choose another one.")
    lines = "".join(f"{file.relative_to(path).as_posix()} {_file_digest(ws, file)}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def _file_digest(ws: Workspace, path: Path) -> str:
    status = path.stat()
    key = hashlib.sha256(f"{path.resolve()} {status.st_mtime_ns} {status.st_size}".encode()).hexdigest()
    cached = ws.cache / "digests" / f"{key}.json"
    if not cached.is_file():
        write_json(cached, {"file": str(path), "sha256": sha256_file(path)})
    return str(read_json(cached)["sha256"])


def sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---------------------------------------------------------------- checkpoints


def read_checkpoint(path: Path) -> Checkpoint:
    """`checkpoint.json` of a checkpoint folder; a UserError when the folder is missing or not a checkpoint."""
    if not (path / CHECKPOINT_FILE).is_file():
        raise UserError(f"{path} is not a checkpoint: choose a folder that holds {CHECKPOINT_FILE}.")
    return from_json(Checkpoint, read_json(path / CHECKPOINT_FILE))


def resolve_checkpoint(ws: Workspace, ref: str) -> Path:
    """The folder that a ModelRef's `checkpoint` names.

    `ref` is a checkpoint folder (absolute, or relative to the workspace) or a run's id, which means the run's newest.
    Raises UserError when there is none.
    """
    for folder in _existing(ws.root, ref):
        if (folder / CHECKPOINT_FILE).is_file():
            return folder.resolve()
    refuse_pickle(Path(ref))
    runs = [run for run in ws.runs.glob("*") if run.name == Path(ref).name]
    newest = latest_checkpoint(runs[0]) if runs else None
    if newest is None:
        raise UserError(f"There is no checkpoint {ref!r}: choose one that `sdstudio jobs list` or the page shows.")
    return newest


def check_family(ws: Workspace, model: ModelRef) -> None:
    """Raise UserError where a checkpoint is of another family than what it is put on, as far as can be told unloaded.

    The family of a single file or of a Hub model is known only when it is read.
    """
    base = resolve_base_model(ws, model.base_model)
    family = PIPELINES.get(pipeline_class_name(Path(base.path)), "") if base.kind == "folder" else ""
    for item in model.checkpoints:
        own = read_checkpoint(resolve_checkpoint(ws, item.checkpoint)).family
        if family and own != family:
            raise UserError(
                f"{item.checkpoint} was trained on the family {own!r} and does not fit {model.label or base.label}, "
                f"which is {family!r}: take it out, or choose a model of its family."
            )
        family = own


def list_checkpoints(ws: Workspace) -> list[FoundCheckpoint]:
    """Every checkpoint of every run, the newest run first and within it the last step first."""
    found = []
    for run in sorted(ws.runs.glob("*"), reverse=True):
        for folder in reversed(_checkpoint_folders(run)):
            try:
                checkpoint = read_checkpoint(folder)
            except UserError:
                continue
            found.append(FoundCheckpoint(run.name, checkpoint.step, folder, checkpoint))
    return found


def latest_checkpoint(run_folder: Path) -> Path | None:
    """The run's newest checkpoint whose files all match its manifest; None when there is none."""
    return next((folder for folder in reversed(_checkpoint_folders(run_folder)) if not damage(folder)), None)


def _checkpoint_folders(run_folder: Path) -> list[Path]:
    return sorted(folder for folder in run_folder.glob("checkpoints/step-*") if (folder / CHECKPOINT_FILE).is_file())


def damage(checkpoint: Path) -> str:
    """What is wrong with the checkpoint's files, in words; empty when each matches the manifest's sha256."""
    fault = damaged_files(checkpoint)
    if fault or CHECKPOINT_FILE in read_json(checkpoint / MANIFEST_FILE)["files"]:
        return fault
    return f"the manifest does not list {CHECKPOINT_FILE}"


def damaged_files(folder: Path) -> str:
    """What is wrong with the files that the folder's manifest lists, in words; empty when nothing is."""
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))["files"]
        for name, digest in manifest.items():
            if sha256_file(folder / name) != digest:
                return f"{name} differs from the manifest"
    except (OSError, ValueError, KeyError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def checkpoint_hash(checkpoint: Path) -> str:
    """sha256 of the checkpoint's manifest, which holds the sha256 of each file: names exactly these weights."""
    return sha256_file(checkpoint / MANIFEST_FILE)
