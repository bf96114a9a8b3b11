"""What was used last is remembered, as far as it fits.   pytest tests/test_engine_remembered.py"""

import pytest

from sdstudio.engine import remembered
from sdstudio.engine.remembered import Remembered


def test_the_longest_unused_is_forgotten_first_and_the_last_never(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "MOST", 10)
    made: list[str] = []
    memory = Remembered[str](len)

    def get(key: str, size: int) -> None:
        def make() -> str:
            made.append(key)
            return key * size

        assert memory.get(key, make) == key * size

    for key, size in (("a", 4), ("b", 4), ("a", 4), ("c", 4), ("a", 4), ("b", 4), ("d", 20), ("d", 20)):
        get(key, size)
    assert made == ["a", "b", "c", "b", "d"]
    memory.clear()
    get("d", 20)
    assert made[-2:] == ["d", "d"]
