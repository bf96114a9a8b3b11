"""Why a job did not finish, in a sentence: what happened, what was kept, what to try."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from sdstudio.jobs.devices import LOCAL
from sdstudio.jobs.folder import CONFIG_FILE, LOG_FILE, TRACEBACK_FILE, State, read_progress
from sdstudio.schema import UserError
from sdstudio.words import first_line
from sdstudio.workspace import read_json

SIGKILL = 9
SHORTEST_TOKEN = 8
FULL = 2**20
"""A disk with fewer bytes free than this takes no state file, log line or checkpoint."""
NO_SPACE = ("no space left on device", "disk is full", "disk quota exceeded")
NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "unable to allocate")


def explain(error: BaseException, folder: Path) -> str:
    """One sentence or two for the person whose job in `folder` ended with this exception."""
    causes = list(_chain(error))
    texts = [str(cause).lower() for cause in causes]
    if isinstance(error, UserError):
        return " ".join([str(error), *([kept(folder)] if has_kept(folder) else [])])
    if any(is_disk_full(cause) for cause in causes):
        return f"The disk is full. {kept(folder)} Free some space first."
    on_gpu = next((text for text in texts if "cuda" in text and "out of memory" in text), None)
    if on_gpu:
        return f"The GPU ran out of memory{_asked(on_gpu)}. {kept(folder)} {_smaller(folder)}"
    if any(is_out_of_memory(cause) for cause in causes):
        return f"This machine ran out of memory. {kept(folder)} {_smaller(folder)}"
    what = f"{type(error).__name__}: {first_line(error)}"
    return f"It failed on something unforeseen ({what}). {kept(folder)} {TRACEBACK_FILE} in its folder says where."


def without_tokens(text: str) -> str:
    """`text` in which the name of a token of this process's environment stands for what it is."""
    for name, value in os.environ.items():
        if name.endswith("TOKEN") and len(value) >= SHORTEST_TOKEN:
            text = text.replace(value, f"[{name}]")
    return text


def explain_end(state: State, folder: Path, exit_code: int | None) -> str:
    """The same for a job whose worker ended without a word; `exit_code` is None where nobody saw it end."""
    if exit_code is not None and exit_code > 0:
        return f"Its process ended with code {exit_code} and did not say why; the end of {LOG_FILE} may. {kept(folder)}"
    if restarted(state):
        return f"The machine restarted while it ran. {kept(folder)}"
    if shutil.disk_usage(folder).free < FULL:
        return f"It was interrupted, and the disk is full. {kept(folder)} Free some space first."
    if exit_code in (None, -SIGKILL) and state.oom_kills is not None and (oom_kills() or 0) > state.oom_kills:
        return (
            "This machine ran out of memory while it ran, and the system most likely killed it for that. "
            f"{kept(folder)} {_smaller(folder)}"
        )
    if exit_code == -SIGKILL:
        return (
            "It was killed (signal 9): by a person, or by a system that ran out of memory. "
            f"{kept(folder)} If it happens again, {_decapitalised(_smaller(folder))}"
        )
    if exit_code is not None:
        return f"It was killed (signal {-exit_code}). {kept(folder)}"
    return f"Its process is gone: it was killed while nothing watched it. {kept(folder)}"


def restarted(state: State) -> bool:
    """Whether this machine was started after the job's processes here were."""
    here = (state.worker, state.supervisor) if state.placement.backend == LOCAL else (state.supervisor,)
    processes = [identity for identity in here if identity]
    return bool(processes) and psutil.boot_time() > max(identity.create_time for identity in processes) + 2


def oom_kills() -> int | None:
    """How many processes this system has killed for lack of memory since it started; None where it does not say."""
    try:
        found = re.search(r"^oom_kill (\d+)$", Path("/proc/vmstat").read_text(encoding="ascii"), flags=re.MULTILINE)
    except OSError:
        return None
    return int(found.group(1)) if found else None


def is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in NO_MEMORY)


def is_disk_full(error: BaseException) -> bool:
    """Whether the operating system or SQLite said that there is no room, in whatever wrapping."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return any(word in str(error).lower() for word in NO_SPACE)


def kept(folder: Path) -> str:
    """What a job that did not finish leaves behind, and how it goes on."""
    goes_on = "goes on with it" if has_kept(folder) else "begins it again"
    return f"{_leftovers(folder)} `sdstudio jobs resume {folder.name}` {goes_on}."


def has_kept(folder: Path) -> bool:
    return bool(_checkpoints(folder) or read_progress(folder).get("done"))


def _leftovers(folder: Path) -> str:
    checkpoints = _checkpoints(folder)
    if checkpoints:
        return f"Its checkpoint {checkpoints[-1]} is kept."
    progress = read_progress(folder)
    if progress.get("done"):
        amount = f"{progress['done']} of {progress['total']} {progress['unit']}".strip()
        return f"What it had done is kept ({amount})."
    return "It had nothing to keep yet."


def _checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").glob("step-*"))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and those that it came from."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def _asked(text: str) -> str:
    """' (it asked for 2.00 GiB more of 23.68 GiB)', as far as CUDA's message tells."""
    more, total = re.search(r"tried to allocate ([\d.]+ .ib)", text), re.search(r"capacity of ([\d.]+ .ib)", text)
    if not more:
        return ""
    units = (match.group(1).replace("ib", "iB").replace("g", "G").replace("m", "M").replace("k", "K")
             for match in (more, total) if match)  # fmt: skip
    return f" (it asked for {' more of '.join(units)})"


def _smaller(folder: Path) -> str:
    """What takes less memory, with the settings that the job had."""
    try:
        config: dict[str, Any] = read_json(folder / CONFIG_FILE)
    except UserError:
        config = {}
    settings = config.get("loop") or config.get("settings") or config.get("options") or {}
    size = settings.get("batch_size", 1)
    first = f"a batch smaller than {size}" if size > 1 else "a smaller resolution"
    return f"Try {first}, or close what else uses the memory."


def _decapitalised(text: str) -> str:
    return text[:1].lower() + text[1:]
