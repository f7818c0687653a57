"""Which posteriors are proper, which moments exist, which data are refused: the rules against integrals of our own."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import integrate

import hiermodels as hm
from hiermodels.models.data import bind
from hiermodels.models.propriety import has_moment

SCHOOLS = hm.load_dataset("eight_schools")


def accepted(model, frame, pooling="partial"):
    """Whether a model meets its data; a refusal must speak of an improper posterior."""
    try:
        bind(model, frame, pooling)
    except ValueError as error:
        assert "improper posterior" in str(error), error
        return False
    return True


# two levels, known variances
# ---------------------------------------------------------------------------------------------------

# p(tau^2) ~ (tau^2)^-c is p(tau) ~ tau^(1 - 2c)
EXPONENTS = (-1.0, 0.0, 0.5, 0.75, 0.95, 1.0, 1.5)


def power_prior(c):
    return f"power({2 * c - 1:g})"


@pytest.mark.parametrize("c", EXPONENTS)
@pytest.mark.parametrize("equal", [True, False])
def test_power_priors_of_the_variance_between_groups(c, equal):
    """Usable iff c < 1 (at zero) and c > (3 - k) / 2 (at infinity), for equal and unequal known variances."""
    for k in range(1, 9):
        frame = SCHOOLS.head(k).assign(se=12.0) if equal else SCHOOLS.head(k)
        model = hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": power_prior(c)})
        assert accepted(model, frame) == (c < 1 and c > (3 - k) / 2), k


def test_named_powers():
    """flat_variance is c = 0, flat c = 1/2: four and three groups; both blow-ups at zero name the reason."""
    for prior, least in (("flat_variance()", 4), ("flat()", 3)):
        model = hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": prior})
        assert [accepted(model, SCHOOLS.head(k)) for k in (least - 1, least)] == [False, True]
    for c in (1, 2):  # 1 / tau, and tau^-2 as a second program of the lecture has it
        model = hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": f"power({c})"})
        with pytest.raises(
            ValueError, match=r"improper posterior: it is not integrable at zero, where the likelihood is positive"
        ):
            hm.fit(model, SCHOOLS, progress=False)


def collapsed(tau2, y, se):
    """Likelihood of tau^2 with the mean integrated out, up to a factor."""
    w = 1 / (se**2 + tau2[:, None])
    total = w.sum(1)
    mean = (w * y).sum(1) / total
    return np.exp(0.5 * np.log(w).sum(1) - 0.5 * np.log(total) - 0.5 * (w * (y - mean[:, None]) ** 2).sum(1))


@pytest.mark.parametrize(("k", "c"), [(3, 0.0), (4, 0.0), (2, 0.5), (3, 0.5), (5, -1.0), (6, -1.0)])
def test_the_rule_at_infinity_is_what_the_integral_does(k, c):
    """Per factor of 100 in the cut-off an improper posterior grows by as much as before, or more; a proper one by ever
    less.
    """
    y, se = SCHOOLS["effect"].to_numpy()[:k], SCHOOLS["se"].to_numpy()[:k]
    cuts = [1e8, 1e10, 1e12, 1e14]

    def below(cut):
        log_t = np.linspace(-8, np.log(cut), 40_001)
        t = np.exp(log_t)
        return integrate.trapezoid(collapsed(t, y, se) * t ** (1 - c), log_t)

    steps = np.diff([below(cut) for cut in cuts])
    proper = c > (3 - k) / 2
    assert (steps[1:] < 0.5 * steps[:-1]).all() if proper else (steps[1:] > 0.99 * steps[:-1]).all()
    model = hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": power_prior(c)})
    assert accepted(model, SCHOOLS.head(k)) == proper


def test_the_likelihood_at_zero_is_positive():
    """Why no prior with c >= 1 is usable: mass piles up at tau = 0 as the cut-off falls, whatever the data."""
    y, se = SCHOOLS["effect"].to_numpy(), SCHOOLS["se"].to_numpy()
    log_t = np.linspace(-40, 8, 40_001)
    t = np.exp(log_t)
    near = log_t < -20
    total = integrate.trapezoid(collapsed(t, y, se), log_t)  # c = 1
    share = integrate.trapezoid(collapsed(t, y, se)[near], log_t[near]) / total
    assert share > 0.4  # every further e-folding adds the same amount
    assert collapsed(np.array([0.0]), y, se)[0] > 0.5 * collapsed(t, y, se).max()


@pytest.mark.parametrize("c", [-0.5, 0.0, 0.5, 0.75])
def test_moments_of_the_variance_between_groups(c):
    """E[tau^(2r) | y] is finite iff (k - 1) / 2 + c - r > 1."""
    for k, r in itertools.product(range(5, 9), (0.5, 1, 2, 3)):
        if c <= (3 - k) / 2:
            continue
        model = hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": power_prior(c)})
        problem = bind(model, SCHOOLS.head(k))
        assert has_moment(problem.layout, problem.data, "sd_school", 2 * r) == ((k - 1) / 2 + c - r > 1), (k, r)
        if r <= 1:
            lost = problem.missing_moments.get("sd_school")
            assert has_moment(problem.layout, problem.data, "sd_school", 2 * r) == (
                lost is None or (lost == "sd" and r == 0.5)
            )


def test_a_moment_of_something_else_is_refused():
    problem = bind(hm.Model("effect ~ 1 + (1 | school)", known_se="se"), SCHOOLS)
    with pytest.raises(ValueError, match="sigma: expected one of sd_school"):
        has_moment(problem.layout, problem.data, "sigma", 1)


# three levels
# ---------------------------------------------------------------------------------------------------------------------


def tree(schools, classes, students):
    frame = pd.DataFrame(
        list(itertools.product(range(schools), range(classes), range(students))), columns=["s", "c", "i"]
    )
    y = np.random.default_rng(schools + 10 * classes).normal(50, 8, len(frame))
    return frame.assign(s=frame["s"].astype(str), c=frame["c"].astype(str), y=y)


@pytest.mark.parametrize("schools_and_classes", [(3, 2), (3, 5), (5, 1), (4, 1), (4, 2), (5, 2), (6, 1), (7, 1)])
@pytest.mark.parametrize("word", ["flat_variance()", "flat()"])
def test_three_levels_with_sigma_known(schools_and_classes, word):
    """Flat k^2 and t^2 need I >= 4 schools and C >= 6 classes; flat on the sds I >= 3 and C >= 4."""
    schools, classes = schools_and_classes
    model = hm.Model("y ~ 1 + (1 | s/c)", priors={"sd_s": word, "sd_s:c": word, "sigma": 5})
    least = (4, 6) if word == "flat_variance()" else (3, 4)
    assert accepted(model, tree(schools, classes, 2)) == (schools >= least[0] and schools * classes >= least[1])


@pytest.mark.parametrize(
    ("schools", "classes", "students", "proper"),
    [(4, 2, 1, True), (7, 1, 1, False), (8, 1, 1, True), (4, 2, 2, True), (3, 3, 3, False)],
)
def test_three_levels_with_all_variances_flat(schools, classes, students, proper):
    """Flat s^2, t^2, k^2: also N >= 8 rows. One student a class is proper, though only sums of variances are
    identified.
    """
    model = hm.Model("y ~ 1 + (1 | s/c)", priors=dict.fromkeys(("sd_s", "sd_s:c", "sigma"), "flat_variance()"))
    assert accepted(model, tree(schools, classes, students)) == proper


def test_the_three_level_rule_is_what_the_integral_does():
    """Five schools of one class, sigma known: over (k^2, t^2) up to a cut-off the integral grows by a constant a
    decade; six converge.
    """

    def grows(schools):
        y = tree(schools, 1, 1)["y"].to_numpy()
        scatter = np.sum((y - y.mean()) ** 2)

        # with one class a school the density depends on k^2 + t^2 alone; their difference has length v
        def below(cut):
            log_v = np.linspace(-4, np.log(cut), 20_001)
            v = np.exp(log_v)
            s = v + 25.0
            return integrate.trapezoid(v * s ** (-(schools - 1) / 2) * np.exp(-scatter / (2 * s)) * v, log_v)

        return np.diff([below(10.0**d) for d in (8, 10, 12, 14)])

    five, six = grows(5), grows(6)
    np.testing.assert_allclose(five / five[0], 1.0, rtol=1e-3)
    assert (six[1:] < 0.2 * six[:-1]).all()
    model = hm.Model("y ~ 1 + (1 | s/c)", priors={"sd_s": "flat_variance()", "sd_s:c": "flat_variance()", "sigma": 5})
    assert [accepted(model, tree(k, 1, 1)) for k in (5, 6)] == [False, True]


# varying intercepts and slopes
# -------------------------------------------------------------------------------------------------------


def trials(people, each, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"id": np.repeat(np.arange(people), each), "x": rng.normal(size=people * each)})
    return frame.assign(y=rng.normal(size=len(frame)))


def test_bounded_scales_and_normal_means_are_always_proper():
    """Even one person, observed once."""
    scale = "uniform(0, 10)"
    priors = {"Intercept": "normal(0, 3)", "x": "normal(0, 3)", "sd_id": scale, "sd_id_x": scale, "sigma": scale}
    model = hm.Model("y ~ 1 + x + (1 + x || id)", priors=priors)
    for people, each in ((1, 1), (1, 5), (2, 1), (30, 2)):
        assert accepted(model, trials(people, each))


@pytest.mark.parametrize(("people", "each", "proper"), [(1, 3, False), (1, 4, True), (2, 3, True), (10, 2, False)])
def test_unpooled_people_under_flat_priors(people, each, proper):
    """An unbounded flat sigma needs n (m - 2) >= 2; a bounded one is proper as long as something is left over."""
    formula, frame = "y ~ 1 + x + (1 + x | id)", trials(people, each)
    assert accepted(hm.Model(formula, priors={"sigma": "flat()"}), frame, "none") == proper
    assert accepted(hm.Model(formula, priors={"sigma": "uniform(0, 10)"}), frame, "none")


def test_every_person_needs_two_values_of_the_predictor():
    frame = trials(3, 4).assign(x=lambda d: np.where(d["id"] == 1, 2.0, d["x"]))
    with pytest.raises(ValueError, match="id '1' has too few distinct predictor values for its own 2 coefficients"):
        bind(hm.Model("y ~ 1 + x + (1 + x | id)"), frame, "none")


# sigma at zero
# -------------------------------------------------------------------------------------------------------------------------

SAME = pd.DataFrame({"g": list("aabbcc"), "y": [1.0, 1, 4, 4, 7, 7], "x": [0.0, 1, 2, 3, 4, 5]})


@pytest.mark.parametrize(
    ("formula", "frame", "prior", "proper"),
    [
        # every row is fitted exactly: the likelihood grows as sigma^-(rows - rank)
        ("y ~ 1", SAME.assign(y=3.0), "half_normal(5)", False),
        ("y ~ 1", SAME.assign(y=3.0), "inverse_gamma_variance(2, 1)", True),
        ("y ~ 1", SAME.assign(y=3.0), "uniform(0.5, 4)", True),
        ("y ~ 1 + x", SAME.assign(y=2 + 3 * SAME["x"]), "flat()", False),
        ("y ~ 1 + x", SAME.assign(y=2 + 3 * SAME["x"] + [0, 0, 1e-3, 0, 0, 0]), "flat()", True),
        ("y ~ 1 + (1 | g)", SAME, "half_normal(5)", False),
        ("y ~ 1 + (1 | g)", SAME, "power(1)", False),
        ("y ~ 1 + (1 | g)", SAME.assign(y=[1.0, 1, 4, 4, 7, 7.5]), "power(1)", True),
        # one row a group: nothing is left over, and nothing need be where the prior is integrable at zero
        ("y ~ 1 + (1 | g)", SAME.iloc[::2], "half_normal(5)", True),
        ("y ~ 1 + (1 | g)", SAME.iloc[::2], "power(1)", False),
        ("y ~ 1 + x + (1 + x || g)", SAME.assign(y=[1.0, 5, 2, 9, 3, 1]), "half_normal(5)", True),
        ("y ~ 1 + x + (1 + x || g)", SAME.assign(y=[1.0, 5, 2, 9, 3, 1]), "power(1)", False),
    ],
)
def test_nothing_left_to_keep_sigma_from_zero(formula, frame, prior, proper):
    priors = {"sigma": prior} | {
        n: "half_normal(5)" for n in ("sd_g", "sd_g_x") if "g)" in formula and (n == "sd_g" or "||" in formula)
    }
    assert accepted(hm.Model(formula, priors=priors), frame) == proper


def test_coefficients_in_units_of_sigma_keep_it_from_zero():
    """One observation off the prior's mean is enough: it is a residual as well."""
    for y, proper in ((3.0, True), (8.0, False)):
        priors = {"Intercept": "scaled_normal(8, 2)", "sigma": "power(1)"}
        assert accepted(hm.Model("y ~ 1", priors=priors), pd.DataFrame({"y": [y]})) == proper


def test_the_rule_at_sigma_zero_is_what_the_integral_does():
    """Rows that are all alike, flat mean: the marginal likelihood of sigma is sigma^-(n - 1), without end under a
    half-normal.
    """

    def above(cut, left):
        log_s = np.linspace(np.log(cut), 3, 20_001)
        s = np.exp(log_s)
        return integrate.trapezoid(s**-4.0 * np.exp(-left / (2 * s**2)) * np.exp(-(s**2) / 50), log_s)

    assert above(1e-6, 0.0) > 1e3 * above(1e-4, 0.0)
    assert above(1e-6, 0.5) == pytest.approx(above(1e-4, 0.5), rel=1e-6)


# counts
# ----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "proper"), [([0, 0, 5], False), ([5, 5, 5], False), ([0, 0, 0], False), ([0, 1, 5], True), ([4, 4, 4], True)]
)  # fmt: skip
def test_beta_binomial_needs_one_interior_group(y, proper):
    frame = pd.DataFrame({"g": list("abc"), "y": y, "n": 5})
    model = hm.Model("y ~ 1 + (1 | g)", family="binomial", trials="n", priors={"g": "bda3()"})
    assert accepted(model, frame) == proper


@pytest.mark.parametrize(
    ("y", "proper"), [([0, 0, 0], False), ([0, 7, 0], False), ([1, 0, 1], True), ([3, 4, 4], True)]
)
def test_gamma_poisson_needs_two_positive_counts(y, proper):
    frame = pd.DataFrame({"g": list("abc"), "y": y, "x": [0.5, 1.0, 2.0]})
    model = hm.Model("y ~ 1 + (1 | g)", family="poisson", exposure="x", priors={"g": "bda3()"})
    assert accepted(model, frame) == proper


def test_flat_concentrations_and_means_are_refused_whatever_the_counts():
    frame = pd.DataFrame({"g": list("abcd"), "y": [3, 4, 2, 1], "n": 5})
    for prior in ("flat()", "power(1)", "power(0.5)"):
        assert not accepted(
            hm.Model("y ~ 1 + (1 | g)", family="binomial", trials="n", priors={"kappa_g": prior}), frame
        )
        assert not accepted(hm.Model("y ~ 1 + (1 | g)", family="poisson", priors={"shape_g": prior}), frame)
    assert not accepted(hm.Model("y ~ 1 + (1 | g)", family="poisson", priors={"mean_g": "flat()"}), frame)
    for priors in (
        {"mean_g": "log_normal(0, 1)", "shape_g": "half_normal_cv(1)"},
        {"mean_g": "gamma_rate(0.1, 1)", "shape_g": "exponential(1)"},
    ):
        assert accepted(hm.Model("y ~ 1 + (1 | g)", family="poisson", priors=priors), frame.assign(y=0))


# bad data, family by family
# ------------------------------------------------------------------------------------------------------------------

NORMAL = (
    hm.Model("y ~ 1 + (1 | g)", known_se="s", priors={"sd_g": "half_normal(5)"}),
    {"y": [1.0, 2.0, 4.0], "s": [1.0, 2.0, 3.0]},
)
BINOMIAL = (
    hm.Model("y ~ 1 + (1 | g)", family="binomial", trials="n", priors={"g": "bda3()"}),
    {"y": [1, 2, 3], "n": [5, 5, 5]},
)
POISSON = (
    hm.Model("y ~ 1 + (1 | g)", family="poisson", exposure="x", priors={"g": "bda3()"}),
    {"y": [1, 2, 3], "x": [1.0, 2.0, 3.0]},
)


@pytest.mark.parametrize(
    ("family", "changed", "message"),
    [
        (NORMAL, {"s": [1.0, 0.0, 3.0]}, r"column 's', row 1: expected a positive, finite standard error, found 0"),
        (NORMAL, {"s": [1.0, -2.0, 3.0]}, r"column 's', row 1: expected a positive, finite standard error, found -2"),
        (
            NORMAL,
            {"s": [1.0, np.inf, 3.0]},
            r"column 's', row 1: expected a positive, finite standard error, found inf",
        ),
        (NORMAL, {"y": [1.0, np.nan, 3.0]}, r"column 'y', row 1: expected a finite outcome, found nan"),
        (NORMAL, {"g": pd.Categorical(list("abc"), list("abcd"))}, r"column 'g': category 'd' has no row"),
        (NORMAL, {"g": ["a", None, "c"]}, r"column 'g', row 1: expected a group label, found a missing value"),
        (BINOMIAL, {"y": [1, 6, 3]}, r"column 'y', row 1: expected at most the row's trials, found 6"),
        (BINOMIAL, {"y": [1, -1, 3]}, r"column 'y', row 1: expected a count \(0, 1, 2, ...\), found -1"),
        (BINOMIAL, {"y": [1, 0.5, 3]}, r"column 'y', row 1: expected a count \(0, 1, 2, ...\), found 0.5"),
        (BINOMIAL, {"n": [5, 0, 5]}, r"column 'n', row 1: expected a positive, finite number of trials, found 0"),
        (BINOMIAL, {"n": [5, 4.5, 5]}, r"column 'n', row 1: expected a whole number of trials, found 4.5"),
        (BINOMIAL, {"g": pd.Categorical(list("abc"), list("abcd"))}, r"column 'g': category 'd' has no row"),
        (
            BINOMIAL,
            {"y": [0, 0, 0]},
            r"kappa_g: power\(1.5\) gives an improper posterior: at least 1 group\(s\) with 0 < y < trials",
        ),
        (POISSON, {"y": [1, -1, 3]}, r"column 'y', row 1: expected a count \(0, 1, 2, ...\), found -1"),
        (POISSON, {"y": [1, 2.5, 3]}, r"column 'y', row 1: expected a count \(0, 1, 2, ...\), found 2.5"),
        (POISSON, {"y": [1, np.nan, 3]}, r"column 'y', row 1: expected a finite outcome, found nan"),
        (POISSON, {"x": [1.0, 0.0, 3.0]}, r"column 'x', row 1: expected a positive, finite exposure, found 0"),
        (POISSON, {"x": [1.0, -1.0, 3.0]}, r"column 'x', row 1: expected a positive, finite exposure, found -1"),
        (POISSON, {"g": pd.Categorical(list("abc"), list("abcd"))}, r"column 'g': category 'd' has no row"),
        (
            POISSON,
            {"y": [0, 0, 0]},
            r"shape_g: power\(1.5\) gives an improper posterior: at least 2 group\(s\) with a positive count",
        ),
    ],
)
def test_bad_data_are_refused_with_column_and_row(family, changed, message):
    model, columns = family
    frame = pd.DataFrame({"g": list("abc"), **columns})
    bind(model, frame)
    with pytest.raises(ValueError, match=message):
        bind(model, frame.assign(**changed))


def test_all_zero_counts_of_one_rate():
    """No events: refused under a prior that is flat on the log scale, a posterior under Jeffreys' or a proper one."""
    frame = pd.DataFrame({"y": [0, 0], "x": [1.0, 2.0]})
    improper = hm.Model("y ~ 1", family="poisson", exposure="x", priors={"Intercept": "power(1)"})
    with pytest.raises(
        ValueError,
        match=r"data: every count is zero, so Intercept ~ power\(1\) gives an improper posterior; use a proper prior",
    ):
        bind(improper, frame)
    for prior in ("power(0.5)", "gamma(3, 5)", "exponential(1)"):
        bind(hm.Model("y ~ 1", family="poisson", exposure="x", priors={"Intercept": prior}), frame)
