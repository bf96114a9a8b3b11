"""What a method says of a run before its job is made, so that a mistake costs one sentence. No torch here."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from sdstudio import registry
from sdstudio.datasets import open_dataset
from sdstudio.datasets.places import pictures_at
from sdstudio.datasets.store import DatasetStore
from sdstudio.datasets.tokens import CaptionTokenizer, load_tokenizer
from sdstudio.methods.parts import Facts, named_trigger
from sdstudio.models import read_checkpoint, resolve_base_model, resolve_checkpoint
from sdstudio.prompts import parse
from sdstudio.schema import Method, TrainConfig, UserError, from_json
from sdstudio.training.captions import as_learned
from sdstudio.words import count
from sdstudio.workspace import Workspace

SIDE_STEP = 8
"""The latents of Stable Diffusion have a side of an eighth of the picture's."""


def check_run(ws: Workspace, config: TrainConfig, captions: Sequence[str]) -> None:
    """Ask of a run everything that can be known before it starts; a UserError for the first that would fail."""
    if config.loop.resolution % SIDE_STEP:
        raise UserError(
            f"The resolution {config.loop.resolution} is not a multiple of {SIDE_STEP}: take "
            f"{round(config.loop.resolution / SIDE_STEP) * SIDE_STEP}."
        )
    _check_start(ws, config)
    _check_mix(ws, config)
    for name in (config.dataset, *(extra.dataset for extra in config.mix)):
        _check_files(ws, name)
    if config.loop.weighted_captions:
        _check_weights(captions, config.loop.shuffle_tags)
    check_method(ws, config, captions)


def captions_of(ws: Workspace, dataset: str, snapshot: str) -> Sequence[str]:
    """The captions that a run on the dataset, or a snapshot of it, would learn; read again only after a change."""
    changed = 0 if snapshot else last_change(open_dataset(ws, dataset))
    return _captions(ws.root, dataset, snapshot, changed)


@lru_cache(maxsize=2)
def _captions(root: Path, dataset: str, snapshot: str, changed: int) -> tuple[str, ...]:
    store = open_dataset(Workspace(root), dataset)
    if not snapshot:
        return tuple(store.trained_captions())
    return tuple(image.caption for image in store.load_snapshot(snapshot).images if image.caption.strip())


def last_change(store: DatasetStore) -> int:
    """When something was last written into the dataset's database, in nanoseconds since the epoch."""
    return max(file.stat().st_mtime_ns for file in store.folder.glob("captions.db*"))


def _check_weights(captions: Sequence[str], shuffled: bool) -> None:
    """Refuse a caption whose weights cannot be read, or no longer can once its parts between commas are shuffled."""
    for caption in captions:
        for text in [caption, *(caption.split(",") if shuffled else ())]:
            try:
                parse(text)
            except UserError as error:
                where = "" if text == caption else f" (shuffled, its part {text.strip()!r} stands alone)"
                raise UserError(
                    f"The weights in the caption {caption!r} cannot be read{where}: {error} Mend the caption, or turn "
                    "weighted captions off."
                ) from error


def _check_start(ws: Workspace, config: TrainConfig) -> None:
    if not config.init_checkpoint:
        return
    found = read_checkpoint(resolve_checkpoint(ws, config.init_checkpoint))
    if found.method != config.method:
        raise UserError(
            f"The checkpoint {config.init_checkpoint} was trained by {found.method}, and this run is one of "
            f"{config.method}: begin from a checkpoint of the same method, or from the base model."
        )


def _check_mix(ws: Workspace, config: TrainConfig) -> None:
    names = [extra.dataset for extra in config.mix]
    twice = next((name for name in names if [config.dataset, *names].count(name) > 1), None)
    if twice:
        raise UserError(f"The dataset {twice!r} is mixed in twice: name it once, and give it repeats.")
    for extra in config.mix:
        pictures, captioned, _ = open_dataset(ws, extra.dataset).counts()
        needed = config.loop.caption_mode == "as written" and not extra.regularisation
        if not pictures or (needed and not captioned):
            raise UserError(
                f"The dataset {extra.dataset!r}, which is mixed in, has no {'captions' if pictures else 'pictures'}: "
                f"{'write' if pictures else 'import'} some, or leave it out."
            )


def _check_files(ws: Workspace, dataset: str) -> None:
    """Refuse a dataset whose pictures cannot be opened."""
    files = _files(ws.root, dataset, last_change(open_dataset(ws, dataset)))
    broken = [path for path in files if not _is_picture(path)]
    if broken:
        raise UserError(
            f"{count(len(broken), 'picture')} of the dataset {dataset!r} cannot be read, such as {broken[0]}: "
            "import them again, or take them out of the dataset (Annotate)."
        )


@lru_cache(maxsize=8)
def _files(root: Path, dataset: str, changed: int) -> tuple[Path, ...]:
    store = open_dataset(Workspace(root), dataset)
    paths = store.image_paths()
    return tuple(paths[image.id] for image in store.trained_images())


def _is_picture(path: Path) -> bool:
    try:
        return _begins_as_picture(path, path.stat().st_mtime_ns)
    except OSError:
        return False


@lru_cache(maxsize=100_000)
def _begins_as_picture(path: Path, changed: int) -> bool:
    """Opened again only after the file has changed; what a picture is was looked at in full when it came in."""
    from PIL import Image, UnidentifiedImageError

    try:
        Image.open(path).close()
    except (OSError, UnidentifiedImageError, SyntaxError):
        return False
    return True


def check_method(ws: Workspace, config: TrainConfig, captions: Sequence[str]) -> None:
    """Ask the config's method whether it can learn from these captions; a UserError when it cannot."""
    method: Method = registry.load("sdstudio.methods")[config.method]
    options: Any = from_json(method.Options, config.method_options)
    if config.loop.caption_mode != "as written":  # then each of them begins alike
        options = replace(options, trigger=(method.trigger or named_trigger)(list(captions), options))
        captions = [as_learned("", options.trigger, config.loop)]
    if method.check is not None:
        method.check(options, facts_of(ws, config.base_model, captions))


def facts_of(ws: Workspace, base_model: str, captions: Sequence[str]) -> Facts:
    """What can be known of the base model without loading it."""
    folder = local_folder(ws, base_model)
    tokenizer = tokenizer_of(folder)
    return Facts(
        captions=list(captions),
        tokens=partial(pieces, tokenizer) if tokenizer else None,
        layers=_unet_names(folder),
        pictures=partial(pictures_at, ws),
    )


def local_folder(ws: Workspace, base_model: str) -> Path | None:
    """The diffusers folder of a base model on this machine; of a single file the folder with its configuration.

    None where there is no such folder, as of a Hub model that is not in the cache yet.
    """
    base = resolve_base_model(ws, base_model)
    if base.kind == "hub":
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            return Path(snapshot_download(str(base.path), local_files_only=True))
        except LocalEntryNotFoundError:
            return None
    path = Path(base.path)
    folder = path if base.kind == "folder" else path.with_suffix("")
    return folder if folder.is_dir() else None


def tokenizer_of(folder: Path | None) -> CaptionTokenizer | None:
    """The model's first tokenizer; None when the folder holds none."""
    try:
        return load_tokenizer(folder) if folder else None
    except UserError:
        return None


def pieces(tokenizer: CaptionTokenizer, text: str) -> list[str]:
    """The text as the tokenizer cuts it, such as ['z', 'l', '6'] for 'zl6'."""
    tokens = tokenizer.tokenizer.encode(text, add_special_tokens=False).tokens
    return [token.removesuffix("</w>") for token in tokens]


def _unet_names(folder: Path | None) -> frozenset[str]:
    from safetensors import SafetensorError, safe_open

    names: set[str] = set()
    for file in sorted(folder.glob("unet/*.safetensors")) if folder else ():
        try:
            with safe_open(file, framework="np") as tensors:
                names |= set(tensors.keys())
        except (SafetensorError, OSError):
            return frozenset()  # the job says what is wrong with the file
    return frozenset(names)
