"""Section 7: an intercept and a slope for each of 75 individuals with five trials."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hiermodels.datasets import load_dataset
from hiermodels.inference.closed_form import TruncatedInverseGamma
from hiermodels.models.spec import Model
from hiermodels.studies.run.runner import run
from hiermodels.targets.chains import MonteCarlo, fitted
from hiermodels.targets.quadrature import posterior

__all__ = ["data", "hierarchical", "study", "unpooled"]

type Numbers = Mapping[str, float | MonteCarlo]

FORMULA = "y ~ 1 + x + (1 + x || id)"
PRIORS = {
    "Intercept": "normal(0, 3)",
    "x": "normal(0, 3)",
    "sd_id": "uniform(0, 10)",
    "sd_id_x": "uniform(0, 10)",
    "sigma": "uniform(0, 10)",
}
TRUTH = {"Intercept": 2, "x": -2, "sd_id": 1, "sd_id_x": 1, "sigma": 2}
WORDS = {"theta_id": "intercepts", "theta_id_x": "slopes"}


def _truth() -> dict[str, np.ndarray]:
    """Intercepts and slopes that made the dataset: the first draws of its generator."""
    rng = np.random.default_rng(20190808)
    return {"theta_id": rng.normal(2, 1, 75), "theta_id_x": rng.normal(-2, 1, 75)}


def data() -> dict[str, float]:
    """Checksums of the dataset; the residual sum of squares is that of the unpooled posterior's means."""
    frame = load_dataset("individuals")
    numbers = unpooled("exact")
    line = np.array([[numbers[f"mean {name}[{i}]"] for name in WORDS] for i in frame["id"]])
    residual = frame["y"] - line[:, 0] - line[:, 1] * frame["x"]
    found = {
        "sum of x": float(frame["x"].sum()),
        "sum of y": float(frame["y"].sum()),
        "RSS": float((residual**2).sum()),
    }
    return found | {f"{name}[0, {k}]": float(frame[name][k]) for name in ("x", "y") for k in range(5)}


def unpooled(route: str) -> dict[str, float]:
    """A regression for each individual, one residual sd with a uniform prior.

    In closed form the residual variance is inverse gamma, cut at 100, and the means are least squares.
    """
    frame = load_dataset("individuals")
    if route == "closed_form":
        rows = {i: frame[frame["id"] == i] for i in range(1, 76)}
        lines = {i: np.polyfit(r["x"], r["y"], 1)[::-1] for i, r in rows.items()}
        rss = sum(float(((r["y"] - lines[i][0] - lines[i][1] * r["x"]) ** 2).sum()) for i, r in rows.items())
        law = TruncatedInverseGamma((75 * 3 - 1) / 2, rss / 2, high=100.0)
        numbers = {f"mean {n}[{i}]": float(line[k]) for i, line in lines.items() for k, n in enumerate(WORDS)}
        return _scored(numbers) | {"mean sigma^2": law.moment(1), "mean sigma": law.moment(0.5)}
    found = posterior(Model(FORMULA, priors={"sigma": "uniform(0, 10)"}), frame, "none")
    return _scored(found.numbers()) | {"mean sigma^2": found.average(lambda phi: phi["sigma"] ** 2)}


def hierarchical(route: str) -> Numbers:
    """Individuals from a population; sds uniform from 0 to 10."""
    model, frame = Model(FORMULA, priors=PRIORS), load_dataset("individuals")
    return _scored(posterior(model, frame).numbers()) if route == "exact" else fitted(model, frame, route)


def _scored(numbers: Mapping[str, float]) -> dict[str, float]:
    """Root mean squared errors of the posterior means beside them."""
    found = dict(numbers)
    for name, truth in _truth().items():
        mean = np.array([numbers[f"mean {name}[{i}]"] for i in range(1, 76)])
        found[f"RMSE of {WORDS[name]}"] = math.sqrt(np.mean((mean - truth) ** 2))
    return found


# a study
# -----------------------------------------------------------------------------------------------------------------


def _config(cells: int, replications: int) -> dict[str, Any]:
    """Four methods on the same datasets; ``known`` has the true hyperparameters.

    A cell's predictor is drawn once; cells that differ by nothing but a shift of the outcome draw it anew.
    """
    fixed = {name: f"fixed({value})" for name, value in TRUTH.items()}
    exact = {"sampler": "exact"}
    return {
        "aim": "How far off are intercepts and slopes, unpooled, pooled and completely pooled?",
        "mechanisms": {
            "formula": FORMULA,
            "family": "normal",
            "design": {"id": 75, "obs": 5, "predictors": {"x": "normal(0, 1)"}},
            "truth": TRUTH,
            "grid": {"Intercept": [2 + i * 1e-6 for i in range(cells)]},
        },
        "estimands": [*WORDS, *({name: name, "point": "mean"} for name in TRUTH)],
        "methods": {
            "unpooled": {"pooling": "none", "priors": {"sigma": "uniform(0, 10)"}, **exact},
            "hierarchical": {"priors": PRIORS, **exact},
            "known": {"priors": fixed, **exact},
            "complete": {"pooling": "complete", "priors": {n: PRIORS[n] for n in ("Intercept", "x", "sigma")}, **exact},
        },
        "performance": ["bias"],
        "replications": replications,
        "failures": "complete-case",
        "seed": 20190808,
    }


def study(cells: int = 20, replications: int = 20) -> Numbers:
    """Averages over simulated datasets, each with its standard error over datasets."""
    with tempfile.TemporaryDirectory() as folder:
        table = run(_config(cells, replications), Path(folder) / "study", progress=False).estimates
    table = table.astype({"method": str, "estimand": str}).assign(error=(table["estimate"] - table["true"]) ** 2)

    def of(method: str, name: str) -> Any:
        """Rows of one method and estimand, by dataset."""
        return table[(table["method"] == method) & (table["estimand"] == name)].groupby(["Intercept", "rep"])

    found: dict[str, float | MonteCarlo] = {}
    for name, word in WORDS.items():
        square = {method: of(method, name)["error"].mean() for method in _config(1, 1)["methods"]}
        root = {method: x**0.5 for method, x in square.items()}
        for method, x in root.items():
            found |= _spread(f"RMSE, {word}, {method}", x)
        found[f"ratio of RMSE, {word}"] = _average(root["hierarchical"] / root["unpooled"])
        found[f"share of datasets where pooling wins, {word}"] = _share(root["hierarchical"] < root["unpooled"])
        found[f"spread of unpooled estimates, {word}"] = _average(of("unpooled", name)["estimate"].std())
        found[f"mean squared error, {word}, unpooled"] = _average(square["unpooled"])
    return found | {f"mean {name}": _average(of("hierarchical", name)["estimate"].mean()) for name in TRUTH}


def _average(x: pd.Series) -> MonteCarlo:
    return MonteCarlo(float(x.mean()), float(x.std() / math.sqrt(len(x))))


def _spread(name: str, x: pd.Series) -> dict[str, MonteCarlo]:
    """Mean, sd and 5% and 95% quantiles over datasets; the error of an sd from the fourth moment."""
    n, sd, away = len(x), float(x.std()), x - x.mean()
    error = math.sqrt(max(float((away**4).mean()) - sd**4, 0.0) / n) / (2 * sd)
    found = {f"mean {name}": _average(x), f"sd {name}": MonteCarlo(sd, error)}
    for word, p in (("q5", 0.05), ("q95", 0.95)):
        below = math.sqrt(p * (1 - p) / n)
        low, at, high = (float(v) for v in np.quantile(x, [max(p - below, 0.0), p, min(p + below, 1.0)]))
        found[f"{word} {name}"] = MonteCarlo(at, (high - low) / 2)
    return found


def _share(happened: pd.Series) -> MonteCarlo:
    """A share, with the standard error of one count more than was seen where it is at an end."""
    n, p = len(happened), float(happened.mean())
    near = min(max(p, 1 / n), 1 - 1 / n)
    return MonteCarlo(p, math.sqrt(near * (1 - near) / n))
