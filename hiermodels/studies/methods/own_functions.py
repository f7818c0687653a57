"""A user's own Python functions as methods: a NumPyro function as the model that is fitted, or the whole estimator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from hiermodels.inference import samplers
from hiermodels.inference.draws import Estimates
from hiermodels.inference.samplers import Settings, Steps
from hiermodels.inference.summaries import Interval, Target, summarise
from hiermodels.studies.config import Method
from hiermodels.studies.mechanisms.own import OwnLayout, means

__all__ = ["check_estimates", "check_method", "method_steps", "own_steps"]


def check_method(method: Method) -> None:
    """Refuse what a NumPyro function cannot be told.

    Raises
    ------
    ValueError
        Starting with the key.
    """
    able = samplers.those_that("functions")
    for key, words in (("pooling", ["partial"]), ("sampler", able), ("marginalize", [True]), ("centred", [False])):
        if getattr(method, key) not in words:
            expected = " or ".join(map(repr, words))
            raise ValueError(
                f"{key}: expected {expected} for a NumPyro function, found {getattr(method, key)!r}; write a formula "
                f"to choose"
            )
    if method.priors:
        raise ValueError("priors: a NumPyro function has its own; change them there")


def own_steps(layout: OwnLayout, settings: Settings, targets: tuple[Target, ...], interval: Interval) -> Steps:
    """Estimates of one dataset by a sampler on all sites of a NumPyro function."""
    how = samplers.of(settings)
    wanted = {target.variable for target in targets}

    def draws(key: Array, data: Any, truth: Array) -> tuple[dict[str, Array], Array]:
        found = how.draw(layout.model, jax.random.split(key)[0], data)
        kept = {name: x for name, x in means(layout, found.values, 2).items() if name in wanted}
        return kept, jnp.sum(found.stats.get("diverging", jnp.zeros(()))).astype(jnp.int32)

    def summaries(state: tuple[dict[str, Array], Array], key: Array, data: Any, truth: Array) -> Estimates:
        values, divergences = state
        return summarise(values, targets, interval, jax.random.split(key)[1], truth, divergences)

    return Steps(draws, summaries, lambda state, key, data: state[0])


def method_steps(function: Callable[..., Estimates], size: int) -> Steps:
    """A user's ``(key, data) -> Estimates`` as an estimator; what it returns is checked while it is traced.

    Parameters
    ----------
    function : callable
    size : int
        Targets, padding included.
    """

    def estimate(key: Array, data: Any, truth: Array) -> Estimates:
        found = function(key, data)
        if not isinstance(found, Estimates):
            raise ValueError(
                f"function: expected hiermodels.inference.draws.Estimates, found {type(found).__name__}; return one"
            )
        for name in (f.name for f in fields(found)):
            shape, wanted = jnp.shape(getattr(found, name)), () if name in ("divergences", "n_try") else (size,)
            if shape != wanted:
                raise ValueError(
                    f"function: {name}: expected shape {wanted}, found {shape}; give one entry a target in the order "
                    f"of "
                    "the study's estimands, a padded group axis for each group value"
                )
        return jax.tree.map(jnp.asarray, found)

    return Steps(estimate, None)


def check_estimates(function: Callable[..., Estimates], size: int, data: Any) -> None:
    """Trace a user's method once on shapes, before anything is written.

    Raises
    ------
    ValueError
        Where it does not return `Estimates` of one entry a target, or is not written in `jax.numpy`.
    """
    truth = jnp.zeros(size)
    try:
        jax.eval_shape(method_steps(function, size).first, jax.random.key(0), data, truth)
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError) as error:
        what = str(error).split("\n")[0].rstrip(".")
        raise ValueError(
            f"function: it cannot be compiled ({what}); write it with jax.numpy, without if or float() on data"
        ) from None
