"""Section 5: beta-binomial with an unknown population, on 71 experiments with rats."""

from __future__ import annotations

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit

from hiermodels.datasets import load_dataset
from hiermodels.fit import fit
from hiermodels.inference.closed_form import beta_binomial
from hiermodels.inference.laplace import laplace
from hiermodels.models.data import bind
from hiermodels.models.spec import Model
from hiermodels.targets.chains import MonteCarlo, fitted, share, summaries
from hiermodels.targets.quadrature import Posterior, posterior, proper

__all__ = [
    "beta_14_86",
    "complete",
    "data",
    "full",
    "grid",
    "historical",
    "hyperparameters",
    "plug_in",
    "predictions",
    "propriety",
]

type Numbers = Mapping[str, float | MonteCarlo]


def _model(**priors: str) -> Model:
    return Model("tumors ~ 1 + (1 | experiment)", "binomial", trials="rats", priors=priors or {"experiment": "bda3()"})


def _posterior() -> Posterior:
    return posterior(_model(), load_dataset("rats"))


def full(route: str) -> Numbers:
    """The posterior of every experiment and of a new one."""
    if route == "exact":
        return _posterior().numbers(("mean_experiment", "kappa_experiment", "theta_experiment", "new(experiment)"))
    return fitted(_model(), load_dataset("rats"), route)


def hyperparameters(route: str) -> Numbers:
    """alpha, beta and their logarithms: by sums over a fine grid, or from draws."""
    if route == "exact":
        return _by_grid()

    def derive(x: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        m, kappa = x["mean_experiment"], x["kappa_experiment"]
        logs = {"log(alpha/beta)": np.log(m) - np.log1p(-m), "log kappa_experiment": np.log(kappa)}
        return {"alpha": m * kappa, "beta": (1 - m) * kappa, **logs}

    return fitted(_model(), load_dataset("rats"), route, derive=derive)


def _by_grid() -> dict[str, float]:
    """Sums over (log alpha, log beta), whose density is that of (logit m, log kappa): the map between them has
    determinant 1.
    """
    log_alpha, log_beta = np.linspace(-2.0, 4.0, 601), np.linspace(0.0, 6.5, 651)
    a, b = np.meshgrid(log_alpha, log_beta, indexing="ij")
    log_kappa = np.logaddexp(a, b)
    density = _posterior().log_density(np.stack([a - b, log_kappa], -1))
    weight = np.exp(density - density.max())
    weight /= weight.sum()
    found = {
        "mean log(alpha/beta)": float((weight * (a - b)).sum()),
        "mean log kappa_experiment": float((weight * log_kappa).sum()),
    }
    for name, at, marginal in (("alpha", log_alpha, weight.sum(1)), ("beta", log_beta, weight.sum(0))):
        for word, p in (("q2.5", 0.025), ("q50", 0.5), ("q97.5", 0.975)):
            found[f"{word} {name}"] = math.exp(_grid_quantile(at, marginal, p))
    return found


def _grid_quantile(at: np.ndarray, marginal: np.ndarray, p: float) -> float:
    """Quantile of a smooth density on an equally spaced grid, from the distribution function midway between its
    points.
    """
    from scipy.interpolate import PchipInterpolator

    below = np.cumsum(marginal) / marginal.sum()
    middle = at + 0.5 * (at[1] - at[0])
    inside = np.flatnonzero((below > 1e-6) & (below < 1 - 1e-6))
    return float(PchipInterpolator(below[inside], middle[inside])(p))


def grid() -> dict[str, float]:
    """Means cut off at large kappa, which would not exist without the cut; modes."""
    found = _posterior()
    numbers: dict[str, float] = {}
    for power in (6.5, 9, 14, 20):
        logit, log_kappa = np.linspace(-3.2, -0.8, 301), np.linspace(0.0, power, 60 * int(2 * power) + 1)
        density = found.log_density(np.stack(np.meshgrid(logit, log_kappa, indexing="ij"), -1))
        weight = np.exp(density - density.max())
        weight[:, -1] *= 0.5
        weight /= weight.sum()
        m, kappa = expit(logit)[:, None], np.exp(log_kappa)
        for name, value in (("alpha", m * kappa), ("beta", (1 - m) * kappa)):
            mean = float((weight * value).sum())
            numbers |= {
                f"mean {name}, kappa < e^{power:g}": mean,
                f"sd {name}, kappa < e^{power:g}": math.sqrt((weight * (value - mean) ** 2).sum()),
            }
    return numbers | _modes(found)


def _modes(found: Posterior) -> dict[str, float]:
    """Modes on two scales, and the maximum of the marginal likelihood."""

    def top(function: str) -> tuple[np.ndarray, float, float]:
        with jax.enable_x64(True):
            objective = {
                "logs": lambda u: found.model.log_density(u, found.stats),
                "plain": lambda u: found.model.log_density(u, found.stats) - _log_product(u),
                "likelihood": lambda u: found.model.log_likelihood(u, found.stats),
            }[function]
            at = laplace(objective, jnp.asarray([-1.8, 2.7]))
            if not bool(at.ok):
                raise RuntimeError(f"no maximum of {function} was found")
            u = np.asarray(at.mode)
        return u, float(expit(u[0]) * np.exp(u[1])), float(expit(-u[0]) * np.exp(u[1]))

    mode, alpha, beta = top("logs")
    _, plain_alpha, plain_beta = top("plain")
    _, ml_alpha, ml_beta = top("likelihood")
    return {
        "mode of log(alpha/beta)": float(mode[0]),
        "mode of log kappa": float(mode[1]),
        "alpha at that mode": alpha,
        "beta at that mode": beta,
        "alpha at the mode of p(alpha, beta)": plain_alpha,
        "beta at the mode of p(alpha, beta)": plain_beta,
        "alpha, maximum of the marginal likelihood": ml_alpha,
        "beta, maximum of the marginal likelihood": ml_beta,
    }


def _log_product(u: jax.Array) -> jax.Array:
    """log(alpha beta), the Jacobian between (alpha, beta) and the logarithms."""
    return jax.nn.log_sigmoid(u[0]) + jax.nn.log_sigmoid(-u[0]) + 2 * u[1]


def predictions(route: str) -> Numbers:
    """Tumours among twenty further rats, in experiment 71 and in a new experiment."""
    if route == "exact":
        found, counts = _posterior(), np.arange(21)
        numbers: dict[str, float] = {}
        for name, variable in (("experiment 71", "theta_experiment"), ("a new experiment", "new(experiment)")):
            a, b = (x[:, -1] for x in found.laws(variable))
            chance = found.weight @ stats.betabinom(20, a[:, None], b[:, None]).pmf(counts)
            numbers |= _tumours(name, float(chance @ counts), float(chance[0]), float(chance[10:].sum()))
        return numbers
    draws = fit(_model(), load_dataset("rats"), sampler=route, draws=2500, seed=20261121, progress=False)
    rows = pd.DataFrame({"experiment": [71, 72], "rats": [20, 20]})
    y = np.asarray(draws.predict(rows, groups="new", kind="outcome").predictions["tumors"]).astype(float)
    found_draws: dict[str, MonteCarlo] = {}
    for i, name in enumerate(("experiment 71", "a new experiment")):
        mean = summaries({"y": y[..., i]}, {"y": []}, {})["mean y"]
        found_draws |= _tumours(name, mean, share(y[..., i] == 0), share(y[..., i] >= 10))
    return found_draws


def _tumours[T](name: str, mean: T, none: T, many: T) -> dict[str, T]:
    return {
        f"mean tumours of 20 in {name}": mean,
        f"P(0 tumours of 20 in {name})": none,
        f"P(>= 10 tumours of 20 in {name})": many,
    }


# simpler analyses
# ------------------------------------------------------------------------------------------------------------


def historical() -> dict[str, float]:
    """A beta prior with the mean and sd of the 70 historical rates, updated by experiment 71."""
    frame = load_dataset("rats")
    rates = (frame["tumors"] / frame["rats"])[:70]
    mean, sd = float(rates.mean()), float(rates.std(ddof=1))
    size = mean * (1 - mean) / sd**2 - 1
    law = beta_binomial(4, 14, mean * size, (1 - mean) * size).rate
    return {
        "mean of rates": mean,
        "sd of rates": sd,
        "alpha": mean * size,
        "beta": (1 - mean) * size,
        "mean theta[71]": law.mean(),
    }


def beta_14_86(route: str) -> dict[str, float]:
    """Experiment 71 under Beta(1.4, 8.6)."""
    if route == "closed_form":
        law = beta_binomial(4, 14, 1.4, 8.6).rate
        return {"mean theta[71]": law.mean(), "sd theta[71]": law.std()}
    model = Model("tumors ~ 1", "binomial", trials="rats", priors={"Intercept": "beta(1.4, 8.6)"})
    numbers = posterior(model, load_dataset("rats").iloc[70:]).numbers(("Intercept",))
    return {f"{word} theta[71]": numbers[f"{word} Intercept"] for word in ("mean", "sd")}


def plug_in() -> dict[str, float]:
    """Experiments with the hyperparameters fixed where the marginal likelihood is largest."""
    best = _modes(_posterior())
    alpha, beta = (best[f"{name}, maximum of the marginal likelihood"] for name in ("alpha", "beta"))
    fixed = {"mean_experiment": f"fixed({alpha / (alpha + beta)!r})", "kappa_experiment": f"fixed({alpha + beta!r})"}
    return posterior(_model(**fixed), load_dataset("rats")).numbers(("theta_experiment",))


def complete(route: str) -> dict[str, float]:
    """One probability for all experiments, flat on its logit, so that its mean is the pooled rate."""
    frame = load_dataset("rats")
    if route == "closed_form":
        total = frame[["tumors", "rats"]].sum()
        law = beta_binomial(int(total["tumors"]), int(total["rats"]), 1e-9, 1e-9)
        return {"probability": law.rate.mean()}
    model = _model(mean_experiment="beta(0, 0)")
    return {"probability": posterior(model, frame, "complete").numbers(("mean_experiment",))["mean mean_experiment"]}


def data() -> dict[str, float]:
    """Checksums of the data."""
    frame = load_dataset("rats")
    tumors, rats = frame["tumors"], frame["rats"]
    return {
        "experiments": float(len(frame)),
        "sum of tumours": float(tumors.sum()),
        "sum of rats": float(rats.sum()),
        "sum of tumours, first 70": float(tumors[:70].sum()),
        "sum of rats, first 70": float(rats[:70].sum()),
    }


def propriety() -> dict[str, float]:
    """Which posteriors are proper, and whether a mean that does not exist is reported."""
    none = pd.DataFrame({"experiment": range(6), "tumors": [0, 0, 10, 0, 0, 0], "rats": [10] * 6})
    one = none.assign(tumors=[0, 3, 10, 0, 0, 0])
    missing = bind(_model(), load_dataset("rats")).missing_moments
    return {
        "mean of kappa reported": float(missing.get("kappa_experiment") != "mean"),
        "proper with one group with 0 < y < n": float(proper(_model(), one)),
        "proper with no group with 0 < y < n": float(proper(_model(), none)),
        "proper with a flat prior on kappa": float(proper(_model(kappa_experiment="flat()"), load_dataset("rats"))),
    }
