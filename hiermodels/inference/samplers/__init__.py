"""How a posterior is computed: one sampler a file, one class a sampler, each named by its file.

    sampler(layout, settings)              -> sample(key, data) -> Draws
    estimator(layout, settings, targets)   -> estimate(key, data, truth) -> Estimates

Which one? ``nuts`` always works; with ``marginalize=True`` it moves on the hyperparameters alone wherever the model
factorises. ``exact`` gives independent draws and quadrature summaries where the hyperparameters are few,
``closed_form`` independent draws where they have a law in closed form. The others are there to be compared with: their
effective sample sizes say what these are for.
"""

from __future__ import annotations

from hiermodels.inference.derived import target_sizes
from hiermodels.inference.samplers.base import Retry, Sampler, Steps
from hiermodels.inference.samplers.estimation import available, chosen, dimension, estimation_steps, estimator, sampler
from hiermodels.inference.samplers.menu import MENU, auto_lanes, check_settings, of, those_that
from hiermodels.inference.settings import Settings

__all__ = [
    "MENU",
    "Retry",
    "Sampler",
    "Settings",
    "Steps",
    "auto_lanes",
    "available",
    "check_settings",
    "chosen",
    "dimension",
    "estimation_steps",
    "estimator",
    "of",
    "sampler",
    "target_sizes",
    "those_that",
]
