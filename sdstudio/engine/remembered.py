"""Tensors that were used last, as many as fit into a number of bytes."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")
MOST = 512 * 2**20
"""Bytes."""


class Remembered(Generic[Value]):
    """Values by their key, those unused for longest forgotten first; `size` says how many bytes one takes."""

    def __init__(self, size: Callable[[Value], int]) -> None:
        self._size = size
        self._values: OrderedDict[str, Value] = OrderedDict()
        self._bytes = 0

    def get(self, key: str, make: Callable[[], Value]) -> Value:
        """The value of `key`, made where it is not remembered; the last one is, however large."""
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        value = self._values[key] = make()
        self._bytes += self._size(value)
        while self._bytes > MOST and len(self._values) > 1:
            self._bytes -= self._size(self._values.popitem(last=False)[1])
        return value

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
        self._bytes = 0
