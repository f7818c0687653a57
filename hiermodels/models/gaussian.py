"""Normal hierarchies factorised: Gaussian messages up the tree of groups, draws and moments back down.

A group's coefficient vector is its parent's plus its own deviation, ``b_child = b_parent + sum_k r_k z_k`` with z_k ~
N(0, 1) and r_k the columns of the level's Cholesky factor of covariance. A message is what the data below say about
``b``: a quadratic ``c + h'b - b'Lb/2``. Passing it through one z_k is a rank-one step,

    q = 1 + r'Lr,   L <- L - Lr r'L / q,   h <- h - Lr (r'h) / q,   c <- c + (r'h)^2 / (2q) - log(q) / 2,

so a level needs divisions only, no inverse of its covariance: standard deviations of zero are as good as any other.
Without pooling z_k is flat and the 1 in q becomes 0. Messages of siblings add. The population coefficients are
integrated out at the root where their priors are normal or flat. With one class mean a message this is the three-level
algebra of precision weights: w = 1 / (t^2 + s^2 / n) and so on up.

Group axes are last, coefficient axes first, so that arithmetic runs along groups. Empty (padded) groups have L = 0, h =
0 and pass through unchanged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from hiermodels import variates
from hiermodels.families.component import Component
from hiermodels.models import hyper, starting
from hiermodels.models.elimination import LOG_2PI, Affine, Pass, Step, absorb, inverse, root_of
from hiermodels.models.gaussian_stats import GaussianStats, reduce_rows, residual
from hiermodels.models.layout import Layout, LevelLayout, Parameter
from hiermodels.models.problem import Data
from hiermodels.models.tree import tree_of
from hiermodels.models.twins import TwinStats, twin_messages
from hiermodels.models.units import inner_sd, shown_spreads, stands_of
from hiermodels.quantities import cor_name, sd_name, theta_name

__all__ = ["Gaussian"]


@dataclass(frozen=True)
class Gaussian:
    """A normal hierarchy as the pair (log p(phi | y), theta | phi, y).

    Parameters
    ----------
    layout : Layout
        A nested layout of family normal.

    Notes
    -----
    ``phi`` holds the standard deviations, correlations, sigma, and those population coefficients whose priors are
    neither normal (with an sd of their own, or in units of sigma) nor flat. Shapes: ``u`` (dim,), group axes padded.
    """

    layout: Layout

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Parameters that stay in phi, in the order of the unconstrained vector."""
        return tuple(p for p in self.layout.parameters if not _integrated(p))

    @property
    def dim(self) -> int:
        """Length of the unconstrained vector."""
        return hyper.dimension(self.parameters)

    @property
    def sharp(self) -> bool:
        """Group values may lie close to a coefficient that stays in phi."""
        return bool(self._split()[1]) and bool(self.layout.levels)

    def prepare(self, data: Data) -> GaussianStats:
        """Reduce a dataset to its sufficient statistics."""
        return reduce_rows(self.layout, data)

    # phi ------------------------------------------------------------------------------------------------------------

    def constrain(self, u: Array, stats: GaussianStats | None = None) -> dict[str, Array]:
        """Hyperparameters by name, at the inner origin; correlations as Cholesky factors, coefficients inside."""
        return hyper.constrain(self.parameters, u, None if stats is None else stands_of(self.layout, stats))

    def log_prior(self, u: Array, stats: GaussianStats) -> Array:
        """Log prior of phi on the unconstrained scale."""
        return hyper.log_prior(self.parameters, u, stats.variances, stands_of(self.layout, stats))

    def log_likelihood(self, u: Array, stats: GaussianStats) -> Array:
        """log p(y | phi), every group value and integrated coefficient gone; normalised."""
        phi = self.constrain(u, stats)
        up = self._upward(phi, stats) if stats.twins is None else self._twins_upward(phi, stats, stats.twins)
        return up.constant + self._root(up, phi, stats)[2]

    def log_density(self, u: Array, stats: GaussianStats) -> Array:
        """log p(y | phi) + log p(phi) + log Jacobian: what NUTS and the exact engine move on."""
        return self.log_likelihood(u, stats) + self.log_prior(u, stats)

    def start(self, stats: GaussianStats) -> Array:
        """A plain starting point on the scale of the data, shape (dim,)."""
        return hyper.unconstrain(
            self.parameters, starting.of_sums(self.layout, self.parameters, stats), stands_of(self.layout, stats)
        )

    # up -------------------------------------------------------------------------------------------------------------

    def _directions(self, level: LevelLayout, phi: dict[str, Array], stats: GaussianStats) -> list[tuple[Array, float]]:
        """Columns of the level's Cholesky factor in coefficient space; the number is 1, or 0 for flat directions."""
        columns = self.layout.columns
        unit = jnp.eye(len(columns))
        if level.pooling == "none":  # what finer unpooled groups estimate is left to them
            finer = self.layout.levels[self.layout.levels.index(level) + 1 :]
            taken = {e for v in finer if v.pooling == "none" for e in v.effects}
            return [
                (unit[e] if stats.units is None else unit[e] / stats.units.inward[e, e], 0.0)
                for e in level.effects
                if e not in taken
            ]
        found = []
        for block in level.blocks if level.pooling == "partial" else ():
            effects = [level.effects[b] for b in block]
            scaled = [inner_sd(self.layout, stats.units, level.name, columns[e], phi) * unit[e] for e in effects]
            factor = phi[cor_name(level.name)] if len(block) > 1 else None
            for k in range(len(block)):
                r = (
                    scaled[k]
                    if factor is None
                    else sum((factor[i, k] * scaled[i] for i in range(k, len(block))), 0 * unit[0])
                )
                found.append((r, 1.0))
        return found

    def _twins_upward(self, phi: dict[str, Array], stats: GaussianStats, twins: TwinStats) -> Pass:
        inverse, constant = residual(self.layout, phi, stats)
        directions = [self._directions(level, phi, stats) for level in self.layout.levels]
        precision, shift, gain = twin_messages(twins, inverse, directions)
        return Pass(precision, shift, constant + gain, [])

    def _upward(self, phi: dict[str, Array], stats: GaussianStats, tilt: dict[int, Array] | None = None) -> Pass:
        inverse, constant = residual(self.layout, phi, stats)
        precision, shift = stats.cc * inverse, stats.cy * inverse
        taken: list[list[Step]] = [[] for _ in self.layout.levels]
        tree = tree_of(self.layout, stats)
        for i in reversed(range(len(self.layout.levels))):
            if tilt and i in tilt:
                shift = shift + tilt[i]
            for r, proper in self._directions(self.layout.levels[i], phi, stats):
                precision, shift, gain, step = absorb(precision, shift, r, proper)
                constant += jnp.sum(gain)
                taken[i].append(step)
            precision, shift = tree.sum_up(precision, i), tree.sum_up(shift, i)
        return Pass(precision[..., 0], shift[..., 0], constant, taken)

    # root -----------------------------------------------------------------------------------------------------------

    def _split(self) -> tuple[list[int], list[int]]:
        """Population columns that are integrated out, and those that stay in phi."""
        layout = self.layout
        inside = [c for c in layout.population if _integrated(layout.parameter(layout.columns[c]))]
        return inside, [c for c in layout.population if c not in inside]

    def _known_coefficients(self, phi: dict[str, Array], stats: GaussianStats) -> Array:
        """Coefficient vector with the explicit ones filled in, zero elsewhere; on the centred scale."""
        columns = self.layout.columns
        value = jnp.zeros(len(columns))
        for c in self._split()[1]:
            value = value.at[c].set(phi[columns[c]] - (stats.shift if columns[c] == "Intercept" else 0.0))
        return value

    def _root(self, up: Pass, phi: dict[str, Array], stats: GaussianStats) -> tuple[Array, Array, Array]:
        """Mean and covariance of the integrated coefficients (centred scale), and what integrating them adds."""
        inside, explicit = self._split()
        known, gain = self._known_coefficients(phi, stats), jnp.zeros(())
        shift, precision = up.shift, up.precision
        if explicit:
            gain += known @ shift - 0.5 * known @ precision @ known
            shift = shift - precision @ known
        if not inside:
            return jnp.zeros(0), jnp.zeros((0, 0)), gain
        precision, shift = precision[jnp.ix_(jnp.array(inside), jnp.array(inside))], shift[jnp.array(inside)]
        for n, c in enumerate(inside):
            prior = self.layout.parameter(self.layout.columns[c]).prior  # type: ignore[union-attr]
            by = 1.0 if stats.units is None else stats.units.inward[c, c]
            centre, sd = prior.gaussian  # type: ignore[misc]
            if math.isinf(sd):
                gain += jnp.log(by)  # flat in the user's units
            else:
                mean = centre / by - (stats.shift if self.layout.columns[c] == "Intercept" else 0.0)
                weight: Array | float = (sd / by) ** -2
                log_sd: Array | float = math.log(sd) - jnp.log(by)
                if prior.unit is not None:
                    weight, log_sd = weight * phi["sigma"] ** -2, log_sd + jnp.log(phi["sigma"])
                precision, shift = precision.at[n, n].add(weight), shift.at[n].add(mean * weight)
                gain += -0.5 * mean**2 * weight - 0.5 * LOG_2PI - log_sd
        covariance, log_determinant = inverse(precision)
        mean = covariance @ shift
        gain += 0.5 * shift @ mean - 0.5 * log_determinant + 0.5 * len(inside) * LOG_2PI
        return mean, covariance, gain

    # down -----------------------------------------------------------------------------------------------------------

    def draw(self, key: Array, u: Array, stats: GaussianStats) -> dict[str, Array]:
        """One exact draw of everything else given phi: hyperparameters, coefficients, group values (padded axes)."""
        phi = self.constrain(u, stats)
        root, found, _ = self.descend(key, phi, stats)
        values = self._report(phi, root, stats)
        found, tree = [self._shown(x, stats) for x in found], tree_of(self.layout, stats)
        for i in self._averaged:
            found[i - 1] = tree.mean_of_children(found[i], i)
        for i, level in enumerate(self.layout.levels):
            for e, name in zip(level.effects, self.layout.effect_names(level), strict=True):
                values[name] = found[i][e] + self._offset(e, stats)
        return values

    def descend(
        self, key: Array, phi: dict[str, Array], stats: GaussianStats
    ) -> tuple[Array, list[Array], list[Array]]:
        """One exact draw of the coefficients given phi: the population's, then down the tree.

        Returns
        -------
        root : Array, shape (column,)
            The population's coefficients, on the scale of the centred outcome.
        values, deviations : list of Array, each (column, group)
            Every group's coefficients, and what it adds to its parent's; a level each, padding included.
        """
        up = self._upward(phi, stats)
        mean, covariance, _ = self._root(up, phi, stats)
        keys = iter(jax.random.split(key, 1 + sum(len(s) for s in up.steps)))
        inside = self._split()[0]
        b = self._known_coefficients(phi, stats)
        if inside:
            noise = variates.normal(next(keys), mean.shape, mean.dtype)
            b = b.at[jnp.array(inside)].set(mean + root_of(covariance) @ noise)
        below = b[:, None]
        values, deviations = [], []
        tree = tree_of(self.layout, stats)
        for i in range(len(self.layout.levels)):
            below = tree.spread_down(below, self.layout.levels[i].parent, i)
            own = jnp.zeros_like(below)
            for step in reversed(up.steps[i]):
                z_mean = (step.m - jnp.sum(step.lr * below, 0)) / step.q
                z = z_mean + variates.normal(next(keys), z_mean.shape, z_mean.dtype) * step.q**-0.5
                below, own = below + step.r[:, None] * z, own + step.r[:, None] * z
            values.append(below)
            deviations.append(own)
        return b, values, deviations

    def components(self, u: Array, stats: GaussianStats, wanted: tuple[str, ...]) -> dict[str, Component]:
        """Law given phi of each wanted variable: a mixture over draws or nodes of phi is the exact posterior.

        Parameters
        ----------
        wanted : tuple of str
            Variable names, ``mean(<variable>)`` and ``new(<level>)``.
        """
        phi = self.constrain(u, stats)
        up = self._upward(phi, stats)
        root_mean, root_cov, _ = self._root(up, phi, stats)
        known = self._report(phi, self._known_coefficients(phi, stats), stats)
        found = {}
        inside = self._split()[0]
        thetas = {
            t: (i, e)
            for i, lv in enumerate(self.layout.levels)
            for e, t in zip(lv.effects, self.layout.effect_names(lv), strict=True)
        }
        moments = self._moments(up, phi, root_mean, root_cov, stats) if set(wanted) & set(thetas) else []
        asked = self.layout.quantities
        for name in wanted:
            if name in thetas:
                i, e = thetas[name]
                found[name] = Component("normal", moments[i][0][e] + self._offset(e, stats), moments[i][1][e])
            elif asked[name].role == "mean of groups":
                i, e = thetas[theta_name(asked[name].owner, asked[name].effect)]
                mean, variance = self._tilted(i, e, phi, stats)
                found[name] = Component("normal", mean + self._offset(e, stats), variance)
            elif asked[name].role == "new group":
                found[name] = self._new(asked[name].owner, phi, root_mean, root_cov, stats)
            elif name in self.layout.columns and (c := self.layout.columns.index(name)) in inside:
                found[name] = Component("normal", *self._root_law(c, phi, root_mean, root_cov, stats))
            else:
                found[name] = Component.point(known[name])
        return found

    def _offset(self, column: int, stats: GaussianStats) -> Array | float:
        return stats.shift if self.layout.columns[column] == "Intercept" else 0.0

    def _shown(self, x: Array, stats: GaussianStats) -> Array:
        """Coefficients as they are shown from those inside, along the first axis."""
        return x if stats.units is None else jnp.tensordot(stats.units.inward, x, 1)

    def _root_law(
        self, c: int, phi: dict[str, Array], mean: Array, cov: Array, stats: GaussianStats
    ) -> tuple[Array, Array]:
        """Mean and variance of a population coefficient as it is shown, given phi."""
        inside, known = self._split()[0], self._known_coefficients(phi, stats)
        if stats.units is None:
            n = inside.index(c)
            return mean[n] + self._offset(c, stats), cov[n, n]
        row = stats.units.inward[c]
        to = row[jnp.array(inside)]
        return to @ mean + row @ known + self._offset(c, stats), to @ cov @ to

    def _report(self, phi: dict[str, Array], b: Array, stats: GaussianStats) -> dict[str, Array]:
        values, coefficients = {}, self._shown(b, stats)
        for p in self.layout.parameters:
            if p.kind == "correlation":
                values[p.name] = phi[p.name] @ phi[p.name].T
            elif p.role == "coefficient":
                c = self.layout.columns.index(p.name)
                values[p.name] = coefficients[c] + self._offset(c, stats)
            else:
                values[p.name] = phi[p.name]
        return values | ({} if stats.units is None else shown_spreads(self.layout, stats.units, values))

    def _moments(
        self, up: Pass, phi: dict[str, Array], mean: Array, cov: Array, stats: GaussianStats
    ) -> list[tuple[Array, Array]]:
        """Mean and variance of every group's coefficients given phi; each (column, group)."""
        k, inside = len(self.layout.columns), self._split()[0]
        slope = jnp.zeros((k, len(inside), 1))
        for n, c in enumerate(inside):
            slope = slope.at[c, n, 0].set(1.0)
        below = Affine(slope, self._known_coefficients(phi, stats)[:, None], jnp.zeros((k, k, 1)))
        laws: list[Affine] = []
        tree = tree_of(self.layout, stats)
        for i, level in enumerate(self.layout.levels):
            below = below.spread_down(tree, level.parent, i)
            for step in reversed(up.steps[i]):
                below = below.release(step)
            laws.append(below)
        if stats.units is not None:
            laws = [law.turned(stats.units.inward) for law in laws]
        for i in self._averaged:
            laws[i - 1] = laws[i].mean_of_children(tree, i)
        return [law.moments(mean, cov) for law in laws]

    @property
    def _averaged(self) -> tuple[int, ...]:
        """Levels whose unweighted means are the values of the level above, fine to coarse: unpooled ones, and those
        on the way to one.
        """
        none = [i for i, level in enumerate(self.layout.levels) if level.pooling == "none"]
        return tuple(reversed(range(1, max(none, default=0) + 1)))

    def _tilted(self, i: int, e: int, phi: dict[str, Array], stats: GaussianStats) -> tuple[Array, Array]:
        """Mean and variance of the average over real groups of a coefficient.

        With t times the average added to the log likelihood, log Z(t) is quadratic: its derivatives are the moments.
        """
        none = [j for j, level in enumerate(self.layout.levels) if level.pooling == "none" and j > i]
        weights, tree = stats.real[i] / jnp.sum(stats.real[i]), tree_of(self.layout, stats)
        for j in range(i + 1, (max(none) if none else i) + 1):
            each = weights / jnp.maximum(tree.children(j), 1.0)
            weights = tree.spread_down(each, i, j) * stats.real[j]
            i = j
        row = jnp.eye(len(self.layout.columns))[e] if stats.units is None else stats.units.inward[e]
        direction = row[:, None] * weights

        def log_z(t: Array) -> Array:
            up = self._upward(phi, stats, {i: t * direction})
            return up.constant + self._root(up, phi, stats)[2]

        def first(t: Array) -> Array:
            return jax.jvp(log_z, (t,), (jnp.ones_like(t),))[1]

        zero = jnp.zeros(())
        return jax.jvp(first, (zero,), (jnp.ones_like(zero),))

    def _new(self, name: str, phi: dict[str, Array], mean: Array, cov: Array, stats: GaussianStats) -> Component:
        """Value of a group not in the data, in ancestors not in the data."""
        column = self.layout.columns.index("Intercept")
        if column in self._split()[0]:
            centre, variance = self._root_law(column, phi, mean, cov, stats)
        else:
            centre, variance = self._known_coefficients(phi, stats)[column] + stats.shift, jnp.zeros(())
        known = self._report(phi, self._known_coefficients(phi, stats), stats)
        place = next(i for i, level in enumerate(self.layout.levels) if level.name == name)
        for level in (self.layout.levels[i] for i in self.layout.lineage(place)):
            if level.pooling == "partial" and column in level.effects:
                variance = variance + known[sd_name(level.name, "Intercept")] ** 2
        return Component("normal", centre, variance)

    def available(self) -> set[str]:
        """Names that `components` knows: variables, their means over groups, and new groups."""
        names = {p.name for p in self.layout.parameters if p.kind != "correlation"}
        pooled = True
        for level in self.layout.levels:
            thetas = [theta_name(level.name, self.layout.columns[e]) for e in level.effects]
            names |= set(thetas) | {f"mean({t})" for t in thetas}
            pooled = pooled and level.pooling != "none"
            if pooled and self.layout.intercept is not None:
                names.add(f"new({level.name})")
        return names


def _integrated(parameter: Parameter | None) -> bool:
    return parameter is not None and parameter.kind == "real" and parameter.prior.gaussian is not None
