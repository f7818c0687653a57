"""Analyses of basket trials: posterior of every basket's response rate for many tables at once.

| analysis | rates of the baskets |
|---|---|
| `pooled` | one rate for all, Beta(a, b) |
| `independent` | each Beta(a, b) on its own |
| `beta_binomial` | Beta(kappa m, kappa (1 - m)) with m and kappa unknown |
| `exnex` | logit p_k ~ N(mu, tau^2) with probability w, else N(m_0, s_0^2) on its own |
| `by_model` | any declared binomial model of this library, by its own samplers |

Given the population's parameters the baskets of `beta_binomial` and `exnex` are independent, and a basket's likelihood
depends on its responses and patients alone. So with a quadrature over the parameters,

    p(y) = sum_q w_q prod_k L(y_k | q),    P(p_k > c | y) = sum_q w_q prod_j L(y_j | q) A(y_k | q) / L(y_k | q) / p(y),

L and A are tables by distinct (y, n), and thousands of outcome tables cost a matrix product. Source of EXNEX:
Neuenschwander, Wandel, Roychoudhury and Bailey (2016), Pharmaceutical Statistics 15(2), 123-134, doi 10.1002/pst.1730.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from hiermodels.families.laws.binomial import Binomial
from hiermodels.inference.samplers import Settings, estimator
from hiermodels.inference.summaries import Interval, Target
from hiermodels.models.data import bind
from hiermodels.models.problem import as_jax
from hiermodels.priors import parse
from hiermodels.studies.calibrate.sbc import map_replicates
from hiermodels.studies.machine import cores
from hiermodels.studies.trials.baskets import Analysis, Counts, Posterior

if TYPE_CHECKING:
    from hiermodels.models.spec import Model
    from hiermodels.priors import Prior

__all__ = ["beta_binomial", "by_model", "exnex", "independent", "pooled"]

type Floats = NDArray[np.float64]

_BLOCK = 512
"""Tables worked on at once."""


def independent(null: float, a: float = 0.5, b: float = 0.5) -> Analysis:
    """Each basket on its own: p_k ~ Beta(a, b).

    Examples
    --------
    >>> found = independent(0.2)(np.array([[0, 5]]), np.array([[10, 10]]))
    >>> found.above.round(3).tolist()
    [[0.032, 0.985]]
    """
    _check_null(null)

    def analysis(y: Counts, n: Counts) -> Posterior:
        return _beta(a + y, b + n - y, null)

    return analysis


def pooled(null: float, a: float = 0.5, b: float = 0.5) -> Analysis:
    """One response rate for all baskets: p ~ Beta(a, b).

    Examples
    --------
    >>> found = pooled(0.2)(np.array([[0, 5]]), np.array([[10, 10]]))
    >>> found.mean.round(3).tolist()
    [[0.262, 0.262]]
    """
    _check_null(null)

    def analysis(y: Counts, n: Counts) -> Posterior:
        one = _beta(a + y.sum(1), b + (n - y).sum(1), null)
        return Posterior(*(np.repeat(x[:, None], y.shape[1], 1) for x in one))

    return analysis


def _beta(a: Any, b: Any, null: float) -> Posterior:
    return Posterior(special.betaincc(a, b, null), a / (a + b))


def _check_null(null: float) -> None:
    if not (isinstance(null, int | float) and 0 < null < 1):
        raise ValueError(f"null: expected a response rate between 0 and 1, found {null!r}; e.g. 0.15")


def beta_binomial(null: float, mean: str = "beta(1, 1)", kappa: str = "half_normal(20)", nodes: int = 64) -> Analysis:
    """Exchangeable baskets: p_k ~ Beta(kappa m, kappa (1 - m)).

    Parameters
    ----------
    null : float
    mean, kappa : str
        Priors of m and kappa, as text.
    nodes : int
        Quadrature points of each.

    Examples
    --------
    >>> found = beta_binomial(0.2)(np.array([[0, 5]]), np.array([[10, 10]]))
    >>> bool(found.above[0, 0] > 0.01 and found.above[0, 1] < 0.99)
    True
    """
    _check_null(null)
    m, log_m = _split_nodes(mean, "unit", nodes, float(special.logit(null)))
    k, log_k = _prior_nodes(kappa, "positive", nodes)
    m, k = (x.ravel() for x in np.meshgrid(m, k, indexing="ij"))
    log_weight = (log_m[:, None] + log_k).ravel()

    def basket(y: Floats, n: Floats) -> tuple[Floats, Floats, Floats]:
        a, b = k * m + y[:, None], k * (1 - m) + (n - y)[:, None]
        log_l = special.betaln(a, b) - special.betaln(k * m, k * (1 - m))
        return log_l, special.betaincc(a, b, null), a / (a + b)

    return _by_quadrature(basket, log_weight)


def exnex(
    null: float,
    *,
    mu: str = "normal(-1.7, 2)",
    tau: str = "half_normal(1)",
    exchangeable: float = 0.5,
    own: tuple[float, float] = (-1.7, 2.0),
    nodes: tuple[int, int] = (40, 48),
) -> Analysis:
    """Exchangeability-nonexchangeability: logit p_k ~ w N(mu, tau^2) + (1 - w) N(m_0, s_0^2).

    Parameters
    ----------
    null : float
    mu, tau : str
        Priors of the exchangeable part, as text.
    exchangeable : float
        w, the prior probability that a basket belongs to it; 1 is the usual hierarchical model.
    own : tuple of float
        Mean and standard deviation of a basket of its own, on the logit scale.
    nodes : tuple of int
        Quadrature points of mu and tau.

    Examples
    --------
    >>> found = exnex(0.2)(np.array([[1, 1, 6]]), np.array([[10, 10, 10]]))
    >>> bool(found.above[0, 2] > 0.9 > 0.5 > found.above[0, 0])
    True
    """
    _check_null(null)
    if not 0 <= exchangeable <= 1:
        raise ValueError(f"exchangeable: expected a probability, found {exchangeable!r}; e.g. 0.5")
    cut = float(special.logit(null))
    centre, log_centre = _split_nodes(mu, "real", nodes[0], cut)
    spread, log_spread = _prior_nodes(tau, "positive", nodes[1])
    centre, spread = (x.ravel() for x in np.meshgrid(centre, spread, indexing="ij"))
    log_weight = (log_centre[:, None] + log_spread).ravel()
    own_centre, own_spread = np.array([own[0]], float), np.array([own[1]], float)

    def basket(y: Floats, n: Floats) -> tuple[Floats, Floats, Floats]:
        parts = [exchangeable * x for x in _logit_normal(y, n, centre, spread, cut)]
        alone = [(1 - exchangeable) * x for x in _logit_normal(y, n, own_centre, own_spread, cut)]
        total, above, mean = (a + b for a, b in zip(parts, alone, strict=True))
        return np.log(total), above / total, mean / total

    return _by_quadrature(basket, log_weight)


_LEGENDRE = np.polynomial.legendre.leggauss(96)
_REACH = 8.5
"""Standard deviations of the logit that are integrated over."""


def _logit_normal(y: Floats, n: Floats, centre: Floats, spread: Floats, cut: float) -> tuple[Floats, Floats, Floats]:
    """Likelihood of y of n, its part above the cut, and times the rate: logit p ~ N(centre, spread^2); each (basket,
    node).

    Gauss-Legendre on both sides of the cut, so that each integrand is smooth, and scaled to the range where the normal
    law lives.
    """
    low, high = centre - _REACH * spread, centre + _REACH * spread
    middle = np.clip(cut, low, high)
    found = [np.zeros((len(y), len(centre))) for _ in range(3)]
    for start, stop, over in ((low, middle, False), (middle, high, True)):
        half = (stop - start) / 2
        at = (start + half)[:, None] + half[:, None] * _LEGENDRE[0]
        weight = (
            half[:, None]
            * _LEGENDRE[1]
            * np.exp(-0.5 * ((at - centre[:, None]) / spread[:, None]) ** 2)
            / (spread[:, None] * np.sqrt(2 * np.pi))
        )
        log_p, log_q = special.log_expit(at), special.log_expit(-at)
        rate = np.exp(log_p)
        for i in range(len(y)):
            terms = weight * np.exp(y[i] * log_p + (n[i] - y[i]) * log_q)
            total = terms.sum(1)
            found[0][i] += total
            found[1][i] += total if over else 0.0
            found[2][i] += (terms * rate).sum(1)
    return found[0], found[1], found[2]


def _by_quadrature(basket: Callable[[Floats, Floats], tuple[Floats, Floats, Floats]], log_weight: Floats) -> Analysis:
    """An analysis from likelihoods of single baskets at the nodes of the population's parameters."""

    def analysis(y: Counts, n: Counts) -> Posterior:
        pairs, index = np.unique(np.stack([y.ravel(), n.ravel()], 1), axis=0, return_inverse=True)
        log_l, above, mean = basket(pairs[:, 0].astype(float), pairs[:, 1].astype(float))
        index = index.reshape(y.shape)
        found = np.empty((2, *y.shape))
        for start in range(0, len(y), _BLOCK):
            part = index[start : start + _BLOCK]
            log_post = log_weight + sum(log_l[part[:, k]] for k in range(y.shape[1]))
            weight = np.exp(log_post - log_post.max(1, keepdims=True))
            weight /= weight.sum(1, keepdims=True)
            for k in range(y.shape[1]):
                found[0, start : start + _BLOCK, k] = np.einsum("tq,tq->t", weight, above[part[:, k]])
                found[1, start : start + _BLOCK, k] = np.einsum("tq,tq->t", weight, mean[part[:, k]])
        return Posterior(np.clip(found[0], 0.0, 1.0), found[1])

    return analysis


def _prior_nodes(text: str, kind: str, count: int) -> tuple[Floats, Floats]:
    """Points of a parameter and log weights of its prior: equally spaced on the unconstrained scale, where the density
    is seen.

    The trapezoidal rule converges geometrically there, as the density and its derivatives vanish at both ends.
    """
    law, low, high = _seen(text, kind)
    if low == high:
        return np.array(law.args), np.zeros(1)
    u = np.linspace(low, high, count)
    return _CONSTRAIN[kind](u), _log_density(law, kind, u)


def _split_nodes(text: str, kind: str, count: int, cut: float) -> tuple[Floats, Floats]:
    """Points of the population's centre and log weights of its prior: Gauss-Legendre on either side of the null rate.

    Where the baskets hardly differ the probability of exceeding the null rate is a step in the centre; the rule's
    points crowd there.
    """
    law, low, high = _seen(text, kind)
    if low == high:
        return np.array(law.args), np.zeros(1)
    ends = [low, *([cut] if low < cut < high else []), high]
    nodes, weights = np.polynomial.legendre.leggauss(-(-count // (len(ends) - 1)))
    u = np.concatenate([(a + b) / 2 + (b - a) / 2 * nodes for a, b in itertools.pairwise(ends)])
    log_w = np.concatenate([np.log((b - a) / 2 * weights) for a, b in itertools.pairwise(ends)])
    return _CONSTRAIN[kind](u), log_w + _log_density(law, kind, u)


_CONSTRAIN: dict[str, Callable[[Floats], Floats]] = {"real": lambda u: u, "positive": np.exp, "unit": special.expit}


def _seen(text: str, kind: str) -> tuple[Prior, float, float]:
    """A proper prior and the range of the unconstrained value that holds all but e^-18 of its density; one point if
    fixed.
    """
    law = parse(text, kind)
    if law.known:
        return law, 0.0, 0.0
    if not law.proper:
        raise ValueError(
            f"prior {law}: expected a proper one for a quadrature, found an improper one; e.g. half_normal(1)"
        )
    wide = np.linspace(-60.0, 60.0, 24_001)
    density = _log_density(law, kind, wide)
    seen = wide[density > np.nanmax(density) - 18]
    return law, float(seen[0]), float(seen[-1])


def _log_density(law: Prior, kind: str, u: Floats) -> Floats:
    """Log density of the unconstrained value: real as it is, positive by its logarithm, unit by its logit."""
    x = _CONSTRAIN[kind](u)
    low, high = law.support(kind)
    jacobian = {"real": 0.0 * u, "positive": u, "unit": special.log_expit(u) + special.log_expit(-u)}[kind]
    with np.errstate(all="ignore"), jax.enable_x64(True):
        value = np.asarray(law.log_density(jnp.asarray(x)), float) + jacobian
    return np.where((x > low) & (x < high) & np.isfinite(value), value, -np.inf)


def by_model(
    model: Model, null: float, group: str | None = None, sampler: str = "exact", seed: int = 0, **settings: Any
) -> Analysis:
    """Any declared binomial model with one grouping, the baskets, by the library's own samplers.

    Parameters
    ----------
    model : Model
        Family binomial, e.g. ``hm.Model("responses ~ 1 + (1 | basket)", family="binomial", trials="patients",
        priors=...)``.
    null : float
    group : str, optional
        The grouping; by default the model's only one.
    sampler : str
        ``exact`` or ``nuts``.
    seed : int
        Of ``nuts``.
    **settings
        ``draws``, ``tune``, ``chains``, ... of ``nuts``.

    Returns
    -------
    callable
        The probabilities of ``nuts`` have Monte Carlo error.

    Raises
    ------
    ValueError
        For another family or more than one grouping.
    """
    groups = [g.name for g in model.parsed.groups]
    if model.family != Binomial.name or len(groups) != 1 or (group or groups[0]) != groups[0]:
        raise ValueError(
            f"model: expected family binomial with one grouping, found {model.family} with "
            f"{', '.join(groups) or 'none'}; write responses ~ 1 + (1 | basket)"
        )
    _check_null(null)

    def analysis(y: Counts, n: Counts) -> Posterior:
        return _by_sampler(model, groups[0], null, y, n, sampler, seed, settings)

    return analysis


def _by_sampler(
    model: Model, group: str, null: float, y: Counts, n: Counts, sampler: str, seed: int, settings: dict[str, Any]
) -> Posterior:

    baskets = y.shape[1]
    frame = pd.DataFrame({group: [f"b{k + 1}" for k in range(baskets)], str(model.trials): int(n.max())})
    theta = f"theta_{group}"
    with jax.enable_x64(True):
        problem = bind(model, frame, outcome=False)
        fit = estimator(
            problem.layout, Settings(sampler, **settings), (Target(theta, threshold=null), Target(theta)), Interval()
        )
        keys = jax.vmap(lambda r: jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), r))(
            jnp.arange(len(y), dtype=jnp.uint32)
        )
        rows = (keys, jnp.asarray(y, float), jnp.asarray(n, float))

        def one(row: tuple[Any, Any, Any], data: Any) -> Any:
            table = eqx.tree_at(lambda d: (d.y, d.size), data, (row[1], row[2]))
            return fit(row[0], table, jnp.full(2 * problem.layout.levels[0].size, jnp.nan)).estimate

        found = map_replicates(one, rows, as_jax(problem.data), 32, cores(), True)
    place = problem.positions[group]
    size = problem.layout.levels[0].size
    return Posterior(found[:, :size][:, place], found[:, size:][:, place])
