"""The models of the documents, each fitted from a frame in one line and checked against another way to the same
numbers.
"""

from __future__ import annotations

import jax
import numpy as np
import pytest
from routes import count_quadrature
from scipy import stats

import hiermodels as hm
from hiermodels.models import hyper
from hiermodels.models.data import as_jax, bind
from hiermodels.models.factorise import factorise

PASTES = hm.Model(
    "strength ~ 1 + (1 | batch/cask)",
    priors={"sd_batch": "half_normal(5)", "sd_batch:cask": "half_normal(5)", "sigma": "half_normal(3)"},
)
PENICILLIN = hm.Model(
    "diameter ~ 1 + (1 | plate) + (1 | sample)",
    priors={"sd_plate": "half_normal(3)", "sd_sample": "half_normal(5)", "sigma": "half_normal(2)"},
)
GROWTH = hm.Model(
    "weight ~ 1 + day + (1 + day | rat)", priors={"sd_rat": "half_normal(50)", "sd_rat_day": "half_normal(5)"}
)
RADON = hm.Model("log_radon ~ 1 + floor + uranium + (1 | county)", priors={"sd_county": "half_normal(1)"})
HOSPITALS = hm.Model("deaths ~ 1 + (1 | hospital)", "binomial", trials="operations")


def gradient_at(model, frame, values):
    """Gradient of the restricted log likelihood at given scales, on the unconstrained scale; and its curvature for
    size.
    """
    with jax.enable_x64(True):
        problem = bind(model, frame)
        pair = factorise(problem.layout)
        stats_ = pair.prepare(as_jax(problem.data))
        u = hyper.unconstrain(pair.parameters, values)
        return np.asarray(jax.grad(pair.log_likelihood)(u, stats_)), np.asarray(
            jax.hessian(pair.log_likelihood)(u, stats_)
        )


def check_mode(model, frame, values):
    """REML estimates are where the restricted likelihood, flat in the coefficients, has its maximum: no step is left
    to make.
    """
    gradient, hessian = gradient_at(model, frame, values)
    np.testing.assert_allclose(np.linalg.solve(hessian, gradient), 0, atol=1e-6)
    assert (np.linalg.eigvalsh(hessian) < 0).all()


def grid_posterior(sums, log_prior, shape=(70, 70, 70), scales=None):
    """Means of three scales from independent sums of squares: ``sums`` are (sum, degrees of freedom, variance of three
    scales).
    """
    axes = [np.exp(np.linspace(np.log(low), np.log(high), n)) for (low, high), n in zip(scales, shape, strict=True)]
    grid = np.meshgrid(*axes, indexing="ij")
    log_p = log_prior(*grid) + sum(np.log(g) for g in grid)
    for total, df, variance in sums:
        v = variance(*grid)
        log_p = log_p - 0.5 * df * np.log(v) - 0.5 * total / v
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    return [float((p * g).sum()) for g in grid]


def within(table, wanted, multiple=4.0):
    for name, value in wanted.items():
        assert abs(table.loc[name, "mean"] - value) < multiple * table.loc[name, "mcse_mean"], (
            name,
            table.loc[name, "mean"],
            value,
        )


# pastes: batch / cask / measurement
# -------------------------------------------------------------------------------------------


def pastes_sums():
    """Sums of squares of the balanced design: between batches, between casks in batches, within casks."""
    y = hm.load_dataset("pastes").strength.to_numpy().reshape(10, 3, 2)
    cask, batch = y.mean(2), y.mean((1, 2))
    return (
        6 * ((batch - batch.mean()) ** 2).sum(),
        2 * ((cask - batch[:, None]) ** 2).sum(),
        ((y - cask[..., None]) ** 2).sum(),
    )


@pytest.mark.slow
def test_pastes_are_at_the_published_estimates():
    """lme4's REML fit: sds 1.287 (batch), 2.904 (cask), 0.823 (residual), intercept 60.0533; here by mean squares."""
    frame = hm.load_dataset("pastes")
    between, casks, rest = pastes_sums()
    ms = between / 9, casks / 20, rest / 30
    sds = np.sqrt([(ms[0] - ms[1]) / 6, (ms[1] - ms[2]) / 2, ms[2]])
    np.testing.assert_allclose(sds, [1.287, 2.904, 0.823], atol=6e-4)
    assert frame.strength.mean() == pytest.approx(60.0533, abs=1e-4)
    check_mode(PASTES, frame, dict(zip(("sd_batch", "sd_batch:cask", "sigma"), sds, strict=True)))


@pytest.mark.slow
def test_pastes_posterior_is_that_of_three_sums_of_squares():
    fit = hm.fit(PASTES, hm.load_dataset("pastes"), sampler="exact", progress=False)
    between, casks, rest = pastes_sums()
    wanted = grid_posterior(
        [
            (between, 9, lambda b, c, s: s**2 + 2 * c**2 + 6 * b**2),
            (casks, 20, lambda b, c, s: s**2 + 2 * c**2),
            (rest, 30, lambda b, c, s: s**2),
        ],
        lambda b, c, s: (
            stats.halfnorm(0, 5).logpdf(b) + stats.halfnorm(0, 5).logpdf(c) + stats.halfnorm(0, 3).logpdf(s)
        ),
        (200, 80, 60),
        [(1e-3, 30), (1, 10), (0.4, 2)],
    )
    within(fit.summary(), dict(zip(("sd_batch", "sd_batch:cask", "sigma"), wanted, strict=True)))


# penicillin: plates crossed with samples
# --------------------------------------------------------------------------------------


def penicillin_sums():
    y = hm.load_dataset("penicillin").diameter.to_numpy(float).reshape(24, 6)
    plate, sample = y.mean(1), y.mean(0)
    rest = y - plate[:, None] - sample + y.mean()
    return 6 * ((plate - y.mean()) ** 2).sum(), 24 * ((sample - y.mean()) ** 2).sum(), (rest**2).sum()


def test_penicillin_has_the_published_estimates():
    """lme4's REML fit: sds 0.8467 (plate), 1.9316 (sample), 0.5499 (residual), intercept 22.9722."""
    plate, sample, rest = penicillin_sums()
    ms = rest / 115
    np.testing.assert_allclose(
        np.sqrt([(plate / 23 - ms) / 6, (sample / 5 - ms) / 24, ms]), [0.8467, 1.9316, 0.5499], atol=6e-5
    )
    assert hm.load_dataset("penicillin").diameter.mean() == pytest.approx(22.9722, abs=1e-4)


@pytest.mark.slow
def test_penicillin_posterior_is_that_of_three_sums_of_squares():
    """Crossed groups form no tree: NUTS moves on everything, each term centred or not as the data say."""
    fit = hm.fit(
        PENICILLIN, hm.load_dataset("penicillin"), centred="auto", draws=4000, chains=2, seed=1, progress=False
    )
    plate, sample, rest = penicillin_sums()
    wanted = grid_posterior(
        [
            (plate, 23, lambda p, q, s: s**2 + 6 * p**2),
            (sample, 5, lambda p, q, s: s**2 + 24 * q**2),
            (rest, 115, lambda p, q, s: s**2),
        ],
        lambda p, q, s: (
            stats.halfnorm(0, 3).logpdf(p) + stats.halfnorm(0, 5).logpdf(q) + stats.halfnorm(0, 2).logpdf(s)
        ),
        (90, 90, 60),
        [(0.3, 2.5), (0.4, 20), (0.35, 0.9)],
    )
    within(fit.summary(), dict(zip(("sd_plate", "sd_sample", "sigma"), wanted, strict=True)))


# growth: correlated intercepts and slopes
# -------------------------------------------------------------------------------------


def growth_reml():
    """Every animal is weighed on the same days, so REML is in closed form: the covariance of the own lines, less its
    noise.
    """
    y = hm.load_dataset("growth").weight.to_numpy(float).reshape(30, 5)
    x = np.column_stack([np.ones(5), [8, 15, 22, 29, 36]])
    lines = np.linalg.solve(x.T @ x, x.T @ y.T).T
    variance = ((y - lines @ x.T) ** 2).sum() / (30 * 3)
    omega = np.cov(lines.T) - variance * np.linalg.inv(x.T @ x)
    return lines.mean(0), omega, np.sqrt(variance)


@pytest.mark.slow
def test_growth_is_at_the_closed_form_estimates():
    frame = hm.load_dataset("growth")
    coefficients, omega, sigma = growth_reml()
    assert coefficients[0] + 22 * coefficients[1] == pytest.approx(
        242.65, abs=0.02
    )  # the mean weight on day 22, in the middle
    assert coefficients[1] == pytest.approx(6.186, abs=1e-3)
    sd = np.sqrt(np.diag(omega))
    factor = np.linalg.cholesky(omega / np.outer(sd, sd))
    check_mode(GROWTH, frame, {"sd_rat": sd[0], "sd_rat_day": sd[1], "cor_rat": factor, "sigma": sigma})


@pytest.mark.slow
def test_growth_two_routes_agree():
    frame = hm.load_dataset("growth")
    inner = hm.fit(GROWTH, frame, draws=2000, seed=1, progress=False)
    outer = hm.fit(
        GROWTH, frame, draws=3000, seed=2, marginalize=False, centred="auto", target_accept=0.9, progress=False
    )
    agree(inner.summary(), outer.summary())


def agree(a, b, multiple=4.5):
    """Means within so many combined Monte Carlo standard errors; some two hundred comparisons at most."""
    both = [i for i in a.index if i in b.index and b.loc[i, "sd"] > 0 and not np.isnan(a.loc[i, "mean"])]
    z = (a.loc[both, "mean"] - b.loc[both, "mean"]) / np.hypot(a.loc[both, "mcse_mean"], b.loc[both, "mcse_mean"])
    assert len(both) > 5 and z.abs().max() < multiple, z[z.abs() >= multiple]


# radon: predictors of houses and of counties
# ----------------------------------------------------------------------------------


def test_radon_coefficients_are_generalised_least_squares():
    """With both sds given the coefficients have a normal law in closed form: dense algebra on 919 rows."""
    frame = hm.load_dataset("radon")
    model = hm.Model(RADON.formula, priors={"sd_county": 0.16, "sigma": 0.75})
    table = hm.fit(model, frame, draws=2000, chains=2, progress=False).summary(["Intercept", "floor", "uranium"])
    code = frame.county.to_numpy()
    covariance = 0.75**2 * np.eye(len(frame)) + 0.16**2 * (code[:, None] == code)
    x = np.column_stack([np.ones(len(frame)), frame.floor, frame.uranium])
    information = x.T @ np.linalg.solve(covariance, x)
    mean = np.linalg.solve(information, x.T @ np.linalg.solve(covariance, frame.log_radon.to_numpy()))
    within(table, dict(zip(("Intercept", "floor", "uranium"), mean, strict=True)))
    np.testing.assert_allclose(
        table["sd"], np.sqrt(np.diag(np.linalg.inv(information))), rtol=0.08
    )  # 4,000 draws: se 1.1%


@pytest.mark.slow
def test_radon_two_routes_agree():
    frame = hm.load_dataset("radon")
    inner = hm.fit(RADON, frame, draws=2000, seed=1, progress=False)
    outer = hm.fit(RADON, frame, draws=2000, seed=2, marginalize=False, centred="auto", progress=False)
    agree(inner.summary(), outer.summary())


# hospitals: counts of deaths
# --------------------------------------------------------------------------------------------------


@pytest.mark.slow  # quick: the logit-normal hospitals of test_families
def test_hospitals_are_the_posterior_by_quadrature():
    """Beta-binomial with the default prior, kappa^(-3/2): exact draws against 240 x 240 nodes."""
    frame = hm.load_dataset("hospitals")
    table = hm.fit(HOSPITALS, frame, sampler="exact", progress=False).summary()
    found = count_quadrature(frame.deaths, frame.operations, "binomial", lambda m, c: -1.5 * np.log(c), (None, 100.0))
    theta = [f"theta_hospital[{h}]" for h in frame.hospital]
    within(table, {"mean_hospital": found["mean"][0], **dict(zip(theta, found["theta"][0], strict=True))})
    assert table.loc["theta_hospital[A]", "mean"] > 0.02  # no deaths of 47, and yet not zero


def test_datasets_are_whole():
    """Sums that their sources give, or that follow from them."""
    sums = {
        "hospitals": ("deaths", 208),
        "growth": ("weight", 36398),
        "pastes": ("strength", 3603.2),
        "penicillin": ("diameter", 3308),
    }
    for name, (column, total) in sums.items():
        assert hm.load_dataset(name)[column].sum() == pytest.approx(total)
    assert hm.load_dataset("hospitals").operations.sum() == 2814
    assert (
        hm.load_dataset("radon").groupby("county").uranium.nunique().eq(1).all()
        and len(hm.load_dataset("radon")) == 919
    )
