"""Rao-Blackwellised coverage: the chance that an interval holds its group's value, given the data and the true
hyperparameters.

Where hyperparameters are fixed and group values are drawn (regime: population), the law of a group's value given the
data and the truth is known in closed form, so that the indicator "the interval covers" can be replaced by its
expectation,

    P(lower <= theta <= upper | y, phi_true) = F(upper) - F(lower),

with F normal, beta or gamma. The mean is the same coverage, its Monte Carlo error smaller (Morris and Tang's Rgbp
reports both). Datasets are simulated again from their keys; nothing is fitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array
from numpy.typing import NDArray

from hiermodels.families.component import KINDS
from hiermodels.models.data import bind
from hiermodels.models.factorise import Factorised, factorise
from hiermodels.models.problem import Problem, as_jax
from hiermodels.models.spec import Model
from hiermodels.studies.config import Cell, Study
from hiermodels.studies.mechanisms.predictors import without_reference
from hiermodels.studies.mechanisms.rows import Rows
from hiermodels.studies.methods.ready import mechanism_of
from hiermodels.studies.methods.tasks import redrawn_columns, rows_of, simulate_chunk
from hiermodels.studies.score.errors import Errors
from hiermodels.studies.score.measures.biases import Bias
from hiermodels.studies.score.scores import PERFORMANCE

if TYPE_CHECKING:
    from hiermodels.studies.store.results import Run

__all__ = ["rao_blackwell"]

type Floats = NDArray[np.float64]


def rao_blackwell(run: Run) -> pd.DataFrame:
    """Rao-Blackwellised coverage of group values, by cell, method and estimand.

    Parameters
    ----------
    run : Run
        In the population regime, without Python functions.

    Returns
    -------
    DataFrame
        Rows as in the table of performance, measure ``rb_cover``: a row a group and ``[mean]``; the replicate is the
        unit.

    Raises
    ------
    ValueError
        For another regime, correlated effects, and groups whose conditional law has no closed form.

    Examples
    --------
    >>> import hiermodels as hm
    >>> run = hm.run("eight_schools", "runs/example", progress=False)  # doctest: +SKIP
    >>> rao_blackwell(run).query("group == '[mean]'")  # doctest: +SKIP
    """
    regimes = list(run.manifest["regime"])
    if regimes != ["population"]:
        raise ValueError(
            f"rao_blackwell: expected fixed hyperparameters and drawn groups (regime: population), found "
            f"{', '.join(regimes)}; take another run"
        )
    study = Study.from_resolved(run.config)
    parts = [_cell(study, cell, run.estimates, run.factors) for cell in study.cells()]
    return pd.concat(parts, ignore_index=True)


def _cell(study: Study, cell: Cell, estimates: pd.DataFrame, factors: list[str]) -> pd.DataFrame:
    here = estimates
    for name in factors:
        here = here[here[name].astype(object) == cell.factors[name]]
    reps = np.unique(here["rep"].to_numpy())
    laws, problem = _laws(study, cell, reps)
    rows = []
    for (method, estimand), part in here.groupby(["method", "estimand"], sort=False, observed=True):
        if estimand not in laws:
            continue
        kind, *numbers = laws[str(estimand)]
        labels = problem.labels[
            next(v.name for v in problem.layout.levels if estimand in problem.layout.effect_names(v))
        ]
        ends = [_matrix(part, column, reps, labels) for column in ("lower", "upper")]
        chance = _cdf(kind, ends[1], *numbers) - _cdf(kind, ends[0], *numbers)
        chance[np.isnan(ends[0]) | np.isnan(ends[1])] = np.nan
        failed = part["status"].astype(str).eq("nonfinite").groupby(part["rep"]).any().sum()
        for average, groups in ((False, labels), (True, ["[mean]"])):
            found = Bias()(Errors(chance, np.zeros_like(chance), average=average))
            columns = {name: np.atleast_1d(getattr(found, name)) for name in ("value", "mcse", "lower", "upper", "n")}
            columns["lower"], columns["upper"] = np.maximum(columns["lower"], 0.0), np.minimum(columns["upper"], 1.0)
            table = pd.DataFrame({"group": groups, "measure": "rb_cover", **columns})
            rows.append(
                table.assign(
                    **cell.factors,
                    method=str(method),
                    estimand=str(estimand),
                    n_sim=len(reps),
                    n_failed=int(failed),
                    n_retried=0,
                )
            )
    if not rows:
        return pd.DataFrame()
    table = pd.concat(rows, ignore_index=True)
    return table[[*factors, *PERFORMANCE]]


def _matrix(part: pd.DataFrame, column: str, reps: Any, labels: list[str]) -> Floats:
    wide = part.pivot(index="rep", columns="group", values=column)
    wide.columns = wide.columns.astype(str)
    return wide.reindex(index=reps, columns=labels).to_numpy(float)


def _laws(study: Study, cell: Cell, reps: NDArray[Any]) -> tuple[dict[str, tuple[Any, ...]], Problem]:
    """Conditional law of every group value: its kind, and its numbers, each (..., replicate, group)."""
    m, mechanism = study.mechanisms, mechanism_of(study, cell)
    if callable(m.formula) or getattr(mechanism, "deviation", None) is not None:
        raise ValueError(
            "rao_blackwell: expected data from a declared model, found a function or a deviation from it; its "
            "conditional law is not known"
        )
    model = Model(m.formula, m.family, known_se=m.known_se, trials=m.trials, exposure=m.exposure, weights=m.weights)
    free = bind(model, mechanism.frame, outcome=False, priors=False)
    if any(p.kind == "correlation" for p in free.layout.parameters):
        raise ValueError("rao_blackwell: expected independent effects, found a correlation; write (1 + x || group)")
    priors = {p.name: f"fixed({float(_given(cell.truth, p.name)):.17g})" for p in free.layout.parameters}
    problem = bind(replace(model, priors=priors), mechanism.frame, outcome=False)
    law = factorise(problem.layout)
    if law.dim:
        raise ValueError(
            "rao_blackwell: expected groups that are independent given the hyperparameters, found counts in nested "
            "groups; take one grouping"
        )
    wanted = tuple(n for level in problem.layout.levels for n in problem.layout.effect_names(level))
    problem = without_reference(problem, mechanism.redrawn)
    law = factorise(problem.layout)
    outcomes, _ = simulate_chunk(study, mechanism, reps)
    rows = rows_of(mechanism, problem, outcomes, redrawn_columns(study, mechanism, reps))
    with jax.enable_x64(True):
        found = _components(law, problem, wanted, jax.tree.map(jnp.asarray, rows))
    places = {
        n: problem.positions[level.name] for level in problem.layout.levels for n in problem.layout.effect_names(level)
    }
    return {
        n: (kind, *(np.asarray(x)[..., places[n]] for x in numbers)) for n, (kind, *numbers) in found.items()
    }, problem


def _given(truth: Mapping[str, Any], name: str) -> Any:
    value = truth.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"rao_blackwell: {name}: expected a true number, found {value!r}; fix it in the truth")
    return value


def _components(
    law: Factorised, problem: Problem, wanted: tuple[str, ...], rows: Array | Rows
) -> dict[str, tuple[Any, ...]]:
    data = as_jax(problem.data)
    kinds: dict[str, str] = {}

    def one(row: Array | Rows) -> dict[str, tuple[Array, ...]]:
        row = row if isinstance(row, Rows) else Rows(row)
        found = law.components(jnp.zeros(0), law.prepare(row.onto(problem.layout, data)), wanted)
        kinds.update({n: c.kind for n, c in found.items()})
        return {
            n: (c.a, jnp.broadcast_to(c.b, c.a.shape), *([] if c.more is None else [c.more])) for n, c in found.items()
        }

    numbers = jax.jit(lambda some: jax.lax.map(one, some, batch_size=64))(rows)
    return {n: (kinds[n], a, b, *(jnp.moveaxis(x, 1, 0) for x in more)) for n, (a, b, *more) in numbers.items()}


def _cdf(kind: str, x: Floats, *numbers: Floats) -> Floats:
    """Distribution function of a component; see `hiermodels.families.component.Component`."""
    with np.errstate(all="ignore"):
        return KINDS[kind].cdf(x, *numbers)
