"""Numbers of a posterior by the exact engine: every summary of every variable, by name.

Keys are words and a variable: ``mean sd_school``, ``q97.5 theta_school[A]``, ``P(theta_school[A] > 0)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from hiermodels.families.component import Component
from hiermodels.inference.exact import Nodes, exact, summarise_nodes
from hiermodels.inference.lattice import lattice
from hiermodels.inference.mixtures import NormalMixture, Summary
from hiermodels.models.data import bind
from hiermodels.models.factorise import Factorised, factorise
from hiermodels.models.problem import Problem, as_jax

if TYPE_CHECKING:
    import pandas as pd
    from jax import Array

    from hiermodels.models.spec import Model

__all__ = ["Posterior", "posterior", "proper"]

_FINE = {1: 401, 2: 10_000, 3: 40_000}
"""Nodes on which functions of the hyperparameters are averaged, by their number."""


@dataclass(frozen=True)
class Posterior:
    """A posterior as weighted nodes of its hyperparameters.

    Attributes
    ----------
    problem : Problem
    model : Factorised
        Hashable, as all of the library's are.
    stats
        Sufficient statistics of the data.
    nodes : Nodes
    """

    problem: Problem
    model: Any
    stats: Any
    nodes: Nodes

    def numbers(
        self,
        wanted: Sequence[str] | None = None,
        *,
        quartiles: bool = False,
        above: Mapping[str, float] | None = None,
    ) -> dict[str, float]:
        """Mean, sd and quantiles of variables.

        Parameters
        ----------
        wanted : sequence of str, optional
            Variables, ``mean(...)`` and ``new(...)``; by default every parameter and group value.
        quartiles : bool
            The 25% and 75% quantiles too.
        above : mapping of str to float
            Variable to threshold: the probability of a larger value too.
        """
        names = tuple(wanted or sorted(n for n in self.model.available() if not n.startswith(("mean(", "new("))))
        above = above or {}
        found: dict[str, float] = {}
        with jax.enable_x64(True):
            first = _summaries(self.model, names, 0.95, tuple(above.items()))(self.nodes, self.stats)
            second = _summaries(self.model, names, 0.5, ())(self.nodes, self.stats) if quartiles else {}
        for name in names:
            found |= self._entries(name, first[name], ("q2.5", "q97.5"), above.get(name))
            if quartiles:
                found |= {
                    k: v
                    for k, v in self._entries(name, second[name], ("q25", "q75"), None).items()
                    if k[:3] in ("q25", "q75")
                }
        return found

    def _entries(self, name: str, summary: Summary, ends: tuple[str, str], threshold: float | None) -> dict[str, float]:
        parts = {
            "mean": summary.mean,
            "sd": summary.sd,
            "q50": summary.median,
            ends[0]: summary.lower,
            ends[1]: summary.upper,
        }
        found: dict[str, float] = {}
        for label, place in self._places(name):
            found |= {f"{word} {label}": float(np.asarray(x)[place]) for word, x in parts.items()}
            if threshold is not None:
                found[f"P({label} > {threshold:g})"] = 1 - float(np.asarray(summary.cdf[0])[place])
        return found

    def _places(self, name: str) -> list[tuple[str, Any]]:
        """Labels of a variable's entries and where they stand."""
        for level in self.problem.layout.levels:
            if name in self.problem.layout.effect_names(level):
                labels, positions = self.problem.labels[level.name], self.problem.positions[level.name]
                return [(f"{name}[{label}]", place) for label, place in zip(labels, positions, strict=True)]
        return [(name, ())]

    @property
    def weight(self) -> np.ndarray:
        """Weights of the engine's nodes, shape (node,)."""
        return np.exp(np.asarray(self.nodes.log_weight))

    @property
    def log_evidence(self) -> float:
        """Logarithm of p(y), up to the constants of improper priors."""
        return float(self.nodes.log_evidence)

    def average(self, function: Callable[[dict[str, np.ndarray]], np.ndarray]) -> float:
        """Posterior mean of a function of the hyperparameters, on a finer and wider lattice than the engine's."""
        weight, phi = self._fine()
        return float(weight @ np.broadcast_to(function(phi), weight.shape))

    def _fine(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Weights (node,) and hyperparameters, each (node,)."""
        nodes, dim = self.nodes, self.model.dim
        with jax.enable_x64(True):
            u, log_weight = nodes.u, np.asarray(nodes.log_weight)
            if nodes.coordinates is not None:
                v = nodes.centre + jnp.asarray(lattice(dim, _FINE[dim], 7.5).z) @ nodes.scale.T
                u = nodes.coordinates.u(v)
                log_weight = self.log_density(np.asarray(u)) + np.asarray(jnp.sum(nodes.coordinates.log_slope(v), -1))
            phi = {name: np.asarray(x) for name, x in jax.vmap(self.model.constrain)(u).items()}
        log_weight = np.where(log_weight < np.inf, log_weight, -np.inf)  # no number far out, as the engine takes it
        weight = np.exp(log_weight - log_weight.max())
        kept = weight > 1e-20  # beyond, hyperparameters may overflow
        return weight[kept] / weight[kept].sum(), {
            name: x[kept] if x.shape == weight.shape else x for name, x in phi.items()
        }

    def laws(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The two numbers of a variable's law at every node of the engine, each (node, group), real groups only."""
        with jax.enable_x64(True):
            law = jax.vmap(lambda u: self.model.components(u, self.stats, (name,))[name])(self.nodes.u)
        places = [place for _, place in self._places(name)]
        a, b = np.asarray(law.a), np.broadcast_to(np.asarray(law.b), np.asarray(law.a).shape)
        return (a[:, None], b[:, None]) if places == [()] else (a[:, places], b[:, places])

    def outcome(self, name: str, variance: float, p: Sequence[float] = (0.025, 0.5, 0.975)) -> np.ndarray:
        """Quantiles of a normal variable plus noise of known variance, shape (p, group)."""
        with jax.enable_x64(True):
            law = self._noisy(name, variance)
            return np.asarray(law.quantile(jnp.broadcast_to(jnp.asarray(p)[:, None], (len(p), law.mean.shape[0]))))

    def outcome_above(self, name: str, variance: float, threshold: float) -> np.ndarray:
        """Probability that a normal variable plus noise of known variance is larger, shape (group,)."""
        with jax.enable_x64(True):
            law = self._noisy(name, variance)
            return 1 - np.asarray(law.cdf(jnp.full((1, law.mean.shape[0]), threshold)))[0]

    def log_likelihood(self, u: np.ndarray) -> np.ndarray:
        """Logarithm of the marginal likelihood at unconstrained hyperparameters, (..., dim) -> (...)."""
        return self._over(_log_likelihood(self.model), u)

    def log_density(self, u: np.ndarray) -> np.ndarray:
        """Logarithm of likelihood times prior at unconstrained hyperparameters, (..., dim) -> (...)."""
        return self._over(_log_density(self.model), u)

    def _over(self, program: Callable[[Array, Any], Array], u: np.ndarray) -> np.ndarray:
        with jax.enable_x64(True):
            flat = np.asarray(u, float).reshape(-1, np.shape(u)[-1])
            return np.asarray(program(jnp.asarray(flat), self.stats)).reshape(np.shape(u)[:-1])

    def _noisy(self, name: str, variance: float) -> NormalMixture:
        mean, spread = (jnp.asarray(x) for x in self.laws(name))
        half = jnp.asarray(self.weight) / 2
        weight, law = jnp.stack([half, half]), Component("normal", mean, spread + variance)
        return NormalMixture.build(lambda f: f(weight, law), mean[0], spread[0] + variance, 1e-6)


def posterior(
    model: Model,
    frame: pd.DataFrame,
    pooling: str | Mapping[str, str] = "partial",
) -> Posterior:
    """Quadrature of a model on a table.

    Parameters
    ----------
    model : Model
    frame : DataFrame
    pooling : str or mapping

    Examples
    --------
    >>> import hiermodels as hm
    >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "flat()"})
    >>> found = posterior(model, hm.load_dataset("eight_schools")).numbers(("sd_school",))
    >>> round(found["q50 sd_school"], 2)
    5.24
    """
    with jax.enable_x64(True):
        problem = bind(model, frame, pooling)
        factorised: Any = factorise(problem.layout)
        stats = factorised.prepare(as_jax(problem.data))
        return Posterior(problem, factorised, stats, _nodes(factorised)(jax.random.key(0, impl="threefry2x32"), stats))


@lru_cache(maxsize=64)
def _nodes(model: Factorised) -> Callable[[Array, Any], Nodes]:
    return jax.jit(exact(model))


@lru_cache(maxsize=64)
def _summaries(
    model: Factorised, names: tuple[str, ...], interval: float, above: tuple[tuple[str, float], ...]
) -> Callable[[Nodes, Any], dict[str, Summary]]:
    def summaries(nodes: Nodes, stats: Any) -> dict[str, Summary]:
        thresholds = {name: (jnp.asarray(value),) for name, value in above}
        return summarise_nodes(model, nodes, stats, names, interval=interval, thresholds=thresholds)

    return jax.jit(summaries)


def proper(model: Model, frame: pd.DataFrame, pooling: str | Mapping[str, str] = "partial") -> bool:
    """Whether the library takes the posterior as proper, and all its coefficients as identified."""
    try:
        bind(model, frame, pooling)
    except ValueError as error:
        if "improper" not in str(error) and "too few distinct" not in str(error):
            raise
        return False
    return True


@lru_cache(maxsize=64)
def _log_likelihood(model: Factorised) -> Callable[[Array, Any], Array]:
    return jax.jit(lambda u, stats: jax.lax.map(lambda one: model.log_likelihood(one, stats), u, batch_size=4096))


@lru_cache(maxsize=64)
def _log_density(model: Factorised) -> Callable[[Array, Any], Array]:
    return jax.jit(lambda u, stats: jax.lax.map(lambda one: model.log_density(one, stats), u, batch_size=4096))
