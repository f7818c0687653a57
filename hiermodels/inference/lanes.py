"""Lanes: datasets that are moved together in one vmapped step, and how many of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap, sequential_vmap

from hiermodels.inference.settings import MENU, Sampler

if TYPE_CHECKING:
    from jax import Array

__all__ = ["auto_lanes", "one_by_one", "over_lanes"]

FEW = 6
"""Most dimensions of a marginal posterior of hyperparameters whose trajectories are about equally long."""


def auto_lanes(sampler: str, device_kind: str, dim: int, size: int) -> int:
    """Give the number of datasets in one vmapped step that ``lanes: auto`` stands for.

    Wide steps spread the fixed cost of a step of the loop, narrow ones keep the working set in the cache and
    wait less for the slowest dataset: the product of lanes and size is what counts.

    Parameters
    ----------
    sampler : str
        A sampler's name. ``exact`` has no loop that waits for the slowest dataset, and may be wider.
    device_kind : str
        ``"cpu"``, or the name of an accelerator.
    dim : int
        Dimensions that are sampled. Trajectories in many dimensions (explicit models) differ so much in length that waiting for
        the longest soon costs more than a step of the loop: on CPU large ones move alone, small ones a few together.
    size : int
        Observations and targets of a dataset.

    Returns
    -------
    int
        A power of two; a pure function of the arguments.

    Examples
    --------
    >>> auto_lanes("nuts", "cpu", 1, 18), auto_lanes("nuts", "cpu", 3, 905), auto_lanes("nuts", "cpu", 104, 905)
    (32, 8, 1)
    """
    numbers = max(1, size) + 2 * max(1, dim)
    if device_kind.lower() != "cpu":
        return _power_of_two(2**21 / numbers, 64, 4096)
    how = MENU.get(sampler, Sampler())
    if how.gradient and dim > FEW:
        return _power_of_two(2.0**12.5 / (numbers * dim), 1, 16)
    return _power_of_two(2.0**12.5 / numbers, 4, how.lanes)


def _power_of_two(x: float, least: int, most: int) -> int:
    return 2 ** round(math.log2(min(max(x, least), most)))


def over_lanes(function: Callable, mapped: tuple[bool, ...]) -> Callable:
    """Let every vmap, nested ones too, widen one leading lane axis that ``function`` sees.

    ``function(mapped, *args)`` takes a lane axis on the arguments marked in ``mapped``, and gives one on each
    result. The last argument is always mapped.
    """

    @custom_vmap
    def call(*args: Array) -> Any:
        return function(mapped, *args)

    @call.def_vmap
    def rule(size: int, new: list[bool], *args: Array) -> Any:
        new = jax.tree.leaves(new)
        width = args[-1].shape[1] if new[-1] else args[-1].shape[0]

        def widen(x: Array, is_new: bool, is_old: bool) -> Array:
            if is_new and is_old:
                return x.reshape(size * width, *x.shape[2:])
            if is_new:
                return jnp.repeat(x, width, axis=0)
            return jnp.tile(x, (size,) + (1,) * (x.ndim - 1)) if is_old else x

        either = tuple(a or b for a, b in zip(new, mapped, strict=True))
        out = over_lanes(function, either)(*map(widen, args, new, mapped))
        return jax.tree.map(lambda o: o.reshape(size, width, *o.shape[1:]), out), jax.tree.map(
            lambda _: True, out
        )

    return call


def one_by_one(function: Callable) -> Callable:
    """Let a vmap over datasets run ``function`` one dataset after the other on CPU, where they would not fit the cache together."""
    return sequential_vmap(function) if jax.default_backend() == "cpu" else function
