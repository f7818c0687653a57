"""Counts factorised: beta populations under binomial outcomes, gamma populations under Poisson ones.

The finest partially pooled level integrates out in closed form. With m the population mean of a group (``mean_<g>``, or
the inverse link of its predictors), kappa = alpha + beta and shape a,

    y_j ~ Binomial(n_j, theta_j), theta_j ~ Beta(kappa m_j, kappa (1 - m_j)):
        log p(y_j | m_j, kappa) = R(kappa m_j, y_j) + R(kappa (1 - m_j), n_j - y_j) - R(kappa, n_j)
                                  + y_j log m_j + (n_j - y_j) log(1 - m_j),
    y_j ~ Poisson(x_j theta_j), theta_j ~ Gamma(a, a / m_j):
        log p(y_j | m_j, a) = R(a, y_j) + y_j log m_j - (a + y_j) log(1 + m_j x_j / a),

plus terms free of parameters, where R(a, y) = sum over i < y of log(1 + i / a) (`hiermodels.families.rising`); each is
written in its population's class. Rows of a group add up first, so the cost of a gradient does not depend on them;
where all groups share m and kappa and the trials are few, one tally of the counts replaces the groups as well.

Given phi the groups are independent: Beta(kappa m_j + y_j, kappa (1 - m_j) + n_j - y_j) and Gamma(a + y_j, a / m_j +
x_j).

Scales
------
The finest grouping's ``theta`` is a probability or a rate, at the group's own predictors. A coarser grouping's
``theta`` is on the link scale (logit or log), where its normal law lives: with pooled counties in pooled states,

    log m_i ~ N(Intercept, sd_state^2),  log a_i ~ N(log_shape, sd_state_log_shape^2),

``theta_state`` is log m_i, ``theta_state_log_shape`` is log a_i (``log_kappa`` for binomial outcomes), and both stay in
u, non-centred, since no level above the finest is conjugate.

Pooling ``complete`` has one rate for all: closed form (no phi) under a beta, gamma or Jeffreys prior. ``none`` has
independent Jeffreys posteriors: Beta(1/2 + y, 1/2 + n - y), Gamma(1/2 + y, x).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from hiermodels.families.component import Component
from hiermodels.families.populations.population import Population
from hiermodels.families.rising import positive
from hiermodels.models import hyper, starting
from hiermodels.models.count_stats import CountStats, reduce_counts
from hiermodels.models.counts import check_tree, conjugate_prior, count_tree, log_precision, precision, rate_name
from hiermodels.models.layout import Layout, Parameter
from hiermodels.models.populations import centre
from hiermodels.models.problem import Data
from hiermodels.models.tree import tree_of
from hiermodels.models.units import shown, stands_of
from hiermodels.quantities import sd_name, theta_name

__all__ = ["Conjugate", "CountStats", "conjugate"]


def conjugate(layout: Layout) -> Conjugate:
    """Factorise a model of counts.

    Parameters
    ----------
    layout : Layout
        Of family binomial or poisson.

    Raises
    ------
    ValueError
        For groupings that are crossed, varying slopes, or unpooled groups of partially pooled ones.

    Examples
    --------
    >>> import hiermodels as hm
    >>> from hiermodels.models.data import bind
    >>> model = hm.Model("tumors ~ 1 + (1 | experiment)", family="binomial", trials="rats")
    >>> conjugate(bind(model, hm.load_dataset("rats")).layout).dim
    2
    """
    check_tree(layout)
    return Conjugate(layout)


@dataclass(frozen=True)
class Conjugate:
    """A hierarchy of counts as the pair (log p(phi | y), theta | phi, y).

    Parameters
    ----------
    layout : Layout
        Of family binomial or poisson, nested.

    Notes
    -----
    ``u`` holds phi first, then the standard normal deviations of every partially pooled level above the finest one,
    then those of the log concentrations. Shapes: ``u`` (dim,), group axes padded.
    """

    layout: Layout

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Parameters that stay in phi; none where the posterior is in closed form."""
        return () if self._closed else self.layout.parameters

    @property
    def dim(self) -> int:
        """Length of the unconstrained vector."""
        return hyper.dimension(self.parameters) + sum(self._latent_sizes)

    @property
    def sharp(self) -> bool:
        """Rates may lie close to the population's mean, which stays in phi."""
        return count_tree(self.layout).word == "partial"

    @property
    def _latent_sizes(self) -> list[int]:
        above = [self.layout.levels[i].size for i in count_tree(self.layout).above]
        return above + above[-1:]

    @property
    def _groups(self) -> Population:
        """Law of the units' rates."""
        return self.layout.law.population

    @property
    def _closed(self) -> tuple[float, float] | None:
        """Numbers of the conjugate prior of one common rate, where it has one."""
        name = rate_name(self.layout)
        if count_tree(self.layout).word != "complete" or name is None:
            return None
        return conjugate_prior(self.layout.parameter(name))

    @property
    def _coarse(self) -> dict[str, int]:
        """Group values that phi fixes, by name: the level that they belong to."""
        tree, levels = count_tree(self.layout), self.layout.levels
        if tree.word == "none" or self._closed:
            return {}
        found = {theta_name(v.name, "Intercept"): i for i, v in enumerate(levels[: max(tree.unit, 0)])}
        if tree.above:
            found[theta_name(levels[tree.above[-1]].name, log_precision(self.layout))] = tree.above[-1]
        return found

    # data ---------------------------------------------------------------------------------------------------

    def prepare(self, data: Data) -> CountStats:
        """Reduce a dataset to its sufficient statistics."""
        return reduce_counts(self.layout, data)

    # phi ----------------------------------------------------------------------------------------------------

    def constrain(self, u: Array, stats: CountStats | None = None) -> dict[str, Array]:
        """Hyperparameters by name; coefficients inside."""
        return hyper.constrain(self.parameters, u, None if stats is None else stands_of(self.layout, stats))

    def log_prior(self, u: Array, stats: CountStats) -> Array:
        """Log prior of phi, and of the explicit deviations, on the unconstrained scale."""
        z = u[hyper.dimension(self.parameters) :]
        return (
            hyper.log_prior(self.parameters, u, None, stands_of(self.layout, stats))
            - 0.5 * jnp.sum(z * z)
            - 0.5 * z.size * math.log(2 * math.pi)
        )

    def log_likelihood(self, u: Array, stats: CountStats) -> Array:
        """Log p(y | phi), the conjugate level gone; without phi the log evidence."""
        tree = count_tree(self.layout)
        if tree.word == "none" or self._closed:
            return stats.constant + self._evidence(u, stats)
        logs = self._log_mean(u, stats)
        if tree.word == "complete":
            return self._groups.log_common(logs, stats)
        return self._groups.log_integrated(logs, self._concentration(u, stats), stats)

    def log_density(self, u: Array, stats: CountStats) -> Array:
        """Log p(y | phi) + log p(phi) + log Jacobian: what NUTS and the exact engine move on."""
        return self.log_likelihood(u, stats) + self.log_prior(u, stats)

    def start(self, stats: CountStats) -> Array:
        """Moment estimates, explicit deviations at zero; shape (dim,)."""
        values, sizes = starting.of_counts(self.layout, self.parameters, stats), sum(self._latent_sizes)
        return jnp.concatenate(
            [hyper.unconstrain(self.parameters, values, stands_of(self.layout, stats)), jnp.zeros(sizes)]
        )

    def _latents(self, u: Array) -> list[Array]:
        return [u[first:end] for _, first, end in self.blocks]

    def _deviations(self, u: Array, stats: CountStats) -> list[Array]:
        """Link-scale deviations of groups above the units, their ancestors' included; an array a level."""
        tree, phi, z = count_tree(self.layout), self.constrain(u, stats), iter(self._latents(u))
        found, value = [], jnp.zeros(())
        for i in range(tree.unit):
            value = tree_of(self.layout, stats).spread_down(value, i - 1, i)
            if i in tree.above:
                value = value + phi[sd_name(self.layout.levels[i].name, "Intercept")] * next(z)
            found.append(value)
        return found

    def _log_mean(self, u: Array, stats: CountStats) -> tuple[Array, Array]:
        """Logs of each unit's population mean (`Population.logs_at`); () where common to all."""
        tree, phi, name = count_tree(self.layout), self.constrain(u, stats), rate_name(self.layout)
        if name is not None:
            return self._groups.logs_of_mean(phi[name])
        coefficients = [phi[self.layout.columns[c]] for c in self.layout.population]
        eta = sum((b * column for b, column in zip(coefficients, stats.x, strict=True)), start=jnp.zeros_like(stats.y))
        if tree.above:
            eta = eta + tree_of(self.layout, stats).spread_down(
                self._deviations(u, stats)[-1], tree.unit - 1, tree.unit
            )
        return self._groups.logs_at(eta)

    def _log_concentrations(self, u: Array) -> Array:
        """Log concentration of each group above the units, shape (group,)."""
        phi, name = self.constrain(u), log_precision(self.layout)
        level = self.layout.levels[count_tree(self.layout).above[-1]]
        return phi[name] + phi[sd_name(level.name, name)] * self._latents(u)[-1]

    def _concentration(self, u: Array, stats: CountStats) -> Array:
        tree = count_tree(self.layout)
        if not tree.above:
            return positive(self.constrain(u, stats)[precision(self.layout)])
        log_a = self._log_concentrations(u)
        return positive(jnp.exp(tree_of(self.layout, stats).spread_down(log_a, tree.above[-1], tree.unit)))

    def _evidence(self, u: Array, stats: CountStats) -> Array:
        """Log evidence of the closed forms, up to the constants of improper priors."""
        law = self._law(u, stats)
        value = self._groups.log_evidence(self._closed or self.layout.law.unpooled, law)
        return jnp.sum(value if law.a.ndim == 0 else jnp.where(stats.size > 0, value, 0.0))

    # theta given phi ----------------------------------------------------------------------------------------

    def _law(self, u: Array, stats: CountStats) -> Component:
        """Law of each unit's rate given phi; of shape () for one common rate."""
        word = count_tree(self.layout).word
        if word == "partial":
            return self._groups.given(self._log_mean(u, stats), self._concentration(u, stats), stats)
        if word == "complete" and not self._closed:
            return Component.point(jnp.exp(self._log_mean(u, stats)[0]))
        y, size = (stats.y, stats.size) if word == "none" else (stats.total[0], stats.total[1])
        return self._groups.updated(self._closed or self.layout.law.unpooled, y, size)

    def _points(self, u: Array, stats: CountStats) -> dict[str, Array]:
        """Everything that phi fixes: hyperparameters, and group values above the units."""
        tree, values = count_tree(self.layout), self.constrain(u, stats)
        if tree.word == "none" or self._closed:
            return values
        base = centre(self.layout, values)
        for level, deviation in zip(self.layout.levels, self._deviations(u, stats), strict=False):
            values[theta_name(level.name, "Intercept")] = jnp.broadcast_to(base + deviation, (level.size,))
        if tree.above:
            level = self.layout.levels[tree.above[-1]]
            values[theta_name(level.name, log_precision(self.layout))] = self._log_concentrations(u)
        return shown(self.layout, stats, values)  # type: ignore[arg-type]  # which has the fields that are read

    def draw(self, key: Array, u: Array, stats: CountStats) -> dict[str, Array]:
        """One exact draw of everything given u: hyperparameters and group values (padded axes)."""
        tree, levels = count_tree(self.layout), self.layout.levels
        values, rate = self._points(u, stats), self._law(u, stats).draw(key)
        if self._closed:
            values[self.layout.parameters[0].name] = rate
        for i in range(tree.unit, len(levels)) if tree.unit >= 0 else ():
            here = rate if rate.ndim == 0 else tree_of(self.layout, stats).spread_down(rate, tree.unit, i)
            here = here if i == len(levels) - 1 else self.layout.link.forward(here)
            values[theta_name(levels[i].name, "Intercept")] = jnp.broadcast_to(here, (levels[i].size,))
        above = rate
        for i in reversed(range(tree.unit)):
            name = theta_name(levels[i].name, "Intercept")
            if name not in values:  # unpooled units: the unweighted mean of the children
                if rate.ndim:
                    above = tree_of(self.layout, stats).mean_of_children(above, i + 1)
                values[name] = jnp.broadcast_to(self.layout.link.forward(above), (levels[i].size,))
        return values

    def components(self, u: Array, stats: CountStats, wanted: tuple[str, ...]) -> dict[str, Component]:
        """Law given u of each wanted variable.

        The average of groups has no named law: it is given as a normal law with the exact mean and variance.

        Raises
        ------
        ValueError
            For a name outside `available`, and for a new group of a deeper tree, which only draws can give.
        """
        levels, found = self.layout.levels, {}
        law, points = self._law(u, stats), self._points(u, stats)
        finest = theta_name(levels[-1].name, "Intercept") if levels else ""
        means = {f"mean({theta})": theta for theta in self._coarse}
        for name in wanted:
            if name in points:
                found[name] = Component.point(points[name])
            elif self._closed and name in (rate_name(self.layout), f"mean({finest})"):
                found[name] = law
            elif name == finest:
                found[name] = Component(
                    law.kind, self._of_finest(law.a, stats), self._of_finest(law.b, stats), law.base
                )
            elif name == f"mean({finest})":
                found[name] = self._average(law, stats)
            elif (coarse := means.get(name)) in self._coarse:
                real = stats.real[self._coarse[coarse]]
                found[name] = Component.point(jnp.sum(jnp.where(real, points[coarse], 0.0)) / jnp.sum(real))
            elif name in self.available():
                found[name] = self._new(self.layout.quantities[name].owner, points, law)
            else:
                known = ", ".join(sorted(self.available()))
                raise ValueError(f"{name}: this model has no such variable under its pooling; it has {known}")
        return found

    def _of_finest(self, x: Array, stats: CountStats) -> Array:
        last = len(self.layout.levels) - 1
        if x.ndim == 0:
            return jnp.broadcast_to(x, (self.layout.levels[last].size,))
        return tree_of(self.layout, stats).spread_down(x, count_tree(self.layout).unit, last)

    def _average(self, law: Component, stats: CountStats) -> Component:
        """Average over the finest groups: exact moments of a weighted sum of independent units."""
        mean, variance = law.moments()
        if mean.ndim == 0:
            return Component.point(mean)
        last = len(self.layout.levels) - 1
        even = stats.real[last] / jnp.sum(stats.real[last])
        share = tree_of(self.layout, stats).sum_up(even, last, count_tree(self.layout).unit)
        kind = "point" if law.kind == "point" else "normal"
        return Component(kind, jnp.sum(share * mean), jnp.sum(share**2 * variance))

    def _new(self, level: str, phi: dict[str, Array], law: Component) -> Component:
        """A group not in the data, in ancestors not in the data, predictors at zero, given hyperparameters as they are
        shown.
        """
        tree, names = count_tree(self.layout), [v.name for v in self.layout.levels]
        if tree.word == "complete":
            common = centre(self.layout, phi) if law.a.ndim else None
            return law if common is None else Component.point(self.layout.link.inverse(common))
        i = names.index(level)
        base = centre(self.layout, phi)
        if i < tree.unit:
            spread = [phi[sd_name(names[k], "Intercept")] ** 2 for k in tree.above if k <= i]
            return Component("normal", base, sum(spread, start=jnp.zeros_like(base)))
        if tree.above:
            raise ValueError(
                f"new({level}): a new group of a new parent has no closed law; use sampler='nuts', which draws it"
            )
        return self._groups.component(self.layout.link.inverse(base), phi[precision(self.layout)])

    # rates beside hyperparameters ----------------------------------------------------------------------------

    @property
    def has_population(self) -> bool:
        """Whether units have rates of their own that follow a population law."""
        return count_tree(self.layout).word == "partial"

    @property
    def blocks(self) -> list[tuple[int, int, int]]:
        """Standardised values of groups above the units in u: (level, first position, last position + 1)."""
        above, found, start = count_tree(self.layout).above, [], hyper.dimension(self.parameters)
        for level, size in zip((*above, *above[-1:]), self._latent_sizes, strict=True):
            found.append((level, start, start + size))
            start += size
        return found

    def draw_logs(self, key: Array, u: Array, stats: CountStats) -> tuple[Array, Array]:
        """One draw of every unit's rate given u, as (log theta, log(1 - theta)) or (log theta, theta); (unit,)."""
        return self._groups.draw_logs(key, self._law(u, stats))

    def log_population(self, u: Array, logs: tuple[Array, Array], stats: CountStats) -> Array:
        """Log density of every unit's rate under the population law at u, up to terms free of u; 0 for padding;
        (unit,).
        """
        value = self._groups.log_density(logs, self._log_mean(u, stats), self._concentration(u, stats))
        return jnp.where(stats.real[count_tree(self.layout).unit], value, 0.0)

    def sum_up(self, x: Array, level: int, stats: CountStats) -> Array:
        """Sum over the units below each group of a level, (unit,) -> (group,)."""
        return tree_of(self.layout, stats).sum_up(x, count_tree(self.layout).unit, level)

    def available(self) -> set[str]:
        """Names of variables, of their means over groups, and of new groups."""
        tree, levels = count_tree(self.layout), self.layout.levels
        names = {p.name for p in self.layout.parameters}
        if not levels:
            return names
        names |= {theta_name(levels[-1].name, "Intercept"), *self._coarse}
        names |= {
            q.averaged.name for name, q in self.layout.quantities.items() if q.role == "group value" and name in names
        }
        if tree.word != "none" and (rate_name(self.layout) or self.layout.intercept):
            names |= {
                f"new({levels[i].name})"
                for i in {*range(min(tree.above, default=tree.unit), tree.unit), len(levels) - 1}
            }
        return names
