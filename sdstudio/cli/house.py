"""`sdstudio run`, `demo` and `doctor`."""

import argparse
import json
import os
import runpy
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import sdstudio
from sdstudio.cli.flags import Command, say, whole_number
from sdstudio.cli.outcomes import EXIT_FAILED, EXIT_OK, EXIT_STOPPED
from sdstudio.schema import UserError, to_json
from sdstudio.workspace import ENV_VAR, Workspace


def _configure_run(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    child.add_argument(
        "--port", type=whole_number(1, 65535), default=8501, help="the port on this machine (default 8501)"
    )
    child.add_argument(
        "--address",
        default="127.0.0.1",
        help="where to listen (default 127.0.0.1, this machine alone); 0.0.0.0 is every network, behind a token",
    )
    child.add_argument(
        "--host-name",
        action="append",
        default=[],
        metavar="NAME",
        help="a name or address under which browsers elsewhere reach this machine; may be given several times",
    )


def _run(ws: Workspace, arguments: argparse.Namespace) -> int:
    house = Path(sdstudio.__file__).parents[1]
    if not (house / "app.py").is_file():
        raise UserError(f"There is no app.py in {house}; start the studio from a clone of its repository.")
    _check_port(arguments.address, arguments.port)
    os.environ[ENV_VAR] = str(ws.root)
    os.chdir(house)
    sys.argv = ["streamlit", "run", "app.py"]
    sys.argv += ["--server.port", str(arguments.port), "--server.address", arguments.address]
    for name in [*arguments.host_name, "127.0.0.1", "localhost"]:
        sys.argv += ["--server.allowedHosts", name]
    runpy.run_module("streamlit", run_name="__main__")  # in this process, so that whoever ends it ends the server
    return EXIT_OK


def _check_port(address: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port just left is free
        try:
            probe.bind((address, port))
        except socket.gaierror as error:
            raise UserError(f"{address!r} is no address of this machine; 127.0.0.1 and 0.0.0.0 always are.") from error
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UserError(
                f"The port {port} of {address} cannot be used ({reason}); give another one with --port."
            ) from error


def _demo(ws: Workspace, arguments: argparse.Namespace) -> int:
    from sdstudio.demo import StepFailed, run_demo

    screen = sys.stderr if arguments.json else sys.stdout
    try:
        result = run_demo(ws, say=lambda text: print(text, file=screen, flush=True))
    except StepFailed as error:
        print(f"sdstudio: {error}", file=sys.stderr)
        return EXIT_STOPPED if error.job.state == "cancelled" else EXIT_FAILED
    except KeyboardInterrupt:
        print("\nStopped between two steps; what was made is kept.", file=sys.stderr)
        return EXIT_STOPPED
    if arguments.json:
        print(json.dumps(to_json(result), indent=2))
    return EXIT_OK


def _doctor(ws: Workspace, arguments: argparse.Namespace) -> int:
    from sdstudio.doctor import examine

    checks = examine(ws)
    text = "\n".join(f"{check.level:5}  {check.name}: {check.finding}" + check.advice_text() for check in checks)
    say(arguments, [to_json(check) for check in checks], text)
    return EXIT_FAILED if any(check.level == "error" for check in checks) else EXIT_OK


HOUSE = {
    "run": Command(
        help="Start the studio in the browser.",
        run=_run,
        configure=_configure_run,
        examples=(
            "  sdstudio run                                                       for this machine alone\n"
            "  sdstudio run --workspace ~/faces --port 8600                       another workspace, beside the first\n"
            "  sdstudio run --address 0.0.0.0 --host-name studio.lab.example      for a lab: prints a link with a token"
        ),
    ),
    "demo": Command(
        help="The whole way without a browser: caption, train LoRA and SAM, evaluate, print the table; some minutes.",
        run=_demo,
        examples="  sdstudio demo\n  sdstudio demo --workspace demo-workspace",
    ),
    "doctor": Command(
        help="Check this machine: Python, torch, memory, disk, the starter; each line says what to do.",
        run=_doctor,
        needs_starter=False,
        examples="  sdstudio doctor\n  sdstudio doctor --json",
    ),
}
