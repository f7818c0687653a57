"""Gibbs sampler: groups given hyperparameters, hyperparameters given groups, in turn.

Normal hierarchies of any depth: all coefficients and group values in one exact draw down the tree, then every variance
by itself. With d_1 .. d_n the deviations of a level's n groups, a prior of the sd proportional to sd^-e exp(-scale /
sd^2) (``flat``, ``flat_variance``, ``power``, ``inverse_gamma_variance``) is conjugate,

    sd^2 | d ~ IG((n + e - 1) / 2, scale + sum d_i^2 / 2),

and sigma has the residuals in place of the deviations. Under any other prior, and for correlations, the coordinate is
moved by a slice step (`hiermodels.inference.slicing`).

Counts: probabilities or rates by their beta or gamma law, then the population's mean and concentration by slice steps
given them. In deeper trees the groups above the finest follow, all groups of a level side by side.

This is how the lectures sample, and slow where the data say little: with few groups a small sd keeps its groups
together, which keep it small. `nuts` on the hyperparameters alone does not wait for that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hiermodels import variates
from hiermodels.inference.slicing import slice_step
from hiermodels.models import hyper
from hiermodels.models.conjugate import Conjugate
from hiermodels.models.factorise import Factorised
from hiermodels.models.gaussian import Gaussian
from hiermodels.models.gaussian_stats import GaussianStats
from hiermodels.models.layout import Parameter
from hiermodels.models.units import inner_sd
from hiermodels.quantities import cor_name, sd_name

__all__ = ["gibbs"]

type Sweep = Callable[[Array, Array, Any, Array], Array]


def gibbs(factorised: Factorised, draws: int, tune: int) -> Callable[[Array, Array, Array, Any], Array]:
    """Chains of the hyperparameters of a factorised model by Gibbs sampling.

    Parameters
    ----------
    factorised : Factorised
        From `hiermodels.models.factorise.factorise`; its ``draw`` gives everything else beside each draw.
    draws, tune : int
        Sweeps kept, and sweeps before them.

    Returns
    -------
    callable
        ``run(key, start, width, stats) -> u`` with ``start`` of shape (chain, dim), ``width`` (dim,) a guess of the
        length of a slice, and u (chain, draw, dim), unconstrained.

    Examples
    --------
    >>> import hiermodels as hm
    >>> from hiermodels.models.data import as_jax, bind
    >>> from hiermodels.models.factorise import factorise
    >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "flat_variance()"})
    >>> problem = bind(model, hm.load_dataset("eight_schools"))
    >>> pair = factorise(problem.layout)
    >>> run = jax.jit(gibbs(pair, draws=50, tune=10))
    >>> run(jax.random.key(0), jnp.ones((4, 1)), jnp.ones(1), pair.prepare(as_jax(problem.data))).shape
    (4, 50, 1)
    """
    sweep = _normal_sweep(factorised) if isinstance(factorised, Gaussian) else _count_sweep(factorised)  # type: ignore[arg-type]

    def chain(key: Array, start: Array, width: Array, stats: Any) -> Array:
        def one(u: Array, here: Array) -> tuple[Array, Array]:
            u = sweep(here, u, stats, width)
            return u, u

        return jax.lax.scan(one, start, jax.random.split(key, tune + draws))[1][tune:]

    def run(key: Array, start: Array, width: Array, stats: Any) -> Array:
        return jax.vmap(chain, in_axes=(0, 0, None, None))(jax.random.split(key, start.shape[0]), start, width, stats)

    return run


def _move(key: Array, u: Array, at: list[int], target: Callable[[Array], Array], width: Array) -> Array:
    """Slice steps of these coordinates, one after another."""
    if not at:
        return u

    def one(u: Array, inputs: tuple[Array, Array]) -> tuple[Array, None]:
        i, here = inputs
        return u.at[i].set(slice_step(here, u[i], lambda x: target(u.at[i].set(x)), width[i])), None

    return jax.lax.scan(one, u, (jnp.array(at), jax.random.split(key, len(at))))[0]


# normal hierarchies
# -----------------------------------------------------------------------------------------------------


class _Sums(NamedTuple):
    """What hyperparameters need to know of a draw of all coefficients.

    Attributes
    ----------
    root : Array, shape (column,)
        Population coefficients on the centred scale.
    scatter : list of Array, each (column, column)
        Sum of d d' over the groups of a level, d their deviations from their parents.
    groups : list of Array
        Groups of a level.
    constant, linear, square : Array, shapes (), (column,), (column, column)
        Weighted residual sum of squares as a function of the root: constant - 2 b'linear + b'square b.
    """

    root: Array
    scatter: list[Array]
    groups: list[Array]
    constant: Array
    linear: Array
    square: Array

    def residual(self, root: Array) -> Array:
        """Weighted residual sum of squares at other population coefficients, deviations as they are."""
        value = self.constant - 2 * root @ self.linear + root @ self.square @ root
        return jnp.maximum(value, jnp.finfo(value.dtype).tiny)


def _normal_sweep(model: Gaussian) -> Sweep:
    places, start = {}, 0
    for p in model.parameters:
        places[p.name] = range(start, start + hyper.width(p))
        start += hyper.width(p)
    free = [p for p in model.parameters if hyper.width(p)]
    singles = {
        sd_name(level.name, model.layout.columns[level.effects[b[0]]])
        for level in model.layout.levels
        if level.pooling == "partial"
        for b in level.blocks
        if len(b) == 1
    }
    if not any(p.prior.unit == "residual sd" for p in free):  # sigma is then the scale of a prior too
        singles |= {p.name for p in free if p.role == "residual sd"}
    conjugate = [p for p in free if p.name in singles and p.kind == "positive" and _conjugate(p)]
    real = [i for p in free if p.kind == "real" for i in places[p.name]]
    rest = [i for p in free if p not in conjugate and p.kind != "real" for i in places[p.name]]

    def sweep(key: Array, u: Array, stats: GaussianStats, width: Array) -> Array:
        draw_key, real_key, variance_key, rest_key = jax.random.split(key, 4)
        sums = _sums(model, draw_key, u, stats)

        def target(u: Array) -> Array:
            return _complete(model, model.constrain(u, stats), sums, stats) + model.log_prior(u, stats)

        u = _move(real_key, u, real, target, width)
        if conjugate:
            at = jnp.array([places[p.name][0] for p in conjugate])
            u = u.at[at].set(_variances(model, conjugate, variance_key, model.constrain(u, stats), sums, stats))
        return _move(rest_key, u, rest, target, width)

    return sweep


def _conjugate(parameter: Parameter) -> bool:
    return parameter.prior.inverse_gamma() is not None and parameter.prior.support("positive") == (0.0, math.inf)


def _sums(model: Gaussian, key: Array, u: Array, stats: GaussianStats) -> _Sums:
    """Draw all coefficients given the hyperparameters and reduce them."""
    root, values, deviations = model.descend(key, model.constrain(u, stats), stats)
    masked = [jnp.where(real, d, 0.0) for d, real in zip(deviations, stats.real, strict=True)]
    scatter, groups = [d @ d.T for d in masked], [jnp.sum(real) for real in stats.real]
    whole = values[-1] if values else root[:, None]
    own = whole - root[:, None]  # deviations from the population, of the finest groups
    fitted = jnp.einsum("ijg,jg->ig", stats.cc, own)
    constant = stats.yy - 2 * jnp.sum(own * stats.cy) + jnp.sum(own * fitted)
    return _Sums(root, scatter, groups, constant, jnp.sum(stats.cy - fitted, -1), jnp.sum(stats.cc, -1))


def _root_at(model: Gaussian, phi: dict[str, Array], sums: _Sums, stats: GaussianStats) -> Array:
    """Population coefficients with the ones that are hyperparameters at their values in phi."""
    root = sums.root
    for c in model.layout.population:
        name = model.layout.columns[c]
        if name in phi:
            root = root.at[c].set(phi[name] - (stats.shift if name == "Intercept" else 0.0))
    return root


def _in_units_of_sigma(model: Gaussian, root: Array, stats: GaussianStats) -> tuple[int, Array]:
    """Number of coefficients with a ``scaled_normal`` prior, and the sum of their squared deviations in its units."""
    count, total = 0, jnp.zeros(())
    for c in model.layout.population:
        name = model.layout.columns[c]
        prior = model.layout.parameter(name).prior  # type: ignore[union-attr]
        if prior.unit is not None:
            by = 1.0 if stats.units is None else stats.units.inward[c, c]
            centre, ratio = prior.gaussian  # type: ignore[misc]
            mean = centre / by - (stats.shift if name == "Intercept" else 0.0)
            count, total = count + 1, total + ((root[c] - mean) * by / ratio) ** 2
    return count, total


def _of_sigma(model: Gaussian, root: Array, sums: _Sums, stats: GaussianStats) -> tuple[Array, Array]:
    """How many squared deviations have variance sigma^2, and their sum."""
    count, total = _in_units_of_sigma(model, root, stats)
    return stats.rows + count, sums.residual(root) + total


def _variances(
    model: Gaussian, conjugate: list[Parameter], key: Array, phi: dict[str, Array], sums: _Sums, stats: GaussianStats
) -> Array:
    """Log sds of all parameters with an inverse gamma conditional: they are independent given the groups."""
    shapes, scales = [], []
    places = {
        sd_name(level.name, model.layout.columns[e]): (i, e)
        for i, level in enumerate(model.layout.levels)
        for e in level.effects
    }
    for p in conjugate:
        power, scale = p.prior.inverse_gamma()  # type: ignore[misc]
        if p.role == "residual sd":
            count, total = _of_sigma(model, _root_at(model, phi, sums, stats), sums, stats)
        else:
            i, e = places[p.name]
            by = 1.0 if stats.units is None else stats.units.inward[e, e]
            count, total = sums.groups[i], sums.scatter[i][e, e] * by**2
        shapes.append((count + power - 1) / 2)
        scales.append(jnp.maximum(scale + total / 2, jnp.finfo(total.dtype).tiny))
    return 0.5 * (jnp.log(jnp.stack(scales)) - variates.log_gamma(key, jnp.stack(shapes)))


def _complete(model: Gaussian, phi: dict[str, Array], sums: _Sums, stats: GaussianStats) -> Array:
    """Log density of outcome and deviations given phi, up to a constant."""
    layout, total = model.layout, jnp.zeros(())
    for i, level in enumerate(layout.levels):
        for block in level.blocks if level.pooling == "partial" else ():
            at = jnp.array([level.effects[b] for b in block])
            columns = [model.layout.columns[level.effects[b]] for b in block]
            sds = jnp.stack([inner_sd(model.layout, stats.units, level.name, column, phi) for column in columns])
            scatter = sums.scatter[i][jnp.ix_(at, at)]
            if len(block) == 1:
                total += _normal_sums(sums.groups[i], sds[0], scatter[0, 0])
                continue
            factor = sds[:, None] * phi[cor_name(level.name)]
            half = jax.scipy.linalg.solve_triangular(factor, scatter, lower=True)
            whole = jax.scipy.linalg.solve_triangular(factor, half.T, lower=True)
            total += -sums.groups[i] * jnp.sum(jnp.log(jnp.diagonal(factor))) - 0.5 * jnp.trace(whole)
    root = _root_at(model, phi, sums, stats)
    if not layout.known:
        count, squares = _of_sigma(model, root, sums, stats)
        return total + _normal_sums(count, phi["sigma"], squares)
    return total - 0.5 * sums.residual(root)


def _normal_sums(count: Array, sd: Array, squares: Array) -> Array:
    """Log density of ``count`` deviations with this sum of squares; an sd fixed at zero adds nothing."""
    safe = jnp.where(sd > 0, sd, 1.0)
    return jnp.where(sd > 0, -count * jnp.log(safe) - 0.5 * squares / safe**2, 0.0)


# counts
# -----------------------------------------------------------------------------------------------------------------


def _count_sweep(model: Conjugate) -> Sweep:
    kept = list(range(hyper.dimension(model.parameters)))

    def sweep(key: Array, u: Array, stats: Any, width: Array) -> Array:
        draw_key, move_key, *keys = jax.random.split(key, 2 + len(model.blocks))
        if not model.has_population:  # one rate for all: nothing to draw in between
            return _move(move_key, u, kept, lambda u: model.log_density(u, stats), width)
        logs = model.draw_logs(draw_key, u, stats)

        def target(u: Array) -> Array:
            return jnp.sum(model.log_population(u, logs, stats)) + model.log_prior(u, stats)

        u = _move(move_key, u, kept, target, width)
        for here, (level, start, stop) in zip(keys, model.blocks, strict=True):
            u = u.at[start:stop].set(_side_by_side(model, here, u, (level, start, stop), logs, stats, width))
        return u

    return sweep


def _side_by_side(
    model: Conjugate,
    key: Array,
    u: Array,
    block: tuple[int, int, int],
    logs: tuple[Array, Array],
    stats: Any,
    width: Array,
) -> Array:
    """Slice steps of the standardised values of all groups of a level, each given what lies below it."""
    level, start, stop = block

    def each(z: Array) -> Array:
        units = model.log_population(u.at[start:stop].set(z), logs, stats)
        return model.sum_up(units, level, stats) - 0.5 * z**2

    return slice_step(key, u[start:stop], each, width[start:stop])
