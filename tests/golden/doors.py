"""Where the golden recordings reach behind the public names: whoever moves a room edits this file, and no other of the
folder.

Everything here goes in and out by names of sites and parameters, never by places in a vector, so that an order may
change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from numpyro.distributions import constraints

from hiermodels.inference.describe import real_groups
from hiermodels.inference.likelihood import log_likelihood
from hiermodels.inference.log_priors import log_prior
from hiermodels.inference.predict import predict
from hiermodels.models import hyper
from hiermodels.models.code import arguments
from hiermodels.models.code import text as source_of
from hiermodels.models.code_names import Names, prior_lines
from hiermodels.models.data import as_jax, bind
from hiermodels.models.explicit import Explicit
from hiermodels.models.factorise import factorise
from hiermodels.models.sites import find_sites, flat_log_density
from hiermodels.models.spec import Layout, Parameter
from hiermodels.priors import Prior, lkj, parse
from hiermodels.studies.config.deviating import read_deviations
from hiermodels.studies.mechanisms.deviant import read_deviation
from hiermodels.studies.mechanisms.simulate import bind_design, read_truth, simulator

__all__ = [
    "Density",
    "bind",
    "drawn",
    "ends",
    "explicit",
    "integrated",
    "log_likelihood",
    "log_lkj",
    "log_prior",
    "numpyro_law",
    "parameters",
    "parse",
    "predict",
    "printed_prior",
    "real_groups",
    "simulated",
    "source",
    "source_density",
]


@dataclass(frozen=True)
class Density:
    """One density over a flat vector: places by name, a start, its log density, everything that is shown at a point,
    laws given phi.
    """

    places: dict[str, tuple[int, int]]
    dim: int
    start: Any
    log_density: Callable[[Any], Any]
    draw: Callable[[Any, Any], dict[str, Any]]
    laws: Callable[[Any], dict[str, Any]] | None = None
    kinds: dict[str, str] = field(default_factory=dict)


def explicit(problem: Any, centred: bool) -> Density:
    """The density of everything."""
    model, data = Explicit(problem.layout, centred), as_jax(problem.data)
    stats = model.prepare(data)
    places = {site.name: (site.start, site.stop) for site in model.sites}
    return Density(
        places,
        model.dim,
        model.start(stats),
        lambda u: model.log_density(u, stats),
        lambda key, u: model.draw(key, u, stats),
    )


def integrated(problem: Any) -> Density | str:
    """The density of the hyperparameters with its laws of everything else; the refusal where there is none."""
    try:
        model = factorise(problem.layout)
    except ValueError as error:
        return str(error)
    stats = model.prepare(as_jax(problem.data))
    places = {p.name: (start, stop) for p, start, stop in hyper.slices(model.parameters) if stop > start}
    if (end := hyper.dimension(model.parameters)) < model.dim:
        places["deviations"] = (end, model.dim)
    kinds: dict[str, str] = {}

    def laws(u: Any) -> dict[str, Any]:
        names = sorted(model.available())
        try:
            found = model.components(u, stats, tuple(names))
        except ValueError:  # one of them has no law: name by name
            found = {}
            for name in names:
                try:
                    found |= model.components(u, stats, (name,))
                except ValueError as error:
                    kinds[name] = str(error)
        kinds.update({name: law.kind for name, law in found.items()})
        return {name: (law.a, law.b, *(law.base or ())) for name, law in found.items()}

    density, draw = lambda u: model.log_density(u, stats), lambda key, u: model.draw(key, u, stats)
    return Density(places, model.dim, model.start(stats), density, draw, laws, kinds)


# printed source
# --------------------------------------------------------------------------------------------------------------


def source(problem: Any) -> tuple[str, Callable[..., Any], dict[str, Any]]:
    """The printed function, defined, and the arguments that it is called with."""
    text = source_of(problem.model, problem.layout, problem.scales)
    names: dict[str, Any] = {}
    exec(compile(text, "model", "exec"), names)
    return text, names["model"], arguments(problem)


def source_density(
    function: Callable[..., Any], given: Mapping[str, Any]
) -> tuple[dict[str, tuple[int, int]], int, Callable[[Any], Any]]:
    """Places of sites by name, the dimension, and the log density of the printed function."""
    sites = find_sites(function, **given)
    places = {site.name: (site.start, site.stop) for site in sites}
    return places, sites[-1].stop if sites else 0, lambda u: flat_log_density(function, sites, u, **given)[0]


def printed_prior(prior: Prior, kind: str) -> list[str]:
    """The statements that sample a parameter of this kind from its prior in a printed source."""
    unit = [Parameter("sigma", "positive", "residual sd"), Parameter("shape_g", "positive", "concentration", "g")]
    size, role = (
        (2, "correlation")
        if kind == "correlation"
        else (1, "population mean" if prior.name == "gamma_rate" else "group sd")
    )
    own = Parameter("cor_g" if size == 2 else "par", kind, role, "g", "Intercept", size, prior=prior)
    level = SimpleNamespace(name="g")
    layout: Any = Layout("normal", True, (), (), (level,), (*unit, own), 4)  # type: ignore[arg-type]
    names = Names(SimpleNamespace(known_se="se", outcome="y"), layout)  # type: ignore[arg-type]
    return prior_lines(own, names, layout)


# priors
# ----------------------------------------------------------------------------------------------------------------------


def drawn(prior: Prior, key: Any, unit: Any, size: int) -> Any:
    """One draw from a proper prior, as studies draw it."""
    return prior.sample(key, unit, size)


def log_lkj(cholesky: Any, eta: float) -> Any:
    """Log density of a Cholesky factor of a correlation matrix."""
    return lkj(eta).log_density(cholesky)


def numpyro_law(prior: Prior, kind: str) -> Any:
    """NumPyro's distribution, None where there is none."""
    return prior.law(kind)


def ends(law: Any) -> tuple[float, float]:
    """Ends of the support of one of NumPyro's laws of a number."""
    support = law.support
    return float(getattr(support, "lower_bound", 0.0 if support is constraints.positive else -np.inf)), float(
        getattr(support, "upper_bound", np.inf)
    )


# simulators
# ------------------------------------------------------------------------------------------------------------------


def simulated(
    model: Any, frame: pd.DataFrame, truth: Mapping[str, Any], deviation: Mapping[str, Any] | None, keys: Any
) -> tuple[Any, dict[str, Any]]:
    """Outcomes and true values of a mechanism, a dataset each key; NumPy."""
    problem = bind_design(model, frame)
    known, values = read_truth(truth, problem)
    how = None if deviation is None else read_deviation(read_deviations(deviation), problem, truth)
    design = as_jax(problem.data)
    arrays = {name: jnp.asarray(x) for name, x in values.items()}
    y, true = jax.jit(jax.vmap(lambda key: simulator(problem.layout, known, how)(key, design, arrays)))(keys)
    leaves = {str(i): np.asarray(x) for i, x in enumerate(jax.tree.leaves(y))}
    return leaves, {name: np.asarray(x) for name, x in true.items()}


def parameters(model: Any, frame: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Kind and role of each parameter of a mechanism."""
    return {p.name: (p.kind, p.role) for p in bind_design(model, frame).layout.parameters}
