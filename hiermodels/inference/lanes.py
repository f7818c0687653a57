"""Lanes: datasets that are moved together in one vmapped step."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap, sequential_vmap

if TYPE_CHECKING:
    from jax import Array

__all__ = ["one_by_one", "over_lanes"]


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
        return jax.tree.map(lambda o: o.reshape(size, width, *o.shape[1:]), out), jax.tree.map(lambda _: True, out)

    return call


def one_by_one(function: Callable) -> Callable:
    """Let a vmap over datasets run ``function`` one dataset after the other on CPU, where they would not fit the cache
    together.
    """
    return sequential_vmap(function) if jax.default_backend() == "cpu" else function
