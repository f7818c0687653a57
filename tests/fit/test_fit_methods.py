"""The paragraph for a methods section says what the objects say, and cites what it lists."""

import re

import numpy as np
import pandas as pd
import pytest

import hiermodels as hm
from hiermodels._citations import WORKS
from hiermodels.inference.samplers import menu

SCHOOLS = hm.load_dataset("eight_schools")


@pytest.fixture(scope="module")
def exact():
    model = hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "half_normal(10)"})
    return hm.fit(model, SCHOOLS, sampler="exact", progress=False, draws=500, seed=7)


def agree(fit):
    """The works in brackets are those of the BibTeX, each once."""
    text, entries = fit.methods_text(), fit.citations()
    cited = {key for key, (words, _) in WORKS.items() if words in text}
    listed = re.findall(r"^@\w+\{(\w+),", entries, re.M)
    assert set(listed) == cited and len(listed) == len(set(listed))
    assert "None" not in text and "nan" not in text and "\n" not in text and ".. " not in text
    for part in entries.split("\n\n"):
        assert part.count("{") == part.count("}") and "VERSION" not in part
    return text


def test_an_exact_fit(exact):
    text = agree(exact)
    for part in (
        "effect ~ 1 + (1 | school)", "8 rows in 8 groups of school", "normal law, known standard errors in se", "Groups of school were partially pooled",
        "Priors chosen by us: sd_school ~ half_normal(10); defaults of the software: Intercept ~ flat() (Gelman 2006)",
        "computed by numerical quadrature", "2,000 independent draws", f"off by at most {float(exact.draws.error):.1g} posterior", "seed 7", "No diagnostic raised a warning",
    ):  # fmt: skip
        assert part in text, part
    assert "R-hat" not in text and "diverged" not in text
    share = (exact.diagnostics["mcse_mean"] / exact.summary()["sd"]).max()
    assert f"at most {100 * share:.2g}% of the posterior standard deviation" in text


def test_chains_and_their_diagnostics():
    data = pd.DataFrame({"y": [3, 7, 2, 9], "n": [20, 20, 25, 30], "g": list("abcd")})
    fit = hm.fit(
        hm.Model("y ~ 1 + (1 | g)", "binomial_logit", trials="n"), data, progress=False, draws=300, tune=300, chains=2
    )
    text = agree(fit)
    d = fit.diagnostics
    for part in (
        "binomial_logit law (logit link), trials in n", "no-U-turn sampler (Hoffman & Gelman 2014): 2 chains of 300 draws after 300 of warm-up",
        f"The largest R-hat was {d['r_hat'].max():.3f}, the smallest bulk and tail effective sample sizes {d['ess_bulk'].min():,.0f} and {d['ess_tail'].min():,.0f}",
    ):  # fmt: skip
        assert part in text, part
    diverged = int(np.sum(fit.draws.stats["diverging"]))
    assert (f"{diverged} transition" if diverged else "no transitions diverged") in text
    assert (fit.status == "ok" and not fit.warnings) == ("No diagnostic raised a warning" in text)
    assert all(w.split("; ")[0][1:] in text for w in fit.warnings)


def test_moments_that_do_not_exist_and_other_poolings():
    few = hm.fit(
        hm.Model("effect ~ 1 + (1 | school)", known_se="se"),
        SCHOOLS.iloc[:3],
        sampler="exact",
        progress=False,
        draws=100,
    )
    text = agree(few)
    assert "Medians stand for the means of" in text and all(name in text for name in few.problem.missing_moments)
    none = hm.fit(few.model, SCHOOLS, pooling="none", sampler="exact", progress=False, draws=100)
    assert "Groups of school were estimated without pooling" in agree(none)


def test_every_sampler_and_prior_says_what_it_cites():
    for name, how in menu.MENU.items():
        assert how.method, name
        assert set(how.cites) <= set(WORKS)
    from hiermodels.priors import MENU

    assert {key for law in MENU.values() for key in law.cites} <= set(WORKS)
