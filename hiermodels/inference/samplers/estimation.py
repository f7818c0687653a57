"""One calling convention for every sampler.

    sampler(layout, settings)              -> sample(key, data) -> Draws
    estimator(layout, settings, targets)   -> estimate(key, data, truth) -> Estimates

Both returned functions are for one dataset, pure and jittable; a study is the second under ``lax.map``. They are cached
by their (hashable) arguments, so that equal settings share compiled programs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from jax import Array

from hiermodels.inference.draws import Draws, Estimates
from hiermodels.inference.samplers.base import Steps
from hiermodels.inference.samplers.menu import check_settings, of
from hiermodels.inference.settings import Settings
from hiermodels.inference.summaries import Interval, Target
from hiermodels.models.centring import centring
from hiermodels.models.factorise import factorise
from hiermodels.models.layout import Layout
from hiermodels.models.problem import Data

__all__ = ["available", "chosen", "dimension", "estimation_steps", "estimator", "sampler"]


def chosen(layout: Layout, data: Data, settings: Settings) -> Settings:
    """The settings with ``centred="auto"`` decided from the data (host arrays); see `hiermodels.models.centring`."""
    return replace(settings, centred=centring(layout, data)) if settings.centred == "auto" else settings


def dimension(layout: Layout, settings: Settings) -> int:
    """Number of unconstrained parameters that the sampler moves on."""
    return int(of(settings).model(layout).dim)


def available(layout: Layout) -> set[str]:
    """Names of variables, ``mean(...)`` and ``new(...)`` that this model has under its pooling."""
    try:
        return factorise(layout).available()
    except ValueError:
        names = {p.name for p in layout.parameters if p.kind != "correlation"}
        pooled = layout.nested and layout.normal_groups and layout.intercept is not None
        for level in layout.levels:
            thetas = layout.effect_names(level)
            names |= set(thetas) | {f"mean({t})" for t in thetas}
            pooled = pooled and level.pooling != "none"
            names |= {f"new({level.name})"} if pooled else set()
        return names


@lru_cache(maxsize=256)
def sampler(layout: Layout, settings: Settings) -> Callable[[Array, Data], Draws]:
    """Draws of every variable of one dataset.

    Returns
    -------
    callable
        ``sample(key, data) -> Draws`` with padded group axes; jittable.
    """
    check_settings(settings)
    how = of(settings)
    model = how.model(layout)
    return lambda key, data: how.draw(model, key, model.prepare(data))


@lru_cache(maxsize=256)
def estimation_steps(layout: Layout, settings: Settings, targets: tuple[Target, ...], interval: Interval) -> Steps:
    """Estimates of one dataset in two steps; see `estimator`."""
    check_settings(settings)
    how = of(settings)
    return how.steps(how.model(layout), targets, interval)


def estimator(
    layout: Layout, settings: Settings, targets: tuple[Target, ...], interval: Interval
) -> Callable[[Array, Data, Array], Estimates]:
    """Estimates of one dataset: what a study maps over replicates.

    Returns
    -------
    callable
        ``estimate(key, data, truth) -> Estimates``; truth has shape (target,), group targets padded.
    """
    steps = estimation_steps(layout, settings, targets, interval)
    if steps.second is None:
        return steps.first
    finish = steps.second
    return lambda key, data, truth: finish(steps.first(key, data, truth), key, data, truth)
