"""The exact posterior of effects with known standard errors: quadrature's own numbers, no draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from hiermodels.inference.exact import POOR, ExactSettings, exact, summarise_nodes
from hiermodels.inference.mixtures import Summary
from hiermodels.models.factorise import factorise
from hiermodels.models.problem import Data, Problem, as_jax
from hiermodels.quantities import sd_name

if TYPE_CHECKING:
    from jax import Array

__all__ = ["Posterior", "posterior"]


@dataclass(frozen=True, eq=False)
class Posterior:
    """What quadrature says of one dataset.

    Attributes
    ----------
    summaries : dict of str to Summary
        Variable to ``mean median sd lower upper``; groups in the order of the data.
    sds : dict of str to ndarray
        Standard deviation of each grouping at every node, (node,).
    weight : ndarray, shape (node,)
        Of the nodes.
    error : float
        Estimated error of the worst number, over what is allowed (a thousandth of a posterior sd); above 1 it is not to
        be trusted.
    """

    summaries: dict[str, Summary]
    sds: dict[str, np.ndarray]
    weight: np.ndarray
    error: float


def posterior(
    problem: Problem,
    level: float,
    kind: str,
    *,
    thresholds: Mapping[str, float] | None = None,
) -> Posterior:
    """Posterior of a bound model.

    Parameters
    ----------
    problem : Problem
    level, kind
        Of the intervals; ``kind`` is ``equal_tailed`` or ``hdi``.
    thresholds : mapping of str to float, optional
        Variable to a value: ``summaries[name].cdf[0]`` is the probability of values at or below it. Only these
        variables are summarised then.
    """
    asked = dict(thresholds or {})
    with jax.enable_x64(True):
        arrays = as_jax(problem.data)
        values = {name: jnp.asarray(float(at)) for name, at in asked.items()}
        for accuracy in ("fit", "finest"):
            found = _program(problem.layout, level, kind, tuple(asked), accuracy)(arrays, values)
            summaries, sds, weight, quality = jax.tree.map(np.asarray, found)
            if quality <= POOR:
                break
    places = {n: problem.positions[v.name] for v in problem.layout.levels for n in problem.layout.effect_names(v)}
    for name, at in places.items():
        if name in summaries:
            summaries[name] = jax.tree.map(lambda x, at=at: x[at], summaries[name])
    return Posterior(summaries, sds, weight, float(quality))


@lru_cache(maxsize=32)
def _program(layout: Any, level: float, kind: str, asked: tuple[str, ...], accuracy: str) -> Any:
    """Summaries of the variables asked about, or of all, compiled once for data of its shape."""
    model = factorise(layout)
    lay = exact(model, ExactSettings(accuracy))
    wanted = asked or tuple(sorted(model.available()))
    names = {v.name: sd_name(v.name, "Intercept") for v in layout.levels}

    def summarise(
        data: Data, thresholds: dict[str, Array]
    ) -> tuple[dict[str, Summary], dict[str, Array], Array, Array]:
        stats = model.prepare(data)
        nodes = lay(jax.random.key(0), stats)
        cuts = {name: (thresholds[name],) for name in asked}
        found = summarise_nodes(model, nodes, stats, wanted, interval=level, kind=kind, thresholds=cuts)
        phi = jax.vmap(lambda u: model.constrain(u, stats))(nodes.u)
        return found, {n: phi[n] for n in names.values() if n in phi}, jnp.exp(nodes.log_weight), nodes.quality

    return jax.jit(summarise)
