"""Section 10: which posteriors are proper, and which of their moments exist, as the library judges before it
computes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import integrate

from hiermodels.datasets import load_dataset
from hiermodels.models.data import bind
from hiermodels.models.propriety import has_moment
from hiermodels.models.spec import Model
from hiermodels.targets.quadrature import posterior, proper

__all__ = ["counts", "integrals", "known_variances", "moments", "powers", "slopes", "three_levels", "three_levels_sds"]


def _schools(k: int) -> pd.DataFrame:
    """Groups with a sum of squares of k - 1, all with standard error 1."""
    y = np.arange(k) - (k - 1) / 2
    return pd.DataFrame({"g": range(k), "y": y / y.std(ddof=1), "se": 1.0})


def _known(prior: str) -> Model:
    return Model("y ~ 1 + (1 | g)", known_se="se", priors={"Intercept": "flat()", "sd_g": prior})


def _smallest(prior: str, top: int = 12) -> float:
    """Smallest number of groups that is accepted; every larger one must be."""
    verdicts = [proper(_known(prior), _schools(k)) for k in range(2, top)]
    first = verdicts.index(True)
    return float(first + 2) if all(verdicts[first:]) else math.nan


def known_variances() -> dict[str, float]:
    """How many groups each prior of the sd between them needs, with a flat mean."""
    names = {"flat variance": "flat_variance()", "flat sd": "flat()", "reference": "reference()"}
    return {name: _smallest(prior) for name, prior in names.items()}


def powers() -> dict[str, float]:
    """Priors that are not integrable at zero are improper however many groups there are."""
    return {
        f"p(tau) ~ {text}": float(proper(_known(f"power({c})"), _schools(30)))
        for text, c in (("1/tau", 1), ("tau^-2", 2), ("tau^-0.99", 0.99))
    }


def integrals() -> dict[str, float]:
    """Integral over tau^2 of the marginal likelihood, without its constants, up to a cutoff."""
    return {
        f"{k} groups, 1e{exponent}": integrate.quad(
            _density(k), -15.0, 0.5 * exponent * math.log(10), epsrel=1e-10, limit=500
        )[0]
        for k in (3, 4)
        for exponent in (2, 4, 6, 8)
    }


def _density(k: int) -> Callable[[float], float]:
    """Marginal likelihood of log tau under a flat prior on tau^2, k groups."""
    at = posterior(_known("half_normal(1)"), _schools(k))
    constant = 0.5 * (k - 1) * math.log(2 * math.pi) + 0.5 * math.log(k)
    return lambda log_tau: 2 * math.exp(2 * log_tau + constant + float(at.log_likelihood(np.array([log_tau]))))


def moments() -> dict[str, float]:
    """Which moments of tau exist, for eight schools and for few groups."""
    eight = bind(
        Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "flat()"}), load_dataset("eight_schools")
    )
    found = {
        f"E tau^{r}, eight schools, flat sd": float(has_moment(eight.layout, eight.data, "sd_school", r))
        for r in (2, 4, 6)
    }
    for prior, groups in (("flat_variance()", (4, 5, 6, 7)), ("flat()", (3, 4, 5))):
        word = "variance" if "variance" in prior else "sd"
        for k in groups:
            missing = bind(_known(prior), _schools(k)).missing_moments.get("sd_g", "")
            found |= {
                f"mean of tau, flat {word}, {k} groups": float(missing != "mean"),
                f"sd of tau, flat {word}, {k} groups": float(not missing),
            }
    return found


# three levels
# ----------------------------------------------------------------------------------------------------------------


def _trees(schools: int, rooms: int, scores: int) -> pd.DataFrame:
    """A balanced tree."""
    rng = np.random.default_rng(10)
    index = [(i, j) for i in range(schools) for j in range(rooms) for _ in range(scores)]
    return pd.DataFrame(index, columns=["school", "room"]).assign(y=rng.standard_normal(len(index)))


def _tree_model(school: str, room: str, sigma: str) -> Model:
    priors = {"Intercept": "flat()", "sd_school": school, "sd_school:room": room, "sigma": sigma}
    return Model("y ~ 1 + (1 | school/room)", priors=priors)


def three_levels() -> dict[str, float]:
    """Flat on variances: of schools; of schools and classrooms; of scores as well."""
    flat, one = "flat_variance()", "fixed(1)"
    schools = {f"between schools: {n} schools": (_tree_model(flat, one, one), _trees(n, 2, 2)) for n in (3, 4)}
    both = {
        f"both, sigma known: {n} schools of {rooms} classroom{'s' if rooms > 1 else ''}": (
            _tree_model(flat, flat, one),
            _trees(n, rooms, 2),
        )
        for n, rooms in ((4, 2), (5, 2), (7, 1), (4, 1), (5, 1), (6, 1), (3, 2), (3, 5))
    }
    six = pd.DataFrame({"school": [0, 0, 1, 1, 2, 3], "room": [0, 1, 0, 1, 0, 0]})
    all_three = {
        f"all three: 4 schools, 6 classrooms, {n} scores": (
            _tree_model(flat, flat, flat),
            pd.concat([six, six.iloc[: n - 6]], ignore_index=True).assign(
                y=np.random.default_rng(n).standard_normal(n)
            ),
        )
        for n in (7, 8)
    }
    return {name: float(proper(*case)) for name, case in (schools | both | all_three).items()}


def three_levels_sds() -> dict[str, float]:
    """Flat on the sd between schools."""
    model = _tree_model("flat()", "fixed(1)", "fixed(1)")
    return {f"between schools: {n} schools": float(proper(model, _trees(n, 2, 2))) for n in (2, 3)}


# counts, slopes
# ---------------------------------------------------------------------------------------------------------------


def counts() -> dict[str, float]:
    """How many informative groups the joint rules need."""
    binomial = Model("y ~ 1 + (1 | g)", "binomial", trials="n", priors={"g": "bda3()"})
    poisson = Model("y ~ 1 + (1 | g)", "poisson", exposure="n", priors={"g": "bda3()"})

    def frame(informative: int) -> pd.DataFrame:
        return pd.DataFrame({"g": range(12), "y": [3] * informative + [0] * (12 - informative), "n": [10] * 12})

    def smallest(model: Model) -> float:
        return float(next(k for k in range(1, 12) if proper(model, frame(k))))

    return {
        "beta-binomial, (alpha + beta)^(-5/2)": smallest(binomial),
        "gamma-Poisson, a^(-3/2) / b": smallest(poisson),
    }


def slopes() -> dict[str, float]:
    """Varying intercepts and slopes."""
    priors = {
        "Intercept": "normal(0, 3)",
        "x": "normal(0, 3)",
        "sd_id": "uniform(0, 10)",
        "sd_id_x": "uniform(0, 10)",
        "sigma": "uniform(0, 10)",
    }
    pooled = Model("y ~ 1 + x + (1 + x || id)", priors=priors)
    unpooled = Model("y ~ 1 + x + (1 + x || id)", priors={"sigma": "flat()"})

    def frame(sizes: tuple[int, ...], one_x: bool = False) -> pd.DataFrame:
        ids = np.repeat(np.arange(len(sizes)), sizes)
        rng = np.random.default_rng(11)
        x = np.where(one_x, ids, rng.standard_normal(len(ids)))
        return pd.DataFrame({"id": ids, "x": x, "y": rng.standard_normal(len(ids))})

    return {
        "uniform(0, 10) scales, normal(0, 3) means": float(proper(pooled, frame((1, 2)))),
        "unpooled, flat sigma, n (m - 2) = 2": float(proper(unpooled, frame((3, 3)), "none")),
        "unpooled, flat sigma, n (m - 2) = 1": float(proper(unpooled, frame((3, 2)), "none")),
        "unpooled, one x value an individual": float(proper(unpooled, frame((4, 4), one_x=True), "none")),
    }
