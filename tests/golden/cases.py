"""Models whose densities, predictions and simulators are held fixed: every family, tree and pooling, every prior at
every seat.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

import hiermodels as hm

__all__ = ["KNOBS", "SEATS", "TABLE", "Case", "every_case", "slug"]


def _table() -> pd.DataFrame:
    """26 rows of 11 rooms in 6 schools in 3 districts, crossed with 4 items; outcomes and roles of every kind."""
    rng = np.random.default_rng(15)
    room = np.repeat(np.arange(11), [3, 2, 2, 2, 3, 2, 2, 3, 2, 2, 3])
    school = np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5])[room]
    rows = len(room)
    pull = rng.normal(size=6)[school] + 0.5 * rng.normal(size=11)[room]
    trials = rng.integers(3, 12, rows)
    hours = rng.uniform(0.5, 4, rows).round(3)
    return pd.DataFrame({
        "district": [f"d{s // 2}" for s in school], "school": [f"s{s}" for s in school], "room": [f"r{r}" for r in room],
        "item": [f"i{k % 4}" for k in range(rows)], "x": rng.normal(2, 3, rows).round(3), "z": rng.normal(size=rows).round(3),
        "size": np.array([1.5, 0.3, -0.4, 2.2, 0.8, -1.1])[school], "arm": np.array(["a", "b", "c"])[np.arange(rows) % 3],
        "se": rng.uniform(0.5, 2, rows).round(3), "w": rng.uniform(0.5, 2, rows).round(3), "n": trials, "hours": hours,
        "y": (5 + 2 * pull + rng.normal(0, 1.5, rows)).round(3), "k": rng.binomial(trials, 1 / (1 + np.exp(0.5 - pull))),
        "b": rng.binomial(1, 1 / (1 + np.exp(-pull))), "c": rng.poisson(hours * np.exp(0.5 * pull)),
    })  # fmt: skip


TABLE = _table()


@dataclass(frozen=True)
class Case:
    """One model on `TABLE`."""

    formula: str
    family: str = "normal"
    roles: dict[str, str] = field(default_factory=dict)
    priors: dict[str, str] = field(default_factory=dict)
    pooling: Any = "partial"
    centred: bool = False
    name: str = ""
    seated: bool = False

    @property
    def label(self) -> str:
        """A name that is a file's name too."""
        roles = "".join(f" {word}" for word in self.roles.values())
        return self.name or slug(
            f"{self.family}{roles} {self.formula} {self.pooling}{' centred' if self.centred else ''}"
        )

    def model(self) -> hm.Model:
        """The declaration."""
        return hm.Model(self.formula, self.family, priors=self.priors or None, **self.roles)


def slug(text: str) -> str:
    """Words and signs of a formula as the name of a file."""
    for sign, word in (("||", " alone "), ("|", " by "), ("/", " in "), ("+", " and "), ("~", " on "), (":", " of ")):
        text = text.replace(sign, word)
    return re.sub(r"\W+", "_", text).strip("_")


# structures, with default priors
# --------------------------------------------------------------------------------------------

KNOWN, WEIGHTS, TRIALS, HOURS = {"known_se": "se"}, {"weights": "w"}, {"trials": "n"}, {"exposure": "hours"}
MIXED = ({"school": "none", "school:room": "none"}, {"school": "complete", "school:room": "partial"}, {"school": "partial", "school:room": "complete"},
         {"school": "none", "school:room": "partial"}, {"school": "none", "school:room": "complete"})  # fmt: skip
NORMAL = {"sd_school": "half_normal(2)", "sd_school:room": "half_t(3, 2)"}


def _normal() -> Iterator[Case]:
    for roles in (KNOWN, {}, WEIGHTS):
        yield Case("y ~ 1", roles=roles)
        for pooling in ("partial", "none", "complete"):
            yield Case("y ~ 1 + (1 | school)", roles=roles, pooling=pooling)
        yield Case("y ~ 1 + x + (1 + x | school)", roles=roles)
    yield Case("y ~ 0 + x")
    yield Case("y ~ 1 + x + arm")
    for centred in (False, True):
        yield Case("y ~ 1 + x + (1 | school)", centred=centred)
        yield Case("y ~ 1 + x + (1 + x || school)", centred=centred)
        yield Case("y ~ 1 + x + (1 + x | school)", centred=centred)
        yield Case("y ~ 1 + z + (1 | school/room)", centred=centred)
        yield Case("y ~ 1 + (1 | school) + (1 | item)", centred=centred, priors={"sd_school": "half_normal(2)"})
    yield Case("y ~ 0 + x + (1 | school)")
    yield Case("y ~ 1 + x + (0 + x | school)")
    yield Case("y ~ arm + (1 + arm || school)")
    yield Case("y ~ 1 + x + z + (1 + x + z | school)")
    yield Case("y ~ 1 + x + (1 + x | school) + (1 | school:room)")
    yield Case("y ~ 1 + x + (1 || school) + (1 + x || school:room)")
    yield Case("y ~ 1 + (1 | school/room)", roles=KNOWN)
    for pooling in MIXED:
        yield Case("y ~ 1 + (1 | school/room)", pooling=pooling)
    yield Case("y ~ 1 + z + (1 | district/school/room)")
    yield Case("y ~ 1 + size + (1 | district/school)", roles=KNOWN, priors={"size": "student_t(4, 0, 3)"})
    yield Case("y ~ 1 + x + (1 + x | school) + (1 | item)", priors={"cor_school": "lkj(3)"})
    yield Case("y ~ 1 + (1 | school) + (1 | item)", pooling={"item": "none"})


def _links() -> Iterator[Case]:
    for family, y, roles in (
        ("student_t", "y", {}), ("student_t", "y", KNOWN), ("binomial_logit", "k", TRIALS), ("bernoulli_logit", "b", {}),
        ("poisson_log", "c", HOURS), ("poisson_log", "c", {}), ("negative_binomial", "c", HOURS), ("negative_binomial", "c", {}),
    ):  # fmt: skip
        first = bool(roles) or family == "bernoulli_logit"
        yield Case(f"{y} ~ 1 + x", family, roles)
        for pooling in ("partial", "none", "complete") if first else ("partial",):
            yield Case(f"{y} ~ 1 + (1 | school)", family, roles, pooling=pooling)
        if first:
            yield Case(f"{y} ~ 1 + x + (1 + x | school)", family, roles)
            yield Case(f"{y} ~ 1 + x + (1 + x || school)", family, roles, centred=True)
            yield Case(f"{y} ~ 1 + (1 | school/room)", family, roles)
            yield Case(f"{y} ~ 1 + (1 | school) + (1 | item)", family, roles)
    yield Case("y ~ 1 + x + (1 | school)", "student_t", WEIGHTS)
    yield Case("k ~ 1 + (1 | district/school/room)", "binomial_logit", TRIALS)


def _counts() -> Iterator[Case]:
    for family, y, roles in (
        ("binomial", "k", TRIALS),
        ("bernoulli", "b", {}),
        ("poisson", "c", HOURS),
        ("poisson", "c", {}),
    ):
        yield Case(f"{y} ~ 1", family, roles)
        for pooling in ("partial", "none", "complete"):
            yield Case(f"{y} ~ 1 + (1 | school)", family, roles, pooling=pooling)
        if not roles and family == "poisson":
            continue
        yield Case(f"{y} ~ 1 + x", family, roles)
        yield Case(f"{y} ~ 1 + size + (1 | school)", family, roles)
        for pooling in ("partial", "none", "complete", {"school": "complete"}, {"school:room": "complete"}):
            yield Case(f"{y} ~ 1 + (1 | school/room)", family, roles, pooling=pooling)
        yield Case(f"{y} ~ 1 + (1 | school/room)", family, roles, centred=True)
    for family, y, roles in (("binomial", "k", TRIALS), ("poisson", "c", HOURS)):
        yield Case(f"{y} ~ 1 + (1 | district/school/room)", family, roles)
        yield Case(f"{y} ~ 1 + size + (1 | school/room)", family, roles)
        for prior in ("bda3()", "rgbp()"):
            yield Case(f"{y} ~ 1 + (1 | school)", family, roles, {"school": prior}, name=slug(f"{family} {prior}"))
        yield Case(
            f"{y} ~ 1 + size + (1 | school)", family, roles, {"school": "rgbp()"}, name=slug(f"{family} size rgbp")
        )


# every prior at every seat
# --------------------------------------------------------------------------------------------------

KNOBS = (
    "beta(2, 3)", "beta(0, 0)", "exponential(0.7)", "fixed(0.6)", "flat()", "flat_variance()", "gamma(2, 0.5)", "gamma_rate(2, 0.5)", "half_cauchy(1.5)",
    "half_normal(2)", "half_normal_cv(1.5)", "half_t(4, 1.5)", "inverse_gamma_variance(2, 1.5)", "jeffreys2()", "lkj(2.5)", "log_normal(0.3, 0.8)",
    "normal(0.5, 2)", "power(1)", "power(0.5)", "reference()", "scaled_half_t(3, 2.5)", "scaled_normal(0.5, 2)", "student_t(4, 0.5, 2)", "uniform(0.1, 3)",
    "uniform(0.05, 0.9)", "uniform(1.5, 30)", "bda3()", "rgbp()",
)  # fmt: skip
"""Every prior of the menu, with numbers that are no special values."""

SEATS: dict[str, tuple[Case, tuple[str, ...]]] = {
    "normal": (Case("y ~ 1 + x + (1 + x | school)"), ("Intercept", "x", "sd_school", "sd_school_x", "cor_school", "sigma")),
    "known": (Case("y ~ 1 + (1 | school)", roles=KNOWN), ("Intercept", "sd_school")),
    "tree": (Case("y ~ 1 + size + (1 | school/room)"), ("size", "sd_school", "sd_school:room")),
    "student": (Case("y ~ 1 + (1 | school)", "student_t"), ("Intercept", "sd_school", "sigma", "nu")),
    "logit": (Case("k ~ 1 + x + (1 + x || school)", "binomial_logit", TRIALS), ("Intercept", "x", "sd_school", "sd_school_x")),
    "overdispersed": (Case("c ~ 1 + (1 | school)", "negative_binomial", HOURS), ("Intercept", "sd_school", "shape")),
    "binomial": (Case("k ~ 1 + (1 | school)", "binomial", TRIALS), ("mean_school", "kappa_school")),
    "poisson": (Case("c ~ 1 + (1 | school)", "poisson", HOURS), ("mean_school", "shape_school")),
    "units": (Case("k ~ 1 + size + (1 | school)", "binomial", TRIALS), ("Intercept", "size", "kappa_school")),
    "one rate": (Case("k ~ 1", "binomial", TRIALS), ("Intercept",)),
    "one count": (Case("c ~ 1", "poisson", HOURS), ("Intercept",)),
    "towns": (Case("k ~ 1 + (1 | school/room)", "binomial", TRIALS),
              ("Intercept", "sd_school", "log_kappa", "sd_school_log_kappa")),
    "counties": (Case("c ~ 1 + (1 | school/room)", "poisson", HOURS), ("Intercept", "sd_school", "log_shape", "sd_school_log_shape")),
}  # fmt: skip
"""Name to (model, its parameters): at each, each prior of `KNOBS` is tried."""


def every_case() -> list[Case]:
    """Structures with default priors; the seats are in `tests.golden.densities.seated`."""
    found: dict[str, Case] = {}
    for case in (*_normal(), *_links(), *_counts()):
        assert found.setdefault(case.label, case) == case, case
    return list(found.values())
