"""Section 1: one normal sample under the normal-inverse-gamma prior."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from hiermodels.fit import fit
from hiermodels.inference.closed_form import normal_inverse_gamma
from hiermodels.models.spec import Model
from hiermodels.targets.chains import MonteCarlo, estimates, summaries
from hiermodels.targets.quadrature import posterior

__all__ = ["fitted", "law"]

_Y = (9.2, 10.1, 8.7, 11.4, 10.6, 9.9)
_MEAN, _RATIO, _SHAPE, _SCALE = 8, 1.5, 3, 2


def law() -> dict[str, float]:
    """The posterior as SciPy laws, and what an update without ``beta +`` and the factor 1/2 would give."""
    found = normal_inverse_gamma(_Y, _MEAN, _RATIO, _SHAPE, _SCALE)
    square = 2 * (found.scale - _SCALE)
    misprinted = stats.invgamma(found.shape, scale=square)
    grid = np.linspace(1e-3, 10, 20_001)
    return {
        "centre": found.centre,
        "count": found.count,
        "shape": found.shape,
        "sum of squares Q": square,
        "scale": found.scale,
        "mean sigma^2": found.variance.mean(),
        "q50 sigma^2": found.variance.median(),
        "q2.5 theta": found.theta.ppf(0.025),
        "q97.5 theta": found.theta.ppf(0.975),
        "scale of theta": found.theta.kwds.get("scale", found.theta.args[-1]),
        "q2.5 outcome": found.outcome.ppf(0.025),
        "q97.5 outcome": found.outcome.ppf(0.975),
        "scale of outcome": found.outcome.kwds.get("scale", found.outcome.args[-1]),
        "log evidence": found.log_evidence,
        "mean sigma^2, beta* as the source prints it": misprinted.mean(),
        "largest difference of the two densities of sigma^2": np.abs(
            misprinted.pdf(grid) - found.variance.pdf(grid)
        ).max(),
    }


def fitted(route: str) -> Mapping[str, float | MonteCarlo]:
    """The same posterior from the declaration, by a sampler."""
    frame = pd.DataFrame({"y": _Y})
    priors = {"Intercept": f"scaled_normal({_MEAN}, {_RATIO})", "sigma": f"inverse_gamma_variance({_SHAPE}, {_SCALE})"}
    model = Model("y ~ 1", priors=priors)
    if route == "exact":
        found = posterior(model, frame)
        numbers = found.numbers()
        return _renamed(numbers) | {
            "mean sigma^2": found.average(lambda phi: phi["sigma"] ** 2),
            "q50 sigma^2": numbers["q50 sigma"] ** 2,
            "log evidence": found.log_evidence,
        }
    draws = fit(model, frame, sampler=route, draws=2500, seed=20261121, progress=False)
    found_draws = estimates(draws, derive=lambda x: {"sigma^2": x["sigma"] ** 2})
    outcome = np.asarray(draws.predict(frame.iloc[:1], kind="outcome").predictions["y"])[..., 0]
    return _renamed(found_draws) | _renamed(
        summaries({"outcome": outcome}, {"outcome": []}, {}, route == "closed_form")
    )


def _renamed(numbers: Mapping[str, float | MonteCarlo]) -> dict[str, float | MonteCarlo]:
    """The lecture calls the mean theta."""
    return {key.replace("Intercept", "theta"): value for key, value in numbers.items()}
