"""Section 2: two levels with one common known variance, on eighteen batting averages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels.datasets import load_dataset
from hiermodels.inference.closed_form import clipped_quantiles, two_level_normal
from hiermodels.models.spec import Model
from hiermodels.targets.chains import MonteCarlo, fitted
from hiermodels.targets.quadrature import Posterior, posterior

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "at_06",
    "at_066",
    "at_binomial",
    "clipped",
    "data",
    "flat_sd",
    "half_cauchy_005",
    "half_normal_01",
    "lecture_table",
    "reference",
]

_ENDS = {"q2.5": 0.025, "q50": 0.5, "q97.5": 0.975}


def _model(prior: str) -> Model:
    return Model("avg ~ 1 + (1 | player)", known_se="error", priors={"sd_player": prior, "Intercept": "flat()"})


def _frame(sigma: float) -> pd.DataFrame:
    return load_dataset("baseball").assign(error=sigma)


def at_066(route: str) -> Mapping[str, float | MonteCarlo]:
    """sigma = 0.066, flat on the variance between players."""
    return _at(0.066, route)


def at_binomial(route: str) -> Mapping[str, float | MonteCarlo]:
    """sigma = sqrt(.265 (1 - .265) / 45), flat on the variance between players."""
    return _at(math.sqrt(0.265 * 0.735 / 45), route)


def at_06(route: str) -> Mapping[str, float | MonteCarlo]:
    """sigma = 0.06, flat on the variance between players."""
    return _at(0.06, route)


def _at(sigma: float, route: str) -> Mapping[str, float | MonteCarlo]:
    frame = _frame(sigma)
    if route == "nuts":
        return fitted(_model("flat_variance()"), frame, route)
    numbers = _by_law(sigma) if route == "closed_form" else _by_quadrature(frame, sigma)
    return numbers | _compared(numbers, frame)


@lru_cache
def _by_law(sigma: float) -> dict[str, float]:
    """From the truncated inverse gamma law of the total variance."""
    frame = _frame(sigma)
    law, players = two_level_normal(frame["avg"].to_numpy(), sigma), list(frame["player"])
    found: dict[str, Any] = {
        "P(v < sigma^2)": law.untruncated_below,
        "acceptance of draws with v > sigma^2": law.total.mass,
        "mean B": law.shrinkage(),
        "mean sd_player^2": law.tau2_mean,
        "sd sd_player^2": law.tau2_sd,
        "sd Intercept": law.mu_sd,
    }
    found |= {f"mean theta_player[{n}]": x for n, x in zip(players, law.theta_mean, strict=True)}
    found |= {f"sd theta_player[{n}]": x for n, x in zip(players, law.theta_sd, strict=True)}
    for word, p in _ENDS.items():
        found |= {f"{word} theta_player[{n}]": x for n, x in zip(players, law.theta_quantile(p), strict=True)}
        found |= {
            f"{word} sd_player": law.tau_quantile(p),
            f"{word} Intercept": law.mu_quantile(p),
            f"{word} new(player)": law.new_theta_quantile(p),
            f"{word} outcome of a new player": law.new_outcome_quantile(p),
            f"{word} outcome of Clemente": law.outcome_quantile(p)[players.index("Clemente")],
        }
    return {key: float(value) for key, value in found.items()}


def _by_quadrature(frame: pd.DataFrame, sigma: float) -> dict[str, float]:
    """From the exact engine, which knows nothing of equal variances."""
    found = posterior(_model("flat_variance()"), frame)
    numbers = found.numbers(("Intercept", "sd_player", "theta_player", "new(player)"))
    square = found.average(lambda phi: phi["sd_player"] ** 2)
    numbers |= {
        "mean B": _shrinkage(found, sigma),
        "mean sd_player^2": square,
        "sd sd_player^2": math.sqrt(found.average(lambda phi: (phi["sd_player"] ** 2 - square) ** 2)),
    }
    new, old = (found.outcome(name, sigma**2) for name in ("new(player)", "theta_player"))
    place = list(frame["player"]).index("Clemente")
    for i, word in enumerate(_ENDS):
        numbers |= {
            f"{word} outcome of a new player": float(new[i, 0]),
            f"{word} outcome of Clemente": float(old[i, place]),
        }
    return numbers


def _shrinkage(found: Posterior, sigma: float) -> float:
    return found.average(lambda phi: sigma**2 / (sigma**2 + phi["sd_player"] ** 2))


def _compared(numbers: Mapping[str, float], frame: pd.DataFrame) -> dict[str, float]:
    """How posterior means, medians and intervals do against the remainder of the season."""
    truth = _remainder(frame)
    part = {
        word: np.array([numbers[f"{word} theta_player[{n}]"] for n in frame["player"]]) for word in ("mean", *_ENDS)
    }
    found = {
        "remainder averages inside the 95% intervals": float(((part["q2.5"] <= truth) & (truth <= part["q97.5"])).sum())
    }
    for word, name in (("mean", "means"), ("q50", "medians")):
        found[f"SSE of posterior {name}"] = _sse(part[word], truth)
        found[f"posterior {name} closer than averages"] = _wins(part[word], frame)
    return found


def _remainder(frame: pd.DataFrame) -> np.ndarray:
    """Averages of the remainder of the season as they are printed, with three decimals."""
    return frame["rem_avg"].round(3).to_numpy()


def _sse(estimate: np.ndarray, truth: np.ndarray) -> float:
    return float(np.sum((np.asarray(estimate) - truth) ** 2))


def _wins(estimate: np.ndarray, frame: pd.DataFrame) -> float:
    truth = _remainder(frame)
    return float((np.abs(estimate - truth) < np.abs(frame["avg"] - truth)).sum())


# the lecture's table
# ---------------------------------------------------------------------------------------------------


def clipped() -> dict[str, float]:
    """Negative variances set to zero at sigma = 0.06: the lecture's recipe."""
    frame = _frame(0.06)
    return {
        f"{word} theta_player[{name}]": float(x)
        for word, p in _ENDS.items()
        for name, x in zip(frame["player"], clipped_quantiles(frame["avg"].to_numpy(), 0.06, p), strict=True)
    }


def lecture_table() -> dict[str, float]:
    """The lecture's printed quantiles against its recipe, the posterior of its model, and the remainder of the
    season.
    """
    from hiermodels.targets.table import printed

    frame, keys = _frame(0.06), list(clipped())
    table = printed("baseball, the lecture's own table")
    theirs = np.array([table[key] for key in keys])
    against = {
        "clipping at sigma = 0.06": np.array(list(clipped().values())) - theirs,
        "the posterior at sigma = 0.06": _quantile_table(0.06, keys) - theirs,
        "the posterior at sigma = 0.066": _quantile_table(0.066, keys) - theirs,
    }
    found = {f"rms of {name} against it": float(np.sqrt(np.mean(gap**2))) for name, gap in against.items()}
    found |= {f"largest difference of {name} from it": float(np.abs(gap).max()) for name, gap in against.items()}
    off = np.abs(np.round(np.array(list(clipped().values())), 3) - theirs)
    found["cells of clipping at sigma = 0.06 equal to it at 3 decimals"] = float((off < 1e-9).sum())
    found["cells of clipping at sigma = 0.06 within 0.001 of it"] = float((off < 0.001 + 1e-9).sum())
    low, middle, high = (np.array([table[f"{word} theta_player[{n}]"] for n in frame["player"]]) for word in _ENDS)
    truth = _remainder(frame)
    return found | {
        "SSE of its medians": _sse(middle, truth),
        "its medians closer than averages": _wins(middle, frame),
        "remainder averages inside its 95% intervals": float(((low <= truth) & (truth <= high)).sum()),
    }


def _quantile_table(sigma: float, keys: list[str]) -> np.ndarray:
    numbers = _by_law(sigma)
    return np.array([numbers[key] for key in keys])


def data() -> dict[str, float]:
    """What the lecture computes from the averages alone."""
    frame = load_dataset("baseball")
    y, truth = frame["avg"].to_numpy(), _remainder(frame)
    hits, at_bats = frame["hits"] + frame["rem_hits"], frame["at_bats"] + frame["rem_at_bats"]
    centre, away = y.mean(), y - y.mean()
    best = 1 - float(away @ (truth - centre) / (away @ away))
    return {
        "mean of averages": centre,
        "sample variance S2 of averages": float(y.var(ddof=1)),
        "sample variance S2 of averages at 3 decimals": float(y.round(3).var(ddof=1)),
        "Clemente's average of the whole season": float(hits[0] / at_bats[0]),
        "SSE of averages": _sse(y, truth),
        "SSE of averages at 3 decimals": _sse(y.round(3), truth),
        "SSE of averages at 3 decimals against the whole season": _sse(y.round(3), (hits / at_bats).to_numpy()),
        "SSE of complete pooling": _sse(np.full_like(y, centre), truth),
        "oracle B": best,
        "SSE at the oracle B": _sse(centre + (1 - best) * away, truth),
    }


# other hyperpriors
# -----------------------------------------------------------------------------------------------------


def flat_sd(route: str) -> dict[str, float]:
    """Flat on the standard deviation between players."""
    return _other("flat()")


def half_cauchy_005(route: str) -> dict[str, float]:
    """Half-Cauchy with scale 0.05."""
    return _other("half_cauchy(0.05)")


def half_normal_01(route: str) -> dict[str, float]:
    """Half-normal with scale 0.1."""
    return _other("half_normal(0.1)")


def reference(route: str) -> dict[str, float]:
    """p(tau^2) ~ 1 / (sigma^2 + tau^2), which is the reference prior of equal known variances."""
    return _other("reference()")


def _other(prior: str) -> dict[str, float]:
    frame = _frame(0.066)
    found = posterior(_model(prior), frame)
    numbers = found.numbers(("theta_player",))
    return numbers | _compared(numbers, frame) | {"mean B": _shrinkage(found, 0.066)}
