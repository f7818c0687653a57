"""A model meets data: columns become arrays, labels stay on the host, everything that can be wrong is said here.

`bind` turns a frame into a `Problem`: the static `Layout` (what programs are compiled for), the array noun `Data`
(what they are run on), and the labels. Group axes are stored as nested rectangles padded with empty groups; an empty
group adds nothing to any likelihood, so padding changes no result.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels import families
from hiermodels.models import checks, defaults
from hiermodels.models.cells import with_cells
from hiermodels.models.counts import check_tree, count_bound, count_parameters, count_tree, log_precision
from hiermodels.models.declaration import Declaration
from hiermodels.models.declared import blocks_of
from hiermodels.models.expressions import plain
from hiermodels.models.groupings import Grouping, grouping
from hiermodels.models.layout import POOLING, Layout, LevelLayout, Parameter, unit_of
from hiermodels.models.names import check_constant, check_names
from hiermodels.models.predictors import columns, notes
from hiermodels.models.problem import Data, Problem, as_jax
from hiermodels.models.propriety import check_propriety, missing_moments
from hiermodels.models.scales import Scales, kept_scales, measure
from hiermodels.models.twins import find_twins
from hiermodels.models.units import inner_design, per_column, settled, with_units
from hiermodels.priors import flat
from hiermodels.quantities import Quantity, coefficient, cor_name, group_sd, sd_name, theta_name

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Data", "Problem", "as_jax", "bind", "design_columns", "wanted_quantities"]

_RAGGED = 4
"""A level is stored ragged where its padded rectangle would be more than this many times its groups."""


def read_pooling(pooling: str | Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """One word a level, from a word or a mapping.

    Raises
    ------
    ValueError
        For an unknown word or level, or partial pooling above unpooled groups (their mean would not be informed).
    """
    words = {n: pooling for n in names} if isinstance(pooling, str) else {plain(n): word for n, word in pooling.items()}
    unknown = [n for n in words if n not in names]
    if unknown:
        raise ValueError(
            f"pooling: no group term {unknown[0]!r} in the formula; the terms are {', '.join(names) or 'none'}"
        )
    words = {n: words.get(n, "partial") for n in names}
    for name, word in words.items():
        if word not in POOLING:
            raise ValueError(
                f"pooling: {name}: expected complete, none or partial, found {word!r}; use one of the three"
            )
    return words


def _parents(codes: list[np.ndarray]) -> list[int]:
    """For each level the finest earlier level in which it nests, or -1."""
    found = []
    for i, fine in enumerate(codes):
        parent = -1
        for j in range(i - 1, -1, -1):
            pairs = np.unique(codes[j].astype(np.int64) * (fine.max() + 1) + fine).size
            if pairs == fine.max() + 1:
                parent = j
                break
        found.append(parent)
    return found


def _up_to_power_of_two(n: int) -> int:
    return 1 << max(0, n - 1).bit_length()


def _store(
    code: np.ndarray, count: int, parent_code: np.ndarray | None, parent_size: int, pad: bool
) -> tuple[np.ndarray, int, int | None, np.ndarray]:
    """Padded positions of a level's groups: (position of each group, size, width or None, parent of each position)."""
    if parent_code is None:
        return np.arange(count), count, count, np.zeros(count, int)
    owner = np.zeros(count, int)
    owner[code] = parent_code
    order = np.argsort(owner, kind="stable")
    starts = np.searchsorted(owner[order], np.arange(parent_size))
    rank = np.empty(count, int)
    rank[order] = np.arange(count) - starts[owner[order]]
    children = np.bincount(owner, minlength=parent_size)
    width = int(children.max())
    ragged = children[children > 0].min() < width
    if ragged and pad:
        width = _up_to_power_of_two(width)
    if parent_size * width > _RAGGED * count + 64:
        position = np.empty(count, int)
        position[order] = np.arange(count)
        return position, count, None, owner[order]
    return owner * width + rank, parent_size * width, width, np.repeat(np.arange(parent_size), width)


def design_columns(model: Declaration, frame: pd.DataFrame) -> tuple[list[str], np.ndarray, list[str], list[list[str]]]:
    """The design matrix of a model's predictors.

    Returns
    -------
    names : list of str
        Of the columns: the population's, then those of effects of groups that the population has not.
    x : ndarray, shape (row, column)
    population : list of str
    effects : list of list of str
        Names of each group term's effects.
    """
    parsed = model.parsed
    names, x = columns(parsed.population, frame, model.formula)
    population, effects = list(names), []
    for term in parsed.groups:
        own, own_x = columns(term.effects, frame, model.formula)
        effects.append(list(own))
        for n, column in zip(own, own_x.T, strict=True):
            if n not in names:
                names, x = [*names, n], np.column_stack([x, column])
            elif not np.array_equal(x[:, names.index(n)], column):
                raise ValueError(
                    f"formula {model.formula!r}: {n!r} stands for two different columns of the design; rename one of "
                    f"them"
                )
    return names, x, population, effects


def bind(
    model: Declaration,
    frame: pd.DataFrame,
    pooling: str | Mapping[str, str] = "partial",
    *,
    outcome: bool = True,
    priors: bool = True,
    pad: bool = True,
    scales: Scales | None = None,
) -> Problem:
    """Meet the data: check every column, index the groups, fix the priors in use.

    Parameters
    ----------
    model : Declaration
    frame : DataFrame
        One row an observation.
    pooling : str or mapping
        ``complete``, ``none``, ``partial``, or group term to word.
    outcome : bool
        False for a design to simulate from: the outcome column is not read, and defaults that need the data's scale are
        refused.
    priors : bool
        False for a mechanism to simulate from: its parameters get no priors, and propriety is not asked about.
    pad : bool
        Pad ragged axes to powers of two, so that similar designs share compiled programs.
    scales : Scales, optional
        Of another fit, or of a study's cell, to be kept; by default they are measured on these rows.

    Raises
    ------
    ValueError
        Naming column and row, parameter or level: what was expected, what was found, what to do.

    Examples
    --------
    >>> import hiermodels as hm
    >>> problem = bind(hm.Model("effect ~ 1 + (1 | school)", known_se="se"), hm.load_dataset("eight_schools"))
    >>> problem.labels["school"][:2], [p.name for p in problem.layout.parameters]
    (['A', 'B'], ['Intercept', 'sd_school'])
    """
    family = families.lookup(model.family)
    parsed = model.parsed
    if len(frame) == 0:
        raise ValueError("data: expected at least one row, found none; check the file or the filter")
    check_constant(model)
    y, weight, size = checks.outcome_columns(model, frame, outcome)
    names, x, population, effects = design_columns(model, frame)
    words = read_pooling(pooling, list(dict.fromkeys(g.name for g in parsed.groups)))

    # levels, coarse to fine: terms on the same grouping are merged as independent blocks
    merged: dict[str, list[tuple[tuple[str, ...], bool]]] = {}
    factors: dict[str, tuple[str, ...]] = {}
    for term, effect_names in zip(parsed.groups, effects, strict=True):
        merged.setdefault(term.name, []).append((tuple(effect_names), term.correlated))
        if factors.setdefault(term.name, term.factors) != term.factors:
            raise ValueError(
                f"formula {model.formula!r}: {term.name!r} stands for two different groupings; rename one of the "
                f"columns"
            )
    read = {g: grouping(frame, factors[g], f"formula {model.formula!r}") for g in merged}
    order = sorted(merged, key=lambda g: len(read[g][1].keys))
    codes = [read[g][0] for g in order]
    parents = _parents(codes)
    check_words(words, order, parents)

    levels: list[LevelLayout] = []
    positions: dict[str, np.ndarray] = {}
    groupings: dict[str, Grouping] = {}
    group, parent_index, real = [], [], []
    for i, name in enumerate(order):
        count = len(read[name][1].keys)
        up = parents[i]
        above = positions[order[up]][codes[up]] if up >= 0 else None
        position, total, width, owner = _store(codes[i], count, above, levels[up].size if up >= 0 else 1, pad)
        varying = tuple(names.index(e) for block, _ in merged[name] for e in block)
        levels.append(LevelLayout(name, varying, blocks_of(merged[name]), words[name], total, width, up))
        in_order = np.argsort(position, kind="stable")
        groupings[name] = replace(read[name][1], keys=tuple(read[name][1].keys[k] for k in in_order))
        positions[name] = position
        group.append(position[codes[i]])
        parent_index.append(owner)
        mask = np.zeros(total, bool)
        mask[position] = True
        real.append(mask)
    positions = {name: np.sort(p) for name, p in positions.items()}
    labels = {name: found.labels for name, found in groupings.items()}

    rows = len(frame)
    kept = tuple(names.index(n) for n in population if not _covered(names.index(n), levels))
    layout = Layout(family.kernel, model.known_se is not None, tuple(names), kept, tuple(levels), (), rows)
    data = Data(y, x, weight, size, tuple(group), tuple(parent_index), tuple(real))
    if priors:
        scales = kept_scales(scales, measure(names, x, layout.known, weight, size if model.exposure else None))
        layout, data = with_units(layout, data, scales, model.prior)
    if not layout.normal_groups:
        check_tree(layout, model.family)
        checks.constant_predictors(layout, data, labels, model.family)
        layout = replace(layout, count_bound=count_bound(layout, size, data.group))
    else:
        checks.groupings(layout)
        layout, data = _with_twins(layout, data) if layout.gaussian else (layout, data)
    check_names(model, layout)
    if not priors:
        nameless = tuple(Parameter.of(q, flat(), "none") for q in wanted_quantities(family, layout))
        layout, data = _pad_rows(replace(layout, parameters=nameless), data, pad)
        return Problem(model, words, layout, data, labels, positions, {}, (), groupings)
    assert scales is not None
    layout = replace(layout, parameters=_parameters(model, family, layout, data, scales))
    data = replace(data, units=settled(layout, data, scales))
    checks.design(model, layout, data, labels)
    check_propriety(layout, data, outcome)
    missing = missing_moments(layout, data)
    said = [*notes(parsed.sides, frame, model.formula), *checks.warnings(layout, data, labels)]
    layout, data = with_cells(*_pad_rows(layout, data, pad))
    return Problem(model, words, layout, data, labels, positions, missing, tuple(said), groupings, scales)


def _pad_rows(layout: Layout, data: Data, pad: bool) -> tuple[Layout, Data]:
    """Pad the rows of an unbalanced design to a power of two; padded rows weigh nothing."""
    if not (pad and layout.levels):
        return layout, data
    counts = np.bincount(data.group[-1])
    counts = counts[counts > 0]
    if counts.min() == counts.max():
        return layout, data
    extra = _up_to_power_of_two(layout.obs) - layout.obs

    def longer(a: np.ndarray) -> np.ndarray:
        return np.concatenate([a, np.zeros((extra, *a.shape[1:]), a.dtype)])

    rows: dict[str, Any] = {name: longer(getattr(data, name)) for name in ("y", "x", "weight", "size")}
    return replace(layout, obs=layout.obs + extra), replace(data, **rows, group=tuple(longer(g) for g in data.group))


def _with_twins(layout: Layout, data: Data) -> tuple[Layout, Data]:
    """Note which groups have the same design, so that they are computed once."""
    if not layout.nested:
        return layout, data
    sizes = tuple(level.size for level in layout.levels)
    twin = find_twins(inner_design(layout, data), data.weight, data.group, data.parent, sizes)
    kinds = tuple(int(t[r].max()) + 1 for t, r in zip(twin, data.real, strict=False))
    return replace(layout, twins=kinds), replace(data, twin=twin)


def _covered(column: int, levels: list[LevelLayout]) -> bool:
    """Whether an unpooled level estimates this column's coefficient group by group."""
    return any(level.pooling == "none" and column in level.effects for level in levels)


def check_words(words: dict[str, str], order: list[str], parents: list[int]) -> None:
    """Refuse partial pooling above unpooled groups, whose means say nothing about their parents' spread.

    Parameters
    ----------
    words : dict of str to str
        Level name to word.
    order : list of str
        Levels, coarse to fine.
    parents : list of int
        Position in ``order`` of each level's parent, or -1.
    """
    for i, name in enumerate(order):
        j = parents[i]
        while words[name] == "none" and j >= 0:
            if words[order[j]] == "partial":
                raise ValueError(
                    f"pooling: {order[j]} is partial above {name}, which is none: unpooled groups tell nothing about "
                    f"their parents' spread; make {order[j]} complete or none, or {name} partial"
                )
            j = parents[j]


def _parameters(
    model: Declaration, family: families.Family, layout: Layout, data: Data, scales: Scales
) -> tuple[Parameter, ...]:
    wanted = wanted_quantities(family, layout)
    named = defaults.expand_joint(model.prior, family, [q.name for q in wanted])
    known = [q.name for q in wanted] + _pooled_away(layout, family)
    for name in named:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = (
                f"did you mean {near[0]!r}?"
                if near
                else f"the parameters are {', '.join(q.name for q in wanted) or 'none'}"
            )
            raise ValueError(f"priors: {name!r} does not reach the likelihood of {model.formula!r}; {hint}")
    found = []
    for quantity in wanted:
        if quantity.name in named:
            parameter = Parameter.of(quantity, named[quantity.name])
        else:
            core = defaults.default_prior(quantity, layout)
            prior = core.times(per_column(layout, data, quantity) * scales.unit(core))
            parameter = Parameter.of(quantity, prior, "default" if prior == core else "scaled", core)
        checks.prior_fits(quantity.name, quantity.kind, parameter.prior)
        found.append(parameter)
    for p in found:
        if p.prior.unit == p.role:
            raise ValueError(f"priors: {p.name}: {p.prior} is in units of the {p.role} itself; use {p.prior.instead}")
        if p.prior.of_variances and layout.gaussian and not (layout.known and p.role == "group sd"):
            raise ValueError(
                f"priors: {p.name}: {p.prior} is a prior of group sds for known variances; use half_normal(...), or "
                f"give known_se"
            )
        if p.prior.unit is not None and unit_of(p, tuple(found)) is None:
            raise ValueError(
                f"priors: {p.name}: {p.prior} is in units of the {p.prior.unit}, which this model has not; use "
                f"{p.prior.instead}"
            )
    return tuple(found)


def wanted_quantities(family: families.Family, layout: Layout) -> list[Quantity]:
    """Every parameter of a layout, in the order of the unconstrained vector."""
    return _normal_parameters(family, layout) if layout.normal_groups else count_parameters(layout)


def _pooled_away(layout: Layout, family: families.Family) -> list[str]:
    """Parameters of the declaration that this pooling removes; their priors may stay written."""
    if not layout.normal_groups:
        pooled = replace(
            layout, levels=tuple(replace(v, pooling="partial") for v in layout.levels), population=_full(layout)
        )
        return [q.name for q in count_parameters(pooled)]
    names = [layout.columns[c] for c in range(len(layout.columns))]
    for level in layout.levels:
        names += [sd_name(level.name, layout.columns[e]) for e in level.effects]
        names += [cor_name(level.name), *(f"{stem}_{level.name}" for stem in (family.precision, "mean"))]
    return names


def _full(layout: Layout) -> tuple[int, ...]:
    """The population columns, the one that unpooled groups cover included."""
    covered = {e for level in layout.levels if level.pooling == "none" for e in level.effects}
    return tuple(sorted({*layout.population, *covered}))


def _normal_parameters(family: families.Family, layout: Layout) -> list[Quantity]:
    """Coefficients, group sds and correlations, parameters of the outcome's own law."""
    wanted = [coefficient(layout.columns[c]) for c in layout.population]
    for level in layout.levels:
        if level.pooling == "partial":
            wanted += [group_sd(level.name, layout.columns[e]) for e in level.effects]
            big = [b for b in level.blocks if len(b) > 1]
            wanted += [
                Quantity(cor_name(level.name), "correlation", "correlation", level.name, size=len(b)) for b in big
            ]
    return [*wanted, *family.own_parameters(layout.known)]


def variable_names(layout: Layout) -> list[str]:
    """Every variable that a sampler reports for this layout, in reporting order."""
    names = [p.name for p in layout.parameters]
    for level in layout.levels:
        names += [theta_name(level.name, layout.columns[e]) for e in level.effects]
    above = () if layout.normal_groups else count_tree(layout).above
    return [*names, theta_name(layout.levels[above[-1]].name, log_precision(layout))] if above else names
