"""The `sdstudio` command: everything the pages do, without a browser."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import sdstudio
from sdstudio import jobs, registry
from sdstudio.options import Field, add_flags, describe, given, merge
from sdstudio.schema import (
    CaptionConfig,
    GenerateConfig,
    ImportConfig,
    Job,
    ModelRef,
    Protocol,
    TrainConfig,
    UserError,
    from_json,
    to_json,
)
from sdstudio.workspace import ENV_VAR, Workspace, current_workspace, read_json

T = TypeVar("T")
EXIT_OK, EXIT_FAILED, EXIT_USER, EXIT_STOPPED = 0, 1, 2, 130

EPILOG = """
the whole way, on the bundled starter:
  sdstudio caption --dataset asim-new-pictures              draft a caption for every picture with BLIP
  sdstudio train --dataset asim-style --method lora         teach the starter model the style
  sdstudio generate --model base --model RUN --prompts "asim, a cat on a beach"
  sdstudio evaluate --model base --model RUN                the table: who learned it, what else changed
  sdstudio run                                              the same in the browser

with a model and pictures of your own:
  sdstudio dataset import ~/photos --dataset mine
  sdstudio train --dataset mine --base-model stable-diffusion-v1-5/stable-diffusion-v1-5 --steps 800 --batch-size 1

`sdstudio COMMAND --help` tells more about each. Exit codes: 0 done, 1 a job failed, 2 something to mend, 130 stopped.
"""


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one sentence, and whose help keeps the line breaks of its examples."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **settings)

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


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. Anything the person can mend is one sentence on standard error and code 2."""
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        arguments = parser(argv).parse_args(argv)
        if arguments.workspace:
            os.environ[ENV_VAR] = arguments.workspace
        ws = current_workspace()
        command: Command = arguments.command
        if command.needs_starter:
            install_starter(ws)
        code = command.run(ws, arguments)
        sys.stdout.flush()
        return code
    except UserError as error:
        print(f"sdstudio: {error}", file=sys.stderr)
        return EXIT_USER
    except KeyboardInterrupt:
        return EXIT_STOPPED
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED


def install_starter(ws: Workspace) -> None:
    """Make sure that the example datasets are in the workspace."""
    from sdstudio.starter import examples

    examples.install(ws)


# ---------------------------------------------------------------- the parser


def parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The parser for `argv`. Only the command that `argv` names gets its flags, which may need plug-ins read."""
    top = Parser(prog="sdstudio", description=sdstudio.__doc__, epilog=EPILOG)
    _add_commands(top, COMMANDS, argv)
    return top


def _add_commands(parent: argparse.ArgumentParser, commands: Mapping[str, Any], argv: Sequence[str]) -> None:
    places = parent.add_subparsers(metavar="COMMAND", required=True)
    for name, command in commands.items():
        if isinstance(command, Mapping):
            group = places.add_parser(name, help=GROUPS[name], description=GROUPS[name])
            _add_commands(group, command, argv)
            continue
        epilog = f"examples:\n{command.examples}" if command.examples else None
        child = places.add_parser(name, help=command.help, description=command.help, epilog=epilog)
        if name in argv:
            command.configure(child, argv)
        child.add_argument("--workspace", metavar="FOLDER", help=f"the workspace (default ${ENV_VAR} or ./workspace)")
        child.add_argument("--json", action="store_true", help="print JSON")
        child.set_defaults(command=command)


def _peek(argv: Sequence[str], name: str, default: str) -> str:
    """The value of the flag `--name` in `argv`, else of that key in the --config file, else the default."""
    early = Parser(add_help=False, allow_abbrev=False)
    early.add_argument(f"--{name}")
    early.add_argument("--config")
    known, _ = early.parse_known_args(list(argv))
    fallback = read_json(Path(known.config)).get(name, default) if known.config else default
    return str(getattr(known, name) or fallback)


def _add_job_flags(child: argparse.ArgumentParser) -> None:
    child.add_argument("--config", metavar="FILE", help="a JSON file with the settings; flags win over it")
    child.add_argument("--detach", action="store_true", help="queue the job and return, instead of doing it here")


def _plugin_fields(package: str, name: str, prefix: str) -> list[Field]:
    records = registry.load(package)
    return describe(records[name].Options, prefix) if name in records else []


def _config(kind: type[T], arguments: argparse.Namespace, fields: Sequence[Field], under: Any = None) -> T:
    """The config: `under` (or the --config file), with the flags that were given on top."""
    settings = read_json(Path(arguments.config)) if getattr(arguments, "config", None) else under or {}
    if not isinstance(settings, dict):
        raise UserError(f"{arguments.config} does not hold a JSON object of settings.")
    return from_json(kind, merge(settings, given(arguments, fields)))


# ---------------------------------------------------------------- jobs from commands


def _do(ws: Workspace, arguments: argparse.Namespace, kind: str, config: Any, show: Callable[[Job], None]) -> int:
    """Queue the job or do it here, then say how it ended; `show` prints what a finished one made."""
    if arguments.detach:
        job = jobs.submit(ws, kind, config)
        _say(arguments, to_json(job), f"Queued {job.id}; `sdstudio jobs show {job.id}` tells how it goes.")
        return EXIT_OK
    job = jobs.run_inline(ws, kind, config)
    if arguments.json:
        print(json.dumps(to_json(job), indent=2))
    elif job.state == "succeeded":
        show(job)
    if job.state == "succeeded":
        return EXIT_OK
    print(f"sdstudio: {job.error or job.message}", file=sys.stderr)
    return EXIT_FAILED if job.state == "failed" else EXIT_STOPPED


def _say(arguments: argparse.Namespace, value: Any, text: str) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False) if arguments.json else text)


def _table(rows: Sequence[Sequence[Any]], *headers: str) -> str:
    """Plain columns, wide enough for what is in them."""
    lines = [headers, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


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
    return ModelRef(base_model=resolve_base_model(ws, name).ref, label=name)


# ---------------------------------------------------------------- dataset


DATASET_FIELDS = describe(ImportConfig)


def _configure_import(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    add_flags(child, DATASET_FIELDS, "import", positional=("folder",))
    _add_job_flags(child)


def _dataset_import(ws: Workspace, arguments: argparse.Namespace) -> int:
    config = _config(ImportConfig, arguments, DATASET_FIELDS)

    def show(job: Job) -> None:
        report = read_json(job.folder / "report.json")
        print(f"{report['added']} added, {report['duplicates']} there already, {len(report['refused'])} refused.")

    return _do(ws, arguments, "import", config, show)


def _dataset_list(ws: Workspace, arguments: argparse.Namespace) -> int:
    from sdstudio.datasets import list_datasets

    found = list_datasets(ws)
    rows = [(info.name, info.images, info.captioned, info.modified, info.error or info.description) for info in found]
    table = _table(rows, "dataset", "pictures", "captioned", "by a person", "")
    _say(arguments, [to_json(info) for info in found], table)
    return EXIT_OK


def _name_argument(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    child.add_argument("name", metavar="DATASET", help="the dataset's name")


def _dataset_show(ws: Workspace, arguments: argparse.Namespace) -> int:
    from sdstudio.datasets import open_dataset

    images = open_dataset(ws, arguments.name).images()
    rows = [(image.id[:10], image.state, image.file_name, image.caption) for image in images]
    _say(arguments, [to_json(image) for image in images], _table(rows, "picture", "state", "file", "caption"))
    return EXIT_OK


def _configure_export(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    _name_argument(child, argv)
    child.add_argument("target", metavar="FOLDER", type=Path, help="a new or empty folder")
    child.add_argument("--format", default="imagefolder", help="csv, txt or imagefolder (default imagefolder)")


def _dataset_export(ws: Workspace, arguments: argparse.Namespace) -> int:
    from sdstudio.datasets import export_dataset

    count = export_dataset(ws, arguments.name, arguments.target, arguments.format)
    folder = str(arguments.target.expanduser().absolute())
    _say(arguments, {"folder": folder, "pictures": count}, f"{count} pictures with their captions are in {folder}.")
    return EXIT_OK


# ---------------------------------------------------------------- caption, train, generate, evaluate


def _caption_fields(argv: Sequence[str]) -> list[Field]:
    name = _peek(argv, "captioner", CaptionConfig().captioner)
    return [*describe(CaptionConfig), *_plugin_fields("sdstudio.captioners", name, "options.")]


def _train_fields(argv: Sequence[str]) -> list[Field]:
    name = _peek(argv, "method", TrainConfig().method)
    return [*describe(TrainConfig), *_plugin_fields("sdstudio.methods", name, "method_options.")]


def _configure_plugin_job(
    fields_of: Callable[[Sequence[str]], list[Field]],
) -> Callable[[argparse.ArgumentParser, Sequence[str]], None]:
    def configure(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
        fields = fields_of(argv)
        own = [item for item in fields if "options." in item.name]
        common = [item for item in fields if item not in own]
        add_flags(child, [item for item in common if not item.advanced], "settings")
        add_flags(child, own, "options of the chosen plug-in")
        add_flags(child, [item for item in common if item.advanced], "more settings")
        child.set_defaults(fields=fields)
        _add_job_flags(child)

    return configure


def _caption(ws: Workspace, arguments: argparse.Namespace) -> int:
    config = _config(CaptionConfig, arguments, arguments.fields)
    return _do(ws, arguments, "caption", config, lambda job: print(f"{job.done} of {job.total} {job.unit} captioned."))


def _train(ws: Workspace, arguments: argparse.Namespace) -> int:
    config = _config(TrainConfig, arguments, arguments.fields)

    def show(job: Job) -> None:
        print(f"Trained {job.id}, {job.done} {job.unit}; its folder is {job.folder}.")
        print(f"See what it learned: sdstudio evaluate --model base --model {job.id}")

    return _do(ws, arguments, "train", config, show)


def _configure_generate(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    child.add_argument("--model", action="append", metavar="MODEL", help=MODEL_HELP)
    fields = describe(GenerateConfig)
    add_flags(child, fields, "settings")
    child.set_defaults(fields=fields)
    _add_job_flags(child)


def _generate(ws: Workspace, arguments: argparse.Namespace) -> int:
    config = _config(GenerateConfig, arguments, arguments.fields)
    if arguments.model:
        config = replace(config, models=model_refs(ws, arguments.model))

    def show(job: Job) -> None:
        lines = (job.folder / "images.jsonl").read_text(encoding="utf-8").splitlines()
        for line in lines:
            print(job.folder / json.loads(line)["file"])

    return _do(ws, arguments, "generate", config, show)


def _configure_evaluate(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    child.add_argument("--model", action="append", metavar="MODEL", help=MODEL_HELP)
    fields = describe(Protocol)
    add_flags(child, fields, "protocol (default: the starter's, for its drawn style)")
    child.set_defaults(fields=fields)
    _add_job_flags(child)


def _evaluate(ws: Workspace, arguments: argparse.Namespace) -> int:
    from sdstudio.models import list_checkpoints
    from sdstudio.results import read_results, results_text
    from sdstudio.starter.examples import starter_protocol

    names = arguments.model or (None if arguments.config else ["base", *(run.run for run in list_checkpoints(ws)[:1])])
    models = model_refs(ws, names) if names else []
    config = _config(Protocol, arguments, arguments.fields, under=to_json(starter_protocol(models)))
    config = replace(config, models=models or config.models)

    def show(job: Job) -> None:
        print(results_text(read_results(job.folder)))
        print(f"Report with pictures: {job.folder / 'report.html'}")

    return _do(ws, arguments, "evaluate", config, show)


# ---------------------------------------------------------------- jobs


def _configure_jobs_list(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    child.add_argument("--kind", help="only jobs of this kind")


def _jobs_list(ws: Workspace, arguments: argparse.Namespace) -> int:
    found = jobs.list_jobs(ws, arguments.kind)
    rows = [(job.id, job.kind, job.state, _progress(job), job.error or job.title) for job in found]
    _say(arguments, [to_json(job) for job in found], _table(rows, "job", "kind", "state", "progress", ""))
    return EXIT_OK


def _job_argument(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    child.add_argument("id", metavar="JOB", help="the job's id")


def _configure_jobs_stop(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    _job_argument(child, argv)
    child.add_argument("--now", action="store_true", help="end it at once, without letting it save")


def _configure_jobs_logs(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    _job_argument(child, argv)
    child.add_argument("--lines", type=int, default=50, help="how many of the last lines (default 50)")


def _jobs_show(ws: Workspace, arguments: argparse.Namespace) -> int:
    job = jobs.get_job(ws, arguments.id)
    facts = {**to_json(job), "progress": _progress(job)}
    text = "\n".join(f"{key:9} {facts[key]}" for key in SHOWN if facts[key])
    _say(arguments, to_json(job), text)
    return EXIT_OK


def _jobs_logs(ws: Workspace, arguments: argparse.Namespace) -> int:
    log = jobs.read_log(jobs.get_job(ws, arguments.id), arguments.lines)
    _say(arguments, log.splitlines(), log.rstrip("\n"))
    return EXIT_OK


def _jobs_stop(ws: Workspace, arguments: argparse.Namespace) -> int:
    job = jobs.stop_job(ws, arguments.id, now=arguments.now)
    _say(arguments, to_json(job), f"{job.id} is {job.state}. {job.message}".rstrip())
    return EXIT_OK


def _progress(job: Job) -> str:
    return f"{job.done}/{job.total} {job.unit}".strip() if job.total else ""


# ---------------------------------------------------------------- doctor, demo, run


def _doctor(ws: Workspace, arguments: argparse.Namespace) -> int:
    from sdstudio.doctor import examine

    checks = examine(ws)
    text = "\n".join(f"{check.level:5}  {check.name}: {check.finding}" + check.advice_text() for check in checks)
    _say(arguments, [to_json(check) for check in checks], text)
    return EXIT_FAILED if any(check.level == "error" for check in checks) else EXIT_OK


def _demo(ws: Workspace, arguments: argparse.Namespace) -> int:
    from sdstudio.demo import StepFailed, run_demo

    screen = sys.stderr if arguments.json else sys.stdout
    try:
        result = run_demo(ws, say=lambda text: print(text, file=screen, flush=True))
    except StepFailed as error:
        print(f"sdstudio: {error}", file=sys.stderr)
        return EXIT_STOPPED if error.job.state == "cancelled" else EXIT_FAILED
    if arguments.json:
        print(json.dumps(to_json(result), indent=2))
    return EXIT_OK


def _configure_run(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    child.add_argument("--port", type=int, default=8501, help="the port on this machine (default 8501)")


def _run(ws: Workspace, arguments: argparse.Namespace) -> int:
    house = Path(sdstudio.__file__).parents[1]
    if not (house / "app.py").is_file():
        raise UserError(f"There is no app.py in {house}; start the studio from a clone of its repository.")
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(arguments.port)]
    try:
        return subprocess.call(command, cwd=house, env={**os.environ, ENV_VAR: str(ws.root)})
    except KeyboardInterrupt:
        return EXIT_OK


MODEL_HELP = "a model to ask: 'base', a run's id, a checkpoint folder, or a base model; may be given several times"
SHOWN = ("id", "kind", "title", "state", "progress", "message", "error", "folder")
GROUPS = {
    "dataset": "Bring pictures in, look at datasets, take them out.",
    "jobs": "What is queued, running and done.",
}
COMMANDS: dict[str, Any] = {
    "run": Command(
        help="Start the studio in the browser.",
        run=_run,
        configure=_configure_run,
    ),
    "demo": Command(
        help="The whole way without a browser: caption, train LoRA and SAM, evaluate, print the table.",
        run=_demo,
    ),
    "doctor": Command(
        help="Check this machine: Python, torch, memory, disk, the starter; each line says what to do.",
        run=_doctor,
        needs_starter=False,
    ),
    "dataset": {
        "import": Command(
            help="Bring the pictures of a folder, with captions that lie beside them, into a dataset.",
            run=_dataset_import,
            configure=_configure_import,
            examples="  sdstudio dataset import ~/photos --dataset mine",
        ),
        "list": Command(help="List the datasets.", run=_dataset_list),
        "show": Command(help="List a dataset's pictures and captions.", run=_dataset_show, configure=_name_argument),
        "export": Command(
            help="Write a dataset's pictures and captions into a folder.",
            run=_dataset_export,
            configure=_configure_export,
            examples="  sdstudio dataset export asim-style out --format csv",
        ),
    },
    "caption": Command(
        help="Draft a caption for each picture of a dataset; a person's caption is never overwritten.",
        run=_caption,
        configure=_configure_plugin_job(_caption_fields),
        examples="  sdstudio caption --dataset mine\n  sdstudio caption --dataset mine --no-only-empty --detach",
    ),
    "train": Command(
        help="Teach a model what a dataset shows; the options listed are those of the chosen --method.",
        run=_train,
        configure=_configure_plugin_job(_train_fields),
        examples=(
            "  sdstudio train --dataset asim-style --method lora --rank 8 --steps 200\n"
            "  sdstudio train --method sam --help\n"
            "  sdstudio train --config run.json --seed 1 --detach"
        ),
    ),
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
            "  sdstudio evaluate --config protocol.json --model base --model RUN --seeds 0 1 2 3"
        ),
    ),
    "jobs": {
        "list": Command(help="List the jobs, newest first.", run=_jobs_list, configure=_configure_jobs_list),
        "show": Command(help="Show one job.", run=_jobs_show, configure=_job_argument),
        "logs": Command(help="Print the end of a job's log.", run=_jobs_logs, configure=_configure_jobs_logs),
        "stop": Command(help="Ask a job to keep what it has and end.", run=_jobs_stop, configure=_configure_jobs_stop),
    },
}


if __name__ == "__main__":
    sys.exit(main())
