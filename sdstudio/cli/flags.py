"""Parsers, flags and the configs that they make."""

import argparse
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from sdstudio import registry
from sdstudio.hub import TOKEN_VAR
from sdstudio.options import Field, describe, given, merge
from sdstudio.schema import Placement, UserError, from_json
from sdstudio.workspace import ENV_VAR, Workspace, read_json

T = TypeVar("T")


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one sentence, and whose help keeps the line breaks of its examples."""

    def __init__(self, **settings: Any) -> None:
        settings = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False, **settings}
        super().__init__(**settings)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message[:1].upper()}{message[1:]}; `{self.prog} --help` shows how.")


@dataclass(frozen=True, kw_only=True)
class Command:
    """One subcommand. `configure(parser, argv)` adds its flags; `run(workspace, arguments)` does it."""

    help: str
    run: Callable[[Workspace, argparse.Namespace], int]
    configure: Callable[[argparse.ArgumentParser, Sequence[str]], None] = lambda parser, argv: None
    examples: str = ""
    needs_starter: bool = True


@dataclass(frozen=True, kw_only=True)
class Group:
    """Subcommands under one word."""

    help: str
    commands: Mapping[str, Command]


def add_commands(parent: argparse.ArgumentParser, commands: Mapping[str, Command | Group], argv: Sequence[str]) -> None:
    """The parsers of `commands`. Only the one that `argv` names gets its flags, which may need plug-ins read."""
    places = parent.add_subparsers(metavar="COMMAND", required=True)
    for name, command in commands.items():
        rest = argv[1:] if argv[:1] == [name] else None
        if isinstance(command, Group):
            more = f"`sdstudio {name} COMMAND --help` tells more about each."
            group = places.add_parser(name, help=command.help, description=command.help, epilog=more)
            add_commands(group, command.commands, rest or [])
            continue
        epilog = f"examples:\n{command.examples}" if command.examples else None
        child = places.add_parser(name, help=command.help, description=command.help, epilog=epilog)
        if rest is not None:
            command.configure(child, rest)
        everywhere = child.add_argument_group("with every command")
        everywhere.add_argument(
            "--workspace", metavar="FOLDER", help=f"the workspace (default ${ENV_VAR} or ./workspace)"
        )
        everywhere.add_argument("--json", action="store_true", help="print JSON, for programs")
        child.set_defaults(command=command, prog=child.prog)


def parse(top: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """The arguments; a UserError that points to the command's own help for those it does not know."""
    arguments, unknown = top.parse_known_args(argv)
    if unknown:
        raise UserError(
            f"Unrecognized arguments: {' '.join(unknown)}; `{arguments.prog} --help` shows those there are."
        )
    return arguments


def peek(argv: Sequence[str], name: str, default: str) -> str:
    """The value of the flag `--name` in `argv`, else of that key in the --config file, else the default."""
    early = Parser(prog="sdstudio", add_help=False)
    early.add_argument(f"--{name}")
    early.add_argument("--config")
    known, _ = early.parse_known_args(list(argv))
    fallback = settings_file(known.config).get(name, default) if known.config else default
    return str(getattr(known, name) or fallback)


def settings_file(path: str) -> dict[str, Any]:
    """What a --config file holds."""
    settings = read_json(Path(path))
    if not isinstance(settings, dict):
        raise UserError(f"{path} does not hold a JSON object of settings.")
    return settings


def config_of(kind: type[T], arguments: argparse.Namespace, fields: Sequence[Field], under: Any = None) -> T:
    """The config: `under`, with the --config file on top, and the flags that were given on top of that."""
    settings = merge(under or {}, settings_file(arguments.config) if arguments.config else {})
    config = from_json(kind, merge(settings, given(arguments, fields)))
    if getattr(config, "dataset", None) == "":
        raise UserError("No dataset is named: give --dataset NAME (see `sdstudio dataset list`).")
    return config


def plugin_fields(package: str, what: str, name: str, prefix: str) -> list[Field]:
    """The options of the plug-in; a UserError that lists those there are when it is none."""
    return describe(registry.find(package, what, name).Options, prefix)


def naming(fields: Sequence[Field], **packages: str) -> list[Field]:
    """The fields; each that chooses a plug-in, by its last part in `packages`, says in its help which there are."""
    found = []
    for item in fields:
        package = packages.get(item.name.rpartition(".")[2])
        names = ", ".join(sorted(registry.load(package))) if package else ""
        found.append(replace(item, help=f"{item.help} {'Any' if item.many else 'One'} of {names}.") if names else item)
    return found


def add_job_flags(child: argparse.ArgumentParser) -> None:
    group = child.add_argument_group("how it is done")
    group.add_argument("--config", metavar="FILE", help="a JSON file with the settings; flags win over it")
    add_detach_flag(group)
    add_placement_flags(group)


def add_detach_flag(child: argparse._ActionsContainer) -> None:
    child.add_argument("--detach", action="store_true", help="queue the job and return, instead of doing it here")


def add_placement_flags(child: argparse._ActionsContainer) -> None:
    child.add_argument("--device", metavar="NAME", help="with --detach: where it runs, such as cuda:1")
    child.add_argument("--processes", type=whole_number(1), metavar="N", help="with --detach: GPUs that share the run")
    child.add_argument("--backend", metavar="NAME", help="with --detach: local (the default), ray or slurm")


def placement_of(arguments: argparse.Namespace) -> Placement:
    """Where the flags say that a queued job runs; a UserError where they are given for one that runs here."""
    given_here = {name: getattr(arguments, name, None) for name in ("device", "processes", "backend")}
    asked = {name: value for name, value in given_here.items() if value is not None}
    if asked and not arguments.detach:
        raise UserError(f"--{next(iter(asked))} chooses where a queued job runs: add --detach.")
    return from_json(Placement, asked)


def whole_number(low: int, high: int | None = None) -> Callable[[str], int]:
    """For argparse: text as a whole number from `low` to `high`."""

    def convert(text: str) -> int:
        if text.isascii() and text.isdigit() and low <= int(text) and (high is None or int(text) <= high):
            return int(text)
        limits = f"from {low} to {high}" if high is not None else f"of at least {low}"
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number {limits}")

    return convert


def hub_secrets() -> dict[str, str]:
    """HF_TOKEN of the environment, for a job's process alone; empty where it is not set."""
    token = os.environ.get(TOKEN_VAR)
    return {TOKEN_VAR: token} if token else {}


def say(arguments: argparse.Namespace, value: Any, text: str) -> None:
    """Print the value as JSON where --json asks for it, else the text."""
    print(json.dumps(value, indent=2, ensure_ascii=False) if arguments.json else text)


def table(rows: Sequence[Sequence[Any]], *headers: str) -> str:
    """Plain columns, wide enough for what is in them."""
    lines = [headers, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
