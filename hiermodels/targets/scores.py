"""Section 6: scores of students in classrooms in schools."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from hiermodels.datasets import load_dataset
from hiermodels.fit import fit
from hiermodels.inference.closed_form import TruncatedInverseGamma
from hiermodels.models.spec import Model
from hiermodels.targets.chains import MonteCarlo, fitted, summaries
from hiermodels.targets.quadrature import posterior

__all__ = [
    "balanced",
    "balanced_sums",
    "fixed_variances",
    "fixed_variances_more",
    "fixed_variances_normal_mean",
    "fixed_variances_predictions",
    "half_normal",
]

type Numbers = Mapping[str, float | MonteCarlo]

_BALANCED = """
57 66 69 61 57 61 51 46 69 68 75 56 / 62 61 54 69 75 65 82 77 73 71 75 57 / 71 71 52 69 67 75 66 69 73 64 75 70 /
60 52 65 61 55 61 66 71 47 67 63 59 / 47 65 45 59 63 39 50 42 62 72 76 46 / 50 60 67 58 43 52 49 48 48 57 56 53 /
60 51 58 71 57 47 69 63 74 58 54 46 / 70 80 53 55 68 57 61 60 60 67 59 66
"""
_SIGMA2, _CLASS2, _SCHOOL2 = 25.0, 9.0, 16.0


def _model(school: str, classroom: str, sigma: str, mean: str = "flat()") -> Model:
    priors = {"sd_school": school, "sd_school:classroom": classroom, "sigma": sigma, "Intercept": mean}
    return Model("score ~ 1 + (1 | school/classroom)", priors=priors)


def _fixed(mean: str = "flat()") -> Model:
    school, classroom, sigma = (f"fixed({math.sqrt(v):g})" for v in (_SCHOOL2, _CLASS2, _SIGMA2))
    return _model(school, classroom, sigma, mean)


# known variances
# ---------------------------------------------------------------------------------------------------------


def fixed_variances(route: str) -> Numbers:
    """Unbalanced scores, all three variances known."""
    frame = load_dataset("scores")
    return posterior(_fixed(), frame).numbers() if route == "exact" else fitted(_fixed(), frame, route)


def fixed_variances_normal_mean(route: str) -> Numbers:
    """The same with lambda ~ N(40, 100)."""
    found = posterior(_fixed("normal(40, 10)"), load_dataset("scores"))
    return found.numbers() | {"log marginal likelihood": found.log_evidence}


def fixed_variances_more() -> dict[str, float]:
    """Messages of the schools, marginal likelihood, covariances of two classrooms.

    A school's message is its posterior without the schools' population. The posterior mean of one classroom moves with
    the scores of another by their covariance over sigma^2, a score: exactly, since it is linear in the scores.
    """
    frame = load_dataset("scores")
    found = posterior(_fixed(), frame)
    alone = posterior(_fixed(), frame, {"school": "none", "school:classroom": "partial"}).numbers(("theta_school",))
    numbers = {"log marginal likelihood": found.log_evidence}
    numbers |= {
        f"precision of the message of theta_school[{s}]": alone[f"sd theta_school[{s}]"] ** -2
        for s in frame["school"].unique()
    }

    def moved(label: str, by: float) -> dict[str, float]:
        inside = frame["school"] + ":" + frame["classroom"] == label
        return posterior(_fixed(), frame.assign(score=frame["score"] + by * inside)).numbers(
            ("theta_school:classroom",)
        )

    for one, other in (("s2:c1", "s2:c2"), ("s1:c1", "s2:c1")):
        name = f"mean theta_school:classroom[{one}]"
        count = int((frame["school"] + ":" + frame["classroom"] == other).sum())
        change = moved(other, 1.0)[name] - moved(other, -1.0)[name]
        numbers[f"covariance of {one} and {other}"] = change / 2 * _SIGMA2 / count
    return numbers


def fixed_variances_predictions(route: str) -> Numbers:
    """Standard deviations of new scores: in a known classroom, in a new one of a known school, in a new school."""
    frame = load_dataset("scores")
    names = ("sd of a new score in s1:c1", "sd of a score in a new classroom of s1", "sd of a score in a new school")
    if route == "exact":
        numbers = posterior(_fixed(), frame).numbers(("theta_school:classroom", "new(school:classroom)"))
        spread = (numbers["sd theta_school:classroom[s1:c1]"], numbers["sd new(school:classroom)"])
        return {name: math.sqrt(sd**2 + _SIGMA2) for name, sd in zip(names[::2], spread, strict=True)}
    found = fit(_fixed(), frame, sampler="exact", draws=10_000, seed=20261121, progress=False)
    rows = pd.DataFrame({"school": ["s1", "s1", "s9"], "classroom": ["c1", "c9", "c1"]})
    values = np.asarray(found.predict(rows, groups="new", kind="outcome").predictions["score"])
    drawn = summaries({n: values[..., i] for i, n in enumerate(names)}, {n: [] for n in names}, {}, True)
    return {name: drawn[f"sd {name}"] for name in names}


# unknown variances
# -------------------------------------------------------------------------------------------------------


def half_normal(route: str) -> Numbers:
    """Unbalanced scores, half-normal(10) priors of the three sds."""
    model, frame = _model(*(3 * ["half_normal(10)"])), load_dataset("scores")
    return posterior(model, frame).numbers() if route == "exact" else fitted(model, frame, route)


def _balanced_frame() -> pd.DataFrame:
    scores = np.array([row.split() for row in _BALANCED.split("/")], float)
    school, place = np.indices(scores.shape)
    return pd.DataFrame(
        {
            "school": [f"s{i + 1}" for i in school.ravel()],
            "classroom": [f"c{i // 4 + 1}" for i in place.ravel()],
            "score": scores.ravel(),
        }
    )


def balanced(route: str) -> Numbers:
    """Eight schools of three classrooms of four scores, flat on the three variances."""
    model, frame = _model(*(3 * ["flat_variance()"])), _balanced_frame()
    scales = ("sigma", "sd_school", "sd_school:classroom")
    if route != "exact":
        return _with_variance(fitted(model, frame, route, derive=lambda x: {f"{n}^2": x[n] ** 2 for n in scales}))
    found = posterior(model, frame)
    numbers = found.numbers()
    for name in scales:
        numbers |= {f"{q} {name}^2": numbers[f"{q} {name}"] ** 2 for q in ("q2.5", "q50", "q97.5")}
        numbers[f"mean {name}^2"] = found.average(_square(name))
    within = found.average(lambda phi: 1 - _v(phi, 1) / _v(phi, 2))
    between = found.average(lambda phi: 1 - _v(phi, 2) / _v(phi, 3))
    return _with_variance(numbers) | {"mean 1 - v1/v2": within, "mean 1 - v2/v3": between}


def _square(name: str) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    return lambda phi: phi[name] ** 2


def _v(phi: Mapping[str, np.ndarray], i: int) -> np.ndarray:
    """The three mean squares' expectations: sigma^2, + 4 tau^2, + 12 kappa^2."""
    terms = (phi["sigma"] ** 2, 4 * phi["sd_school:classroom"] ** 2, 12 * phi["sd_school"] ** 2)
    return sum(terms[:i], start=np.zeros(()))


def _with_variance(numbers: Mapping[str, float | MonteCarlo]) -> dict[str, float | MonteCarlo]:
    """The variance of the population mean from its sd."""
    sd = numbers["sd Intercept"]
    square = MonteCarlo(sd.value**2, 2 * sd.value * sd.mcse) if isinstance(sd, MonteCarlo) else sd**2
    return {**numbers, "variance of Intercept": square}


def balanced_sums() -> dict[str, float]:
    """Sums of squares, shapes of the inverse gamma laws, and how often independent draws of them are in order."""
    frame = _balanced_frame()
    rooms = frame.groupby(["school", "classroom"])["score"]
    room, school, grand = rooms.mean(), frame.groupby("school")["score"].mean(), frame["score"].mean()
    sse = float(((frame["score"] - rooms.transform("mean")) ** 2).sum())
    ssc = float(4 * ((room - school.reindex(room.index.get_level_values(0)).to_numpy()) ** 2).sum())
    sss = float(12 * ((school - grand) ** 2).sum())
    shapes = (8 * 3 * 3 / 2 - 1, 8 * 2 / 2 - 1, (8 - 3) / 2)
    laws = [TruncatedInverseGamma(a, s / 2) for a, s in zip(shapes, (sse, ssc, sss), strict=True)]
    nodes, weights = np.polynomial.legendre.leggauss(400)
    v2 = laws[1].ppf(0.5 * (nodes + 1))
    in_order = 0.5 * float(weights @ (laws[0].cdf(v2) * (1 - laws[2].cdf(v2))))
    found = {"SSE": sse, "SSC": ssc, "SSS": sss, "grand mean": float(grand), "acceptance of the ordering": in_order}
    return found | {f"shape of v{i + 1}": a for i, a in enumerate(shapes)}
