"""Profile intervals of a model's group sds, correlations and sigma as a table."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from scipy.stats import chi2

from hiermodels.inference.mixed.maximum import Maximum
from hiermodels.inference.mixed.products import cross_products
from hiermodels.inference.mixed.profile import profile_interval
from hiermodels.inference.mixed.shape import shape_of
from hiermodels.models.problem import Problem, as_jax

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["profile_table"]


def profile_table(
    problem: Problem, found: Maximum, restricted: bool, level: float, wanted: str | Iterable[str] | None
) -> pd.DataFrame:
    """Columns ``estimate lower upper``, a row a parameter.

    Raises
    ------
    ValueError
        For a name that is no group sd, correlation or sigma.
    """
    import pandas as pd

    rows = _places(problem, found)
    one = isinstance(wanted, str) or not isinstance(wanted, Iterable)
    names: list[Any] = list(rows) if wanted is None else [wanted] if one else list(wanted)
    for name in names:
        if not isinstance(name, str) or name not in rows:
            near = difflib.get_close_matches(str(name), rows, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(rows)[:300]}"
            raise ValueError(f"profile: expected a group sd, a correlation or sigma, found {name!r}; {hint}")
    place, critical, table = np.append(found.theta, np.log(found.variance)), float(chi2.ppf(level, 1)), {}
    with jax.enable_x64(True):
        shape = shape_of(problem.layout)
        products = cross_products(shape, as_jax(problem.data))
        for name in names:
            which, value, root = rows[name]
            ends: tuple[float, float] = (np.nan, np.nan)
            if found.converged and np.isfinite(value):
                ends = profile_interval(shape, products, restricted, place, which, float(found.deviance), critical)
            table[name] = (value, *(float(np.sqrt(end)) if root else end for end in ends))
    return pd.DataFrame.from_dict(table, orient="index", columns=["estimate", "lower", "upper"])


def _places(problem: Problem, found: Maximum) -> dict[str, tuple[int, float, bool]]:
    """Row name to the place among the profile's quantities, the estimate, and whether that is the root of the
    quantity.
    """
    layout, k = problem.layout, 0
    rows: dict[str, tuple[int, float, bool]] = {}
    for i, here in enumerate(layout.levels):
        for e, name in enumerate(p.name for p in layout.parameters if (p.role, p.owner) == ("group sd", here.name)):
            rows[name] = (k, float(found.sds[i][e]), True)
            k += 1
        cor = next((p.name for p in layout.parameters if (p.role, p.owner) == ("correlation", here.name)), "")
        for block in (b for b in here.blocks if len(b) > 1):
            for j, a in enumerate(block):
                for b in block[:j]:
                    pair = f"{layout.columns[here.effects[b]]}, {layout.columns[here.effects[a]]}"
                    rows[f"{cor}[{pair}]"] = (k, float(found.correlations[i][a, b]), False)
                    k += 1
    if not layout.known:
        rows[next(p.name for p in layout.parameters if p.role == "residual sd")] = (k, float(found.sigma), True)
    return rows
