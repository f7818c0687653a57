"""The menu of samplers: every entry through every front door."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import hiermodels as hm
from hiermodels.inference import samplers
from hiermodels.inference.samplers import MENU, auto_lanes

FRAME = pd.DataFrame({"g": list("abcdef"), "y": [2.0, 9.0, 4.0, -3.0, 7.0, 11.0], "se": 3.0})
MODEL = hm.Model("y ~ 1 + (1 | g)", known_se="se", priors={"sd_g": "flat_variance()"})
FEW = {"draws": 400, "tune": 400}


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


@pytest.mark.slow_cases("closed_form", "gibbs")
@pytest.mark.parametrize("name", MENU)
def test_every_sampler_gives_the_same_variables(name):
    fit = hm.fit(MODEL, FRAME, sampler=name, progress=False, **FEW)
    assert {k: v.shape for k, v in fit.draws.values.items()} == {"Intercept": (4, 400), "sd_g": (4, 400), "theta_g": (4, 400, 6)}
    assert np.isfinite(fit.draws.stats["lp"]).all() and fit.draws.independent == (name in INDEPENDENT)
    assert np.isfinite(fit.draws.values["theta_g"]).all()
    assert fit.summary("Intercept")["mean"].iloc[0] == pytest.approx(5.0, abs=2.0)
    assert fit.predict(kind="outcome").predictions["y"].shape == (4, 400, 6)


@pytest.mark.parametrize("name", ["exact", "closed_form"])
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
    """The same datasets by every sampler: the point estimates of a dataset agree, and independent draws have no R-hat."""
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
