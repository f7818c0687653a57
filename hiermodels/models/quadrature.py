r"""Normal groups under outcomes that are not: every group's deviation integrated out by a sum over one dimension.

    log p(y | phi) = sum over groups j of log integral of phi(z) prod over cells c of f(y_c | eta_c + x_c sd z)  dz

The rows' law f, its derivatives by the linear predictor eta and whether rows add up are the family's
(`hiermodels.families.family`); rows are reduced to cells once a dataset (`hiermodels.models.cells`); the sum is laid
around each group's mode (`hiermodels.models.line_rules`). Coefficients stay in phi, at any level. Given phi groups are
independent, and a group's law is the integrand itself: draws invert its distribution function on a finer rule, and its
mean, variance and distribution function are sums over the same terms.

``log_marginal`` is the likelihood alone, without any prior: what maximum likelihood maximises.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from hiermodels.families.component import Component, bent_cdf
from hiermodels.families.rows import Rows
from hiermodels.models import hyper, starting
from hiermodels.models.cells import Cells, Sheet, sheets
from hiermodels.models.layout import Layout, Parameter
from hiermodels.models.line_rules import (
    RULES,
    Places,
    Rule,
    cumulated,
    gauss_hermite,
    patient,
    place,
    quantiles,
    scores,
)
from hiermodels.models.problem import Data
from hiermodels.models.units import Units, inner_sd, own_factor, shown, stands_of, start_inside
from hiermodels.quantities import INTERCEPT, sd_name

__all__ = ["Quadrature", "QuadratureStats"]

_LOG_2PI = math.log(2 * math.pi)
_ORDER = 10
"""Terms of the series of a group's law."""

Values = dict[str, Array]


class QuadratureStats(eqx.Module):
    """A dataset reduced to cells.

    Attributes
    ----------
    sheets : list of Sheet
    cells : Cells
    guess : list of Array, each (width, group)
        Each cell's own linear predictor, and what its outcome tells about it: where the search for a group's mode
        begins.
    constant, start : Array
        Terms of the log likelihood without a parameter, (); starting point, (dim,).
    parent, real, units
        As in `Data`.
    """

    sheets: list[Sheet]
    cells: Cells
    guess: list[tuple[Array, Array]]
    constant: Array
    start: Array
    parent: tuple[Array, ...]
    real: tuple[Array, ...]
    units: Units | None = None


@dataclass(frozen=True)
class Quadrature:
    """A model of one grouping as the pair (log p(phi | y), theta | phi, y); groups by quadrature.

    Parameters
    ----------
    layout : Layout
        Of which `Layout.by_quadrature` is true.
    rule : Rule
        Of each group's integral.

    Notes
    -----
    ``phi`` holds the coefficients, the standard deviation between groups, and the parameters of the rows' own law.
    """

    layout: Layout
    rule: Rule = RULES["fit"]

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """All of the layout's: none integrates out but the groups."""
        return self.layout.parameters

    @property
    def dim(self) -> int:
        """Length of the unconstrained vector."""
        return hyper.dimension(self.parameters)

    @property
    def sharp(self) -> bool:
        """Group values may lie close to their coefficient, which stays in phi."""
        return True

    @property
    def _effect(self) -> int:
        return self.layout.levels[0].effects[0]

    @property
    def sd(self) -> str:
        """Name of the standard deviation between groups."""
        return sd_name(self.layout.levels[0].name, self.layout.columns[self._effect])

    @property
    def _theta(self) -> str:
        return self.layout.effect_names(self.layout.levels[0])[0]

    # data -------------------------------------------------------------------------------------------------------------

    def prepare(self, data: Data) -> QuadratureStats:
        """Reduce a dataset to cells."""
        laid, law = sheets(self.layout, data), self.layout.law
        rows = Rows(data.weight, data.size, self.layout.known)
        constant = jnp.sum(jnp.where(data.weight > 0, law.row_constant(data.y, rows), 0.0))
        guess = [law.row_guess(s.y, _rows(s, self.layout.known)) for s in laid]
        return QuadratureStats(laid, data.cells, guess, constant, self._start(data), data.parent, data.real, data.units)

    def _start(self, data: Data) -> Array:
        values, found = starting.moments(self.layout, data), {}
        for p in self.parameters:
            found[p.name] = start_inside(self.layout, data.units, p, values[p.name])
        return hyper.unconstrain(self.parameters, found, stands_of(self.layout, data))

    def start(self, stats: QuadratureStats) -> Array:
        """Moments of the data, shape (dim,)."""
        return stats.start

    # phi --------------------------------------------------------------------------------------------------------------

    def constrain(self, u: Array, stats: QuadratureStats | None = None) -> Values:
        """Parameters by name, at the inner origin; coefficients inside."""
        return hyper.constrain(self.parameters, u, None if stats is None else stands_of(self.layout, stats))

    def log_prior(self, u: Array, stats: QuadratureStats) -> Array:
        """Log prior of phi on the unconstrained scale."""
        return hyper.log_prior(self.parameters, u, None, stands_of(self.layout, stats))

    def log_marginal(self, phi: Values, stats: QuadratureStats, rule: Rule | None = None) -> Array:
        """log p(y | phi) without priors: parameters as `constrain` gives them, every group integrated out; normalised.

        Parameters
        ----------
        phi : dict of str to Array
        stats : QuadratureStats
        rule : Rule, optional
            Another than the model's own, e.g. `hiermodels.models.line_rules.gauss_hermite`.
        """
        rule = rule or self.rule
        _, terms = self._terms(phi, stats, rule)
        each = jax.scipy.special.logsumexp(terms, axis=0)
        return stats.constant + jnp.sum(jnp.where(stats.real[0][stats.cells.group], each, 0.0))

    def log_likelihood(self, u: Array, stats: QuadratureStats) -> Array:
        """`log_marginal` at an unconstrained vector."""
        return self.log_marginal(self.constrain(u, stats), stats)

    def log_density(self, u: Array, stats: QuadratureStats) -> Array:
        """log p(y | phi) + log p(phi) + log Jacobian: what NUTS and the exact engine move on."""
        return self.log_likelihood(u, stats) + self.log_prior(u, stats)

    def off(self, u: Array, stats: QuadratureStats) -> Array:
        """What the logarithm of p(y | phi) by the model's rule is off by, as a rule of several times the terms and a
        wider reach sees it.
        """
        phi = self.constrain(u, stats)
        return self.log_marginal(phi, stats) - self.log_marginal(phi, stats, RULES["check"])

    # groups -----------------------------------------------------------------------------------------------------------

    def _spread(self, phi: Values, stats: QuadratureStats) -> Array:
        """Standard deviation between groups of the inner coefficient."""
        level = self.layout.levels[0]
        return inner_sd(self.layout, stats.units, level.name, self.layout.columns[self._effect], phi)

    def _bases(self, phi: Values, stats: QuadratureStats) -> list[Array]:
        """Linear predictor of each cell without its group's deviation; a sheet each, (width, group)."""
        offset = jnp.log(stats.units.exposure) if stats.units is not None and self.layout.law.exposed else 0.0
        names = [(c, self.layout.columns[c]) for c in self.layout.population]
        return [
            sum((phi[name] * s.x[c] for c, name in names), start=jnp.zeros_like(s.y)) - offset for s in stats.sheets
        ]

    def _terms(self, phi: Values, stats: QuadratureStats, rule: Rule) -> tuple[Places, Array]:
        """Where the rule lies, and the logarithms of its terms, (term, group); groups in the sheets' order."""
        rule = rule if self.layout.law.concave else patient(rule)
        fixed = jax.lax.stop_gradient(phi)
        bases, spread = self._bases(fixed, stats), self._spread(fixed, stats)
        places = place(lambda z: self._slopes(fixed, bases, spread, z, stats), self._guess(bases, spread, stats), rule)
        t, log_weight = rule.nodes()
        z, log_slope = places.at(t[:, None])
        log_terms = self._height(phi, self._bases(phi, stats), self._spread(phi, stats), z, stats)
        return places, log_terms + log_slope + log_weight[:, None]

    def _height(self, phi: Values, bases: list[Array], spread: Array, z: Array, stats: QuadratureStats) -> Array:
        """Log of the integrand at standardised deviations z, (..., group)."""
        law, found = self.layout.law, []
        for s, eta, part in zip(stats.sheets, bases, self._split(spread * z, stats), strict=True):
            kernel = law.row_kernel(s.y, eta + s.x[self._effect] * part[..., None, :], phi, _rows(s, self.layout.known))
            found.append(jnp.sum(jnp.where(s.weight > 0, kernel, 0.0), -2))
        return jnp.concatenate(found, -1) - 0.5 * z * z - 0.5 * _LOG_2PI

    def _slopes(
        self, phi: Values, bases: list[Array], spread: Array, z: Array, stats: QuadratureStats
    ) -> tuple[Array, Array, Array]:
        """`_height` and its first two derivatives by z."""
        law, first, second = self.layout.law, [], []
        for s, eta, part in zip(stats.sheets, bases, self._split(spread * z, stats), strict=True):
            x = s.x[self._effect]
            score, bend = law.row_slopes(s.y, eta + x * part[..., None, :], phi, _rows(s, self.layout.known))
            first.append(jnp.sum(jnp.where(s.weight > 0, x * score, 0.0), -2))
            second.append(jnp.sum(jnp.where(s.weight > 0, x * x * bend, 0.0), -2))
        height = self._height(phi, bases, spread, z, stats)
        return height, spread * jnp.concatenate(first, -1) - z, spread**2 * jnp.concatenate(second, -1) - 1

    def _guess(self, bases: list[Array], spread: Array, stats: QuadratureStats) -> Array:
        """Guess of every group's mode: its cells' own linear predictors, shrunk by what they tell."""
        told, pull = [], []
        for s, eta, (own, weight) in zip(stats.sheets, bases, stats.guess, strict=True):
            x = jnp.where(s.weight > 0, s.x[self._effect], 0.0) * spread
            told.append(jnp.sum(weight * x * x, -2))
            pull.append(jnp.sum(weight * x * (own - eta), -2))
        return jnp.concatenate(pull, -1) / (1 + jnp.concatenate(told, -1))

    def _split(self, x: Array, stats: QuadratureStats) -> list[Array]:
        """Values of groups, the last axis, sheet by sheet."""
        found, start = [], 0
        for s in stats.sheets:
            found.append(x[..., start : start + s.y.shape[-1]])
            start += s.y.shape[-1]
        return found

    # theta given phi --------------------------------------------------------------------------------------------------

    def _centre(self, phi: Values) -> Array:
        """Coefficient that the groups scatter around."""
        name = self.layout.columns[self._effect]
        return phi[name] if self._effect in self.layout.population else jnp.zeros_like(phi[self.sd])

    def modes(self, phi: Values, stats: QuadratureStats) -> tuple[Array, Array, Array]:
        """Mode of every group's value given phi, its deviation there, and the sd that the curvature there gives; each
        (group,).
        """
        places, _ = self._terms(phi, stats, gauss_hermite(1))
        deviation, sd = (self._spread(phi, stats) * x[stats.cells.column] for x in (places.mode, places.scale))
        return self._centre(phi) + deviation, deviation, sd

    def draw(self, key: Array, u: Array, stats: QuadratureStats) -> Values:
        """One draw of everything given phi, group axes padded: each group by inversion of its distribution function on
        the finest rule.
        """
        phi, rule = self.constrain(u, stats), RULES["finest"]
        places, terms = self._terms(phi, stats, rule)
        p = jax.random.uniform(key, terms.shape[1:], terms.dtype)
        z, _ = places.at(quantiles(jax.nn.softmax(terms, axis=0), p, rule))
        theta = self._centre(phi) + self._spread(phi, stats) * z
        return shown(self.layout, stats, phi | {self._theta: theta[stats.cells.column]})  # type: ignore[arg-type]  # which has the fields that are read

    def components(self, u: Array, stats: QuadratureStats, wanted: tuple[str, ...]) -> dict[str, Component]:
        """Law given phi of each wanted variable; the average of groups is given as a normal law with the exact mean
        and variance.
        """
        phi = self.constrain(u, stats)
        level, theta = self.layout.levels[0], self._theta
        points = shown(self.layout, stats, phi | {theta: jnp.broadcast_to(self._centre(phi), (level.size,))})  # type: ignore[arg-type]
        groups = self._law(phi, points[theta], stats) if {theta, f"mean({theta})"} & set(wanted) else None
        found = {}
        for name in wanted:
            if name == theta and groups is not None:
                found[name] = groups
            elif groups is not None and name == f"mean({theta})":
                share = stats.real[0] / jnp.sum(stats.real[0])
                found[name] = Component("normal", jnp.sum(share * groups.a), jnp.sum(share**2 * groups.b))
            elif name == f"new({level.name})":
                variance = (
                    phi[self.sd] ** 2
                    if self.layout.columns[self._effect] == INTERCEPT
                    else jnp.zeros_like(phi[self.sd])
                )
                found[name] = Component("normal", points[INTERCEPT], variance)
            else:
                found[name] = Component.point(points[name])
        return found

    def _law(self, phi: Values, centre: Array, stats: QuadratureStats) -> Component:
        """Law of every group's value as it is shown, (group,); ``centre`` is where it would be without a deviation."""
        places, terms = self._terms(phi, stats, self.rule)
        by = own_factor(self.layout, stats.units, self.layout.columns[self._effect])
        spread, share = by * self._spread(phi, stats), jax.nn.softmax(terms, axis=0)
        t = self.rule.nodes()[0]
        z, _ = places.at(t[:, None])
        mean = jnp.sum(share * z, 0)
        variance = jnp.sum(share * (z - mean) ** 2, 0)
        order = min(_ORDER, self.rule.terms - 3)
        series = scores(share, self.rule, order)
        wrong = jnp.max(jnp.abs(bent_cdf(t[:, None], series)[0] - cumulated(share)), 0)
        laid = jnp.stack([spread * places.mode, spread * places.scale, spread * places.bend])
        more = jnp.concatenate([laid, series, wrong[None]])[:, stats.cells.column]
        more = more.at[0].add(centre)
        back = stats.cells.column
        return Component("bent", centre + spread * mean[back], spread**2 * variance[back], more=more)

    def available(self) -> set[str]:
        """Names that `components` knows: variables, their means over groups, and new groups."""
        names = {p.name for p in self.parameters} | {self._theta, f"mean({self._theta})"}
        return names | ({f"new({self.layout.levels[0].name})"} if self.layout.intercept is not None else set())


def _rows(sheet: Sheet, known: bool) -> Rows:
    return Rows(sheet.weight, sheet.size, known)
