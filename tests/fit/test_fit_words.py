"""Fits on the response scale, and probabilities in words: against transformed draws and the law itself."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import hiermodels as hm
from hiermodels.inference.comparisons import read_comparison
from hiermodels.inference.response import response_values
from hiermodels.models.data import bind

NAMES = [
    "Intercept",
    "x",
    "sd_school",
    "theta_school",
    "theta_school[A]",
    "theta_school[B, 2]",
    "a:b",
    "theta_a:b",
    "theta_a:b[s1:c2]",
    "theta_school_x",
]


@pytest.mark.parametrize(
    ("text", "sums", "signs"),
    [
        ("x>0", [[(1, "x")], [(1, 0.0)]], (">",)),
        ("theta_school[B, 2] >= 15%", [[(1, "theta_school[B, 2]")], [(1, 0.15)]], (">=",)),
        (" -1 < theta_school_x<1e-1 ", [[(-1, 1.0)], [(1, "theta_school_x")], [(1, 0.1)]], ("<", "<")),
        ("theta_a:b[s1:c2] - Intercept + 2 <= a:b", [[(1, "theta_a:b[s1:c2]"), (-1, "Intercept"), (1, 2.0)], [(1, "a:b")]], ("<=",)),
        ("`x` > .5", [[(1, "x")], [(1, 0.5)]], (">",)),
    ],
)  # fmt: skip
def test_what_is_read(text, sums, signs):
    found = read_comparison(text, NAMES)
    assert found.sums == tuple(tuple(terms) for terms in sums) and found.signs == signs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("theta_school[C] > 0", r"no quantity 'theta_school\[C\]'; did you mean 'theta_school\[A\]'\?"),
        ("theta_scool > 0", "no quantity 'theta_scool'; did you mean 'theta_school'"),
        ("__import__('os') > 0", r"no quantity \"__import__\('os'\)\"; the quantities are Intercept, a:b"),
        ("x", "expected one comparison of a quantity"),
        ("1 > 0", "expected one comparison of a quantity"),
        ("0 < x < 1 < 2", "expected one comparison"),
        ("x > ", "found the end"),
        ("x = 0", "expected > or <, found '= 0'; write e.g. 'x > 0'"),
        ("x ** 2 > 0", r"expected > or <, found '\*\* 2 > 0'"),
        ("> 0", "no quantity '> 0'; the quantities are"),
        (None, "expected a comparison in words, found NoneType"),
    ],
)  # fmt: skip
def test_what_is_not_read(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_comparison(text, NAMES)
    assert len(str(caught.value)) < 600


@pytest.fixture(scope="module")
def schools():
    model = hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "fixed(10)"})
    return hm.fit(model, hm.load_dataset("eight_schools"), sampler="exact", progress=False, draws=5000)


def test_probabilities_of_a_normal_law(schools):
    data = hm.load_dataset("eight_schools")
    w = 1 / (data["se"] ** 2 + 100)
    mean = float((w * data["effect"]).sum() / w.sum())
    law = stats.norm(mean, w.sum() ** -0.5)
    assert schools.probability("Intercept > 5") == pytest.approx(law.sf(5), abs=0.012)
    assert schools.probability("5 < Intercept < 10") == pytest.approx(law.cdf(10) - law.cdf(5), abs=0.015)
    assert schools.probability("Intercept > 5") == pytest.approx(1 - schools.probability("Intercept <= 5"), abs=1e-12)
    table = schools.probability("theta_school > 10")
    draws = schools.draws.values["theta_school"]
    assert list(table.index) == list("ABCDEFGH") and table.index.name == "school"
    np.testing.assert_allclose(table["probability"], (draws > 10).mean((0, 1)))
    p = table["probability"]
    np.testing.assert_allclose(table["mcse"], np.sqrt(p * (1 - p) / 20_000), rtol=0.15)
    best = schools.probability("theta_school[A] > theta_school[B] + 5")
    assert best == pytest.approx(float((draws[..., 0] > draws[..., 1] + 5).mean()))
    assert schools.probability("theta_school > theta_school[C]")["probability"]["C"] == 0
    assert schools.probability("theta_school > Intercept", scale="response").equals(
        schools.probability("theta_school > Intercept")
    )


def test_the_identity_changes_nothing(schools):
    shown = schools.summary(scale="response")
    pd.testing.assert_frame_equal(shown.drop(columns="is"), schools.summary(), rtol=1e-9)
    assert (shown["is"] == "").all()
    with pytest.raises(ValueError, match="scale: expected 'link' or 'response', found 'odds'"):
        schools.summary(scale="odds")
    with pytest.raises(ValueError, match="scale: expected 'link'"):
        schools.probability("Intercept > 0", scale="odds")


@pytest.mark.parametrize(
    ("family", "extra", "words", "inverse"),
    [
        ("binomial_logit", {"trials": "n"}, ("probability", "odds ratio"), lambda x: 1 / (1 + np.exp(-x))),
        ("poisson_log", {"exposure": "n"}, ("rate", "rate ratio"), np.exp),
        ("negative_binomial", {"exposure": "n"}, ("rate", "rate ratio"), np.exp),
    ],
)  # fmt: skip
def test_every_draw_is_transformed(family, extra, words, inverse):
    data = pd.DataFrame({"y": [1, 2, 3, 4, 5, 6], "n": 20, "x": [0.0, 1, 2, 0, 1, 2], "g": list("aabbcc")})
    layout = bind(hm.Model("y ~ 1 + x + (1 + x | g)", family, **extra), data).layout
    z = np.random.default_rng(1).standard_normal
    values = {
        "Intercept": z((2, 9)), "x": z((2, 9)), "sd_g": abs(z((2, 9))), "sd_g_x": abs(z((2, 9))), "theta_g": z((2, 9, 3)),
        "theta_g_x": z((2, 9, 3)), "cor_g": z((2, 9, 2, 2)),
    }  # fmt: skip
    found, said = response_values(values, layout)
    np.testing.assert_allclose(found["theta_g"], inverse(values["theta_g"]))
    np.testing.assert_allclose(found["Intercept"], inverse(values["Intercept"]))
    np.testing.assert_allclose(found["x"], np.exp(values["x"]))
    np.testing.assert_allclose(found["theta_g_x"], np.exp(values["theta_g_x"]))
    assert (said["theta_g"], said["x"], said["sd_g"], said["cor_g"]) == (words[0], words[1], f"median {words[1]}", "")
    assert found["cor_g"] is values["cor_g"]
    # the median ratio of the higher to the lower of two groups drawn at random
    one = z((2, 400_000)) * 0.7
    np.testing.assert_allclose(
        np.median(np.exp(abs(one[0] - one[1]))), np.exp(np.sqrt(2) * stats.norm.ppf(0.75) * 0.7), rtol=5e-3
    )
    np.testing.assert_allclose(np.log(found["sd_g"]), np.sqrt(2) * stats.norm.ppf(0.75) * values["sd_g"])


def test_beta_groups_live_there_already():
    data = pd.DataFrame({"deaths": [3, 20, 9], "admissions": [40, 60, 80], "hospital": ["A", "B", "C"]})
    fit = hm.fit(
        hm.Model("deaths ~ 1 + (1 | hospital)", "binomial", trials="admissions"),
        data,
        sampler="exact",
        progress=False,
        draws=500,
    )
    shown = fit.summary("theta_hospital", scale="response")
    assert set(shown["is"]) == {"probability"}
    np.testing.assert_array_equal(shown["mean"], fit.summary("theta_hospital")["mean"])
    table = fit.probability("theta_hospital > 15%")
    assert table["probability"].idxmax() == "B" and table["probability"]["B"] > 0.95
    # admissions are many: nearly the law of the hospital alone, a little pulled in
    alone = stats.beta(20.5, 40.5).sf(0.15)
    assert table["probability"]["B"] == pytest.approx(alone, abs=0.05)
