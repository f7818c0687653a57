"""Any model as a NumPyro function over everything: group values, coefficients, hyperparameters.

`build` writes the function; it samples, coarse to fine, the sites that `hiermodels.models.catalogue` writes out by
hand:

| site | law |
|---|---|
| ``Intercept``, ``treated``, ``sd_<g>``, ``sigma``, ``mean_<g>``, ``kappa_<g>``, ... | the parameter's prior |
| ``chol_<g>`` | LKJ, Cholesky factor of ``cor_<g>`` |
| ``theta_<g>`` centred; ``eta_<g>`` non-centred | N(parent's value, sd^2); N(0, 1); ``theta_<p>_log_kappa`` and ``eta_<p>_log_kappa`` likewise |
| ``coef_<g>`` centred; ``eta_<g>`` non-centred, correlated effects | multivariate; shape (group, effect) |
| ``theta_<g>`` of counts | Beta or Gamma; ``rate_<g>`` where completely pooled groups lie below |
| ``y`` | the outcome; ``y_`` where a predictor is called ``y`` |

and records every ``theta_<g>`` and ``cor_<g>`` that is no site with `numpyro.deterministic`. Padded groups are masked;
a factor ``padding_<site>`` keeps their values from drifting and is zero at zero.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpyro
from jax import Array
from numpyro import distributions as dist
from numpyro import handlers

from hiermodels.models.counts import check_tree, count_tree, log_precision, precision, rate_name
from hiermodels.models.layout import Layout, Parameter, unit_of
from hiermodels.models.outcomes import outcome_law, unpooled_law
from hiermodels.models.populations import centre
from hiermodels.models.problem import Data
from hiermodels.models.row_means import rates_without_groups
from hiermodels.models.sites import Centring, hyperparameter, in_order, is_centred, outcome_site, padded
from hiermodels.models.statements import (
    Averaged,
    Free,
    Inherited,
    Rates,
    Scattered,
    Shared,
    Statement,
    rate_site,
    statements,
)
from hiermodels.models.tree import tree_of
from hiermodels.models.units import inner_design, inner_sd, stands_of
from hiermodels.priors import fixed
from hiermodels.quantities import INTERCEPT, cor_name, sd_name, theta_name

__all__ = ["build", "hyperparameters", "known_variances"]


def build(layout: Layout, centred: Centring = False) -> Callable[..., None]:
    """A model that has met its design, as a NumPyro model function.

    Parameters
    ----------
    layout : Layout
        From `hiermodels.models.data.bind`; crossed groupings too.
    centred : bool or tuple of str
        Sample the group values themselves (``theta_<g>``), or standardised deviations from their parents
        (``eta_<g>``); or the names of the sites that are sampled themselves. Beta and gamma populations are in any
        case.

    Returns
    -------
    callable
        ``model(data, y=None)``; ``y`` has shape (obs,), None simulates.

    Raises
    ------
    ValueError
        For a centred level whose sd is fixed at zero, and for counts in groups that have no population law.

    Examples
    --------
    >>> import numpyro, jax
    >>> from hiermodels.datasets import load_dataset
    >>> from hiermodels.models.data import as_jax, bind
    >>> from hiermodels.models.sites import find_sites
    >>> from hiermodels.models.spec import Model
    >>> problem = bind(Model("effect ~ 1 + (1 | school)", known_se="se"), load_dataset("eight_schools"))
    >>> data = as_jax(problem.data)
    >>> [site.name for site in find_sites(build(problem.layout), data, data.y)]
    ['Intercept', 'sd_school', 'eta_school']
    """
    if not layout.normal_groups:
        check_tree(layout)
    for statement in statements(layout):
        if isinstance(statement, Scattered) and is_centred(centred, statement.site):
            for name in (sd_name(statement.owner, column) for column in statement.columns):
                if (p := layout.parameter(name)) is not None and p.prior == fixed(0):
                    raise ValueError(
                        f"priors: {p.name}: {p.prior} leaves the centred group values no spread; use centred=False"
                    )
    return lambda data, y=None: _model(layout, centred, data, y)


def _model(layout: Layout, centred: Centring, data: Data, y: Array | None) -> None:
    phi = hyperparameters(layout.parameters, known_variances(layout, data), stands_of(layout, data))
    sites = _Sites(layout, centred, phi, data)
    for statement in statements(layout):
        sites.add(statement)
    there, law = sites.rows() if layout.normal_groups else sites.counts()
    with handlers.mask(mask=there):
        numpyro.sample(outcome_site(layout), law, obs=None if y is None else jnp.where(there, y, layout.law.blank))


class _Sites:
    """Sites of group values, statement by statement.

    ``values`` holds what rows depend on, by level and name of the coefficient, ``shown`` means of children, and
    ``rates`` the probabilities or rates of a level's groups.
    """

    def __init__(self, layout: Layout, centred: Centring, phi: dict[str, Array], data: Data) -> None:
        self.layout, self.centred, self.phi, self.data = layout, centred, phi, data
        self.tree = tree_of(layout, data)
        self.outcome: Array | float = 1.0 if data.units is None else data.units.outcome
        self.population = {
            layout.columns[c]: self.outcome * phi[name] for c in layout.population if (name := layout.columns[c]) in phi
        }
        if not layout.normal_groups:
            self.population |= {INTERCEPT: centre(layout, phi)} | {
                n: phi[n] for n in (log_precision(layout),) if n in phi
            }
        self.values: dict[tuple[int, str], Array] = {}
        self.shown: dict[tuple[int, str], Array] = {}
        self.rates: dict[int, Array] = {}

    def add(self, statement: Statement) -> None:
        """Sample or record what a statement is about."""
        level = self.layout.levels[statement.level]
        match statement:
            case Scattered():
                self._scattered(statement)
            case Free():
                for column, name in zip(statement.columns, statement.names, strict=True):
                    drawn = padded(name, unpooled_law(self.layout, level.size), self.data.real[statement.level])
                    self.values[statement.level, column] = self.outcome * drawn
            case Shared():
                for column, name in zip(statement.columns, statement.names, strict=True):
                    self.values[statement.level, column] = numpyro.deterministic(
                        name, self.above(statement.level, column)
                    )
            case Averaged():
                self._averaged(statement)
            case Rates():
                self.rates[statement.level] = self._rates(statement)
            case Inherited():
                self._record(statement.level, self.rate_at(statement.level))

    # normal groups --------------------------------------------------------------------------------------------------

    def value(self, i: int, column: str) -> Array:
        """A coefficient in each group of level i: its own, or what is above."""
        return self.values[i, column] if (i, column) in self.values else self.above(i, column)

    def above(self, i: int, column: str) -> Array:
        """What the groups of level i scatter around in one coefficient; (group,)."""
        return self.tree.inherited(self.values, i, column, self.population.get(column, jnp.zeros(())))

    def _scattered(self, statement: Scattered) -> None:
        real, size, columns = self.data.real[statement.level], self.outcome, statement.columns
        above = [self.above(statement.level, column) for column in columns]
        sds = [inner_sd(self.layout, self.data.units, statement.owner, column, self.phi) for column in columns]
        centred = is_centred(self.centred, statement.site)
        if len(columns) == 1:
            mean, scale = above[0], sds[0]
            law: dist.Distribution = (
                dist.Normal(mean / size, scale / size) if centred else dist.Normal(jnp.zeros_like(mean), 1.0)
            )
        else:
            mean, scale = jnp.stack(above, axis=-1), jnp.stack(sds)[:, None] * self.phi[cor_name(statement.owner)]
            noise = dist.Normal(jnp.zeros_like(mean), 1.0).to_event(1)
            law = dist.MultivariateNormal(mean / size, scale_tril=scale / size) if centred else noise
        drawn = padded(statement.site if centred else statement.eta, law, real)
        whole = size * drawn if centred else mean + (scale * drawn if len(columns) == 1 else drawn @ scale.T)
        for k, (column, name) in enumerate(zip(columns, statement.names, strict=True)):
            self.values[statement.level, column] = found = whole if len(columns) == 1 else whole[:, k]
            if not centred or len(columns) > 1:
                numpyro.deterministic(name, found)

    def _averaged(self, statement: Averaged) -> None:
        i, child = statement.level, statement.child
        if not self.layout.normal_groups:
            self.rates[i] = self.tree.mean_of_children(self.rates[child], child)
            self._record(i, self.rates[i])
            return
        for column, name in zip(statement.columns, statement.names, strict=True):
            self.shown[i, column] = self.tree.mean_of_children(
                self.shown.get((child, column), self.value(child, column)), child
            )
            numpyro.deterministic(name, self.shown[i, column])

    def rows(self) -> tuple[Array, dist.Distribution]:
        """Which rows are there, and the law of their outcomes around the linear predictor."""
        layout, data, x = self.layout, self.data, inner_design(self.layout, self.data)
        mean = jnp.zeros(layout.obs)
        for c in layout.population:
            mean = mean + x[:, c] * self.population[layout.columns[c]]
        for i, level in enumerate(layout.levels):
            for e in level.effects:
                column = layout.columns[e]
                mean = mean + x[:, e] * self.tree.at_rows(self.value(i, column) - self.above(i, column), i)
        if data.units is not None and layout.law.exposed:
            mean = mean - jnp.log(data.units.exposure)
        return data.weight > 0, outcome_law(layout, mean, self.phi, data)

    # probabilities and rates ----------------------------------------------------------------------------------------

    def _rates(self, statement: Rates) -> Array:
        i, layout, population, site = statement.level, self.layout, self.layout.law.population, rate_site(self.layout)
        real, size = self.data.real[i], self.layout.levels[i].size
        if statement.pooling == "none":
            law, log_density = population.unpooled_law(size, layout.law.unpooled)
            rate = padded(site, law, real, population.padding)
            if log_density is not None:
                numpyro.factor(f"prior_{site}", jnp.sum(jnp.where(real, log_density(rate), 0.0)))
        elif statement.pooling == "complete":
            rate = self._mean(i)
        else:
            mean, name = self._mean(i), log_precision(layout)
            concentration = jnp.exp(self.above(i, name)) if name in self.population else self.phi[precision(layout)]
            rate = padded(site, population.law(mean, concentration), real, population.padding)
        return rate

    def _mean(self, i: int) -> Array:
        """Population mean of each unit on its natural scale; predictors are averaged over its rows."""
        layout, data, name = self.layout, self.data, rate_name(self.layout)
        if name is not None:
            return jnp.broadcast_to(self.phi[name], (layout.levels[i].size,))
        there = (data.size > 0).astype(data.y.dtype)
        total, count = self.tree.sum_rows(there * self._slopes(), i), self.tree.sum_rows(there, i)
        return layout.link.inverse(self.above(i, INTERCEPT) + total / jnp.maximum(count, 1.0))

    def _slopes(self) -> Array:
        """Predictors' part of each row on the link scale."""
        layout, x = self.layout, inner_design(self.layout, self.data)
        terms = (x[:, c] * self.phi[layout.columns[c]] for c in layout.population if layout.columns[c] != INTERCEPT)
        return sum(terms, start=jnp.zeros(layout.obs))

    def _record(self, i: int, rate: Array) -> None:
        """Show rates: those of the finest level as they are, others on the link scale."""
        shown = rate if i == len(self.layout.levels) - 1 else self.layout.link.forward(rate)
        numpyro.deterministic(theta_name(self.layout.levels[i].name, INTERCEPT), shown)

    def rate_at(self, i: int) -> Array:
        """Rate of each group of a level at the units or below."""
        unit = count_tree(self.layout).unit
        return self.tree.spread_down(self.rates[unit], unit, i)

    def counts(self) -> tuple[Array, dist.Distribution]:
        """Which rows are there, and the law of their counts at a rate."""
        layout, last = self.layout, len(self.layout.levels) - 1
        if last >= 0:
            rate = self.tree.at_rows(self.rate_at(last), last)
        else:
            rate = rates_without_groups(layout, self.phi, inner_design(layout, self.data))
        there = self.data.size > 0
        return there, layout.law.at_rate(rate, jnp.where(there, self.data.size, 1.0))


# hyperparameters ------------------------------------------------------------------------------------------------------


def hyperparameters(
    parameters: tuple[Parameter, ...], variances: Array | None, stands: Mapping[str, Array] | None = None
) -> dict[str, Array]:
    """Values by name; a correlation as its lower Cholesky factor."""
    phi: dict[str, Array] = {}
    for p in in_order(parameters):
        if p.kind == "correlation":
            factor = numpyro.sample(f"chol_{p.owner}", p.prior.cholesky(p.size))
            numpyro.deterministic(p.name, factor @ factor.T)
            phi[p.name] = factor
        else:
            unit = unit_of(p, parameters)
            unit_value, by = None if unit is None else phi[unit.name], None if stands is None else stands[p.name]
            phi[p.name] = hyperparameter(p.name, p.inner, p.kind, variances, unit_value, by)
    return phi


def known_variances(layout: Layout, data: Data) -> Array | None:
    """Known variance of each finest group's mean, infinite without rows; what ``reference()`` needs."""
    if not layout.known or not layout.levels:
        return None
    total = tree_of(layout, data).sum_rows(data.weight, len(layout.levels) - 1)
    return jnp.where(total > 0, 1 / jnp.where(total > 0, total, 1.0), jnp.inf)
