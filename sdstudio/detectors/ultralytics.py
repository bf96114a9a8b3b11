"""A person's own YOLO weights, run by their own ultralytics in a process of its own.

ultralytics is under the AGPL and its weights are pickles: neither is loaded here. A small script is handed to the
Python where the person has installed it, and answers in JSON, a line for each picture.
"""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from sdstudio.schema import STRICT, Box, Detector, UserError, option
from sdstudio.workspace import typed_path

_SCRIPT = """
import json, sys
from ultralytics import YOLO
weights, threshold, what = sys.argv[1:]
model = YOLO(weights)
names = list(model.names.values())
if what and what not in names:
    sys.exit(f"the weights know no class {what!r}; they know {', '.join(names)}")
print(json.dumps("ready"), flush=True)
for path in sys.stdin:
    [found] = model.predict(path.rstrip("\\n"), conf=max(float(threshold), 1e-3), verbose=False)
    rows = zip(found.boxes.cls.tolist(), found.boxes.conf.tolist(), found.boxes.xyxy.tolist())
    print(json.dumps([[model.names[int(label)], score, *box] for label, score, box in rows]), flush=True)
"""


@dataclass(frozen=True, kw_only=True)
class UltralyticsOptions:
    """Whose Python, which weights, and the class that is looked for."""

    __pydantic_config__ = STRICT
    python: str = option("python3", "The Python in which you have installed ultralytics.")
    weights: str = option("", "Your own weights file, for example best.pt. Only open files that you trust.")
    what: str = option("", "The class to look for, as the weights name it.", zero="any class")
    threshold: float = option(0.25, "What scores less is not found.", low=0.0, high=1.0, step=0.05)


def load(options: UltralyticsOptions, device: str) -> Callable[[Sequence[Path]], Iterator[list[Box]]]:
    """A function that gives the boxes of each picture file; a UserError where there is no such Python or file."""
    python, weights = shutil.which(options.python), typed_path(options.weights)
    if python is None:
        raise UserError(f"There is no program {options.python!r}: name the Python in which ultralytics is installed.")
    if not options.weights or not weights.is_file():
        raise UserError(f"There is no weights file {options.weights!r}: give the path of your own, such as best.pt.")
    command = [python, "-c", _SCRIPT, str(weights), str(options.threshold), options.what]

    def find(paths: Sequence[Path]) -> Iterator[list[Box]]:
        with (
            tempfile.TemporaryFile("w+") as log,
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True) as process,
        ):
            to_it, from_it = cast(IO[str], process.stdin), cast(IO[str], process.stdout)
            try:
                _answer(from_it, log)
                for path in paths:
                    to_it.write(f"{path.resolve()}\n")
                    to_it.flush()
                    yield [_box(row) for row in _answer(from_it, log)]
            finally:
                process.kill()

    return find


def _answer(lines: IO[str], log: IO[str]) -> list[list[Any]]:
    """The next line that is JSON, as ultralytics writes of its own between them; a UserError where it ended."""
    for line in lines:
        try:
            answer: list[list[Any]] = json.loads(line)
        except ValueError:
            continue
        return answer
    log.seek(0)
    said = log.read().strip().splitlines() or ["it said nothing"]
    raise UserError(f"Your ultralytics could not look at the pictures: {said[-1]}. Nothing was changed.")


def _box(row: list[Any]) -> Box:
    label, score, left, top, right, bottom = row
    return Box(label=label, score=score, left=left, top=top, right=right, bottom=bottom)


RECORD = Detector(
    name="ultralytics",
    label="Your own YOLO weights",
    summary="Runs weights that you have trained, in the Python where you have installed ultralytics (AGPL).",
    paper="Redmon et al. 2016, You Only Look Once, arXiv:1506.02640",
    Options=UltralyticsOptions,
    load=load,
)
