"""Predictions from draws: of groups in the data, of groups not in it, and of their average.

Given its draw, an observation of a normal hierarchy has mean

    mu_i = sum over columns c of x_ic (beta_c + sum over levels l of d_lc[g_l(i)]),

beta the population's coefficients and d_l the deviation of row i's group at level l from its parent. Groups in the data
have drawn deviations; a group that is not in the data gets d_l ~ N(0, S_l), S_l the drawn covariance of its level, so a
new class in a known school keeps the school's own draws. Where the outcome has a logit or log link mu is the linear
predictor, and the mean is its inverse link.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels.inference.predicted_rows import Rows
from hiermodels.inference.rates import average_rates, count_outcomes, row_rates
from hiermodels.models import checks
from hiermodels.models.columns import kind_of
from hiermodels.models.layout import LevelLayout
from hiermodels.models.outcomes import row_law
from hiermodels.models.predictors import columns
from hiermodels.models.problem import Problem
from hiermodels.quantities import cor_name, sd_name, theta_name

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["GROUPS", "KINDS", "expected", "predict", "residual_sd"]

GROUPS = ("existing", "new", "average")
KINDS = ("mean", "outcome")

Values = Mapping[str, Any]


def predict(
    values: Values,
    problem: Problem,
    frame: pd.DataFrame,
    new_data: pd.DataFrame | None,
    *,
    groups: str = "existing",
    kind: str = "mean",
    seed: int = 0,
) -> np.ndarray:
    """Draws of the mean, or of an outcome, of every row.

    Parameters
    ----------
    values : mapping of str to ndarray
        Draws by variable, (chain, draw, *dims), real groups only.
    problem : Problem
        What was fitted.
    frame : DataFrame
        The data it was fitted to.
    new_data : DataFrame or None
        Rows to predict; None for the fitted ones.
    groups : str
        ``existing``: every row's groups are in the data. ``new``: groups that are not in the data, or whose
        column is missing, are drawn from the population (rows that share a label share the group; without a
        column each row has its own); groups in the data stay themselves, but without ``new_data`` each is
        replaced by a new one. ``average``: over the combinations of groups in the data, each counted once;
        the outcome is that of one of them at random.
    kind : str
        ``mean`` (a probability or a rate for counts) or ``outcome``, which adds the variation of one
        observation.
    seed : int
        Same seed, same predictions.

    Returns
    -------
    ndarray, shape (chain, draw, row)

    Raises
    ------
    ValueError
        Argument, column or row: what was expected, what was found, what to do.
    """
    for name, value, menu in (("groups", groups, GROUPS), ("kind", kind, KINDS)):
        if value not in menu:
            near = difflib.get_close_matches(str(value), menu, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(menu)}"
            raise ValueError(f"{name}: expected one of {', '.join(menu)}, found {value!r}; {hint}")
    rng = np.random.default_rng(seed)
    rows, table = _rows(problem, frame, new_data, groups), frame if new_data is None else new_data
    if not problem.layout.normal_groups:
        if groups == "average" and kind == "mean":
            return average_rates(values, problem, rows, rng, kind)
        rate = (
            average_rates(values, problem, rows, rng, kind)
            if groups == "average"
            else row_rates(values, problem, rows, rng)
        )
        return problem.layout.law.mean_at_rate(rate) if kind == "mean" else count_outcomes(rate, problem, table, rng)
    if groups == "average" and kind == "mean":
        return _average_mean(values, problem, rows, rng)
    eta = _average(values, problem, rows, rng, kind) if groups == "average" else expected(values, problem, rows, rng)
    if kind == "mean":
        return problem.layout.link.host_inverse(eta)
    if problem.layout.gaussian:
        return eta + residual_sd(values, problem, table) * rng.standard_normal(eta.shape)
    _, weight, size = checks.outcome_columns(problem.model, table, outcome=False)
    return row_law(problem.layout, eta, values, weight, size).rvs(eta.shape, random_state=rng)


def residual_sd(values: Values, problem: Problem, frame: pd.DataFrame) -> np.ndarray:
    """Standard deviation of each row's outcome given its mean; broadcasts to (chain, draw, row).

    ``known_se`` where it is given, else ``sigma / sqrt(weight)``.
    """
    weight = checks.outcome_columns(problem.model, frame, outcome=False)[1]
    return weight**-0.5 if problem.layout.known else values["sigma"][..., None] * weight**-0.5


def fitted_rows(problem: Problem, rows: int) -> Rows:
    """The rows that were fitted, in their own groups."""
    known = tuple(group[:rows] for group in problem.tree.group)
    return Rows(np.asarray(problem.data.x[:rows]), known, tuple(np.full(rows, -1) for _ in known))


def expected(values: Values, problem: Problem, rows: Rows, rng: np.random.Generator | None = None) -> np.ndarray:
    """Linear predictor of each row given the draws, new groups drawn; shape (chain, draw, row)."""
    layout = problem.layout
    total = _population(values, problem, rows.x)
    for i, level in enumerate(layout.levels):
        new = _new_deviations(values, layout.columns, level, rows.fresh[i], rng)
        for e, c in enumerate(level.effects):
            if np.any(rows.x[:, c]):
                deviation = _deviation(values, problem, i, c)
                if new is not None:  # new groups stand behind the known ones
                    deviation = np.concatenate([deviation, new[e]], -1)
                place = np.where(rows.fresh[i] >= 0, len(problem.labels[level.name]) + rows.fresh[i], rows.known[i])
                total += deviation[..., place] * rows.x[:, c]
    return total


def _population(values: Values, problem: Problem, x: np.ndarray) -> np.ndarray:
    shape = next(iter(values.values())).shape[:2]
    total = np.zeros((*shape, len(x)))
    for c in problem.layout.population:
        total += values[problem.layout.columns[c]][..., None] * x[:, c]
    return total


def _deviation(values: Values, problem: Problem, i: int, column: int) -> np.ndarray:
    """Deviation of every group of level i from its parent in one coefficient; (chain, draw, group)."""
    layout = problem.layout
    name = layout.columns[column]
    own, above = values[theta_name(layout.levels[i].name, name)], layout.holder(layout.levels[i].parent, column)
    if above >= 0:
        return own - problem.tree.spread_down(values[theta_name(layout.levels[above].name, name)], above, i)
    return own - (values[name][..., None] if column in layout.population else 0.0)


def _new_deviations(
    values: Values,
    names: tuple[str, ...],
    level: LevelLayout,
    fresh: np.ndarray,
    rng: np.random.Generator | None,
) -> list[np.ndarray] | None:
    """Deviations of new groups, an array (chain, draw, new group) an effect; None where there are none."""
    count = int(fresh.max(initial=-1)) + 1
    if count == 0 or rng is None:
        return None
    shape = (*next(iter(values.values())).shape[:2], count)
    found = [np.zeros(shape) for _ in level.effects]
    for block in level.blocks if level.pooling == "partial" else ():
        noise = rng.standard_normal((len(block), *shape))
        if len(block) > 1:
            steady = 1e-10 * np.eye(len(block))  # a correlation of one is as good as any
            factor = np.linalg.cholesky(values[cor_name(level.name)] + steady)
            noise = np.einsum("cdjk,kcdg->jcdg", factor, noise)
        for b, z in zip(block, noise, strict=True):
            found[b] = values[sd_name(level.name, names[level.effects[b]])][..., None] * z
    return found


def _average_mean(values: Values, problem: Problem, rows: Rows, rng: np.random.Generator) -> np.ndarray:
    """Mean over the combinations of groups in the data; on a link scale the means are averaged, not what is linked to
    them.
    """
    layout = problem.layout
    if layout.link.identity or not layout.levels:
        return layout.link.host_inverse(_average(values, problem, rows, rng, "mean"))
    base = _population(values, problem, rows.x)
    seen = _combinations(problem)
    deviations = {
        (i, c): _deviation(values, problem, i, c)
        for i, level in enumerate(layout.levels)
        for c in level.effects
        if np.any(rows.x[:, c])
    }
    total = np.zeros_like(base)
    for combination in seen.T:
        eta = base.copy()
        for (i, c), deviation in deviations.items():
            eta += deviation[..., combination[i], None] * rows.x[:, c]
        total += layout.link.host_inverse(eta)
    return total / seen.shape[1]


def _combinations(problem: Problem) -> np.ndarray:
    """Groups that occur together, in label order; shape (level, combination)."""
    real = np.asarray(problem.data.weight) > 0
    return np.unique(np.stack([g[real] for g in problem.tree.group]), axis=1)


def _average(values: Values, problem: Problem, rows: Rows, rng: np.random.Generator, kind: str) -> np.ndarray:
    """Mean over the combinations of groups in the data, or of one of them at random for an outcome."""
    total = _population(values, problem, rows.x)
    if not problem.layout.levels:
        return total
    seen = _combinations(problem)
    pick = None if kind == "mean" else rng.integers(seen.shape[1], size=total.shape)
    for i, level in enumerate(problem.layout.levels):
        for c in level.effects:
            if np.any(rows.x[:, c]):
                deviation = _deviation(values, problem, i, c)
                if pick is None:
                    one = deviation[..., seen[i]].mean(-1)[..., None]
                else:
                    one = np.take_along_axis(deviation, seen[i][pick], axis=-1)
                total += one * rows.x[:, c]
    return total


# rows --------------------------------------------------------------------------------


def _rows(problem: Problem, frame: pd.DataFrame, new_data: pd.DataFrame | None, groups: str) -> Rows:
    if new_data is None:
        rows = fitted_rows(problem, len(frame))
        if groups == "new":
            _refuse_unpooled(problem, range(len(rows.known)))
            return Rows(rows.x, tuple(np.full_like(k, -1) for k in rows.known), rows.known)
        return rows
    import pandas as pd

    if not isinstance(new_data, pd.DataFrame):
        raise ValueError(f"new_data: expected a DataFrame, found {kind_of(new_data)}; use pd.DataFrame(...)")
    if len(new_data) == 0:
        raise ValueError("new_data: expected at least one row, found none; add the rows to predict")
    x = _design(problem, frame, new_data)
    if groups == "average":
        return Rows(x, (), ())
    labels: dict[str, list[str]] = {}
    known, fresh = [], []
    for level in problem.layout.levels:
        found = problem.groupings[level.name]
        place, labels[level.name] = found.match(new_data, "new_data", absent=groups == "new")
        strange = place >= len(found.keys)
        if groups == "existing" and strange.any():
            raise _unknown_group(problem, level.name, labels[level.name], int(np.argmax(strange)))
        known.append(np.where(strange, -1, place))
        fresh.append(np.where(strange, place - len(found.keys), -1))
    _refuse_unpooled(problem, [i for i, f in enumerate(fresh) if (f >= 0).any()])
    _check_nesting(problem, labels, known)
    return Rows(x, tuple(known), tuple(fresh))


def _check_nesting(problem: Problem, labels: dict[str, list[str]], known: list[np.ndarray]) -> None:
    """A class of the data stays in its school."""
    for i, level in enumerate(problem.layout.levels):
        if level.parent < 0:
            continue
        above = problem.layout.levels[level.parent].name
        owner = problem.tree.parent[i][known[i]]
        wrong = (known[i] >= 0) & (owner != known[level.parent])
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ValueError(
                f"new_data, row {row}: {level.name} {labels[level.name][row]!r} is in {above} "
                f"{problem.labels[above][owner[row]]!r}, "
                f"found {labels[above][row]!r}; mend the label, or give a new {level.name} a new label"
            )


def _refuse_unpooled(problem: Problem, with_new: range | list[int]) -> None:
    for i in with_new:
        level = problem.layout.levels[i]
        if level.pooling == "none":
            raise ValueError(
                f"groups: {level.name} is not pooled, so nothing is known about a {level.name} that is not "
                f"in the data; "
                f"predict groups='existing', or fit with partial pooling"
            )


def _unknown_group(problem: Problem, level: str, labels: list[str], row: int) -> ValueError:
    near = difflib.get_close_matches(labels[row], problem.labels[level], 1)
    hint = f"did you mean {near[0]!r}? For a group not in the data use groups='new'" if near else "use groups='new'"
    return ValueError(f"new_data, row {row}: expected a {level} of the data, found {labels[row]!r}; {hint}")


def _design(problem: Problem, frame: pd.DataFrame, new_data: pd.DataFrame) -> np.ndarray:
    """Design matrix of new rows, coded and standardised as the fitted ones were."""
    parsed, names = problem.model.parsed, problem.layout.columns
    found: dict[str, np.ndarray] = {}
    for side in parsed.sides:
        got, matrix = columns(side, new_data, problem.model.formula, like=frame, where="new_data, ")
        found.update(zip(got, matrix.T, strict=True))
    return np.stack([found[n] for n in names], axis=1) if names else np.zeros((len(new_data), 0))
