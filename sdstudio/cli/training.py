"""`sdstudio train` and `sdstudio sweep`."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sdstudio.cli.flags import Command, Parser, add_job_flags, config_of, naming, peek, plugin_fields, say, table
from sdstudio.cli.outcomes import EXIT_OK, do
from sdstudio.options import Field, add_flags, describe, merge
from sdstudio.schema import ExtraDataset, TrainConfig, UserError, from_json, to_json
from sdstudio.training.sweeps import short_name
from sdstudio.workspace import Workspace, typed_path


def _configure_train(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    _add_settings(child, argv)
    add_job_flags(child)
    child.add_argument(
        "--print-config", action="store_true", help="print the settings as JSON, checked and complete; train nothing"
    )


def _train(ws: Workspace, arguments: argparse.Namespace) -> int:
    _say_what_was_left(arguments)
    config = _config(arguments)
    if not arguments.print_config:
        return do(ws, arguments, "train", config)
    from sdstudio.jobs.kinds import get_kind

    arguments.json = True
    say(arguments, to_json(get_kind("train").prepare(ws, config)), "")
    return EXIT_OK


def _configure_sweep(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    child.add_argument(
        "--grid",
        action="append",
        required=True,
        metavar="SETTING=VALUES",
        help="a setting to vary and its values, such as learning_rate=1e-4,1e-3; given several times, all combinations",
    )
    child.add_argument("--dry-run", action="store_true", help="list the runs, and queue none")
    _add_settings(child, argv)
    child.add_argument("--config", metavar="FILE", help="a JSON file with the settings; flags win over it")


def _sweep(ws: Workspace, arguments: argparse.Namespace) -> int:
    from sdstudio.training.sweeps import parse_axis, plan_sweep, start_sweep

    _say_what_was_left(arguments)
    base = _config(arguments)
    plan = plan_sweep(ws, base, dict(map(parse_axis, arguments.grid)))
    for note in plan.notes:
        print(note, file=sys.stderr)
    names = list(plan.axes)
    if arguments.dry_run:
        rows = [[*(cell.values.get(name, "") for name in names), cell.status] for cell in plan.cells]
        found = [{"values": cell.values, "status": cell.status} for cell in plan.cells]
        say(arguments, found, table(rows, *names, "run"))
        return EXIT_OK
    sweep = start_sweep(ws, plan, base.name)
    rows = [[*(cell.values.get(name, "") for name in names), cell.run] for cell in sweep.cells]
    models = " ".join(f"--model {cell.run}" for cell in sweep.cells)
    queued = f"{len(plan.to_do)} of {len(plan.cells)} runs queued; `sdstudio jobs list` tells how they go.\n"
    then = f"When they have ended: sdstudio evaluate --model base {models}"
    say(arguments, to_json(sweep), f"{table(rows, *names, 'run')}\n{queued}{then}")
    return EXIT_OK


# ---------------------------------------------------------------- settings


def _add_settings(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """A flag for each setting, those of the chosen method among them; and where settings may come from besides."""
    early = Parser(prog=child.prog, add_help=False)
    for parser in (child, early):
        parser.add_argument("--preset", metavar="NAME", help=f"a recipe to begin from: {', '.join(_presets())}")
        parser.add_argument("--kohya", metavar="FILE", help="a training config of kohya's, TOML or JSON")
    under, left = _beneath(early.parse_known_args(list(argv))[0])
    method = peek(argv, "method", under.get("method", TrainConfig().method))
    own = plugin_fields("sdstudio.methods", "method", method, "method_options.")
    common = naming(describe(TrainConfig), method="sdstudio.methods")
    add_flags(child, [item for item in common if not item.advanced], "settings")
    add_flags(child, own, f"options of {method}")
    child.add_argument(
        "--mix",
        action="append",
        default=[],
        type=_mixed,
        metavar="DATASET[,SETTING=VALUE]",
        help="a further dataset, such as world,repeats=2 or world,regularisation=true,weight=0.5; may be given again",
    )
    twice = {short_name(item.name) for item in own}  # the method's option has the short flag
    for section, fields in _by_section(item for item in common if item.advanced).items():
        add_flags(child, fields, section.lower() or "more settings", in_full=twice)
    child.set_defaults(fields=[*common, *own], under=under, left=left)


def _mixed(text: str) -> dict[str, str]:
    """'world,repeats=2' as the settings of an ExtraDataset."""
    dataset, *settings = text.split(",")
    return {"dataset": dataset, **dict(setting.partition("=")[::2] for setting in settings)}


def _config(arguments: argparse.Namespace) -> TrainConfig:
    config = config_of(TrainConfig, arguments, arguments.fields, arguments.under)
    mix = [from_json(ExtraDataset, settings) for settings in arguments.mix]
    return replace(config, mix=mix) if mix else config


def _by_section(fields: Any) -> dict[str, list[Field]]:
    sections: dict[str, list[Field]] = {}
    for field in fields:
        sections.setdefault(field.section, []).append(field)
    return sections


def _beneath(early: argparse.Namespace) -> tuple[dict[str, Any], dict[str, str]]:
    """The settings that lie under --config and the flags, kohya's over the preset's, and the keys that were left."""
    presets = _presets()
    if early.preset and early.preset not in presets:
        raise UserError(f"There is no preset {early.preset!r}; choose one of {', '.join(presets)}.")
    under = presets[early.preset] if early.preset else {}
    if not early.kohya:
        return under, {}
    from sdstudio.training.kohya import read_kohya

    try:
        found = read_kohya(typed_path(early.kohya).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The config {early.kohya} cannot be read: {error}.") from error
    return merge(under, found.settings), found.left


def _presets() -> dict[str, dict[str, Any]]:
    """What each preset sets, by its name."""
    from sdstudio.training.presets import PRESETS

    return {item.name: item.config for item in PRESETS}


def _say_what_was_left(arguments: argparse.Namespace) -> None:
    for key, why in arguments.left.items():
        print(f"{Path(arguments.kohya).name}: {key} is not taken: {why}.", file=sys.stderr)


TRAINING = {
    "train": Command(
        help="Teach a model what a dataset shows; the options listed are those of the chosen --method.",
        run=_train,
        configure=_configure_train,
        examples=(
            "  sdstudio train --dataset asim-style --method lora --rank 16 --steps 600\n"
            "  sdstudio train --method sam --help\n"
            "  sdstudio train --config run.json --seed 1 --detach\n"
            "  sdstudio train --dataset asim-style --print-config > run.json\n"
            "  sdstudio train --preset starter-sam --dataset asim-style\n"
            "  sdstudio train --kohya config.toml --dataset mine"
        ),
    ),
    "sweep": Command(
        help="Queue one run for each combination of values; what was run before is not run again.",
        run=_sweep,
        configure=_configure_sweep,
        examples=(
            "  sdstudio sweep --dataset asim-style --grid learning_rate=1e-4,1e-3 --grid steps=200,400 --dry-run\n"
            "  sdstudio sweep --dataset asim-style --grid method=lora,sam,dreambooth"
        ),
    ),
}
