"""`sdstudio export` and `sdstudio publish`: what a run learned, for other programs and for others."""

import argparse
from collections.abc import Sequence

from sdstudio.cli.flags import Command, add_detach_flag, hub_secrets, say
from sdstudio.cli.outcomes import EXIT_OK, do
from sdstudio.options import add_flags, describe, given
from sdstudio.schema import PublishConfig, from_json
from sdstudio.workspace import Workspace

PUBLISH_FIELDS = describe(PublishConfig)


def _configure_export(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    from sdstudio.exports import formats

    known = "; ".join(f"{name}: {form.summary.rstrip('.')}" for name, form in formats().items())
    child.add_argument("checkpoint", metavar="CHECKPOINT", help="a checkpoint folder, or a run's id for its newest")
    child.add_argument("target", metavar="TARGET", help="the file or folder to write")
    child.add_argument("--format", default="diffusers", help=f"the form (default diffusers). {known}")
    child.add_argument(
        "--metadata",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="write settings and trigger words into the file, where its form has room for them",
    )


def _export(ws: Workspace, arguments: argparse.Namespace) -> int:
    from sdstudio.exports import export_checkpoint

    written = export_checkpoint(
        ws, arguments.checkpoint, arguments.format, arguments.target, metadata=arguments.metadata
    )
    say(arguments, {"file": str(written)}, str(written))
    return EXIT_OK


def _configure_publish(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    add_flags(child, PUBLISH_FIELDS, "publish", positional=("checkpoint", "repository"))
    add_detach_flag(child)


def _publish(ws: Workspace, arguments: argparse.Namespace) -> int:
    config = from_json(PublishConfig, given(arguments, PUBLISH_FIELDS))
    return do(ws, arguments, "publish", config, hub_secrets())


TAKING_OUT = {
    "export": Command(
        help="Write what a run learned as a file or folder that other programs read.",
        run=_export,
        configure=_configure_export,
        examples=(
            "  sdstudio export RUN my-style --format kohya-lora\n"
            "  sdstudio export runs/RUN/checkpoints/step-000400 merged --format single-file"
        ),
        needs_starter=False,
    ),
    "publish": Command(
        help="Send what a run learned to the Hugging Face Hub; the token comes from HF_TOKEN or `hf auth login`.",
        run=_publish,
        configure=_configure_publish,
        examples="  sdstudio publish RUN me/my-style --format kohya-lora --license openrail",
        needs_starter=False,
    ),
}
