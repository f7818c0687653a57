"""Section 3: James-Stein and plug-in empirical Bayes, on eighteen batting averages."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from hiermodels.datasets import load_dataset
from hiermodels.inference.closed_form import beta_binomial
from hiermodels.inference.estimators import arcsine_james_stein, james_stein, morris, naive_eb
from hiermodels.models.spec import Model
from hiermodels.targets.quadrature import posterior

__all__ = [
    "arcsine",
    "arcsine_printed",
    "averages_066",
    "averages_binomial",
    "morris_066",
    "naive_06",
    "quoted_centre",
    "three_pointers",
]

_AT_BATS = 45


def _arcsine(average: np.ndarray) -> np.ndarray:
    """sqrt(45) arcsin(2 p - 1), whose variance is close to 1 for an average over 45 at-bats."""
    return math.sqrt(_AT_BATS) * np.arcsin(2 * average - 1)


def _columns(decimals: int | None = None) -> tuple[pd.Series, np.ndarray, np.ndarray]:
    """Players, X from the first 45 at-bats, theta from the remainder; from averages that were rounded first if
    asked.
    """
    frame = load_dataset("baseball")
    y, p = (np.asarray(frame[c] if decimals is None else frame[c].round(decimals)) for c in ("avg", "rem_avg"))
    return frame["player"], _arcsine(y), _arcsine(p)


def _against(estimate: np.ndarray, own: np.ndarray, truth: np.ndarray) -> tuple[float, np.ndarray]:
    """Sum of squared errors, and for whom the estimate is closer than the group's own."""
    return float(np.sum((estimate - truth) ** 2)), np.abs(estimate - truth) < np.abs(own - truth)


def arcsine() -> dict[str, float]:
    """On the variance-stabilised scale, and back on the scale of averages."""
    player, x, theta = _columns()
    found = james_stein(x, 1.0)
    sse, closer = _against(found.theta, x, theta)
    frame = load_dataset("baseball")
    back = arcsine_james_stein(frame["hits"], frame["at_bats"]).theta
    back_sse, back_closer = _against(back, frame["avg"].to_numpy(), frame["rem_avg"].round(3).to_numpy())
    _, rounded_x, rounded_theta = _columns(3)
    shrinkage = float(found.shrinkage[0])
    numbers = {
        "mean of X": float(found.mean),
        "V, sum of squares about the mean": (len(x) - 3) / shrinkage,
        "multiplier 1 - B": 1 - shrinkage,
        "B": shrinkage,
        "SSE of X": _against(x, x, theta)[0],
        "SSE of James-Stein": sse,
        "ratio of the two SSE": _against(x, x, theta)[0] / sse,
        "players for whom James-Stein is closer": float(closer.sum()),
        "SSE on the scale of averages": back_sse,
        "players for whom it is closer on that scale": float(back_closer.sum()),
        "entries of X from 3-decimal averages that differ by 0.01": _differing(x, rounded_x),
        "entries of theta from 3-decimal averages that differ by 0.01": _differing(theta, rounded_theta),
    }
    for name, column in (("X", x), ("theta", theta), ("back-transformed", back), ("James-Stein closer", closer)):
        numbers |= {f"{name}[{who}]": float(value) for who, value in zip(player, column, strict=True)}
    return numbers


def _differing(one: np.ndarray, other: np.ndarray) -> float:
    """Entries that differ when both are printed with two decimals."""
    return float((np.abs(one.round(2) - other.round(2)) > 0.005).sum())


def arcsine_printed() -> dict[str, float]:
    """The same from columns of two decimals, as they are printed."""
    _, x, theta = _columns()
    x, theta = x.round(2), theta.round(2)
    found = james_stein(x, 1.0)
    shrinkage = float(found.shrinkage[0])
    return {
        "V, sum of squares about the mean": (len(x) - 3) / shrinkage,
        "multiplier 1 - B": 1 - shrinkage,
        "SSE of X": _against(x, x, theta)[0],
        "SSE of James-Stein": _against(found.theta, x, theta)[0],
    }


def quoted_centre() -> dict[str, float]:
    """Shrinking to the literature's centre with its multiplier."""
    _, x, theta = _columns()
    found = {}
    for name, own, truth in (("hits", x, theta), ("the printed columns", x.round(2), theta.round(2))):
        found[f"SSE from {name}"] = _against(-3.275 + 0.209 * (own + 3.275), own, truth)[0]
    return found


# averages as they are
# ----------------------------------------------------------------------------------------------------


def averages_binomial() -> dict[str, float]:
    """James-Stein with the variance of an average of 45 at-bats at the pooled rate."""
    frame = load_dataset("baseball")
    return _averages(float(frame["se"][0] ** 2))


def averages_066() -> dict[str, float]:
    """James-Stein with variance 0.066^2."""
    return _averages(0.066**2)


def _averages(variance: float) -> dict[str, float]:
    frame = load_dataset("baseball")
    found = james_stein(frame["avg"], variance)
    sse, closer = _against(found.theta, frame["avg"].to_numpy(), frame["rem_avg"].round(3).to_numpy())
    numbers = {"s": variance, "multiplier 1 - B": 1 - float(found.shrinkage[0]), "SSE of James-Stein": sse}
    numbers["players for whom James-Stein is closer"] = float(closer.sum())
    return numbers | {f"estimate[{who}]": float(value) for who, value in zip(frame["player"], found.theta, strict=True)}


def naive_06() -> dict[str, float]:
    """Empirical Bayes with B = s / S2 at sigma = 0.06."""
    return _scored(naive_eb, 0.06**2)


def morris_066() -> dict[str, float]:
    """Morris's estimator at sigma = 0.066."""
    return _scored(morris, 0.066**2)


def _scored(estimator: object, variance: float) -> dict[str, float]:
    frame = load_dataset("baseball")
    found = estimator(frame["avg"], variance)  # type: ignore[operator]
    sse, closer = _against(found.theta, frame["avg"].to_numpy(), frame["rem_avg"].round(3).to_numpy())
    return {"SSE": sse, "players for whom it is closer": float(closer.sum()), "B": float(found.shrinkage[0])}


def three_pointers(route: str) -> Mapping[str, float]:
    """49 of 100 shots under Beta(70, 130)."""
    if route == "closed_form":
        return {"mean probability": float(beta_binomial(49, 100, 70, 130).rate.mean())}
    model = Model("made ~ 1", "binomial", trials="shots", priors={"Intercept": "beta(70, 130)"})
    numbers = posterior(model, pd.DataFrame({"made": [49], "shots": [100]})).numbers(("Intercept",))
    return {"mean probability": numbers["mean Intercept"]}
