"""Contracts over the menu of samplers: every entry draws from the posterior, and goes through every front door."""

from __future__ import annotations

from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from arviz_stats.base import array_stats
from scipy import stats

import hiermodels as hm
from hiermodels.inference import samplers
from hiermodels.inference.compiled import draw
from hiermodels.inference.samplers import MENU, Settings, auto_lanes
from hiermodels.models.data import as_jax, bind

FRAME = pd.DataFrame({"g": list("abcdef"), "y": [2.0, 9.0, 4.0, -3.0, 7.0, 11.0], "se": 3.0})
MODEL = hm.Model("y ~ 1 + (1 | g)", known_se="se", priors={"sd_g": "flat_variance()"})
FEW = {"draws": 1000, "tune": 400}
MANY = {"metropolis": {"draws": 20_000, "tune": 2000}, "gibbs": {"draws": 4000, "tune": 400}}
"""Draws of samplers that move slowly."""


INDEPENDENT = samplers.those_that("independent")


def test_the_menu():
    assert all(name == how.name and how.__doc__ for name, how in MENU.items())
    assert set(INDEPENDENT) < set(MENU)


def test_the_shell_lists_every_sampler(capsys):
    from hiermodels.cli import main

    with pytest.raises(SystemExit) as stop:
        main(["list", "samplers"])
    assert not stop.value.code
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown] == list(MENU)
    assert all(len(line.split()) > 4 for line in shown)


@cache
def fitted(name):
    """A fit of the contracts' model by a sampler: the draws of one program serve several tests."""
    return hm.fit(MODEL, FRAME, sampler=name, progress=False, **MANY.get(name, FEW))


@pytest.mark.parametrize("name", MENU)
def test_every_sampler_gives_the_same_variables(name):
    fit = fitted(name)
    draws = fit.settings.draws
    assert {k: v.shape for k, v in fit.draws.values.items()} == {
        "Intercept": (4, draws),
        "sd_g": (4, draws),
        "theta_g": (4, draws, 6),
    }
    assert np.isfinite(fit.draws.stats["lp"]).all() and fit.draws.independent == (name in INDEPENDENT)
    assert all(x.shape == (4, draws) for x in fit.draws.stats.values())
    assert np.isfinite(fit.draws.values["theta_g"]).all()
    assert fit.predict(kind="outcome").predictions["y"].shape == (4, draws, 6)
    assert f"sampler='{name}'" in repr(fit) and "sd_g" in str(fit)


def posterior_chances(values):
    """Posterior probabilities below values of each variable, (variable, value) -> P: a grid over sd_g, beside which all
    is normal.

    p(tau | y) ~ tau (s^2 + tau^2)^(-(k - 1) / 2) exp(-S / (2 (s^2 + tau^2))) under a variance flat on (0, inf).
    """
    y, s2, k = FRAME["y"].to_numpy(), 9.0, len(FRAME)
    edge = np.sinh(np.linspace(0, 12, 400_001)) * 1e-1
    tau, width = (edge[1:] + edge[:-1]) / 2, np.diff(edge)
    total = s2 + tau**2
    log = np.log(tau) - (k - 1) / 2 * np.log(total) - ((y - y.mean()) ** 2).sum() / 2 / total
    weight = np.exp(log - log.max()) * width
    weight /= weight.sum()
    keep = s2 / total  # share of a group's value that is the mean's
    own = y[:, None] * (1 - keep) + y.mean() * keep
    laws = {
        "Intercept": (y.mean(), np.sqrt(total / k)),
        **{f"theta_g[{i}]": (own[i], np.sqrt(s2 * (1 - keep) + keep**2 * total / k)) for i in (0, 3)},
    }
    found = {(n, x): float(weight @ stats.norm.cdf(x, *laws[n])) for n in laws for x in values[n]}
    return found | {("sd_g", x): float(weight @ (tau <= x)) for x in values["sd_g"]}


POINTS = {
    "Intercept": (1.5, 5.0, 8.0),
    "sd_g": (2.5, 5.0, 12.0),
    "theta_g[0]": (0.0, 3.0, 6.0),
    "theta_g[3]": (-5.0, -1.0, 4.0),
}


@pytest.mark.parametrize("name", MENU)
def test_every_sampler_draws_from_the_posterior(name):
    """Probabilities of its draws are those of quadrature, within 4 Monte Carlo standard errors."""
    draws, chances = fitted(name).draws, posterior_chances(POINTS)
    assert any(0.2 < p < 0.8 for p in chances.values()) and all(0.003 < p < 0.997 for p in chances.values())
    for (variable, x), p in chances.items():
        site, _, at = variable.partition("[")
        value = draws.values[site][..., int(at[:-1])] if at else draws.values[site]
        below = (value <= x).astype(float)
        size = (
            below.size if draws.independent else float(array_stats.ess(below, chain_axis=0, draw_axis=1, method="mean"))
        )
        assert size > 50, variable
        assert abs(below.mean() - p) < 4 * np.sqrt(p * (1 - p) / size), (variable, x, p, below.mean())


@pytest.mark.parametrize("name", MENU)
def test_equal_seeds_give_equal_draws_and_others_others(name):
    first = fitted(name).draws.values["sd_g"]
    how = MANY.get(name, FEW)
    np.testing.assert_array_equal(hm.fit(MODEL, FRAME, sampler=name, progress=False, **how).draws.values["sd_g"], first)
    assert not np.isin(
        hm.fit(MODEL, FRAME, sampler=name, progress=False, seed=1, **how).draws.values["sd_g"], first
    ).any()


@pytest.mark.parametrize("name", MENU)
def test_data_that_are_no_numbers_are_a_status(name):
    """Inside compiled code nothing is raised: the draws are not finite, or the sampler says that it distrusts them."""
    fit = fitted(name)
    with jax.enable_x64(True):
        data = as_jax(fit.problem.data)
        data = eqx.tree_at(lambda d: d.y, data, data.y.at[0].set(jnp.nan))
        found, _ = draw(
            fit.problem.layout, fit.settings.sampling(), jax.random.key(0, impl="threefry2x32"), data, False
        )
    lost = ~np.isfinite(found.values["theta_g"][..., 0])
    assert lost.all() or np.all(found.stats.get("heavy_weights", False))


@pytest.mark.parametrize("name", MENU)
def test_what_a_sampler_says_of_itself(name):
    how = MENU[name](Settings(name))
    assert (how.__doc__ or "").strip() and how.chunk >= 1 and set(how.takes) <= {"step_size", "accuracy"}
    for settings in (*(retry.settings for retry in how.distrusted()), *how.harder()):
        samplers.check_settings(settings)
        assert settings.draws >= how.settings.draws
    assert all(retry.words for retry in how.distrusted())
    if name not in samplers.those_that("step_size"):
        with pytest.raises(ValueError, match=f"step_size: sampler='{name}' does not use it"):
            samplers.check_settings(Settings(name, step_size=1.0))


MANY_DIMENSIONS = hm.Model("diameter ~ 1 + (1 | plate) + (1 | sample)")


@pytest.mark.parametrize("name", MENU)
def test_models_that_a_sampler_cannot_do_are_refused_in_words(name):
    """A crossed design, which no sampler integrates: it is drawn from, or the refusal names a way on that works."""
    problem = bind(MANY_DIMENSIONS, hm.load_dataset("penicillin"))
    try:
        samplers.of(Settings(name)).check(problem.layout, problem.data)
    except ValueError as error:
        assert "use sampler='nuts'" in str(error) and len(str(error)) < 600
    samplers.of(Settings("nuts", marginalize=False)).check(problem.layout, problem.data)


@pytest.mark.parametrize("name", INDEPENDENT)
def test_independent_draws_want_two_chains_and_integrate(name):
    with pytest.raises(ValueError, match=rf"chains: expected at least 2 for sampler='{name}'"):
        hm.fit(MODEL, FRAME, sampler=name, chains=1, progress=False)
    with pytest.raises(ValueError, match=rf"sampler='{name}' integrates the group effects out"):
        hm.fit(MODEL, FRAME, sampler=name, marginalize=False, progress=False)


def test_a_misspelt_sampler():
    with pytest.raises(ValueError, match="unknown sampler 'gibs'; did you mean 'gibbs'"):
        hm.fit(MODEL, FRAME, sampler="gibs", progress=False)


@pytest.mark.parametrize("name", MENU)
def test_lanes_of_every_sampler(name):
    for device in ("cpu", "gpu"):
        lanes = auto_lanes(name, device, 3, 100)
        assert lanes & (lanes - 1) == 0 and 4 <= lanes <= 4096


@pytest.mark.slow
def test_every_sampler_in_one_study(tmp_path):
    """The same datasets by every sampler: the point estimates of a dataset agree, and independent draws have no
    R-hat.
    """
    methods = {name: {"sampler": name, "priors": {"sd_g": "flat_variance()"}, **FEW} for name in MENU}
    study = {
        "mechanisms": {"formula": "y ~ 1 + (1 | g)", "known_se": "se", "design": {"g": 8, "obs": 1, "predictors": {"se": 3}},
                       "truth": {"Intercept": 5, "sd_g": 4}},
        "estimands": ["Intercept", "theta_g"], "methods": methods, "performance": ["bias", "cover"], "replications": 6,
        "failures": "complete-case", "seed": 3,
    }  # fmt: skip
    run = hm.run(study, tmp_path / "run", progress=False)
    table = run.estimates
    assert set(table["method"]) == set(MENU) and np.isfinite(table["estimate"]).all()
    wide = table.pivot_table(index=["rep", "estimand", "group"], columns="method", values="estimate", observed=True)
    se = table.pivot_table(index=["rep", "estimand", "group"], columns="method", values="se", observed=True)["exact"]
    for name, share in (("closed_form", 0.12), ("nuts", 0.35), ("gibbs", 0.5)):
        assert (np.abs(wide[name] - wide["exact"]) < share * se).all(), name
    independent = table["method"].isin(INDEPENDENT)
    assert table.loc[independent, "rhat"].isna().all() and table.loc[~independent, "rhat"].notna().all()


def test_a_study_refuses_what_has_no_closed_form():
    study = {
        "mechanisms": {"formula": "effect ~ 1 + (1 | school)", "known_se": "se", "design": "eight_schools", "truth": {"Intercept": 8, "sd_school": 5}},
        "estimands": ["Intercept"], "methods": {"m": {"sampler": "closed_form", "priors": {"sd_school": "flat_variance()"}}},
        "performance": ["bias"], "replications": 4, "failures": "complete-case", "seed": 1,
    }  # fmt: skip
    with pytest.raises(ValueError, match="needs the same standard error in every school, found 9 to 18"):
        from hiermodels.studies.config import read_config
        from hiermodels.studies.run.runner import dry_run

        list(dry_run(read_config(study)))
