"""Draws of everything else beside draws of what a sampler moved on."""

from __future__ import annotations

from typing import Any

import jax
from jax import Array

from hiermodels.inference.lanes import one_by_one

__all__ = ["draws_beside"]

_NUMBERS = 1 << 26
"""Numbers of all draws of a dataset that are computed side by side."""


def draws_beside(model: Any, stats: Any, key: Array, position: Array) -> dict[str, Array]:
    """Draws of every variable beside each position (chain, draw, dim).

    Many groups are drawn for some positions at a time: what is computed on the way takes three times the room of the
    draws.
    """

    @one_by_one
    def draws(data: Array, position: Array, stats: Any) -> dict[str, Array]:
        keys = jax.random.split(jax.random.wrap_key_data(data, impl=impl), position.shape[:2])
        one = jax.eval_shape(model.draw, keys[0, 0], position[0, 0], stats)
        numbers = sum(x.size for x in jax.tree.leaves(one))
        if numbers * keys.size <= _NUMBERS:
            return jax.vmap(jax.vmap(lambda k, u: model.draw(k, u, stats)))(keys, position)
        flat = (keys.reshape(-1), position.reshape(-1, position.shape[-1]))
        found = jax.lax.map(lambda pair: model.draw(*pair, stats), flat, batch_size=max(1, _NUMBERS // (16 * numbers)))
        return jax.tree.map(lambda x: x.reshape(*position.shape[:2], *x.shape[1:]), found)

    data, impl = jax.random.key_data(key), jax.random.key_impl(key)
    return draws(data, position, stats)
