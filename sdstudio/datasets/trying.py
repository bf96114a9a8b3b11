"""Try captioners: a few pictures under several settings, side by side, before the whole set. Nothing is stored."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdstudio.datasets.captioning import Caption, compute_device, find_captioner, open_picture
from sdstudio.datasets.catalog import open_dataset
from sdstudio.jobs.context import JobContext
from sdstudio.schema import CaptionSetting, TryCaptionsConfig, UserError, from_json, to_json
from sdstudio.words import first_line
from sdstudio.workspace import Workspace, read_json, write_json

TRIES_FILE = "tries.json"


@dataclass(frozen=True, kw_only=True)
class TriedCaption:
    """What setting number `setting` (from 0) makes of the picture `id`: a caption, or an `error` in one sentence.

    `seconds` is the time a picture took, without loading the model.
    """

    setting: int
    id: str
    caption: str = ""
    error: str = ""
    seconds: float = 0.0


def try_captions(
    ws: Workspace,
    dataset: str,
    ids: Sequence[str],
    settings: Sequence[CaptionSetting | tuple[str, dict[str, Any]]],
    on_row: Callable[[TriedCaption], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> list[TriedCaption]:
    """A row for each setting and picture, setting by setting; `on_row` hears each as soon as it is there.

    A setting is a CaptionSetting or (captioner, its options). A model that cannot be loaded or a picture that cannot
    be read is a row with an error. A UserError when a picture, a captioner or an option is unknown.
    """
    config = check_try(ws, TryCaptionsConfig(dataset=dataset, ids=list(ids), settings=[_setting(s) for s in settings]))
    rows: list[TriedCaption] = []
    for number, setting in enumerate(config.settings):
        for row in _rows(ws, config, number, setting, should_stop or (lambda: False)):
            rows.append(row)
            if on_row is not None:
                on_row(row)
    return rows


def run_try(config: TryCaptionsConfig, ctx: JobContext) -> bool:
    """The same as a job; `read_tries` reads its rows, also while it runs."""
    rows: list[TriedCaption] = []
    total = len(config.ids) * len(config.settings)

    def keep(row: TriedCaption) -> None:
        rows.append(row)
        write_json(ctx.folder / TRIES_FILE, [to_json(row) for row in rows])
        ctx.progress(len(rows), total, "captions")

    ctx.progress(0, total, "captions", "loading the first captioner")
    try_captions(ctx.workspace, config.dataset, config.ids, config.settings, keep, ctx.should_stop)
    return len(rows) == total


def read_tries(folder: Path) -> list[TriedCaption]:
    """The rows that a try job has made so far."""
    path = folder / TRIES_FILE
    return [from_json(TriedCaption, row) for row in read_json(path)] if path.exists() else []


def check_try(ws: Workspace, config: TryCaptionsConfig) -> TryCaptionsConfig:
    """The config with every option filled in; a UserError when a picture, a captioner or an option is unknown."""
    store = open_dataset(ws, config.dataset)
    if not (config.ids and config.settings):
        raise UserError("There is nothing to try; choose pictures and at least one captioner.")
    for id in config.ids:
        store.image(id)
    settings = []
    for setting in config.settings:
        options: Any = from_json(find_captioner(setting.captioner).Options, setting.options)
        settings.append(CaptionSetting(captioner=setting.captioner, options=to_json(options)))
    return TryCaptionsConfig(dataset=config.dataset, ids=config.ids, settings=settings)


def _setting(given: CaptionSetting | tuple[str, dict[str, Any]]) -> CaptionSetting:
    return given if isinstance(given, CaptionSetting) else CaptionSetting(captioner=given[0], options=given[1])


def _rows(
    ws: Workspace, config: TryCaptionsConfig, number: int, setting: CaptionSetting, should_stop: Callable[[], bool]
) -> Iterator[TriedCaption]:
    """The rows of one setting, picture by picture. Whatever goes wrong inside a model is said in its own cell."""
    if should_stop():
        return
    store = open_dataset(ws, config.dataset)
    captioner = find_captioner(setting.captioner)
    options: Any = from_json(captioner.Options, setting.options)
    try:
        caption: Caption = captioner.load(options, options.model, compute_device())
    except UserError as error:
        yield from (TriedCaption(setting=number, id=id, error=str(error)) for id in config.ids)
        return
    for id in config.ids:
        if should_stop():
            return
        began = time.monotonic()
        try:
            (draft,) = caption([open_picture(store, store.image(id))])
            yield TriedCaption(setting=number, id=id, caption=draft, seconds=time.monotonic() - began)
        except Exception as error:
            said = f"It failed ({type(error).__name__}: {first_line(error)})."
            yield TriedCaption(setting=number, id=id, error=said)
