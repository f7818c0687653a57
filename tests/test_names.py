"""One name, one quantity: columns and groups out of the library's own names are right or refused, and no name compiles anything."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import hiermodels as hm
from hiermodels.models.data import bind

RNG = np.random.default_rng(1)
FRAME = pd.DataFrame(dict(v=np.linspace(0, 5, 24), g=np.repeat(list("abcd"), 6)))
FRAME["y"] = 10 + 3 * FRAME.v + np.repeat([0, 1.0, -1, 0.5], 6) + RNG.normal(0, 0.3, 24)
QUICK = {"sampler": "exact", "draws": 50, "progress": False}


def renamed(**names: str) -> pd.DataFrame:
    return FRAME.rename(columns=names)


def test_columns_that_bear_the_models_own_names_are_refused_with_both_and_the_list():
    for column, other in (("sigma", "the residual sd"), ("sd_g", "the sd between groups of g"), ("theta_g", "the values of the groups of g")):
        with pytest.raises(ValueError) as told:
            bind(hm.Model(f"y ~ {column} + (1 | g)"), renamed(v=column))
        assert f"{column!r} would share its name with {other}" in str(told.value)
        assert "taken are Intercept, sd_g, theta_g, sigma, chain, draw" in str(told.value) and len(str(told.value)) < 600
    with pytest.raises(ValueError, match="the column 'Intercept' would share its name with the constant"):
        bind(hm.Model("y ~ Intercept + (1 | g)"), renamed(v="Intercept"))
    for column in ("chain", "draw"):
        for formula, frame in ((f"y ~ {column} + (1 | g)", renamed(v=column)), (f"{column} ~ v + (1 | g)", renamed(y=column))):
            with pytest.raises(ValueError, match=f"{column!r} would share its name with the dimension of {column}s"):
                bind(hm.Model(formula), frame)


def test_two_group_terms_that_would_share_a_name_are_refused():
    frame = FRAME.assign(a=FRAME.g, a_b=np.tile(list("xyz"), 8), b_c=FRAME.v**2, c=FRAME.v)
    with pytest.raises(ValueError, match="'sd_a_b_c'; rename the columns"):
        bind(hm.Model("y ~ (1 + b_c || a) + (1 + c || a_b)"), frame)


def test_names_that_this_model_does_not_make_are_free():
    """Names of other families, of the outcome, of columns that the formula does not use or uses in a role."""
    right = bind(hm.Model("y ~ v + (1 | g)"), FRAME).data.x
    for column in ("nu", "kappa_g", "mean_g", "shape", "cor_g", "icc_g", "obs", "effect", "rep", "true", "y_", "lp"):
        assert np.array_equal(bind(hm.Model(f"y ~ {column} + (1 | g)"), renamed(v=column)).data.x, right)
    known = bind(hm.Model("y ~ sigma + (1 | g)", known_se="sd_g"), renamed(v="sigma").assign(sd_g=0.3))
    assert known.layout.residual_sd is None and known.layout.find("coefficient", effect="sigma").name == "sigma"
    bind(hm.Model("sigma ~ v + (1 | g)", weights="theta_g"), renamed(y="sigma").assign(theta_g=1.0, sd_g="unused"))
