"""The menu of samplers: a sampler is a class in a file of its own in this folder and one line here."""

from __future__ import annotations

import difflib
import math

from hiermodels.inference.nodes import ACCURACIES
from hiermodels.inference.samplers.base import Sampler
from hiermodels.inference.samplers.closed_form import ClosedForm
from hiermodels.inference.samplers.elliptical_slice import EllipticalSlice
from hiermodels.inference.samplers.exact import Exact
from hiermodels.inference.samplers.gibbs import Gibbs
from hiermodels.inference.samplers.metropolis import Metropolis
from hiermodels.inference.samplers.nuts import Nuts
from hiermodels.inference.settings import Settings

__all__ = ["MENU", "auto_lanes", "check_settings", "of", "those_that"]

MENU: dict[str, type[Sampler]] = {
    how.name: how
    for how in list(vars().values())
    if isinstance(how, type) and issubclass(how, Sampler) and how is not Sampler
}
"""Every sampler by its name."""


def of(settings: Settings) -> Sampler:
    """The sampler of these settings; an estimator without draws, named in its place by a study, is like none of them.

    Examples
    --------
    >>> of(Settings("exact")).independent
    True
    """
    return MENU.get(settings.sampler, Sampler)(settings)


def those_that(what: str) -> list[str]:
    """Names of the samplers of which an attribute is true, or that take a setting of this name.

    Examples
    --------
    >>> those_that("step_size")
    ['metropolis']
    """
    return [name for name, how in MENU.items() if what in how.takes or getattr(how, what, False)]


def auto_lanes(sampler: str, device_kind: str, dim: int, size: int) -> int:
    """Give the number of datasets in one vmapped step that ``lanes: auto`` stands for; see `Sampler.lanes`.

    Examples
    --------
    >>> auto_lanes("nuts", "cpu", 1, 18), auto_lanes("nuts", "cpu", 3, 905), auto_lanes("nuts", "cpu", 104, 905)
    (32, 8, 1)
    """
    return of(Settings(sampler)).lanes(device_kind, dim, size)


def check_settings(settings: Settings) -> None:
    """Refuse settings that no sampler can use, or not the one that they name.

    Raises
    ------
    ValueError
        Argument, what was expected, what was found, what to do.
    """
    if not isinstance(settings.sampler, str) or settings.sampler not in MENU:
        near = difflib.get_close_matches(str(settings.sampler), MENU, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(MENU)}"
        raise ValueError(f"sampler: unknown sampler {settings.sampler!r}; {hint}")
    for name, low in (("draws", 4), ("tune", 0), ("chains", 1)):
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value < 2**31:
            raise ValueError(
                f"{name}: expected a whole number from {low} to below 2^31, found {repr(value)[:40]}; e.g. {name}=1000"
            )
    accept = settings.target_accept
    if isinstance(accept, bool) or not isinstance(accept, (int, float)) or not 0.5 <= accept < 1:
        raise ValueError(f"target_accept: expected a number from 0.5 to below 1, found {accept!r}; e.g. 0.9")
    if not isinstance(settings.marginalize, bool):
        raise ValueError(f"marginalize: expected True or False, found {settings.marginalize!r}; give one of them")
    if not isinstance(settings.centred, bool | tuple) and settings.centred != "auto":
        raise ValueError(f"centred: expected True, False or 'auto', found {settings.centred!r}; give one of them")
    if settings.accuracy not in ACCURACIES:
        raise ValueError(
            f"accuracy: expected one of {', '.join(ACCURACIES)}, found {settings.accuracy!r}; use one of them"
        )
    if unfit := of(settings).wants():
        raise ValueError(unfit)
    step = settings.step_size
    if step is not None and (isinstance(step, bool) or not isinstance(step, (int, float)) or not 0 < step < math.inf):
        raise ValueError(f"step_size: expected a positive number or None, found {step!r}; e.g. step_size=0.1")
    if step is not None and "step_size" not in of(settings).takes:
        raise ValueError(
            f"step_size: sampler={settings.sampler!r} does not use it, {' and '.join(those_that('step_size'))} does; "
            f"leave it out"
        )
