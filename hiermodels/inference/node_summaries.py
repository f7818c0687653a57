"""Summaries of every variable from weighted nodes of the hyperparameters: mixtures, no draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from hiermodels.inference.mixtures import NormalMixture, Summary, Table, density_table, hdi, point_table, table
from hiermodels.inference.nodes import ACCURACIES, PLANES, Nodes, block_size, smoothing
from hiermodels.models import hyper
from hiermodels.models.component import Component
from hiermodels.models.factorise import Factorised
from hiermodels.models.spec import Parameter
from hiermodels.models.units import shown_factor, stands_of

__all__ = ["summarise_nodes"]


def summarise_nodes(
    factorised: Factorised,
    nodes: Nodes,
    stats: Any,
    wanted: Sequence[str],
    *,
    interval: float = 0.95,
    kind: str = "equal_tailed",
    thresholds: Mapping[str, Sequence[Array]] | None = None,
) -> dict[str, Summary]:
    """Posterior summaries of variables, ``mean(<variable>)`` and ``new(<level>)``: mixtures over the nodes.

    Parameters
    ----------
    factorised : Factorised
    nodes : Nodes
    stats
        Of the same dataset.
    wanted : sequence of str
        Names from ``factorised.available()``.
    interval : float
        Probability of the interval.
    kind : str
        ``equal_tailed``, ``hdi`` (shortest, of a unimodal law) or ``upper`` (from minus infinity).
    thresholds : mapping of str to sequence of Array
        Variable to values at which its distribution function is asked; each broadcasts to the variable's shape.

    Returns
    -------
    dict of str to Summary
        Group axes padded. Where a moment does not exist the number given is the lattice's and means nothing.

    Raises
    ------
    ValueError
        For an unknown kind of interval or an interval outside (0, 1).
    """
    if kind not in ("equal_tailed", "hdi", "upper"):
        raise ValueError(f"interval: expected equal_tailed, hdi or upper, found {kind!r}; use one of them")
    if not 0 < interval < 1:
        raise ValueError(f"interval: expected a probability between 0 and 1, found {interval!r}; e.g. 0.95")
    thresholds = thresholds or {}
    wanted = tuple(dict.fromkeys(wanted))
    best = nodes.u[jnp.argmax(nodes.log_weight)]
    one = factorised.components(best, stats, wanted)
    held = _Held(factorised, nodes, stats, one)
    found: dict[str, Summary] = {}
    for kind_of_law in ("normal", "beta", "gamma"):
        names = [n for n in wanted if one[n].kind == kind_of_law]
        if names:
            found |= _summarise_laws(kind_of_law, names, held, interval, kind, thresholds)
    for name in wanted:
        if one[name].kind == "point":
            found[name] = _summarise_point(name, held, interval, kind, thresholds.get(name, ()))
    return {name: found[name] for name in wanted}


class _Held:
    """Components at the nodes: all at once, or in blocks where that would be too much."""

    def __init__(self, factorised: Factorised, nodes: Nodes, stats: Any, one: dict[str, Component]) -> None:
        self.factorised, self.nodes, self.stats, self.one = factorised, nodes, stats, one
        self.weight = jnp.exp(nodes.log_weight)
        count, self.block = nodes.u.shape[0], block_size(factorised)
        self.whole = self._components(nodes.u, tuple(one)) if count <= self.block else None

    def _components(self, u: Array, names: tuple[str, ...]) -> dict[str, Component]:
        return jax.vmap(lambda here: self.factorised.components(here, self.stats, names))(u)

    def values(self, name: str) -> Array:
        """A point's value at every node, shape (node, *shape)."""
        if self.whole is not None:
            return self.whole[name].a
        u = self.nodes.u
        return jax.lax.map(lambda here: self.factorised.components(here, self.stats, (name,))[name].a, u, batch_size=self.block)

    def sweep(self, names: list[str]) -> Callable[[Callable[..., tuple[Array, ...]]], tuple[Array, ...]]:
        """Adds ``f(weight, a, b)`` over nodes; a and b hold the groups of all names side by side."""
        if self.whole is not None:
            a, b = _beside(self.whole, names)
            return lambda f: f(self.weight, a, b)
        count, block = self.nodes.u.shape[0], self.block
        blocks = -(-count // block)
        u = jnp.concatenate([self.nodes.u, jnp.repeat(self.nodes.u[:1], blocks * block - count, 0)])
        weight = jnp.concatenate([self.weight, jnp.zeros(blocks * block - count, self.weight.dtype)])
        parts = (u.reshape(blocks, block, -1), weight.reshape(blocks, block))

        def swept(f: Callable[..., tuple[Array, ...]]) -> tuple[Array, ...]:
            def add(total: tuple[Array, ...], part: tuple[Array, Array]) -> tuple[tuple[Array, ...], None]:
                a, b = _beside(self._components(part[0], tuple(names)), names)
                return jax.tree.map(jnp.add, total, f(part[1], a, b)), None

            shapes = jax.eval_shape(lambda: f(parts[1][0], *_beside(self._components(parts[0][0], tuple(names)), names)))
            zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
            return jax.lax.scan(add, zero, parts)[0]

        return swept


def _beside(components: dict[str, Component], names: list[str]) -> tuple[Array, Array]:
    """Components of several variables side by side, (node, group) each."""

    def flat(x: Array) -> Array:
        return x.reshape(x.shape[0], -1)

    a = [flat(components[n].a) for n in names]
    b = [flat(jnp.broadcast_to(components[n].b, components[n].a.shape)) for n in names]
    return jnp.concatenate(a, 1), jnp.concatenate(b, 1)


def _summarise_laws(
    kind_of_law: str,
    names: list[str],
    held: _Held,
    interval: float,
    kind: str,
    thresholds: Mapping[str, Sequence[Array]],
) -> dict[str, Summary]:
    accuracy = ACCURACIES[held.nodes.accuracy]
    sweep, shapes = held.sweep(names), [held.one[n].a.shape for n in names]
    sizes = [math.prod(s) for s in shapes]
    law: NormalMixture | Table
    if kind_of_law == "normal":
        centre = jnp.concatenate([jnp.ravel(held.one[n].a) for n in names])
        spread = jnp.concatenate([jnp.ravel(jnp.broadcast_to(held.one[n].b, held.one[n].a.shape)) for n in names])
        law = NormalMixture.build(sweep, centre, spread, accuracy.tolerance, accuracy.precision)
        mean, sd = law.mean, law.sd
    else:
        law, mean, sd = table(kind_of_law, sweep, accuracy.table_points, accuracy.table_reach, accuracy.precision)
    median, lower, upper = _interval(law, sum(sizes), interval, kind)
    most = max([len(thresholds.get(n, ())) for n in names])
    below = None
    if most:
        rows = [_asked(thresholds.get(n, ()), s, most) for n, s in zip(names, shapes, strict=True)]
        below = law.cdf(jnp.concatenate(rows, 1).astype(mean.dtype))
    found, start = {}, 0
    for name, shape, size in zip(names, shapes, sizes, strict=True):
        part = slice(start, start + size)
        a, b, c, d, e = (x[part].reshape(shape) for x in (mean, median, sd, lower, upper))
        count = len(thresholds.get(name, ()))
        chances = () if below is None else tuple(below[k, part].reshape(shape) for k in range(count))
        found[name] = Summary(a, b, c, d, e, chances)
        start += size
    return found


def _asked(thresholds: Sequence[Array], shape: tuple[int, ...], most: int) -> Array:
    """Thresholds of one variable as rows (most, group); NaN where it has fewer."""
    rows = [jnp.ravel(jnp.broadcast_to(jnp.asarray(t, float), shape)) for t in thresholds]
    return jnp.stack([*rows, *[jnp.full(math.prod(shape), jnp.nan)] * (most - len(rows))])


def _interval(law: NormalMixture | Table, groups: int, interval: float, kind: str) -> tuple[Array, Array, Array]:
    """Median and the ends of the interval, each (group,)."""
    tail = (1 - interval) / 2
    asked = {"equal_tailed": [0.5, tail, 1 - tail], "upper": [0.5, interval], "hdi": [0.5]}[kind]
    found = law.quantile(jnp.broadcast_to(jnp.array(asked)[:, None], (len(asked), groups)))
    if kind == "equal_tailed":
        return found[0], found[1], found[2]
    if kind == "upper":
        return found[0], jnp.full_like(found[0], -jnp.inf), found[1]
    return found[0], *hdi(law, interval, groups)


def _summarise_point(name: str, held: _Held, interval: float, kind: str, thresholds: Sequence[Array]) -> Summary:
    """Summary of something that the hyperparameters fix."""
    values = held.values(name)
    shape = values.shape[1:]
    flat = values.reshape(values.shape[0], -1)
    centre = flat[jnp.argmax(held.weight)]
    mean, sd = _moments(held.weight, flat)
    place = _coordinate(held.factorised, name)
    if place is not None and held.nodes.coordinates is not None:
        layout = held.factorised.layout
        law = _coordinate_table(held.nodes, *place, shown_factor(layout, held.stats, place[1]), stands_of(layout, held.stats))
        if held.nodes.marginals is not None:
            planes = held.nodes.marginals[place[0]]
            at = law.start + law.step * jnp.arange(PLANES)[:, None]
            mean, sd = _moments(planes / jnp.sum(planes), jnp.where(planes[:, None] > 0, law.value(at), centre))
    elif held.factorised.dim == 0 or _fixed(held.factorised, name):
        known = centre + 0 * mean
        passed = tuple(jnp.where(jnp.isnan(t), jnp.nan, (t >= known.reshape(shape)) * 1.0) for t in thresholds)
        ends = [known.reshape(shape)] * 2
        if kind == "upper":
            ends[0] = jnp.full_like(ends[0], -jnp.inf)
        return Summary(known.reshape(shape), known.reshape(shape), jnp.zeros_like(ends[1]), ends[0], ends[1], passed)
    else:
        law = _value_table(held.nodes, held.weight, flat, mean, sd)
    median, lower, upper = _interval(law, flat.shape[1], interval, kind)
    chances: tuple[Array, ...] = ()
    if thresholds:
        asked = _asked(thresholds, shape, len(thresholds)).astype(mean.dtype)
        chances = tuple(x.reshape(shape) for x in law.cdf(asked))
    a, b, c, d, e = (x.reshape(shape) for x in (mean, median, sd, lower, upper))
    return Summary(a, b, c, d, e, chances)


def _moments(weight: Array, x: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of weighted values, (node, group) -> (group,)."""
    centre = x[jnp.argmax(weight)]
    shift = weight @ (x - centre)
    return centre + shift, jnp.sqrt(jnp.maximum(weight @ (x - centre) ** 2 - shift**2, 0.0))


def _coordinate(factorised: Factorised, name: str) -> tuple[int, Parameter] | None:
    """Place in u of a parameter that is one of its coordinates, up to a factor."""
    start = 0
    for p in factorised.parameters:
        count = hyper.width(p)
        if p.name == name and count == 1 and p.kind != "correlation" and not factorised.layout.moved(p):
            return start, p
        start += count
    return None


def _fixed(factorised: Factorised, name: str) -> bool:
    return any(p.name == name and hyper.width(p) == 0 for p in factorised.layout.parameters)


def _coordinate_table(nodes: Nodes, i: int, p: Parameter, factor: Array | float, stands: Mapping[str, Array] | None) -> Table:
    """Law of one coordinate of phi, on the lattice's own scale of it."""
    assert nodes.coordinates is not None
    here = nodes.coordinates.at(i)
    accuracy = ACCURACIES[nodes.accuracy]
    grid, width = smoothing(nodes)
    reach = jnp.sqrt(jnp.sum(nodes.scale[i] ** 2))
    low, high = p.prior.support(p.kind)

    def natural(v: Array) -> Array:
        return hyper.constrain((p,), here.u(v)[None], stands)[p.name] * factor

    def position(x: Array) -> Array:
        inside = jnp.where(x > low, x, 0.5 * (low + min(high, low + 2.0)) if math.isfinite(low) else x)
        inside = jnp.where(inside < high, inside, low + 0.5 * (high - low) if math.isfinite(high) else inside)
        u = hyper.unconstrain((p,), {p.name: inside / factor}, stands)[0]
        return jnp.where(x <= low, -jnp.inf, jnp.where(x >= high, jnp.inf, here.v(u)))

    def log_jacobian(v: Array) -> Array:
        return jnp.log(jax.jvp(natural, (v,), (jnp.ones_like(v),))[1])

    centre, ends = nodes.centre[i][None], (reach * grid.radius)[None]
    maps = (natural, position, log_jacobian)
    if nodes.marginals is not None:
        return density_table(centre - ends, 2 * ends / (PLANES - 1), nodes.marginals[i][:, None], *maps)
    return point_table(
        jnp.exp(nodes.log_weight),
        nodes.v[:, i : i + 1],
        (reach * width)[None],
        centre - ends,
        centre + ends,
        accuracy.points,
        accuracy.precision,
        *maps,
    )


def _value_table(nodes: Nodes, weight: Array, at: Array, mean: Array, sd: Array) -> Table:
    """Law of a function of phi that is no coordinate, on its own scale."""
    grid, width = smoothing(nodes)
    known = jnp.maximum(sd, 1e-12 * (1e-10 + jnp.abs(mean)))
    bulk = grid.radius * known

    def same(x: Array) -> Array:
        return x

    points = 2 * ACCURACIES[nodes.accuracy].points
    return point_table(
        weight, at, width * known, mean - bulk, mean + bulk, points, "float64", same, same, jnp.zeros_like
    )
