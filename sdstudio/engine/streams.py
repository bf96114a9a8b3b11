"""In what order pictures come: endless shuffled passes, cut into batches of one size."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import torch

from sdstudio.engine.pictures import Size


class Showing(NamedTuple):
    """Which example of the run is shown, and how often it was shown before."""

    example: int
    time: int


def derived_seed(*parts: object) -> int:
    """A 32-bit seed that depends on every part and on nothing else."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big")


class Stream:
    """Batches of `count` showings that depend on (seed, name) and their number alone.

    A pass shows each of `members` once, in a new order; one that is named more than once (repeats) comes as often.
    Pictures of different size wait apart, and a batch is full when `count` of one size have come; so all batches are
    full and all pictures come equally often, and a pass may end within a batch.
    """

    def __init__(self, members: list[int], sizes: list[Size], count: int, seed: int, name: str) -> None:
        self._members, self._sizes, self._count = members, sizes, count
        self._seed, self._name = seed, name
        self._batch: list[Showing] = []
        self._begin()

    def batch(self, number: int) -> list[Showing]:
        """Batch `number` of the stream. Numbers that rise are cheap; one that is past begins anew."""
        if number < self._next - 1:
            self._begin()
        while self._next <= number:
            self._batch = next(self._batches)
            self._next += 1
        return self._batch

    def _begin(self) -> None:
        self._batches, self._next = self._generate(), 0
        self._batch = []

    def _generate(self) -> Iterator[list[Showing]]:
        waiting: dict[Size, list[Showing]] = defaultdict(list)
        shown: dict[int, int] = defaultdict(int)
        epoch = 0
        while True:
            generator = torch.Generator().manual_seed(derived_seed(self._seed, self._name, epoch))
            for place in torch.randperm(len(self._members), generator=generator).tolist():
                index = self._members[place]
                size = self._sizes[index]
                waiting[size].append(Showing(index, shown[index]))
                shown[index] += 1
                if len(waiting[size]) == self._count:
                    yield waiting.pop(size)
            epoch += 1
