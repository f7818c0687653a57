"""The builder against the hand-written catalogue, the factorised forms and dense algebra; a user's own function."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
import pytest
from numpyro.infer.util import log_density, potential_energy
from plain_units import as_written
from scipy import stats as scipy_stats

from hiermodels.datasets import load_dataset
from hiermodels.models import catalogue, hyper
from hiermodels.models import data as data_module
from hiermodels.models.builder import build
from hiermodels.models.data import as_jax, bind, variable_names
from hiermodels.models.explicit import Explicit
from hiermodels.models.factorise import factorise
from hiermodels.models.marginal import marginalised
from hiermodels.models.sites import find_sites, flat_log_density
from hiermodels.models.spec import Model
from hiermodels.models.user import user_model


def frames():
    """Small datasets: one row a group, students in schools, classrooms, individuals, counts."""
    schools = load_dataset("eight_schools").rename(columns={"effect": "y"})
    scores = load_dataset("scores").rename(columns={"score": "y"})
    people = load_dataset("individuals").head(30).rename(columns={"id": "individual"})
    rats = load_dataset("rats").tail(9).rename(columns={"tumors": "y"})
    counties = load_dataset("counties").rename(columns={"deaths": "y"})[["county", "y", "exposure"]]
    return {"schools": schools, "scores": scores, "people": people, "rats": rats, "counties": counties}


FRAMES = frames()
FLAT = {"sd_school": "half_normal(5)"}

# frame, model, the catalogue's function with everything but data and settings, its arrays from the frame
EXAMPLES = {
    "one_level, known": ("schools", Model("y ~ 1", known_se="se"), catalogue.one_level, lambda f: {"se": f["se"]}),
    "one_level": ("schools", Model("y ~ 1", priors={"sigma": "half_t(3, 5)"}),
                  partial(catalogue.one_level, sigma="half_t(3, 5)"), lambda f: {}),
    "two_levels_known": ("schools", Model("y ~ 1 + (1 | school)", known_se="se"),
                         catalogue.two_levels_known, lambda f: {"se": f["se"]}),
    "two_levels": ("scores", Model("y ~ 1 + (1 | school)", priors={"sd_school": "half_cauchy(5)", "Intercept": "normal(40, 9)"}),
                   partial(catalogue.two_levels, sd_school="half_cauchy(5)", Intercept="normal(40, 9)"),
                   lambda f: {"school": pd.factorize(f["school"])[0], "n_school": 4}),
    "three_levels": ("scores", Model("y ~ 1 + (1 | school/classroom)", priors={
                         "sd_school": "inverse_gamma_variance(2, 9)", "sd_school:classroom": "uniform(0, 20)", "sigma": 5.0}),
                     partial(catalogue.three_levels, sd_school="inverse_gamma_variance(2, 9)", sd_classroom="uniform(0, 20)", sigma=5.0),
                     lambda f: {"school": pd.factorize(f["school"])[0], "n_school": 4, "n_classroom": 8,
                                "classroom": pd.factorize(f["school"] + f["classroom"])[0]}),
    "varying_slopes": ("people", Model("y ~ 1 + x + (1 + x || individual)", priors={
                           "sd_individual": "half_normal(2)", "sd_individual_x": "gamma(2, 1)", "x": "student_t(3, 0, 2)"}),
                       partial(catalogue.varying_slopes, sd_individual="half_normal(2)", sd_individual_x="gamma(2, 1)",
                               slope="student_t(3, 0, 2)"),
                       lambda f: {"individual": pd.factorize(f["individual"])[0], "n_individual": 6, "x": f["x"]}),
    "varying_slopes, correlated": ("people", Model("y ~ 1 + x + (1 + x | individual)", priors={
                                       "sd_individual": "exponential(1)", "sd_individual_x": "flat()", "cor_individual": "lkj(2)"}),
                                   partial(catalogue.varying_slopes, correlated=True, sd_individual="exponential(1)",
                                           sd_individual_x="flat()", cor_individual="lkj(2)"),
                                   lambda f: {"individual": pd.factorize(f["individual"])[0], "n_individual": 6, "x": f["x"]}),
    "beta_binomial": ("rats", Model("y ~ 1 + (1 | experiment)", family="binomial", trials="rats", priors={
                          "mean_experiment": "beta(2, 9)", "kappa_experiment": "power(1.5)"}),
                      partial(catalogue.beta_binomial, mean_experiment="beta(2, 9)"), lambda f: {"trials": f["rats"]}),
    "gamma_poisson": ("counties", Model("y ~ 1 + (1 | county)", family="poisson", exposure="exposure", priors={
                          "mean_county": "power(1)", "shape_county": "exponential(1)"}),
                      partial(catalogue.gamma_poisson, shape_county="exponential(1)"), lambda f: {"exposure": f["exposure"]}),
}  # fmt: skip


def settings():
    for name, (_, model, _, _) in EXAMPLES.items():
        levels = len(model.parsed.groups)
        words = ["partial", "none", "complete"] if levels else ["partial"]
        if levels == 2:
            words += [
                {"school": a, "school:classroom": b}
                for a, b in [
                    ("complete", "partial"),
                    ("none", "partial"),
                    ("partial", "complete"),
                    ("complete", "none"),
                ]
            ]
        for word in words:
            centrings = (
                (False, True)
                if levels and model.family == "normal" and word != "none" and word != "complete"
                else (False,)
            )
            for centred in centrings:
                yield pytest.param(name, word, centred, id=f"{name}-{word}-{'centred' if centred else 'plain'}")


def sample_at(problem, centred, seed):
    """Random constrained values of every site of the builder; padded groups at zero."""
    e = Explicit(problem.layout, centred)
    u = jnp.asarray(np.random.default_rng(seed).normal(size=e.dim) * 0.5)
    values = e.constrain(u)
    for level, real in zip(problem.layout.levels, problem.data.real, strict=True):
        for name in values:
            if (
                name.startswith(("theta_", "eta_", "coef_", "rate_"))
                and values[name].shape[0] == level.size
                and name.endswith(level.name)
            ):
                shape = real.reshape(real.shape + (1,) * (values[name].ndim - 1))
                values[name] = jnp.where(shape, values[name], 0.0)
    return values


@pytest.mark.slow_cases("beta_binomial-partial-plain", "varying_slopes, correlated-partial-plain")
@pytest.mark.parametrize(("name", "pooling", "centred"), list(settings()))
def test_builder_writes_what_the_catalogue_writes(name, pooling, centred):
    key, model, function, arguments = EXAMPLES[name]
    frame = FRAMES[key]
    with jax.enable_x64(True):
        problem = as_written(bind(model, frame, pooling))
        data = as_jax(problem.data)
        values = sample_at(problem, centred, len(name))
        built, trace = log_density(build(problem.layout, centred), (data, data.y), {}, values)
        extra = {k: jnp.asarray(np.asarray(v)) if np.ndim(v) else v for k, v in arguments(frame).items()}
        if problem.layout.levels:
            extra |= {"pooling": pooling}
        if "centred" in extra or (problem.layout.levels and problem.layout.family == "normal"):
            extra |= {"centred": centred}
        by_hand = {}
        for site, value in values.items():
            level = next(
                (
                    v.name
                    for v in problem.layout.levels
                    if value.ndim and value.shape[0] == v.size and site.split("_x")[0].endswith("_" + v.name)
                ),
                None,
            )
            by_hand[site] = value if level is None or site.startswith("chol") else value[problem.positions[level]]
        written, other = log_density(function, (), {"y": jnp.asarray(frame["y"].to_numpy(float)), **extra}, by_hand)
        assert float(built) == pytest.approx(float(written), rel=1e-11)
        used = {site for site, s in other.items() if s["type"] == "sample" and not s["is_observed"]}
        assert used == set(values)
        for variable in variable_names(problem.layout):
            level = next((v.name for v in problem.layout.levels if variable in problem.layout.effect_names(v)), None)
            if level is None:
                continue
            ours = np.asarray(trace[variable]["value"])[problem.positions[level]]
            if not (
                model.family != "normal" and variable.startswith("theta") and level != problem.layout.levels[-1].name
            ):
                np.testing.assert_allclose(ours, other[variable]["value"], rtol=1e-11)


# against numpyro, the factorised forms, and dense algebra
# ----------------------------------------------------------------

LAYOUTS = {
    "predictors": (
        "scores",
        Model("y ~ 1 + z + (1 | school/classroom)", priors={"Intercept": "normal(40, 20)"}),
        "partial",
    ),
    "coarse none": ("scores", Model("y ~ 1 + (1 | school/classroom)"), {"school": "none"}),
    "none": ("scores", Model("y ~ 1 + z + (1 | school/classroom)"), "none"),
    "weights": ("scores", Model("y ~ 1 + (1 | school)", weights="w"), "partial"),
    "no intercept": ("scores", Model("y ~ 0 + z + (1 | school)"), "partial"),
    "slopes": ("people", Model("y ~ 1 + x + (1 + x | individual)"), "partial"),
    "mixed slopes": ("people", Model("y ~ 1 + x + (1 || individual) + (0 + x | team)"), "partial"),
}


def layout_frame(key):
    frame = FRAMES[key].copy()
    rng = np.random.default_rng(1)
    return frame.assign(
        z=rng.normal(size=len(frame)), w=rng.uniform(0.5, 2, len(frame)), team=np.arange(len(frame)) // 10
    )


def bound(name, priors=None):
    key, model, pooling = LAYOUTS[name]
    return bind(model, layout_frame(key), pooling)


@pytest.mark.parametrize("name", ["predictors", "slopes"])
@pytest.mark.parametrize("centred", [False, True])
def test_flat_density_is_numpyros_potential(name, centred):
    with jax.enable_x64(True):
        problem = bound(name)
        e, data = Explicit(problem.layout, centred), as_jax(problem.data)
        u = jnp.asarray(np.random.default_rng(0).normal(size=e.dim) * 0.3)
        free = {s.name: u[s.start : s.stop].reshape(s.shape) for s in e.sites}
        expected = -potential_energy(build(problem.layout, centred), (data, data.y), {}, free)
        assert float(e.log_density(u, data)) == pytest.approx(float(expected), rel=1e-11)


def gaussian_integral(joint, dim):
    """log of the integral of exp(joint), a quadratic, and its mode; the gradient is affine, so unit steps give the
    Hessian.
    """
    steps = jnp.vstack([jnp.zeros((1, dim)), jnp.eye(dim)])
    values, gradients = jax.jit(jax.vmap(jax.value_and_grad(joint)))(steps)
    precision = -(gradients[1:] - gradients[0])
    mode = jnp.linalg.solve(precision, gradients[0])
    determinant = jnp.linalg.slogdet(precision)[1]
    return float(values[0] + 0.5 * gradients[0] @ mode + 0.5 * dim * np.log(2 * np.pi) - 0.5 * determinant), mode


CENTRINGS = [(name, name in ("coarse none", "weights", "mixed slopes")) for name in LAYOUTS] + [
    ("predictors", True),
    ("slopes", True),
]


@pytest.mark.slow_cases("predictors-False")
@pytest.mark.parametrize(("name", "centred"), CENTRINGS)
def test_explicit_integrates_to_the_factorised_marginal(name, centred):
    """Given phi the joint is a quadratic of everything else, so its integral is known without quadrature."""
    with jax.enable_x64(True):
        problem = bound(name)
        layout, data = problem.layout, as_jax(problem.data)
        pair, e = factorise(layout), Explicit(layout, centred)
        kept = [p.name if p.kind != "correlation" else f"chol_{p.name[4:]}" for p in pair.parameters]
        places = {s.name: np.arange(s.start, s.stop) for s in e.sites}
        inside = np.concatenate([places[name] for name in kept])  # sites in units of another one come after it
        rest = np.setdiff1d(np.arange(e.dim), inside)

        def integral(phi):
            return gaussian_integral(
                lambda v: e.log_density(jnp.zeros(e.dim).at[inside].set(phi).at[rest].set(v), data), rest.size
            )[0]

        sampled = [
            v.pooling == "partial" or (v.pooling == "none" and i == len(layout.levels) - 1)
            for i, v in enumerate(layout.levels)
        ]
        sampled = [s or problem.pooling == {"school": "none", "school:classroom": "partial"} for s in sampled]
        pads = sum(
            int((~real).sum()) * len(level.effects)
            for level, real, own in zip(layout.levels, problem.data.real, sampled, strict=True)
            if own
        )
        constants = []
        for seed in (2, 3) if problem.data.units is not None else (2,):
            phi = jnp.asarray(np.random.default_rng(seed).normal(size=pair.dim) * 0.3)
            expected = float(pair.log_density(phi, pair.prepare(data)))
            constants.append(integral(phi) - 0.5 * pads * np.log(2 * np.pi) - expected)
            assert constants[-1] == pytest.approx(constants[0], abs=1e-9 * abs(expected))
        assert problem.data.units is not None or constants[0] == pytest.approx(
            0, abs=1e-9 * abs(expected)
        )  # flat laws have no scale of their own


def test_crossed_terms_against_scipy():
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"a": rng.integers(0, 3, 14), "b": rng.integers(0, 4, 14), "y": rng.normal(size=14)})
    frame.loc[:6, "a"], frame.loc[:6, "b"] = [0, 0, 0, 1, 1, 2, 2], [0, 1, 2, 3, 0, 1, 3]
    model = Model(
        "y ~ 1 + (1 | a) + (1 | b)",
        priors={"sd_a": 0.8, "sd_b": 1.3, "sigma": 0.6, "Intercept": "normal(1, 2)"},
    )
    with jax.enable_x64(True):
        problem = bind(model, frame)
        with pytest.raises(ValueError, match=r"b is crossed with a, not nested in it.*marginalize=False"):
            factorise(problem.layout)
        cov = 4 + 0.36 * np.eye(14)
        for column, sd in (("a", 0.8), ("b", 1.3)):
            cov = cov + sd**2 * (frame[column].to_numpy()[:, None] == frame[column].to_numpy()[None])
        expected = scipy_stats.multivariate_normal(np.ones(14), cov).logpdf(frame["y"])
        for centred in (False, True):
            e, data = Explicit(problem.layout, centred), as_jax(problem.data)
            integral, mode = gaussian_integral(lambda u, e=e, data=data: e.log_density(u, data), e.dim)
            assert integral == pytest.approx(expected, rel=1e-10)
            # the posterior mean of theta_b: regression of theta_b on y
            drawn = e.draw(jax.random.key(0), mode, data)
            link = 4 + 1.3**2 * (np.arange(4)[:, None] == frame["b"].to_numpy()[None])
            theta = 1 + link @ np.linalg.solve(cov, frame["y"].to_numpy() - 1)
            order = [int(v) for v in problem.labels["b"]]
            np.testing.assert_allclose(np.asarray(drawn["theta_b"])[problem.positions["b"]], theta[order], rtol=1e-9)


COUNTS = {
    "rats": ("rats", "binomial", "trials", "y ~ 1 + (1 | experiment)", "partial"),
    "pooled below": (
        "states",
        "poisson",
        "exposure",
        "y ~ 1 + (1 | state/county)",
        {"state:county": "complete"},
    ),
    "deep": ("states", "poisson", "exposure", "y ~ 1 + z + (1 | state/county)", "partial"),
}


def count_problem(name):
    key, family, role, formula, pooling = COUNTS[name]
    if key == "rats":
        frame = FRAMES["rats"].rename(columns={"rats": "trials"})
    else:
        frame = load_dataset("counties").rename(columns={"deaths": "y"}).assign(z=lambda d: d["exposure"] / 3)
    return bind(Model(formula, family=family, **{role: role}), frame, pooling)


@pytest.mark.parametrize("name", COUNTS)
def test_counts_joint_is_marginal_times_conditional(name):
    """log p(y, theta, phi) - log p(theta | phi, y) does not depend on theta and is the factorised log density."""
    with jax.enable_x64(True):
        problem = count_problem(name)
        layout, data = problem.layout, as_jax(problem.data)
        pair, e = factorise(layout), Explicit(layout, False)
        stats = pair.prepare(data)
        rng = np.random.default_rng(4)
        u = jnp.asarray(rng.normal(size=e.dim) * 0.3)
        unit = e.sites[-1]
        finest = f"theta_{layout.levels[-1].name}"
        phi = u[: unit.start]
        for z in problem.data.real[:-1] if name == "deep" else ():
            phi = phi.at[phi.size - 2 * z.size :].set(jnp.where(jnp.tile(z, 2), phi[phi.size - 2 * z.size :], 0.0))
        u = u.at[: unit.start].set(phi)
        law = pair.components(phi, stats, (finest,))[finest]
        values = e.constrain(u)
        theta = values[unit.name]
        joint, _ = log_density(build(layout), (data, data.y), {}, values)
        real = problem.data.real[len(problem.data.real) - 1 if unit.name == finest else 0]
        a, b = (np.asarray(v) for v in (law.a, law.b))
        if unit.name != finest:  # one law a state, carried to its counties
            first = [int(np.argmax(np.asarray(data.parent[1]) == j)) for j in range(real.size)]
            a, b = a[first], b[first]
        if law.kind == "beta":
            conditional = scipy_stats.beta(a, b).logpdf(np.asarray(theta))
        else:
            conditional = scipy_stats.gamma(a, scale=1 / b).logpdf(np.asarray(theta))
            joint = joint + np.sum(np.asarray(theta)[~real])  # what holds the padding
        jacobian = sum(
            hyper._one(p, u[i : i + 1])[1] for i, p in enumerate(layout.parameters)
        )  # phi is compared on the unconstrained scale
        found = float(joint) - conditional[real].sum() + float(jacobian)
        assert found == pytest.approx(float(pair.log_density(phi, stats)) + padded_normals(problem, name), rel=1e-9)


def padded_normals(problem, name):
    """The factorised form normalises the padded deviations of coarse levels; the explicit one leaves them out."""
    if name != "deep":
        return 0.0
    return 0.5 * np.log(2 * np.pi) * 2 * (~problem.data.real[0]).sum()


@pytest.mark.parametrize("name", ["predictors", "slopes", "no intercept"])
def test_marginalised_model_is_the_factorised_density(name):
    with jax.enable_x64(True):
        problem = bound(name)
        pair, data = factorise(problem.layout), as_jax(problem.data)
        model = marginalised(problem.layout)
        sites = find_sites(model, data)
        u = jnp.asarray(np.random.default_rng(5).normal(size=pair.dim) * 0.4)
        names, starts = [p.name for p in pair.parameters], np.cumsum([0, *map(hyper.width, pair.parameters)])
        places = {name: np.arange(start, stop) for name, start, stop in zip(names, starts, starts[1:], strict=False)}
        own = [places[s.name.replace("chol", "cor")] for s in sites]  # sites in units of another one come after it
        assert sorted(np.concatenate(own)) == list(range(pair.dim))
        found, trace = flat_log_density(model, sites, u[np.concatenate(own)], data)
        assert float(found) == pytest.approx(float(pair.log_density(u, pair.prepare(data))), rel=1e-11)
        expected = pair.log_likelihood(u, pair.prepare(data))
        assert float(trace["log_marginal"]["fn"].log_prob(trace["log_marginal"]["value"])) == pytest.approx(
            float(expected)
        )


def test_marginalised_counts_keep_the_deviations():
    with jax.enable_x64(True):
        problem = count_problem("deep")
        pair, data = factorise(problem.layout), as_jax(problem.data)
        sites = find_sites(marginalised(problem.layout), data)
        u = jnp.asarray(np.random.default_rng(5).normal(size=pair.dim) * 0.4)
        found, _ = flat_log_density(marginalised(problem.layout), sites, u, data)
        assert float(found) == pytest.approx(float(pair.log_density(u, pair.prepare(data))), rel=1e-11)


# the interface of Explicit
# ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_padding_adds_nothing_and_does_not_drift(monkeypatch):
    with jax.enable_x64(True):
        problem = bound("predictors")
        data = as_jax(problem.data)
        e = Explicit(problem.layout)
        monkeypatch.setattr(data_module, "_up_to_power_of_two", lambda n: 2 * n + 1)
        wide = bound("predictors")
        assert wide.layout.levels[1].size > problem.layout.levels[1].size and wide.layout.obs > problem.layout.obs
        f, more = Explicit(wide.layout), as_jax(wide.data)
        assert f.dim > e.dim
        short, long = e.start(data), f.start(more)
        assert float(e.log_density(short, data)) == pytest.approx(float(f.log_density(long, more)), rel=1e-12)
        site = f.sites[-1]
        pads = np.flatnonzero(~wide.data.real[1]) + site.start
        moved = long.at[pads].set(2.0)
        fall = f.log_density(long, more) - f.log_density(moved, more)
        assert float(fall) == pytest.approx(2.0 * pads.size)  # 2^2 / 2 each
        for name in ("theta_school", "theta_school:classroom", "Intercept", "z"):
            a, b = (m.draw(jax.random.key(0), v, d)[name] for m, v, d in ((e, short, data), (f, moved, more)))
            level = name[6:]
            if level in problem.positions:
                a, b = a[problem.positions[level]], b[wide.positions[level]]
            np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.slow_cases("predictors")
@pytest.mark.parametrize("name", ["predictors", "none", "slopes"])
def test_start_is_sane_and_draws_have_the_factorised_shapes(name):
    with jax.enable_x64(True):
        problem = bound(name)
        data = as_jax(problem.data)
        pair = factorise(problem.layout)
        stats = pair.prepare(data)
        reference = pair.draw(jax.random.key(0), pair.start(stats), stats)
        for centred in (False, True):
            e = Explicit(problem.layout, centred)
            u = e.start(data)
            value, gradient = jax.jit(jax.value_and_grad(e.log_density))(u, data)
            assert np.isfinite(float(value)) and np.isfinite(np.asarray(gradient)).all()
            drawn = e.draw(jax.random.key(1), u, data)
            assert {k: v.shape for k, v in drawn.items()} == {k: v.shape for k, v in reference.items()}
            spread = float(np.std(problem.data.y))
            level = problem.layout.levels[-1].name
            theta = np.asarray(drawn[f"theta_{level}"])[problem.positions[level]]
            assert np.abs(theta - problem.data.y[: len(FRAMES["scores"])].mean()).max() < 3 * spread


def test_start_respects_bounded_priors():
    model = Model("y ~ 1 + (1 | school)", priors={"sd_school": "uniform(0, 0.5)", "sigma": "uniform(0, 0.5)"})
    with jax.enable_x64(True):
        problem = bind(model, FRAMES["scores"])
        e, data = Explicit(problem.layout), as_jax(problem.data)
        values = e.constrain(e.start(data))
        assert 0 < float(values["sd_school"]) < 0.5 and np.isfinite(float(e.log_density(e.start(data), data)))


def test_one_trace_serves_every_dataset():
    traces = []
    with jax.enable_x64(True):
        problem = bound("weights")
        e, data = Explicit(problem.layout), as_jax(problem.data)

        @jax.jit
        def run(u, y):
            traces.append(1)
            d = type(data)(y, *(getattr(data, k) for k in ("x", "weight", "size", "group", "parent", "real")))
            return jax.value_and_grad(e.log_density)(u, d)[0]

        values = [float(run(e.start(data), data.y + k)) for k in range(3)]
    assert len(traces) == 1 and len(set(values)) == 3


def test_fixed_zero_spread_needs_the_plain_form():
    problem = bind(Model("y ~ 1 + (1 | school)", known_se="se", priors={"sd_school": 0.0}), FRAMES["schools"])
    with pytest.raises(
        ValueError,
        match=r"sd_school: fixed\(0\) leaves the centred group values no spread; use centred=False",
    ):
        build(problem.layout, centred=True)
    with jax.enable_x64(True):
        e, data = Explicit(problem.layout), as_jax(problem.data)
        drawn = e.draw(jax.random.key(0), jnp.full(e.dim, 0.3), data)
        np.testing.assert_allclose(drawn["theta_school"], 0.3)


@pytest.mark.slow
def test_numpyro_samples_the_built_model():
    """NUTS on the function itself finds the published posterior."""
    from numpyro.infer import MCMC, NUTS

    with jax.enable_x64(True):
        model = Model("y ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "half_normal(5)"})
        problem = bind(model, FRAMES["schools"])
        data = as_jax(problem.data)
        kernel = NUTS(
            build(problem.layout),
            init_strategy=numpyro.infer.init_to_value(values={"Intercept": 8.0, "sd_school": 3.0}),
        )
        mcmc = MCMC(kernel, num_warmup=300, num_samples=1000, progress_bar=False)
        mcmc.run(jax.random.key(0), data, data.y)
        draws = {k: np.asarray(v) for k, v in mcmc.get_samples().items()}
    means = [9.0601, 7.7977, 7.1660, 7.6914, 6.5362, 7.0641, 9.0041, 7.9754]
    sds = [5.7739, 5.1435, 5.6212, 5.2495, 5.1596, 5.2974, 5.3337, 5.6695]
    assert np.max(np.abs(draws["theta_school"].mean(0) - np.array(means)) / np.array(sds)) < 0.2
    assert abs(float(draws["sd_school"].mean()) - 3.31006) < 0.3 * 2.50201


@pytest.mark.slow_cases("binomial")
@pytest.mark.parametrize("family", ["normal", "binomial", "poisson"])
def test_without_an_outcome_it_simulates(family):
    if family == "normal":
        model = Model(
            "y ~ 1 + (1 | g)",
            priors={"Intercept": "normal(50, 1)", "sd_g": "half_normal(1)", "sigma": "half_normal(1)"},
        )
    elif family == "binomial":
        model = Model(
            "y ~ 1 + (1 | g)", family=family, trials="n", priors={"mean_g": "beta(9, 1)", "kappa_g": "gamma(9, 1)"}
        )
    else:
        model = Model(
            "y ~ 1 + (1 | g)", family=family, exposure="n", priors={"mean_g": "gamma(9, 1)", "shape_g": "gamma(9, 1)"}
        )
    frame = pd.DataFrame({"y": [1, 2, 1, 0], "g": ["a", "a", "b", "b"], "n": [9, 9, 9, 9]})
    problem = bind(model, frame, outcome=False)
    seeded = [numpyro.handlers.seed(build(problem.layout), key) for key in (0, 1)]
    first, second = (
        np.asarray(numpyro.handlers.trace(m).get_trace(as_jax(problem.data))["y"]["value"]) for m in seeded
    )
    assert first.shape == (4,) and not np.array_equal(first, second)
    if family == "normal":
        assert abs(first.mean() - 50) < 20
    else:
        assert (first == np.round(first)).all() and first.sum() > 4


# a user's own function
# ------------------------------------------------------------------------------------------------------


def own(school, n_school, se, effect=None, scale=5.0):
    mu = numpyro.sample("Intercept", dist.Normal(0.0, 20.0))
    tau = numpyro.sample("sd_school", dist.HalfNormal(scale))
    with numpyro.plate("school", n_school):
        eta = numpyro.sample("eta_school", dist.Normal())
        theta = numpyro.deterministic("theta_school", mu + tau * eta)
    numpyro.sample("effect", dist.Normal(theta[school], se), obs=effect)


class TestUserModel:
    def test_is_the_same_model(self):
        with jax.enable_x64(True):
            frame = load_dataset("eight_schools")
            mine = user_model(own, frame, "effect")
            priors = {"Intercept": "normal(0, 20)", "sd_school": "half_normal(5)"}
            problem = bind(Model("effect ~ 1 + (1 | school)", known_se="se", priors=priors), frame)
            theirs, data = Explicit(problem.layout), as_jax(problem.data)
            u = jnp.asarray(np.random.default_rng(0).normal(size=10))
            assert mine.dim == theirs.dim == 10
            arrays = mine.prepare(mine.data)
            assert float(mine.log_density(u, arrays)) == pytest.approx(float(theirs.log_density(u, data)), rel=1e-12)
            np.testing.assert_allclose(
                mine.draw(None, u, arrays)["theta_school"], theirs.draw(None, u, data)["theta_school"]
            )
            assert set(mine.draw(None, u, arrays)) == {"Intercept", "sd_school", "eta_school", "theta_school"}
            assert mine.dims == {
                "Intercept": (),
                "sd_school": (),
                "eta_school": ("school",),
                "theta_school": ("school",),
            }
            assert mine.labels == {"school": list("ABCDEFGH")} and mine.counts == {"n_school": 8}
            assert set(mine.constrain(u)) == {"Intercept", "sd_school", "eta_school"}
            assert np.isfinite(float(mine.log_density(mine.start(arrays), arrays)))

    def test_simulates(self):
        mine = user_model(own, load_dataset("eight_schools"), "effect")
        arrays = mine.prepare(mine.data)
        found = mine.simulate(jax.random.key(1), arrays, {"Intercept": jnp.array(1000.0)})
        assert found["effect"].shape == (8,) and float(found["effect"].mean()) > 800
        again = mine.simulate(jax.random.key(2), arrays, {"Intercept": jnp.array(1000.0)})
        assert not np.allclose(found["effect"], again["effect"])

    def test_support_that_depends_on_another_site(self):
        def model(y=None):
            top = numpyro.sample("top", dist.HalfNormal(3.0))
            below = numpyro.sample("below", dist.Uniform(0.0, top))
            numpyro.sample("y", dist.Normal(below, top), obs=y)

        with jax.enable_x64(True):
            mine = user_model(model, pd.DataFrame({"y": [1.0, 2.0]}), "y")
            u = jnp.array([0.3, -0.4])
            values = mine.constrain(u)
            assert 0 < float(values["below"]) < float(values["top"])
            expected = -potential_energy(model, (), mine.prepare(mine.data), {"top": u[0], "below": u[1]})
            assert float(mine.log_density(u, mine.prepare(mine.data))) == pytest.approx(float(expected))

    def test_category_order_and_flags(self):
        frame = pd.DataFrame(
            {"y": [0.0, 1.0, 2.0], "g": pd.Categorical(["b", "a", "b"], ["b", "a"]), "t": [True, False, True]}
        )
        mine = user_model(lambda g, t, y=None: numpyro.sample("m", dist.Normal()), frame, "y")
        assert (
            mine.labels["g"] == ["b", "a"]
            and mine.data["g"].tolist() == [0, 1, 0]
            and mine.data["t"].tolist() == [1, 0, 1]
        )

    @pytest.mark.parametrize(
        ("function", "outcome", "message"),
        [
            (
                lambda scool, effect=None: None,
                "effect",
                r"'scool' is no column of the data and has no default; did you mean 'school'",
            ),
            (lambda n_scool, effect=None: None, "effect", r"'n_scool' is no column.*did you mean 'n_school'"),
            (
                lambda school: None,
                "effect",
                r"'effect' is no parameter of the function \(school\).*add effect=None",
            ),
            (lambda effect, **rest: None, "effect", r"\*\*rest cannot be filled from columns by name"),
            (lambda effect: None, "efect", r"no column 'efect' in the data; did you mean 'effect'"),
            (lambda school: None, "school", r"column 'school' holds 'A', expected numbers"),
        ],
    )
    def test_messages(self, function, outcome, message):
        with pytest.raises(ValueError, match=message):
            user_model(function, load_dataset("eight_schools"), outcome)

    @pytest.mark.parametrize(
        ("value", "message"), [(np.nan, r"row 1: expected a value"), (np.inf, r"row 1: expected a finite")]
    )
    def test_bad_values(self, value, message):
        frame = pd.DataFrame({"y": [0.0, value, 1.0]})
        with pytest.raises(ValueError, match=message):
            user_model(lambda y: None, frame, "y")

    def test_discrete_site_is_refused(self):
        def model(y=None):
            k = numpyro.sample("k", dist.Poisson(2.0))
            numpyro.sample("y", dist.Normal(k, 1.0), obs=y)

        mine = user_model(model, pd.DataFrame({"y": [1.0]}), "y")
        with pytest.raises(ValueError, match=r"site 'k' is discrete, and no gradient moves on it"):
            mine.dim  # noqa: B018
