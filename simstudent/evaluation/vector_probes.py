"""What students' vectors say of their students: an MLP from vector to habits (Ross et al. 2025, section 5).

One row a student: its vector, and the means of its traces' properties (behaviour_properties.py) over the trajectories
that the vector was trained on. Each student is predicted once, by the fold that holds it back; the control gives every
student another's vector. Beside the MLP stands ridge, which needs fewer students.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from simstudent.errors import missing_extra
from simstudent.evaluation.behaviour_bootstrap import moments, pearson
from simstudent.evaluation.grouped_ridge import ALPHAS
from simstudent.evaluation.statistics import Array, Estimate, draws, interval

Kind = Literal["mlp", "ridge"]
FEWEST = 20
"""Students below which nothing can be said."""


@dataclass(frozen=True, slots=True)
class VectorProbe:
    """Pearson's r between a property's predicted and true means over students; ``control``: from shuffled vectors."""

    property: str
    kind: Kind
    value: Estimate
    control: Estimate


def vector_probes(
    vectors: Array, properties: Mapping[str, Array], *, folds: int = 5, resamples: int = 1000, seed: int = 1
) -> list[VectorProbe]:
    """``vectors``: (students, hidden); ``properties``: (students,) each, NaN where a student has none.

    Properties that fewer than FEWEST students have, or in which they do not differ, are left out.
    """
    found = []
    for name, truth in properties.items():
        known = ~np.isnan(truth)
        if known.sum() < FEWEST or np.ptp(truth[known]) == 0:
            continue
        x, y = vectors[known], truth[known]
        shuffled = x[np.random.default_rng(seed).permutation(len(x))]
        for kind in ("mlp", "ridge"):
            made = [_correlation(y, _predicted(kind, v, y, folds, seed), resamples, seed) for v in (x, shuffled)]
            found.append(VectorProbe(name, kind, *made))
    return found


def _predicted(kind: Kind, x: Array, y: Array, folds: int, seed: int) -> Array:
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import RidgeCV
        from sklearn.model_selection import KFold, cross_val_predict
        from sklearn.neural_network import MLPRegressor
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise missing_extra("scikit-learn", "traces") from error
    if kind == "ridge":
        model = RidgeCV(ALPHAS)  # by leave-one-out, which is fair here: a student is one row
    else:
        model = MLPRegressor(
            hidden_layer_sizes=(64,), alpha=1.0, early_stopping=len(y) >= 100, max_iter=300, random_state=seed
        )
    spread = y.std()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 300 passes are where it stops by design
        cut = KFold(folds, shuffle=True, random_state=seed)
        return np.asarray(cross_val_predict(make_pipeline(StandardScaler(), model), x, (y - y.mean()) / spread, cv=cut))


def _correlation(truth: Array, predicted: Array, resamples: int, seed: int) -> Estimate:
    columns = moments(truth, predicted)
    value = float(pearson(columns.sum(axis=0)))
    drawn = pearson(draws(len(truth), resamples=resamples, seed=seed) @ columns)
    return Estimate(value, len(truth), len(truth), interval(value, drawn, np.zeros(1)))
