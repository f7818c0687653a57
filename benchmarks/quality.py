"""How good the results of a contender are: effective draws, divergences, posterior means to compare."""

from __future__ import annotations

from typing import Any

import numpy as np


def quality(results: dict[str, np.ndarray]) -> dict[str, Any]:
    """Smallest bulk effective size over all parameters of each dataset, divergences, means and their errors.

    Parameters
    ----------
    results : dict of ndarray
        ``draws`` (dataset, chain, draw, parameter) and ``divergences`` (dataset,); or ``mean`` and ``sd``
        (dataset, parameter) of a method without draws.
    """
    if "draws" not in results:
        mean, sd = results["mean"], results["sd"]
        return {"mean": mean, "sd": sd, "mcse": np.zeros_like(mean), "flagged": int(results["flagged"].sum())}
    import jax

    from hiermodels.inference.diagnostics import ess_bulk, mcse_mean

    draws = results["draws"]
    with jax.enable_x64(True):
        bulk, error = jax.jit(ess_bulk), jax.jit(mcse_mean)
        ess = np.stack([np.asarray(bulk(d)) for d in draws])
        mcse = np.stack([np.asarray(error(d)) for d in draws])
    return {
        "mean": draws.mean((1, 2)),
        "sd": draws.std((1, 2)),
        "mcse": mcse,
        "ess": ess.min(1),
        "divergences": int(results["divergences"].sum()),
        "kept": int(draws.shape[0] * draws.shape[1] * draws.shape[2]),
    }


def disagreement(found: dict[str, Any], reference: dict[str, Any]) -> tuple[float, float]:
    """Largest and root-mean-square difference of posterior means, in Monte Carlo standard errors of the two.

    Where neither has draws the differences are in posterior standard deviations.
    """
    gap = found["mean"] - reference["mean"]
    scale = np.hypot(found["mcse"], reference["mcse"])
    if "ess" not in found and "ess" not in reference:
        scale = reference["sd"]
    z = gap / np.where(scale > 0, scale, np.inf)
    return float(np.nanmax(np.abs(z))), float(np.sqrt(np.nanmean(z**2)))
