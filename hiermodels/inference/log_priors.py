"""Log prior densities beside the draws, one variable a parameter: what power-scaling of the prior needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hiermodels.models.layout import Layout, Parameter
from hiermodels.models.problem import Problem
from hiermodels.models.units import at_means
from hiermodels.priors import Prior

__all__ = ["improper_parameters", "log_prior", "mean_variances"]


def log_prior(values: Mapping[str, Any], problem: Problem) -> dict[str, np.ndarray]:
    """Log prior density of every hyperparameter and coefficient at its draws, on the parameter's own scale.

    Parameters
    ----------
    values : mapping of str to ndarray
        Draws by variable, (chain, draw, *dims).
    problem : Problem

    Returns
    -------
    dict of str to ndarray, each (chain, draw)
        Parameters that are known (``fixed``) have none. An improper density is up to a constant: ``flat()`` gives 0.
        A prior that stands at the predictors' means is that of the coefficient there. A correlation's is the density of
        its matrix, (eta - 1) log det R and the constant of Lewandowski, Kurowicka & Joe (2009).

    Examples
    --------
    >>> import hiermodels as hm
    >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "half_normal(5)"})
    >>> fit = hm.fit(model, hm.load_dataset("eight_schools"), sampler="exact", draws=10, progress=False)
    >>> {name: x.shape for name, x in log_prior(fit.draws.values, fit.problem).items()}
    {'Intercept': (4, 10), 'sd_school': (4, 10)}
    """
    found = {}
    with jax.enable_x64(True):
        values = at_means(problem.layout, problem.data.units, values)
        for p in problem.layout.parameters:
            if p.name in values and not p.prior.known:
                found[p.name] = _density(p, values, problem)
    return found


def improper_parameters(layout: Layout) -> list[Parameter]:
    """Parameters whose priors do not integrate to one, in order."""
    return [p for p in layout.parameters if not _proper(p)]


def mean_variances(problem: Problem) -> np.ndarray:
    """Known variance of each finest group's mean, 1 / sum of its rows' precisions; shape (group,)."""
    return 1 / problem.tree.sum_rows(np.asarray(problem.data.weight), len(problem.layout.levels) - 1)


def _proper(parameter: Parameter) -> bool:
    return parameter.prior.proper_on(parameter.kind)


def _density(parameter: Parameter, values: Mapping[str, Any], problem: Problem) -> np.ndarray:
    prior, x = parameter.prior, np.asarray(values[parameter.name], float)
    if parameter.kind == "correlation":
        return _log_lkj(x, prior.args[0])
    unit = problem.layout.unit_of(parameter)
    if unit is not None:
        return np.asarray(prior.log_density(jnp.asarray(x), jnp.asarray(values[unit.name], float)))
    if not prior.of_variances:
        return np.asarray(prior.log_density(jnp.asarray(x)))
    return _reference(prior, x, mean_variances(problem))


def _reference(prior: Prior, x: np.ndarray, variances: np.ndarray) -> np.ndarray:
    there = jnp.asarray(variances)
    found = jax.lax.map(lambda one: prior.log_density(one, there), jnp.asarray(x).reshape(-1), batch_size=64)
    return np.asarray(found).reshape(x.shape)


def _log_lkj(matrix: np.ndarray, eta: float) -> np.ndarray:
    """Log density of correlation matrices (..., effect, effect)."""
    import numpyro.distributions as dist

    at_independence = float(dist.LKJ(matrix.shape[-1], eta).log_prob(jnp.eye(matrix.shape[-1])))
    return (eta - 1) * np.linalg.slogdet(matrix)[1] + at_independence
