"""Section 4: two levels with unequal known variances, on eight schools."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from scipy import integrate, stats

from hiermodels.datasets import load_dataset
from hiermodels.fit import Fit, fit
from hiermodels.inference.closed_form import common_effect
from hiermodels.inference.frequentist import dersimonian_laird, reml
from hiermodels.inference.heterogeneity import Weighted, weighted_at
from hiermodels.models.spec import Model
from hiermodels.targets.chains import MonteCarlo, fitted, share, summaries
from hiermodels.targets.quadrature import Posterior, posterior, proper

__all__ = [
    "complete",
    "flat_sd",
    "flat_sd_predictions",
    "flat_tail",
    "flat_variance",
    "half_cauchy_25",
    "half_cauchy_5",
    "half_cauchy_5_normal_mean",
    "half_normal_5",
    "heterogeneity",
    "identical_effects",
    "order_flat",
    "point_estimates",
    "power_prior",
    "replicates_flat",
    "tau_0",
    "tau_10",
    "tau_10000",
    "tau_20",
    "tau_20_normal_mean",
    "tau_5",
    "uniform_0_20",
]

type Numbers = Mapping[str, float | MonteCarlo]


def _model(prior: str, mean: str = "flat()") -> Model:
    return Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": prior, "Intercept": mean})


def _numbers(route: str, prior: str, mean: str = "flat()") -> Numbers:
    """Every summary under a prior of the sd between schools and one of their mean."""
    frame, above = load_dataset("eight_schools"), {"Intercept": 0.0, "theta_school": 0.0}
    if route != "exact":
        return fitted(
            _model(prior, mean), frame, route, above=above, derive=lambda x: {"sd_school^2": x["sd_school"] ** 2}
        )
    found = posterior(_model(prior, mean), frame)
    names = ("Intercept", "sd_school", "theta_school")
    return found.numbers(names, quartiles=True, above=above) | {
        "mean sd_school^2": found.average(lambda phi: phi["sd_school"] ** 2)
    }


# complete pooling
# ------------------------------------------------------------------------------------------------------


def complete(route: str) -> Numbers:
    """One effect for all schools."""
    frame = load_dataset("eight_schools")
    if route == "closed_form":
        law = common_effect(frame["effect"].to_numpy(), frame["se"].to_numpy())
        return {"mean Intercept": law.mean(), "sd Intercept": law.std()}
    return posterior(_model("flat()"), frame, "complete").numbers(("Intercept",))


def heterogeneity() -> dict[str, float]:
    """Cochran's test that all effects are equal."""
    at = _weighted()
    df = float(at.groups) - 1
    return {
        "heterogeneity chi2": float(at.q),
        "degrees of freedom": df,
        "p-value": float(stats.chi2(df).sf(float(at.q))),
    }


def _weighted() -> Weighted:
    """Weights, weighted mean and Q without variance between schools."""
    frame = load_dataset("eight_schools")
    with jax.enable_x64(True):
        found = weighted_at(jnp.asarray(frame["effect"], float), jnp.asarray(frame["se"], float) ** 2)
    return jax.tree.map(np.asarray, found)


def point_estimates() -> dict[str, float]:
    """Estimates of tau without a prior, all of which are zero here.

    The likelihood's maximum over mu and tau together is looked for on a grid whose smallest tau is as good as zero.
    """
    frame, at = load_dataset("eight_schools"), _weighted()
    excess = float(at.q - (at.groups - 1)) / float(at.total - (at.weight**2).sum() / at.total)
    found = posterior(_model("half_normal(10)", "uniform(-1000, 1000)"), frame)
    tau, mu = np.append(1e-13, np.linspace(0.01, 40, 400)), np.linspace(-10, 30, 401)
    share = (mu + 1000) / 2000
    grid = np.stack(np.meshgrid(np.log(share / (1 - share)), np.log(tau), indexing="ij"), -1)
    best = np.unravel_index(found.log_likelihood(grid).argmax(), grid.shape[:2])
    y, variance = frame["effect"], frame["se"] ** 2
    return {
        "tau, maximum likelihood": float(tau[best[1]]),
        "tau, marginal maximum likelihood": float(reml(y, variance).sd),
        "tau^2, moments, untruncated": excess,
        "tau^2, moments": float(dersimonian_laird(y, variance).sd) ** 2,
    }


def identical_effects() -> dict[str, float]:
    """How extreme eight estimates of one common effect are: the mean plugged in, and integrated over its posterior.

    A uniform prior so wide that it is flat keeps the mean on the engine's lattice.
    """
    frame = load_dataset("eight_schools")
    plugged = {
        name: float(chance)
        for name, chance in _extremes(np.array([complete("closed_form")["mean Intercept"]]), frame).items()
    }
    found = posterior(_model("flat()", "uniform(-1000, 1000)"), frame, "complete")
    spread = {name: found.average(_extreme(name, frame)) for name in plugged}
    error = {word: math.sqrt(p * (1 - p) / 1000) for word, p in zip(("max", "min"), plugged.values(), strict=True)}
    return {
        **{f"{name}, mean plugged in": p for name, p in plugged.items()},
        **spread,
        **{f"SE of 1000 draws, {word}": e for word, e in error.items()},
        "z of .378": (0.378 - plugged["P(max >= 28)"]) / error["max"],
        "z of .81": (0.81 - plugged["P(min <= -3)"]) / error["min"],
    }


def _extreme(name: str, frame: pd.DataFrame) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    return lambda phi: _extremes(phi["Intercept"], frame)[name]


def _extremes(mean: np.ndarray, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Chances that the largest of the estimates reaches 28 and that the smallest is down to -3, given the common
    mean.
    """
    error = frame["se"].to_numpy()
    z = [(x - np.atleast_1d(mean)[:, None]) / error for x in (28.0, -3.0)]
    top, low = 1 - np.prod(stats.norm.cdf(z[0]), 1), 1 - np.prod(stats.norm.sf(z[1]), 1)
    return {"P(max >= 28)": np.squeeze(top), "P(min <= -3)": np.squeeze(low)}


# known sd between schools
# ------------------------------------------------------------------------------------------------


def tau_20(route: str) -> Numbers:
    """tau = 20."""
    return _numbers(route, "fixed(20)")


def tau_10(route: str) -> Numbers:
    """tau = 10."""
    return _numbers(route, "fixed(10)")


def tau_5(route: str) -> Numbers:
    """tau = 5."""
    return _numbers(route, "fixed(5)")


def tau_0(route: str) -> Numbers:
    """tau = 0: complete pooling."""
    return _numbers(route, "fixed(0)")


def tau_10000(route: str) -> Numbers:
    """tau = 10000: no pooling."""
    return _numbers(route, "fixed(10000)")


def tau_20_normal_mean(route: str) -> Numbers:
    """tau = 20, mu ~ N(0, 5^2)."""
    return _numbers(route, "fixed(20)", "normal(0, 5)")


# unknown sd between schools
# ------------------------------------------------------------------------------------------------


def flat_sd(route: str) -> Numbers:
    """Flat on tau."""
    return _numbers(route, "flat()")


def flat_variance(route: str) -> Numbers:
    """Flat on tau^2."""
    return _numbers(route, "flat_variance()")


def half_cauchy_5(route: str) -> Numbers:
    """Half-Cauchy with scale 5."""
    return _numbers(route, "half_cauchy(5)")


def half_cauchy_25(route: str) -> Numbers:
    """Half-Cauchy with scale 25."""
    return _numbers(route, "half_cauchy(25)")


def half_normal_5(route: str) -> Numbers:
    """Half-normal with scale 5."""
    return _numbers(route, "half_normal(5)")


def uniform_0_20(route: str) -> Numbers:
    """Uniform from 0 to 20."""
    return _numbers(route, "uniform(0, 20)")


def half_cauchy_5_normal_mean(route: str) -> Numbers:
    """Half-Cauchy with scale 5, mu ~ N(0, 5^2)."""
    return _numbers(route, "half_cauchy(5)", "normal(0, 5)")


# predictions and order, flat on tau
# -----------------------------------------------------------------------------------------


def _draws(draws: int = 10_000) -> Fit:
    frame = load_dataset("eight_schools")
    return fit(_model("flat()"), frame, sampler="exact", draws=draws, seed=20261121, progress=False)


def flat_sd_predictions(route: str) -> Numbers:
    """A new school, its estimate with standard error 15, and a new estimate in school A."""
    frame = load_dataset("eight_schools")
    if route == "exact":
        return _predicted(posterior(_model("flat()"), frame))
    found = fit(_model("flat()"), frame, sampler=route, draws=2500, seed=20261121, progress=False)
    new = pd.DataFrame({"school": ["I"], "se": [15.0]})
    rows = {
        "new(school)": found.predict(new, groups="new"),
        "outcome of a new school, se 15": found.predict(new, groups="new", kind="outcome"),
        "replicate of A": found.predict(frame.iloc[:1], kind="outcome"),
    }
    values = {name: np.asarray(tree.predictions["effect"])[..., 0] for name, tree in rows.items()}
    numbers = summaries(values, {name: [] for name in values}, {"new(school)": 0.0})
    return numbers | {"P(replicate of A >= 28)": share(values["replicate of A"] >= 28)}


def _predicted(found: Posterior) -> dict[str, float]:
    numbers = found.numbers(("new(school)",), quartiles=True, above={"new(school)": 0.0})
    new, old = found.outcome("new(school)", 15.0**2)[:, 0], found.outcome("theta_school", 15.0**2)[:, 0]
    for i, word in enumerate(("q2.5", "q50", "q97.5")):
        numbers |= {f"{word} outcome of a new school, se 15": float(new[i]), f"{word} replicate of A": float(old[i])}
    return numbers | {"P(replicate of A >= 28)": float(found.outcome_above("theta_school", 15.0**2, 28.0)[0])}


def replicates_flat() -> Numbers:
    """How extreme new estimates in the same eight schools are."""
    values = np.asarray(_draws().predict(kind="outcome").predictions["effect"])
    return {"P(max >= 28)": share(values.max(-1) >= 28, True), "P(min <= -3)": share(values.min(-1) <= -3, True)}


def order_flat() -> Numbers:
    """Which school has the largest effect."""
    found = _draws()
    theta, labels = np.asarray(found.draws.values["theta_school"]), found.problem.labels["school"]
    best = theta.argmax(-1)
    numbers = {f"P(largest effect: {label})": share(best == i, True) for i, label in enumerate(labels)}
    return numbers | {"P(A > C)": share(theta[..., labels.index("A")] > theta[..., labels.index("C")], True)}


# propriety
# -----------------------------------------------------------------------------------------------------------------


def _log_likelihood(log_tau: float) -> float:
    """log p(y | tau), the mean integrated out."""
    found = posterior(_model("half_normal(10)"), load_dataset("eight_schools"))
    return float(found.log_likelihood(np.array([log_tau])))


def flat_tail() -> dict[str, float]:
    """Power with which the density of tau falls under a flat prior, which says what moments exist."""
    return {"exponent of p(tau | y) at infinity": (_log_likelihood(14.0) - _log_likelihood(12.0)) / 2.0}


def power_prior() -> dict[str, float]:
    """p(tau) ~ tau^-2: refused; cut off at eps it gives any mean of tau^2 one likes."""
    frame = load_dataset("eight_schools")
    found = posterior(_model("half_normal(10)"), frame)
    top = float(found.log_likelihood(np.array([-20.0])))

    def integral(power: float, low: float) -> float:
        """Of tau^power p(y | tau) over tau > low."""

        def at(log_tau: float) -> float:
            return math.exp((power + 1) * log_tau + float(found.log_likelihood(np.array([log_tau]))) - top)

        return integrate.quad(at, math.log(low), math.log(1e7), epsrel=1e-9, limit=500)[0]

    cut = {
        f"mean tau^2, tau > {eps:g}": integral(0.0, eps) / integral(-2.0, eps) for eps in (0.001, 0.1, 0.5, 0.6401, 1.0)
    }
    return {
        "refused as improper": float(not proper(replace(_model("flat()"), priors={"sd_school": "power(2)"}), frame)),
        **cut,
    }
