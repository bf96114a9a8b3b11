"""`sdstudio caption`, `generate` and `evaluate`."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sdstudio.cli.flags import Command, add_job_flags, config_of, peek, plugin_fields
from sdstudio.cli.folders import evaluate_folders
from sdstudio.cli.outcomes import do
from sdstudio.cli.protocol import default_protocol
from sdstudio.cli.training import TRAINING
from sdstudio.options import Field, add_flags, describe
from sdstudio.schema import CaptionConfig, GenerateConfig, ModelRef, Protocol, UserError
from sdstudio.workspace import Workspace

MODEL_HELP = "a model to ask: 'base', a run's id, a checkpoint folder, or a base model; may be given several times"


# ---------------------------------------------------------------- caption


def _configure_caption(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    common = describe(CaptionConfig)
    name = peek(argv, "captioner", CaptionConfig().captioner)
    own = plugin_fields("sdstudio.captioners", "captioner", name, "options.")
    add_flags(child, [item for item in common if not item.advanced], "settings")
    add_flags(child, own, f"options of {name}")
    add_flags(child, [item for item in common if item.advanced], "more settings")
    child.set_defaults(fields=[*common, *own])
    add_job_flags(child)


def _caption(ws: Workspace, arguments: argparse.Namespace) -> int:
    return do(ws, arguments, "caption", config_of(CaptionConfig, arguments, arguments.fields))


# ---------------------------------------------------------------- generate, evaluate


def _configure_generate(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    _add_model_flags(child, describe(GenerateConfig), "settings")


def _generate(ws: Workspace, arguments: argparse.Namespace) -> int:
    config = config_of(GenerateConfig, arguments, arguments.fields)
    if arguments.model:
        config = replace(config, models=model_refs(ws, arguments.model))
    return do(ws, arguments, "generate", config)


def _configure_evaluate(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    child.add_argument(
        "--images",
        metavar="FOLDER",
        help="measure a plain folder of pictures instead of models, against the folder --reference; pictures in one "
        "subfolder count as one prompt's",
    )
    fields = [item for item in describe(Protocol) if item.name != "settings.seed"]  # the protocol has `seeds`
    _add_model_flags(child, fields, "protocol (for runs on asim-style, the starter's is the default)")


def _evaluate(ws: Workspace, arguments: argparse.Namespace) -> int:
    from sdstudio.models import list_checkpoints

    if "metrics" in vars(arguments):
        arguments.metrics = [name for given in arguments.metrics for name in given.split(",") if name]
    if arguments.images:
        return evaluate_folders(ws, arguments)
    names = arguments.model or (None if arguments.config else ["base", *(run.run for run in list_checkpoints(ws)[:1])])
    models = model_refs(ws, names) if names else []
    under = None if arguments.config else default_protocol(ws, arguments, models)
    config = config_of(Protocol, arguments, arguments.fields, under)
    return do(ws, arguments, "evaluate", replace(config, models=models or config.models))


def _add_model_flags(child: argparse.ArgumentParser, fields: list[Field], title: str) -> None:
    child.add_argument("--model", action="append", metavar="MODEL", help=MODEL_HELP)
    add_flags(child, fields, title)
    child.set_defaults(fields=fields)
    add_job_flags(child)


def model_refs(ws: Workspace, names: Sequence[str]) -> list[ModelRef]:
    """What `--model` means: 'base', a run's id, a checkpoint folder, or anything that `--base-model` takes.

    'base' is the base model of the first checkpoint named, the starter when there is none.
    """
    refs = [None if name == "base" else _model_ref(ws, name) for name in names]
    base = next((ref.base_model for ref in refs if ref), "starter")
    return [ref or ModelRef(base_model=base, label="base") for ref in refs]


def _model_ref(ws: Workspace, name: str) -> ModelRef:
    from sdstudio.models import read_checkpoint, resolve_base_model, resolve_checkpoint

    is_run = name.startswith("runs/") or (ws.runs / name).is_dir() or "checkpoints" in Path(name).parts
    if is_run or (Path(name).expanduser() / "checkpoint.json").is_file():
        path = resolve_checkpoint(ws, name)
        checkpoint = read_checkpoint(path)
        return ModelRef(
            base_model=checkpoint.base_model, checkpoint=str(path), label=f"{checkpoint.run} step {checkpoint.step}"
        )
    try:
        return ModelRef(base_model=resolve_base_model(ws, name).ref, label=name)
    except UserError as error:
        raise UserError(
            f"{name!r} is no run (`sdstudio jobs list --kind train` shows them), nor a model. {error}"
        ) from error


MAKING = {
    "caption": Command(
        help="Draft a caption for each picture of a dataset; a person's caption is never overwritten.",
        run=_caption,
        configure=_configure_caption,
        examples="  sdstudio caption --dataset mine\n  sdstudio caption --dataset mine --no-only-empty --detach",
    ),
    **TRAINING,
    "generate": Command(
        help="Draw pictures for each prompt from each model, with the same seeds; prints the files.",
        run=_generate,
        configure=_configure_generate,
        examples='  sdstudio generate --model base --model RUN --prompts "asim, a cat" --count 4 --seed 7',
    ),
    "evaluate": Command(
        help="Compare models under one protocol and print the table.",
        run=_evaluate,
        configure=_configure_evaluate,
        examples=(
            "  sdstudio evaluate --model base --model RUN\n"
            "  sdstudio evaluate --config protocol.json --model base --model RUN --seeds 0 1 2 3\n"
            "  sdstudio evaluate --images drawn/ --reference photos/ --metrics fid,kid,lpips --json"
        ),
    ),
}
