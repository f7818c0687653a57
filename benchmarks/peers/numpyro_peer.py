"""NumPyro's NUTS, four chains vectorised, under ``jit(vmap)`` over datasets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.mapped import CHAINS, DRAWS, TUNE, Mapped, recovered
from benchmarks.workloads import CLASSROOMS, SCHOOLS, STUDENTS, Workload


def explicit_model(workload: Workload) -> Callable[[Any], None]:
    """The model over everything, non-centred where it applies, as a NumPyro user writes it."""
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    design = workload.design()

    def schools(y: Any) -> None:
        mu = numpyro.sample("mu", dist.Normal(0.0, 20.0))
        tau = numpyro.sample("tau", dist.HalfNormal(20.0))
        eta = numpyro.sample("eta", dist.Normal(jnp.zeros(8), 1.0))
        numpyro.sample("y", dist.Normal(mu + tau * eta, design["se"]), obs=y)

    def pupils(y: Any) -> None:
        lam = numpyro.sample("lam", dist.Normal(0.0, 10.0))
        kappa, tau, sigma = (numpyro.sample(name, dist.HalfNormal(5.0)) for name in ("kappa", "tau", "sigma"))
        eta_school = numpyro.sample("eta_school", dist.Normal(jnp.zeros(SCHOOLS), 1.0))
        eta_classroom = numpyro.sample("eta_classroom", dist.Normal(jnp.zeros((SCHOOLS, CLASSROOMS)), 1.0))
        classroom = (lam + kappa * eta_school)[:, None] + tau * eta_classroom
        y = y.reshape(SCHOOLS, CLASSROOMS, STUDENTS)
        numpyro.sample("y", dist.Normal(classroom[..., None], sigma), obs=y)

    def rats(y: Any) -> None:
        mu = numpyro.sample("mu", dist.Uniform(0.0, 1.0))
        kappa = numpyro.sample("kappa", dist.HalfNormal(50.0))
        with numpyro.plate("labs", len(design["n"])):
            theta = numpyro.sample("theta", dist.Beta(mu * kappa, (1 - mu) * kappa))
            numpyro.sample("y", dist.Binomial(design["n"], theta), obs=y)

    def trial(y: Any) -> None:
        a, b = numpyro.sample("a", dist.Normal(0.0, 2.5)), numpyro.sample("b", dist.Normal(0.0, 2.5))
        sd = numpyro.sample("sd", dist.HalfNormal(1.0))
        eta = numpyro.sample("eta", dist.Normal(jnp.zeros(len(design["n"])), 1.0))
        numpyro.sample("y", dist.Binomial(design["n"], logits=a + b * design["treated"] + sd * eta), obs=y)

    def counties(y: Any) -> None:
        a, sd = numpyro.sample("a", dist.Normal(0.0, 2.5)), numpyro.sample("sd", dist.HalfNormal(1.0))
        eta = numpyro.sample("eta", dist.Normal(jnp.zeros(len(design["exposure"])), 1.0))
        numpyro.sample("y", dist.Poisson(design["exposure"] * jnp.exp(a + sd * eta)), obs=y)

    return {"W1": schools, "W2": pupils, "W3": rats, "W4": trial, "W6": counties}[workload.name]


def marginal_density(workload: Workload) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """This library's (prepare(y), log density(u, stats), start(stats)) of the hyperparameters alone."""
    import equinox as eqx
    import jax

    from hiermodels.models.factorise import factorise
    from hiermodels.models.problem import as_jax

    problem = workload.problem()
    model = factorise(problem.layout)
    with jax.enable_x64(True):
        design = as_jax(problem.data)
    return lambda y: model.prepare(eqx.tree_at(lambda d: d.y, design, y)), model.log_density, model.start


class NumpyroExplicit(Mapped):
    """The explicit model."""

    def build(self) -> Any:
        from numpyro.infer import MCMC, NUTS

        model = explicit_model(self.workload)

        def one(key: Any, y: Any) -> dict[str, Any]:
            mcmc = MCMC(
                NUTS(model),
                num_warmup=TUNE,
                num_samples=DRAWS,
                num_chains=CHAINS,
                chain_method="vectorized",
                progress_bar=False,
            )
            mcmc.run(key, y, extra_fields=("diverging",))
            diverging = mcmc.get_extra_fields(group_by_chain=True)["diverging"]
            return mcmc.get_samples(group_by_chain=True) | {"diverging": diverging}

        return one

    def finish(self, results: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"draws": self.workload.explicit(results), "divergences": results["diverging"].sum((1, 2))}


class NumpyroMarginal(Mapped):
    """The marginal density as ``potential_fn``; group effects are drawn outside the timed part."""

    chunks = (4, 10, 20, 50, 100)
    chunk = 20

    def build(self) -> Any:
        import jax
        from numpyro.infer import MCMC, NUTS

        prepare, log_density, start = marginal_density(self.workload)

        def one(key: Any, y: Any) -> dict[str, Any]:
            stats = prepare(y)
            kernel = NUTS(potential_fn=lambda u: -log_density(u, stats))
            mcmc = MCMC(
                kernel,
                num_warmup=TUNE,
                num_samples=DRAWS,
                num_chains=CHAINS,
                chain_method="vectorized",
                progress_bar=False,
            )
            centre = start(stats)
            init = centre + 0.1 * jax.random.normal(key, (CHAINS, *centre.shape), centre.dtype)
            mcmc.run(key, init_params=init, extra_fields=("diverging",))
            diverging = mcmc.get_extra_fields(group_by_chain=True)["diverging"]
            return {"u": mcmc.get_samples(group_by_chain=True), "diverging": diverging}

        return one

    def finish(self, results: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        draws = recovered(self.workload, self.y, results["u"])
        return {"draws": draws, "divergences": results["diverging"].sum((1, 2))}
