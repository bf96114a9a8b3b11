"""What the settings of a run ask of the machine that it runs on. No torch here."""

import os
import shutil
from importlib.util import find_spec

from sdstudio.schema import LoopConfig, UserError

ASKING = ("optimizer", "mixed_precision", "compile")
"""The settings of a LoopConfig that not every machine can do."""

PACKAGES = {"adamw 8-bit": "bitsandbytes", "prodigy": "prodigyopt"}
COMPILERS = ("c++", "g++", "clang++", "cl")


def refusals(loop: LoopConfig, device: str) -> dict[str, str]:
    """By its name, each setting that this machine cannot do, with a sentence that says why and what to choose.

    `device` is one as in `jobs.devices()` or torch's own, such as 'cpu' or 'cuda:0'.
    """
    found = {}
    package = PACKAGES.get(loop.optimizer)
    if package and find_spec(package) is None:
        found["optimizer"] = (
            f"The optimizer {loop.optimizer!r} needs {package}, which is not installed: run `pip install {package}`, "
            "or choose 'adamw'."
        )
    elif loop.optimizer == "adamw 8-bit" and not device.startswith("cuda"):
        found["optimizer"] = "The optimizer 'adamw 8-bit' needs an NVIDIA GPU: choose 'adamw'."
    if loop.mixed_precision == "fp16" and device.startswith("cpu"):
        found["mixed_precision"] = "fp16 needs a GPU, and this run would be on the CPU: choose 'no' or 'bf16'."
    if loop.compile and not (os.environ.get("CXX") or any(map(shutil.which, COMPILERS))):
        found["compile"] = "To compile the U-Net takes a C++ compiler, and there is none: install g++, or turn it off."
    return found


def check_machine(loop: LoopConfig, device: str) -> None:
    """A UserError with the first of the refusals, if any."""
    for sentence in refusals(loop, device).values():
        raise UserError(sentence)
