"""What is looked at before a job is made, so that a wrong name costs one sentence and leaves no folder behind.

Each function returns the config made complete (absolute paths, a name) or raises a UserError. No torch here.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sdstudio import registry
from sdstudio.prompts import check_distinct, parse
from sdstudio.schema import (
    CaptionConfig,
    CaptionedImage,
    ExportConfig,
    GenerateConfig,
    GridConfig,
    ImportConfig,
    LogoConfig,
    ModelRef,
    Protocol,
    PublishConfig,
    PushConfig,
    SampleSettings,
    ShiftConfig,
    TrainConfig,
    TryCaptionsConfig,
    UserError,
    from_json,
    to_json,
)
from sdstudio.workspace import Workspace

SIDE = 8
"""Pixels that a picture's sides are multiples of."""


def import_pictures(ws: Workspace, config: ImportConfig) -> ImportConfig:
    from sdstudio.datasets.importer import check_import

    config = check_import(config)
    folder = Path(config.folder)
    if folder.is_dir() and not any(path.is_file() for path in folder.rglob("*")):
        raise UserError(f"The folder {folder} is empty; give one that holds pictures (PNG, JPEG or WebP).")
    return config


def logo(ws: Workspace, config: LogoConfig) -> LogoConfig:
    from sdstudio.evaluation.logos import comparison_folder

    comparison_folder(ws, config.comparison)
    finding = _options("sdstudio.detectors", "detector", config.detector, config.detector_options)
    reading = _options("sdstudio.readers", "reader", config.reader, config.reader_options)
    return replace(config, detector_options=finding, reader_options=reading, text=" ".join(config.text.split()))


def shift(ws: Workspace, config: ShiftConfig) -> ShiftConfig:
    from sdstudio.evaluation.shifts import check_shift

    check_shift(ws, config)
    if not config.detector:
        return config
    options = _options("sdstudio.detectors", "detector", config.detector, config.detector_options)
    return replace(config, detector_options=options)


def caption(ws: Workspace, config: CaptionConfig) -> CaptionConfig:
    _images(ws, config.dataset)
    options = _options("sdstudio.captioners", "captioner", config.captioner, config.options)
    return replace(config, options=options)


def try_captions(ws: Workspace, config: TryCaptionsConfig) -> TryCaptionsConfig:
    from sdstudio.datasets.trying import check_try

    return check_try(ws, config)


def push(ws: Workspace, config: PushConfig) -> PushConfig:
    from sdstudio.datasets.push import plan_push

    plan_push(ws, config)
    return config


def export(ws: Workspace, config: ExportConfig) -> ExportConfig:
    from sdstudio.sharing.exporting import check_export

    return check_export(ws, config)


def publish(ws: Workspace, config: PublishConfig) -> PublishConfig:
    from sdstudio.sharing.publishing import check_publish

    return check_publish(ws, config)


def train(ws: Workspace, config: TrainConfig) -> TrainConfig:
    from sdstudio.models import resolve_base_model
    from sdstudio.training.readiness import captions_of, check_run

    captions = captions_of(ws, config.dataset, config.snapshot)
    if not captions:
        _images(ws, config.dataset)  # says so where there are no pictures either
    if not captions and config.loop.caption_mode == "as written":
        raise UserError(
            f"No picture of the dataset {config.dataset!r} has a caption; write some, or draft them with "
            f"`sdstudio caption --dataset {config.dataset}`."
        )
    options = _options("sdstudio.methods", "method", config.method, config.method_options)
    base_model = _absolute(config.base_model)
    resolve_base_model(ws, base_model)
    name = config.name or f"{config.method} {config.dataset}"
    config = replace(config, name=name, base_model=base_model, method_options=options)
    check_run(ws, config, captions)
    return config


def generate(ws: Workspace, config: GenerateConfig) -> GenerateConfig:
    from sdstudio.pictures.start_pictures import check_start

    if not config.prompts:
        raise UserError("There is no prompt; say what to draw, for example --prompts 'a cat on a beach'.")
    check_distinct(config.prompts)
    if config.settings.seed + config.count > 2**31:
        raise UserError(f"The last picture's seed would be above {2**31 - 1}: begin with a smaller one.")
    settings = _settings(config.settings, config.prompts)
    return replace(config, models=_models(ws, config.models), settings=settings, start=check_start(ws, config.start))


def grid(ws: Workspace, config: GridConfig) -> GridConfig:
    from sdstudio.grids import MODEL, cells, check_grid

    config = check_grid(config)
    absolute = [
        replace(axis, values=[_absolute(value) for value in axis.values]) if axis.setting == MODEL else axis
        for axis in config.axes
    ]
    config = replace(config, base=generate(ws, config.base), axes=absolute)
    for cell in cells(ws, config):
        _settings(cell.settings, [cell.prompt])
    return config


def evaluate(ws: Workspace, config: Protocol) -> Protocol:
    from sdstudio.evaluation import check_protocol

    settings = _settings(config.settings, [*config.prompts, *config.drift_prompts])
    config = replace(config, models=_models(ws, config.models), settings=settings)
    check_protocol(ws, config)
    if config.reference:
        _images(ws, config.reference)
    return config


def _settings(settings: SampleSettings, prompts: Sequence[str]) -> SampleSettings:
    """The settings with their guidance's options filled in, after a look at every prompt that they will steer."""
    options = _options("sdstudio.guidance", "guidance", settings.guidance, settings.guidance_options)
    record = registry.load("sdstudio.guidance")[settings.guidance]
    for prompt in prompts:
        record.check(prompt, from_json(record.Options, options))
    parse(settings.negative_prompt)
    for what, side in (("width", settings.width), ("height", settings.height)):
        if side % SIDE:
            fitting = side - side % SIDE + SIDE
            raise UserError(f"The {what} {side} is no multiple of {SIDE}: give {fitting}, for example.")
    return replace(settings, guidance_options=options)


def _images(ws: Workspace, dataset: str) -> Sequence[CaptionedImage]:
    from sdstudio.datasets import open_dataset

    images = open_dataset(ws, dataset).images()
    if not images:
        raise UserError(
            f"The dataset {dataset!r} has no pictures; bring some in with "
            f"`sdstudio dataset import FOLDER --dataset {dataset}`."
        )
    return images


def _options(package: str, what: str, name: str, values: dict[str, Any]) -> dict[str, Any]:
    """The plug-in's own options, checked and with their defaults filled in."""
    options: dict[str, Any] = to_json(from_json(registry.find(package, what, name).Options, values))
    return options


def _models(ws: Workspace, models: Sequence[ModelRef]) -> list[ModelRef]:
    """The models with their checkpoints found; a checkpoint inside the workspace is named relative to it."""
    from sdstudio.models import check_family, resolve_base_model, resolve_checkpoint

    if not models:
        raise UserError("There is no model to ask; name one or more, 'base' for the model as it came.")
    checked = []
    for model in models:
        base_model = _absolute(model.base_model)
        resolve_base_model(ws, base_model)
        checkpoint = ws.within(resolve_checkpoint(ws, model.checkpoint)) if model.checkpoint else ""
        extras = [
            replace(extra, checkpoint=ws.within(resolve_checkpoint(ws, extra.checkpoint))) for extra in model.extras
        ]
        checked.append(replace(model, base_model=base_model, checkpoint=checkpoint, extras=extras))
        check_family(ws, checked[-1])
    return checked


def _absolute(base_model: str) -> str:
    """A path on this machine made absolute, because the job runs in another working directory; names stay."""
    path = Path(base_model).expanduser()
    return str(path.resolve()) if base_model != "starter" and base_model and path.exists() else base_model
