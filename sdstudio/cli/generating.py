"""`sdstudio generate`: pictures of prompts, of a suite, or of a grid over any setting."""

import argparse
from collections.abc import Sequence
from dataclasses import replace

from sdstudio.cli.flags import Command, add_job_flags, config_of, naming, peek, plugin_fields
from sdstudio.cli.models import MODEL_HELP, model_refs
from sdstudio.cli.outcomes import do
from sdstudio.options import Field, add_flags, describe
from sdstudio.schema import Extra, GenerateConfig, GridConfig, ModelRef, SampleSettings, UserError, from_json
from sdstudio.workspace import Workspace


def _configure(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    asked = child.add_argument_group("what to draw, and with what")
    asked.add_argument("--prompt", action="append", metavar="TEXT", help="a prompt; may be given several times")
    asked.add_argument("--suite", metavar="NAME", help="a prompt suite by its name, or a .txt or .csv file")
    asked.add_argument("--subject", metavar="WORDS", default="", help="what stands for {subject} in the suite")
    asked.add_argument("--negative", metavar="TEXT", help="what the pictures should not show")
    asked.add_argument("--model", action="append", metavar="MODEL", help=MODEL_HELP)
    asked.add_argument(
        "--checkpoint",
        action="append",
        metavar="RUN[=WEIGHT]",
        help="a run's newest checkpoint, or a checkpoint folder, to ask at so many times its strength; "
        "may be given several times",
    )
    asked.add_argument(
        "--add",
        action="append",
        metavar="CHECKPOINT[=WEIGHT]",
        help="put this checkpoint on every model too, at so many times its strength; may be given several times",
    )
    asked.add_argument(
        "--grid",
        nargs="+",
        metavar="SETTING=VALUES",
        help="one picture a cell over one to three settings, such as cfg=3,5,7 steps=10,20",
    )
    fields = naming(describe(GenerateConfig), guidance="sdstudio.guidance")
    guidance = peek(argv, "guidance", SampleSettings().guidance)
    own = plugin_fields("sdstudio.guidance", "guidance", guidance, "settings.guidance_options.")
    add_flags(child, fields, "settings")
    add_flags(child, own, f"options of {guidance}", in_full={_last(item) for item in fields})
    child.set_defaults(fields=[*fields, *own])
    add_job_flags(child)


def _last(item: Field) -> str:
    return item.name.rpartition(".")[2]


def _generate(ws: Workspace, arguments: argparse.Namespace) -> int:
    config = config_of(GenerateConfig, arguments, arguments.fields)
    config = _with_prompts(ws, arguments, config)
    if arguments.negative is not None:
        config = replace(config, settings=replace(config.settings, negative_prompt=arguments.negative))
    models = _models(ws, arguments) or config.models
    extras = [_weighed(text) for text in arguments.add or []]
    config = replace(config, models=[replace(model, extras=[*model.extras, *extras]) for model in models])
    if not arguments.grid:
        return do(ws, arguments, "generate", config)
    from sdstudio.grids import parse_axes

    return do(ws, arguments, "grid", GridConfig(base=config, axes=parse_axes(arguments.grid)))


def _with_prompts(ws: Workspace, arguments: argparse.Namespace, config: GenerateConfig) -> GenerateConfig:
    """The config with the prompts of --prompt and --suite in the place of others, where these are given."""
    prompts = list(arguments.prompt or [])
    if arguments.suite:
        from sdstudio import suites

        prompts += suites.load(ws, arguments.suite).fill(arguments.subject)
    elif arguments.subject:
        raise UserError("--subject fills the {subject} of a suite: name the suite with --suite.")
    return replace(config, prompts=[*config.prompts, *prompts]) if prompts else config


def _models(ws: Workspace, arguments: argparse.Namespace) -> list[ModelRef]:
    """The models of --model, then those of --checkpoint with their weights."""
    weighed = [_weighed(text) for text in arguments.checkpoint or []]
    asked = arguments.model or []
    refs = model_refs(ws, [*asked, *(item.checkpoint for item in weighed)])
    trained = zip(refs[len(asked) :], weighed, strict=True)
    return [*refs[: len(asked)], *(replace(ref, weight=item.weight) for ref, item in trained)]


def _weighed(text: str) -> Extra:
    """'RUN=0.5' or 'RUN'."""
    checkpoint, sign, weight = text.rpartition("=")
    return from_json(Extra, {"checkpoint": checkpoint, "weight": weight} if sign else {"checkpoint": text})


GENERATE = Command(
    help="Draw pictures for each prompt from each model, with the same seeds; prints the files.",
    run=_generate,
    configure=_configure,
    examples=(
        '  sdstudio generate --model base --checkpoint RUN --prompt "asim, a cat" --count 4 --seed 7\n'
        "  sdstudio generate --checkpoint RUN --suite sam-style --subject asim --negative blurry --json\n"
        '  sdstudio generate --checkpoint RUN --prompt "a cat" --grid cfg=3,5,7 steps=10,20'
    ),
)
