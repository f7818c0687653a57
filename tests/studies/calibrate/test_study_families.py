"""Studies of every family: configs, templates, intraclass correlations on the scale of the link, and tiny studies that
are run.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
from scipy import stats

import hiermodels as hm
from hiermodels import families
from hiermodels.studies.calibrate.calibration import sbc
from hiermodels.studies.config import ConfigError, read_config
from hiermodels.studies.plan.template import template
from hiermodels.studies.run.runner import bind_all

FEW = {"draws": 150, "tune": 200, "chains": 2, "target_accept": 0.95}
GIVEN = {
    "normal": {"Intercept": 1, "sd_g": 1, "sigma": 1},
    "student_t": {"Intercept": 1, "sd_g": 1, "sigma": 0.5, "nu": 5},
    "binomial": {"mean_g": 0.3, "kappa_g": 10},
    "bernoulli": {"mean_g": 0.3, "kappa_g": 10},
    "poisson": {"mean_g": 2, "shape_g": 3},
    "binomial_logit": {"Intercept": -1, "sd_g": 1},
    "bernoulli_logit": {"Intercept": -1, "sd_g": 2},
    "poisson_log": {"Intercept": 0, "sd_g": 1},
    "negative_binomial": {"Intercept": 1, "sd_g": 1, "shape": 5},
}
COLUMNS = {"trials": 20, "exposure": 5}


def planned(law):
    """True values to plan with, from the family's class alone."""
    mean = law.link.typical
    if not law.population.normal:
        return {"mean_g": mean, f"{law.precision}_g": law.population.planned}
    return {"Intercept": float(law.link.host_forward(np.asarray(mean))), "sd_g": 1} | {
        q.name: q.planned for q in law.own
    }


OWN = {name: GIVEN.get(name, planned(law)) for name, law in families.MENU.items()}


def study(family, **changes):
    """Two cells of eight groups, four replications."""
    truth = OWN[family]
    roles = {role: role for role in families.lookup(family).columns if role in COLUMNS}
    spread = next(name for name in truth if name.endswith("_g") and not name.startswith("mean"))
    mechanisms = {
        "formula": "y ~ 1 + (1 | g)", "family": family, **roles,
        "design": {"g": 8, "obs": 8, "predictors": {role: COLUMNS[role] for role in roles}},
        "truth": truth, "grid": {spread: [truth[spread], 1.5 * truth[spread]]},
    }  # fmt: skip
    return {
        "mechanisms": mechanisms | changes.pop("mechanisms", {}),
        "estimands": [*truth, "theta_g", "mean(theta_g)", "new(g)"],
        "methods": {"partial": FEW},
        "performance": ["bias", "cover"], "replications": 4, "failures": "complete-case", "seed": 1,
    } | changes  # fmt: skip


@pytest.mark.parametrize("family", OWN)
def test_configs_name_the_parameters_and_columns_of_their_family(family):
    config = study(family)
    ((spread, values),) = config["mechanisms"]["grid"].items()
    assert [cell.truth for cell in read_config(config).cells()] == [{**OWN[family], spread: value} for value in values]
    for name in OWN[family]:
        if name != spread:
            less = copy.deepcopy(config)
            del less["mechanisms"]["truth"][name]
            with pytest.raises(ConfigError, match=rf"truth.*{name}"):
                bind_all(read_config(less))
    other = next(name for name in ("nu", "shape", "kappa_g", "sd_g") if name not in OWN[family])
    with pytest.raises(ConfigError, match=rf"unknown parameter '{other}'"):
        read_config(study(family, mechanisms={"truth": {**OWN[family], other: 3}}))
    for role in families.lookup(family).needs:
        with pytest.raises(ConfigError, match=rf"mechanisms.*{role}"):
            read_config(study(family, mechanisms={role: None}))


def test_exact_is_refused_where_groups_do_not_integrate_out():
    with pytest.raises(ConfigError, match=r"methods\.m.*sampler='nuts'"):
        bind_all(read_config(study("student_t", methods={"m": {"sampler": "exact"}})))


@pytest.mark.parametrize("family", OWN)
def test_templates(family):
    text = template(None, None, family)
    found = read_config(_yaml(text))
    assert found.mechanisms.family == family and {"complete", "partial"} <= set(found.methods)
    assert len(found.cells()) == 3
    formula = "y ~ 1 + treated + (1 | a/b)"
    law = families.lookup(family)
    if not law.population.normal and not law.columns:
        with pytest.raises(
            ValueError,
            match=(
                f"family: the outcomes of a group share one rate under {family}, and so their predictors; use "
                f"{law.linked}"
            ),
        ):
            template(formula, None, family)
    else:
        assert (
            read_config(_yaml(template(formula, None, family))).mechanisms.design["predictors"]["treated"] == "half(a)"
        )


def _yaml(text):
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(text)


def truth_of(family, **truth):
    found = read_config(
        study(
            family,
            mechanisms={"truth": {k: v for k, v in OWN[family].items() if k != "sd_g"} | truth, "grid": {}},
            estimands=["sd_g"],
        )
    )
    return found.cells()[0].truth


@pytest.mark.parametrize(
    ("family", "law"),
    [
        ("student_t", stats.t(5, scale=0.5)),
        ("binomial_logit", stats.logistic),
        ("bernoulli_logit", stats.logistic),
        ("normal", stats.norm),
    ],
)
def test_intraclass_correlations_are_shares_on_the_scale_of_the_link(family, law):
    sd = truth_of(family, icc_g=0.2)["sd_g"]
    assert sd**2 / (sd**2 + law.var()) == pytest.approx(0.2)


@pytest.mark.parametrize("family", ["poisson_log", "negative_binomial"])
def test_coefficients_of_variation_are_of_lognormal_rates(family):
    law = stats.lognorm(truth_of(family, cv_g=0.4)["sd_g"])
    assert law.std() / law.mean() == pytest.approx(0.4)
    assert truth_of(family, cv_g=0)["sd_g"] == 0
    with pytest.raises(ConfigError, match=r"unknown parameter 'icc_g'; did you mean 'cv_g'\?"):
        truth_of(family, icc_g=0.2)


def test_an_intraclass_correlation_needs_a_variance():
    with pytest.raises(
        ConfigError,
        match=r"expected nu above 2 beside icc_g, so that there is a variance; found nu: 2; give sd_g instead",
    ):
        truth_of("student_t", icc_g=0.2, nu=2)
    with pytest.raises(ConfigError, match=r"expected a number for sigma beside icc_g; found known standard errors"):
        read_config(
            study(
                "student_t",
                mechanisms={
                    "known_se": "se",
                    "design": {"g": 8, "predictors": {"se": 1}},
                    "truth": {"Intercept": 1, "nu": 5, "icc_g": 0.1},
                    "grid": {},
                },
                estimands=["nu"],
            )
        )
    with pytest.raises(ConfigError, match=r"expected icc_g or sd_g; found both"):
        truth_of("binomial_logit", icc_g=0.2, sd_g=1)


def test_nuts_draws_from_a_posterior_without_hyperparameters(tmp_path):
    mechanisms = {
        "formula": "effect ~ 1 + (1 | school)",
        "known_se": "se",
        "design": "eight_schools",
        "truth": {"Intercept": 8, "sd_school": 10},
    }
    config = study("normal") | {
        "mechanisms": mechanisms,
        "methods": {"none": {"pooling": "none"} | FEW},
        "estimands": ["theta_school"],
    }
    table = hm.run(config, tmp_path / "run", progress=False, workers=1).estimates
    assert len(table) == 4 * 8 and (table["status"] == "ok").all()
    np.testing.assert_allclose(table["se"], np.tile(hm.load_dataset("eight_schools")["se"], 4), rtol=0.2)


@pytest.mark.slow
@pytest.mark.parametrize("family", OWN)
def test_a_tiny_study(family, tmp_path):
    run = hm.run(study(family), tmp_path / "run", progress=False, workers=1)
    table = run.estimates
    scalars = OWN[family]
    assert set(table["estimand"]) == {*scalars, "theta_g", "mean(theta_g)", "new(g)"}
    spread = next(iter(study(family)["mechanisms"]["grid"]))
    for name, value in scalars.items():
        rows = table[table["estimand"] == name]
        assert len(rows) == 8 and (rows["true"] == (rows[spread] if name == spread else value)).all()
    theta = table[table["estimand"] == "theta_g"]
    assert len(theta) == 2 * 4 * 8
    means = theta.groupby([spread, "rep"])["true"].mean().to_numpy()
    np.testing.assert_allclose(table[table["estimand"] == "mean(theta_g)"].sort_values([spread, "rep"])["true"], means)
    assert (
        np.isfinite(table[["estimate", "median", "lower", "upper", "true"]]).all(axis=None)
        and (table["lower"] <= table["upper"]).all()
    )
    assert np.isfinite(theta["se"]).all()  # a kappa or shape may have no sd
    assert "nonfinite" not in set(table["status"]) and (table["status"] == "divergent").mean() < 0.5
    assert np.corrcoef(theta["estimate"], theta["true"])[0, 1] > 0.5
    assert theta.eval("lower <= true and true <= upper").mean() > 0.85
    assert (run.failures.filter(like="n_failed") == 0).all(axis=None)
    cover = run.performance.query("measure == 'cover' and estimand == 'theta_g' and group == '[mean]'")
    assert cover["value"].mean() == pytest.approx(theta.eval("lower <= true and true <= upper").mean())


CALIBRATED = {
    "student_t": {
        "Intercept": "normal(0, 2)",
        "sd_g": "half_normal(1)",
        "sigma": "half_normal(1)",
        "nu": "gamma(2, 0.1)",
    },
    "bernoulli": {"mean_g": "beta(2, 2)", "kappa_g": "gamma(2, 0.1)"},
    "binomial_logit": {"Intercept": "normal(0, 1)", "sd_g": "half_normal(1)"},
    "bernoulli_logit": {"Intercept": "normal(0, 1)", "sd_g": "half_normal(1)"},
    "poisson_log": {"Intercept": "normal(0, 1)", "sd_g": "half_normal(1)"},
    "negative_binomial": {"Intercept": "normal(0, 1)", "sd_g": "half_normal(1)", "shape": "half_normal_cv(1)"},
}


OTHERS = {
    "Intercept": "normal(0, 1)",
    "sd_g": "half_normal(1)",
    "shape": "half_normal_cv(1)",
    "precision": "gamma(2, 0.1)",
    "mean_g": "gamma(2, 1)",
    "shape_g": "gamma(2, 0.5)",
}
PROPER = CALIBRATED | {name: {q: OTHERS[q] for q in OWN[name]} for name in families.__all__ if name not in GIVEN}


@pytest.mark.slow
@pytest.mark.parametrize("family", PROPER)
def test_posteriors_of_every_family_are_calibrated(family):
    roles = {role: role for role in families.lookup(family).columns if role == "trials"}
    model = hm.Model("y ~ 1 + (1 | g)", family, priors=PROPER[family], **roles)
    design = {"g": 8, "obs": 6, "predictors": dict.fromkeys(roles, 10)}
    found = sbc(model, design, replications=600, draws=200, tune=200, chains=2, target_accept=0.95, seed=5)
    assert found.passes(0.001), str(found)
