"""A fit read back from its file is the fit that was written: every sampler, every family, every setting."""

from __future__ import annotations

import arviz as az
import numpy as np
import pandas as pd
import pytest

import hiermodels as hm
from hiermodels.models import families

QUICK = {"draws": 30, "tune": 30, "chains": 2, "progress": False, "seed": 3}
SCHOOLS = hm.load_dataset("eight_schools")
NAMED = {"sd_school": f"half_normal({10 / 3!r})"}
FIXED = {"sd_school": "fixed(5)"}


def normal(priors):
    return hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors=priors)


CASES = {
    "exact": (normal(NAMED), SCHOOLS, {"sampler": "exact"}),
    "closed form": (normal(FIXED), SCHOOLS, {"sampler": "closed_form"}),
    "gibbs": (normal(NAMED), SCHOOLS, {"sampler": "gibbs"}),
    "metropolis": (normal(NAMED), SCHOOLS, {"sampler": "metropolis", "step_size": 1 / 7}),
    "nuts": (normal(NAMED), SCHOOLS, {"target_accept": 0.87}),
    "no pooling": (normal(None), SCHOOLS, {"sampler": "exact", "pooling": {"school": "none"}}),
    "float32": (normal(FIXED), SCHOOLS, {"precision": "float32"}),
}
COUNTS = {
    "binomial": (hm.Model("tumors ~ 1 + (1 | experiment)", family="binomial", trials="rats"), hm.load_dataset("rats")),
    "poisson": (hm.Model("failures ~ 1 + (1 | pump)", family="poisson", exposure="hours"), hm.load_dataset("pumps")),
}


def assert_same(fit, back, path):
    """Equal to the bit: draws and their types, statistics, tables, texts, what is computed of them."""
    for ours, theirs in ((fit.draws.values, back.draws.values), (fit.draws.stats, back.draws.stats)):
        assert list(ours) == list(theirs)
        for name, x in ours.items():
            np.testing.assert_array_equal(theirs[name], x, strict=True)
    for name in ("model", "settings", "status", "warnings", "seconds"):
        assert getattr(back, name) == getattr(fit, name), name
    assert back.problem.layout == fit.problem.layout
    assert back.problem.labels == fit.problem.labels
    assert back.problem.missing_moments == fit.problem.missing_moments
    pd.testing.assert_frame_equal(back.diagnostics, fit.diagnostics, check_exact=True)
    pd.testing.assert_frame_equal(back.data, fit.data, check_exact=True)
    pd.testing.assert_frame_equal(back.summary(), fit.summary(), check_exact=True)
    assert back.to_datatree(predictive=True).identical(fit.to_datatree(predictive=True))
    assert str(back) == str(fit)
    tree = az.from_netcdf(path)
    for group in ("posterior", "log_prior", "log_likelihood"):
        if group in fit.to_datatree().children:
            assert tree[group].to_dataset().identical(fit.to_datatree()[group].to_dataset())


@pytest.mark.parametrize("name", CASES)
def test_every_sampler(name, tmp_path):
    model, frame, settings = CASES[name]
    fit = hm.fit(model, frame, **(QUICK | settings))
    fit.save(tmp_path / "fit.nc")
    assert_same(fit, hm.load_fit(tmp_path / "fit.nc"), tmp_path / "fit.nc")


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name, tmp_path):
    model, frame = COUNTS[name]
    fit = hm.fit(model, frame, sampler="exact", **QUICK)
    fit.save(tmp_path / "fit.nc")
    assert_same(fit, hm.load_fit(tmp_path / "fit.nc"), tmp_path / "fit.nc")


@pytest.mark.slow
@pytest.mark.parametrize("name", families.__all__)
def test_every_family(name, tmp_path):
    rng = np.random.default_rng(1)
    family = families.lookup(name)
    group = np.repeat([f"g{i}" for i in range(6)], 5)
    frame = pd.DataFrame({"g": pd.Categorical(group), "x": np.tile(np.arange(5.0), 6), "n": 9, "hours": rng.uniform(1, 3, 30)})
    draws = {"real": rng.normal(size=30), "binary": rng.integers(0, 2, 30), "count": rng.integers(0, 9, 30)}
    frame["y"] = draws[family.outcome]
    columns = {"trials": "n", "exposure": "hours"}
    given = {role: column for role, column in columns.items() if role in family.columns}
    slope = "" if family.groups != "normal" else " + x"
    fit = hm.fit(hm.Model(f"y ~ 1{slope} + (1 | g)", family=name, **given), frame, **QUICK)
    fit.save(tmp_path / "fit.nc")
    assert_same(fit, hm.load_fit(tmp_path / "fit.nc"), tmp_path / "fit.nc")


def test_a_refit_keeps_what_it_was_given(tmp_path):
    frame = pd.DataFrame({"g": np.repeat(list("abcde"), 3), "y": np.random.default_rng(2).normal(3, 2, 15)})
    fit = hm.fit(hm.Model("y ~ 1 + (1 | g)"), frame, sampler="exact", **QUICK).refit(data=frame.assign(y=frame["y"] * 2))
    fit.save(tmp_path / "fit.nc")
    assert_same(fit, hm.load_fit(tmp_path / "fit.nc"), tmp_path / "fit.nc")


def test_a_large_fit_leaves_the_pointwise_part_out(tmp_path, monkeypatch):
    from hiermodels.inference import datatree

    fit = hm.fit(normal(FIXED), SCHOOLS, sampler="exact", **QUICK)
    monkeypatch.setattr(datatree, "POINTWISE_LIMIT", 100)
    fit.save(tmp_path / "fit.nc")
    assert "log_likelihood" not in az.from_netcdf(tmp_path / "fit.nc").children
    back = hm.load_fit(tmp_path / "fit.nc")
    assert back.to_datatree(pointwise=True).identical(fit.to_datatree(pointwise=True))
