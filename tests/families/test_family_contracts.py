"""Every family of the menu: density, simulator, SciPy law, source, derivatives and population are those of one law."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints
from numpyro.infer.util import log_density as log_density_of
from scipy import integrate, stats

from hiermodels import families
from hiermodels.families.family import Family
from hiermodels.families.rows import Columns, Rows
from hiermodels.models.outcomes import log_density
from hiermodels.models.styles import Latex, Plain
from hiermodels.quantities import support

NORMAL = [n for n, f in families.MENU.items() if f.population.normal]
CONJUGATE = [n for n, f in families.MENU.items() if not f.population.normal]
RATES = [n for n, f in families.MENU.items() if type(f).at_rate is not Family.at_rate and not f.own]
KNOWN = [False, True]
SOURCE = {"dist": dist, "jnp": jnp, "jax": jax, "constraints": constraints}
SIZE = np.array([1.0, 4.0, 9.0, 20.0])
WEIGHT = np.array([0.5, 1.0, 2.0, 4.0])
ETA = np.array([-1.1, 0.3, 0.8, -0.4])


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def rows_of(family, known=False):
    size = (
        np.ones(4)
        if family.outcome == "binary" or ("trials" not in family.columns and "exposure" not in family.columns)
        else SIZE
    )
    return Rows(WEIGHT if "weights" in family.columns else np.ones(4), size, known)


def values_of(family, known=False):
    return {q.name: np.array(q.planned + 0.3 * i) for i, q in enumerate(family.own_parameters(known))}


def outcomes(family, rows):
    if family.measured:
        return {
            "real": np.array([-2.0, 0.4, 1.7, 0.1]),
            "positive": np.array([0.05, 0.4, 4.7, 1.1]),
            "unit": np.array([0.02, 0.4, 0.97, 0.5]),
        }[family.link.kind]
    return (
        np.minimum(np.array([1.0, 2.0, 7.0, 3.0]), rows.size)
        if family.link.bounded
        else np.array([1.0, 2.0, 7.0, 30.0])
    )


def tolerance(family):
    """NumPyro's negative binomial law loses digits in its differences of log gammas."""
    return 1e-6 if any(q.role == "dispersion" for q in family.own) else 1e-9


def over_outcomes(family, function):
    """Sum or integral of a function of an outcome, shape (outcome, 1) -> (outcome, row), over all that a family has."""
    if not family.measured:
        return function(np.arange(4_000.0)[:, None]).sum(0)
    reach = 14 if family.link.identity else 34
    t = np.linspace(-reach, reach, 400_001)[:, None]
    if family.link.identity:
        return (function(np.sinh(t)) * np.cosh(t)).sum(0) * (t[1] - t[0])
    inside = t if family.link.kind != "unit" else np.clip(t, -30, 30)
    return (function(family.link.host_inverse(inside)) * family.link.slope(inside)).sum(0) * (t[1] - t[0])


@pytest.mark.parametrize("known", KNOWN)
@pytest.mark.parametrize("name", NORMAL)
class TestRowsAroundALinearPredictor:
    def family(self, name, known):
        family = families.MENU[name]
        if known and "known_se" not in family.columns:
            pytest.skip("no known variances")
        return family

    def test_numpyro_scipy_and_source_are_one_law(self, name, known):
        family = self.family(name, known)
        rows, values = rows_of(family, known), values_of(family, known)
        y = outcomes(family, rows)
        found = np.asarray(
            family.rows(jnp.asarray(ETA), values, Rows(*map(jnp.asarray, rows[:2]), known)).log_prob(jnp.asarray(y))
        )
        drawn = {n: v.reshape(1) for n, v in values.items()}
        np.testing.assert_allclose(
            found, log_density(family.host_rows(ETA[None], drawn, rows), y)[0], rtol=tolerance(family)
        )
        uses = {r for r in family.columns if r != "weights" or not known}
        columns = Columns(
            *(
                r if r in uses and (r != "known_se" or known) else ""
                for r in ("known_se", "weights", "trials", "exposure")
            )
        )
        given = {
            "known_se": WEIGHT**-0.5,
            "weights": WEIGHT,
            "trials": rows.size.astype(int),
            "exposure": rows.size,
            "eta": ETA,
        } | values
        written = eval(family.source("eta", columns, str), SOURCE | given)
        np.testing.assert_allclose(np.asarray(written.log_prob(jnp.asarray(y))), found, rtol=1e-9)

    def test_law_has_a_total_of_one_and_draws_what_it_says(self, name, known):
        family = self.family(name, known)
        rows, values = rows_of(family, known), values_of(family, known)
        law = family.host_rows(ETA, {n: v.reshape(1) for n, v in values.items()} if values else values, rows)
        total = over_outcomes(family, lambda y: np.exp(log_density(law, y)))
        np.testing.assert_allclose(total, 1, atol=1e-6)
        draws = np.asarray(
            family.rows(jnp.asarray(ETA), values, Rows(*map(jnp.asarray, rows[:2]), known)).sample(
                jax.random.key(2), (20_000,)
            ),
            float,
        )
        mean, sd = law.mean().reshape(-1), law.std().reshape(-1)
        assert np.all(np.abs(draws.mean(0) - mean) < 5 * sd / np.sqrt(20_000) + 1e-12)
        if np.all(np.isfinite(sd)) and not family.link.identity:
            np.testing.assert_allclose(draws.std(0), sd, rtol=0.06)

    def test_score_and_information_are_derivatives(self, name, known):
        family = self.family(name, known)
        rows, values = rows_of(family, known), values_of(family, known)
        drawn, y = {n: v.reshape(1) for n, v in values.items()}, outcomes(family, rows)
        information = family.information(ETA[None], drawn, rows)
        step = 1e-5
        up, down = (log_density(family.host_rows(ETA[None] + s, drawn, rows), y) for s in (step, -step))
        np.testing.assert_allclose(
            family.score(y, ETA[None], drawn, rows, information), (up - down) / (2 * step), rtol=1e-6, atol=1e-8
        )
        law = family.host_rows(ETA[None], drawn, rows)
        expected = over_outcomes(
            family, lambda y: np.exp(log_density(law, y)) * family.score(y, ETA[None], drawn, rows, information) ** 2
        )
        np.testing.assert_allclose(np.broadcast_to(information, (1, 4))[0], expected, rtol=1e-5)

    def test_residual_variance(self, name, known):
        family = self.family(name, known)
        drawn = {n: v.reshape(1) for n, v in values_of(family, known).items()}
        found = family.residual_variance(drawn, WEIGHT, known)
        if found is None:
            return
        if family.link.identity:
            flat = Rows(np.full(4, WEIGHT.mean()), SIZE, known)
            np.testing.assert_allclose(
                np.broadcast_to(found, 1), family.host_rows(ETA[None], drawn, flat).var()[0, 0], rtol=1e-9
            )
        elif family.measured:  # of the outcome itself on that scale
            law, linked = (
                family.host_rows(ETA[None], drawn, rows_of(family)),
                lambda y: family.link.host_forward(np.clip(y, 1e-300, None)),
            )
            mean, square = (
                over_outcomes(family, lambda y, k=k: np.exp(log_density(law, y)) * linked(y) ** k) for k in (1, 2)
            )
            np.testing.assert_allclose(np.broadcast_to(found, 4), square - mean**2, rtol=1e-6)
        else:
            assert found == pytest.approx(stats.logistic.var())

    def test_truths_by_shares(self, name, known):
        family = self.family(name, known)
        found = family.sds_of({"a": 0.1, "b": 0.3}, 2.0)
        if family.link.kind == "positive":  # coefficients of variation of a log-normal rate
            assert {n: math.sqrt(math.expm1(sd**2)) for n, sd in found.items()} == pytest.approx({"a": 0.1, "b": 0.3})
        else:
            total = 2.0 + sum(sd**2 for sd in found.values())
            assert {n: sd**2 / total for n, sd in found.items()} == pytest.approx({"a": 0.1, "b": 0.3})

    def test_shown_in_text_and_latex(self, name, known):
        family = self.family(name, known)
        asked = {"known_se"} if known else set(family.columns) - {"known_se"}
        columns = Columns(*(f"COLUMN_{r}" if r in asked else "" for r in ("known_se", "weights", "trials", "exposure")))
        for style in (Plain(), Latex()):
            shown = family.shown(style, "ETA", columns)
            own = [style.own(q) for q in family.own_parameters(known)]
            assert all(word in shown for word in ("ETA", *filter(None, columns), *own))
            is_one_law(style, shown)
            if "known_se" in family.columns:
                scale = style.square("COLUMN_known_se" if known else style.own(families.MENU[name].own[0]))
                assert family.scale_shown(style, columns) == (scale if known else style.ratio(scale, "COLUMN_weights"))
                assert family.scale_source(columns, "s") == (
                    "COLUMN_known_se" if known else "s * COLUMN_weights ** -0.5"
                )


def is_one_law(style, shown):
    """A name with its arguments in brackets, and nothing before or after."""
    left, right = ("(", ")") if isinstance(style, Plain) and not isinstance(style, Latex) else ("\\left(", "\\right)")
    name, _, rest = shown.partition(left)
    assert (
        rest.endswith(right)
        and shown.count("(") == shown.count(")")
        and name.replace("\\mathrm{", "").rstrip("}").isalpha()
    ), shown


@pytest.mark.parametrize("name", families.MENU)
def test_outcomes_at_and_beyond_the_ends_are_refused(name):
    """Measurements lie inside the range of their mean; counts are whole and lie in the range of their law."""
    family = families.MENU[name]
    if family.measured:
        low, high = support(family.link.kind)
        inside = outcomes(family, rows_of(family))
        y = np.array([*inside, *(x for x in (low, high, low - 1, high + 1) if np.isfinite(x))])
        expected = [False] * len(inside) + [True] * (len(y) - len(inside))
    else:
        y, expected = np.array([0.0, 1.0, -1.0, 0.5]), [False, False, True, True]
    bad = np.any([np.zeros(len(y), bool), *(found.bad for found in family.refused(y, np.ones(len(y))))], axis=0)
    assert bad.tolist() == expected


@pytest.mark.parametrize("name", families.MENU)
def test_sums_speak_of_the_linear_predictor(name):
    family, large = families.MENU[name], 1e9
    mean = family.link.host_inverse(ETA)
    for xp in (np, jnp):
        np.testing.assert_allclose(family.empirical(mean * large, np.full(4, large), xp), ETA, rtol=1e-6)
    assert float(family.pooled(mean[0] * large, large)) == pytest.approx(mean[0], rel=1e-6)
    if family.measured:
        np.testing.assert_allclose(family.told(SIZE, mean), SIZE)
        assert family.informative(*family.counted(mean, np.ones(4))).all() and family.local
    else:
        np.testing.assert_allclose(
            family.told(SIZE, mean), SIZE * family.link.slope(ETA) ** 2 / family_variance(family, mean), rtol=1e-9
        )
        assert not family.local


@pytest.mark.parametrize("name", RATES)
class TestRowsAtARate:
    def rate(self, family):
        return np.array([0.2, 0.5, 0.7, 0.35]) * (1 if family.link.bounded else 3)

    def test_one_law(self, name):
        family = families.MENU[name]
        rows, rate = rows_of(family), self.rate(family)
        y = outcomes(family, rows)
        found = np.asarray(family.at_rate(jnp.asarray(rate), jnp.asarray(rows.size)).log_prob(jnp.asarray(y)))
        np.testing.assert_allclose(found, log_density(family.host_at_rate(rate, rows.size), y), rtol=1e-9)
        np.testing.assert_allclose(
            family.host_at_rate(rate, rows.size).mean(), rows.size * family.mean_at_rate(rate), rtol=1e-9
        )
        np.testing.assert_allclose(
            family.log_kernel(y, rate, rows.size) + family.log_constant(y, rows.size), found, rtol=1e-9
        )
        np.testing.assert_allclose(
            family.log_constant(jnp.asarray(y), jnp.asarray(rows.size)), family.log_constant(y, rows.size), rtol=1e-9
        )
        columns = Columns(
            trials="n" if "trials" in family.columns else "", exposure="n" if "exposure" in family.columns else ""
        )
        written = eval(
            family.source_at_rate("rate", columns),
            SOURCE | {"n": rows.size if family.link.kind == "positive" else rows.size.astype(int), "rate": rate},
        )
        np.testing.assert_allclose(np.asarray(written.log_prob(jnp.asarray(y))), found, rtol=1e-9)
        for style in (Plain(), Latex()):
            is_one_law(style, family.shown_at_rate(style, "RATE", columns))
            assert "RATE" in family.shown_at_rate(style, "RATE", columns)
        if type(family).host_rows is not Family.host_rows:
            around = family.host_rows(np.asarray(family.link.forward(jnp.asarray(rate))), {}, rows)
            np.testing.assert_allclose(log_density(around, y), found, rtol=1e-9)

    def test_draws(self, name):
        family = families.MENU[name]
        rows, rate = rows_of(family), self.rate(family)
        law = family.host_at_rate(rate, rows.size)
        draws = jax.vmap(lambda k: family.draw(k, jnp.asarray(rate), jnp.asarray(rows.size)))(
            jax.random.split(jax.random.key(3), 20_000)
        )
        host = family.host_draw(np.random.default_rng(1), np.broadcast_to(rate, (20_000, 4)), rows.size)
        for x in (np.asarray(draws), host):
            assert np.all(np.abs(x.mean(0) - law.mean()) < 5 * law.std() / np.sqrt(20_000))
            np.testing.assert_allclose(x.std(0), law.std(), rtol=0.05)
        assert float(family.draw(jax.random.key(0), jnp.array(0.5), jnp.array(0.0))) == 0

    def test_informative_counts_have_an_inner_maximum(self, name):
        family = families.MENU[name]
        grid = np.linspace(1e-4, 1 - 1e-4 if family.link.bounded else 50, 5_001)
        for y, size in ((0.3, 1.0), (2.0, 1.0)) if family.measured else ((0.0, 5.0), (2.0, 5.0), (5.0, 5.0)):
            best = int(np.argmax(family.log_kernel(jnp.asarray(y), jnp.asarray(grid), jnp.asarray(size))))
            assert bool(family.informative(*family.counted(np.asarray(y), np.asarray(size)))) == (
                0 < best < len(grid) - 1
            )

    def test_outcomes_that_have_no_probability_are_refused(self, name):
        family = families.MENU[name]
        y = np.array([0.0, 1.0, -1.0, 0.5])
        bad = np.any([found.bad for found in family.refused(y, np.ones(4))], axis=0)
        none = np.isneginf(log_density(family.host_at_rate(np.full(4, 0.4), np.ones(4)), y))
        assert np.all(bad[none]) if family.measured else np.all(bad == none)


@pytest.mark.parametrize("name", CONJUGATE)
class TestPopulations:
    M, A = np.array([0.3, 0.6]), np.array([7.0, 2.5])

    def test_one_law(self, name):
        population, m, a = families.MENU[name].population, self.M, self.A
        law, component = (
            population.law(jnp.asarray(m), jnp.asarray(a)),
            population.component(jnp.asarray(m), jnp.asarray(a)),
        )
        mean, variance = component.moments()
        np.testing.assert_allclose(law.mean, m, rtol=1e-12)
        np.testing.assert_allclose([mean, variance], [law.mean, law.variance], rtol=1e-12)
        written = eval(population.source("m", "a"), SOURCE | {"m": m, "a": a})
        x = np.array([0.21, 0.43])
        np.testing.assert_allclose(written.log_prob(x), law.log_prob(x), rtol=1e-12)
        np.testing.assert_allclose(
            population.frozen(np.asarray(component.a), np.asarray(component.b)).logpdf(x), law.log_prob(x), rtol=1e-9
        )
        host = population.host_draws(np.random.default_rng(0), np.broadcast_to(m, (20_000, 2)), a)
        drawn = jax.vmap(lambda k: component.draw(k))(jax.random.split(jax.random.key(1), 20_000))
        for found in (host, np.asarray(drawn)):
            assert np.all(np.abs(found.mean(0) - m) < 5 * np.sqrt(law.variance / 20_000))
            np.testing.assert_allclose(found.std(0), np.sqrt(law.variance), rtol=0.04)

    def test_shown_in_text_and_latex(self, name):
        population = families.MENU[name].population
        for style in (Plain(), Latex()):
            prior = families.MENU[name].unpooled
            shown, unpooled = population.shown(style, "MEAN", "SIZE"), population.unpooled_shown(style, prior)
            is_one_law(style, shown)
            is_one_law(style, unpooled)
            assert "MEAN" in shown and shown.count("SIZE") == 2 and all(f"{a:g}" in unpooled for a in prior)

    def test_marginal_posterior_and_prediction_by_quadrature(self, name):
        family = families.MENU[name]
        population, m, a = family.population, 0.3, 4.0
        y, size = (0.7, 1.0) if family.measured else (3.0, 8.0 if family.link.bounded else 6.0)
        events, exposure = (float(x) for x in family.counted(np.asarray(y), np.asarray(size)))
        law = population.law(jnp.asarray(m), jnp.asarray(a))
        high = 1.0 if family.link.bounded else 20.0

        def joint(t):
            return float(jnp.exp(law.log_prob(t))) * float(
                np.exp(log_density(family.host_at_rate(np.asarray(t), np.asarray(size)), y))
            )

        total = integrate.quad(joint, 0, high)[0]
        mean = integrate.quad(lambda t: t * joint(t), 0, high)[0] / total
        found = population.log_marginal(
            np.array(m), np.array(a), np.array(events), np.array(exposure)
        ) + family.log_constant(np.array(y), np.array(size))
        assert float(found) == pytest.approx(math.log(total), rel=1e-6)
        weight = float(population.weight(np.array(m), np.array(a), np.array(exposure)))
        assert weight * m + (1 - weight) * events / exposure == pytest.approx(mean, rel=1e-6)
        component = population.component(jnp.asarray(m), jnp.asarray(a))
        new = family.predictive(float(component.a), float(component.b), size)
        assert float(log_density(new, y)) == pytest.approx(math.log(total), rel=1e-6)
        own = population.own(events, exposure)
        likelihood = [
            float(np.exp(log_density(family.host_at_rate(np.asarray(t), np.asarray(size)), y))) for t in (0.2, 0.4)
        ]
        assert own.pdf(0.4) / own.pdf(0.2) == pytest.approx(likelihood[1] / likelihood[0], rel=1e-9)

    def test_share_is_that_of_the_variance_between_groups(self, name):
        """Var E[y | theta] / Var y: of one trial, or of the count of a row; of measurements on the scale of the
        link.
        """
        family, m, a = families.MENU[name], 0.3, 4.0
        size = 1.0 if family.link.bounded else 2.5
        _, between = family.population.component(jnp.asarray(m), jnp.asarray(a)).moments()
        law = family.host_at_rate(np.asarray(m), np.asarray(size))
        within = float(law.var()) - (float(between) if family.link.bounded else 0.0)
        share = size**2 * float(between) / (size**2 * float(between) + within)
        if family.measured:
            law, one = (
                family.population.law(jnp.asarray(m), jnp.asarray(a)),
                family.host_at_rate(np.ones(1), np.ones(1)),
            )
            densities = (
                (lambda t: np.exp(np.asarray(law.log_prob(jnp.asarray(t))))),
                (lambda y: np.exp(log_density(one, y))),
            )
            moments = [
                [
                    float(over_outcomes(family, lambda t, f=f, k=k: f(t) * family.link.host_forward(t) ** k)[0])
                    for k in (1, 2)
                ]
                for f in densities
            ]
            between, within = (square - mean**2 for mean, square in moments)
            share = between / (between + within)
        assert float(family.share(np.array(m), np.array(a), size)) == pytest.approx(
            share, rel=1e-7 if family.measured else 1e-9
        )

    def test_moments_of_mean_outcomes_end_where_the_rate_goes_to_zero(self, name):
        """E[mean(theta)^r] exists iff mean^r theta^(a - 1) is integrable at 0: r times the power by which the mean
        rises there is below a.
        """
        family, rate = families.MENU[name], np.array([1e-9, 2e-9])
        rise = -float(np.diff(np.log(family.mean_at_rate(rate)))[0]) / math.log(2)
        a = np.array([0.5, 3.0])
        np.testing.assert_allclose(family.moments_below(a), a / rise if rise > 0 else [np.inf, np.inf])

    def test_one_rate_has_the_prior_of_unpooled_groups(self, name):
        family = families.MENU[name]
        assert family.population.default_mean(family.unpooled).conjugate(family.link.kind) == family.unpooled
        free = family.population.default_mean(None)
        assert free.conjugate(family.link.kind) == ((1.0, 1.0) if family.link.bounded else (0.0, 0.0))

    def test_unpooled_groups_have_jeffreys_prior(self, name):
        """Density proportional to the root of the information of one trial or unit of exposure."""
        family = families.MENU[name]
        x = np.array([0.2, 0.5, 0.9])
        law, extra = family.population.unpooled_law(3, family.unpooled)
        density = np.asarray(law.log_prob(jnp.asarray(x)) if extra is None else extra(jnp.asarray(x)))
        here, up, down = (family.host_at_rate(x + step, np.ones(3)) for step in (0.0, 1e-5, -1e-5))

        def squares(y):
            log_ratio = np.where(np.isfinite(log_density(here, y)), log_density(up, y) - log_density(down, y), 0.0)
            return np.exp(log_density(here, y)) * (log_ratio / 2e-5) ** 2

        with np.errstate(invalid="ignore"):
            information = over_outcomes(family, squares)
        np.testing.assert_allclose(np.diff(density - 0.5 * np.log(information)), 0, atol=1e-6)
        if not family.measured:  # the information of a count is 1 over its variance
            np.testing.assert_allclose(np.diff(density + 0.5 * np.log(here.var())), 0, atol=1e-9)
        first, second = family.unpooled
        kernel = (first - 1) * np.log(x) + ((second - 1) * np.log1p(-x) if family.link.bounded else -second * x)
        np.testing.assert_allclose(np.diff(density - kernel), 0, atol=1e-9)
        lines = "\n".join(family.population.unpooled_lines("v", "theta_g", "3", family.unpooled))

        def written():
            exec(lines, SOURCE | {"numpyro": numpyro})

        totals = [float(log_density_of(written, (), {}, {"theta_g": jnp.asarray(t)})[0]) for t in (x, x + 0.05)]
        expected = [
            float((np.asarray(law.log_prob(t)) if extra is None else np.asarray(extra(t))).sum())
            for t in (jnp.asarray(x), jnp.asarray(x + 0.05))
        ]
        assert totals[1] - totals[0] == pytest.approx(expected[1] - expected[0], rel=1e-9)


@pytest.mark.parametrize("name", families.MENU)
class TestLinks:
    def test_forward_inverse_and_their_sources(self, name):
        link, eta = families.MENU[name].link, ETA
        mean = np.asarray(link.inverse(jnp.asarray(eta)))
        np.testing.assert_allclose(link.forward(jnp.asarray(mean)), eta, rtol=1e-12)
        np.testing.assert_allclose(link.host_inverse(eta), mean, rtol=1e-12)
        np.testing.assert_allclose(link.host_forward(mean), eta, rtol=1e-12)
        np.testing.assert_allclose(eval(link.inverse_source("e"), SOURCE | {"e": eta}), mean, rtol=1e-12)
        np.testing.assert_allclose(eval(link.forward_source("m"), SOURCE | {"m": mean}), eta, rtol=1e-12)
        step = 1e-6
        np.testing.assert_allclose(
            link.slope(eta), (link.host_inverse(eta + step) - link.host_inverse(eta - step)) / (2 * step), rtol=1e-8
        )


def family_variance(family, mean):
    return mean * (1 - mean) if family.link.bounded else mean


@pytest.mark.parametrize("name", families.MENU)
def test_own_parameters_have_priors_that_fit(name):
    for q in families.MENU[name].own:
        low, high = q.support
        assert q.kind in q.default.kinds and low < q.start < high and low < q.planned < high


def test_a_family_is_looked_up_by_its_name():
    assert families.lookup("poisson") is families.poisson is families.MENU["poisson"]
    assert families.poisson == type(families.poisson)() and hash(families.poisson) == hash(type(families.poisson)())
    with pytest.raises(ValueError, match="unknown family 'gaussian'; it is called 'normal' here"):
        families.lookup("gaussian")
