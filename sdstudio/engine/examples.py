"""What a run learns from: frozen snapshots and the captioned pictures in them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from sdstudio.datasets import fit, open_dataset
from sdstudio.engine.data import Material
from sdstudio.engine.latents import look_at
from sdstudio.jobs.context import JobContext
from sdstudio.methods.parts import Example
from sdstudio.schema import ExtraDataset, LoopConfig, Snapshot, TrainConfig, UserError, from_json, to_json
from sdstudio.training.captions import as_learned
from sdstudio.workspace import Workspace, read_json, write_json

SNAPSHOT_FILE = "snapshot.json"


@dataclass(frozen=True)
class Gathered:
    """Pictures to learn and pictures not to forget, with the fit and the repeats of each file."""

    snapshot: Snapshot
    captioned: list[Example] = field(default_factory=list)
    regularisation: list[Example] = field(default_factory=list)
    fits: dict[Path, str] = field(default_factory=dict)
    repeats: dict[Path, int] = field(default_factory=dict)

    def learned(self, trigger: str, loop: LoopConfig) -> list[Example]:
        """The pictures to learn, each with its caption by `loop.caption_mode`."""
        return [replace(one, caption=as_learned(one.caption, trigger, loop)) for one in self.captioned]

    def material(self, examples: list[Example]) -> Material:
        """`examples` (what a method made of the captioned ones) and the regularisation pictures, looked at."""
        every = [*examples, *self.regularisation]
        pictures = [look_at(one.path, self.fits.get(one.path, fit.CENTRE)) for one in every]
        return Material(every, pictures, [self.repeats.get(one.path, 1) for one in every])


Freeze = Callable[[str, str, str], Snapshot]
"""(dataset, snapshot wanted or '', name of the file that keeps it) -> the snapshot to learn from."""


def gather(config: TrainConfig, ws: Workspace, freeze: Freeze, log: Callable[[str], None]) -> Gathered:
    """The pictures of all the config's datasets, as `freeze` gives them; logs how many are left out.

    Raises UserError when a dataset is missing or empty, or holds no caption where captions are needed.
    """
    if not config.dataset:
        raise UserError("No dataset is named: choose the one to learn from.")
    sources = [ExtraDataset(dataset=config.dataset, repeats=config.repeats), *config.mix]
    files = [SNAPSHOT_FILE, *(f"snapshot-{one.dataset}.json" for one in config.mix)]
    wanted = [config.snapshot, *("" for _ in config.mix)]
    snapshots = [freeze(one.dataset, hash, file) for one, hash, file in zip(sources, wanted, files, strict=True)]
    gathered = Gathered(snapshots[0])
    for source, snapshot in zip(sources, snapshots, strict=True):
        _add(gathered, source, snapshot, config.loop, ws, log)
    return gathered


def kept_snapshot(ctx: JobContext, dataset: str, wanted: str, file: str) -> Snapshot:
    """The snapshot in the run's folder; at the first start the `wanted` one, or one taken now, which is kept there."""
    kept = ctx.folder / file
    if kept.is_file():
        return from_json(Snapshot, read_json(kept))
    store = open_dataset(ctx.workspace, dataset)
    snapshot = store.load_snapshot(wanted) if wanted else store.snapshot()
    write_json(kept, to_json(snapshot))
    return snapshot


def _add(
    gathered: Gathered,
    source: ExtraDataset,
    snapshot: Snapshot,
    loop: LoopConfig,
    ws: Workspace,
    log: Callable[[str], None],
) -> None:
    store = open_dataset(ws, snapshot.dataset)
    if not snapshot.images:
        raise UserError(f"The dataset {snapshot.dataset!r} is empty: import pictures first.")
    written = loop.caption_mode == "as written" and not source.regularisation
    images = [image for image in snapshot.images if image.caption.strip() or not written]
    if not images:
        raise UserError(f"No picture of {snapshot.dataset!r} has a caption: write or draft captions first (Annotate).")
    left_out = len(snapshot.images) - len(images)
    if left_out:
        log(f"{left_out} of {len(snapshot.images)} pictures of {snapshot.dataset!r} have no caption and are left out.")
    choice = snapshot.fit if loop.fit == "dataset" else loop.fit
    fit.check(choice)
    place = gathered.regularisation if source.regularisation else gathered.captioned
    files = store.image_paths()
    for image in images:
        path = files.get(image.id) or store.image_path(image.id)  # which says what is missing
        place.append(Example(path=path, caption=image.caption, weight=source.weight, prior=source.regularisation))
        gathered.fits[path], gathered.repeats[path] = choice, source.repeats
