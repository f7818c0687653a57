"""Mixtures of laws that are nearly normal in a coordinate of their own: groups under outcomes that are not normal."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from hiermodels.families.component import Component, bent_cdf, unbent
from hiermodels.inference.mixtures import NormalMixture

__all__ = ["BentMixture"]


class BentMixture(NormalMixture):
    """Mixtures of bent laws (`hiermodels.families.component`), a group each: as a normal mixture, with their own
    distribution functions.
    """

    def _each(self, x: Array, law: Component) -> tuple[Array, Array]:
        """F and f of every component, (k, node, group)."""
        assert law.more is not None
        more = jnp.moveaxis(law.more, 1, 0)[:, None]  # (number, 1, node, group)
        precision = self.precision if x.dtype == jnp.float64 else x.dtype
        t, slope = unbent(x[:, None], more)
        below, density = bent_cdf(t.astype(precision), more[3:-1].astype(precision))
        return below, density * slope.astype(precision)

    def _sums(self, x: Array) -> tuple[Array, Array]:
        def add(weight: Array, law: Component) -> tuple[Array, Array]:
            below, density = self._each(x, law)
            share = weight.astype(below.dtype)
            found = jnp.einsum("hn,kng->hkg", share, below), jnp.einsum("n,kng->kg", jnp.sum(share, 0), density)
            return found[0].astype(x.dtype), found[1].astype(x.dtype)

        below, density = self.sweep(add)
        return below, density

    def cdf_error(self, x: Array) -> tuple[Array, Array]:
        """F at x, shape (k, group), and its estimated error."""
        below = self._sums(x)[0]
        return jnp.sum(below, 0), self._error(below)

    def unseen(self) -> Array:
        """What the components' series leave out of a distribution function, on average over them; (group,)."""

        def add(weight: Array, law: Component) -> tuple[Array]:
            assert law.more is not None
            return (jnp.sum(weight, 0) @ law.more[:, -1],)

        return self.sweep(add)[0]
