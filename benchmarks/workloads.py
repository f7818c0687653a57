"""The workloads: designs, truths, simulated outcomes, and the order in which parameters are compared.

| | model | priors | truth |
|---|---|---|---|
| W1 | eight schools, known standard errors | mu ~ N(0, 20^2), tau ~ half-normal(20) | 8, 10 |
| W2 | 20 schools x 4 classrooms x 10 students | lambda ~ N(0, 10^2), sds ~ half-normal(5) | 0, 1, 0.7, 2 |
| W3 | beta-binomial, 71 groups, the rat data's sizes | mu ~ U(0, 1), kappa ~ half-normal(50) | 0.14, 16 |
| W4 | binary cluster trial, 30 clusters x 40, half of the clusters treated | a, b ~ N(0, 2.5^2), sd ~ half-normal(1) | -0.5, 0.5, 0.5 |
| W6 | Poisson counts of 85 counties with exposures, log-normal rates | a ~ N(0, 2.5^2), sd ~ half-normal(1) | 0, 0.5 |

W4 is given as counts, one row per cluster, to everyone: nobody's gradient has to walk over 1,200 rows.

Outcomes come from NumPy's generator, so every contender, in whatever process, gets the same numbers. Nothing
here imports JAX before `problem` is called: peers that do not use it should not pay for it.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SCHOOLS, CLASSROOMS, STUDENTS = 20, 4, 10
CLUSTERS, MEMBERS, COUNTIES = 30, 40, 85
SE = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


@dataclass(frozen=True)
class Workload:
    """A model, its design, and how to simulate outcomes.

    Attributes
    ----------
    name, title : str
    formula, family, columns, priors :
        The declaration.
    design : callable
        () -> dict of columns.
    simulate_one : callable
        (generator, design) -> outcomes of one dataset, shape (row,).
    variables : tuple of str
        This library's names, in the order of comparison.
    explicit : callable
        Draws of an explicit model's sites, each (..., *shape), -> (..., parameter) in that order.
    """

    name: str
    title: str
    formula: str
    family: str
    columns: Mapping[str, str]
    priors: Mapping[str, str]
    design: Callable[[], dict[str, np.ndarray]] = field(repr=False)
    simulate_one: Callable[[np.random.Generator, dict[str, np.ndarray]], np.ndarray] = field(repr=False)
    variables: tuple[str, ...]
    explicit: Callable[[Mapping[str, np.ndarray]], np.ndarray] = field(repr=False)

    def outcomes(self, count: int, seed: int = 20261120) -> np.ndarray:
        """Simulated datasets, shape (count, row); the first ones do not depend on ``count``."""
        design = self.design()
        return np.stack([self.simulate_one(np.random.default_rng([seed, i]), design) for i in range(count)])

    def problem(self) -> Any:
        """The model bound to its design."""
        import pandas as pd

        from hiermodels.models.data import bind
        from hiermodels.models.spec import Model

        frame = pd.DataFrame(self.design())
        model = Model(self.formula, self.family, **self.columns, priors=dict(self.priors))
        return bind(model, frame, outcome=False)

    def parameters(self, values: Mapping[str, Any]) -> np.ndarray:
        """Values by this library's names, each (..., group) or (...), side by side: (..., parameter)."""
        scalar = np.ndim(values[self.variables[0]])
        parts = [np.asarray(values[v]) for v in self.variables]
        return np.concatenate([p[..., None] if p.ndim == scalar else p for p in parts], -1)


def _columns(*parts: np.ndarray) -> np.ndarray:
    lead = parts[0].shape
    return np.concatenate([np.asarray(p).reshape(*lead, -1) for p in parts], -1)


# W1 ----------------------------------------------------------------------------------------------------


def _schools_design() -> dict[str, np.ndarray]:
    return {"school": np.array(list("ABCDEFGH")), "se": SE}


def _schools(rng: np.random.Generator, design: dict[str, np.ndarray]) -> np.ndarray:
    return rng.normal(rng.normal(8.0, 10.0, 8), design["se"])


def _schools_explicit(s: Mapping[str, np.ndarray]) -> np.ndarray:
    mu, tau = s["mu"], s["tau"]
    return _columns(mu, tau, mu[..., None] + tau[..., None] * s["eta"])


# W2 ----------------------------------------------------------------------------------------------------


def _pupils_design() -> dict[str, np.ndarray]:
    school = np.repeat(np.arange(SCHOOLS), CLASSROOMS * STUDENTS)
    classroom = np.tile(np.repeat(np.arange(CLASSROOMS), STUDENTS), SCHOOLS)
    return {
        "school": np.array([f"s{i}" for i in school]),
        "classroom": np.array([f"c{i}" for i in classroom]),
    }


def _pupils(rng: np.random.Generator, design: dict[str, np.ndarray]) -> np.ndarray:
    school = rng.normal(0.0, 1.0, SCHOOLS)
    classroom = rng.normal(school[:, None], 0.7, (SCHOOLS, CLASSROOMS))
    return rng.normal(classroom[..., None], 2.0, (SCHOOLS, CLASSROOMS, STUDENTS)).reshape(-1)


def _pupils_explicit(s: Mapping[str, np.ndarray]) -> np.ndarray:
    lam, kappa, tau = s["lam"], s["kappa"], s["tau"]
    school = lam[..., None] + kappa[..., None] * s["eta_school"]
    classroom = school[..., None] + tau[..., None, None] * s["eta_classroom"]
    return _columns(lam, kappa, tau, s["sigma"], school, classroom)


# W3 ----------------------------------------------------------------------------------------------------


def _rats_design() -> dict[str, np.ndarray]:
    from hiermodels.datasets import load_dataset

    trials = load_dataset("rats")["rats"].to_numpy()
    return {"lab": np.array([f"l{i}" for i in range(len(trials))]), "n": trials}


def _rats(rng: np.random.Generator, design: dict[str, np.ndarray]) -> np.ndarray:
    theta = rng.beta(0.14 * 16, 0.86 * 16, len(design["n"]))
    return rng.binomial(design["n"], theta).astype(float)


def _rats_explicit(s: Mapping[str, np.ndarray]) -> np.ndarray:
    return _columns(s["mu"], s["kappa"], s["theta"])


# W4 ----------------------------------------------------------------------------------------------------


def _trial_design() -> dict[str, np.ndarray]:
    cluster = np.arange(CLUSTERS)
    return {
        "cluster": np.array([f"c{i}" for i in cluster]),
        "treated": (cluster >= CLUSTERS // 2).astype(float),
        "n": np.full(CLUSTERS, MEMBERS),
    }


def _trial(rng: np.random.Generator, design: dict[str, np.ndarray]) -> np.ndarray:
    eta = -0.5 + 0.5 * design["treated"] + rng.normal(0.0, 0.5, CLUSTERS)
    return rng.binomial(design["n"], 1 / (1 + np.exp(-eta))).astype(float)


def _trial_explicit(s: Mapping[str, np.ndarray]) -> np.ndarray:
    a, b, sd = s["a"], s["b"], s["sd"]
    return _columns(a, b, sd, a[..., None] + sd[..., None] * s["eta"])


# W6 ----------------------------------------------------------------------------------------------------


def _counties_design() -> dict[str, np.ndarray]:
    exposure = np.random.default_rng(85).lognormal(1.0, 1.0, COUNTIES).round(2)
    return {"county": np.array([f"c{i}" for i in range(COUNTIES)]), "exposure": exposure}


def _counties(rng: np.random.Generator, design: dict[str, np.ndarray]) -> np.ndarray:
    return rng.poisson(design["exposure"] * np.exp(rng.normal(0.0, 0.5, COUNTIES))).astype(float)


def _counties_explicit(s: Mapping[str, np.ndarray]) -> np.ndarray:
    a, sd = s["a"], s["sd"]
    return _columns(a, sd, a[..., None] + sd[..., None] * s["eta"])


W1 = Workload(
    "W1",
    "eight schools",
    "y ~ 1 + (1 | school)",
    "normal",
    {"known_se": "se"},
    {"Intercept": "normal(0, 20)", "sd_school": "half_normal(20)"},
    _schools_design,
    _schools,
    ("Intercept", "sd_school", "theta_school"),
    _schools_explicit,
)
W2 = Workload(
    "W2",
    "20 schools x 4 classrooms x 10 students",
    "y ~ 1 + (1 | school/classroom)",
    "normal",
    {},
    {
        "Intercept": "normal(0, 10)",
        "sd_school": "half_normal(5)",
        "sd_school:classroom": "half_normal(5)",
        "sigma": "half_normal(5)",
    },
    _pupils_design,
    _pupils,
    ("Intercept", "sd_school", "sd_school:classroom", "sigma", "theta_school", "theta_school:classroom"),
    _pupils_explicit,
)
W3 = Workload(
    "W3",
    "beta-binomial, 71 groups",
    "y ~ 1 + (1 | lab)",
    "binomial",
    {"trials": "n"},
    {"mean_lab": "uniform(0, 1)", "kappa_lab": "half_normal(50)"},
    _rats_design,
    _rats,
    ("mean_lab", "kappa_lab", "theta_lab"),
    _rats_explicit,
)
W4 = Workload(
    "W4",
    "binary cluster trial, 30 clusters x 40",
    "y ~ 1 + treated + (1 | cluster)",
    "binomial_logit",
    {"trials": "n"},
    {"Intercept": "normal(0, 2.5)", "treated": "normal(0, 2.5)", "sd_cluster": "half_normal(1)"},
    _trial_design,
    _trial,
    ("Intercept", "treated", "sd_cluster", "theta_cluster"),
    _trial_explicit,
)
W6 = Workload(
    "W6",
    "Poisson counts with log-normal rates, 85 counties",
    "y ~ 1 + (1 | county)",
    "poisson_log",
    {"exposure": "exposure"},
    {"Intercept": "normal(0, 2.5)", "sd_county": "half_normal(1)"},
    _counties_design,
    _counties,
    ("Intercept", "sd_county", "theta_county"),
    _counties_explicit,
)
WORKLOADS = {w.name: w for w in (W1, W2, W3, W4, W6)}
