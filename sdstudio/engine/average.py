"""A moving average of the trained weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


class Average:
    """Exponential moving average of `parameters` (by name): a ← a + (1 − d)·(w − a) after every step.

    The decay d of step k is min(`decay`, (1 + k) / (10 + k)), so that the first steps are forgotten quickly. With a
    decay of 0 there is no average, and the weights stand for it.
    """

    def __init__(self, parameters: Mapping[str, Tensor], decay: float) -> None:
        self._parameters, self._decay = parameters, decay
        self.values = {name: value.detach().clone() for name, value in parameters.items()} if decay else {}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights as they are after `step`."""
        if self.values:
            share = 1 - min(self._decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(list(self.values.values()), [self._parameters[name] for name in self.values], share)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within this, the model has the average as its weights."""
        kept = {name: self._parameters[name].data for name in self.values}
        for name, value in self.values.items():
            self._parameters[name].data = value
        try:
            yield
        finally:
            for name, value in kept.items():
                self._parameters[name].data = value
