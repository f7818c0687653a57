"""The hand-written functions: they simulate, refuse what they cannot do, and the table tells the truth about them."""

from __future__ import annotations

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from numpyro.infer.util import log_density

from hiermodels import families, priors
from hiermodels.models import catalogue
from hiermodels.models.coverage import table

SCHOOL = jnp.array([0, 0, 1, 1, 2, 2, 2])
ROOM = jnp.array([0, 1, 2, 2, 3, 4, 4])
PROPER = {"Intercept": "normal(50, 1)", "sigma": "half_normal(1)"}

ARGUMENTS = {
    "one_level": {"n": 7, **PROPER},
    "two_levels_known": {"se": jnp.full(7, 2.0), "Intercept": "normal(50, 1)", "sd_school": "half_normal(1)"},
    "two_levels": {"school": SCHOOL, "n_school": 3, **PROPER},
    "three_levels": {"school": SCHOOL, "classroom": ROOM, "n_school": 3, "n_classroom": 5, **PROPER},
    "varying_slopes": {
        "individual": SCHOOL,
        "n_individual": 3,
        "x": jnp.linspace(-1, 1, 7),
        "slope": "normal(0, 1)",
        **PROPER,
    },
    "beta_binomial": {"trials": jnp.full(7, 9.0), "mean_experiment": "beta(2, 2)", "kappa_experiment": "gamma(2, 0.1)"},
    "gamma_poisson": {"exposure": jnp.full(7, 3.0), "mean_county": "gamma(4, 1)", "shape_county": "exponential(0.1)"},
}


def run(name, key=0, **settings):
    seeded = numpyro.handlers.seed(getattr(catalogue, name), jax.random.key(key))
    return numpyro.handlers.trace(seeded).get_trace(**{**ARGUMENTS[name], **settings})


@pytest.mark.parametrize("name", catalogue.__all__)
class TestEveryFunction:
    @pytest.mark.slow_cases("beta_binomial")
    def test_simulates_and_conditions(self, name):
        first, second = run(name)["y"]["value"], run(name, key=1)["y"]["value"]
        assert first.shape == (7,) and np.isfinite(np.asarray(first)).all() and not np.array_equal(first, second)
        assert run(name, y=second)["y"]["is_observed"]

    def test_pooling_words(self, name):
        if "pooling" not in inspect.signature(getattr(catalogue, name)).parameters:
            assert not [k for k in run(name) if k.startswith("theta_")]
            return
        theta = next(k for k in run(name) if k.startswith("theta_"))
        assert np.unique(run(name, pooling="complete")[theta]["value"]).size == 1
        assert np.unique(run(name, pooling="partial")[theta]["value"]).size > 1
        with pytest.raises(ValueError, match="expected complete, none or partial, found 'partly'"):
            run(name, pooling="partly")

    def test_priors_are_records_or_text(self, name):
        key = next(iter(k for k in ARGUMENTS[name] if isinstance(ARGUMENTS[name][k], str)))
        record = priors.parse(ARGUMENTS[name][key])
        assert np.array_equal(run(name, **{key: record})["y"]["value"], run(name)["y"]["value"])
        with pytest.raises(ValueError, match=r"prior of \w+: unknown prior 'half_norml'; did you mean half_normal\?"):
            run(name, **{key: "half_norml(1)"})

    def test_has_a_display_and_a_place_in_the_table(self, name):
        assert "~" in (getattr(catalogue, name).__doc__ or "")
        assert any(name in row.values() for row in table())


def test_centred_and_plain_sites():
    assert "theta_school" in run("two_levels", centred=True) and "eta_school" not in run("two_levels", centred=True)
    plain = run("two_levels")
    expected = plain["Intercept"]["value"] + plain["sd_school"]["value"] * plain["eta_school"]["value"]
    np.testing.assert_allclose(plain["theta_school"]["value"], expected, rtol=1e-6)


def test_unpooled_classrooms_give_schools_their_mean():
    theta = jnp.array([1.0, 3.0, 10.0, 4.0, 8.0])
    values = {"theta_school:classroom": theta, "sigma": jnp.array(1.0)}
    model = numpyro.handlers.substitute(catalogue.three_levels, data=values)
    arguments = {k: v for k, v in ARGUMENTS["three_levels"].items() if k != "Intercept"}
    trace = numpyro.handlers.trace(numpyro.handlers.seed(model, 0)).get_trace(**arguments, pooling="none")
    np.testing.assert_allclose(trace["theta_school"]["value"], [2.0, 10.0, 6.0])
    assert "Intercept" not in trace


def test_partial_schools_above_unpooled_classrooms_are_refused():
    with pytest.raises(ValueError, match="school is partial above school:classroom, which is none"):
        run("three_levels", pooling={"school": "partial", "school:classroom": "none"})
    with pytest.raises(ValueError, match="no group term 'class' in the formula"):
        run("three_levels", pooling={"class": "none"})


def test_one_level_needs_rows():
    with pytest.raises(ValueError, match="expected y, se or n, found none of them"):
        run("one_level", n=None)


def test_eight_schools_density_by_hand():
    """The lecture's display, written with numpy."""
    y, se = np.array([28.0, 8, -3, 7, -1, 1, 18, 12]), np.array([15.0, 10, 16, 11, 9, 11, 10, 18])
    theta, mu, tau = np.linspace(-2, 12, 8), 5.0, 4.0

    def normal(x, m, s):
        return np.sum(-0.5 * ((x - m) / s) ** 2 - np.log(s) - 0.5 * np.log(2 * np.pi))

    with jax.enable_x64(True):
        values = {"Intercept": jnp.array(mu), "sd_school": jnp.array(tau), "theta_school": jnp.asarray(theta)}
        settings = {"centred": True, "Intercept": "normal(0, 10)", "sd_school": "half_normal(5)"}
        found, _ = log_density(catalogue.two_levels_known, (jnp.asarray(se), jnp.asarray(y)), settings, values)
        prior = normal(mu, 0, 10) + normal(tau, 0, 5) + np.log(2)
        assert float(found) == pytest.approx(normal(y, theta, se) + normal(theta, mu, tau) + prior, rel=1e-12)
        # reference(): p(tau) ~ tau sqrt(sum of w^2), flat mean: no term
        found, _ = log_density(catalogue.two_levels_known, (jnp.asarray(se), jnp.asarray(y)), {"centred": True}, values)
        prior = np.log(tau) + 0.5 * np.log(np.sum((se**2 + tau**2) ** -2))
        assert float(found) == pytest.approx(normal(y, theta, se) + normal(theta, mu, tau) + prior, rel=1e-12)


class TestTable:
    def test_every_cell_is_a_function_or_a_reason(self):
        words = ("complete", "none", "partial")
        for row in table():
            assert list(row) == ["levels", "family", "variance", *words]
            for word in words:
                cell = row[word]
                assert cell in catalogue.__all__ or cell == "build" or len(cell.split()) > 3, cell

    def test_covers_levels_families_and_variances(self):
        rows = [(r["levels"], r["family"], r["variance"]) for r in table()]
        kernels = {law.kernel: law for law in families.MENU.values()}.values()
        assert (
            len(set(rows))
            == len(rows)
            == 6 * 2 + sum(6 if not law.population.normal else 0 if law.conjugate else 3 for law in kernels)
        )
        assert {name for r in rows for name in r[1].split(", ")} == set(families.__all__)

    def test_cells_take_the_pooling_they_stand_under(self):
        for row in table():
            for word in ("complete", "none", "partial"):
                if row[word] in catalogue.__all__ and row[word] != "one_level":
                    assert "pooling" in inspect.signature(getattr(catalogue, row[word])).parameters
