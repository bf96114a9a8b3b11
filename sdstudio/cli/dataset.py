"""`sdstudio dataset …`: pictures in, looked at, out."""

import argparse
from collections.abc import Sequence
from dataclasses import replace

from sdstudio.cli.flags import Command, Group, add_job_flags, config_of, hub_secrets, say, table
from sdstudio.cli.looking import LOOKING, name_argument
from sdstudio.cli.outcomes import EXIT_OK, do
from sdstudio.options import add_flags, describe, given
from sdstudio.schema import ImportConfig, PushConfig, to_json
from sdstudio.words import count
from sdstudio.workspace import Workspace, typed_path

IMPORT_FIELDS = describe(ImportConfig)


def _configure_import(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    add_flags(child, IMPORT_FIELDS, "import", positional=("folder",))
    add_job_flags(child)


def _import(ws: Workspace, arguments: argparse.Namespace) -> int:
    return do(ws, arguments, "import", config_of(ImportConfig, arguments, IMPORT_FIELDS))


def _configure_settings(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    from sdstudio.datasets.settings import DatasetSettings

    name_argument(child, argv)
    fields = describe(DatasetSettings)
    add_flags(child, fields, "settings to change; the others stay")
    child.set_defaults(fields=fields)


def _settings(ws: Workspace, arguments: argparse.Namespace) -> int:
    from sdstudio.datasets import open_dataset

    store = open_dataset(ws, arguments.name)
    store.change_settings(given(arguments, arguments.fields))
    facts = to_json(store.settings())
    say(arguments, facts, "\n".join(f"{name:15} {value}" for name, value in facts.items()))
    return EXIT_OK


def _configure_export(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    from sdstudio.datasets.export import FORMATS

    name_argument(child, argv)
    child.add_argument("target", metavar="FOLDER", help="a new or empty folder, or a new .zip file")
    child.add_argument("--format", default="imagefolder", help=f"one of {', '.join(FORMATS)} (default imagefolder)")


def _export(ws: Workspace, arguments: argparse.Namespace) -> int:
    from sdstudio.datasets import export_dataset

    written = export_dataset(ws, arguments.name, arguments.target, arguments.format)
    folder = str(typed_path(arguments.target))
    text = f"{count(written, 'picture')} and the captions are in {folder}."
    say(arguments, {"folder": folder, "pictures": written}, text)
    return EXIT_OK


PUSH_FIELDS = [item for item in describe(PushConfig) if item.name != "dataset"]


def _configure_push(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    name_argument(child, argv)
    add_flags(child, PUSH_FIELDS, "push", positional=("repository",))
    child.add_argument("--dry-run", action="store_true", help="list what would be sent, and send nothing")
    add_job_flags(child)


def _push(ws: Workspace, arguments: argparse.Namespace) -> int:
    config = config_of(PushConfig, arguments, PUSH_FIELDS, {"dataset": arguments.name})
    config = replace(config, dataset=arguments.name)  # a --config file may name another
    if not arguments.dry_run:
        return do(ws, arguments, "push", config, hub_secrets())
    from sdstudio.datasets.push import plan_push

    plan = plan_push(ws, config)
    files = [{"path": file.path, "size": file.size} for file in plan.files]
    facts = {"repository": plan.repository, "private": plan.private, "pictures": plan.pictures, "size": plan.size}
    text = table([(file["path"], f"{file['size']:,}") for file in files], "file", "bytes (of Parquet files about)")
    who = "private" if plan.private else "public"
    end = f"{count(plan.pictures, 'picture')} would go to the {who} repository {plan.repository}; nothing was sent."
    say(arguments, {**facts, "files": files, "card": plan.card}, f"{text}\n\n{plan.card}\n{end}")
    return EXIT_OK


DATASET = Group(
    help="Bring pictures in, look at datasets, take them out.",
    commands={
        "import": Command(
            help="Bring pictures, with the captions that come with them, into a dataset.",
            run=_import,
            configure=_configure_import,
            examples=(
                "  sdstudio dataset import ~/photos --dataset mine\n"
                "  sdstudio dataset import captions.csv --dataset mine\n"
                "  sdstudio dataset import owner/name --dataset mine --split train"
            ),
        ),
        **LOOKING,
        "settings": Command(
            help="A dataset's own choices: identifier word, caption template, fit, resolution, class pictures.",
            run=_settings,
            configure=_configure_settings,
            examples="  sdstudio dataset settings mine\n  sdstudio dataset settings mine --identifier asim --fit face",
        ),
        "export": Command(
            help="Write a dataset's pictures and captions into a folder.",
            run=_export,
            configure=_configure_export,
            examples="  sdstudio dataset export asim-style out --format csv",
        ),
        "push": Command(
            help="Send a dataset to the Hugging Face Hub; the token comes from HF_TOKEN or `hf auth login`.",
            run=_push,
            configure=_configure_push,
            examples=(
                "  sdstudio dataset push mine me/my-pictures --dry-run\n"
                "  sdstudio dataset push mine me/my-pictures --license cc-by-4.0 --no-private"
            ),
        ),
    },
)
