"""Numbers of a posterior from draws: the same keys as `hiermodels.targets.quadrature`, each with its Monte Carlo
standard error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hiermodels.fit import fit
from hiermodels.inference.describe import Axes, axes, convergence_table, scalar_names
from hiermodels.inference.samplers import of

if TYPE_CHECKING:
    import pandas as pd

    from hiermodels.fit import Fit
    from hiermodels.models.spec import Model

__all__ = ["MonteCarlo", "estimates", "fitted", "share", "summaries"]

_PROBABILITIES = {"q2.5": 0.025, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q97.5": 0.975}


_DRAWS = {"gibbs": 10_000}
"""Draws a chain of a sampler whose draws of a sd near zero stick; 2,500 of any other."""


class MonteCarlo(NamedTuple):
    """A number with its Monte Carlo standard error."""

    value: float
    mcse: float


def fitted(
    model: Model,
    frame: pd.DataFrame,
    sampler: str,
    pooling: str | Mapping[str, str] = "partial",
    *,
    above: Mapping[str, float] | None = None,
    derive: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]] | None = None,
) -> dict[str, MonteCarlo]:
    """Numbers of every variable of a fit: four chains of 2,500 draws, of 10,000 by Gibbs, whose draws of a sd near zero
    stick.

    Parameters
    ----------
    model : Model
    frame : DataFrame
    sampler : str
    pooling : str or mapping
    above : mapping of str to float
        Variable to threshold.
    derive : callable, optional
        Further variables, from draws by name.
    """
    draws = _DRAWS.get(sampler, 2500)
    found = fit(model, frame, pooling=pooling, sampler=sampler, draws=draws, seed=20261121, progress=False)
    return estimates(found, above=above, derive=derive)


def estimates(
    found: Fit,
    *,
    above: Mapping[str, float] | None = None,
    derive: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]] | None = None,
) -> dict[str, MonteCarlo]:
    """Numbers of every variable of a fit, and of what is derived from its draws."""
    values = {name: np.asarray(x) for name, x in found.draws.values.items()}
    named = axes(values, found.problem)
    more = derive(values) if derive else {}
    independent = of(found.settings.sampling()).independent
    return summaries({**values, **more}, {**named, **{name: [] for name in more}}, above or {}, independent)


def summaries(
    values: Mapping[str, np.ndarray], named: Axes, above: Mapping[str, float], independent: bool = False
) -> dict[str, MonteCarlo]:
    """Mean, sd, quantiles and probabilities of draws (chain, draw, *dims), with Monte Carlo standard errors.

    The error of a quantile is that of the probability below it, moved to the quantile's scale by the draws around it.
    Draws of chains count by their effective sizes, independent ones each as one.
    """
    kept = {name: np.asarray(x, float) for name, x in values.items() if x.ndim > 2 or np.ptp(x) > 0}
    found: dict[str, MonteCarlo] = {}
    if not kept:
        return found
    flat = np.concatenate([x.reshape(*x.shape[:2], -1) for x in kept.values()], -1)
    names = scalar_names(kept, named)
    for word, x, error in zip(
        ("mean", "sd"), (flat.mean((0, 1)), flat.std((0, 1), ddof=1)), _errors(flat, independent), strict=True
    ):
        found |= {f"{word} {n}": MonteCarlo(float(x[i]), float(error[i])) for i, n in enumerate(names)}
    for word, p in _PROBABILITIES.items():
        at = np.quantile(flat, p, axis=(0, 1))
        error = _error_of_share(flat <= at, independent)
        low, high = (_rows(flat, np.clip(p + sign * error, 0, 1)) for sign in (-1, 1))
        found |= {f"{word} {n}": MonteCarlo(float(at[i]), float((high[i] - low[i]) / 2)) for i, n in enumerate(names)}
    for variable, threshold in above.items():
        chosen = [i for i, n in enumerate(names) if n == variable or n.startswith(f"{variable}[")]
        beyond = flat[..., chosen] > threshold
        error = _error_of_share(beyond, independent)
        for k, i in enumerate(chosen):
            found[f"P({names[i]} > {threshold:g})"] = MonteCarlo(float(beyond[..., k].mean()), float(error[k]))
    return found


def share(happened: np.ndarray, independent: bool = False) -> MonteCarlo:
    """Probability of an event from draws (chain, draw), with its Monte Carlo standard error."""
    return MonteCarlo(float(happened.mean()), float(_error_of_share(happened[..., None], independent)[0]))


def _errors(flat: np.ndarray, independent: bool) -> tuple[np.ndarray, np.ndarray]:
    """Monte Carlo standard errors of means and sds, (chain, draw, entry) -> (entry,) each."""
    if not independent:
        count = flat.shape[-1]
        table = convergence_table({"x": flat}, {"x": [("entry", [str(i) for i in range(count)])]})
        return table["mcse_mean"].to_numpy(), table["mcse_sd"].to_numpy()
    draws, away = flat.shape[0] * flat.shape[1], flat - flat.mean((0, 1))
    second, fourth = (away**2).mean((0, 1)), (away**4).mean((0, 1))
    with np.errstate(invalid="ignore"):
        return np.sqrt(second / draws), np.sqrt((fourth - second**2) / draws / second) / 2


def _error_of_share(happened: np.ndarray, independent: bool) -> np.ndarray:
    """Monte Carlo standard error of the share of an event; one draw's worth where it never or always happened."""
    error = _errors(happened.astype(float), independent)[0].copy()
    draws = happened.shape[0] * happened.shape[1]
    error[np.ptp(happened.reshape(draws, -1).astype(int), 0) == 0] = 1 / draws
    return error


def _rows(flat: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Quantile p[i] of entry i."""
    return np.array([np.quantile(flat[..., i], p[i]) for i in range(flat.shape[-1])])
