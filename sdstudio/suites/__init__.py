"""Prompt suites: the same prompts for every model, with a place for what it learned.

A suite is a text file, one prompt a line, or a CSV file with a column `prompt`; `{subject}` stands for the words that
call what a model learned. Lines such as `# title: …`, `# source: …` and `# subject: …` at the top of a text say more.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sdstudio.schema import UserError
from sdstudio.words import count
from sdstudio.workspace import Workspace, atomic_write, check_name, typed_path

SUBJECT = "{subject}"
SUFFIXES = (".txt", ".csv")
MOST_PROMPTS, MOST_LETTERS = 2_000, 2_000
_BUNDLED = Path(__file__).parent
_FACT = re.compile(r"#\s*(title|source|subject)\s*:\s*(.+)")
_BRACES = re.compile(r"\{[^{}]*\}?|\}")


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Prompts of one name. `source` says where they are from, `subject` what to put in their `{subject}`."""

    name: str
    title: str
    prompts: tuple[str, ...]
    source: str = ""
    subject: str = ""
    bundled: bool = False

    @property
    def wants_subject(self) -> bool:
        return any(SUBJECT in prompt for prompt in self.prompts)

    def fill(self, subject: str) -> list[str]:
        """The prompts with `subject` in its place; a UserError when one is wanted and none given."""
        subject = " ".join(subject.split())
        if self.wants_subject and not subject:
            raise UserError(f"{self.title} wants a subject: {self.subject or 'the words that call what was learned'}.")
        return list(dict.fromkeys(prompt.replace(SUBJECT, subject) for prompt in self.prompts))


def list_suites(ws: Workspace) -> tuple[list[Suite], list[str]]:
    """The bundled suites and those of the workspace by name, and a sentence for each file that is none."""
    suites, problems = [], []
    for path in sorted(path for folder in (_BUNDLED, ws.suites) for path in folder.glob("*")):
        if path.suffix.lower() in SUFFIXES:
            try:
                suites.append(_read(path))
            except UserError as error:
                problems.append(str(error))
    return suites, problems


def load(ws: Workspace, name: str) -> Suite:
    """The suite of this name, or in this file. Raises UserError for one that is not there or not valid."""
    if Path(name).suffix.lower() in SUFFIXES:
        return _read(typed_path(name))
    for folder in (ws.suites, _BUNDLED):
        for suffix in SUFFIXES:
            if (folder / f"{check_name(name, 'suite')}{suffix}").is_file():
                return _read(folder / f"{name}{suffix}")
    names = ", ".join(suite.name for suite in list_suites(ws)[0])
    raise UserError(f"There is no suite {name!r}: choose one of {names}, or give a .txt or .csv file.")


def add(ws: Workspace, file_name: str, data: bytes) -> Suite:
    """Keep a suite of one's own in the workspace. Raises UserError, before anything is written, for what is none."""
    path = Path(file_name)
    suite = parse(path, data)
    taken = [folder for folder in (ws.suites, _BUNDLED) for end in SUFFIXES if (folder / f"{suite.name}{end}").exists()]
    if taken:
        raise UserError(f"There is a suite {suite.name!r} already: give the file another name. Nothing was changed.")
    atomic_write(ws.suites / f"{suite.name}{path.suffix.lower()}", data)
    return suite


def parse(path: Path, data: bytes, bundled: bool = False) -> Suite:
    """The suite that `data` is under the name of `path`; a UserError that says which line is wrong otherwise."""
    name = check_name(path.stem, "suite")
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(
            f"{path.name} is no suite: give a .txt file with a prompt a line, or a .csv with a column prompt."
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path.name} is not UTF-8 text: save it as UTF-8.") from error
    facts: dict[str, str] = {}
    lines = _from_csv(path, text) if path.suffix.lower() == ".csv" else _from_text(text, facts)
    _check(path, lines)
    return Suite(
        name=name,
        title=facts.get("title", name),
        prompts=tuple(prompt for _, prompt in lines),
        source=facts.get("source", ""),
        subject=facts.get("subject", ""),
        bundled=bundled,
    )


def _read(path: Path) -> Suite:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"The suite {path} cannot be read: {error.strerror}.") from error
    return parse(path, data, bundled=path.parent == _BUNDLED)


def _from_text(text: str, facts: dict[str, str]) -> list[tuple[int, str]]:
    """(line number, prompt); what the comments say of the suite goes into `facts`."""
    lines = []
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.strip()
        if line.startswith("#"):
            fact = _FACT.fullmatch(line)
            facts.update({fact.group(1): fact.group(2)} if fact else {})
        elif line:
            lines.append((number, line))
    return lines


def _from_csv(path: Path, text: str) -> list[tuple[int, str]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    column = next((name for name in reader.fieldnames or () if name and name.strip().lower() == "prompt"), None)
    if column is None:
        raise UserError(f"{path.name} has no column 'prompt': name the column of the prompts so in its first line.")
    try:
        rows = [(reader.line_num, " ".join((row[column] or "").split())) for row in reader]
    except csv.Error as error:
        raise UserError(f"{path.name} is not valid CSV near line {reader.line_num}: {error}.") from error
    return [(number, prompt) for number, prompt in rows if prompt]


def _check(path: Path, lines: Sequence[tuple[int, str]]) -> None:
    if not lines:
        raise UserError(f"{path.name} holds no prompt: write one a line.")
    if len(lines) > MOST_PROMPTS:
        raise UserError(f"{path.name} holds {count(len(lines), 'prompt')}, the most is {MOST_PROMPTS:,}: split it.")
    times = Counter(prompt for _, prompt in lines)
    for number, prompt in lines:
        odd = [brace for brace in _BRACES.findall(prompt) if brace != SUBJECT]
        if odd:
            raise UserError(f"{path.name}, line {number}: {odd[0]!r} stands for nothing; only {SUBJECT} does.")
        if len(prompt) > MOST_LETTERS:
            raise UserError(f"{path.name}, line {number}: a prompt of {len(prompt):,} letters is too long.")
        if times[prompt] > 1:
            raise UserError(f"{path.name}, line {number}: the prompt {prompt[:60]!r} is there {times[prompt]} times.")
