"""Any model as a NumPyro function over everything: group values, coefficients, hyperparameters.

`build` writes the function; it samples, coarse to fine, the sites that `hiermodels.models.catalogue` writes
out by hand:

| site | law |
|---|---|
| ``Intercept``, ``treated``, ``sd_<g>``, ``sigma``, ``mean_<g>``, ... | the parameter's prior |
| ``chol_<g>`` | LKJ, Cholesky factor of ``cor_<g>`` |
| ``theta_<g>`` centred; ``eta_<g>`` non-centred | N(parent's value, sd^2); N(0, 1) |
| ``coef_<g>`` centred; ``eta_<g>`` non-centred, correlated effects | multivariate; shape (group, effect) |
| ``y`` | the outcome; ``y_`` where a predictor is called ``y`` |

and records every ``theta_<g>`` and ``cor_<g>`` that is no site with `numpyro.deterministic`. Padded groups
are masked; a factor ``padding_<site>`` keeps their values from drifting and is zero at zero.

`Explicit` runs such a function behind the interface of a factorised model; `marginalised` is the NumPyro
function of the hyperparameters alone; `user_model` takes a user's own function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro import handlers

from hiermodels.models import count_sites, hyper, starting
from hiermodels.models.data import variable_names
from hiermodels.models.factorise import factorise
from hiermodels.models.layout import Layout, LevelLayout, Parameter, unit_of
from hiermodels.models.outcomes import outcome_law, unpooled_law
from hiermodels.models.problem import Data
from hiermodels.models.sites import (
    Centring,
    Site,
    find_sites,
    flat_log_density,
    hyperparameter,
    in_order,
    is_centred,
    outcome_site,
    padded,
    to_flat,
)
from hiermodels.models.tree import tree_of
from hiermodels.models.units import inner_design, shown, stands_of, with_outcome_scale
from hiermodels.priors import fixed
from hiermodels.quantities import cor_name, sd_name

__all__ = ["Explicit", "build", "marginalised"]


def build(layout: Layout, centred: Centring = False) -> Callable[..., None]:
    """A model that has met its design, as a NumPyro model function.

    Parameters
    ----------
    layout : Layout
        From `hiermodels.models.data.bind`; crossed groupings too.
    centred : bool or tuple of str
        Sample the group values themselves (``theta_<g>``), or standardised deviations from their parents
        (``eta_<g>``); or the names of the sites that are sampled themselves. Beta and gamma populations are in any case.

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
    >>> from hiermodels.models.spec import Model
    >>> problem = bind(Model("effect ~ 1 + (1 | school)", known_se="se"), load_dataset("eight_schools"))
    >>> data = as_jax(problem.data)
    >>> [site.name for site in find_sites(build(problem.layout), data, data.y)]
    ['Intercept', 'sd_school', 'eta_school']
    """
    if not layout.normal_groups:
        count_sites.check_tree(layout)
        return lambda data, y=None: count_sites.count_model(layout, centred, data, y)
    for p in layout.parameters if centred else ():
        if p.prior == fixed(0) and p.kind == "positive" and _spreads_centred(layout, p.name, centred):
            raise ValueError(
                f"priors: {p.name}: {p.prior} leaves the centred group values no spread; use centred=False"
            )
    return lambda data, y=None: _normal_model(layout, centred, data, y)


def _spreads_centred(layout: Layout, name: str, centred: Centring) -> bool:
    """Whether this is the sd of group values that are sampled themselves."""
    for level in layout.levels:
        for block in level.blocks:
            names = [sd_name(level.name, layout.columns[level.effects[b]]) for b in block]
            site = f"coef_{level.name}" if len(block) > 1 else layout.effect_names(level)[block[0]]
            if name in names and is_centred(centred, site):
                return True
    return False


# normal hierarchies -----------------------------------------------------------------------------------------


def _normal_model(layout: Layout, centred: Centring, data: Data, y: Array | None) -> None:
    phi, x = _hyperparameters(layout.parameters, _variances(layout, data), stands_of(layout, data)), inner_design(layout, data)
    population = {c: _outcome(data) * phi[layout.columns[c]] for c in layout.population}
    values = _group_values(layout, centred, phi, population, data)
    mean = jnp.zeros(layout.obs)
    for c, value in population.items():
        mean = mean + x[:, c] * value
    for i, level in enumerate(layout.levels):
        above = _above(layout, i, values, population, data)
        for e in level.effects:
            mean = mean + x[:, e] * tree_of(layout, data).at_rows(values[i][e] - above[e], i)
    if data.units is not None and layout.law.exposed:
        mean = mean - jnp.log(data.units.exposure)
    _report(layout, centred, values, data)
    with handlers.mask(mask=data.weight > 0):
        numpyro.sample(outcome_site(layout), outcome_law(layout, mean, phi, data), obs=y)


def _outcome(data: Data) -> Array | float:
    """What sites of coefficients and of group values are multiplied by: they are on a scale of about one inside."""
    return 1.0 if data.units is None else data.units.outcome


def _spread(layout: Layout, level: LevelLayout, e: int, phi: dict[str, Array], data: Data) -> Array:
    """Standard deviation between groups of an inner coefficient."""
    sd = phi[sd_name(level.name, layout.columns[e])]
    return sd if data.units is None or e in layout.origin else sd / data.units.inward[e, e]


def _hyperparameters(
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


def _variances(layout: Layout, data: Data) -> Array | None:
    """Known variance of each finest group's mean, infinite without rows; what ``reference()`` needs."""
    if not layout.known or not layout.levels:
        return None
    total = tree_of(layout, data).sum_rows(data.weight, len(layout.levels) - 1)
    return jnp.where(total > 0, 1 / jnp.where(total > 0, total, 1.0), jnp.inf)


def _above(
    layout: Layout, i: int, values: list[dict[int, Array]], population: dict[int, Array], data: Data
) -> dict[int, Array]:
    """Coefficients around which the groups of level i scatter, every column; each (group,)."""
    level = layout.levels[i]
    if level.parent >= 0:
        return {c: tree_of(layout, data).spread_down(v, level.parent, i) for c, v in values[level.parent].items()}
    columns = range(len(layout.columns))
    return {c: jnp.broadcast_to(population.get(c, jnp.zeros(())), (level.size,)) for c in columns}


def _group_values(
    layout: Layout, centred: Centring, phi: dict[str, Array], population: dict[int, Array], data: Data
) -> list[dict[int, Array]]:
    """Sample every level, coarse to fine: a dict of column to coefficient of each group."""
    values: list[dict[int, Array]] = []
    for i, level in enumerate(layout.levels):
        here = _above(layout, i, values, population, data)
        if level.pooling == "none" and layout.unpooled_below(i) is None:
            for e, name in zip(level.effects, layout.effect_names(level), strict=True):
                here[e] = _outcome(data) * padded(name, unpooled_law(layout, level.size), data.real[i])
        for block in level.blocks if level.pooling == "partial" else ():
            sample = _independent if len(block) == 1 else _correlated
            here |= sample(layout, level, block, centred, phi, here, data, data.real[i])
        values.append(here)
    return values


def _independent(
    layout: Layout,
    level: LevelLayout,
    block: tuple[int, ...],
    centred: Centring,
    phi: dict[str, Array],
    above: dict[int, Array],
    data: Data,
    real: Array,
) -> dict[int, Array]:
    e, size = level.effects[block[0]], _outcome(data)
    name, sd = layout.effect_names(level)[block[0]], _spread(layout, level, e, phi, data)
    if is_centred(centred, name):
        return {e: size * padded(name, dist.Normal(above[e] / size, sd / size), real)}
    eta = padded("eta" + name[len("theta") :], dist.Normal(jnp.zeros(level.size), 1.0), real)
    return {e: above[e] + sd * eta}


def _correlated(
    layout: Layout,
    level: LevelLayout,
    block: tuple[int, ...],
    centred: Centring,
    phi: dict[str, Array],
    above: dict[int, Array],
    data: Data,
    real: Array,
) -> dict[int, Array]:
    effects, size = [level.effects[b] for b in block], _outcome(data)
    sds = jnp.stack([_spread(layout, level, e, phi, data) for e in effects])
    scale = sds[:, None] * phi[cor_name(level.name)]
    mean = jnp.stack([above[e] for e in effects], axis=-1)
    if is_centred(centred, f"coef_{level.name}"):
        whole = size * padded(f"coef_{level.name}", dist.MultivariateNormal(mean / size, scale_tril=scale / size), real)
    else:
        eta = padded(f"eta_{level.name}", dist.Normal(jnp.zeros_like(mean), 1.0).to_event(1), real)
        whole = mean + eta @ scale.T
    return {e: whole[:, k] for k, e in enumerate(effects)}


def _report(layout: Layout, centred: Centring, values: list[dict[int, Array]], data: Data) -> None:
    """Record group values; above an unpooled level a value is the unweighted mean of its children."""
    shown = [dict(v) for v in values]
    for i in reversed(range(len(layout.levels))):
        k = layout.unpooled_below(i)
        if k is not None:
            for e in layout.levels[i].effects:
                shown[i][e] = tree_of(layout, data).mean_of_children(shown[k][e], k)
    for i, level in enumerate(layout.levels):
        for e, name in zip(level.effects, layout.effect_names(level), strict=True):
            if e not in _sampled(layout, i, centred):
                numpyro.deterministic(name, shown[i][e])


def _sampled(layout: Layout, i: int, centred: Centring) -> set[int]:
    """Columns whose group values are sites of their own."""
    level = layout.levels[i]
    if level.pooling == "none":
        return set(level.effects) if layout.unpooled_below(i) is None else set()
    if level.pooling != "partial":
        return set()
    alone = [b[0] for b in level.blocks if len(b) == 1]
    return {level.effects[b] for b in alone if is_centred(centred, layout.effect_names(level)[b])}


# over one flat vector ---------------------------------------------------------------------------------------


@cache
def _explicit_sites(layout: Layout, centred: Centring) -> tuple[Site, ...]:
    return find_sites(build(layout, centred), _blank(layout), jnp.zeros(layout.obs))


def _blank(layout: Layout) -> Data:
    """Arrays of the layout's shapes, for tracing."""
    rows = jnp.ones(layout.obs)
    sizes = [level.size for level in layout.levels]
    return Data(
        jnp.zeros(layout.obs),
        jnp.ones((layout.obs, len(layout.columns))),
        rows,
        rows,
        tuple(jnp.zeros(layout.obs, int) for _ in sizes),
        tuple(jnp.zeros(n, int) for n in sizes),
        tuple(jnp.ones(n, bool) for n in sizes),
    )


@dataclass(frozen=True)
class Explicit:
    """A model with everything in one flat unconstrained vector, behind the interface of a factorised model.

    Parameters
    ----------
    layout : Layout
    centred : bool or tuple of str
        As in `build`.

    Notes
    -----
    Everything is pure; ``data`` may be traced. Site order is `find_sites`'s: hyperparameters, then groups
    coarse to fine.

    Examples
    --------
    >>> from hiermodels.datasets import load_dataset
    >>> from hiermodels.models.data import bind
    >>> from hiermodels.models.spec import Model
    >>> problem = bind(Model("effect ~ 1 + (1 | school)", known_se="se"), load_dataset("eight_schools"))
    >>> Explicit(problem.layout).dim
    10
    """

    layout: Layout
    centred: Centring = False

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Hyperparameters and coefficients, in the order of their sites."""
        return in_order(self.layout.parameters)

    @property
    def sites(self) -> tuple[Site, ...]:
        """Where each latent site lives in the flat vector."""
        return _explicit_sites(self.layout, self.centred)

    @property
    def dim(self) -> int:
        """Length of the unconstrained vector, padded groups included."""
        return self.sites[-1].stop if self.sites else 0

    def prepare(self, data: Data) -> Data:
        """The data themselves, and the scale of an outcome with a scale."""
        return with_outcome_scale(self.layout, data) if self.layout.link.identity else data

    def log_density(self, u: Array, data: Data) -> Array:
        """Log p(y | u) + log p(u), Jacobian included."""
        return flat_log_density(build(self.layout, self.centred), self.sites, u, data, data.y)[0]

    def constrain(self, u: Array) -> dict[str, Array]:
        """Value of every latent site, by site name."""
        blank = _blank(self.layout)
        trace = flat_log_density(build(self.layout, self.centred), self.sites, u, blank, blank.y)[1]
        return {site.name: trace[site.name]["value"] for site in self.sites}

    def draw(self, key: Array, u: Array, data: Data) -> dict[str, Array]:
        """Every reported variable at u, group axes padded; everything follows from u, so ``key`` is free."""
        trace = flat_log_density(build(self.layout, self.centred), self.sites, u, data, data.y)[1]
        return reported(self.layout, data, {name: (trace[name]["type"], trace[name]["value"]) for name in variable_names(self.layout)})

    def start(self, data: Data) -> Array:
        """Moments of the data: group values halfway from the overall mean to their own; shape (dim,)."""
        values = {name: self._on_site(name, x, data) for name, x in starting.moments(self.layout, data).items()}
        return to_flat(build(self.layout, self.centred), self.sites, values.get, data, data.y)


    def _on_site(self, name: str, value: Array, data: Data) -> Array:
        """A guess in the user's units as the site of that name holds it."""
        layout = self.layout
        p = layout.parameter(name)
        if data.units is None or not layout.normal_groups:
            return value
        if p is not None and p.role == "group sd":
            c = layout.columns.index(p.effect)
            return value if c in layout.origin else value * data.units.inward[c, c]
        if p is not None and p.role == "coefficient":
            c = layout.columns.index(p.effect)
            return value / (data.units.inward[c, c] * data.units.outcome)
        of_groups = any(name in (*layout.effect_names(v), f"coef_{v.name}") for v in layout.levels)
        return value / data.units.outcome if of_groups else value


def reported(layout: Layout, data: Data, sites: Mapping[str, tuple[str, Array]]) -> dict[str, Array]:
    """Variables as they are shown, from the model's sites: (``sample`` or ``deterministic``, value) by name."""
    names = {name for level in layout.levels for name in layout.effect_names(level)}
    names |= {p.name for p in layout.parameters if p.role == "coefficient"}
    outside = {p.name for p in layout.parameters}
    size = _outcome(data) if layout.normal_groups else 1.0
    inside = {
        name: x * size if name in names and (kind == "sample" or name in outside) else x for name, (kind, x) in sites.items()
    }
    return shown(layout, data, inside)


# hyperparameters alone --------------------------------------------------------------------------------------


def marginalised(layout: Layout) -> Callable[[Data], None]:
    """The NumPyro function of phi alone: every other level integrated out into one factor, ``log_marginal``.

    Parameters
    ----------
    layout : Layout
        One that `hiermodels.models.factorise.factorise` accepts.

    Returns
    -------
    callable
        ``model(data)``. Draw the group values given a draw of phi with ``factorise(layout).draw``.

    Examples
    --------
    >>> from hiermodels.datasets import load_dataset
    >>> from hiermodels.models.data import as_jax, bind
    >>> from hiermodels.models.spec import Model
    >>> problem = bind(Model("effect ~ 1 + (1 | school)", known_se="se"), load_dataset("eight_schools"))
    >>> [site.name for site in find_sites(marginalised(problem.layout), as_jax(problem.data))]
    ['sd_school']
    """
    pair = factorise(layout)
    kept = hyper.dimension(pair.parameters)

    def model(data: Data) -> None:
        stands = stands_of(layout, data)
        phi = _hyperparameters(pair.parameters, _variances(layout, data), stands)
        u = hyper.unconstrain(pair.parameters, phi, stands)
        if pair.dim > kept:  # counts in deeper trees: explicit deviations above the finest level
            u = jnp.concatenate(
                [u, numpyro.sample("deviations", dist.Normal(jnp.zeros(pair.dim - kept), 1.0).to_event(1))]
            )
        numpyro.factor("log_marginal", pair.log_likelihood(u, pair.prepare(data)))

    return model
