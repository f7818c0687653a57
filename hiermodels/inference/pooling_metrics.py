"""How strongly groups are pooled: weights group by group, and shares of variance level by level.

| name | what it is |
|---|---|
| pooling factor | share of the prior variance of a group's deviation that its data leave: V / (V + tau^2) for one coefficient with sampling variance V |
| `gelman_pardoe` | 1 - var_j(E(d_j)) / E(var_j(d_j)), d_j the deviations of a level: Gelman & Pardoe (2006), Technometrics 48, 241-251 |
| `I2`, `H2` | tau^2 / (tau^2 + s^2) and its (tau^2 + s^2) / s^2, s^2 the typical sampling variance: Higgins & Thompson (2002), Statistics in Medicine 21, 1539-1558 |
| `vpc` | a level's share of the variance of an outcome: variance partition coefficient, Goldstein, Browne & Rasbash (2002) |
| `icc` | correlation of two outcomes that share a group of the level: the shares of the level and of those above it |

All but the second are functions of the hyperparameters, so that each has draws of its own.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hiermodels.inference.count_groups import count_weights, population, unit_level
from hiermodels.inference.group_messages import deviations, information, messages
from hiermodels.inference.predict import expected, fitted_rows
from hiermodels.models.layout import LevelLayout
from hiermodels.models.problem import Problem
from hiermodels.quantities import cor_name, sd_name, theta_name

__all__ = ["gelman_pardoe", "level_shares", "pooling_factors"]

Values = Mapping[str, Any]


def pooling_factors(values: Values, problem: Problem, i: int, effect: int) -> np.ndarray:
    """Weight of what lies above a group in its value, against its own rows; 0 without pooling, 1 with complete pooling.

    With S the covariance of the level's deviations and L the information of the group's rows about them, levels below
    integrated out, the entry of the effect in ``(S^-1 + L)^-1`` divided by that in ``S``.

    Parameters
    ----------
    values : mapping
        From `hiermodels.inference.group_messages.flat_draws`.
    i : int
        Position of the level.
    effect : int
        Position of the effect among the level's.

    Returns
    -------
    ndarray, shape (draw, group)
    """
    level, draws = problem.layout.levels[i], len(next(iter(values.values())))
    groups = len(problem.labels[level.name])
    if level.pooling != "partial":
        return np.full((draws, groups), 1.0 if level.pooling == "complete" else 0.0)
    if not problem.layout.normal_groups:
        return np.broadcast_to(count_weights(values, problem), (draws, groups))
    block = next(b for b in level.blocks if effect in b)
    effects = [level.effects[b] for b in block]
    precision = messages(values, problem, i, _information(values, problem)).precision
    own = np.moveaxis(precision[:, effects][:, :, effects], -1, 1)
    cov = _covariance(values, problem, level, block)[:, None]
    # S (1 + L S)^-1 needs no inverse of S, which may be singular
    left = cov @ np.linalg.inv(np.eye(len(block)) + own @ cov)
    e = block.index(effect)
    with np.errstate(invalid="ignore"):
        share = left[..., e, e] / cov[..., e, e]
    return np.where(cov[..., e, e] > 0, share, 1.0)


def gelman_pardoe(values: Values, problem: Problem, i: int, effect: int) -> float:
    """Gelman and Pardoe's pooling factor of a level: near 1 the groups are pooled almost completely, near 0 hardly."""
    level, layout = problem.layout.levels[i], problem.layout
    if level.pooling != "partial":
        return 1.0 if level.pooling == "complete" else 0.0
    if not layout.normal_groups and i == unit_level(problem):
        deviation = values[theta_name(level.name, "Intercept")] - population(values, problem).mean
    else:
        deviation = deviations(values, problem, i, level.effects[effect])
    within = deviation.var(axis=1, ddof=1).mean()
    return float(1 - deviation.mean(axis=0).var(ddof=1) / within) if within > 0 else 1.0


def level_shares(values: Values, problem: Problem, i: int) -> dict[str, np.ndarray]:
    """Draws of ``I2 H2 vpc icc`` of a level's intercepts, those that are defined; each (draw,).

    Notes
    -----
    Normal: ``vpc`` and ``icc`` need one residual variance, so they are there where standard errors are not known; under
    weights it is that of an average row, sigma^2 over the mean weight; ``I2`` and ``H2`` take the variance of a group's
    own estimate, levels below it included, and are there for two groups or more. Logit link: on the latent scale, with
    residual variance pi^2 / 3 (Goldstein, Browne & Rasbash 2002). Beta population: the correlation of two trials of a
    group, 1 / (kappa + 1). Gamma population: that of two rows of a group at the rows' mean exposure x, m x / (m x + a).
    """
    level, layout = problem.layout.levels[i], problem.layout
    if level.pooling != "partial" or not _intercept(layout, level):
        return {}
    if not layout.normal_groups:
        return _count_shares(values, problem, i) if i == unit_level(problem) else {}
    found: dict[str, np.ndarray] = {}
    if layout.link.identity:
        found |= _higgins(values, problem, i)
    total = _residual_variance(values, problem)
    if total is None:
        return found
    own = [
        values[sd_name(v.name, "Intercept")] ** 2 if v.pooling == "partial" and _intercept(layout, v) else 0.0
        for v in layout.levels
    ]
    total = total + sum(own)
    return found | {"vpc": own[i] / total, "icc": sum(own[j] for j in layout.lineage(i)) / total}


def _higgins(values: Values, problem: Problem, i: int) -> dict[str, np.ndarray]:
    c = problem.layout.columns.index("Intercept")
    weight = messages(values, problem, i, _information(values, problem)).precision[:, c, c]
    count = weight.shape[1]
    if count < 2:
        return {}
    total, square = weight.sum(1), (weight**2).sum(1)
    typical = (count - 1) * total / (total**2 - square)
    between = values[sd_name(problem.layout.levels[i].name, "Intercept")] ** 2
    return {"I2": between / (between + typical), "H2": (between + typical) / typical}


def _count_shares(values: Values, problem: Problem, i: int) -> dict[str, np.ndarray]:
    law, size = population(values, problem), np.asarray(problem.data.size)
    share = problem.layout.law.share(law.mean, law.concentration, size[size > 0].mean()).mean(axis=1)
    return {"vpc": share} if problem.layout.levels[i].parent >= 0 else {"vpc": share, "icc": share}


def _residual_variance(values: Values, problem: Problem) -> np.ndarray | None:
    """Variance of an average row around its groups, on the scale of the linear predictor; None where it is not one
    number.
    """
    found = problem.layout.law.residual_variance(values, np.asarray(problem.data.weight), problem.layout.known)
    return None if found is None else np.broadcast_to(found, len(next(iter(values.values()))))


def _information(values: Values, problem: Problem) -> np.ndarray:
    if problem.layout.link.identity:
        return information(values, problem)
    rows = fitted_rows(problem, len(problem.data.y))
    eta = expected({name: x[None] for name, x in values.items()}, problem, rows)[0]
    return information(values, problem, eta)


def _covariance(values: Values, problem: Problem, level: LevelLayout, block: tuple[int, ...]) -> np.ndarray:
    """Covariance of a block of effects; (draw, effect, effect)."""
    columns = problem.layout.columns
    sds = np.stack([values[sd_name(level.name, columns[level.effects[b]])] for b in block], -1)
    outer = sds[:, :, None] * sds[:, None]
    return outer * values[cor_name(level.name)] if len(block) > 1 else outer


def _intercept(layout: Any, level: LevelLayout) -> bool:
    return "Intercept" in [layout.columns[e] for e in level.effects]
