"""Declarations: formulas, priors, what is printed, what is refused when a model meets data, propriety."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hiermodels import priors
from hiermodels.datasets import load_dataset
from hiermodels.models.data import bind
from hiermodels.models.display import latex, text
from hiermodels.models.formula import parse_formula
from hiermodels.models.spec import Model

SCHOOLS = load_dataset("eight_schools")
SCORES = load_dataset("scores").assign(x=np.linspace(-1, 1, 19), z=lambda d: pd.factorize(d["school"])[0] * 1.0)
EIGHT = "effect ~ 1 + (1 | school)"
NESTED = "score ~ 1 + (1 | school/classroom)"


# declaration
# --------------------------------------------------------------------------------------------------------------


def test_model_is_frozen_and_hashable():
    one = Model(EIGHT, known_se="se", priors={"sd_school": "half_normal(5)", "Intercept": "flat()"})
    two = Model(EIGHT, known_se="se", priors={"Intercept": priors.flat(), "sd_school": priors.half_normal(5)})
    assert one == two and hash(one) == hash(two)
    assert one != Model(EIGHT, known_se="se")
    with pytest.raises(AttributeError):
        one.family = "poisson"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("formula", "groups"),
    [
        ("y ~ 1 + (1 | a)", [("1", ("a",), True)]),
        ("y ~ x + (1 + x | a)", [("1 + x", ("a",), True)]),
        ("y ~ x + (1 + x || a)", [("1 + x", ("a",), False)]),
        ("y ~ 1 + (1 | a/b/c)", [("1", ("a",), True), ("1", ("a", "b"), True), ("1", ("a", "b", "c"), True)]),
        ("y ~ 1 + (1 | a) + (0 + x | a:b)", [("1", ("a",), True), ("0 + x", ("a", "b"), True)]),
        ("y ~ log(x)", []),
    ],
)
def test_formulas(formula, groups):
    parsed = parse_formula(formula)
    assert [(str(g.effects), g.factors, g.correlated) for g in parsed.groups] == groups
    assert parsed.outcome == "y"


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("effect", r"formula 'effect': expected one ~ .*; write e\.g\. effect ~ 1"),
        ("a + b ~ 1", r"outcome 'a \+ b' is not a column name; write one column name left of ~"),
        ("y ~ ", r"nothing right of ~; write"),
        ("y ~ 1 + (1 | school", r"at its end: unbalanced bracket; close every \( once"),
        ("y ~ 1 + 1 | school", r"stands without brackets"),
        ("y ~ 1 + (1 | a) + (1 | a)", r"a group term stands twice"),
        ("y ~ 1 + (1 | a | b)", r"more than one bar"),
        ("y ~ 1 + ( | a)", r"is incomplete"),
        ("y ~ 1 + (1 | f(a))", r"character 14: the grouping is not a name"),
        ("y ~ 1 + + x", r"an empty term beside a \+"),
        ("y ~ 1 + (x", r"unbalanced bracket"),
        ("y ~ 1 + os.system('echo X') + (1 | a)", r"function 'os\.system' is not allowed"),
        ("y ~ 1 + system(x)", r"function 'system' is not allowed; use one of log, exp, sqrt, standardise, I, C"),
        ("y ~ 1 + (eval(x) | a)", r"function 'eval' is not allowed"),
        ("y ~ 1 + x@z", r"unexpected '@'"),
        (7, r"formula 7: expected one ~"),
    ],
)
def test_refused_formulas(formula, message):
    with pytest.raises(ValueError, match=message):
        Model(formula)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"family": "norml"}, r"unknown family 'norml'; did you mean 'normal'\?"),
        (
            {"family": "gaussian"},
            r"unknown family 'gaussian'; it is called 'normal' here; use one of bernoulli, bernoulli_logit, beta, binomial",
        ),
        ({"trials": "n"}, r"trials: family normal does not use it \(it uses known_se, weights\); leave trials out"),
        ({"family": "binomial"}, r"trials: family binomial needs the column of its trials; give trials=<column>"),
        ({"known_se": "se", "weights": "w"}, r"weights: known_se fixes every variance already"),
        ({"priors": ["x"]}, r"priors: expected a mapping of parameter to prior, found list"),
        ({"priors": {"sd_shool": "flat()"}}, r"'sd_shool' does not reach the likelihood.*did you mean 'sd_school'\?"),
        ({"priors": {"school": "bda3()"}}, r"bda3\(\) is a joint prior of a beta or gamma population"),
    ],
)
def test_refused_declarations(settings, message):
    with pytest.raises(ValueError, match=message):
        Model(EIGHT, **settings)


# priors
# ---------------------------------------------------------------------------------------------------------------------

PRIORS = {name: law.example for name, law in priors.MENU.items()} | {"uniform": (1, 4), "gamma_rate": (0.5, 2)}


@pytest.mark.parametrize("name", priors.__all__)
class TestEveryPrior:
    def test_text_and_record_are_one(self, name):
        record = getattr(priors, name)(*PRIORS[name])
        assert priors.parse(str(record)) == record and priors.parse(record) is record
        assert str(record).startswith(f"{name}(")
        assert "{" in record.latex() or record.latex()

    def test_wrong_count_of_numbers(self, name):
        with pytest.raises(
            ValueError, match=rf"prior: expected {name}\(.*found '{name}\(1, 2, 3, 4\)'; give exactly these"
        ):
            priors.parse(f"{name}(1, 2, 3, 4)")


def test_log_densities_against_scipy():
    import jax
    from scipy import stats

    x = np.array([0.3, 1.1, 2.7])
    laws = {
        "normal": stats.norm(1, 2), "student_t": stats.t(4, 1, 2), "half_normal": stats.halfnorm(scale=5),
        "half_cauchy": stats.halfcauchy(scale=5), "exponential": stats.expon(scale=2), "gamma": stats.gamma(2, scale=1 / 3),
    }  # fmt: skip
    with jax.enable_x64(True):
        for name, law in laws.items():
            np.testing.assert_allclose(getattr(priors, name)(*PRIORS[name]).log_density(x), law.logpdf(x), rtol=1e-12)
        np.testing.assert_allclose(
            priors.half_t(3, 2).log_density(x), np.log(2) + stats.t(3, 0, 2).logpdf(x), rtol=1e-12
        )
        np.testing.assert_allclose(priors.beta(2, 3).log_density(x[:1]), stats.beta(2, 3).logpdf(x[:1]), rtol=1e-12)
        np.testing.assert_allclose(priors.uniform(1, 4).log_density(x), np.log(1 / 3), rtol=1e-12)
        # a density of the variance, moved to the sd
        expected = stats.invgamma(3, scale=4).logpdf(x**2) + np.log(2 * x)
        np.testing.assert_allclose(priors.inverse_gamma_variance(3, 4).log_density(x), expected, rtol=1e-12)
        np.testing.assert_allclose(np.diff(priors.flat_variance().log_density(x)), np.diff(np.log(x)), rtol=1e-12)
        np.testing.assert_allclose(np.diff(priors.power(0.5).log_density(x)), -0.5 * np.diff(np.log(x)), rtol=1e-12)
        variances = np.array([2.0, 5.0, np.inf])  # a padded group has no say
        shape = [np.log(t * np.sqrt(np.sum((variances[:2] + t**2) ** -2))) for t in x]
        found = [float(priors.reference().log_density(t, variances)) for t in x]
        np.testing.assert_allclose(found, shape, rtol=1e-12)
        together = [
            np.log(t * np.sqrt(np.sum((variances[:2] + t**2) ** -1) * np.sum((variances[:2] + t**2) ** -2))) for t in x
        ]
        np.testing.assert_allclose(
            [float(priors.jeffreys2().log_density(t, variances)) for t in x], together, rtol=1e-12
        )


IN_UNITS = {
    "scaled_normal": ("Intercept", "real"),
    "gamma_rate": ("mean_g", "positive"),
    "scaled_half_t": ("sd_g", "positive"),
}
PROPER = [
    n
    for n in priors.__all__
    if getattr(priors, n)(*PRIORS[n]).proper and n not in ("fixed", "lkj", "bda3", "rgbp", *IN_UNITS)
]


@pytest.mark.slow_cases("beta")
@pytest.mark.parametrize("name", PROPER)
def test_numpyro_distributions_are_the_same_law(name):
    """The site's distribution has the record's density and, where it can be drawn, its quantiles."""
    import jax

    prior = getattr(priors, name)(*PRIORS[name])
    kind = "real" if name in ("normal", "student_t") else "unit" if name == "beta" else "positive"
    x = np.array([0.2, 0.55, 0.9]) * (1 if kind == "unit" else 3.5)
    x = np.clip(x, 1.01, 3.9) if name == "uniform" else x
    with jax.enable_x64(True):
        law = prior.law(kind)
        np.testing.assert_allclose(law.log_prob(x), prior.log_density(x), rtol=1e-10)
        draws = np.asarray(law.sample(jax.random.key(0), (20_000,)))
        grid = np.linspace(*np.quantile(draws, [0.2, 0.6]), 2001)
        share = np.trapezoid(np.exp(prior.log_density(grid)), grid)
    assert share == pytest.approx(0.4, abs=0.015)


@pytest.mark.parametrize("name", IN_UNITS)
def test_priors_in_units_of_another_parameter(name):
    """The site given the unit has the record's density, the same as the plain law at those numbers; without the unit
    it is refused.
    """
    import jax
    from numpyro import handlers
    from scipy import stats

    from hiermodels.models.sites import hyperparameter

    (of, kind), prior = IN_UNITS[name], getattr(priors, name)(*PRIORS[name])
    x, unit = 1.3, 2.5
    law = {
        "scaled_normal": stats.norm(1, 2 * unit),
        "gamma_rate": stats.invgamma(0.5, scale=2 * unit),
        "scaled_half_t": stats.t(3, 0, 2 * unit),
    }
    expected = law[name].logpdf(x) + (np.log(2) if name == "scaled_half_t" else 0.0)
    with jax.enable_x64(True):
        seeded = handlers.seed(lambda: hyperparameter(of, prior, kind, unit=unit), 0)
        site = handlers.trace(seeded).get_trace()[of]
        assert float(site["fn"].log_prob(x)) == pytest.approx(
            float(prior.log_density(np.float64(x), np.float64(unit))), rel=1e-12
        )
        assert float(prior.log_density(np.float64(x), np.float64(unit))) == pytest.approx(expected, rel=1e-12)
        with pytest.raises(ValueError, match=f"is in units of the {prior.unit}, which this model has not"):
            handlers.seed(lambda: hyperparameter(of, prior, kind), 0)()
        with pytest.raises(ValueError, match="it is in units of another parameter"):
            prior.log_density(x)
    assert prior.law(kind) is None and priors.flat().unit is None


def test_improper_priors_have_no_distribution():

    for name in ("flat", "flat_variance", "reference", "jeffreys2", "power"):
        assert getattr(priors, name)(*PRIORS[name]).law() is None
    assert priors.beta(0, 0).law("unit") is None
    assert priors.flat().law("unit") is not None


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        ("half_normal(-1)", r"sd_school: prior half_normal\(-1\): expected scale > 0"),
        ("half_normal", r"expected half_normal\(\.\.\.\) with brackets"),
        ("half_norml(1)", r"unknown prior 'half_norml'; did you mean half_normal\?"),
        ("__import__('os').system('x')", r"expected a name of the menu with plain numbers"),
        ("normal(0, [1])", r"expected plain numbers between the brackets"),
        ("normal(0, 1", r"expected one prior like half_normal\(5\)"),
        ("uniform(2, 1)", r"expected low < high"),
        ("normal(0, 1e999)", r"expected finite numbers"),
        ([1], r"expected text like half_normal\(5\), found \[1\]"),
        ("half_normal(True)", r"expected plain numbers"),
    ],
)
def test_refused_priors(prior, message):
    with pytest.raises(ValueError, match=message):
        Model(EIGHT, known_se="se", priors={"sd_school": prior})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sigma": "half_normal(1)"}, r"priors: 'sigma' does not reach the likelihood of 'effect ~ 1"),
        (
            {"treatd": "normal(0, 1)"},
            r"priors: 'treatd' does not reach the likelihood.*the parameters are Intercept, sd_school",
        ),
        (
            {"sd_school": "normal(0, 1)"},
            r"sd_school: normal\(0, 1\) does not fit a positive parameter; use one of exponential",
        ),
        (
            {"Intercept": "half_normal(1)"},
            r"Intercept: half_normal\(1\) does not fit a real parameter; use one of fixed, flat",
        ),
        ({"sd_school": "uniform(-1, 1)"}, r"reaches outside the values of a positive parameter; move its ends inside"),
        ({"sd_school": -2}, r"sd_school: fixed\(-2\): expected a value >= 0"),
    ],
)
def test_priors_that_do_not_fit(given, message):
    with pytest.raises(ValueError, match=message):
        bind(Model(EIGHT, known_se="se", priors=given), SCHOOLS)


def test_a_bare_number_is_known():
    problem = bind(Model(EIGHT, known_se="se", priors={"sd_school": 5}), SCHOOLS)
    assert str(problem.layout.parameter("sd_school").prior) == "fixed(5)"


def test_priors_of_parameters_that_pooling_removes_may_stay():
    model = Model(EIGHT, known_se="se", priors={"sd_school": "half_normal(5)", "Intercept": "normal(0, 9)"})
    assert [p.name for p in bind(model, SCHOOLS, "complete").layout.parameters] == ["Intercept"]
    assert bind(model, SCHOOLS, "none").layout.parameters == ()


def test_defaults_and_their_sources():
    of_sd = ("scaled_half_t(3, 2.5)", "default")
    for outcome in (True, False):  # a study, which has no outcome when it is declared, has the same
        found = {
            p.name: (str(p.prior), p.source) for p in bind(Model(NESTED), SCORES, outcome=outcome).layout.parameters
        }
        assert found == {
            "Intercept": ("flat()", "default"),
            "sd_school": of_sd,
            "sd_school:classroom": of_sd,
            "sigma": ("power(1)", "default"),
        }
    assert str(bind(Model(EIGHT, known_se="se"), SCHOOLS).layout.parameter("sd_school").prior) == "reference()"
    two = bind(
        Model("effect ~ 1 + (1 | school) + (1 | half)", known_se="se"), SCHOOLS.assign(half=list("aabb") * 2)
    ).layout
    typical = np.mean(SCHOOLS["se"] ** -2.0) ** -0.5
    assert {(str(p.prior), p.source) for p in two.parameters if p.kind == "positive"} == {
        (f"half_t(3, {2.5 * typical:g})", "scaled")
    }


# display
# --------------------------------------------------------------------------------------------------------------------


class TestDisplay:
    def test_eight_schools(self):
        model = Model(EIGHT, known_se="se", priors={"sd_school": "half_normal(5)"})
        assert str(model).splitlines() == [
            "effect_i ~ N(theta_school[i], se_i^2)",
            "theta_school_j ~ N(Intercept, sd_school^2)",
            "Intercept ~ flat()",
            "sd_school ~ half_normal(5)",
        ]

    def test_three_levels_with_a_predictor(self):
        assert str(Model("score ~ 1 + treated + (1 | school/classroom)", weights="w")).splitlines() == [
            "score_i ~ N(theta_school:classroom[i] + treated * treated_i, sigma^2 / w_i)",
            "theta_school:classroom_j ~ N(theta_school[j], sd_school:classroom^2)",
            "theta_school_j ~ N(Intercept, sd_school^2)",
            "Intercept ~ flat()",
            "treated ~ flat()",
            "sd_school ~ scaled_half_t(3, 2.5 / sqrt(mean(w)))",
            "sd_school:classroom ~ scaled_half_t(3, 2.5 / sqrt(mean(w)))",
            "sigma ~ power(1)",
        ]

    def test_defaults_that_wait_for_known_variances(self):
        model = Model("y ~ 1 + (1 + x || g)", known_se="se")
        assert "sd_g_x ~ half_t(3, 2.5 se / sd(x))" in str(model)
        assert r"\mathrm{t}^{+}_{3}(0,\, (2.5\, \text{se})^{2})" in latex(model)

    def test_bound_problem_shows_the_priors_in_use_and_the_pooling(self):
        model = Model(NESTED)
        partial = text(model, bind(model, SCORES).layout)
        assert "sd_school ~ scaled_half_t(3, 2.5)" in partial
        none = text(model, bind(model, SCORES, "none").layout).splitlines()
        assert none == [
            "score_i ~ N(theta_school:classroom[i], sigma^2)",
            "theta_school:classroom_j ~ flat()",
            "theta_school_j = mean of theta_school:classroom within school j",
            "sigma ~ power(1)",
        ]
        mixed = text(model, bind(model, SCORES, {"school": "complete"}).layout).splitlines()
        assert mixed[1:3] == [
            "theta_school:classroom_j ~ N(theta_school[j], sd_school:classroom^2)",
            "theta_school_j = Intercept",
        ]

    @pytest.mark.parametrize(
        ("formula", "line"),
        [
            ("y ~ 1 + (1 | a) + (1 | b)", "y_i ~ N(theta_a[i] + theta_b[i] - Intercept, sigma^2)"),
            (
                "y ~ 1 + (1 | a) + (1 | b) + (1 | c)",
                "y_i ~ N(theta_a[i] + theta_b[i] + theta_c[i] - 2 Intercept, sigma^2)",
            ),
            ("y ~ 0 + x + (1 | a)", "theta_a_j ~ N(0, sd_a^2)"),
            ("y ~ x + (1 + x || a)", "theta_a_x_j ~ N(x, sd_a_x^2)"),
            ("y ~ x + (1 | a) + (0 + x | a:b)", "y_i ~ N(theta_a[i] + theta_a:b_x[i] * x_i, sigma^2)"),
            ("y ~ x * z + (1 | a)", "y_i ~ N(theta_a[i] + x * x_i + z * z_i + x:z * x:z_i, sigma^2)"),
            ("y ~ 1", "y_i ~ N(Intercept, sigma^2)"),
        ],
    )
    def test_lines(self, formula, line):
        assert line in str(Model(formula)).splitlines()

    def test_counts(self):
        beta = Model("y ~ 1 + (1 | g)", family="binomial", trials="n", priors={"g": "bda3()"})
        assert str(beta).splitlines() == [
            "y_i ~ Binomial(n_i, theta_g[i])",
            "theta_g_j ~ Beta(mean_g kappa_g, (1 - mean_g) kappa_g)",
            "mean_g ~ uniform(0, 1)",
            "kappa_g ~ power(1.5)",
        ]
        gamma = Model("y ~ 1 + z + (1 | g)", family="poisson", exposure="e")
        assert str(gamma).splitlines()[:3] == [
            "y_i ~ Poisson(e_i * theta_g[i])",
            "theta_g_j ~ Gamma(shape_g, shape_g / mean_g[j])",
            "mean_g[j] = exp(Intercept + z * z_j)",
        ]
        deep = str(Model("y ~ 1 + (1 | s/c)", family="poisson", exposure="e")).splitlines()
        assert (
            "theta_s_log_shape_j ~ N(log_shape, sd_s_log_shape^2)" in deep
            and "theta_s_j ~ N(Intercept, sd_s^2)" in deep
        )

    def test_latex(self):
        model = Model("y ~ x + (1 + x | a_b)", known_se="se", priors={"x": "normal(0, 2)"})
        found = latex(model)
        assert found.startswith("\\begin{aligned}") and found.count("&") == 7 and found.count("{") == found.count("}")
        assert r"\beta_{\mathrm{x}} &\sim \mathrm{N}(0,\, 2^{2})" in found and r"a\_b" in found
        assert model._repr_latex_() == f"$${found}$$"
        assert r"\tau_{\mathrm{g}} &= 3" in latex(Model("y ~ 1 + (1 | g)", priors={"sd_g": 3}))

    def test_every_parameter_has_one_line(self):
        for model, frame in [
            (Model(NESTED), SCORES),
            (Model("score ~ x + (1 + x | school)"), SCORES),
            (Model(EIGHT, known_se="se"), SCHOOLS),
        ]:
            problem = bind(model, frame)
            lines = text(model, problem.layout).splitlines()
            for p in problem.layout.parameters:
                where = " at the predictors' means" if problem.layout.moved(p) and p.role != "coefficient" else ""
                assert f"{p.name} ~ {p.prior}{where}" in lines


# meeting data
# ---------------------------------------------------------------------------------------------------------------


def changed(column, row, value):
    frame = SCHOOLS.copy()
    frame[column] = frame[column].astype(object if isinstance(value, str) or value is None else float)
    frame.loc[row, column] = value
    return frame


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (
            changed("se", 2, -1.0),
            r"column 'se', row 2: expected a positive, finite standard error, found -1; mend or drop the row",
        ),
        (changed("se", 0, np.nan), r"column 'se', row 0: expected a positive, finite standard error, found nan"),
        (
            changed("effect", 1, np.nan),
            r"column 'effect', row 1: expected a finite outcome, found nan; drop or mend the row",
        ),
        (changed("effect", 3, np.inf), r"column 'effect', row 3: expected a finite outcome, found inf"),
        (
            changed("effect", 4, "n/a"),
            r"column 'effect', row 4: expected numbers \(outcome\), found 'n/a'; convert the column",
        ),
        (
            SCHOOLS.assign(school=[None, *"BCDEFGH"]),
            r"column 'school', row 0: expected a group label, found a missing value",
        ),
        (
            SCHOOLS.drop(columns="se"),
            r"standard error: no column 'se' in the data; did you mean|standard error: no column 'se'",
        ),
        (
            SCHOOLS.rename(columns={"effect": "efect"}),
            r"outcome: no column 'effect' in the data; did you mean 'efect'\?",
        ),
        (SCHOOLS.rename(columns={"school": "Schools"}), r"no column 'school' in the data; did you mean 'Schools'\?"),
        (SCHOOLS.head(0), r"expected at least one row, found none"),
        (
            SCHOOLS.assign(school=pd.Categorical(list("ABCDEFGH"), list("ABCDEFGHI"))),
            r"column 'school': category 'I' has no row",
        ),
    ],
)
def test_bad_columns(frame, message):
    with pytest.raises(ValueError, match=message):
        bind(Model(EIGHT, known_se="se"), frame)


@pytest.mark.parametrize(
    ("formula", "pooling", "message"),
    [
        ("score ~ 1 + q + (1 | school)", "partial", r"no column 'q' in the data; the columns are school"),
        ("score ~ 1 + log(z) + (1 | school)", "partial", r"term 'log\(z\)' is not finite at row 0"),
        ("score ~ 0", "partial", r"nothing to estimate right of ~"),
        (NESTED, "partly", r"pooling: school: expected complete, none or partial, found 'partly'"),
        (
            NESTED,
            {"class": "none"},
            r"pooling: no group term 'class' in the formula; the terms are school, school:classroom",
        ),
        (NESTED, {"school:classroom": "none"}, r"school is partial above school:classroom, which is none"),
        (
            "score ~ 1 + z + (1 | school)",
            "none",
            r"predictor 'z' is constant within every school.*drop the predictor or pool school",
        ),
        (
            "score ~ 1 + z + (1 + z | school)",
            "none",
            r"school 's1' has too few distinct predictor values for its own 2",
        ),
        ("score ~ 1 + x + u + (1 | school)", "partial", r"predictors Intercept, x, u are linearly dependent"),
        ("score ~ 1 + o + (1 | school)", "partial", r"predictor 'o' is zero in every row"),
        ("score ~ x + (1 + x || school) + (0 + x | school)", "partial", r"'x' varies by school in two terms"),
        (
            "score ~ x + (1 + x | school) + (0 + w + z | school)",
            "partial",
            r"school: two terms with correlated effects",
        ),
        (
            "score ~ 1 + (1 | school) + (1 | k)",
            "none",
            r"are crossed and both none, so neither's values are identified",
        ),
        ("score ~ x + (1 + x | school) + (1 | school:classroom)", "none", r"both none, but 'x' varies by school alone"),
    ],
)
def test_refused_designs(formula, pooling, message):
    frame = SCORES.assign(u=2 * SCORES["x"], o=0.0, w=SCORES["x"] ** 2, k=[*"abc"] * 6 + ["a"])
    with pytest.raises(ValueError, match=message):
        bind(Model(formula), frame, pooling)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("y", [1, 7, 2], r"column 'y', row 1: expected at most the row's trials, found 7"),
        ("y", [1, 2.5, 2], r"column 'y', row 1: expected a count"),
        ("y", [1, -1, 2], r"column 'y', row 1: expected a count"),
        ("n", [5, 2.5, 5], r"column 'n', row 1: expected a whole number of trials"),
        ("n", [5, 0, 5], r"column 'n', row 1: expected a positive, finite number of trials"),
    ],
)
def test_bad_counts(column, values, message):
    frame = pd.DataFrame({"y": [1, 2, 3], "n": [5, 5, 5], "g": list("abc")}).assign(**{column: values})
    with pytest.raises(ValueError, match=message):
        bind(Model("y ~ 1 + (1 | g)", family="binomial", trials="n"), frame)


def test_labels_follow_categories_else_first_appearance():
    frame = SCHOOLS.iloc[::-1]
    assert bind(Model(EIGHT, known_se="se"), frame).labels["school"] == list("HGFEDCBA")
    ordered = frame.assign(school=pd.Categorical(frame["school"], list("ABCDEFGH")))
    assert bind(Model(EIGHT, known_se="se"), ordered).labels["school"] == list("ABCDEFGH")
    nested = bind(Model(NESTED), SCORES)
    assert nested.labels["school:classroom"] == [
        f"s{i}:c{j}" for i, n in ((1, 2), (2, 3), (3, 1), (4, 2)) for j in range(1, n + 1)
    ]
    assert all(nested.data.real[1][nested.positions["school:classroom"]]) and nested.data.real[1].sum() == 8


def test_warnings():
    proper = {"sd_school": "half_normal(5)"}
    assert (
        "one group alone says nothing" in bind(Model(EIGHT, known_se="se", priors=proper), SCHOOLS.head(1)).warnings[0]
    )
    unknown = bind(Model(EIGHT, priors={**proper, "sigma": "half_normal(5)"}), SCHOOLS)
    assert "sigma and sd_school cannot be told apart" in unknown.warnings[0]
    assert bind(Model(EIGHT, known_se="se"), SCHOOLS).warnings == ()


# propriety
# ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prior", "enough"),
    [("flat()", 3), ("flat_variance()", 4), ("reference()", 2), ("half_normal(5)", 1), ("half_cauchy(5)", 1), ("power(-1)", 4),
     ("power(0.5)", 2)],
)  # fmt: skip
def test_how_many_groups_a_prior_needs(prior, enough):
    model = Model(EIGHT, known_se="se", priors={"sd_school": prior})
    assert bind(model, SCHOOLS.head(enough)).labels["school"] == list("ABCDEFGH")[:enough]
    if enough > 1:
        message = rf"sd_school: {prior.split('(')[0]}\(.*improper posterior with {enough - 1} school groups: at least {enough} are needed"
        with pytest.raises(ValueError, match=message):
            bind(model, SCHOOLS.head(enough - 1))


def test_a_predictor_costs_a_group():
    frame = SCHOOLS.assign(x=[1.0, 2, 4, 3, 1, 2, 3, 5])
    model = Model("effect ~ 1 + x + (1 | school)", known_se="se", priors={"sd_school": "flat()"})
    assert bind(model, frame.head(4)).labels["school"] == list("ABCD")
    with pytest.raises(ValueError, match=r"at least 4 are needed"):
        bind(model, frame.head(3))
    informed = Model(
        "effect ~ 1 + x + (1 | school)", known_se="se", priors={"sd_school": "flat()", "x": "normal(0, 1)"}
    )
    assert bind(informed, frame.head(3)).layout.parameter("x").prior.name == "normal"


@pytest.mark.parametrize("c", [1, 1.5, 2])
def test_power_priors_that_blow_up_at_zero(c):
    with pytest.raises(
        ValueError, match=r"sd_school: power\(.*improper posterior: it is not integrable at zero.*use flat\(\)"
    ):
        bind(Model(EIGHT, known_se="se", priors={"sd_school": f"power({c})"}), SCHOOLS)


def tree(schools, classes, rows):
    """Classes dealt to schools, rows to classes."""
    frame = pd.DataFrame({"classroom": np.arange(rows) % classes})
    return frame.assign(school=frame["classroom"] % schools, score=np.random.default_rng(0).normal(size=rows)).astype(
        {"classroom": str}
    )


@pytest.mark.parametrize(
    ("design", "message"),
    [
        ((4, 6, 8), None),
        ((3, 6, 9), r"sd_school: flat_variance\(\).*with 3 school groups: at least 4"),
        ((4, 5, 9), r"sd_school:classroom: flat_variance\(\).*with 5 school:classroom groups: at least 6"),
        ((4, 6, 7), r"sigma: flat_variance\(\).*with 7 rows: at least 8"),
    ],
)
def test_three_levels_with_flat_variances(design, message):
    model = Model(NESTED, priors=dict.fromkeys(("sd_school", "sd_school:classroom", "sigma"), "flat_variance()"))
    if message is None:
        assert len(bind(model, tree(*design)).layout.parameters) == 4
    else:
        with pytest.raises(ValueError, match=message):
            bind(model, tree(*design))


@pytest.mark.parametrize(
    ("prior", "groups", "lost"),
    [("reference()", 2, "mean"), ("reference()", 3, "sd"), ("reference()", 4, None), ("flat()", 3, "mean"), ("flat()", 4, "sd"),
     ("flat()", 5, None), ("half_normal(5)", 2, None), ("half_cauchy(5)", 8, None)],
)  # fmt: skip
def test_moments_that_do_not_exist(prior, groups, lost):
    problem = bind(Model(EIGHT, known_se="se", priors={"sd_school": prior}), SCHOOLS.head(groups))
    assert problem.missing_moments.get("sd_school") == lost


def test_sigma_needs_repeats():
    with pytest.raises(ValueError, match=r"sigma: power\(1\).*no repeated observations to keep sigma from zero"):
        bind(Model(EIGHT), SCHOOLS)
    with pytest.raises(ValueError, match=r"sigma: power\(1\)"):
        bind(Model("effect ~ 1"), SCHOOLS.head(1))


@pytest.mark.parametrize(("prior", "enough"), [("flat()", 4), ("flat_variance()", 6)])
def test_one_row_a_group_tells_the_sum_of_two_variances_only(prior, enough):
    """Both sds large together: r^(1 - (n - 1)) dr on the sds, r^(1 - (n - 1) / 2) dr on the variances."""
    model = Model("y ~ 1 + (1 | g)", priors={"sd_g": prior, "sigma": prior})
    frame = pd.DataFrame({"g": range(enough), "y": np.arange(enough) ** 2.0})
    bind(model, frame)
    with pytest.raises(ValueError, match="improper"):
        bind(model, frame[:-1])


def test_crossed_groupings_of_one_size_do_not_hide_one_another():
    frame = pd.DataFrame([(i, j, i * j) for i in range(3) for j in range(3)], columns=["a", "b", "y"])
    bind(Model("y ~ 1 + (1 | a) + (1 | b)", priors={"sd_a": "flat()", "sd_b": "flat()", "sigma": "fixed(1)"}), frame)
