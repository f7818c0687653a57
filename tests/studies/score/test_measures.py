"""Performance measures against brute force, meta-simulation, and the traps that others fell into."""

import math
import statistics

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hiermodels.studies.score import measures
from hiermodels.studies.score.measures import Errors, Measure
from hiermodels.studies.score.montecarlo import wilson
from hiermodels.studies.score.scoring import performance

MENU = measures.__all__
SHARES = ("cover", "becover", "rank_cover", "power")


def simulated(n, groups, seed=0, *, bias=0.3, true=2.0, sd=1.0):
    """Normal errors with bias, noisy standard errors, uniform ranks, and a correlated reference."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, groups))
    true = np.broadcast_to(np.asarray(true, float), z.shape)
    estimate = true + bias + sd * z
    se = sd * np.sqrt(rng.gamma(20, 1 / 20, size=z.shape))
    rank = rng.integers(0, 1001, size=z.shape)
    reference = true + 0.8 * sd * (0.6 * z + 0.8 * rng.normal(size=z.shape))
    return dict(
        estimate=estimate,
        true=true,
        se=se,
        lower=estimate - 1.5 * se,
        upper=estimate + 1.5 * se,
        rank=rank,
        max_rank=np.full(z.shape, 1000),
        reference=reference,
    )


def column(arrays, g):
    return {name: array[:, g] for name, array in arrays.items()}


# The menu


@pytest.mark.parametrize("name", MENU)
def test_groups_at_once_are_the_same_as_one_by_one(name):
    arrays, function = simulated(60, 3), getattr(measures, name)
    present = np.ones((60, 3), bool)
    present[:5, 1] = False
    if function.over_groups:
        with pytest.raises(ValueError, match="average=True"):
            function(Errors(**column(arrays, 0)))
        return
    together = function(Errors(**arrays, present=present, fixed=True))
    for g in range(3):
        alone = function(Errors(**column(arrays, g), present=present[:, g], fixed=True))
        assert isinstance(alone, Measure) and np.ndim(alone.value) == 0 and alone.note == ""
        for ours, theirs in zip(alone[:4], together[:4], strict=True):
            np.testing.assert_allclose(ours, theirs[g], rtol=1e-12)


@pytest.mark.parametrize("name", MENU)
def test_every_measure_has_an_interval_around_its_value(name):
    measure = getattr(measures, name)(Errors(**simulated(80, 4), average=True, fixed=True))
    assert np.ndim(measure.value) == 0 and np.isfinite(measure.value)
    if name != "nsim":
        assert measure.lower < measure.value < measure.upper and measure.mcse > 0


# Values, by formulas written out here a second time


def test_values_by_brute_force():
    data = column(simulated(40, 1, seed=3), 0)
    est, true, se = data["estimate"].tolist(), data["true"].tolist(), data["se"].tolist()
    n, e = 40, [a - b for a, b in zip(est, true, strict=True)]
    sd = statistics.stdev
    b, emp = statistics.mean(e), sd(e)
    squares = [x * x for x in e]
    m = statistics.mean(squares)
    mod = math.sqrt(statistics.mean(s * s for s in se))
    var_se2 = statistics.variance([s * s for s in se])
    ref = [a - t for a, t in zip(data["reference"].tolist(), true, strict=True)]
    rho = statistics.correlation(e, ref)
    gain = (sd(ref) / emp) ** 2
    width = [u - lo for u, lo in zip(data["upper"], data["lower"], strict=True)]
    hits = [lo <= t <= u for lo, t, u in zip(data["lower"], true, data["upper"], strict=True)]
    c = sum(hits) / n
    moved = sum(lo - b <= t <= u - b for lo, t, u in zip(data["lower"], true, data["upper"], strict=True)) / n
    expected = {
        "nsim": (40, None),
        "thetamean": (statistics.mean(est), sd(est) / math.sqrt(n)),
        "thetamedian": (statistics.median(est), None),
        "se2mean": (mod**2, math.sqrt(var_se2 / n)),
        "se2median": (statistics.median(s * s for s in se), None),
        "bias": (b, emp / math.sqrt(n)),
        "rbias": (b / 2, emp / 2 / math.sqrt(n)),
        "pctbias": (100 * b / 2, 100 * emp / (math.sqrt(n) * 2)),
        "empse": (emp, emp / math.sqrt(2 * (n - 1))),
        "variance": (statistics.pvariance(e), sd([(x - b) ** 2 for x in e]) / math.sqrt(n)),
        "mse": (m, math.sqrt(sum((x - m) ** 2 for x in squares) / (n * (n - 1)))),
        "rmse": (math.sqrt(m), math.sqrt(sum((x - m) ** 2 for x in squares) / (n * (n - 1)) / m) / 2),
        "relprec": (100 * (gain - 1), 200 * gain * math.sqrt((1 - rho**2) / (n - 1))),
        "modelse": (mod, math.sqrt(var_se2 / (4 * n * mod**2))),
        "relerror": (
            100 * (mod / emp - 1),
            100 * mod / emp * math.sqrt(var_se2 / (4 * n * mod**4) + 1 / (2 * (n - 1))),
        ),
        "cover": (c, math.sqrt(c * (1 - c) / n)),
        "becover": (moved, math.sqrt(moved * (1 - moved) / n)),
        "ciwidth": (statistics.mean(width), sd(width) / math.sqrt(n)),
        "mse_diff": (
            m - statistics.mean(x * x for x in ref),
            sd([x * x - y * y for x, y in zip(e, ref, strict=True)]) / math.sqrt(n),
        ),
        "mse_ratio": (m / statistics.mean(x * x for x in ref), None),
        "rmse_ratio": (math.sqrt(m / statistics.mean(x * x for x in ref)), None),
    }
    for name, (value, mcse) in expected.items():
        measure = getattr(measures, name)(Errors(**data, fixed=True))
        assert measure.value == pytest.approx(value, rel=1e-10), name
        if mcse is not None:
            assert measure.mcse == pytest.approx(mcse, rel=1e-10), name


def test_bias_squared_plus_variance_is_mse():
    errors = Errors(**column(simulated(31, 1, seed=5), 0))
    b, v, m = (getattr(measures, name)(errors).value for name in ("bias", "variance", "mse"))
    assert b**2 + v == pytest.approx(m, rel=1e-13)
    assert measures.empse(errors).value ** 2 == pytest.approx(v * 31 / 30, rel=1e-13)


def test_an_average_over_groups_has_the_replicate_as_its_unit():
    rng = np.random.default_rng(1)
    shared = rng.normal(size=(50, 1)) + 0.1 * rng.normal(size=(50, 8))  # the groups of a replicate move together
    errors = Errors(shared, np.zeros((50, 8)), lower=shared - 1, upper=shared + 1, average=True)
    within = shared.mean(1)
    got = measures.bias(errors)
    assert got.value == pytest.approx(within.mean(), rel=1e-12)
    assert got.mcse == pytest.approx(within.std(ddof=1) / np.sqrt(50), rel=1e-12)
    assert measures.rmse(errors).value == pytest.approx(np.sqrt(np.mean(shared**2)), rel=1e-12)
    assert measures.empse(errors).value == pytest.approx(np.sqrt(shared.var(0, ddof=1).mean()), rel=1e-12)
    covered = (abs(shared) <= 1).mean(1)
    assert measures.cover(errors).value == pytest.approx(covered.mean(), rel=1e-12)
    assert measures.cover(errors).mcse == pytest.approx(covered.std() / np.sqrt(50), rel=1e-12)


def test_an_average_stands_on_complete_replicates():
    arrays = simulated(30, 3, seed=2)
    arrays["estimate"][:10, 1] = np.nan
    present = np.isfinite(arrays["estimate"])
    whole = measures.mse(Errors(**arrays, present=present, average=True))
    complete = measures.mse(Errors(**{k: v[10:] for k, v in arrays.items()}, average=True))
    assert whole.n == complete.n == 20
    assert (whole.value, whole.mcse) == pytest.approx((complete.value, complete.mcse), rel=1e-12)


def test_rms_bias_takes_the_noise_away():
    groups = np.linspace(-3, 3, 9)
    biased = measures.rms_bias(Errors(**simulated(400, 9, bias=groups), average=True, fixed=True))
    assert abs(biased.value - np.sqrt(np.mean(groups**2))) < 4 * biased.mcse
    unbiased = [
        measures.rms_bias(Errors(**simulated(50, 9, seed=s, bias=0.0), average=True, fixed=True)) for s in range(40)
    ]
    assert sum(m.lower == 0 for m in unbiased) >= 33  # two-sided 95%, skew
    assert sum(m.value == 0 for m in unbiased) >= 8  # about half: noise is subtracted
    population = measures.rms_bias(Errors(**simulated(50, 9), average=True))
    assert math.isnan(population.value) and "fixed" in population.note


def test_power_counts_decisions_and_intervals():
    p = measures.power(Errors([0.99, 0.98, 0.97, np.nan], [1, 1, 1, 1], cut=0.975))
    assert p.value == pytest.approx(2 / 3)
    zeros = [0.0] * 4
    p = measures.power(Errors(zeros, zeros, lower=[1, -3, -1, -1], upper=[2, -1, 1, 1]))
    assert p.value == 0.5
    p = measures.power(Errors([1.0, 1.0], [0.0, 0.0], lower=[0.1, 0.2], upper=[2, 2], support=(0, np.inf)))
    assert math.isnan(p.value) and "boundary" in p.note


# What has no meaning is NaN, with the reason


ZERO = dict(estimate=[1.0, 2.0], true=[0.0, 0.0])


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("pctbias", ZERO, "truth is 0"),
        ("pctbias", dict(estimate=[1.0, 2.0], true=[1.0, 2.0]), "varies"),
        ("rbias", dict(estimate=[1.0, 2.0], true=[1.0, 0.0]), "truth is 0"),
        ("rbias", dict(estimate=[1.0, 2.0], true=[1.0, -1.0]), "changes sign"),
        ("cover", dict(**ZERO, lower=[0.1, 0.2], upper=[3, 3], support=(0, np.inf)), "boundary"),
        ("rank_cover", dict(**ZERO, rank=[0, 0], max_rank=[9, 9], support=(0, np.inf)), "boundary"),
        ("cover", ZERO, "no interval"),
        ("ciwidth", ZERO, "no interval"),
        ("rank_cover", ZERO, "no draws"),
        ("modelse", ZERO, "no standard error"),
        ("relerror", ZERO, "no standard error"),
        ("bias", dict(estimate=[np.nan], true=[0.0], lower=[0.0], upper=[1.0]), "moment does not exist"),
        ("mse", dict(estimate=[np.nan] * 2, true=[0.0, 0.0]), "no replicate"),
        ("empse", dict(estimate=[1.0], true=[0.0]), "fewer than two"),
        ("mse_ratio", ZERO, "reference"),
    ],
)  # fmt: skip
def test_undefined(name, data, reason):
    measure = getattr(measures, name)(Errors(**data))
    assert all(math.isnan(number) for number in measure[:4])
    assert reason in measure.note


def test_coverage_at_the_boundary_is_defined_for_intervals_that_reach_it():
    upper = measures.cover(Errors([1.0, 2.0], [0.0, 0.0], lower=[0.0, 0.0], upper=[3, 3], support=(0, np.inf)))
    assert upper.value == 1
    intercept = measures.cover(Errors([1.0, 2.0], [0.0, 0.0], lower=[0.1, 0.1], upper=[3, 3]))
    assert intercept.value == 0


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"`true` must have the shape \(2,\)"):
        Errors([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="replicate, group"):
        Errors([1.0, 2.0], [1.0, 2.0], average=True)


# Trap 1: bias MCSE from sd(estimate) is wrong when the truth varies


def test_trap_1_bias_mcse_when_the_truth_varies():
    rng = np.random.default_rng(0)
    true = rng.normal(size=(100, 4000))
    estimate = true + rng.normal(0, np.sqrt(0.1), size=true.shape)
    measure = measures.bias(Errors(estimate, true))
    spread = measure.value.std()
    assert spread == pytest.approx(0.0316, rel=0.05)
    assert np.sqrt(np.mean(measure.mcse**2)) == pytest.approx(spread, rel=0.05)
    assert np.mean(estimate.std(0) / 10) > 3 * spread  # what rsimsum would say


# Traps 2 and 3, and everything else that has an MCSE: against the true spread


@pytest.mark.parametrize("name", [name for name in MENU if name not in ("nsim", "rms_bias")])
def test_trap_2_mcse_is_the_true_spread(name):
    measure = getattr(measures, name)(Errors(**simulated(300, 6000, seed=7)))
    assert np.sqrt(np.mean(measure.mcse**2)) == pytest.approx(measure.value.std(), rel=0.05)
    truth = measure.value.mean()
    hit = np.mean((measure.lower <= truth) & (truth <= measure.upper))
    assert 0.92 < hit < 0.975


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MENU if name != "nsim"])
def test_mcse_of_averages_is_the_true_spread(name):
    bias = np.array([-1.0, 0.5, 1.0, 0.2])
    function = getattr(measures, name)
    found = []
    for seed in range(3000):
        arrays = simulated(200, 4, seed=seed, bias=bias)
        for key in ("estimate", "lower", "upper"):  # groups of one replicate are correlated
            arrays[key] = arrays[key] + 0.7 * np.random.default_rng(10_000 + seed).normal(size=(200, 1))
        found.append(function(Errors(**arrays, average=True, fixed=True))[:2])
    value, mcse = np.array(found).T
    assert np.sqrt(np.mean(mcse**2)) == pytest.approx(value.std(), rel=0.05)


@pytest.mark.parametrize("name", ["empse", "relerror", "relprec"])
def test_trap_3_robust_form_with_heavy_tails(name):
    rng = np.random.default_rng(4)
    errors = rng.standard_t(5, size=(400, 4000))
    data = dict(
        estimate=errors,
        true=np.zeros_like(errors),
        se=1 + 0.1 * rng.random(errors.shape),
        reference=rng.normal(size=errors.shape),
    )
    function = getattr(measures, name)
    value = function(Errors(**data)).value
    normal, robust = (np.sqrt(np.mean(function(Errors(**data, robust=r)).mcse ** 2)) for r in (False, True))
    assert robust == pytest.approx(value.std(), rel=0.15)
    assert normal < 0.8 * value.std()


# Trap 4: shares at 0 and 1


def test_trap_4_wilson():
    for k, n in ((0, 20), (20, 20), (3, 7), (499, 500)):
        ours = wilson(k / n, n)
        theirs = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
        np.testing.assert_allclose(ours, (theirs.low, theirs.high), atol=1e-12)


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("name", SHARES)
@pytest.mark.parametrize("covers", [True, False])
def test_trap_4_no_share_has_an_interval_of_width_zero(name, covers, average):
    shape = (50, 3)
    true = np.full(shape, 1.0 if covers else 9.0)
    ends = (0.5, 2.0) if covers else (-1.0, 0.5)
    lower, upper = (np.full(shape, end) for end in ends)
    ranks = dict(rank=np.full(shape, 40 if covers else 99), max_rank=np.full(shape, 99))
    errors = Errors(np.ones(shape), true, lower=lower, upper=upper, **ranks, average=average, interval=0.9)
    measure = getattr(measures, name)(errors)
    share = 1.0 if covers else 0.0
    np.testing.assert_array_equal(measure.value, share)
    np.testing.assert_array_equal(measure.mcse, 0)
    ends = stats.binomtest(int(50 * share), 50).proportion_ci(0.95, method="wilson")
    np.testing.assert_allclose(measure.lower, ends.low, atol=1e-12)
    np.testing.assert_allclose(measure.upper, ends.high, atol=1e-12)


def test_trap_4_an_average_that_never_changes_still_has_an_interval():
    hits = np.ones((40, 4))
    hits[:, 0] = 5  # the same group misses in every replicate
    measure = measures.cover(Errors(hits, np.ones((40, 4)), lower=hits - 1, upper=hits + 1, average=True))
    assert (measure.value, measure.mcse) == (0.75, 0)
    assert measure.upper - measure.lower > 0.1


# Trap 5: few draws


@pytest.mark.parametrize(("draws", "expected"), [(100, 0.931), (400, 0.945)])
def test_trap_5_quantile_coverage_is_biased_and_rank_coverage_is_not(draws, expected):
    rng = np.random.default_rng(8)
    n = 20_000
    posterior, true = rng.normal(size=(n, draws)), rng.normal(size=n)
    lower, upper = np.quantile(posterior, [0.025, 0.975], axis=1)
    rank = (posterior < true[:, None]).sum(1)
    errors = Errors(np.zeros(n), true, lower=lower, upper=upper, rank=rank, max_rank=np.full(n, draws))
    quantiles, ranks = measures.cover(errors), measures.rank_cover(errors)
    assert abs(quantiles.value - expected) < 4 * quantiles.mcse
    assert abs(ranks.value - 0.95) < 4 * ranks.mcse
    if draws == 100:
        assert quantiles.value < 0.95 - 5 * quantiles.mcse


@pytest.mark.parametrize("draws", [7, 19, 100, 1000])
@pytest.mark.parametrize("interval", [0.5, 0.9, 0.95])
def test_rank_coverage_of_uniform_ranks_is_nominal_for_any_number_of_draws(draws, interval):
    rank = np.arange(draws + 1)
    zeros = np.zeros(draws + 1)
    errors = Errors(zeros, zeros, rank=rank, max_rank=zeros + draws, interval=interval)
    assert measures.rank_cover(errors).value == pytest.approx(interval, rel=1e-12)


# The table


def long_table(reps=6, groups=("A", "B"), methods=("none", "partial"), cells=(0.0, 10.0), seed=0):
    rng, rows = np.random.default_rng(seed), []
    for cell in cells:
        for method in methods:
            for rep in range(reps):
                targets = [("Intercept", "", 8.0), ("sd_school", "", cell)]
                targets += [("theta_school", g, 5.0 + i) for i, g in enumerate(groups)]
                for estimand, group, true in targets:
                    e, w = rng.normal(), 1 + rng.random()
                    estimate = abs(true + e) + 0.5 if estimand == "sd_school" else true + e
                    rows.append(
                        dict(rep=rep, sd_school=cell, method=method, estimand=estimand, group=group,
                             true=true, estimate=estimate, median=estimate, se=w,
                             lower=max(estimate - w, 0.01), upper=estimate + w, rank=50.0, max_rank=99.0,
                             status="ok", n_try=1, rhat=1.0, ess_bulk=4e3, ess_tail=4e3, divergences=0)
                    )  # fmt: skip
    return pd.DataFrame(rows)


def table_of(frame, names=("bias", "mse", "cover"), **settings):
    settings = {"factors": ["sd_school"], "regime": "population", "supports": {"sd_school": (0, np.inf)}} | settings
    return performance(frame, measures=list(names), **settings)


def one(table, **where):
    for name, value in where.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_rows_and_columns_are_in_order():
    table, _ = table_of(long_table(), ["cover", "bias"])
    assert list(table) == [
        "sd_school", "method", "estimand", "group", "measure", "value", "mcse", "lower", "upper",
        "n_sim", "n", "n_failed", "n_retried",
    ]  # fmt: skip
    theta = [("theta_school", group) for group in ("A", "B", "[mean]")]
    expected = [
        (cell, method, estimand, group, measure)
        for cell in (0.0, 10.0)
        for method in ("none", "partial")
        for estimand, group in [("Intercept", ""), ("sd_school", ""), *theta]
        for measure in ("cover", "bias")
    ]  # fmt: skip
    assert list(table.iloc[:, :5].itertuples(index=False, name=None)) == expected
    assert set(table["n_sim"]) == {6} and set(table["n_failed"]) == {0}


def test_values_by_groupby():
    frame = long_table(reps=20)
    table, _ = table_of(frame, ["bias", "mse"])
    frame["e"] = frame["estimate"] - frame["true"]
    for keys, part in frame.groupby(["sd_school", "method", "estimand", "group"]):
        where = dict(zip(["sd_school", "method", "estimand", "group"], keys, strict=True))
        assert one(table, measure="bias", **where)["value"] == pytest.approx(part["e"].mean(), rel=1e-12)
        assert one(table, measure="mse", **where)["value"] == pytest.approx((part["e"] ** 2).mean(), rel=1e-12)
    theta = frame[frame["estimand"] == "theta_school"].groupby(["sd_school", "method", "rep"])["e"].mean()
    for (cell, method), part in theta.groupby(level=[0, 1]):
        row = one(table, measure="bias", sd_school=cell, method=method, group="[mean]")
        assert row["value"] == pytest.approx(part.mean(), rel=1e-12)
        assert row["mcse"] == pytest.approx(part.std() / np.sqrt(20), rel=1e-12)


def test_numbers_do_not_depend_on_the_order_of_rows_or_on_categories():
    frame = long_table(reps=15)
    first = [["sd_school", "method", "estimand", "group"]]
    table, _ = table_of(frame, MENU, reference="none")
    shuffled = pd.concat([frame.drop_duplicates(subset=first[0]), frame]).drop_duplicates()
    assert not shuffled.reset_index(drop=True).equals(frame)
    coded = shuffled.astype({name: "category" for name in ("method", "estimand", "group", "status", "sd_school")})
    for other in (shuffled, coded):
        again, _ = table_of(other, MENU, reference="none")
        pd.testing.assert_frame_equal(again, table, check_exact=True)


def test_groups_of_different_cells_and_missing_rows_are_ragged():
    small, large = long_table(cells=(0.0,)), long_table(groups=("A", "B", "C"), cells=(10.0,))
    frame = pd.concat([small, large])
    frame = frame[~((frame["method"] == "none") & (frame["group"] == "B"))]
    frame = frame[~((frame["method"] == "partial") & (frame["rep"] == 5))]
    table, _ = table_of(frame, ["bias", "mse_ratio"], reference="partial")
    groups = table.drop_duplicates(["sd_school", "method", "group"]).groupby(["sd_school", "method"])["group"].agg(list)
    assert groups[0.0, "none"] == ["", "A", "[mean]"]
    assert groups[10.0, "partial"] == ["", "A", "B", "C", "[mean]"]
    assert set(table[table["method"] == "partial"]["n_sim"]) == {5}
    assert set(table[table["method"] == "none"]["n_sim"]) == {6}


def test_without_factors_and_with_a_factor_that_some_cells_lack():
    frame = long_table(cells=(10.0,))
    table, _ = table_of(frame, ["bias"], factors=[])
    assert table.columns[0] == "method" and len(table) == 10
    other = frame.assign(sd_school=np.nan)
    table, _ = table_of(pd.concat([frame, other]), ["bias"])
    assert table["sd_school"].isna().sum() == 10 and len(table) == 20


def test_undefined_values_have_their_reason_in_the_notes():
    table, notes = table_of(long_table(), ["cover", "pctbias"], regime="fixed")
    row = one(table, sd_school=0.0, method="none", estimand="sd_school", measure="cover")
    assert math.isnan(row["value"])
    assert math.isfinite(one(table, sd_school=10.0, method="none", estimand="sd_school", measure="cover")["value"])
    assert any(
        note.startswith("cover is NA for sd_school at sd_school=0: the truth is on the boundary") for note in notes
    )
    assert any(note.startswith("pctbias is NA for sd_school at sd_school=0: the truth is 0") for note in notes)
    assert "fixed" in notes[0]


def test_measures_over_groups_have_one_row():
    table, _ = table_of(long_table(), ["rms_bias"], regime="fixed")
    assert list(table["group"].unique()) == ["[mean]"] and len(table) == 4
    frame = long_table()
    _, notes = table_of(frame[frame["group"] == ""], ["bias", "rms_bias"], regime="fixed")
    assert any("rms_bias has no row" in note for note in notes)


def test_comparisons_are_paired_by_replicate():
    frame = long_table(reps=30)
    table, notes = table_of(frame, ["mse_ratio"])
    e = frame.assign(e=frame["estimate"] - frame["true"]).set_index(
        ["sd_school", "method", "estimand", "group", "rep"]
    )["e"]
    e = e.sort_index()
    own, other = e[10.0, "partial", "theta_school", "A"], e[10.0, "none", "theta_school", "A"]
    row = one(table, sd_school=10.0, method="partial", group="A")
    assert row["value"] == pytest.approx((own**2).mean() / (other**2).mean(), rel=1e-12)
    assert table[table["method"] == "none"]["value"].isna().all()
    assert any("'none', paired" in note for note in notes)
    assert any("is the reference" in note for note in notes)


def test_decisions():
    frame = long_table()
    frame = frame[frame["estimand"] == "Intercept"].assign(
        estimand="benefit",
        estimate=np.tile([0.99, 0.99, 0.5, 0.5, 0.5, 0.96], 4),
        true=1.0,
        lower=np.nan,
        upper=np.nan,
    )
    for settings, share in (({}, 2 / 6), ({"decisions": {"benefit": 0.95}}, 3 / 6)):
        table, _ = table_of(frame, ["power"], **settings)
        np.testing.assert_allclose(table["value"], share)


# Trap 6: failures are a policy, flagged is not missing


def failing():
    frame = long_table(reps=10, cells=(10.0,))
    frame.loc[(frame["method"] == "partial") & (frame["rep"] < 2), ["estimate", "lower", "upper"]] = np.nan
    frame.loc[(frame["method"] == "partial") & (frame["rep"] < 2), "status"] = "nonfinite"
    frame.loc[(frame["method"] == "partial") & (frame["rep"] == 3), "status"] = "rhat"
    frame.loc[(frame["method"] == "partial") & (frame["rep"] == 4), "n_try"] = 3
    return frame


def nsims(table):
    return table[table["measure"] == "nsim"].groupby("method")["value"].agg(set).to_dict()


def test_trap_6_policies():
    frame = failing()
    table, notes = table_of(frame, ["nsim", "bias", "cover"])
    assert nsims(table) == {"none": {10}, "partial": {8}}
    partial = table[table["method"] == "partial"]
    assert (set(partial["n_sim"]), set(partial["n_failed"]), set(partial["n_retried"])) == ({10}, {2}, {1})
    assert any("of 20 fits attempted, 2 are missing (not finite) and 1 were retried" in note for note in notes)
    pd.testing.assert_frame_equal(
        table_of(frame, ["nsim", "bias", "cover"], failures="retry-with-escalation")[0], table
    )
    paired, _ = table_of(frame, ["nsim", "bias"], failures="paired-complete")
    assert nsims(paired) == {"none": {8}, "partial": {8}}


def test_trap_6_worst_case_bounds_shares():
    frame = failing()
    names = ["cover", "bias"]
    usual, worst = table_of(frame, names)[0], table_of(frame, names, failures="worst-case")[0]
    where = dict(method="partial", estimand="Intercept")
    hits = round(one(usual, measure="cover", **where)["value"] * 8)
    row = one(worst, measure="cover", **where)
    assert row["value"] == pytest.approx(hits / 10)
    assert row["lower"] == pytest.approx(wilson(hits / 10, 10)[0])
    assert row["upper"] == pytest.approx(wilson((hits + 2) / 10, 10)[1])
    assert one(worst, measure="bias", **where)["value"] == one(usual, measure="bias", **where)["value"]
    pd.testing.assert_frame_equal(worst[worst["method"] == "none"], usual[usual["method"] == "none"])


def test_trap_6_all_failed():
    frame = failing()
    frame = frame.assign(estimate=np.nan, lower=np.nan, upper=np.nan, status="nonfinite")
    usual, notes = table_of(frame, ["bias", "cover"])
    assert usual["value"].isna().all() and any("no replicate is left" in note for note in notes)
    worst, _ = table_of(frame, ["cover"], failures="worst-case")
    assert (worst["value"] == 0).all() and (worst["upper"] == 1).all()


def test_trap_6_flagged_fits_stay_unless_asked():
    table, notes = table_of(failing(), ["nsim"], exclude_flagged=True)
    assert nsims(table) == {"none": {10}, "partial": {7}}
    assert set(table[table["method"] == "partial"]["n_failed"]) == {2}
    assert any("Flagged" in note for note in notes)


def test_trap_5_note_only_where_the_bias_matters():
    frame = long_table(reps=400, cells=(10.0,))
    assert not any("Few draws" in note for note in table_of(frame)[1])
    frame["ess_tail"] = np.where(frame["method"] == "partial", 60.0, np.nan)
    note = next(note for note in table_of(frame)[1] if "Few draws" in note)
    assert "theta_school (partial)" in note and "(none)" not in note
    assert "ESS of 60" in note and f"covers {0.95 * 59 / 61:.3f}" in note and "rank_cover" in note


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(names=["covr"]), "measures: unknown name 'covr'; did you mean 'cover'"),
        (dict(names=["zzz"]), "expected one of nsim, thetamean"),
        (dict(failures="completecase"), "failures: .*did you mean 'complete-case'"),
        (dict(regime="populaton"), "regime: .*did you mean 'population'"),
        (dict(reference="partal"), "reference: .*did you mean 'partial'"),
        (dict(interval=95), "interval: expected a number between 0 and 1"),
        (dict(factors=["tau"]), "missing: tau"),
    ],
)
def test_bad_requests(change, message):
    with pytest.raises(ValueError, match=message):
        table_of(long_table(reps=2), **change)


def test_bad_tables():
    frame = long_table(reps=2)
    with pytest.raises(ValueError, match="replicate 0 is there twice"):
        table_of(pd.concat([frame, frame.iloc[:1]]))
    with pytest.raises(ValueError, match="missing: every row"):
        table_of(frame.iloc[:0])
    with pytest.raises(ValueError, match="status: unknown name 'okay'"):
        table_of(frame.assign(status="okay"))
