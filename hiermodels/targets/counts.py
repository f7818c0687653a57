"""Section 8: gamma-Poisson models of one, two and three levels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from hiermodels.datasets import load_dataset
from hiermodels.fit import fit
from hiermodels.inference.closed_form import gamma_poisson
from hiermodels.models.data import bind
from hiermodels.models.spec import Model
from hiermodels.targets.chains import MonteCarlo, estimates, fitted
from hiermodels.targets.quadrature import posterior, proper

__all__ = [
    "asthma_1",
    "asthma_2",
    "asthma_2_fitted",
    "asthma_jeffreys",
    "asthma_prior",
    "asthma_ten_years",
    "propriety",
    "pumps",
    "states",
    "ten_counties",
    "ten_counties_data",
]

type Numbers = Mapping[str, float | MonteCarlo]


# one rate
# ------------------------------------------------------------------------------------------------------------------


def _asthma(y: int, exposure: float, shape: float = 3, rate: float = 5) -> dict[str, float]:
    """Posterior of a rate, and the deaths of a further period of the same exposure."""
    law = gamma_poisson(y, exposure, shape, rate)
    count = law.count(exposure)
    return {
        "shape": law.a,
        "rate": law.b,
        "mean rate": law.rate.mean(),
        "sd rate": law.rate.std(),
        "mode of rate": (law.a - 1) / law.b,
        "q2.5 rate": law.rate.ppf(0.025),
        "q97.5 rate": law.rate.ppf(0.975),
        "P(rate > 1)": law.rate.sf(1),
        "mean count, next period": count.mean(),
        "variance of count, next period": count.var(),
        "P(0 deaths, next period)": count.pmf(0),
    }


def asthma_1() -> dict[str, float]:
    """3 deaths in 100,000 person-years, Gamma(3, 5)."""
    return _asthma(3, 1.0)


def asthma_2() -> dict[str, float]:
    """3 deaths in 200,000 person-years, Gamma(3, 5)."""
    return _asthma(3, 2.0)


def asthma_ten_years() -> dict[str, float]:
    """30 deaths in ten years of 200,000."""
    return _asthma(30, 20.0)


def asthma_jeffreys() -> dict[str, float]:
    """3 deaths in 100,000 under Jeffreys' prior."""
    return _asthma(3, 1.0, 0.5, 0.0)


def asthma_prior() -> dict[str, float]:
    """The prior Gamma(3, 5) itself: a posterior without exposure."""
    law = gamma_poisson(0, 1e-12, 3, 5)
    counts = law.count(1.0)
    found = {"mean rate": law.rate.mean(), "P(rate < 1.44)": law.rate.cdf(1.44), "q97.5 rate": law.rate.ppf(0.975)}
    return found | {f"P({k} deaths, exposure 1)": counts.pmf(k) for k in range(5)}


def asthma_2_fitted(route: str) -> Numbers:
    """The same posterior from the declaration."""
    model = Model("deaths ~ 1", "poisson", exposure="exposure", priors={"Intercept": "gamma(3, 5)"})
    frame = pd.DataFrame({"deaths": [3], "exposure": [2.0]})
    return posterior(model, frame).numbers(("Intercept",)) if route == "exact" else fitted(model, frame, route)


# two levels
# ------------------------------------------------------------------------------------------------------------------


def pumps(route: str) -> Numbers:
    """Ten pumps: shape a ~ Exp(1), rate b = a / m ~ Gamma(.1, 1)."""
    priors = {"shape_pump": "exponential(1)", "mean_pump": "gamma_rate(0.1, 1)"}
    model = Model("failures ~ 1 + (1 | pump)", "poisson", exposure="hours", priors=priors)
    return _two_levels(
        model, load_dataset("pumps"), route, lambda x: {"a": x["shape_pump"], "b": x["shape_pump"] / x["mean_pump"]}
    )


def ten_counties(route: str) -> Numbers:
    """Ten counties: log m ~ N(0, 1.5^2), 1 / sqrt(a) ~ half-normal(1)."""
    priors = {"mean_county": "log_normal(0, 1.5)", "shape_county": "half_normal_cv(1)"}
    model = Model("deaths ~ 1 + (1 | county)", "poisson", exposure="exposure", priors=priors)

    def derive(x: Mapping[str, Any]) -> dict[str, Any]:
        m, a = x["mean_county"], x["shape_county"]
        return {"log m": np.log(m), "m": m, "1/sqrt(a)": a**-0.5, "P": np.exp(-a * np.log1p(m / a))}

    numbers = dict(_two_levels(model, _counties(), route, derive))
    return numbers | {"P(0 deaths in a new county, exposure 1)": numbers["mean P"]}


def _two_levels(
    model: Model, frame: pd.DataFrame, route: str, derive: Callable[[Mapping[str, Any]], dict[str, Any]]
) -> Numbers:
    """Groups, and the mean and sd of functions of the hyperparameters."""
    if route != "exact":
        return fitted(model, frame, route, derive=derive)
    found = posterior(model, frame)
    numbers = found.numbers()
    for name in derive(dict.fromkeys([p.name for p in found.model.parameters], np.ones(1))):
        mean = found.average(_one(derive, name))
        numbers |= {f"mean {name}": mean, f"sd {name}": found.average(_one(derive, name, mean)) ** 0.5}
    return numbers


def _one(
    derive: Callable[[Mapping[str, Any]], dict[str, Any]], name: str, mean: float | None = None
) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    """One derived quantity, or its squared distance from its mean."""
    return lambda phi: derive(phi)[name] if mean is None else (derive(phi)[name] - mean) ** 2


def _counties() -> pd.DataFrame:
    return load_dataset("counties").iloc[:10]


def ten_counties_data() -> dict[str, float]:
    """Totals, and the pooled rate: complete pooling under a prior flat on the logarithm of the rate."""
    frame = _counties()
    model = Model("deaths ~ 1", "poisson", exposure="exposure", priors={"Intercept": "power(1)"})
    rate = posterior(model, frame).numbers(("Intercept",))["mean Intercept"]
    return {"deaths": float(frame["deaths"].sum()), "exposure": float(frame["exposure"].sum()), "pooled rate": rate}


# three levels
# ---------------------------------------------------------------------------------------------------------------


def states(route: str) -> Numbers:
    """Twelve counties in four states: both the mean and the shape of a state's population vary."""
    priors = {
        "Intercept": "normal(0, 1.5)",
        "sd_state": "half_normal(1)",
        "log_shape": "normal(1, 1)",
        "sd_state_log_shape": "half_normal(0.5)",
    }
    model = Model("deaths ~ 1 + (1 | state/county)", "poisson", exposure="exposure", priors=priors)
    frame = load_dataset("counties")
    found = fit(model, frame, sampler=route, draws=5000, target_accept=0.95, seed=20261121, progress=False)
    labels = found.problem.labels["state"]

    def derive(x: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {f"exp(theta_state)[{label}]": np.exp(x["theta_state"][..., i]) for i, label in enumerate(labels)}

    return estimates(found, derive=derive)


# propriety
# ------------------------------------------------------------------------------------------------------------------


def propriety() -> dict[str, float]:
    """Which posteriors of a gamma-Poisson hierarchy are proper, and whether a mean that does not exist is reported."""

    def model(**priors: str) -> Model:
        return Model("deaths ~ 1 + (1 | county)", "poisson", exposure="exposure", priors=priors or {"county": "bda3()"})

    frame = _counties()
    two, one = (frame.assign(deaths=[k, 3] + [0] * 8) for k in (2, 0))
    missing = bind(model(), frame).missing_moments
    return {
        "proper with two positive counts": float(proper(model(), two)),
        "proper with one positive count": float(proper(model(), one)),
        "proper with a flat mean": float(proper(model(mean_county="flat()"), frame)),
        "proper with a flat shape": float(proper(model(shape_county="flat()"), frame)),
        "mean of the shape reported": float(missing.get("shape_county") != "mean"),
    }
