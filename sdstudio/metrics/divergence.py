"""How far two distributions over a few bins are apart, and whether chance alone could put them there."""

import numpy as np

from sdstudio.metrics.sample import Array
from sdstudio.schema import Divergence

HALF = 0.5
"""Added to every count, so that an empty bin gives no infinite divergence: Krichevsky and Trofimov 1981."""


def shares(counts: Array) -> Array:
    """Counts (…, B) as shares that are never 0."""
    smoothed = np.asarray(counts, np.float64) + HALF
    return np.asarray(smoothed / smoothed.sum(-1, keepdims=True))


def kl(first: Array, second: Array) -> Array:
    """Σ p log(p / q) over the last axis, in nats, for shares p and q; infinite where q is 0 and p is not.

    Kullback and Leibler 1951, On Information and Sufficiency.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(first > 0, first * np.log(first / second), 0.0)
    return np.asarray(terms.sum(-1))


def js(first: Array, second: Array) -> Array:
    """The mean KL of both from their mixture: symmetric, from 0 to log 2.

    Lin 1991, Divergence measures based on the Shannon entropy.
    """
    middle = (np.asarray(first, np.float64) + np.asarray(second, np.float64)) / 2
    return (kl(first, middle) + kl(second, middle)) / 2


def unpaired(first: Array, second: Array, rounds: int = 999, seed: int = 0) -> Divergence:
    """Two sets of pictures, given by the counts (N, B) that each adds to the bins: any picture may be of either set.

    The p-value counts the observed arrangement among `rounds` random ones (Phipson and Smyth 2010).
    """
    together = np.concatenate([first, second])
    orders = np.random.default_rng(seed).permuted(np.tile(np.arange(len(together)), (rounds, 1)), axis=1)
    chosen = (orders < len(first)).astype(np.float64) @ together
    return _apart(first.sum(0), second.sum(0), chosen, together.sum(0) - chosen)


def paired(first: Array, second: Array, rounds: int = 999, seed: int = 0) -> Divergence:
    """Two models asked the same prompts, given by the counts (P, B) of each prompt: a prompt's two may be exchanged.

    Prompts are exchanged whole, since pictures of one prompt resemble each other.
    """
    swapped = np.random.default_rng(seed).integers(0, 2, (rounds, len(first))).astype(np.float64)
    moved = swapped @ (second - first)
    return _apart(first.sum(0), second.sum(0), first.sum(0) + moved, second.sum(0) - moved)


def _apart(first: Array, second: Array, firsts: Array, seconds: Array) -> Divergence:
    observed = float(js(shares(first), shares(second)))
    null = js(shares(firsts), shares(seconds))
    p_value = (1 + np.sum(null >= observed - 1e-12)) / (1 + len(null))
    return Divergence(
        kl=float(kl(shares(first), shares(second))), js=observed, chance=float(null.mean()), p_value=float(p_value)
    )
