"""From 'A is better than B' to one scale: Bradley–Terry strengths.

P(i beats j) = σ(sᵢ − sⱼ), a tie half a win for each; Bradley and Terry 1952, Biometrika 39.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from sdstudio.metrics.sample import Array
from sdstudio.metrics.statistics import CONFIDENCE

PRIOR = 0.5
"""Wins and losses of every model against one of score zero, so that a model that never lost stays finite."""
ROUNDS, TOLERANCE = 100, 1e-12


@dataclass(frozen=True, kw_only=True)
class Duel:
    """One comparison of two models' pictures: `winner` is one of the two, or empty for a tie."""

    first: str
    second: str
    winner: str


@dataclass(frozen=True, kw_only=True)
class Strength:
    """`score` is a log-odds, zero for the mean model; `interval` its 95% Wald interval; a tie is half a win."""

    score: float
    interval: tuple[float, float]
    wins: float
    duels: int


def bradley_terry(duels: Sequence[Duel]) -> dict[str, Strength]:
    """The strength of every model that was compared, best first.

    Maximum of the likelihood with PRIOR added, by Newton's method; intervals from the information at the maximum, of
    the scores around their mean.
    """
    names = sorted({name for duel in duels for name in (duel.first, duel.second)})
    if not names:
        return {}
    wins = _wins(names, duels)
    scores = np.zeros(len(names))
    for _ in range(ROUNDS):
        gradient, information = _slopes(scores, wins)
        step = np.linalg.solve(information, gradient)
        scores = scores + step
        if np.abs(step).max() < TOLERANCE:
            break
    centring = np.eye(len(names)) - 1 / len(names)
    spread = centring @ np.linalg.inv(_slopes(scores, wins)[1]) @ centring
    half = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * np.sqrt(np.maximum(np.diagonal(spread), 0))
    centred = scores - scores.mean()
    met = wins + wins.T
    return {
        names[place]: Strength(
            score=float(centred[place]),
            interval=(float(centred[place] - half[place]), float(centred[place] + half[place])),
            wins=float(wins[place].sum()),
            duels=round(met[place].sum()),
        )
        for place in np.argsort(-centred, kind="stable")
    }


def _wins(names: list[str], duels: Sequence[Duel]) -> Array:
    """How often the row's model beat the column's: (M, M)."""
    places = {name: place for place, name in enumerate(names)}
    wins = np.zeros((len(names), len(names)))
    for duel in duels:
        first, second = places[duel.first], places[duel.second]
        share = 0.5 if not duel.winner else float(duel.winner == duel.first)
        wins[first, second] += share
        wins[second, first] += 1 - share
    return wins


def _slopes(scores: Array, wins: Array) -> tuple[Array, Array]:
    """Gradient (M,) of the log-likelihood with its prior, and the information (M, M)."""
    chance = 1 / (1 + np.exp(scores[None] - scores[:, None]))
    alone = 1 / (1 + np.exp(-scores))
    met = wins + wins.T
    gradient = (wins - met * chance).sum(1) + PRIOR * (1 - 2 * alone)
    weights = met * chance * (1 - chance)
    return gradient, np.diag(weights.sum(1) + 2 * PRIOR * alone * (1 - alone)) - weights
