"""Streams of random numbers that belong to names: what is drawn for a quantity depends on its name, never on its place
in a list.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import jax
from jax import Array

from hiermodels.models.layout import Layout

__all__ = ["OUTCOME", "stream", "word", "words"]

OUTCOME = "outcome"
"""Name of the stream of the outcomes."""


def word(name: str) -> int:
    """An unsigned 32-bit number from a name's hash (blake2b): the same in every process, version and order.

    Examples
    --------
    >>> word("theta_school")
    3402855303
    """
    return int(hashlib.blake2b(name.encode(), digest_size=8).hexdigest()[:8], 16)


def words(layout: Layout) -> dict[str, int]:
    """Words of everything that is drawn for a dataset of this layout, so that programs need not hold its names.

    Examples
    --------
    >>> import hiermodels as hm
    >>> from hiermodels.models.data import bind
    >>> layout = bind(hm.Model("effect ~ 1 + (1 | school)", known_se="se"), hm.load_dataset("eight_schools")).layout
    >>> list(words(layout))
    ['outcome', 'Intercept', 'sd_school', 'theta_school', 'new(school)']
    """
    names = [OUTCOME, *(p.name for p in layout.parameters)]
    for level in layout.levels:
        names += [*layout.effect_names(level), f"new({level.name})"]
    return {name: word(name) for name in names}


def stream(key: Array, name: str, words: Mapping[str, Any] | None = None) -> Array:
    """The key of a name's own stream below ``key``; ``words`` holds the words of names that stand for others."""
    return jax.random.fold_in(key, word(name) if words is None else words[name])
