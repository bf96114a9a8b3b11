"""Shares of pictures, with an interval that stays honest where every prompt says the same."""

from dataclasses import replace

from sdstudio.metrics.sample import Array, Measured, Pictures, mean_over_prompts
from sdstudio.ratings.proportion import wilson


def share_over_prompts(hits: Array, pictures: Pictures) -> Measured:
    """The mean over prompt means of `hits` (N,), each 0 or 1, with the t-interval over prompts.

    Where no picture was hit, or every one was, that interval would have no width; it is then Wilson's with the prompts
    as its number, since pictures of one prompt resemble each other.
    """
    found = mean_over_prompts(hits, pictures)
    prompts = len(found.per_prompt)
    if found.interval and found.value in (0, 1):
        return replace(found, interval=wilson(round(found.value * prompts), prompts))
    return found
