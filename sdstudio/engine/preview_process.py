"""A process of its own that shows what the model will see: `python -m sdstudio.engine.preview_process FOLDER`.

FOLDER holds `config.json`, a TrainConfig; beside it come the pictures and `seen.json`, a list of {file, caption,
tokens}. So a page shows the batch without loading torch itself.
"""

import sys
from pathlib import Path

from sdstudio.engine.preview import what_the_model_sees
from sdstudio.schema import TrainConfig, UserError, from_json
from sdstudio.workspace import current_workspace, read_json, write_json

SEEN_FILE = "seen.json"
PICTURES = 8


def main(folder: Path) -> int:
    """Write the files; 2 and a sentence on standard error for what a person can mend."""
    try:
        config = from_json(TrainConfig, read_json(folder / "config.json"))
        seen = what_the_model_sees(config, current_workspace(), PICTURES)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    lines = []
    for number, one in enumerate(seen):
        file = f"{number:02d}.png"
        one.picture.save(folder / file)
        lines.append({"file": file, "caption": one.caption, "tokens": one.tokens})
    write_json(folder / SEEN_FILE, lines)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
