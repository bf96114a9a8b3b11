"""Search patterns from a person, that cannot hang the studio: a pattern that takes too long is said, not waited for."""

import re
import time
from collections.abc import Callable
from typing import Any

import regex

from sdstudio.schema import UserError

SECONDS = 3.0
_LONG = 2_000
TOO_SLOW = "The pattern takes too long on these captions; make it simpler, for example without a repeat in a repeat."


class Pattern:
    """A compiled pattern with a budget of `SECONDS` (of processor time) for all its work. Plain text unless `is_regex`.

    Raises a UserError when the pattern is not a valid one, and when the budget is used up. Regular expressions are
    Python's, case counts unless they say `(?i)`; plain text is found in either case unless `match_case`.
    """

    def __init__(self, text: str, is_regex: bool, match_case: bool = False) -> None:
        flags = 0 if is_regex or match_case else regex.IGNORECASE
        try:
            self._pattern: Any = regex.compile(text if is_regex else regex.escape(text), flags)
        except regex.error as error:
            raise UserError(f"{text!r} is not a valid pattern ({error}); mend it and search again.") from error
        self._may_explode = is_regex and (")" in text or sum(text.count(sign) for sign in "*+{") > 2)
        self._deadline = time.thread_time() + SECONDS

    def found_in(self, text: str) -> bool:
        return self._guarded(self._pattern.search, text) is not None

    def replaced_in(self, text: str, replacement: str | Callable[[Any], str]) -> str:
        """`text` with every find replaced; in a string, `\\1` or `\\g<name>` stand for groups."""
        try:
            result: str = self._guarded(lambda text, **limit: self._pattern.sub(replacement, text, **limit), text)
            return result
        except (regex.error, IndexError) as error:
            raise UserError(f"{replacement!r} cannot be put in its place ({error}); mend it and try again.") from error

    def _guarded(self, work: Callable[..., Any], text: str) -> Any:
        left = self._deadline - time.thread_time()
        if left <= 0:
            raise UserError(TOO_SLOW)
        if not self._may_explode and len(text) < _LONG:
            return work(text)
        try:
            return work(text, timeout=left)
        except TimeoutError as error:
            raise UserError(TOO_SLOW) from error


def has_word(word: str) -> Callable[[str], bool]:
    """Whether a text holds `word` as a word of its own, in either case."""
    search = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE).search
    return lambda text: search(text) is not None
