"""Summaries of every variable from weighted nodes of the hyperparameters: mixtures, no draws."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hiermodels.families.component import Component
from hiermodels.inference.bent_mixtures import BentMixture
from hiermodels.inference.count_laws import Sweep, count_law
from hiermodels.inference.law_tables import Table, density_table, halves_error, point_table
from hiermodels.inference.mixtures import NormalMixture, Summary, hdi
from hiermodels.inference.nodes import ACCURACIES, Accuracy, Nodes, block_size, halves, smoothing
from hiermodels.models import hyper
from hiermodels.models.factorise import Factorised
from hiermodels.models.layout import Parameter
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
    asked = _Asked(ACCURACIES[nodes.accuracy], interval, kind, factorised.dim)
    found: dict[str, Summary] = {}
    for kind, mixture in _MIXTURES.items():
        names = [n for n in wanted if one[n].kind == kind]
        found |= _mixed_laws(mixture, names, held, asked, thresholds) if names else {}
    for name in wanted:
        values = thresholds.get(name, ())
        if one[name].kind == "point":
            found[name] = _summarise_point(name, held, asked, values)
        elif one[name].kind not in _MIXTURES:
            found[name] = _count_law(name, held, asked, values)
    return {name: found[name] for name in wanted}


class _Asked(NamedTuple):
    """What is asked of every law."""

    accuracy: Accuracy
    interval: float
    kind: str
    dim: int

    def _whole(self, error: Array) -> Array:
        """Halves on a line are twice as coarse as the whole, whose error is then the fourth power of their
        difference.
        """
        return 2 * error**2 if self.dim == 1 else error

    def of(
        self, law: NormalMixture | Table, mean: Array, sd: Array, off: Array, thresholds: Array | None
    ) -> list[Array]:
        """Mean, median, sd, lower, upper, both errors (group,) and probabilities (k, group)."""
        middle, lower, upper, wrong = _interval(law, mean.shape[0], self.interval, self.kind)
        below = jnp.zeros((0, *mean.shape), mean.dtype)
        if thresholds is not None:
            below, more = law.cdf_error(thresholds.astype(mean.dtype))
            wrong = jnp.maximum(wrong, jnp.max(jnp.where(jnp.isnan(more), 0.0, more), 0))
        wrong, off = jnp.maximum(self._whole(wrong), law.unseen()), self._whole(off)
        return [mean, middle, sd, lower, upper, wrong / self.accuracy.probability, off / self.accuracy.allowed, below]


class _Held:
    """Components at the nodes: all at once, or in blocks where that would be too much."""

    def __init__(self, factorised: Factorised, nodes: Nodes, stats: Any, one: dict[str, Component]) -> None:
        self.factorised, self.nodes, self.stats, self.one = factorised, nodes, stats, one
        self.weight = halves(nodes)
        count, self.block = nodes.u.shape[0], block_size(factorised)
        self.whole = self._components(nodes.u, tuple(one)) if count <= self.block else None

    def _components(self, u: Array, names: tuple[str, ...]) -> dict[str, Component]:
        return jax.vmap(lambda here: self.factorised.components(here, self.stats, names))(u)

    def values(self, name: str) -> Array:
        """A point's value at every node, shape (node, *shape)."""
        if self.whole is not None:
            return self.whole[name].a
        u = self.nodes.u
        return jax.lax.map(
            lambda here: self.factorised.components(here, self.stats, (name,))[name].a, u, batch_size=self.block
        )

    def sweep(self, names: list[str]) -> Sweep:
        """Adds ``f(weight, law)`` over nodes; the law holds the groups of all names side by side."""
        if self.whole is not None:
            law = _beside(self.whole, names)
            return lambda f: f(self.weight, law)
        count, block = self.nodes.u.shape[0], self.block
        blocks = -(-count // block)
        u = jnp.concatenate([self.nodes.u, jnp.repeat(self.nodes.u[:1], blocks * block - count, 0)])
        weight = jnp.concatenate([self.weight, jnp.zeros((2, blocks * block - count), self.weight.dtype)], 1)
        parts = (u.reshape(blocks, block, -1), jnp.moveaxis(weight.reshape(2, blocks, block), 1, 0))

        def swept(f: Any) -> tuple[Array, ...]:
            def add(total: tuple[Array, ...], part: tuple[Array, Array]) -> tuple[tuple[Array, ...], None]:
                return jax.tree.map(
                    jnp.add, total, f(part[1], _beside(self._components(part[0], tuple(names)), names))
                ), None

            shapes = jax.eval_shape(lambda: f(parts[1][0], _beside(self._components(parts[0][0], tuple(names)), names)))
            zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
            return jax.lax.scan(add, zero, parts)[0]

        return swept


def _beside(components: dict[str, Component], names: list[str]) -> Component:
    """Components of several variables side by side, (node, group)."""

    def flat(x: Array) -> Array:
        return x.reshape(x.shape[0], -1)

    first = components[names[0]]
    a = [flat(components[n].a) for n in names]
    b = [flat(jnp.broadcast_to(components[n].b, components[n].a.shape)) for n in names]
    bent = [more for n in names if (more := components[n].more) is not None]
    more = jnp.concatenate(bent, -1) if bent else None
    return Component(
        first.kind, jnp.concatenate(a, 1), jnp.concatenate(b, 1), first.base if len(names) == 1 else None, more
    )


_MIXTURES: dict[str, type[NormalMixture]] = {"normal": NormalMixture, "bent": BentMixture}
"""Kinds of law whose mixtures are searched for their quantiles."""


def _mixed_laws(
    mixture: type[NormalMixture],
    names: list[str],
    held: _Held,
    asked: _Asked,
    thresholds: Mapping[str, Sequence[Array]],
) -> dict[str, Summary]:
    """Mixtures of laws of a kind, all variables side by side; each entry is a search of its own."""
    shapes = [held.one[n].a.shape for n in names]
    centre = jnp.concatenate([jnp.ravel(held.one[n].a) for n in names])
    spread = jnp.concatenate([jnp.ravel(jnp.broadcast_to(held.one[n].b, held.one[n].a.shape)) for n in names])
    law = mixture.build(held.sweep(names), centre, spread, asked.accuracy.tolerance, asked.accuracy.precision)
    most = max([len(thresholds.get(n, ())) for n in names])
    rows = [_rows(thresholds.get(n, ()), s, most) for n, s in zip(names, shapes, strict=True)] if most else None
    columns = asked.of(law, law.mean, law.sd, law.error, None if rows is None else jnp.concatenate(rows, 1))
    found, start = {}, 0
    for name, shape in zip(names, shapes, strict=True):
        part = slice(start, start + math.prod(shape))
        found[name] = _summary([x[..., part] for x in columns], shape, len(thresholds.get(name, ())))
        start += math.prod(shape)
    return found


def _count_law(name: str, held: _Held, asked: _Asked, thresholds: Sequence[Array]) -> Summary:
    """A mixture of beta or gamma laws."""
    one, accuracy = held.one[name], asked.accuracy
    groups, points, likelihood = math.prod(one.a.shape), accuracy.table_points, None
    if one.base is not None:
        more_a, more_b = (
            jnp.ravel(jnp.maximum(x - base, 0.0)) for x, base in zip((one.a, one.b), one.base, strict=True)
        )
        likelihood = more_a, more_b
        points = accuracy.shared_points(held.factorised.layout.count_bound)
    numbers = (points, accuracy.table_reach, accuracy.least, accuracy.precision)
    law, mean, sd, off = count_law(one.kind, held.sweep([name]), groups, *numbers, likelihood)
    rows = _rows(thresholds, one.a.shape, len(thresholds)) if thresholds else None
    return _summary(asked.of(law, mean, sd, off, rows), one.a.shape, len(thresholds))


def _summary(columns: Sequence[Array], shape: tuple[int, ...], count: int) -> Summary:
    mean, median, sd, lower, upper, error, off = (x.reshape(shape) for x in columns[:-1])
    return Summary(
        mean, median, sd, lower, upper, tuple(columns[-1][k].reshape(shape) for k in range(count)), error, off
    )


def _rows(thresholds: Sequence[Array], shape: tuple[int, ...], most: int) -> Array:
    """Thresholds of one variable as rows (most, group); NaN where it has fewer."""
    rows = [jnp.ravel(jnp.broadcast_to(jnp.asarray(t, float), shape)) for t in thresholds]
    return jnp.stack([*rows, *[jnp.full(math.prod(shape), jnp.nan)] * (most - len(rows))])


def _interval(law: NormalMixture | Table, groups: int, interval: float, kind: str) -> tuple[Array, ...]:
    """Median, the ends of the interval, and the worst error of F at these; each (group,)."""
    tail = (1 - interval) / 2
    asked = {"equal_tailed": [0.5, tail, 1 - tail], "upper": [0.5, interval], "hdi": [0.5]}[kind]
    found, wrong = law.quantile_error(jnp.broadcast_to(jnp.array(asked)[:, None], (len(asked), groups)))
    wrong = jnp.max(wrong, 0)
    if kind == "equal_tailed":
        return found[0], found[1], found[2], wrong
    if kind == "upper":
        return found[0], jnp.full_like(found[0], -jnp.inf), found[1], wrong
    ends = hdi(law, interval, groups)
    return found[0], *ends, jnp.maximum(wrong, jnp.max(law.cdf_error(jnp.stack(ends))[1], 0))


def _summarise_point(name: str, held: _Held, asked: _Asked, thresholds: Sequence[Array]) -> Summary:
    """Summary of something that the hyperparameters fix."""
    values = held.values(name)
    shape = values.shape[1:]
    flat = values.reshape(values.shape[0], -1)
    weight = jnp.sum(held.weight, 0)
    centre = flat[jnp.argmax(weight)]
    mean, sd = _moments(weight, flat)
    off = _moments_error(held.weight, flat - centre, sd)
    place = _coordinate(held.factorised, name)
    if place is not None and held.nodes.coordinates is not None:
        layout = held.factorised.layout
        law = _coordinate_table(
            held.nodes, held.weight, *place, shown_factor(layout, held.stats, place[1]), stands_of(layout, held.stats)
        )
        if held.nodes.marginals is not None:
            density = held.nodes.marginals[place[0]].density
            at = law.start + law.step * jnp.arange(len(density))[:, None]
            mean, sd = _moments(density / jnp.sum(density), jnp.where(density[:, None] > 0, law.value(at), centre))
            off = jnp.zeros_like(mean)
    elif held.factorised.dim == 0 or _fixed(held.factorised, name):
        known = centre + 0 * mean
        passed = tuple(jnp.where(jnp.isnan(t), jnp.nan, (t >= known.reshape(shape)) * 1.0) for t in thresholds)
        ends = [known.reshape(shape)] * 2
        zero = jnp.zeros_like(ends[1])
        if asked.kind == "upper":
            ends[0] = jnp.full_like(ends[0], -jnp.inf)
        return Summary(known.reshape(shape), known.reshape(shape), zero, ends[0], ends[1], passed, zero, zero)
    else:
        law = _value_table(held.nodes, held.weight, flat, mean, sd)
    rows = _rows(thresholds, shape, len(thresholds)) if thresholds else None
    return _summary(asked.of(law, mean, sd, off, rows), shape, len(thresholds))


def _moments_error(weight: Array, x: Array, sd: Array) -> Array:
    """Error of mean and sd in sds, from the two halves of the nodes; (half, node), (node, group) -> (group,)."""
    share = weight / jnp.maximum(jnp.sum(weight, 1, keepdims=True), 1e-300)
    scale = jnp.maximum(sd, 1e-300)
    about = (x - jnp.sum(weight, 0) @ x) / scale
    return halves_error(*(share @ about)) + 0.5 * halves_error(*(share @ about**2))


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


def _coordinate_table(
    nodes: Nodes, weight: Array, i: int, p: Parameter, factor: Array | float, stands: Mapping[str, Array] | None
) -> Table:
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

    maps = (natural, position, log_jacobian)
    if nodes.marginals is not None:
        found, none = nodes.marginals[i], jnp.zeros((1, 1))
        density = found.density[None, :, None]
        return density_table(found.start[None], found.step[None], density, none, none, *maps, unseen=found.error)
    centre, ends = nodes.centre[i][None], (reach * grid.radius)[None]
    return point_table(
        weight,
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
