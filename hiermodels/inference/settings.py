"""How a posterior is computed: the samplers that there are, what each is like, and the settings of a run."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass

from hiermodels.inference.nodes import ACCURACIES

__all__ = ["INDEPENDENT", "MENU", "SAMPLERS", "Sampler", "Settings", "check_settings"]


@dataclass(frozen=True)
class Sampler:
    """What a sampler is like; what it does stands in a file of its name.

    Attributes
    ----------
    independent : bool
        Whether its draws are independent.
    integrates : bool or None
        Whether it moves on what is left when the groups are integrated out: always, never, or (None) where ``marginalize`` says so and it is possible.
    nodes : bool
        Whether it lays nodes over the hyperparameters instead of moving chains, so that its numbers are not draws'.
    closed : bool
        Whether its hyperparameters have a law in closed form.
    steps : bool
        Whether it takes ``step_size``.
    gradient : bool
        Whether its chains follow the gradient: what is best where nothing is in closed form.
    lanes : int
        Most datasets side by side on CPU.
    """

    independent: bool = False
    integrates: bool | None = None
    nodes: bool = False
    closed: bool = False
    steps: bool = False
    gradient: bool = False
    lanes: int = 32


MENU = {
    "nuts": Sampler(gradient=True),
    "exact": Sampler(independent=True, integrates=True, nodes=True, lanes=256),
    "gibbs": Sampler(integrates=True),
    "metropolis": Sampler(integrates=False, steps=True),
    "closed_form": Sampler(independent=True, integrates=True, closed=True),
}
SAMPLERS = tuple(MENU)
INDEPENDENT = tuple(name for name, how in MENU.items() if how.independent)
"""Samplers whose draws are independent."""


@dataclass(frozen=True)
class Settings:
    """How a posterior is computed.

    Attributes
    ----------
    sampler : str
        One of `SAMPLERS`.
    marginalize : bool
        Integrate out what is conjugate; False moves on every parameter. ``gibbs`` always moves on every parameter, in turn;
        ``metropolis`` always on all of them at once.
    centred : bool, tuple of str, or "auto"
        Parameterisation of group values that stay explicit: all centred or none, the names of the sites that are, or ``auto``, which
        `chosen` turns into names.
    draws, tune, chains : int
        Kept draws and warm-up draws of each chain, number of chains.
    target_accept : float
        Acceptance rate that the step size of ``nuts`` is tuned to.
    accuracy : str
        Of ``exact``: ``fit`` (every summary within 1e-3 posterior sd), ``study`` (at least as good as 400 independent draws),
        ``finest`` and ``refined`` (as these two, with more nodes for hard posteriors).
    step_size : float or None
        Of ``metropolis``: sd of the step of every parameter on its own scale; None tunes it.
    """

    sampler: str = "nuts"
    marginalize: bool = True
    centred: bool | str | tuple[str, ...] = False
    draws: int = 1000
    tune: int = 1000
    chains: int = 4
    target_accept: float = 0.8
    accuracy: str = "fit"
    step_size: float | None = None

    @property
    def how(self) -> Sampler:
        """What its sampler is like; an estimator without draws, named in its place by a study, is like none."""
        return MENU.get(self.sampler, Sampler())


def check_settings(settings: Settings) -> None:
    """Refuse settings that no sampler can use.

    Raises
    ------
    ValueError
        Argument, what was expected, what was found, what to do.
    """
    if settings.sampler not in MENU:
        near = difflib.get_close_matches(str(settings.sampler), SAMPLERS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(SAMPLERS)}"
        raise ValueError(f"sampler: unknown sampler {settings.sampler!r}; {hint}")
    for name, low in (("draws", 4), ("tune", 0), ("chains", 1)):
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value < 2**31:
            raise ValueError(f"{name}: expected a whole number from {low} to below 2^31, found {repr(value)[:40]}; e.g. {name}=1000")
    accept = settings.target_accept
    if isinstance(accept, bool) or not isinstance(accept, (int, float)) or not 0.5 <= accept < 1:
        raise ValueError(f"target_accept: expected a number from 0.5 to below 1, found {accept!r}; e.g. 0.9")
    if not isinstance(settings.marginalize, bool):
        raise ValueError(f"marginalize: expected True or False, found {settings.marginalize!r}; give one of them")
    if not isinstance(settings.centred, bool | tuple) and settings.centred != "auto":
        raise ValueError(f"centred: expected True, False or 'auto', found {settings.centred!r}; give one of them")
    if settings.accuracy not in ACCURACIES:
        raise ValueError(f"accuracy: expected one of {', '.join(ACCURACIES)}, found {settings.accuracy!r}; use one of them")
    if settings.how.independent and not settings.marginalize:
        raise ValueError(
            f"sampler={settings.sampler!r} integrates the group effects out; use it with marginalize=True, or use sampler='nuts'"
        )
    step = settings.step_size
    if step is not None and (isinstance(step, bool) or not isinstance(step, (int, float)) or not 0 < step < math.inf):
        raise ValueError(f"step_size: expected a positive number or None, found {step!r}; e.g. step_size=0.1")
    if step is not None and not settings.how.steps:
        raise ValueError(f"step_size: sampler={settings.sampler!r} does not use it, {' and '.join(n for n, how in MENU.items() if how.steps)} does; leave it out")
