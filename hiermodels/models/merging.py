"""The same model again: priors merged over its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hiermodels import families
from hiermodels.models.declaration import Declaration
from hiermodels.models.defaults import expand_joint
from hiermodels.priors import Prior
from hiermodels.quantities import mean_name

__all__ = ["refitted_model"]


def refitted_model[M: Declaration](model: M, priors: Mapping[str, Any] | None) -> M:
    """A model with priors merged over its own.

    Parameters
    ----------
    model : Declaration
    priors : mapping of str to prior or None
        A joint prior of a grouping replaces those of its mean and concentration, and is written out where one of these
        is replaced.

    Raises
    ------
    ValueError
        As `hiermodels.Model`.

    Examples
    --------
    >>> from hiermodels.models.spec import Model
    >>> model = Model("y ~ 1 + (1 | g)", priors={"sd_g": "half_normal(5)", "sigma": "half_normal(2)"})
    >>> again = refitted_model(model, {"sd_g": "half_t(3, 1)"})
    >>> {name: str(prior) for name, prior in again.priors}
    {'sd_g': 'half_t(3, 1)', 'sigma': 'half_normal(2)'}
    """
    if priors is None:
        return model
    new = dict(replace(model, priors=priors).priors)
    merged = dict(model.priors)
    for name in new:
        merged = _make_room(merged, name, new[name], model)
    return replace(model, priors=merged | new)


def _make_room(merged: dict[str, Prior], name: str, prior: Prior, model: Declaration) -> dict[str, Prior]:
    """Priors without those that a new one replaces in other words."""
    stem = families.lookup(model.family).precision
    groups = {written: g.name for g in model.parsed.groups for written in (mean_name(g.name), f"{stem}_{g.name}")}
    if prior.joint:
        return {k: v for k, v in merged.items() if groups.get(k) != name}
    group = groups.get(name)
    joint = merged.get(group) if group is not None else None
    if group is None or joint is None or not joint.joint:
        return merged
    rest = {k: v for k, v in merged.items() if k != group}
    return expand_joint({group: joint}, families.lookup(model.family)) | rest
