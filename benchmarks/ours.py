"""This library: explicit NUTS, marginalised NUTS, and the exact engine at its two accuracies."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.mapped import CHAINS, DRAWS, TUNE, Mapped


class Ours(Mapped):
    """What a study runs on each dataset, mapped over lanes; ``auto`` lanes unless a sweep says otherwise.

    NUTS returns draws of every parameter, group effects included, inside the timed part; the exact engine
    returns the summaries of every parameter (mean, sd, median, 95% interval).
    """

    sampler, marginalize, accuracy = "nuts", True, "study"
    swept = False

    def build(self) -> Any:
        import equinox as eqx
        import jax

        from hiermodels.inference.samplers import Settings, auto_lanes, dimension, estimator, sampler, target_sizes
        from hiermodels.inference.summaries import Interval, Target
        from hiermodels.models.problem import as_jax

        problem, variables = self.workload.problem(), self.workload.variables
        settings = Settings(
            sampler=self.sampler,
            marginalize=self.marginalize,
            draws=DRAWS,
            tune=TUNE,
            chains=CHAINS,
            accuracy=self.accuracy,
        )
        targets = tuple(Target(v) for v in variables)
        size = sum(target_sizes(problem.layout, targets))
        kind = jax.devices()[0].platform
        dim, numbers = dimension(problem.layout, settings), size + self.y.shape[1]
        if self.accuracy == "fit" and dim > 1:  # hundreds to thousands of nodes instead of dozens
            numbers *= 16
        self.chunk = auto_lanes(self.sampler, kind, dim, numbers)
        self.auto = self.chunk
        with jax.enable_x64(True):
            design = as_jax(problem.data)

        def bound(y: Any) -> Any:
            return eqx.tree_at(lambda d: d.y, design, y)

        if self.sampler == "exact":
            estimate = estimator(problem.layout, settings, targets, Interval())
            truth = np.full(size, np.nan)

            def summaries(key: Any, y: Any) -> dict[str, Any]:
                found = estimate(key, bound(y), truth)
                names = ("estimate", "se", "median", "lower", "upper", "status")
                return {name: getattr(found, name) for name in names}

            return summaries
        sample = sampler(problem.layout, settings)

        def draws(key: Any, y: Any) -> dict[str, Any]:
            found = sample(key, bound(y))
            return {v: found.values[v] for v in variables} | {"diverging": found.stats["diverging"]}

        return draws

    def sweep(self, seconds: float, chunks: tuple[int, ...] | None = None) -> dict[int, float]:
        """As `Mapped.sweep`, ``auto`` among the sizes; what users get, ``auto``, stays in use."""
        sizes = chunks or self.chunks
        rates = super().sweep(seconds, tuple({*sizes, self.auto}))
        if self.auto not in rates:
            rates |= super().sweep(seconds, (self.auto,))
        self.chunk = self.auto
        return rates

    def finish(self, results: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self.sampler == "exact":
            return {
                "mean": results["estimate"],
                "sd": results["se"],
                "flagged": (results["status"] > 0).any(-1),
            }
        return {"draws": self.workload.parameters(results), "divergences": results["diverging"].sum((1, 2))}


class OursExplicit(Ours):
    """NUTS on every parameter."""

    marginalize = False
    chunks = (1, 2, 4, 8, 16, 32)


class OursNuts(Ours):
    """NUTS on the hyperparameters alone."""

    chunks = (4, 8, 16, 32, 64, 128)


class OursStudy(Ours):
    """Exact, as good as 400 effective draws."""

    sampler = "exact"
    chunks = (8, 32, 128, 512)


class OursFit(OursStudy):
    """Exact, every summary within 1e-3 posterior sd."""

    accuracy = "fit"
