"""`sdstudio dataset …`: pictures in, looked at, out."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from sdstudio.cli.flags import Command, Group, add_job_flags, config_of, say, table
from sdstudio.cli.outcomes import EXIT_OK, do
from sdstudio.options import add_flags, describe
from sdstudio.schema import ImportConfig, to_json
from sdstudio.workspace import Workspace

IMPORT_FIELDS = describe(ImportConfig)


def _configure_import(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    add_flags(child, IMPORT_FIELDS, "import", positional=("folder",))
    add_job_flags(child)


def _import(ws: Workspace, arguments: argparse.Namespace) -> int:
    return do(ws, arguments, "import", config_of(ImportConfig, arguments, IMPORT_FIELDS))


def _list(ws: Workspace, arguments: argparse.Namespace) -> int:
    from sdstudio.datasets import list_datasets

    found = list_datasets(ws)
    rows = [(info.name, info.images, info.captioned, info.modified, info.error or info.description) for info in found]
    columns = table(rows, "dataset", "pictures", "captioned", "by a person", "")
    say(arguments, [to_json(info) for info in found], columns)
    return EXIT_OK


def _name_argument(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    child.add_argument("name", metavar="DATASET", help="the dataset's name")


def _show(ws: Workspace, arguments: argparse.Namespace) -> int:
    from sdstudio.datasets import open_dataset

    images = open_dataset(ws, arguments.name).images()
    rows = [(image.id[:10], image.state, image.file_name, image.caption) for image in images]
    say(arguments, [to_json(image) for image in images], table(rows, "picture", "state", "file", "caption"))
    return EXIT_OK


def _configure_export(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    from sdstudio.datasets.export import FORMATS

    _name_argument(child, argv)
    child.add_argument("target", metavar="FOLDER", type=Path, help="a new or empty folder, or a new .zip file")
    child.add_argument("--format", default="imagefolder", help=f"one of {', '.join(FORMATS)} (default imagefolder)")


def _export(ws: Workspace, arguments: argparse.Namespace) -> int:
    from sdstudio.datasets import export_dataset

    count = export_dataset(ws, arguments.name, arguments.target, arguments.format)
    folder = str(arguments.target.expanduser().absolute())
    say(arguments, {"folder": folder, "pictures": count}, f"{count} pictures with their captions are in {folder}.")
    return EXIT_OK


DATASET = Group(
    help="Bring pictures in, look at datasets, take them out.",
    commands={
        "import": Command(
            help="Bring the pictures of a folder, with captions that lie beside them, into a dataset.",
            run=_import,
            configure=_configure_import,
            examples="  sdstudio dataset import ~/photos --dataset mine",
        ),
        "list": Command(help="List the datasets.", run=_list),
        "show": Command(help="List a dataset's pictures and captions.", run=_show, configure=_name_argument),
        "export": Command(
            help="Write a dataset's pictures and captions into a folder.",
            run=_export,
            configure=_configure_export,
            examples="  sdstudio dataset export asim-style out --format csv",
        ),
    },
)
