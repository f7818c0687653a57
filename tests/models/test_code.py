"""A model's source, executed: its log-density is that of the model that is fitted."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from numpyro import handlers
from numpyro.infer.util import log_density

from hiermodels import families
from hiermodels.datasets import load_dataset
from hiermodels.models.builder import build
from hiermodels.models.code import arguments
from hiermodels.models.data import as_jax, bind, variable_names
from hiermodels.models.explicit import reported
from hiermodels.models.sites import find_sites, flat_log_density
from hiermodels.models.spec import Model


def rows():
    """Six groups in two towns, crossed with three days; outcomes of every kind."""
    rng = np.random.default_rng(11)
    g = np.repeat(np.arange(6), 4)
    return pd.DataFrame(
        {
            "g": [f"g{k}" for k in g],
            "town": ["north" if k < 3 else "south" for k in g],
            "day": np.tile([1, 2, 3, 1], 6).astype(str),
            "x": rng.normal(size=24),
            "se": rng.uniform(1, 2, 24),
            "w": rng.uniform(0.5, 2, 24),
            "y": rng.normal(3, 2, 24),
            "n": rng.integers(3, 9, 24),
            "count": rng.integers(0, 4, 24),
            "hours": rng.uniform(1, 5, 24),
            "yes": rng.integers(0, 2, 24),
            "class": np.repeat(np.arange(12), 2).astype(str),
        }
    )


ROWS = rows()
SD = {"sd_g": "half_normal(2)"}
MODELS = {
    "known variances, reference prior": (Model("effect ~ 1 + (1 | school)", known_se="se"), load_dataset("eight_schools"), "partial"),
    "known variances, jeffreys2": (Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "jeffreys2()"}), load_dataset("eight_schools"),
                                   "partial"),
    "unknown variance": (Model("y ~ 1 + x + (1 | g)", weights="w", priors=SD | {"x": "student_t(3, 0, 2)"}), ROWS, "partial"),
    "correlated slopes": (Model("y ~ 1 + x + (1 + x | g)", priors=SD | {"sd_g_x": "half_t(3, 2)", "cor_g": "lkj(2)"}), ROWS, "partial"),
    "independent slopes": (Model("y ~ 1 + (1 + x || g)", priors=SD | {"sd_g_x": "exponential(1)", "sigma": 2.0}), ROWS, "partial"),
    "three levels": (Model("y ~ 1 + (1 | town/g)", priors={"sd_town": "inverse_gamma_variance(2, 1)", "sd_town:g": "gamma(2, 1)"}), ROWS,
                     "partial"),
    "ragged levels": (Model("score ~ 1 + (1 | school/classroom)", priors={"sd_school": "uniform(0, 9)", "sd_school:classroom": "half_cauchy(2)"}),
                      load_dataset("scores"), "partial"),
    "a slope that skips a level": (Model("y ~ 1 + (1 + x || town) + (1 | town:g) + (1 + x || town:g:class)", priors={
        f"sd_{k}": "half_normal(1)" for k in ("town", "town_x", "town:g", "town:g:class", "town:g:class_x")} | {"sigma": "half_normal(2)"}), ROWS, "partial"),
    "crossed": (Model("y ~ 1 + x + (1 | g) + (1 | day)", priors=SD | {"sd_day": "half_normal(1)"}), ROWS, "partial"),
    "crossed, one complete": (Model("y ~ 1 + x + (1 | g) + (1 | day)", priors=SD), ROWS, {"day": "complete"}),
    "no pooling, two levels": (Model("y ~ 1 + (1 | town/g)"), ROWS, "none"),
    "one level": (Model("y ~ 1", priors={"sigma": "flat_variance()"}), ROWS, "partial"),
    "one predictor alone": (Model("y ~ 0 + x"), ROWS, "partial"),
    "student t": (Model("y ~ 1 + x + (1 | g)", "student_t", priors=SD), ROWS, "partial"),
    "student t, known scales": (Model("y ~ 1 + (1 | g)", "student_t", known_se="se", priors=SD | {"nu": 4.0}), ROWS, "partial"),
    "binomial logit": (Model("count ~ 1 + x + (1 + x | g)", "binomial_logit", trials="n"), ROWS.assign(count=np.minimum(ROWS["count"], ROWS["n"])),
                       "partial"),
    "bernoulli logit, unpooled": (Model("yes ~ 1 + (1 | g)", "bernoulli_logit"), ROWS, "none"),
    "poisson log": (Model("count ~ 1 + x + (1 | town/g)", "poisson_log", exposure="hours"), ROWS, "partial"),
    "negative binomial": (Model("count ~ 1 + (1 | g)", "negative_binomial", exposure="hours"), ROWS, "partial"),
    "binomial": (Model("tumors ~ 1 + (1 | experiment)", "binomial", trials="rats"), load_dataset("rats").tail(9), "partial"),
    "binomial, units with a predictor": (Model("count ~ 1 + hour + (1 | g)", "binomial", trials="n", priors={"hour": "normal(0, 1)"}),
                                         ROWS.assign(hour=ROWS.g.str[1:].astype(float)), "partial"),
    "bernoulli": (Model("yes ~ 1 + (1 | g)", "bernoulli", priors={"mean_g": "beta(2, 3)", "kappa_g": "half_normal_cv(1)"}), ROWS, "partial"),
    "binomial, unpooled": (Model("count ~ 1 + (1 | town/g)", "binomial", trials="n"), ROWS, "none"),
    "binomial, three levels": (Model("count ~ 1 + (1 | town/g)", "binomial", trials="n"), ROWS, "partial"),
    "poisson": (Model("failures ~ 1 + (1 | pump)", "poisson", exposure="hours"), load_dataset("pumps"), "partial"),
    "poisson, named": (Model("failures ~ 1 + (1 | pump)", "poisson", exposure="hours", priors={
        "shape_pump": "log_normal(0, 1)", "mean_pump": "gamma_rate(2, 1)"}), load_dataset("pumps"), "partial"),
    "poisson, unpooled": (Model("failures ~ 1 + (1 | pump)", "poisson", exposure="hours"), load_dataset("pumps"), "none"),
    "poisson, complete": (Model("failures ~ 1 + (1 | pump)", "poisson", exposure="hours"), load_dataset("pumps"), "complete"),
    "poisson, rows": (Model("count ~ 1 + x", "poisson", exposure="hours"), ROWS, "partial"),
}  # fmt: skip

QUICK = {
    "known variances, reference prior", "three levels", "crossed", "one predictor alone", "student t", "binomial logit",
    "bernoulli logit, unpooled", "negative binomial", "binomial, three levels", "poisson",
}  # fmt: skip


SCALES = np.random.default_rng(8).normal(size=len(ROWS))
MODELS |= {
    f"measured, {name}": (Model("m ~ 1 + (1 | g)" if law.conjugate else "m ~ 1 + x + (1 | town/g)", name), ROWS.assign(m=law.link.host_inverse(SCALES)), "partial")
    for name, law in families.MENU.items() if law.measured and not law.link.identity
}  # fmt: skip


def defined(source):
    """The function that a text defines; nothing of the library is in its reach."""
    assert "hiermodels" not in source
    namespace = {}
    exec(compile(source, "model", "exec"), namespace)
    return namespace["model"]


def random_values(problem, data, seed):
    """Values of every latent site of the fitted model, padding at zero (unconstrained), and the same without
    padding.
    """
    model = build(problem.layout)
    sites = find_sites(model, data, data.y)
    rng = np.random.default_rng(seed)
    u = [rng.normal(scale=0.7, size=site.shape) for site in sites]
    where = {}
    for site, z in zip(sites, u, strict=True):
        stem = site.name.partition("_")[2]
        level = next(
            (
                v
                for v in reversed(problem.layout.levels)
                if z.ndim and (stem == v.name or stem.startswith(f"{v.name}_"))
            ),
            None,
        )
        if level is not None and z.shape[0] == level.size and not site.name.startswith("chol"):
            where[site.name] = problem.positions[level.name]
            padding = np.ones(level.size, bool)
            padding[where[site.name]] = False
            z[padding] = 0.0
    flat = jnp.concatenate([jnp.ravel(z) for z in u]) if u else jnp.zeros(0)
    trace = flat_log_density(model, sites, flat, data, data.y)[1]
    padded = {site.name: trace[site.name]["value"] for site in sites}
    return padded, {n: v[where[n]] if n in where else v for n, v in padded.items()}, trace


def at_zero(problem, plain, reports):
    """Values of latent sites as the source has them: coefficients at zero; sds and correlations that move under names
    of their own.
    """
    layout, found = problem.layout, dict(plain)
    for p in layout.parameters:
        stem = f"chol_{p.owner}" if p.role == "correlation" else p.name
        if p.role == "coefficient" and stem in found:
            found[stem] = reports[stem]
        elif stem in found and p.role in ("group sd", "correlation") and layout.moved(p):
            found[f"{stem}_at_means"] = found.pop(stem)
    for level in layout.levels:
        for name in layout.effect_names(level):
            if name in found:  # unpooled
                found[name] = reports[name][problem.positions[level.name]]
    return found


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
)
def test_source_has_the_log_density_of_the_fitted_model(name):
    model, frame, pooling = MODELS[name]
    with jax.enable_x64(True):
        problem = bind(model, frame, pooling)
        data, given = as_jax(problem.data), arguments(problem)
        written, constants = defined(model.code(frame, pooling)), []
        for seed in range(2):
            padded, plain, fitted = random_values(problem, data, seed)
            wanted, _ = log_density(build(problem.layout), (data, data.y), {}, padded)
            reports = reported(
                problem.layout,
                data,
                {n: (s["type"], s["value"]) for n, s in fitted.items() if n in variable_names(problem.layout)},
            )
            found, trace = log_density(written, (), given, at_zero(problem, plain, reports))
            constants.append(float(found) - float(wanted))  # coefficients are per sd inside
            assert constants[-1] == pytest.approx(constants[0], rel=1e-9, abs=1e-8)
            assert np.isfinite(float(found)) and (problem.data.units is not None or abs(constants[0]) < 1e-9)
            for level in problem.layout.levels:  # what is reported has the same values too
                for theta in problem.layout.effect_names(level):
                    expected = np.asarray(reports[theta])[problem.positions[level.name]]
                    np.testing.assert_allclose(trace[theta]["value"], expected, rtol=1e-8, atol=1e-10)
            for p in problem.layout.parameters:
                np.testing.assert_allclose(trace[p.name]["value"], reports[p.name], rtol=1e-8, atol=1e-10)


def test_source_simulates_without_the_outcome():
    """Proper priors, no outcome: the function draws one, of the rows' shape."""
    frame = load_dataset("eight_schools")
    model = Model(
        "effect ~ 1 + (1 | school)", known_se="se", priors={"Intercept": "normal(0, 10)", "sd_school": "half_normal(5)"}
    )
    given = arguments(bind(model, frame)) | {"effect": None}
    trace = handlers.trace(handlers.seed(defined(model.code()), 1)).get_trace(**given)
    assert trace["effect"]["value"].shape == (8,) and not trace["effect"]["is_observed"]
    assert trace["theta_school"]["value"].shape == (8,)


def test_source_without_data_is_that_of_the_data_where_nothing_is_scaled():
    frame = load_dataset("pumps")
    model = Model("failures ~ 1 + (1 | pump)", "poisson", exposure="hours")
    assert model.code() == model.code(frame)


def test_source_reads_as_mathematics_and_python():
    source = Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "half_normal(5)"}).code()
    assert "effect_i ~ N(theta_school[i], se_i^2)" in source
    assert 'sd_school = numpyro.sample("sd_school", dist.HalfNormal(5.0))' in source
    assert 'theta_school = numpyro.deterministic("theta_school", Intercept + sd_school * eta_school)' in source
    assert "import jax\n" not in source  # what is not used is not imported


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        (
            Model("y ~ 1 + (1 + x || g)", known_se="s"),
            {},
            r"code: the default prior of sd_g \(s\) waits for data; name a prior",
        ),
        (
            Model("y ~ 1 + (1 | g)", priors=SD),
            {"pooling": "none"},
            r"code: pooling 'none' needs the groups of the data; give data=<frame>",
        ),
    ],
)
def test_source_that_needs_data(model, settings, message):
    with pytest.raises(ValueError, match=message):
        model.code(**settings)


def test_names_that_are_no_python_names_or_clash():
    """Columns called as keywords, as modules, as groups or as coefficients get names of their own."""
    frame = ROWS.rename(columns={"x": "lambda", "g": "dist", "se": "mu"})
    model = Model("y ~ 1 + lambda + y2 + (1 | dist)", known_se="mu", priors={"sd_dist": "half_normal(1)"})
    frame = frame.assign(y2=np.arange(24.0) % 5)
    with jax.enable_x64(True):
        problem = bind(model, frame)
        data = as_jax(problem.data)
        padded, plain, fitted = random_values(problem, data, 1)
        reports = reported(
            problem.layout,
            data,
            {n: (s["type"], s["value"]) for n, s in fitted.items() if n in variable_names(problem.layout)},
        )
        wanted, _ = log_density(build(problem.layout), (data, data.y), {}, padded)
        found, _ = log_density(defined(model.code(frame)), (), arguments(problem), at_zero(problem, plain, reports))
    assert float(found) == pytest.approx(float(wanted), rel=1e-9)  # flat coefficients: no constant
