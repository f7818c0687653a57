"""Groups of counts beside draws of their population: its law, what it weighs against the group's own counts, its
predictive density.

    theta_j ~ Beta(kappa m_j, kappa (1 - m_j)),  y_j ~ Binomial(n_j, theta_j):  E(theta_j | y) = w_j m_j + (1 - w_j) y_j
    / n_j,  w_j = kappa / (kappa + n_j)
    theta_j ~ Gamma(a, a / m_j),  y_j ~ Poisson(x_j theta_j):  w_j = a / (a + m_j x_j)

A group's rows together are beta-binomial or negative binomial once theta_j is integrated out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from hiermodels.models.counts import count_tree, log_precision, precision, rate_name
from hiermodels.models.problem import Problem
from hiermodels.quantities import theta_name

__all__ = ["Population", "count_log_likelihood", "count_weights", "population", "unit_level"]

Values = Mapping[str, Any]


class Population(NamedTuple):
    """Law of each unit's rate before its own counts, and the counts.

    Attributes
    ----------
    mean, concentration : ndarray, broadcasting to (draw, group)
        m_j and kappa or a.
    y, size : ndarray, shape (group,)
        Sums over the group's rows, as the family counts them: events; trials or exposure.
    """

    mean: np.ndarray
    concentration: np.ndarray
    y: np.ndarray
    size: np.ndarray


def unit_level(problem: Problem) -> int | None:
    """Position of the level whose groups have a beta or gamma law; None where groups are not pooled partially."""
    tree = count_tree(problem.layout)
    return tree.unit if tree.word == "partial" else None


def population(values: Values, problem: Problem) -> Population:
    """Law of the units' rates.

    Parameters
    ----------
    values : mapping
        From `hiermodels.inference.group_messages.flat_draws`, of a partially pooled model of counts.
    """
    layout, tree = problem.layout, count_tree(problem.layout)
    counted = layout.law.counted(np.asarray(problem.data.y), np.asarray(problem.data.size))
    y, size, rows = (problem.tree.sum_rows(part, tree.unit) for part in (*counted, np.asarray(problem.data.size) > 0))
    name = rate_name(layout)
    if name is not None:
        mean = values[name][:, None]
    else:
        eta = _centre(values, problem, tree.unit)
        for c in layout.population:
            if layout.columns[c] != "Intercept":
                column = (
                    problem.tree.sum_rows(
                        np.where(np.asarray(problem.data.size) > 0, problem.data.x[:, c], 0.0), tree.unit
                    )
                    / rows
                )
                eta = eta + values[layout.columns[c]][:, None] * column
        mean = layout.link.host_inverse(eta)
    if not tree.above:
        return Population(mean, values[precision(layout)][:, None], y, size)
    top = tree.above[-1]
    log_size = values[theta_name(layout.levels[top].name, log_precision(layout))]
    return Population(mean, np.exp(problem.tree.spread_down(log_size, top, tree.unit)), y, size)


def count_weights(values: Values, problem: Problem) -> np.ndarray:
    """Weight of the population's mean in each unit's posterior mean; (draw, group)."""
    law = population(values, problem)
    return problem.layout.law.population.weight(law.mean, law.concentration, law.size)


def count_log_likelihood(values: Values, problem: Problem) -> np.ndarray:
    """Log probability of each unit's rows given its population, its rate integrated out; (draw, group).

    Sum over rows of log C(n_i, y_i) + log B(kappa m + y, kappa (1 - m) + n - y) - log B(kappa m, kappa (1 - m)); or of
    y_i log x_i - log y_i! + log Gamma(a + y) - log Gamma(a) + a log(b) - (a + y) log(b + x), b = a / m.
    """
    law, data = population(values, problem), problem.data
    unit = count_tree(problem.layout).unit
    y, size = np.asarray(data.y), np.asarray(data.size)
    family = problem.layout.law
    group = family.population.log_marginal(law.mean, law.concentration, law.y, law.size)
    return group + problem.tree.sum_rows(family.log_constant(y, size), unit)


def _centre(values: Values, problem: Problem, unit: int) -> np.ndarray:
    """Linear predictor of each unit with predictors at zero; (draw, group or 1)."""
    if unit > 0:
        above = theta_name(problem.layout.levels[unit - 1].name, "Intercept")
        return problem.tree.spread_down(values[above], unit - 1, unit)
    return values["Intercept"][:, None] if "Intercept" in values else np.zeros((1, 1))
