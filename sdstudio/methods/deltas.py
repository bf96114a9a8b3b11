"""What training added to parameters that a method changes in place, as one file."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sdstudio.methods.parts import Trainable, named_parameters, read_tensors
from sdstudio.schema import UserError

DELTA = "delta.safetensors"


def originals(parameters: dict[str, Any]) -> dict[str, Any]:
    """Copies of the parameters' values, for `Trainable.originals`."""
    return {name: value.detach().clone() for name, value in parameters.items()}


class OnDisk(Mapping[str, Any]):
    """Tensors that are written to `file` and read again, one by one, each time they are asked for."""

    def __init__(self, tensors: Mapping[str, Any], file: Path) -> None:
        from safetensors.torch import save_file

        self._file, self._names = file, tuple(tensors)
        save_file({name: value.cpu().contiguous() for name, value in tensors.items()}, file)

    def __getitem__(self, name: str) -> Any:
        from safetensors import safe_open

        with safe_open(self._file, framework="pt") as tensors:
            return tensors.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def save_delta(trainable: Trainable, folder: Path) -> None:
    """Write trained value − original of every parameter in `trainable.originals`, in float16.

    The difference of a parameter is far smaller than its value, so that float16 loses less of what was learned than
    it would of the whole weights.
    """
    from safetensors.torch import save_file

    parameters = trainable.parameters
    originals = trainable.originals
    delta = {name: (parameters[name].detach().cpu() - originals[name].cpu()).half() for name in originals}
    save_file(delta, folder / DELTA)


def load_delta(pipeline: Any, folder: Path, weight: float = 1.0) -> None:
    """Add `weight` times the saved change to the pipeline's parameters; a UserError when they are another model's."""
    parameters = named_parameters(pipeline)
    delta = read_tensors(folder / DELTA)
    if any(name not in parameters or parameters[name].shape != value.shape for name, value in delta.items()):
        raise UserError(f"The layers in {folder} do not fit this base model: choose the one that they were trained on.")
    for name, value in delta.items():
        target = parameters[name].data
        target.copy_(target.float() + weight * value.to(target.device).float())
