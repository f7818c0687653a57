"""A model with everything in one flat unconstrained vector, behind the interface of a factorised model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import jax.numpy as jnp
from jax import Array

from hiermodels.models import starting
from hiermodels.models.builder import build
from hiermodels.models.data import variable_names
from hiermodels.models.layout import Layout, Parameter
from hiermodels.models.problem import Data
from hiermodels.models.sites import Centring, Site, find_sites, flat_log_density, in_order, to_flat
from hiermodels.models.units import shown, start_inside, with_outcome_scale

__all__ = ["Explicit", "reported"]


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
        return reported(
            self.layout,
            data,
            {name: (trace[name]["type"], trace[name]["value"]) for name in variable_names(self.layout)},
        )

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
        if p is not None:
            return start_inside(layout, data.units, p, value)
        of_groups = any(name in (*layout.effect_names(v), f"coef_{v.name}") for v in layout.levels)
        return value / data.units.outcome if of_groups else value


def reported(layout: Layout, data: Data, sites: Mapping[str, tuple[str, Array]]) -> dict[str, Array]:
    """Variables as they are shown, from the model's sites: (``sample`` or ``deterministic``, value) by name."""
    names = {name for level in layout.levels for name in layout.effect_names(level)}
    names |= {p.name for p in layout.parameters if p.role == "coefficient"}
    outside = {p.name for p in layout.parameters}
    size = 1.0 if data.units is None or not layout.normal_groups else data.units.outcome
    inside = {
        name: x * size if name in names and (kind == "sample" or name in outside) else x
        for name, (kind, x) in sites.items()
    }
    return shown(layout, data, inside)
