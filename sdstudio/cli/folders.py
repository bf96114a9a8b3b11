"""`sdstudio evaluate --images FOLDER`: metrics of a plain folder of pictures, with no model and no job."""

import argparse
import sys
from pathlib import Path

from sdstudio.cli.flags import say, settings_file
from sdstudio.cli.outcomes import EXIT_OK
from sdstudio.results import results_text
from sdstudio.schema import UserError, to_json
from sdstudio.workspace import Workspace, typed_path

METRICS = ("fid", "kid", "lpips")
KNOWN = {"images", "reference", "metrics", "extractor", "encoders"}


def evaluate_folders(ws: Workspace, arguments: argparse.Namespace) -> int:
    """Print the cells; the exit code. Flags win over a --config file, which may hold the same settings."""
    from sdstudio.evaluation.folders import measure_folders

    flags = vars(arguments)
    asked = {item.name for item in arguments.fields if item.name in flags}
    extra = sorted(asked - KNOWN) + [name for name in ("model", "detach") if flags.get(name)]
    if extra:
        raise UserError(f"--images measures pictures that are there: leave --{extra[0].rpartition('.')[2]} out.")
    settings = settings_file(arguments.config) if arguments.config else {}
    settings |= {name: flags[name] for name in asked} | {"images": arguments.images}
    if set(settings) - KNOWN:
        raise UserError(f"{sorted(set(settings) - KNOWN)[0]!r} means nothing beside --images.")
    reference = settings.get("reference")
    results = measure_folders(
        ws,
        _folder(settings["images"]),
        _folder(reference) if reference else None,
        settings.get("metrics", METRICS),
        settings.get("extractor", ""),
        settings.get("encoders", ()),
        tell=lambda text: print(text, file=sys.stderr),
    )
    say(arguments, [to_json(result) for result in results], results_text(results))
    return EXIT_OK


def _folder(name: str) -> Path:
    folder = typed_path(name)
    if not folder.is_dir():
        raise UserError(f"There is no folder {name}.")
    return folder
