"""Prompt suites: the bundled ones, one's own, and what is refused.   pytest tests/test_suites.py"""

from pathlib import Path

import pytest

from sdstudio import suites
from sdstudio.prompts import parse
from sdstudio.schema import UserError
from sdstudio.workspace import Workspace


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def test_every_bundled_suite_is_whole(ws: Workspace) -> None:
    bundled, problems = suites.list_suites(ws)
    assert not problems and all(suite.bundled and suite.source and suite.title for suite in bundled)
    sizes = {suite.name: len(suite.prompts) for suite in bundled}
    assert sizes["dreambooth-thing"] == sizes["dreambooth-live"] == 25
    for suite in bundled:
        assert suite.wants_subject == bool(suite.subject)
        for prompt in suite.fill("sks dog"):
            assert parse(prompt) and "{" not in prompt


def test_the_subject_takes_its_place(ws: Workspace) -> None:
    suite = suites.load(ws, "dreambooth-live")
    filled = suite.fill("  sks   dog ")
    assert filled[0] == "a sks dog in the jungle" and filled[-1] == "a cube shaped sks dog"
    assert suite.fill("{trigger}")[10] == "a {trigger} wearing a red hat"
    with pytest.raises(UserError, match="wants a subject: the trigger and its class"):
        suite.fill(" ")
    assert suites.load(ws, "photos").fill("") == list(suites.load(ws, "photos").prompts)


def test_ones_own_is_kept_listed_and_read_from_any_file(ws: Workspace, tmp_path: Path) -> None:
    text = "\ufeff# title: Mine\n# just a word\r\n\r\na {subject} on Mars\na hat, red\n".encode()
    added = suites.add(ws, "mine.TXT", text)
    assert (added.title, added.prompts) == ("Mine", ("a {subject} on Mars", "a hat, red"))
    table = b'id,Prompt\n1,"a {subject}, big\nand red"\n2,\n3,a hat\n'
    assert suites.add(ws, "table.csv", table).prompts == ("a {subject}, big and red", "a hat")
    assert suites.load(ws, "mine") == added and not added.bundled
    assert {"mine", "table"} <= {suite.name for suite in suites.list_suites(ws)[0]}
    (tmp_path / "other.txt").write_text("a cat")
    assert suites.load(ws, str(tmp_path / "other.txt")).prompts == ("a cat",)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.txt", b"", "no prompt"),
        ("a.txt", b"# only\n \n", "no prompt"),
        ("a.txt", b"a cat\na dog\na cat", "line 1: the prompt 'a cat' is there 2 times"),
        ("a.txt", b"x\n\na {color} cat", "line 3: '{color}' stands for nothing"),
        ("a.txt", b"a {subject cat", "stands for nothing"),
        ("a.txt", b"\xff\xfe\x00", "not UTF-8"),
        ("a.txt", b"y" * 2001, "too long"),
        ("a.txt", b"\n".join(b"%d" % number for number in range(2001)), "the most is 2,000"),
        ("a.csv", b"text\na cat", "no column 'prompt'"),
        ("a.csv", b"", "no column 'prompt'"),
        ("a.exe", b"a cat", "is no suite"),
        ("a b.txt", b"a cat", "not a usable suite name"),
        ("photos.txt", b"a cat", "is a suite 'photos' already"),
    ],
)
def test_what_is_no_suite_is_refused_before_anything_is_written(
    ws: Workspace, name: str, data: bytes, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        suites.add(ws, name, data)
    assert not ws.suites.exists()


def test_a_broken_file_in_the_folder_is_said_and_hides_no_other(ws: Workspace) -> None:
    ws.suites.mkdir()
    (ws.suites / "broken.txt").write_bytes(b"\xff")
    (ws.suites / "fine.txt").write_text("a cat")
    (ws.suites / "notes.md").write_text("a cat")
    listed, problems = suites.list_suites(ws)
    assert "fine" in {suite.name for suite in listed} and len(problems) == 1 and "broken.txt" in problems[0]
    with pytest.raises(UserError, match=r"no suite 'gone': choose one of .*fine"):
        suites.load(ws, "gone")
    for name in ("../x", "gone.txt"):
        with pytest.raises(UserError):
            suites.load(ws, name)
