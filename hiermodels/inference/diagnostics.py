"""Convergence diagnostics that run inside compiled studies.

Every function takes draws of shape ``(chain, draw, *dims)`` and returns an array of shape ``(*dims,)``; all
may be jitted, vmapped and mapped, and agree with `arviz_stats` to rounding. `convergence` computes
R-hat and both effective sample sizes together: it sorts twice a scalar (draws, folded draws), where the three
functions on their own would sort five times. Anything that is not finite gives NaN, never an exception.

Sources: Vehtari, Gelman, Simpson, Carpenter and Bürkner (2021), Bayesian Analysis 16(2), 667-718 (V21 below),
doi 10.1214/20-BA1221; Geyer (1992), Statistical Science 7(4), 473-483, doi 10.1214/ss/1177011137.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import jax.numpy as jnp
from jax import lax

from hiermodels.inference.order_statistics import (
    in_order,
    interpolated,
    marked,
    normal_scores,
    rows_of,
    scores_in_order,
)

if TYPE_CHECKING:
    from jax import Array

__all__ = [
    "convergence",
    "ess_bulk",
    "ess_mean",
    "ess_quantile",
    "ess_tail",
    "mcse_mean",
    "rhat",
]


def convergence(x: Array, prob: tuple[float, float] = (0.05, 0.95)) -> tuple[Array, Array, Array]:
    """Give R-hat, bulk ESS and tail ESS of the same draws, sharing their ranks.

    Parameters
    ----------
    x : Array, shape (chain, draw, *dims)
        Draws.
    prob : tuple of float
        The two tail probabilities of the tail ESS.

    Returns
    -------
    tuple of Array, each of shape (*dims,)
        What `rhat`, `ess_bulk` and `ess_tail` give.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> x = jax.random.normal(jax.random.key(1), (4, 500, 3))
    >>> [a.shape for a in convergence(x)]
    [(3,), (3,), (3,)]
    """
    rows, dims, shape = rows_of(x)
    z_scores, median = _bulk_scores(rows, shape)
    folded = normal_scores(jnp.abs(_halves(rows, shape) - median[:, None, None]))
    tail = _ess_tail(rows, shape, prob)
    out = _rhat(z_scores, folded, shape), _ess(z_scores), tail
    rhat_, bulk, tail_ = (marked(value, rows).reshape(dims) for value in out)
    return rhat_, bulk, tail_


def rhat(x: Array) -> Array:
    r"""Give the rank-normalised split R-hat.

    Each chain is cut into halves of ``n`` draws. On normal scores ``z`` of the pooled ranks,

    .. math:: \hat R = \sqrt{(B/W + n - 1)/n},

    with ``B`` the between- and ``W`` the within-halves variance; the larger value of that for the draws
    (bulk) and for their distances from the median (folded) is returned (V21, equations 3, 4 and 14).

    Parameters
    ----------
    x : Array, shape (chain, draw, *dims)
        Draws; at least two chains of four.

    Returns
    -------
    Array, shape (*dims,)
        1 for chains that agree; NaN where draws are constant or not finite, or there are too few of them.

    Examples
    --------
    >>> import jax
    >>> x = jax.random.normal(jax.random.key(1), (4, 500))
    >>> bool(rhat(x) < 1.01)
    True
    """
    return convergence(x)[0]


def ess_bulk(x: Array) -> Array:
    r"""Give the bulk effective sample size: that of the mean of the rank-normalised split draws.

    .. math:: \mathrm{ESS} = M n / \hat\tau,\quad \hat\tau = -1 + 2\sum_t \hat\rho_t,

    summed over Geyer's initial monotone sequence of the ``M`` half chains of ``n`` draws (V21, equations 10
    to 14).

    Parameters
    ----------
    x : Array, shape (chain, draw, *dims)
        Draws.

    Returns
    -------
    Array, shape (*dims,)
        Effective number of draws; the number of draws itself where they are constant.

    Examples
    --------
    >>> import jax
    >>> x = jax.random.normal(jax.random.key(1), (4, 500))
    >>> bool(ess_bulk(x) > 1500)
    True
    """
    rows, dims, shape = rows_of(x)
    return marked(_ess(_bulk_scores(rows, shape)[0]), rows).reshape(dims)


def ess_tail(x: Array, prob: tuple[float, float] = (0.05, 0.95)) -> Array:
    """Give the tail effective sample size: the smaller of `ess_quantile` at the two probabilities.

    Parameters
    ----------
    x : Array, shape (chain, draw, *dims)
        Draws.
    prob : tuple of float
        Tail probabilities (V21, section 4.3, takes 5% and 95%).

    Returns
    -------
    Array, shape (*dims,)
        Effective number of draws.

    Examples
    --------
    >>> import jax
    >>> x = jax.random.normal(jax.random.key(1), (4, 500))
    >>> bool(ess_tail(x) > 1000)
    True
    """
    rows, dims, shape = rows_of(x)
    return marked(_ess_tail(rows, shape, prob), rows).reshape(dims)


def ess_quantile(x: Array, prob: float) -> Array:
    r"""Give the effective sample size of a quantile: that of the mean of ``x <= quantile(x, prob)``.

    Parameters
    ----------
    x : Array, shape (chain, draw, *dims)
        Draws.
    prob : float
        Probability of the quantile.

    Returns
    -------
    Array, shape (*dims,)
        Effective number of draws (V21, section 4.3).

    Examples
    --------
    >>> import jax
    >>> x = jax.random.normal(jax.random.key(1), (4, 500))
    >>> bool(ess_quantile(x, 0.9) > 1000)
    True
    """
    rows, dims, shape = rows_of(x)
    return marked(_ess_below(rows, shape, prob), rows).reshape(dims)


def ess_mean(x: Array) -> Array:
    """Give the effective sample size of the mean of the draws as they are (no ranks).

    Parameters
    ----------
    x : Array, shape (chain, draw, *dims)
        Draws.

    Returns
    -------
    Array, shape (*dims,)
        Effective number of draws.

    Examples
    --------
    >>> import jax
    >>> x = jax.random.normal(jax.random.key(1), (4, 500))
    >>> bool(ess_mean(x) > 1500)
    True
    """
    rows, dims, shape = rows_of(x)
    return marked(_ess(_halves(rows, shape)), rows).reshape(dims)


def mcse_mean(x: Array) -> Array:
    r"""Give the Monte Carlo standard error of the mean, :math:`\mathrm{sd}(x)/\sqrt{\mathrm{ESS}_{mean}}`.

    Parameters
    ----------
    x : Array, shape (chain, draw, *dims)
        Draws.

    Returns
    -------
    Array, shape (*dims,)
        Standard error, in the units of ``x``.

    Examples
    --------
    >>> import jax
    >>> x = jax.random.normal(jax.random.key(1), (4, 500))
    >>> bool(mcse_mean(x) < 0.03)
    True
    """
    return jnp.std(x, axis=(0, 1), ddof=1) / jnp.sqrt(ess_mean(x))


# ------------------------------------------------------------------------- half chains


def _halves(rows: Array, shape: tuple[int, int]) -> Array:
    """Cut chains in two, the middle draw of an odd number left out: (row, 2 * chain, draw // 2)."""
    chains, draws = shape
    x = rows.reshape(rows.shape[0], chains, draws)
    half = draws // 2
    return jnp.concatenate([x[..., :half], x[..., draws - half :]], axis=1)


def _bulk_scores(rows: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Normal scores of the half chains, and their median."""
    halves = _halves(rows, shape)
    if shape[1] % 2:
        return normal_scores(halves), jnp.median(halves, axis=(1, 2))
    ordered, order = in_order(rows)  # the same sort as the quantiles': compiled once
    middle = rows.shape[1] // 2
    return _halves(scores_in_order(ordered, order), shape), (ordered[:, middle - 1] + ordered[:, middle]) / 2


# -------------------------------------------------------------------- R-hat, effective sizes


def _rhat(z_scores: Array, folded: Array, shape: tuple[int, int]) -> Array:
    if shape[0] < 2 or shape[1] < 4:
        return jnp.full(z_scores.shape[:1], jnp.nan, z_scores.dtype)
    bulk, tail = _plain_rhat(z_scores), _plain_rhat(folded)
    return jnp.where(tail > bulk, tail, bulk)


def _plain_rhat(x: Array) -> Array:
    n = x.shape[-1]
    between = n * x.mean(axis=-1).var(axis=-1, ddof=1)
    within = x.var(axis=-1, ddof=1).mean(axis=-1)
    constant = x.max(axis=(-2, -1)) == x.min(axis=(-2, -1))
    return jnp.where(constant, jnp.nan, jnp.sqrt((between / within + n - 1) / n))


def _ess_tail(rows: Array, shape: tuple[int, int], prob: tuple[float, float]) -> Array:
    return jnp.minimum(_ess_below(rows, shape, prob[0]), _ess_below(rows, shape, prob[1]))


def _ess_below(rows: Array, shape: tuple[int, int], prob: float) -> Array:
    cut = interpolated(in_order(rows)[0], jnp.asarray([prob]))
    return _ess(_halves((rows <= cut).astype(rows.dtype), shape))


def _ess(x: Array) -> Array:
    """Effective sample size of the mean of ``x``, (row, chain, draw) -> (row,), Geyer's monotone sequence."""
    chains, n = x.shape[-2:]
    size = chains * n
    if n < 2:
        return jnp.full(x.shape[:1], jnp.nan, x.dtype)
    rho = _autocorrelation(x)
    even = jnp.concatenate([jnp.ones_like(rho[:, :1]), rho[:, 2 : n - 1 : 2]], axis=1)
    pairs = even[:, : 1 + max(n - 3, 0) // 2] + rho[:, 1 : max(n - 1, 2) : 2]
    even = even[:, : pairs.shape[1]]
    places = jnp.arange(pairs.shape[1])
    # the first pair that is not positive, or the last there is, ends the sum: only its even lag counts, once
    stop = (pairs <= 0).at[:, -1].set(True)
    end = jnp.argmax(stop, axis=1)
    monotone = lax.cummin(pairs, axis=1)
    total = jnp.sum(jnp.where(places < end[:, None], monotone, 0.0), axis=1)
    last, last_pair = (jnp.take_along_axis(a, end[:, None], axis=1)[:, 0] for a in (even, pairs))
    tau = -1.0 + 2.0 * total + jnp.where((last > 0) | (last_pair >= 0), last, 0.0)
    ess = size / jnp.maximum(tau, 1 / math.log10(size))
    spread = x.max(axis=(-2, -1)) - x.min(axis=(-2, -1))
    return jnp.where(spread < 1e-15, jnp.asarray(size, x.dtype), ess)


def _autocorrelation(x: Array) -> Array:
    """Autocorrelations of all chains together at lags 0 to draw - 1 (V21, equation 10): (row, draw)."""
    chains, n = x.shape[-2:]
    means = x.mean(axis=-1)
    spectrum = jnp.fft.rfft(x - means[..., None], _smooth(2 * n - 1), axis=-1)
    power = (spectrum.real**2 + spectrum.imag**2).mean(axis=-2)
    covariance = jnp.fft.irfft(power, _smooth(2 * n - 1), axis=-1)[..., :n] / n
    within = covariance[:, :1] * (n / (n - 1.0))
    total = covariance[:, :1] + (means.var(axis=-1, ddof=1)[:, None] if chains > 1 else 0.0)
    return 1.0 - (within - covariance) / total


def _smooth(n: int) -> int:
    """The next even length with no prime factor above 5: Fourier transforms of it are fast."""
    while True:
        rest = n
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1 and n % 2 == 0:
            return n
        n += 1
