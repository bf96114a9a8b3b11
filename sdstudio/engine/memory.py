"""What is free on the device, and what it looks like when it was not enough."""

import gc

import psutil
import torch

from sdstudio.engine.pipeline import pick_device


def free_bytes() -> int:
    """Bytes of memory that are free on the device that draws."""
    if pick_device().type == "cuda":
        free, _ = torch.cuda.mem_get_info()
        return int(free)
    return int(psutil.virtual_memory().available)


def free_memory() -> None:
    """Let go of what nothing refers to, also in torch's own store on a GPU."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch could not get memory, on a GPU or from the CPU's allocator (a bare RuntimeError)."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "DefaultCPUAllocator" in str(error)
