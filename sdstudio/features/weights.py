"""Weights of encoders that do not come with the studio: where they lie, what they must be, how to get them."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from sdstudio.models import sha256_file
from sdstudio.schema import UserError
from sdstudio.workspace import atomic_write


class WeightsMissing(UserError):
    """An encoder's weights are not on this machine; the message goes on after 'not computed: '."""

    def __init__(self, how: str) -> None:
        super().__init__(f"weights missing, get them by {how}")


@dataclass(frozen=True)
class WeightsFile:
    """A .safetensors file in the folder of weights; `how` says how a person gets it there.

    Its sha256 is pinned: written beside it when it is first used, and held to ever after, so that two comparisons never
    look through different networks under one name. (The published files are pickles, which the studio does not read;
    what a conversion's sha256 is depends on who converts.)
    """

    name: str
    how: str

    def find(self, folder: Path) -> tuple[Path, str]:
        """The file and its sha256. WeightsMissing when it is not there, a UserError when it is not what was pinned."""
        path = folder / self.name
        if not path.is_file():
            raise WeightsMissing(self.how)
        digest, pin = sha256_file(path), path.with_name(f"{self.name}.sha256")
        if not pin.is_file():
            atomic_write(pin, f"{digest}  {self.name}\n")
        if pin.read_text(encoding="utf-8").split()[:1] != [digest]:
            raise UserError(
                f"{path} is not the file that earlier results were made with: put that one back, or delete {pin.name} "
                "beside it, and results will be told apart by the new one's sha256."
            )
        return path, digest


def fill(network: torch.nn.Module, path: Path, ignore: tuple[str, ...] = ()) -> None:
    """Load the file's tensors into the network, in float32, and freeze it.

    A UserError when names or shapes are not the network's. `ignore`: beginnings of names that the network has no use
    for.
    """
    try:
        tensors = {name: value for name, value in load_file(path).items() if not name.startswith(ignore or ("\0",))}
        own = network.state_dict()
        tensors |= {name: value for name, value in own.items() if name.endswith("num_batches_tracked")}
        network.load_state_dict({name: value.to(own[name].dtype) for name, value in tensors.items() if name in own})
        unknown = sorted(set(tensors) - set(own))
    except (SafetensorError, RuntimeError) as error:
        raise UserError(f"{path} does not hold this network: get it as docs/metrics.md says.") from error
    if unknown:
        raise UserError(f"{path} holds another network ({unknown[0]} is unknown): get it as docs/metrics.md says.")
    network.eval().requires_grad_(False)
