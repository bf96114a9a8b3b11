"""`sdstudio caption` and `evaluate`, beside the other commands that make something."""

import argparse
from collections.abc import Sequence
from dataclasses import replace

from sdstudio.cli.flags import Command, add_job_flags, config_of, naming, peek, plugin_fields
from sdstudio.cli.folders import evaluate_folders
from sdstudio.cli.generating import GENERATE
from sdstudio.cli.models import MODEL_HELP, model_refs
from sdstudio.cli.outcomes import do
from sdstudio.cli.protocol import default_protocol
from sdstudio.cli.training import TRAINING
from sdstudio.options import Field, add_flags, describe
from sdstudio.schema import CaptionConfig, Protocol
from sdstudio.workspace import Workspace

# ---------------------------------------------------------------- caption


def _configure_caption(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    common = naming(describe(CaptionConfig), captioner="sdstudio.captioners")
    name = peek(argv, "captioner", CaptionConfig().captioner)
    own = plugin_fields("sdstudio.captioners", "captioner", name, "options.")
    add_flags(child, [item for item in common if not item.advanced], "settings")
    add_flags(child, own, f"options of {name}")
    add_flags(child, [item for item in common if item.advanced], "more settings")
    child.set_defaults(fields=[*common, *own])
    add_job_flags(child)


def _caption(ws: Workspace, arguments: argparse.Namespace) -> int:
    return do(ws, arguments, "caption", config_of(CaptionConfig, arguments, arguments.fields))


# ---------------------------------------------------------------- evaluate


def _configure_evaluate(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    child.add_argument(
        "--images",
        metavar="FOLDER",
        help="measure a plain folder of pictures instead of models, against the folder --reference; pictures in one "
        "subfolder count as one prompt's",
    )
    every = naming(describe(Protocol), metrics="sdstudio.metrics", guidance="sdstudio.guidance")
    fields = [item for item in every if item.name != "settings.seed"]  # the protocol has `seeds`
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


MAKING = {
    "caption": Command(
        help="Draft a caption for each picture of a dataset; a person's caption is never overwritten.",
        run=_caption,
        configure=_configure_caption,
        examples="  sdstudio caption --dataset mine\n  sdstudio caption --dataset mine --no-only-empty --detach",
    ),
    **TRAINING,
    "generate": GENERATE,
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
