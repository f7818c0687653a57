"""What is checked when a model meets data: values by column and row, priors by parameter, the design by level."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

import numpy as np

from hiermodels import families, priors
from hiermodels.models.columns import as_numbers, numbers, require_column
from hiermodels.models.counts import count_tree
from hiermodels.models.declaration import Declaration
from hiermodels.models.layout import Layout
from hiermodels.models.problem import Data
from hiermodels.models.ranks import ROWS, Scale
from hiermodels.models.told_apart import untold
from hiermodels.models.units import inner_design
from hiermodels.priors.law import Prior, word

if TYPE_CHECKING:
    import pandas as pd


_STEEP = 50
"""How many times smaller than their median a standard error may be before `reference` deserves a word."""

__all__ = ["constant_predictors", "design", "fits", "outcome_columns", "prior_fits", "warnings", "with_numbers"]

_NEARLY = 1e-7
"""Least share of its spread by which a column may differ from a combination of others, all of length one."""

_CONTROL = re.compile(r"\\x(?:[01][0-9a-f]|7f)")
"""Characters without a print, as they stand in printed labels."""


def fits(kind: str, prior: Prior) -> bool:
    """Whether a law is one of quantities of this kind.

    Examples
    --------
    >>> from hiermodels import priors
    >>> fits("positive", priors.half_normal(5)), fits("positive", priors.normal(0, 5))
    (True, False)
    """
    return kind in prior.kinds


def prior_fits(name: str, kind: str, prior: Prior) -> None:
    """Refuse a prior on a parameter of another kind, e.g. ``normal`` on a standard deviation."""
    if not fits(kind, prior):
        ok = ", ".join(
            n
            for n in priors.__all__
            if kind in (law := priors.MENU[n]).kinds and law.unit is None and not law.variance_powers
        )
        raise ValueError(f"priors: {name}: {prior} does not fit a {word(kind)} parameter; use one of {ok}")
    if why := prior.misfit(kind):
        raise ValueError(f"priors: {name}: {prior}{why}")


def _refuse(values: np.ndarray, bad: np.ndarray, name: str, expected: str, hint: str) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(f"column {name!r}, row {row}: expected {expected}, found {values[row]:g}; {hint}")


def _positive(frame: pd.DataFrame, name: str, role: str) -> np.ndarray:
    values = numbers(frame, name, role)
    _refuse(values, ~(np.isfinite(values) & (values > 0)), name, f"a positive, finite {role}", "mend or drop the row")
    return values


def outcome_columns(
    model: Declaration, frame: pd.DataFrame, outcome: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outcome, precision weight and size (trials, exposure) of each row, checked.

    Raises
    ------
    ValueError
        Column, row, what was expected, what was found.
    """
    rows = len(frame)
    weight, size = np.ones(rows), np.ones(rows)
    if model.known_se is not None:
        errors = _positive(frame, model.known_se, "standard error")
        _refuse(
            errors,
            (errors > 1e150) | (errors < 1e-150),
            model.known_se,
            "a standard error between 1e-150 and 1e150",
            "rescale",
        )
        weight = errors**-2.0
    if model.weights is not None:
        weight = _positive(frame, model.weights, "weight")
    if model.exposure is not None:
        size = _positive(frame, model.exposure, "exposure")
    if model.trials is not None:
        size = _positive(frame, model.trials, "number of trials")
        _refuse(size, size != np.round(size), model.trials, "a whole number of trials", "trials are counts")
    if not outcome:
        return np.zeros(rows), weight, size
    require_column(frame, model.outcome, "outcome")
    y = numbers(_with_truth_as_numbers(model, frame), model.outcome, "outcome")
    _refuse(y, ~np.isfinite(y), model.outcome, "a finite outcome", "drop or mend the row")
    for found in families.lookup(model.family).refused(y, size):
        _refuse(y, found.bad, model.outcome, found.expected, found.hint)
    return y, weight, size


def with_numbers(model: Declaration, frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the columns that are numbers by their role in a type of numbers, where text or objects hold
    them.
    """
    import pandas as pd

    columns = (model.outcome, model.known_se, model.trials, model.exposure, model.weights)
    roles = {name for name in columns if name is not None}
    roles -= {factor for group in model.parsed.groups for factor in group.factors}
    held = [name for name in roles if not pd.api.types.is_numeric_dtype(frame[name].dtype)]
    found = {name: as_numbers(frame[name]) for name in held}
    return frame.assign(**{name: values for name, (values, bad) in found.items() if not bad.any()})


def _with_truth_as_numbers(model: Declaration, frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with a true / false outcome of one trial as 1 and 0."""
    import pandas as pd

    binary = families.lookup(model.family).outcome == "binary"
    if binary and pd.api.types.is_bool_dtype(frame[model.outcome].dtype) and not frame[model.outcome].isna().any():
        return frame.assign(**{model.outcome: frame[model.outcome].astype(int)})
    return frame


def groupings(layout: Layout) -> None:
    """Refuse group terms that say something twice, or that no sampler can keep apart.

    Raises
    ------
    ValueError
        Naming the level and what to write instead.
    """
    if not layout.columns:
        raise ValueError("formula: nothing to estimate right of ~; write e.g. y ~ 1")
    for i, level in enumerate(layout.levels):
        names = [layout.columns[e] for e in level.effects]
        twice = next((n for n in names if names.count(n) > 1), None)
        if twice is not None:
            raise ValueError(
                f"group term {level.name}: {twice!r} varies by {level.name} in two terms; keep it in one of them"
            )
        if sum(len(b) > 1 for b in level.blocks) > 1:
            raise ValueError(
                f"group term {level.name}: two terms with correlated effects; write one (1 + x | {level.name}), or "
                f"|| for independent ones"
            )
        if level.pooling != "none":
            continue
        for finer in layout.levels[i + 1 :]:
            if finer.pooling != "none":
                continue
            if not layout.nested:
                raise ValueError(
                    f"pooling: {level.name} and {finer.name} are crossed and both none, so neither's values are "
                    f"identified; "
                    f"pool one of them partially"
                )
            missing = next((layout.columns[e] for e in level.effects if e not in finer.effects), None)
            if missing is not None:
                raise ValueError(
                    f"pooling: {level.name} and {finer.name} are both none, but {missing!r} varies by {level.name} "
                    f"alone; "
                    f"let it vary by {finer.name} too, or pool {level.name} partially"
                )


def design(model: Declaration, layout: Layout, data: Data, labels: dict[str, list[str]]) -> None:
    """Refuse designs on which something is not identified whatever the outcome."""
    x, flat = inner_design(layout, data), [c for c in layout.population if _is_flat(layout, layout.columns[c])]
    for level in layout.levels:
        if level.pooling == "none":
            _unpooled(layout, data, level.name, labels)
    for c, name in enumerate(layout.columns):
        if not np.any(data.x[:, c]):
            raise ValueError(f"predictor {name!r} is zero in every row, so it does not reach the likelihood; drop it")
    rank = np.linalg.matrix_rank(x[:, flat]) if flat else 0
    if rank < len(flat):
        names = ", ".join(layout.columns[c] for c in flat)
        raise ValueError(
            f"formula {model.formula!r}: the predictors {names} are linearly dependent, so their flat priors give an "
            "improper posterior; drop one, or give one a normal prior"
        )
    if said := _nearly_dependent(layout, data, flat):
        raise ValueError(
            f"formula {model.formula!r}: {said}, too near to tell their slopes apart; drop one, or give one a normal "
            f"prior"
        )


def _nearly_dependent(layout: Layout, data: Data, columns: list[int]) -> str:
    """Predictors of which some combination hardly varies, so that the arithmetic cannot tell their coefficients apart;
    in words.
    """
    x = inner_design(layout, data)[:, columns]
    size = np.linalg.norm(x, axis=0)
    x, names = x[:, size > 0] / size[size > 0], [layout.columns[c] for c, s in zip(columns, size, strict=True) if s > 0]
    if x.shape[1] < 2:
        return ""
    _, values, rows = np.linalg.svd(x, full_matrices=False)
    if values[-1] > _NEARLY * values[0]:
        return ""
    alike = [n for n, v in zip(names, np.abs(rows[-1]), strict=True) if v > 0.05 * np.abs(rows[-1]).max()]
    more = f" and {len(alike) - 5} more" if len(alike) > 5 else ""
    word = "nearly the same" if len(alike) == 2 else "nearly linearly dependent"
    return (
        f"the predictors {', '.join(alike[:5])}{more} are {word} (apart from one another they vary by "
        f"{values[-1] / values[0]:.0e} of their spread)"
    )


def constant_predictors(layout: Layout, data: Data, labels: dict[str, list[str]], family: str) -> None:
    """Refuse predictors that vary within a group of counts: its rate would be no single number.

    Raises
    ------
    ValueError
        Naming predictor and group, and the way out.
    """
    unit = count_tree(layout).unit
    if unit < 0:
        return
    order = np.argsort(data.group[unit], kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(data.group[unit][order]) > 0])
    for c in layout.population:
        column = data.x[order, c]
        varies = np.maximum.reduceat(column, starts) > np.minimum.reduceat(column, starts)
        if varies.any():
            name, level = layout.columns[c], layout.levels[unit].name
            raise ValueError(
                f"predictor {name!r} varies within {level} {labels[level][int(np.argmax(varies))]!r}, so its rows "
                f"share no one rate: "
                f"aggregate it to one value a {level}, or use family {families.lookup(family).linked}"
            )


def _is_flat(layout: Layout, name: str) -> bool:
    parameter = layout.parameter(name)
    return parameter is not None and parameter.kind == "real" and parameter.prior.constant


def _unpooled(layout: Layout, data: Data, name: str, labels: dict[str, list[str]]) -> None:
    """Without pooling each group has its own coefficients: columns must vary as needed within groups."""
    index = next(i for i, level in enumerate(layout.levels) if level.name == name)
    level, group, x = layout.levels[index], data.group[index], inner_design(layout, data)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(group[order]) > 0])
    for c in layout.population:
        column = data.x[order, c]
        spread = np.maximum.reduceat(column, starts) - np.minimum.reduceat(column, starts)
        if layout.columns[c] != "Intercept" and not np.any(spread > 0):
            raise ValueError(
                f"pooling: none: predictor {layout.columns[c]!r} is constant within every {name}, so it cannot be "
                f"told from "
                f"the unpooled {name} means; drop the predictor or pool {name} partially"
            )
    for j, start in enumerate(starts):
        stop = starts[j + 1] if j + 1 < len(starts) else len(order)
        block = x[order[start:stop]][:, list(level.effects)]
        if len(level.effects) > 1 and np.linalg.matrix_rank(block) < len(level.effects):
            raise ValueError(
                f"pooling: none: {name} {labels[name][j]!r} has too few distinct predictor values for its own "
                f"{len(level.effects)} coefficients; pool {name} partially"
            )
        if j >= 10_000:  # large data: the first ten thousand groups are checked one by one
            break


def warnings(layout: Layout, data: Data, labels: dict[str, list[str]]) -> list[str]:
    """What is allowed but deserves a word."""
    one = [v.name for v in layout.levels if v.pooling == "partial" and len(labels[v.name]) == 1]
    found = _alike(labels)
    found += [
        f"{name}: one group alone says nothing about the spread between groups; the prior decides" for name in one
    ]
    if said := _nearly_dependent(layout, data, list(layout.population)):
        found.append(f"{said}: only their priors tell their slopes apart")
    if not layout.normal_groups:
        return [*found, *_saturated(layout, data)]
    left = untold(layout, data)
    for scale in left.alone:
        level = layout.levels[scale.level].name
        if level not in one:
            found.append(
                f"{scale.name}: the population's coefficients can follow each of the {scale.units} {level} groups, "
                f"so the data say nothing "
                f"about it; its prior alone decides"
            )
    for some in left.together:
        names = [s.name for s in sorted(some, key=lambda s: s.level != ROWS)]
        found.append(
            f"{', '.join(names[:-1])} and {names[-1]} cannot be told apart{_why(layout, data, some)}; their priors "
            f"decide"
        )
    return [*found, *_steep_reference(layout, data)]


def _alike(labels: dict[str, list[str]]) -> list[str]:
    """A word on two groups whose labels look alike: blanks around them, characters without width, two ways to write an
    accent.
    """
    for name, printed in labels.items():
        seen: dict[str, str] = {}
        for label in printed:
            shape = "".join(
                c for c in unicodedata.normalize("NFC", _CONTROL.sub(" ", label)) if unicodedata.category(c) != "Cf"
            )
            first = seen.setdefault(" ".join(shape.split()), label)
            if first != label:
                pair = " and ".join(ascii(text[:60]) for text in (first, label))
                return [
                    f"{name}: {pair} look alike and are two groups; mend the labels if they are one, e.g. with "
                    f".str.strip()"
                ]
    return []


def _why(layout: Layout, data: Data, some: tuple[Scale, ...]) -> str:
    """Why variances cannot be told apart, where one word says it."""
    levels = [layout.levels[s.level].name for s in some if s.level >= 0]
    rows = int(np.sum(np.asarray(data.weight) > 0))
    if len(levels) == len(some) - 1 == 1 and some[0].units == rows:
        return f" (one row for each {levels[0]})"
    return (
        f" ({' and '.join(levels)} make the same groups)" if len(set(levels)) == len(some) == 2 else " on this design"
    )


def _saturated(layout: Layout, data: Data) -> list[str]:
    """A word about counts whose predictors follow every group."""
    tree = count_tree(layout)
    if tree.unit < 0 or tree.word != "partial":
        return []
    _, first = np.unique(np.asarray(data.group[tree.unit]), return_index=True)
    taken = np.linalg.matrix_rank(np.asarray(data.x)[first][:, list(layout.population)]) if layout.population else 0
    if not 1 < len(first) <= taken:
        return []
    name = layout.levels[tree.unit].name
    return [
        f"{name}: the predictors can follow each of the {len(first)} groups, so the data say nothing about their "
        f"spread; its prior alone decides"
    ]


def _steep_reference(layout: Layout, data: Data) -> list[str]:
    """A word on `reference` where one standard error is much smaller than the others.

    It then rises as 1 / sd down to that error. By quadrature, 5 studies, 1,500 datasets a setting, sd like the other
    errors: 95% intervals of the mean cover 93, 91, 88 and 86% where one error is 30, 100, 200 and 1,000 times smaller.
    """
    names = [p.name for p in layout.parameters if p.role == "group sd" and p.prior.least_error]
    if not (layout.known and names):
        return []
    errors = np.sort(np.asarray(data.weight)[np.asarray(data.weight) > 0] ** -0.5)
    if len(errors) < 2 or errors[0] > np.median(errors) / _STEEP:
        return []
    return [
        f"{', '.join(names)}: reference() with a standard error of {errors[0]:.3g} beside a median of "
        f"{np.median(errors):.3g} acts as 1/sd down to the "
        "smallest, and 95% intervals of the mean cover too little (88% with five studies and one error 200 times "
        "smaller, by quadrature); "
        "use a prior that is finite at 0, e.g. half_normal(...), and compare"
    ]
