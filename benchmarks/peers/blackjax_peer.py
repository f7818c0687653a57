"""BlackJAX: its window adaptation and NUTS, a chain each, under ``jit(vmap)`` over chains and datasets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.mapped import CHAINS, DRAWS, TUNE, Mapped, recovered
from benchmarks.peers.numpyro_peer import explicit_model, marginal_density


def _chain(log_density: Callable[[Any], Any], key: Any, position: Any) -> tuple[Any, Any]:
    """One chain: positions and divergences of the draws kept."""
    import blackjax
    import jax

    warm_key, sample_key = jax.random.split(key)
    warmup = blackjax.window_adaptation(blackjax.nuts, log_density)
    (state, settings), _ = warmup.run(warm_key, position, TUNE)
    kernel = blackjax.nuts(log_density, **settings)

    def step(state: Any, key: Any) -> tuple[Any, Any]:
        state, info = kernel.step(key, state)
        return state, (state.position, info.is_divergent)

    return jax.lax.scan(step, state, jax.random.split(sample_key, DRAWS))[1]


class BlackjaxExplicit(Mapped):
    """The explicit model's density (NumPyro's function, unconstrained by NumPyro)."""

    def build(self) -> Any:
        import jax
        from numpyro.infer.util import constrain_fn, initialize_model, potential_energy

        model = explicit_model(self.workload)
        sites = initialize_model(jax.random.key(0), model, model_args=(self.y[0],)).param_info.z

        def one(key: Any, y: Any) -> dict[str, Any]:
            start_key, chain_key = jax.random.split(key)
            leaves, tree = jax.tree.flatten(sites)
            keys = jax.random.split(start_key, len(leaves))
            dtype = y.dtype
            starts = [
                jax.random.uniform(k, (CHAINS, *x.shape), dtype, -2.0, 2.0) for k, x in zip(keys, leaves, strict=True)
            ]

            def log_density(z: Any) -> Any:
                return -potential_energy(model, (y,), {}, z)

            position, diverging = jax.vmap(lambda k, z: _chain(log_density, k, z))(
                jax.random.split(chain_key, CHAINS), jax.tree.unflatten(tree, starts)
            )
            constrained = jax.vmap(jax.vmap(lambda z: constrain_fn(model, (y,), {}, z)))(position)
            return constrained | {"diverging": diverging}

        return one

    def finish(self, results: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"draws": self.workload.explicit(results), "divergences": results["diverging"].sum((1, 2))}


class BlackjaxMarginal(Mapped):
    """The marginal density; group effects are drawn outside the timed part."""

    chunks = (4, 10, 20, 50, 100)
    chunk = 20

    def build(self) -> Any:
        import jax

        prepare, log_density, start = marginal_density(self.workload)

        def one(key: Any, y: Any) -> dict[str, Any]:
            stats = prepare(y)
            centre = start(stats)
            init = centre + 0.1 * jax.random.normal(key, (CHAINS, *centre.shape), centre.dtype)
            chain = jax.vmap(lambda k, u: _chain(lambda x: log_density(x, stats), k, u))
            u, diverging = chain(jax.random.split(key, CHAINS), init)
            return {"u": u, "diverging": diverging}

        return one

    def finish(self, results: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        draws = recovered(self.workload, self.y, results["u"])
        return {"draws": draws, "divergences": results["diverging"].sum((1, 2))}
