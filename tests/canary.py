"""A token that must be nowhere: every process of this machine is looked at again and again, then every file."""

import threading
from pathlib import Path

import psutil


class Watch:
    """Everything that any process of this machine shows of itself while the block runs, in `shown`."""

    def __init__(self) -> None:
        self.shown: set[str] = set()
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.look)

    def __enter__(self) -> "Watch":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()

    def look(self) -> None:
        while not self.done.wait(0.05):
            for process in psutil.process_iter(["cmdline", "environ"]):
                environment = process.info["environ"] or {}
                self.shown |= {" ".join(process.info["cmdline"] or []), *environment.values()}

    def assert_not_shown(self, token: str) -> None:
        assert any("sdstudio.jobs.worker" in text for text in self.shown)
        assert not [text for text in self.shown if token in text]


def assert_nowhere(token: str, folder: Path) -> None:
    """In no file under `folder`: log, database, cache or page."""
    for path in folder.rglob("*"):
        if path.is_file():
            assert token.encode() not in path.read_bytes(), path
