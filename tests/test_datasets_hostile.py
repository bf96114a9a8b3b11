"""Hostile files through the real import: no crash, nothing written elsewhere, little memory, every file accounted for.

pytest tests/test_datasets_hostile.py            # 280 files
pytest tests/test_datasets_hostile.py -m slow    # 10,000 files
"""

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from hostile import sources, write_hostile
from PIL import Image

from sdstudio.datasets import DatasetStore, open_dataset
from sdstudio.schema import ImportConfig, to_json
from sdstudio.workspace import Workspace

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and makes links and a pipe")
MOST_MEMORY = 500

IMPORTER = """
import json, os, sys
from pathlib import Path

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"}
root, strayed = os.path.realpath(sys.argv[1]), []

def watch(event, arguments):
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES:
        paths = arguments[:1]
    elif event in CHANGES:
        paths = [path for path in arguments if isinstance(path, (str, bytes))]
    elif event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.fork", "socket.connect"):
        strayed.append(f"{event} {arguments}")
        return
    else:
        return
    for path in paths:
        if isinstance(path, (str, bytes)):
            real = os.path.realpath(os.fsdecode(path))
            if not (real + "/").startswith(root + "/") and real != os.devnull:
                strayed.append(f"{event} {real!r}")

from sdstudio import jobs
from sdstudio.schema import ImportConfig, from_json
from sdstudio.workspace import Workspace, read_json
import sdstudio.datasets.importer, sdstudio.datasets.tables, PIL.Image
PIL.Image.init()
sys.addaudithook(watch)
config = from_json(ImportConfig, json.loads(sys.argv[2]))
job = jobs.run_inline(Workspace(Path(sys.argv[1])), "import", config, echo=False)
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
report = read_json(job.folder / "report.json")
print(json.dumps({"state": job.state, "report": report, "strayed": strayed, "peak": int(peak.split()[1]) / 1000}))
"""


def everything_in(folder: Path) -> dict[str, tuple[object, ...]]:
    """What lies in `folder`: kind, size, time of the last change and content of each entry."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = sha256(path.read_bytes()).hexdigest() if path.is_file() and not path.is_symlink() else ""
        found[str(path)] = (status.st_mode, status.st_size, status.st_mtime_ns, content)
    return found


def assert_sound(store: DatasetStore) -> None:
    for image in store.images():
        path = store.image_path(image.id)
        assert sha256(path.read_bytes()).hexdigest() == image.id
        with Image.open(path) as picture:
            picture.load()
            assert (picture.mode, picture.size) == ("RGB", (image.width, image.height))
            assert picture.getexif().get(0x0112, 1) not in range(2, 9)
        assert store.thumb_path(image.id).stat().st_size < 100_000
        assert image.file_name.isprintable()
    with store._database.read() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


@pytest.mark.parametrize("count", [280, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(3000)])])
def test_hostile_files_cost_a_sentence_each(tmp_path, count, record_property):
    elsewhere, home = tmp_path / "elsewhere", tmp_path / "home"
    elsewhere.mkdir()
    home.mkdir()
    (elsewhere / "picture.png").write_bytes(sources()[0][1])
    (elsewhere / "secret.txt").write_text("not to be read")
    workspace = Workspace(tmp_path / "workspace")
    workspace.root.mkdir()
    expected = write_hostile(tmp_path / "hostile", count, elsewhere)
    before = {**everything_in(tmp_path / "hostile"), **everything_in(elsewhere)}
    config = to_json(ImportConfig(dataset="set", folder=str(tmp_path / "hostile")))
    environment = {**os.environ, "HOME": str(home), "TMPDIR": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", IMPORTER, str(workspace.root), json.dumps(config)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[1],
        timeout=2_900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    report = said["report"]
    print(f"{report['added']} added, {report['duplicates']} again, {len(report['refused'])} refused, {said['peak']} MB")
    assert said["state"] == "succeeded"
    assert said["strayed"] == []
    assert {**everything_in(tmp_path / "hostile"), **everything_in(elsewhere)} == before
    assert list(home.iterdir()) == []
    assert said["peak"] < MOST_MEMORY
    companions = {"metadata.jsonl", "metadata.csv", "broken.parquet", "table.json", "1file.txt", "orphan.caption"}
    refused = [(name, why) for name, why in report["refused"] if Path(name).name not in companions]
    assert report["added"] + report["duplicates"] + len(refused) == expected
    assert all(why.endswith(".") and "\n" not in why for _, why in report["refused"])
    assert report["added"] > count / 10 < len(refused)
    store = open_dataset(workspace, "set")
    assert len(store.images()) == report["added"]
    assert_sound(store)
    assert not any("stolen" in image.caption for image in store.images())
