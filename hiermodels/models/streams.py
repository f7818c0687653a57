"""Streams of random numbers that belong to names: what is drawn for a quantity depends on its name, never on its place in a list."""

from __future__ import annotations

import hashlib

import jax
from jax import Array

__all__ = ["stream", "word"]


def word(name: str) -> int:
    """An unsigned 32-bit number from a name's hash (blake2b): the same in every process, version and order.

    Examples
    --------
    >>> word("theta_school")
    3402855303
    """
    return int(hashlib.blake2b(name.encode(), digest_size=8).hexdigest()[:8], 16)


def stream(key: Array, name: str) -> Array:
    """The key of a name's own stream below ``key``."""
    return jax.random.fold_in(key, word(name))
