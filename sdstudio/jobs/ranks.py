"""One job in several processes: its worker starts `accelerate launch`, which starts the ranks.

python -m sdstudio.jobs.ranks RUN_DIR --launch N --parent PID     what the worker starts
python -m sdstudio.jobs.ranks RUN_DIR                             what each rank is

Rank 0 writes what the job has to say; every rank writes its outcome, by which the worker knows how the job ended.
Killing any of them ends all of them: whoever is started here ends itself soon after its parent has.
"""

import argparse
import os
import subprocess
import sys
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from sdstudio.jobs.context import JobContext
from sdstudio.jobs.folder import CONFIG_FILE, read_state, workspace_of
from sdstudio.jobs.kinds import get_kind
from sdstudio.jobs.processes import module_command, python_environment
from sdstudio.schema import UserError, from_json, to_json
from sdstudio.workspace import read_json, write_json

PARENT = "SDSTUDIO_LAUNCHER"
"""The environment variable by which a rank knows the process id of its launcher."""
POLL = 0.5


class RankFailed(Exception):
    """A rank failed on something unforeseen; its own traceback is a note of this one."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a rank ended: `finished` as the job's function says it, or the exception that it failed on."""

    finished: bool = False
    error: str = ""
    is_user_error: bool = False
    traceback: str = ""


class QuietContext(JobContext):
    """The context of every rank but the first: it hears the same and says nothing."""

    def progress(self, done: int, total: int, unit: str = "", message: str = "") -> None:
        pass

    def metrics(self, **numbers: Any) -> None:
        pass

    def log(self, text: str) -> None:
        pass


def run_in_ranks(folder: Path, count: int) -> bool:
    """Do the job in `count` processes; False when it ended early because it was asked to stop.

    Raises the UserError that a rank ended on, or RankFailed.
    """
    for rank in range(count):
        _outcome_file(folder, rank).unlink(missing_ok=True)
    command = module_command("sdstudio.jobs.ranks", folder, "--launch", str(count), "--parent", str(os.getpid()))
    code = _reap(psutil.Popen(command, stdin=subprocess.DEVNULL, env=python_environment()))
    outcomes = {rank: found for rank in range(count) if (found := _read_outcome(folder, rank))}
    _raise_first_error(outcomes)
    if 0 not in outcomes:
        how = f"signal {-code}" if code < 0 else f"code {code}"
        raise UserError(f"The {count} processes of the job ended without a word (their launcher with {how}).")
    return outcomes[0].finished


def end_with(pid: int) -> None:
    """End this process at most a second after the process `pid` has ended, however that was killed."""
    try:
        parent = psutil.Process(pid)
    except psutil.NoSuchProcess:
        os._exit(1)

    def watch() -> None:
        while parent.is_running() and parent.status() != psutil.STATUS_ZOMBIE:
            time.sleep(POLL)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _reap(launcher: psutil.Popen) -> int:
    """Wait for the launcher, and see to it that nothing it started outlives it; its exit code."""
    family: set[psutil.Process] = set()
    while True:
        with suppress(psutil.NoSuchProcess):
            family.update(launcher.children(recursive=True))
        with suppress(psutil.TimeoutExpired):
            code: int = launcher.wait(timeout=POLL)
            break
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(family, timeout=10)
    return code


def _raise_first_error(outcomes: dict[int, Outcome]) -> None:
    """Of several ranks' errors the one for a person: what the others say is often only that a rank has left."""
    failed = [outcome for outcome in outcomes.values() if outcome.error]
    for outcome in sorted(failed, key=lambda outcome: not outcome.is_user_error):
        error = UserError(outcome.error) if outcome.is_user_error else RankFailed(outcome.error)
        error.add_note(outcome.traceback)
        raise error


def _outcome_file(folder: Path, rank: int) -> Path:
    return folder / f".rank-{rank}.json"


def _read_outcome(folder: Path, rank: int) -> Outcome | None:
    file = _outcome_file(folder, rank)
    return from_json(Outcome, read_json(file)) if file.exists() else None


# ---------------------------------------------------------------- the processes


def launch(folder: Path, count: int) -> int:
    """Run `count` ranks through accelerate, every option given: what is not given comes from the user's own config."""
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    os.environ[PARENT] = str(os.getpid())
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    if not os.environ.get("CUDA_VISIBLE_DEVICES"):
        os.environ["ACCELERATE_USE_CPU"] = "true"
    options = ["--multi_gpu", "--num_processes", str(count), "--num_machines", "1", "--machine_rank", "0"]
    options += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    command = ["--module", "sdstudio.jobs.ranks", str(folder)]
    try:
        launch_command(launch_command_parser().parse_args([*options, *command]))
    except ChildFailedError:
        return 1
    return 0


def work(folder: Path) -> int:
    """Do the job as the rank that accelerate's environment names, and write down the outcome; 0 unless it failed."""
    rank = int(os.environ["RANK"])
    context = (JobContext if rank == 0 else QuietContext)(workspace_of(folder), folder)
    kind = get_kind(read_state(folder).kind)
    try:
        config: Any = from_json(kind.config, read_json(folder / CONFIG_FILE))
        outcome = Outcome(finished=kind.load()(config, context))
    except Exception as error:
        is_user_error = isinstance(error, UserError)
        said = str(error) if is_user_error else f"{type(error).__name__}: {error}"
        outcome = Outcome(error=said, is_user_error=is_user_error, traceback=traceback.format_exc())
    write_json(_outcome_file(folder, rank), to_json(outcome))
    return 1 if outcome.error else 0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--launch", type=int, metavar="N")
    parser.add_argument("--parent", type=int, default=int(os.environ.get(PARENT, "0")))
    arguments = parser.parse_args()
    end_with(arguments.parent)
    return launch(arguments.folder, arguments.launch) if arguments.launch else work(arguments.folder)


if __name__ == "__main__":
    sys.exit(main())
