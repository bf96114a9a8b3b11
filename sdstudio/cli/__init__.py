"""The `sdstudio` command: everything the pages do, without a browser."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence

import sdstudio
from sdstudio.cli.dataset import DATASET
from sdstudio.cli.flags import Command, Group, Parser, add_commands, parse
from sdstudio.cli.house import HOUSE
from sdstudio.cli.identifiers import IDENTIFIERS
from sdstudio.cli.jobs import JOBS
from sdstudio.cli.judging import JUDGING
from sdstudio.cli.making import MAKING
from sdstudio.cli.outcomes import EXIT_FAILED, EXIT_STOPPED, EXIT_USER
from sdstudio.cli.paper import PAPER
from sdstudio.cli.taking_out import TAKING_OUT
from sdstudio.schema import UserError
from sdstudio.workspace import ENV_VAR, OWN_FOLDER, Workspace, current_workspace

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
COMMANDS: Mapping[str, Command | Group] = {
    **HOUSE,
    "dataset": DATASET,
    **MAKING,
    **JUDGING,
    **TAKING_OUT,
    "paper": PAPER,
    "identifiers": IDENTIFIERS,
    "jobs": JOBS,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. Anything the person can mend is one sentence on standard error and code 2."""
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        arguments = parse(parser(argv), argv)
        if arguments.workspace:
            os.environ[ENV_VAR] = arguments.workspace
        ws = current_workspace()
        command: Command = arguments.command
        if command.needs_starter:
            if not os.access(ws.root, os.W_OK):
                raise UserError(f"The workspace {ws.root} cannot be written. {OWN_FOLDER}")
            install_starter(ws)
        code = command.run(ws, arguments)
        sys.stdout.flush()
        return code
    except UserError as error:
        print(f"sdstudio: {error}", file=sys.stderr)
        return EXIT_USER
    except KeyboardInterrupt:
        print("\nStopped; nothing was begun.", file=sys.stderr)
        return EXIT_STOPPED
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED


def parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The parser for `argv`."""
    top = Parser(prog="sdstudio", description=sdstudio.__doc__, epilog=EPILOG)
    add_commands(top, COMMANDS, argv)
    return top


def install_starter(ws: Workspace) -> None:
    """Make sure that the example datasets are in the workspace."""
    from sdstudio.starter import examples

    examples.install(ws)
