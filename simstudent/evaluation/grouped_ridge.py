"""Ridge regression that chooses its penalty by how well it predicts groups that it has not seen.

Leave-one-out over rows, as scikit-learn's RidgeCV does it quickly, chooses far too small a penalty where rows of one
group are nearly copies of each other, as prefixes of one trace are: the row left out has its copies among the others.
RidgeCV takes folds too, but then no penalty per target, and starts anew for every penalty; here all penalties and
targets of a fold share what costs most, the products of the states.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simstudent.errors import missing_extra
from simstudent.evaluation.statistics import Array

ALPHAS = tuple(10.0**k for k in range(8))


def _cut(groups: NDArray[Any], folds: int, seed: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The rows of (all other folds, a fold), for each fold; groups stay whole."""
    try:
        from sklearn.model_selection import GroupKFold
    except ImportError as error:
        raise missing_extra("scikit-learn", "traces") from error
    yield from GroupKFold(folds, shuffle=True, random_state=seed).split(groups, groups=groups)


def under_each_penalty(known: Array, values: Array, held: Array) -> Array:
    """What ridge predicts of held rows, under each of ALPHAS: (alphas, held rows, columns of ``values``).

    States are standardised by the known rows; the intercept is not penalised.
    """
    from sklearn.preprocessing import StandardScaler

    scale = StandardScaler().fit(known)
    x, x_held, mean = scale.transform(known), scale.transform(held), values.mean(axis=0)
    # The smaller of both normal equations: features by features, or, with fewer rows, rows by rows (dual).
    dual = x.shape[0] < x.shape[1]
    products, right = (x @ x.T, values - mean) if dual else (x.T @ x, x.T @ (values - mean))
    onto = x_held @ x.T if dual else x_held
    penalty = np.eye(len(products))
    return np.asarray(mean + np.stack([onto @ np.linalg.solve(products + alpha * penalty, right) for alpha in ALPHAS]))


def penalties(
    states: Array, values: Array, groups: NDArray[Any], together: NDArray[np.int64], folds: int, seed: int
) -> NDArray[np.int64]:
    """Which of ALPHAS predicts each column of ``values`` with the least squared error over folds of whole groups.

    ``together``: a number for each column; those of one number share their penalty, as a class's columns do.
    """
    errors = np.zeros((len(ALPHAS), values.shape[1]))
    for train, test in _cut(groups, folds, seed):
        errors += ((under_each_penalty(states[train], values[train], states[test]) - values[test]) ** 2).sum(axis=1)
    shared = errors @ (together[:, None] == together)
    return np.asarray(shared.argmin(axis=0))


def predicted(
    states: Array, values: Array, groups: NDArray[Any], together: NDArray[np.int64], folds: int, seed: int
) -> tuple[Array, Array]:
    """Each row's prediction by the fold that held its group back, and that fold's training mean: both as ``values``.

    The penalties are chosen within the training folds, over as many folds, by the same groups.
    """
    found, mean = np.empty_like(values), np.empty_like(values)
    for train, test in _cut(groups, folds, seed):
        chosen = penalties(states[train], values[train], groups[train], together, folds, seed)
        made = under_each_penalty(states[train], values[train], states[test])
        found[test] = np.take_along_axis(made, chosen[None, None], axis=0)[0]
        mean[test] = values[train].mean(axis=0)
    return found, mean
