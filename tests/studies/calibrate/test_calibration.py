"""Calibration: tests of uniformity against their own laws, planted bugs, every model with partial pooling."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import hiermodels as hm
from hiermodels.inference.diagnostics import ess_tail
from hiermodels.inference.draws import Draws
from hiermodels.inference.exact import ExactSettings, exact, sample_nodes
from hiermodels.models.data import as_jax, bind
from hiermodels.models.factorise import factorise
from hiermodels.studies.calibrate import pooled_tests, sbc_runs, sbc_tests
from hiermodels.studies.calibrate.calibration import calibration, posterior_sbc, sbc
from hiermodels.studies.calibrate.sbc import log_likelihood
from hiermodels.studies.config import read_config
from hiermodels.studies.methods.tasks import run_chunk

EIGHT = hm.Model(
    "effect ~ 1 + (1 | school)", known_se="se", priors={"Intercept": "normal(0, 20)", "sd_school": "half_normal(10)"}
)


# tests of uniformity
# ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [30, 200])
def test_the_ecdf_bands_probability_is_that_of_simulated_uniforms(n):
    z, lower, upper = sbc_tests.ecdf_band(n, 0.9)
    u = np.sort(np.random.default_rng(n).random((20_000, n)), 1)
    ecdf = np.stack([np.searchsorted(row, z, side="right") for row in u]) / n
    inside = np.mean(((ecdf >= lower - 1e-12) & (ecdf <= upper + 1e-12)).all(1))
    assert 0.9 - 4 * math.sqrt(0.09 / 20_000) < inside < 0.93  # counts are whole numbers: a little more than asked for


def test_the_ecdf_band_is_that_of_arviz():
    from arviz_stats.ecdf_utils import ecdf_pit

    n = 150
    at, _, low, high = ecdf_pit(np.linspace(0, 1, n), 0.95, 4000)
    z, lower, upper = sbc_tests.ecdf_band(n, 0.95, points=n)
    # theirs is simulated: its pointwise level is known to about a tenth, which moves an end by one count at most
    assert np.abs(np.interp(z, at, low) - lower).max() < 1.6 / n
    assert np.abs(np.interp(z, at, high) - upper).max() < 1.6 / n


@pytest.mark.parametrize("test", [sbc_tests.chi_square, sbc_tests.smooth, sbc_tests.ecdf_test])
def test_p_values_of_independent_pits_are_uniform_enough(test):
    rng = np.random.default_rng(3)
    p = np.array([test(rng.random(100)).p for _ in range(2000)])
    for level in (0.5, 0.1, 0.01):
        hits = int((p <= level).sum())
        assert stats.binom.sf(hits - 1, 2000, level) > 1e-4, (level, hits)  # never too often
    assert (p <= 0.2).mean() > 0.1  # and not hardly ever


@pytest.mark.parametrize("test", [pooled_tests.pooled_chi_square, pooled_tests.pooled_smooth, pooled_tests.pooled_ecdf])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_p_values_of_pooled_groups_take_the_replicate_as_their_unit(test, share):
    """Groups from independent to identical within a replicate: the size holds, where pooling as if independent
    fails.
    """
    rng, p, naive = np.random.default_rng(7), [], []
    for _ in range(600):
        common, own = rng.normal(size=(200, 1)), rng.normal(size=(200, 10))
        u = stats.norm.cdf(math.sqrt(share) * common + math.sqrt(1 - share) * own)
        p.append(test(u).p)
        naive.append(sbc_tests.chi_square(u.ravel()).p)
    for level in (0.1, 0.01):
        hits = int((np.array(p) <= level).sum())
        # an F and a normal law for shares: at most a half above the nominal level
        assert stats.binom.sf(hits - 1, 600, 1.5 * level) > 1e-4, (level, hits)
    if share:
        assert np.mean(np.array(naive) <= 0.01) > 0.1


def test_the_chi_square_statistic_is_scipys():
    u = np.random.default_rng(1).random(500)
    counts = np.histogram(u, np.linspace(0, 1, 21))[0]
    assert sbc_tests.chi_square(u).p == pytest.approx(stats.chisquare(counts).pvalue, rel=1e-10)


def test_holm_is_by_hand():
    assert sbc_tests.holm([0.04, 0.01, 0.03]).tolist() == pytest.approx([0.06, 0.03, 0.06])


def test_trap_8_ranks_of_autocorrelated_draws_are_thinned_and_ties_are_broken_at_random():
    """Ranks among chains with autocorrelation .9 as they are fail; on the lattice of their tail ESS, or thinned, they
    pass.
    """
    n, length, rho = 4000, 400, 0.9
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(length, n)) * math.sqrt(1 - rho**2)
    x = np.empty((length, n))
    x[0] = rng.normal(size=n)
    for t in range(1, length):
        x[t] = rho * x[t - 1] + noise[t]
    truth = rng.normal(size=n)
    rows = pd.DataFrame(
        {"rep": range(n), "method": "m", "estimand": "mu", "group": "", "rank": (x < truth).sum(0), "max_rank": length}
    )
    assert not calibration(rows).passes(1e-3)
    tail = float(np.mean([ess_tail(jnp.asarray(x[:, i].reshape(4, -1))) for i in range(0, n, 400)]))
    assert calibration(rows.assign(ess_tail=tail)).passes(1e-3)
    kept = x[:: math.ceil((1 + rho) / (1 - rho))]
    assert sbc_tests.ecdf_test(sbc_tests.pit((kept < truth).sum(0), len(kept), rng)).p > 1e-3

    # ties: truths and draws on two points
    truth, draws = rng.integers(0, 2, n), rng.integers(0, 2, (99, n))
    below, equal = (draws < truth).sum(0), (draws == truth).sum(0)
    u = sbc_tests.pit(below + np.floor(rng.random(n) * (equal + 1)), 99, rng)
    assert sbc_tests.ecdf_test(u).p > 1e-4
    assert sbc_tests.ecdf_test(sbc_tests.pit(below, 99, rng)).p < 1e-6


# a study's table
# -------------------------------------------------------------------------------------------------------


def prior_study(replications: int) -> dict:
    priors = {"Intercept": "normal(0, 20)", "sd_school": "half_normal(10)"}
    narrow = {"Intercept": "normal(0, 20)", "sd_school": "half_normal(2)"}
    return {
        "mechanisms": {
            "formula": "effect ~ 1 + (1 | school)",
            "known_se": "se",
            "design": "eight_schools",
            "truth": priors,
        },
        "estimands": ["Intercept", "sd_school", "theta_school"],
        "methods": {"right": {"sampler": "exact", "priors": priors}, "narrow": {"sampler": "exact", "priors": narrow}},
        "performance": ["cover"],
        "replications": replications,
        "failures": "complete-case",
        "seed": 11,
    }


@pytest.mark.slow
def test_a_run_in_the_prior_regime_is_tested_and_another_prior_is_found_out(tmp_path):
    run = hm.run(prior_study(1500), tmp_path / "run", progress=False)
    found = calibration(run)
    table = found.table
    assert list(table.columns) == [
        "method",
        "estimand",
        "group",
        "test",
        "statistic",
        "p",
        "p_joint",
        "n_sim",
        "n_failed",
    ]
    assert len(table) == 2 * 3 * 3  # methods, estimands, tests
    right = table[table["method"] == "right"]
    assert (right["p_joint"] > 0.01).all()
    assert not found.passes(0.01)
    assert (table.query("method == 'narrow' and estimand == 'sd_school'")["p_joint"] < 1e-6).all()
    stored = pd.read_csv(run.path / "calibration.csv", keep_default_na=False, na_values=["NA"])
    assert stored["p"].to_numpy() == pytest.approx(table["p"].to_numpy())
    shuffled = calibration(run.estimates.sample(frac=1, random_state=1)).table
    merged = table.merge(shuffled, on=["method", "estimand", "group", "test"])
    assert merged["p_x"].to_numpy() == pytest.approx(merged["p_y"].to_numpy(), rel=1e-9)


@pytest.mark.slow
def test_a_run_with_fixed_truths_is_not_tested(tmp_path):
    study = prior_study(8)
    study["mechanisms"]["truth"] = {"Intercept": 8, "sd_school": 10}
    run = hm.run(study, tmp_path / "run", progress=False)
    with pytest.raises(ValueError, match="regime: prior"):
        calibration(run)
    assert not (run.path / "calibration.csv").exists()


# planted bugs
# ----------------------------------------------------------------------------------------------------------


def two_levels(groups: int) -> tuple[hm.Model, pd.DataFrame]:
    frame = pd.DataFrame({"group": [f"g{i}" for i in range(groups)], "se": np.linspace(0.6, 1.4, groups)})
    return hm.Model(
        "y ~ 1 + (1 | group)", known_se="se", priors={"Intercept": "normal(0, 1)", "sd_group": "half_normal(1)"}
    ), frame


def by_hand(model, frame, factor, draws=80):
    """Exact draws of phi, then theta given phi with its conditional variance multiplied by a factor."""
    layout = bind(model, frame, outcome=False).layout
    law = factorise(layout)

    class Scaled:
        def __getattr__(self, name):
            return getattr(law, name)

        def draw(self, key, u, stats):
            values = law.draw(key, u, stats)
            mean = law.components(u, stats, ("theta_group",))["theta_group"].a
            return {**values, "theta_group": mean + math.sqrt(factor) * (values["theta_group"] - mean)}

    def sample(key, data):
        summary = law.prepare(data)
        nodes = exact(law, ExactSettings("study"))(key, summary)
        return Draws(sample_nodes(Scaled(), nodes, summary, key, 2, draws), {})

    return sample


@pytest.mark.slow
def test_a_conditional_variance_wrong_by_half_is_caught():
    model, frame = two_levels(20)
    found = sbc(model, frame, sampler=by_hand(model, frame, 1.5), replications=300)
    rows = found.table.query("estimand == 'theta_group'")
    assert (rows.query("test != 'averaged'")["p"] < 0.01).all()


@pytest.mark.slow
def test_a_conditional_variance_wrong_by_a_tenth_is_caught_95_times_in_100_at_a_failure_rate_of_1_percent():
    """Power by repetition: 60 calibrations of 2,000 datasets with 20 groups each, of two wrong samplers and of the
    right one.
    """
    model, frame = two_levels(20)
    repeats, each = 60, 2000
    failed = {}
    for factor in (1.1, 0.9, 1.0):
        found = sbc(model, frame, sampler=by_hand(model, frame, factor), replications=repeats * each)
        blocks = found.pit("theta_group").reshape(repeats, each, 20)
        failed[factor] = [
            sum(test(u).p < 0.01 for u in blocks) for test in (pooled_tests.pooled_smooth, pooled_tests.pooled_ecdf)
        ]
    assert min(failed[1.1] + failed[0.9]) >= 0.95 * repeats, failed
    assert all(stats.binom.sf(count - 1, repeats, 0.01) > 1e-3 for count in failed[1.0]), failed


def from_prior(key, data):
    """Draws that ignore the data."""
    a, b, c = jax.random.split(key, 3)
    mu, tau = 20 * jax.random.normal(a, (2, 50)), 10 * jnp.abs(jax.random.normal(b, (2, 50)))
    theta = mu[..., None] + tau[..., None] * jax.random.normal(c, (2, 50, data.real[0].shape[0]))
    return Draws({"Intercept": mu, "sd_school": tau, "theta_school": theta}, {})


@pytest.mark.slow
def test_a_sampler_that_ignores_the_data_is_caught_by_the_log_likelihood_alone():
    table = sbc(EIGHT, "eight_schools", sampler=from_prior, replications=400).table.set_index(["estimand", "test"])
    for name in ("Intercept", "sd_school", "theta_school"):
        assert (table.loc[name, "p"] > 1e-3).all(), name
    assert table.loc[("log_likelihood", "chi2"), "p"] < 1e-12


@pytest.mark.slow
def test_the_data_averaged_posterior_finds_a_shift():
    def shifted(key, data):
        good = sampler(key, data)
        return Draws({**good.values, "Intercept": good.values["Intercept"] + 8.0}, {})

    from hiermodels.inference.samplers import Settings
    from hiermodels.inference.samplers import sampler as make

    sampler = make(
        bind(EIGHT, hm.load_dataset("eight_schools"), outcome=False).layout,
        Settings("exact", draws=50, chains=2, accuracy="study"),
    )
    table = sbc(EIGHT, "eight_schools", sampler=shifted, replications=400).table.set_index(["estimand", "test"])
    assert table.loc[("Intercept", "averaged"), "p"] < 1e-6
    assert table.loc[("sd_school", "averaged"), "p"] > 1e-3


@pytest.mark.slow
def test_replicates_are_left_out_by_rules_that_look_at_the_data_alone():
    found = sbc(
        EIGHT, "eight_schools", sampler="exact", draws=25, replications=1200, keep=lambda data: jnp.max(data.y) > 20
    )
    left = found.table["n_sim"].iloc[0]
    assert 300 < left < 1000
    assert found.passes(1e-3)
    assert any("data alone" in note for note in found.notes)


# quantities and trees
# --------------------------------------------------------------------------------------------------


def test_the_log_likelihood_is_that_of_scipy():
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(
        {
            "school": np.repeat(["a", "b", "c"], 4),
            "classroom": list("xxyy") * 3,
            "x": rng.normal(size=12),
            "y": rng.normal(size=12),
        }
    )
    model = hm.Model("y ~ 1 + x + (1 + x | school) + (1 | school:classroom)")
    with jax.enable_x64(True):
        problem = bind(model, frame, outcome=True)
        data = as_jax(problem.data)
        values = {"Intercept": 1.0, "x": 0.5, "sigma": 0.7}
        theta = {
            "theta_school": rng.normal(size=3),
            "theta_school_x": rng.normal(size=3),
            "theta_school:classroom": rng.normal(size=6),
        }
        sizes = {n: level.size for level in problem.layout.levels for n in problem.layout.effect_names(level)}
        padded = {
            n: jnp.zeros(sizes[n]).at[problem.positions["school:classroom" if "classroom" in n else "school"]].set(t)
            for n, t in theta.items()
        }
        got = log_likelihood(problem.layout)({**values, **padded}, data)
    room = (frame["school"] + frame["classroom"]).map(
        {k: i for i, k in enumerate(dict.fromkeys(frame["school"] + frame["classroom"]))}
    )
    mean = (
        theta["theta_school:classroom"][room]
        + theta["theta_school_x"][frame["school"].map({"a": 0, "b": 1, "c": 2})] * frame["x"]
    )
    assert float(got) == pytest.approx(
        stats.norm.logpdf(frame["y"], mean, 0.7).sum() + 6 * math.log(2 * math.pi), rel=1e-10
    )


@pytest.fixture(scope="module")
def eight():
    return sbc(EIGHT, "eight_schools", sampler="exact", replications=200, draws=25)


def test_arviz_reads_the_groups(eight):
    import arviz_plots

    tree = eight.to_datatree()
    assert tree["prior_sbc"]["theta_school"].dims == ("chain", "draw", "theta_school_dim")
    assert list(tree["prior_sbc"]["theta_school_dim"].to_numpy()) == list("ABCDEFGH")
    assert tree["prior_sbc"]["Intercept"].shape == (1, 200)
    import matplotlib

    matplotlib.use("agg")
    arviz_plots.plot_ecdf_pit(tree, var_names=["Intercept", "sd_school"], backend="matplotlib")


def test_the_band_of_a_figure_is_around_zero(eight):
    for name in ("Intercept", "theta_school"):
        band = eight.ecdf(name)
        assert (band["lower"] < 0).all() and (band["upper"] > 0).all()
        assert ((band["difference"] > 2 * band["lower"]) & (band["difference"] < 2 * band["upper"])).all()
    with pytest.raises(ValueError, match="expected one estimand"):
        eight.pit("theta")


def test_datasets_have_the_deviation():
    frame, settings = hm.load_dataset("eight_schools"), sbc_runs.settings_of("exact", True, False, 25, 0, 2, 0.8)
    bound, simulate = sbc_runs._bind_prior(
        EIGHT, frame, (), settings, "exact", {"missing": 0.25, "effects": {"school": "skewed(2)"}}
    )
    y, true = jax.jit(simulate)(jax.random.key(1), bound.data)
    data = bound.with_outcome(bound.data, y)
    there = np.asarray(data.weight) > 0
    assert there.sum() == 6 and (np.asarray(data.y)[~there] == 0).all()
    assert np.isfinite(true["theta_school"]).all() and not bound.problem.layout.twins


@pytest.mark.slow
def test_a_deviation_of_the_data_is_seen():
    found = sbc(
        EIGHT, "eight_schools", sampler="exact", replications=500, draws=25, deviation={"dependence": "correlated(0.9)"}
    )
    table = found.table.set_index(["estimand", "test"])
    assert table.loc[("sd_school", "chi2"), "p_joint"] < 1e-4  # groups that are alike look like a small sd
    assert found.pit("sd_school").mean() > 0.54


@pytest.mark.slow
def test_a_study_in_the_prior_regime_has_its_deviation():
    config = prior_study(200)
    config["methods"] = {"right": config["methods"]["right"]}
    config |= {"estimands": ["sd_school"], "lanes": 200, "chunk": 200}
    config["mechanisms"]["deviation"] = {"dependence": "correlated(0.9)"}
    study = read_config(config)
    table = calibration(run_chunk(study, study.cells()[0].hash, "right", 0).to_pandas()).table
    assert table.loc[table["test"] == "chi2", "p"].item() < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["exact", "nuts"])
def test_missing_groups_leave_ranks_uniform(sampler):
    found = sbc(EIGHT, "eight_schools", sampler=sampler, replications=600, draws=50, deviation={"missing": 0.25})
    assert found.passes(0.001)
    three = {"a": 6, "b": 3, "obs": 4}
    priors = {
        "Intercept": "normal(0, 3)",
        "sd_a": "half_normal(2)",
        "sd_a:b": "half_normal(1)",
        "sigma": "half_normal(2)",
    }
    model = hm.Model("y ~ 1 + (1 | a/b)", priors=priors)
    assert sbc(model, three, sampler=sampler, replications=400, draws=50, deviation={"missing": {"a": 0.5}}).passes(
        0.001
    )


@pytest.mark.slow
def test_posterior_sbc_judges_around_the_data():
    model = hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "half_normal(10)"})
    data = hm.load_dataset("eight_schools")
    found = posterior_sbc(model, data, sampler="exact", replications=400, draws=50)
    assert found.kind == "posterior" and found.passes(0.001)
    # truths are this dataset's: the PITs of truths in the posterior given one dataset are not uniform, so this is no
    # prior SBC
    assert set(found.table["estimand"]) == {"Intercept", "sd_school", "theta_school", "log_likelihood"}


@pytest.mark.slow
def test_posterior_sbc_catches_a_wrong_sampler():
    from hiermodels.inference.samplers import Settings
    from hiermodels.inference.samplers import sampler as make

    model = hm.Model(
        "effect ~ 1 + (1 | school)",
        known_se="se",
        priors={"Intercept": "normal(0, 20)", "sd_school": "half_normal(10)"},
    )
    wrong = hm.Model(
        "effect ~ 1 + (1 | school)", known_se="se", priors={"Intercept": "normal(0, 20)", "sd_school": "half_normal(2)"}
    )
    data = hm.load_dataset("eight_schools")
    settings = Settings("exact", draws=1000, chains=2, accuracy="study")
    fits = {
        len(frame): make(bind(wrong if len(frame) > 8 else model, frame, outcome=False).layout, settings)
        for frame in (data, pd.concat([data, data]))
    }
    found = posterior_sbc(model, data, sampler=lambda key, d: fits[len(d.y)](key, d), replications=200)
    assert found.table.query("estimand == 'sd_school'")["p_joint"].min() < 1e-4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: sbc(hm.Model("effect ~ 1 + (1 | school)", known_se="se"), "eight_schools"),
            "priors: Intercept: flat\\(\\) is improper",
        ),
        (lambda: sbc(EIGHT, "eight_scools"), "eight_schools"),
        (lambda: sbc(EIGHT, "eight_schools", replications=3), "replications: expected a whole number of at least 20"),
        (
            lambda: sbc(EIGHT, "eight_schools", deviation={"errrors": "skewed(1)"}),
            "^deviation.errrors: unknown key 'errrors'; did you mean 'errors'",
        ),
        (
            lambda: sbc(EIGHT, "eight_schools", deviation={"missing": 2}),
            "^deviation.missing: expected a share from 0 to below 1; found 2",
        ),
        (
            lambda: sbc(lambda y=None: None, "eight_schools", deviation={"missing": 0.2}),
            "write the deviation into the function",
        ),
        (lambda: sbc(EIGHT, "eight_schools", sampler="nutz"), "did you mean 'nuts'"),
        (
            lambda: sbc(EIGHT, "eight_schools", sampler="exact", quantities={"sd_school": lambda v, d: v["sd_school"]}),
            "choose another name",
        ),
        (
            lambda: sbc(EIGHT, "eight_schools", sampler="exact", quantities={"t": lambda v, d: v["theta_school"]}),
            "expected one number a draw",
        ),
        (lambda: sbc(EIGHT, "eight_schools", sampler=lambda key, data: 3), "expected hiermodels.inference.draws.Draws"),
        (lambda: posterior_sbc(lambda y=None: None, hm.load_dataset("eight_schools")), "prior SBC only"),
        (lambda: calibration(pd.DataFrame({"rep": [1]})), "missing: method"),
    ],
)
def test_bad_requests(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.slow
def test_a_numpyro_function_is_calibrated_against_itself():
    import numpyro
    import numpyro.distributions as dist

    def model(school, n_school, se, effect=None):
        mu = numpyro.sample("mu", dist.Normal(0, 20))
        with numpyro.plate("school", n_school):
            theta = numpyro.sample("theta", dist.Normal(mu, 5))
        numpyro.sample("effect", dist.Normal(theta[school], se), obs=effect)

    found = sbc(
        model, hm.load_dataset("eight_schools").drop(columns="effect"), replications=100, draws=100, tune=150, chains=2
    )
    assert set(found.table["estimand"]) == {"mu", "theta"}
    assert found.passes(1e-3)


# every model with partial pooling
# --------------------------------------------------------------------------------------

MODELS = {
    "normal, known variance": (EIGHT, "eight_schools"),
    "normal, unknown variance": (
        hm.Model(
            "y ~ 1 + (1 | g)", priors={"Intercept": "normal(0, 5)", "sd_g": "half_normal(2)", "sigma": "half_normal(3)"}
        ),
        {"g": 8, "obs": 5},
    ),
    "three levels": (
        hm.Model(
            "score ~ 1 + treated + (1 | school/classroom)",
            priors={
                "Intercept": "normal(0, 5)",
                "treated": "normal(0, 2)",
                "sd_school": "half_normal(2)",
                "sd_school:classroom": "half_normal(1)",
                "sigma": "half_normal(3)",
            },
        ),
        {"school": 6, "classroom": 3, "obs": "integers(2, 6)", "predictors": {"treated": "half(school)"}},
    ),
    "slopes, independent": (
        hm.Model(
            "y ~ 1 + x + (1 + x || id)",
            priors={
                "Intercept": "normal(0, 3)",
                "x": "normal(0, 3)",
                "sd_id": "half_normal(1)",
                "sd_id_x": "half_normal(1)",
                "sigma": "half_normal(2)",
            },
        ),
        {"id": 12, "obs": 5, "predictors": {"x": "normal(0, 1)"}},
    ),
    "slopes, correlated": (
        hm.Model(
            "y ~ 1 + x + (1 + x | id)",
            priors={
                "Intercept": "normal(0, 3)",
                "x": "normal(0, 3)",
                "sd_id": "half_normal(1)",
                "sd_id_x": "half_normal(1)",
                "cor_id": "lkj(2)",
                "sigma": "half_normal(2)",
            },
        ),
        {"id": 12, "obs": 5, "predictors": {"x": "normal(0, 1)"}},
    ),
    "beta-binomial": (
        hm.Model(
            "tumors ~ 1 + (1 | experiment)",
            family="binomial",
            trials="rats",
            priors={"mean_experiment": "beta(2, 8)", "kappa_experiment": "gamma(4, 0.25)"},
        ),
        "rats",
    ),
    "gamma-Poisson": (
        hm.Model(
            "failures ~ 1 + (1 | pump)",
            family="poisson",
            exposure="hours",
            priors={"mean_pump": "gamma(4, 8)", "shape_pump": "gamma(3, 2)"},
        ),
        "pumps",
    ),
    "counties within states": (
        hm.Model(
            "deaths ~ 1 + (1 | state/county)",
            family="poisson",
            exposure="exposure",
            priors={
                "Intercept": "normal(1, 0.5)",
                "sd_state": "half_normal(0.5)",
                "log_shape": "normal(1, 0.5)",
                "sd_state_log_shape": "half_normal(0.3)",
            },
        ),
        "counties",
    ),
}
CASES = [
    (name, sampler)
    for name in MODELS
    for sampler in ("exact", "nuts")
    if (name, sampler) != ("counties within states", "exact")
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "sampler"), CASES)
def test_sbc_of_every_model_with_partial_pooling(name, sampler):
    """All of them pass together at a failure rate of 1%."""
    model, design = MODELS[name]
    found = sbc(model, design, sampler=sampler, replications=500, draws=200, tune=300, seed=4)
    assert found.table["n_failed"].max() == 0
    assert found.passes(0.01 / len(CASES)), found
