"""Search patterns from a person, that cannot hang the studio: a pattern that takes too long is said, not waited for."""

import re
import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from typing import Any

import regex

from sdstudio.schema import UserError

SECONDS = 3.0
_LONG = 2_000
_CHUNK = 64
_RISKY = re.compile(r"\)\s*[*+?{]|\(\?(R|&|P>|\d|[^):]*x)|\\[1-9g]")
TOO_SLOW = "The pattern takes too long on these captions; make it simpler, for example without a repeat in a repeat."


class Pattern:
    """A compiled pattern. Plain text unless `is_regex`; then all its matching may take `SECONDS` of processor time.

    Raises a UserError when the pattern is not a valid one, and when that time is used up. Regular expressions are
    Python's, case counts unless they say `(?i)`; plain text is found in either case unless `match_case`.
    """

    def __init__(self, text: str, is_regex: bool, match_case: bool = False) -> None:
        flags = 0 if is_regex or match_case else regex.IGNORECASE
        try:
            self._pattern: Any = regex.compile(text if is_regex else regex.escape(text), flags)
        except regex.error as error:
            raise UserError(f"{text!r} is not a valid pattern ({error}); mend it and search again.") from error
        repeats = sum(text.count(sign) for sign in "*+{")
        self._may_explode = is_regex and (repeats > 1 or _RISKY.search(text) is not None)
        self._is_regex = is_regex
        self._spent = 0.0

    def found_in(self, text: str) -> bool:
        return self._guarded(self._pattern.search, text) is not None

    def matching(self, captions: Iterable[tuple[int, str]]) -> list[tuple[int, str]]:
        """Those of (position, caption) in which the pattern is found; the clock is looked at now and then only."""
        rest = iter(captions)
        found: list[tuple[int, str]] = []
        while chunk := list(islice(rest, _CHUNK)):
            if self._may_explode or max(len(text) for _, text in chunk) >= _LONG:
                found += [row for row in chunk if self.found_in(row[1])]
            else:
                found += self._timed(partial(_matching, self._pattern.search, chunk))
        return found

    def replaced_in(self, text: str, replacement: str | Callable[[Any], str]) -> str:
        """`text` with every find replaced; in a string, `\\1` or `\\g<name>` stand for groups."""
        try:
            result: str = self._guarded(lambda text, **limit: self._pattern.sub(replacement, text, **limit), text)
            return result
        except (regex.error, IndexError) as error:
            raise UserError(f"{replacement!r} cannot be put in its place ({error}); mend it and try again.") from error

    def _guarded(self, work: Callable[..., Any], text: str) -> Any:
        if not self._is_regex:
            return work(text)
        if not self._may_explode and len(text) < _LONG:
            return self._timed(lambda left: work(text))
        return self._timed(lambda left: work(text, timeout=left))

    def _timed(self, work: Callable[[float], Any]) -> Any:
        """What `work` returns, which hears how many seconds are left; those that it takes are counted."""
        left = SECONDS - self._spent
        if left <= 0:
            raise UserError(TOO_SLOW)
        began = time.thread_time()
        try:
            return work(left)
        except TimeoutError as error:
            raise UserError(TOO_SLOW) from error
        finally:
            self._spent += time.thread_time() - began


def _matching(search: Callable[[str], Any], captions: list[tuple[int, str]], left: float) -> list[tuple[int, str]]:
    return [row for row in captions if search(row[1])]


def has_word(word: str) -> Callable[[str], bool]:
    """Whether a text holds `word` as a word of its own, in either case."""
    search = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE).search
    return lambda text: search(text) is not None
