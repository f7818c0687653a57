"""What samplers return (`Draws`) and what is kept of them in a study (`Estimates`)."""

from __future__ import annotations

import equinox as eqx
from jax import Array

__all__ = ["FLAGGED", "STATUS", "Draws", "Estimates"]

STATUS = ("ok", "singular", "heavy_weights", "low_ess", "rhat", "divergent", "nonfinite")
"""Status words from best to worst; `Estimates.status` holds positions in this tuple. ``singular``: a maximum on the
boundary.
"""

FLAGGED = STATUS.index("heavy_weights")
"""The first status of fits that are not to be trusted without a look."""


class Draws(eqx.Module):
    """Draws from a posterior, whatever the sampler.

    Attributes
    ----------
    values : dict of str to Array
        Variable name to array of shape (chain, draw, *dims), as documented in `hiermodels.models.spec`: ``Intercept``,
        ``sd_school``, ``theta_school`` (dims: group) and so on; group axes hold real groups only, in label order.
    stats : dict of str to Array
        ArviZ's ``sample_stats`` by name, each (chain, draw). ``lp`` is the log posterior density, up to a constant, of
        what the sampler moved on, on its unconstrained scale.
    independent : bool
        The draws are independent: no Markov chain made them.
    error : Array or None
        Of quadrature: its estimate of its own error in posterior standard deviations, shape ().
    """

    values: dict[str, Array]
    stats: dict[str, Array]
    independent: bool = eqx.field(default=False, static=True)
    error: Array | None = None


class Estimates(eqx.Module):
    """One dataset's estimates, an entry a target; the only thing that leaves the device in a study.

    Attributes
    ----------
    estimate, median, se, lower, upper : Array
        Point estimate asked for, posterior median, posterior sd, ends of the interval; shape (target,).
    rank, max_rank : Array
        Rank of the truth among ``max_rank`` draws (randomised at ties), for calibration; NaN where not known.
    rhat, ess_bulk, ess_tail : Array
        Convergence diagnostics; NaN where they do not apply (independent draws, closed form).
    status : Array of int
        Position in `STATUS`; shape (target,).
    divergences, n_try : Array of int
        Scalars: divergent transitions, attempts made.
    """

    estimate: Array
    median: Array
    se: Array
    lower: Array
    upper: Array
    rank: Array
    max_rank: Array
    rhat: Array
    ess_bulk: Array
    ess_tail: Array
    status: Array
    divergences: Array
    n_try: Array
