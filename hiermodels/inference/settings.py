"""The settings of a run: which sampler, and what it is told."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """How a posterior is computed.

    Attributes
    ----------
    sampler : str
        A name of the menu, `hiermodels.inference.samplers.MENU`.
    marginalize : bool
        Integrate out what is conjugate; False moves on every parameter. ``gibbs`` always moves on every parameter, in
        turn; ``metropolis`` always on all of them at once.
    centred : bool, tuple of str, or "auto"
        Parameterisation of group values that stay explicit: all centred or none, the names of the sites that are, or
        ``auto``, which `hiermodels.inference.samplers.chosen` turns into names.
    draws, tune, chains : int
        Kept draws and warm-up draws of each chain, number of chains.
    target_accept : float
        Acceptance rate that the step size of ``nuts`` is tuned to.
    accuracy : str
        Of ``exact``: ``fit`` (every summary within 1e-3 posterior sd), ``study`` (at least as good as 400 independent
        draws), ``finest`` and ``refined`` (as these two, with more nodes for hard posteriors).
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
