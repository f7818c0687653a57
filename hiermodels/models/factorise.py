"""Any model that factorises, as ``log p(phi | y)`` and an exact draw of everything else given phi.

    p(theta, phi | y) = p(phi | y) p(theta | phi, y)

`factorise` answers with an object that has

- ``parameters``, ``dim``: what stays in phi, and the length of its unconstrained vector ``u``;
- ``prepare(data)``: sufficient statistics, computed once a dataset;
- ``log_density(u, stats)``: log p(y | phi) + log p(phi) + log Jacobian;
- ``start(stats)``, ``constrain(u, stats)``: hyperparameters as the program holds them, predictors at their means;
- ``draw(key, u, stats)``: one exact draw of every variable, by name;
- ``components(u, stats, wanted)``: the law of each wanted variable given phi, whose mixture is the posterior;
- ``sharp``: whether those laws may be far narrower than their mixture;
- ``available()``: the names that ``components`` knows;
- ``off(u, stats)``, only where groups integrate out by quadrature: what its ``log_likelihood`` is off by.
"""

from __future__ import annotations

from typing import Any, Protocol

from jax import Array

from hiermodels import families
from hiermodels.families.component import Component
from hiermodels.models.conjugate import conjugate
from hiermodels.models.gaussian import Gaussian
from hiermodels.models.layout import Layout, Parameter
from hiermodels.models.line_rules import RULES
from hiermodels.models.problem import Data
from hiermodels.models.quadrature import Quadrature

__all__ = ["Factorised", "factorise"]


class Factorised(Protocol):
    """What every factorised model offers; see the module's docstring."""

    @property
    def layout(self) -> Layout: ...
    @property
    def parameters(self) -> tuple[Parameter, ...]: ...
    @property
    def dim(self) -> int: ...
    @property
    def sharp(self) -> bool: ...
    def prepare(self, data: Data) -> Any: ...
    def start(self, stats: Any) -> Array: ...
    def constrain(self, u: Array, stats: Any = None) -> dict[str, Array]: ...
    def log_likelihood(self, u: Array, stats: Any) -> Array: ...
    def log_density(self, u: Array, stats: Any) -> Array: ...
    def draw(self, key: Array, u: Array, stats: Any) -> dict[str, Array]: ...
    def components(self, u: Array, stats: Any, wanted: tuple[str, ...]) -> dict[str, Component]: ...
    def available(self) -> set[str]: ...


def factorise(layout: Layout, accuracy: str = "fit") -> Factorised:
    """Factorise a model that has met its design.

    Parameters
    ----------
    layout : Layout
        From `hiermodels.models.data.bind`.
    accuracy : str
        Of groups that integrate out by quadrature: ``study``, ``refined``, ``fit`` or ``finest``, as of the exact
        engine.

    Raises
    ------
    ValueError
        A plain sentence: which level cannot be integrated out, and the way on.

    Examples
    --------
    >>> import hiermodels as hm
    >>> from hiermodels.models.data import bind
    >>> problem = bind(hm.Model("effect ~ 1 + (1 | school)", known_se="se"), hm.load_dataset("eight_schools"))
    >>> factorise(problem.layout).dim
    1
    """
    if layout.by_quadrature:
        return Quadrature(layout, RULES[accuracy])
    if layout.normal_groups and not layout.gaussian:
        raise ValueError(f"{_why_not(layout)}; use sampler='nuts', which then moves on every parameter")
    if layout.gaussian:
        if not layout.nested:
            crossed = next(v.name for i, v in enumerate(layout.levels) if v.parent != i - 1)
            raise ValueError(
                f"{crossed} is crossed with {layout.levels[0].name}, not nested in it, so the groups form no tree to "
                f"integrate "
                f"along; use sampler='nuts' with marginalize=False"
            )
        return Gaussian(layout)

    return conjugate(layout)


def _why_not(layout: Layout) -> str:
    """Why the normal groups of a family stay explicit."""
    if not layout.levels:
        return f"family {layout.family}: coefficients do not integrate out of its likelihood in closed form"
    first, *others = families.integrated(layout.family) or [""]
    other = first + (f" (or {', '.join(others)})" if others else "")
    hint = f" (the groups of family {other} do)" if other else ""
    summed = (
        ""
        if layout.law.peaks
        else ", and by quadrature only where one partially pooled grouping has one varying coefficient"
    )
    return (
        f"family {layout.family}: normal groups of {layout.levels[-1].name} do not integrate out of its "
        f"likelihood in closed form{hint}{summed}"
    )
