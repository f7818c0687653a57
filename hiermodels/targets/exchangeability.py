"""Section 9: facts about exchangeable variables."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hiermodels.datasets import load_dataset
from hiermodels.models.exchangeable import equicorrelation_limits, known_total, longest_extension, mixture_correlation
from hiermodels.models.spec import Model
from hiermodels.targets.quadrature import posterior

__all__ = ["flips", "prior_correlation", "relabelled"]


def flips() -> dict[str, float]:
    """Five flips with two heads, every order equally likely."""
    found = known_total(5, 2)
    return {
        "P(X_i = 1)": found.mean,
        "covariance of two flips": found.covariance,
        "correlation of two flips": found.correlation,
        "most exchangeable variables with that correlation": float(longest_extension(found.correlation)),
        "smallest correlation of five exchangeable variables": equicorrelation_limits(5)[0],
        "smallest correlation of three exchangeable variables": equicorrelation_limits(3)[0],
        "smallest correlation of a mixture": equicorrelation_limits(3)[1],
    }


def prior_correlation(route: str) -> dict[str, float]:
    """Correlation of two groups before any data: estimates with standard errors of a million leave the prior as it is.

    With n groups of one variance and one correlation r, the variance of their average is (1 + (n - 1) r) / n of theirs.
    """
    n, found = 6, {}
    frame = pd.DataFrame({"g": range(n), "y": [0.0] * n, "se": [1e6] * n})
    for spread in (2, 1):
        model = Model(
            "y ~ 1 + (1 | g)", known_se="se", priors={"Intercept": f"normal(0, {spread})", "sd_g": "fixed(1)"}
        )
        name = f"correlation of two groups, sd of the mean {spread}, sd between groups 1"
        if route == "closed_form":
            found[name] = mixture_correlation(1.0, spread**2)
            continue
        numbers = posterior(model, frame).numbers(("theta_g", "mean(theta_g)"))
        ratio = numbers["sd mean(theta_g)"] ** 2 / numbers["sd theta_g[0]"] ** 2
        found[name] = (n * ratio - 1) / (n - 1)
    return found


_MODELS = {
    "eight schools": (
        Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "flat()"}),
        "eight_schools",
        ["school"],
    ),
    "rats": (Model("tumors ~ 1 + (1 | experiment)", "binomial", trials="rats"), "rats", ["experiment"]),
    "scores": (
        Model(
            "score ~ 1 + (1 | school/classroom)",
            priors=dict.fromkeys(("sd_school", "sd_school:classroom", "sigma"), "half_normal(10)"),
        ),
        "scores",
        ["school", "classroom"],
    ),
}


def relabelled() -> dict[str, float]:
    """Largest change of posterior means and sds when groups get new labels and rows another order."""
    found = {}
    for name, (model, data, groups) in _MODELS.items():
        frame = load_dataset(data)
        order = np.random.default_rng(9).permutation(len(frame))
        other = frame.iloc[order].reset_index(drop=True)
        other = other.assign(**{g: "z" + other[g].astype(str) for g in groups})
        one, two = posterior(model, frame).numbers(), posterior(model, other).numbers()
        change = {
            key: abs(value - two[_renamed(key)]) for key, value in one.items() if key.startswith(("mean ", "sd "))
        }
        for what, inside in (("theta", True), ("hyperparameters", False)):
            found[f"largest change of {what}, {name}"] = max(v for k, v in change.items() if ("[" in k) == inside)
    return found


def _renamed(key: str) -> str:
    """The key of the same number after every label got a z in front."""
    stem, bracket, label = key.partition("[")
    return f"{stem}[{':'.join('z' + part for part in label.split(':'))}" if bracket else key
