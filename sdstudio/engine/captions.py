"""The parts of a caption in another order."""

import torch


def shuffled(caption: str, keep: int) -> str:
    """The comma-separated parts in a new order, the first `keep` in place; drawn from torch's default generator."""
    parts = [part.strip() for part in caption.split(",")]
    order = torch.randperm(max(0, len(parts) - keep)).tolist()
    return ", ".join([*parts[:keep], *(parts[keep + place] for place in order)])
