"""Basket trials too large to enumerate, simulated: the same rules, and distinct tables analysed once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from hiermodels.studies.score.montecarlo import Z95, wilson
from hiermodels.studies.trials.basket_states import (
    ACTIVE,
    EFFICACIOUS,
    FUTILE,
    Analysis,
    Posterior,
    analysed,
    code,
    decode,
    stop,
)
from hiermodels.studies.trials.baskets import Trial, check_rates

__all__ = ["simulate_trial"]


def simulate_trial(
    trial: Trial, analysis: Analysis, rates: ArrayLike, replications: int = 10_000, seed: int = 0
) -> pd.DataFrame:
    """Operating characteristics by simulation, for designs too large to enumerate; distinct tables are analysed once.

    Parameters
    ----------
    trial : Trial
    analysis : callable
    rates : array_like, shape (basket,)
    replications : int
    seed : int

    Returns
    -------
    DataFrame
        As `Outcomes.characteristics`, with ``mcse, lower, upper, n_sim``; intervals of shares are Wilson's.

    Examples
    --------
    >>> from hiermodels.studies.trials.basket_models import independent
    >>> trial = Trial.equal(2, 10, null=0.2, threshold=0.95)
    >>> table = simulate_trial(trial, independent(0.2), [0.2, 0.5], replications=2000)
    >>> bool(abs(table.loc[0, "value"] - 0.0328) < 4 * table.loc[0, "mcse"])
    True
    """
    rates = check_rates(rates, len(trial.sizes))
    rng, plan = np.random.default_rng(seed), np.array(trial.sizes)
    y, n = np.zeros((replications, len(rates)), np.int64), np.zeros((replications, len(rates)), np.int64)
    doing = np.full(n.shape, ACTIVE)
    size = int(plan.max()) + 1
    cache: dict[Any, Any] = {}
    posterior = Posterior(np.zeros(n.shape), np.zeros(n.shape))
    for look in range(plan.shape[1]):
        more = np.where(doing == ACTIVE, plan[:, look] - n, 0)
        y, n = y + rng.binomial(more, rates), n + more
        posterior = analysed(code(doing, n, y, size), analysis, cache, size)
        if look < plan.shape[1] - 1:
            doing = decode(stop(code(doing, n, y, size), posterior.above, trial.futility, trial.efficacy, size), size)[
                0
            ]
    fires = (doing == EFFICACIOUS) | ((doing == ACTIVE) & (posterior.above > trial.threshold))
    good, rows = rates > trial.null, []
    for k, rate in enumerate(rates):
        columns = {
            "power" if good[k] else "type1": fires[:, k], "futile": doing[:, k] == FUTILE, "early": doing[:, k] == EFFICACIOUS,  # noqa: E501
            "patients": n[:, k], "estimate": posterior.mean[:, k], "mse": (posterior.mean[:, k] - rate) ** 2,
        }  # fmt: skip
        rows += [{"basket": str(k + 1), "rate": rate, "measure": name, **_estimated(x)} for name, x in columns.items()]
    wrong, every = fires[:, ~good].any(1), fires[:, good].all(1)
    columns = {"fwer": wrong} if (~good).any() else {}
    columns |= {"power_any": fires[:, good].any(1), "power_all": every} if good.any() else {}
    columns |= {"correct": every & ~wrong, "patients": n.sum(1)}
    rows += [{"basket": "all", "rate": np.nan, "measure": name, **_estimated(x)} for name, x in columns.items()]
    return pd.DataFrame(rows)


def _estimated(x: NDArray[Any]) -> dict[str, float]:
    value, n = float(x.mean()), len(x)
    mcse = float(x.std(ddof=1) / math.sqrt(n))
    lower, upper = wilson(value, n) if x.dtype == bool else (value - Z95 * mcse, value + Z95 * mcse)
    return {"value": value, "mcse": mcse, "lower": float(lower), "upper": float(upper), "n_sim": n}
