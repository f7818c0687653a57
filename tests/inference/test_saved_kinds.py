"""A fit read back from its file is the fit that was written: settings, poolings, families (samplers:
`test_fit_tree`).
"""

from __future__ import annotations

import arviz as az
import numpy as np
import pandas as pd
import pytest
from same_fit import assert_same

import hiermodels as hm
from hiermodels import families

QUICK = {"draws": 30, "tune": 30, "chains": 2, "progress": False, "seed": 3}
SCHOOLS = hm.load_dataset("eight_schools")
NAMED = {"sd_school": f"half_normal({10 / 3!r})"}
FIXED = {"sd_school": "fixed(5)"}


def normal(priors):
    return hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors=priors)


CASES = {
    "closed form": (normal(FIXED), SCHOOLS, {"sampler": "closed_form"}),
    "step size": (normal(NAMED), SCHOOLS, {"sampler": "metropolis", "step_size": 1 / 7}),
    "no pooling": (normal(None), SCHOOLS, {"sampler": "exact", "pooling": {"school": "none"}}),
    "float32": (normal(FIXED), SCHOOLS, {"precision": "float32"}),
}


@pytest.mark.parametrize("name", CASES)
def test_settings_and_poolings(name, tmp_path):
    model, frame, settings = CASES[name]
    fit = hm.fit(model, frame, **(QUICK | settings))
    fit.save(tmp_path / "fit.nc")
    assert_same(fit, hm.load_fit(tmp_path / "fit.nc"), tmp_path / "fit.nc")


@pytest.mark.slow
@pytest.mark.parametrize("name", families.__all__)
def test_every_family(name, tmp_path):
    rng = np.random.default_rng(1)
    family = families.lookup(name)
    group = np.repeat([f"g{i}" for i in range(6)], 5)
    frame = pd.DataFrame(
        {"g": pd.Categorical(group), "x": np.tile(np.arange(5.0), 6), "n": 9, "hours": rng.uniform(1, 3, 30)}
    )
    draws = {
        "binary": rng.integers(0, 2, 30),
        "count": rng.integers(0, 9, 30),
        "measurement": family.link.host_inverse(rng.normal(size=30)),
    }
    frame["y"] = draws[family.outcome]
    columns = {"trials": "n", "exposure": "hours"}
    given = {role: column for role, column in columns.items() if role in family.columns}
    slope = "" if family.groups != "normal" else " + x"
    fit = hm.fit(hm.Model(f"y ~ 1{slope} + (1 | g)", family=name, **given), frame, **QUICK)
    fit.save(tmp_path / "fit.nc")
    assert_same(fit, hm.load_fit(tmp_path / "fit.nc"), tmp_path / "fit.nc")


def test_a_refit_keeps_what_it_was_given(tmp_path):
    frame = pd.DataFrame({"g": np.repeat(list("abcde"), 3), "y": np.random.default_rng(2).normal(3, 2, 15)})
    fit = hm.fit(hm.Model("y ~ 1 + (1 | g)", priors={"sigma": "fixed(2)"}), frame, sampler="exact", **QUICK).refit(
        data=frame.assign(y=frame["y"] * 2)
    )
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
