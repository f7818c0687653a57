"""Figures of fits: what is drawn is what the fit says, and what closed forms say, read back from the artists."""

import doctest

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.patches import Polygon
from matplotlib.quiver import Quiver
from scipy import stats

import hiermodels as hm
from hiermodels.reporting import plots

Y = np.array([28, 8, -3, 7, -1, 1, 18, 12.0])
SE = np.array([15, 10, 16, 11, 9, 11, 10, 18.0])
POOLED, POOLED_SE = 7.685617, 4.071919  # SYSTEMS, section 4
SCHOOLS = list("ABCDEFGH")


def schools(**options):
    priors = options.pop("priors", {"Intercept": "flat()", "sd_school": "flat()"})
    model = hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors=priors)
    return hm.fit(model, hm.load_dataset("eight_schools"), **{"sampler": "exact", "progress": False} | options)


@pytest.fixture(scope="module")
def partial():
    return schools()


@pytest.fixture(scope="module")
def complete():
    return schools(pooling="complete")


@pytest.fixture(scope="module")
def scores():
    """Target A: three levels with known variances 16, 9 and 25."""
    priors = {"Intercept": "flat()", "sd_school": "fixed(4)", "sd_school:classroom": "fixed(3)", "sigma": "fixed(5)"}
    model = hm.Model("score ~ 1 + (1 | school/classroom)", priors=priors)
    return hm.fit(model, hm.load_dataset("scores"), sampler="exact", progress=False)


@pytest.fixture(scope="module")
def rats():
    model = hm.Model("tumors ~ 1 + (1 | experiment)", family="binomial", trials="rats", priors={"experiment": "bda3()"})
    return hm.fit(model, hm.load_dataset("rats"), sampler="exact", progress=False)


def line(ax, label):
    (found,) = [one for one in ax.lines if one.get_label() == label]
    return found


def bars(ax, label):
    """Segments of the bars with this label, (bar, end, coordinate)."""
    (found,) = [c for c in ax.collections if isinstance(c, LineCollection) and c.get_label() == label]
    return np.array(found.get_segments())


def words(figure):
    return " ".join(figure._suptitle.get_text().split())


# groups
# ----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_group_table_of_known_standard_errors(partial):
    table, summary = plots.group_table(partial), partial.summary("theta_school")
    assert table["group"].tolist() == SCHOOLS and set(table["estimand"]) == {"theta_school"}
    np.testing.assert_array_equal(table["raw"], Y)
    np.testing.assert_allclose(table["raw_lower"], Y - 1.959964 * SE, rtol=1e-6)
    np.testing.assert_allclose(table["raw_upper"], Y + 1.959964 * SE, rtol=1e-6)
    np.testing.assert_array_equal(table["estimate"], summary["mean"])
    np.testing.assert_array_equal(table["mcse"], summary["mcse_mean"])
    np.testing.assert_array_equal(table[["lower", "upper"]], summary[["eti95_lb", "eti95_ub"]])


@pytest.mark.slow
def test_group_table_of_counts(rats):
    table, data = plots.group_table(rats), hm.load_dataset("rats")
    np.testing.assert_allclose(table["raw"], data.tumors / data.rats)
    np.testing.assert_array_equal(table["size"], data.rats)
    np.testing.assert_allclose(table["raw_upper"], stats.beta.ppf(0.975, data.tumors + 1, data.rats - data.tumors + 1))
    assert table["estimate"].iloc[70] == pytest.approx(0.21086, abs=4 * table["mcse"].iloc[70] + 1e-4)


def test_caterpillar_is_sorted_and_has_monte_carlo_bars(partial):
    (ax,) = plots.plot_caterpillar(partial, truth=dict(zip(SCHOOLS, Y, strict=True)), xlabel="effect, points").axes
    summary = partial.summary("theta_school").sort_values("mean")
    names = [name[len("theta_school[") : -1] for name in summary.index]
    assert [t.get_text() for t in ax.get_yticklabels()] == names
    np.testing.assert_array_equal(line(ax, "estimate").get_xdata(), summary["mean"])
    np.testing.assert_array_equal(bars(ax, "95% interval")[:, :, 0], summary[["eti95_lb", "eti95_ub"]])
    np.testing.assert_allclose(np.diff(bars(ax, "± 2 Monte Carlo SE")[:, :, 0])[:, 0], 4 * summary["mcse_mean"])
    np.testing.assert_array_equal(line(ax, "truth").get_xdata(), Y[[SCHOOLS.index(n) for n in names]])
    assert line(ax, "population mean").get_xdata()[0] == pytest.approx(partial.summary("Intercept")["mean"].iloc[0])
    assert ax.get_xlabel() == "effect, points"


def test_caterpillar_of_a_table_from_elsewhere_in_its_own_order():
    table = pd.DataFrame({"group": ["b", "a"], "estimate": [1.0, 3.0], "lower": [0, 2], "upper": [2, 4]})
    (ax,) = plots.plot_caterpillar(table, ordered=False).axes
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"]  # from below: the first group is on top
    assert not [c for c in ax.collections if c.get_label() == "± 2 Monte Carlo SE"]
    with pytest.raises(
        ValueError,
        match=(
            "a table with columns group, estimate, once each; found a table with columns group, mean; rename or "
            "add 'estimate'"
        ),
    ):
        plots.plot_caterpillar(table.rename(columns={"estimate": "mean"})[["group", "mean"]])


def test_forest_has_the_pooled_estimate_and_a_new_group(partial):
    (ax,) = plots.plot_forest(partial).axes
    summary = partial.summary("theta_school")
    np.testing.assert_array_equal(line(ax, "alone").get_xdata(), Y)
    np.testing.assert_array_equal(line(ax, "partially pooled").get_xdata(), summary["mean"])
    assert [t.get_text() for t in ax.get_yticklabels()] == [*SCHOOLS, "population mean", "new school"]
    diamonds = [p.get_xy()[:3, 0] for p in ax.patches if isinstance(p, Polygon)]  # lower, estimate, upper
    mean = partial.summary("Intercept").iloc[0]
    np.testing.assert_allclose(diamonds[0], mean[["eti95_lb", "mean", "eti95_ub"]])
    lower, middle, upper = diamonds[1]  # SYSTEMS, section 4, flat tau: -12.413, 7.840, 28.860
    assert (
        middle == pytest.approx(7.84, abs=0.6)
        and lower == pytest.approx(-12.4, abs=2.5)
        and upper == pytest.approx(28.9, abs=2.5)
    )
    first = summary.iloc[0]
    assert ax.texts[0].get_text() == f"{first['mean']:.1f} ({first['eti95_lb']:.1f}, {first['eti95_ub']:.1f})"


def test_tree_joins_classes_to_schools_and_to_their_raw_means(scores):
    (ax,) = plots.plot_tree(scores).axes
    assert [t.get_text().replace("\n", " ") for t in ax.get_yticklabels()] == [
        "population", "school", "classroom in school", "classroom in school, alone",
    ]  # fmt: skip
    points = np.array([one.get_xydata()[0] for one in ax.lines if len(one.get_xdata()) == 1])
    population, school, room, raw = (np.sort(points[np.isclose(points[:, 1], h)][:, 0]) for h in (3, 2, 1, 0))
    tables = {n: scores.summary(n) for n in ("Intercept", "theta_school", "theta_school:classroom")}
    assert population == pytest.approx(47.151773, abs=4 * tables["Intercept"]["mcse_mean"].iloc[0])
    for found, name, exact in (
        (school, "theta_school", [45.471926, 49.482580, 46.486922, 47.165666]),
        (
            room,
            "theta_school:classroom",
            [45.226887, 44.772050, 52.081309, 48.710893, 48.966616, 46.112943, 48.080038, 46.259108],
        ),
    ):
        assert np.all(np.abs(found - np.sort(exact)) < 4 * tables[name]["mcse_mean"].max())
    data = hm.load_dataset("scores")
    np.testing.assert_allclose(raw, np.sort(data.groupby(["school", "classroom"]).score.mean()))
    edges = [one.get_xydata() for one in ax.lines if len(one.get_xdata()) == 2 and one.get_linestyle() == "-"]
    assert len(edges) == 4 + 8
    mean = {n: plots.group_table(scores, n).set_index("group")["estimate"] for n in ("school", "school:classroom")}
    pairs = sorted((mean["school"][g.split(":")[0]], x) for g, x in mean["school:classroom"].items())
    drawn = sorted((e[0, 0], e[1, 0]) for e in edges if e[0, 1] == 2)
    np.testing.assert_allclose(drawn, pairs)


def test_tree_of_a_table_says_what_is_wrong_with_it():
    table = pd.DataFrame(
        {"level": ["top", "g"], "group": ["all", "a"], "parent": ["", "nobody"], "estimate": [0.0, 1.0]}
    )
    with pytest.raises(ValueError, match="expected groups of top, found 'nobody'"):
        plots.plot_tree(table)
    with pytest.raises(ValueError, match="a table with columns level, group, parent, estimate"):
        plots.plot_tree(table.drop(columns="parent"))


# paths
# -----------------------------------------------------------------------------------------------------------------


def test_paths_are_the_conditional_means_and_sds_in_closed_form(partial):
    figure = plots.plot_paths(partial, points=201)
    mean, sd, density = figure.axes
    tau = mean.lines[0].get_xdata()
    weight = 1 / (SE**2 + tau[:, None] ** 2)
    centre, v = (weight * Y).sum(1) / weight.sum(1), 1 / weight.sum(1)
    b = SE**2 * weight
    for j in range(8):
        np.testing.assert_allclose(mean.lines[j].get_ydata(), b[:, j] * centre + (1 - b[:, j]) * Y[j], rtol=1e-9)
        np.testing.assert_allclose(
            sd.lines[j].get_ydata() ** 2, SE[j] ** 2 * (1 - b[:, j]) + b[:, j] ** 2 * v, rtol=1e-9
        )
    at_five = [np.interp(5, tau, one.get_ydata()) for one in mean.lines]
    np.testing.assert_allclose(at_five, [9.8659, 7.8808, 6.8856, 7.7053, 5.7635, 6.6779, 9.8808, 8.1482], atol=2e-3)
    assert mean.lines[0].get_ydata()[0] == pytest.approx(POOLED, abs=1e-6)
    height = density.lines[0].get_ydata()
    assert np.trapezoid(height, tau) == pytest.approx(0.975, abs=0.02)
    assert [t.get_text() for t in mean.texts] == SCHOOLS and density.get_xlabel() == "sd_school"


@pytest.mark.slow
def test_paths_of_counts_go_from_the_data_to_the_pooled_rate(rats):
    mean = plots.plot_paths(rats, points=41).axes[0]
    kappa = mean.lines[0].get_xdata()
    data, m = hm.load_dataset("rats"), float(np.median(rats.draws.values["mean_experiment"]))
    last = (data.tumors[70] + kappa * m) / (data.rats[70] + kappa)
    np.testing.assert_allclose(mean.lines[70].get_ydata(), last, rtol=1e-7)


def test_paths_need_a_spread_that_is_estimated(complete):
    with pytest.raises(ValueError, match="expected a spread of school that is estimated, found none"):
        plots.plot_paths(complete)


# shrinkage
# -------------------------------------------------------------------------------------------------------------


def test_mle_against_posterior_mean(partial):
    (ax,) = plots.plot_mle_posterior(partial).axes
    (points,) = [c for c in ax.collections if isinstance(c, PathCollection)]
    np.testing.assert_array_equal(points.get_offsets(), np.c_[Y, partial.summary("theta_school")["mean"]])
    assert line(ax, "complete pooling").get_ydata()[0] == partial.summary("Intercept")["mean"].iloc[0]
    assert line(ax, "no pooling").get_slope() == 1
    with pytest.raises(ValueError, match="expected groups with estimates of their own"):
        plots.plot_mle_posterior(pd.DataFrame({"group": ["a"], "estimate": [1.0]}))


@pytest.mark.slow
def test_points_grow_with_the_groups(rats):
    (ax,) = plots.plot_mle_posterior(rats).axes
    (points,) = [c for c in ax.collections if isinstance(c, PathCollection)]
    sizes, trials = points.get_sizes(), hm.load_dataset("rats").rats.to_numpy()
    assert sizes[np.argmax(trials)] == sizes.max() and sizes[np.argmin(trials)] == sizes.min() < sizes.max()


def test_stein_lines_of_baseball():
    """Variance-stabilised averages: SSE 17.56065 and 5.01334, James-Stein closer for 15 of 18 (SYSTEMS, section 3)."""
    d = hm.load_dataset("baseball")
    x, theta = (np.sqrt(45) * np.arcsin(2 * p - 1) for p in (d.avg, d.rem_avg))
    shrunken = x.mean() + (1 - 15 / ((x - x.mean()) ** 2).sum()) * (x - x.mean())
    table = pd.DataFrame({"group": d.player, "raw": x, "estimate": shrunken, "true": theta})
    (ax,) = plots.plot_stein(table, names=("X", "James–Stein", "rest of the season")).axes
    labels = [t.get_text() for t in ax.get_yticklabels()]
    assert labels == ["X\nRMSE 0.988", "James–Stein\nRMSE 0.528", "rest of the season"]
    assert np.sqrt(17.56065 / 18) == pytest.approx(0.988, abs=5e-4) and np.sqrt(5.01334 / 18) == pytest.approx(
        0.528, abs=5e-4
    )
    named = [one.get_label() for one in ax.lines if not one.get_label().startswith("_")]
    assert named == ["moved closer to the truth: 15 of 18", "moved farther from the truth: 3 of 18"]
    drawn = np.sort(np.array([one.get_xdata() for one in ax.lines]), axis=0)
    np.testing.assert_allclose(drawn, np.sort(table[["raw", "estimate", "true"]].to_numpy(), axis=0))
    with pytest.raises(ValueError, match="expected a value of 'true' for every group"):
        plots.plot_stein(table.drop(columns="true"))


@pytest.fixture(scope="module")
def slopes():
    """The individuals without pooling, and partially pooled under the true spreads."""
    priors = {"sigma": "fixed(2)", "sd_id": "fixed(1)", "sd_id_x": "fixed(1)", "Intercept": "flat()", "x": "flat()"}
    model = hm.Model("y ~ 1 + x + (1 + x || id)", priors=priors)
    own = hm.Model("y ~ 1 + x + (1 + x || id)", priors={"sigma": "fixed(2)"})
    data = hm.load_dataset("individuals")
    options = {"sampler": "exact", "progress": False}
    return {"unpooled": hm.fit(own, data, pooling="none", **options), "partial": hm.fit(model, data, **options)}


@pytest.mark.slow
def test_plane_of_two_fits(slopes):
    (ax,) = plots.plot_plane(slopes, "theta_id", "theta_id_x").axes
    (arrows,) = [c for c in ax.collections if isinstance(c, Quiver)]
    start, end = ([f.summary(v)["mean"].to_numpy() for v in ("theta_id", "theta_id_x")] for f in slopes.values())
    np.testing.assert_allclose([arrows.X, arrows.Y], start)
    np.testing.assert_allclose([arrows.X + arrows.U, arrows.Y + arrows.V], end)
    # least squares of the first individual, to the Monte Carlo error of 1,000 draws
    assert (arrows.X[0], arrows.Y[0]) == pytest.approx((0.29534, -1.81256), abs=0.2)


def test_plane_with_truths_has_a_panel_and_an_rmse_a_method(slopes):
    rng = np.random.default_rng(20190808)  # the lines that made the data
    a, b = rng.normal(2, 1, 75), rng.normal(-2, 1, 75)
    ids = slopes["partial"].problem.labels["id"]
    truth = {"theta_id": dict(zip(ids, a, strict=True)), "theta_id_x": dict(zip(ids, b, strict=True))}
    figure = plots.plot_plane(slopes, "theta_id", "theta_id_x", truth=truth, xlabel="intercept", ylabel="slope")
    for ax, (name, fit) in zip(figure.axes, slopes.items(), strict=True):
        rmse = [np.sqrt(np.mean((fit.summary(v)["mean"] - t) ** 2)) for v, t in (("theta_id", a), ("theta_id_x", b))]
        assert ax.get_title() == f"{name}\nRMSE: intercept {rmse[0]:.3g},\nslope {rmse[1]:.3g}"
        assert ax.get_xlabel() == "intercept"
    # SYSTEMS, section 7: least squares has 1.00470 and 1.45265 on this dataset
    found = [float(word.strip(",")) for word in figure.axes[0].get_title().split() if word[0].isdigit()]
    for rmse, exact, name, true in zip(found, (1.00470, 1.45265), truth, (a, b), strict=True):
        row = slopes["unpooled"].summary(name)
        error = np.sqrt((((row["mean"] - true) * row["mcse_mean"]) ** 2).sum()) / 75 / exact
        assert rmse == pytest.approx(exact, abs=4 * error + 0.005)


def test_plane_of_a_study():
    rows = []
    for rep in range(2):
        for method, step in (("none", 1.0), ("partial", 0.5)):
            for estimand, base in (("a", 0.0), ("b", 10.0)):
                rows += [
                    {
                        "rep": rep,
                        "method": method,
                        "estimand": estimand,
                        "group": g,
                        "true": base + i,
                        "estimate": base + i + step + rep,
                    }
                    for i, g in enumerate("xyz")
                ]
    figure = plots.plot_plane(pd.DataFrame(rows), "a", "b", rep=1, regime="population")
    assert [ax.get_title() for ax in figure.axes] == ["none\nRMSE: a 2,\nb 2", "partial\nRMSE: a 1.5,\nb 1.5"]
    assert "truth regime: population; replicate 1" in words(figure)
    with pytest.raises(ValueError, match="expected one of a, b, found 'c'"):
        plots.plot_plane(pd.DataFrame(rows), "a", "c")


# single numbers
# --------------------------------------------------------------------------------------------------------


def test_prior_against_posterior():
    rng = np.random.default_rng(0)
    draws = {
        "mu": (("chain", "draw"), rng.normal(8, 5, (4, 1000))),
        "tau": (("chain", "draw"), rng.exponential(5, (4, 1000))),
    }
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset(draws)})
    figure = plots.plot_prior_posterior(tree, priors={"mu": "normal(0, 20)", "tau": "half_cauchy(25)"})
    one, two = figure.axes
    x, y = line(one, "prior").get_data()
    np.testing.assert_allclose(y, stats.norm.pdf(x, 0, 20))
    x, y = line(two, "prior").get_data()
    np.testing.assert_allclose(y, stats.halfcauchy.pdf(x, scale=25))
    x, y = two.lines[0].get_data()  # the kernel density, reflected at zero
    assert x[0] == 0 and np.trapezoid(y, x) == pytest.approx(1, abs=0.03)
    np.testing.assert_allclose(y[:40], stats.expon.pdf(x[:40], scale=5), rtol=0.2)
    tick = bars(one, "posterior mean ± 2 Monte Carlo SE")[0, :, 0]
    assert tick.mean() == pytest.approx(draws["mu"][1].mean()) and np.ptp(tick) == pytest.approx(
        4 * 5 / np.sqrt(4000), rel=0.15
    )
    assert [ax.get_title() for ax in figure.axes] == ["normal(0, 20)", "half_cauchy(25)"]


def test_improper_priors_are_called_so(partial):
    figure = plots.plot_prior_posterior(partial, "sd_school")
    shape = line(figure.axes[0], "improper prior, shape only")
    assert np.ptp(shape.get_ydata()) == 0 and shape.get_linestyle() == "--"
    row = partial.summary("sd_school").iloc[0]
    tick = bars(figure.axes[0], "posterior mean ± 2 Monte Carlo SE")[0, :, 0]
    np.testing.assert_allclose(tick, row["mean"] + np.array([-2, 2]) * row["mcse_mean"])
    with pytest.raises(ValueError, match="expected one of Intercept, sd_school, found 'tau'"):
        plots.plot_prior_posterior(partial, "tau")


def test_triple_of_a_group(partial):
    (ax,) = plots.plot_triple(partial, "A").axes
    x, y = line(ax, "likelihood").get_data()
    np.testing.assert_allclose(y, stats.norm.pdf(x, 28, 15))
    x, y = line(ax, "posterior").get_data()
    assert np.trapezoid(y, x) == pytest.approx(1, abs=0.02)
    assert np.trapezoid(x * y, x) == pytest.approx(partial.summary("theta_school")["mean"].iloc[0], abs=0.4)
    x, y = line(ax, "prior").get_data()  # the law of a new school: P(theta* > 0) = .8531
    assert np.trapezoid(np.where(x > 0, y, 0), x) == pytest.approx(0.853, abs=0.03)
    with pytest.raises(ValueError, match=r"group: expected one of A, B, .* found 'Z'"):
        plots.plot_triple(partial, "Z")


def test_triple_of_counts(rats):
    (ax,) = plots.plot_triple(rats, "71").axes
    x, y = line(ax, "likelihood").get_data()
    np.testing.assert_allclose(y, stats.beta.pdf(x, 5, 11))
    x, y = line(ax, "posterior").get_data()
    assert np.trapezoid(x * y, x) == pytest.approx(0.21086, abs=0.004)
    x, y = line(ax, "prior").get_data()
    assert np.trapezoid(x * y, x) == pytest.approx(0.14430, abs=0.006)


def test_triple_needs_curves():
    with pytest.raises(ValueError, match="columns x and prior, likelihood or posterior, found a table with columns x"):
        plots.plot_triple(pd.DataFrame({"x": [0.0, 1.0]}))


def test_funnel_marks_and_counts_divergences(partial):
    rng = np.random.default_rng(0)
    dims = ("chain", "draw")
    mu, tau, theta = rng.normal(size=(2, 100)), rng.exponential(size=(2, 100)), rng.normal(size=(2, 100, 2))
    bad = np.zeros((2, 100), bool)
    bad[0, :7] = True
    posterior = xr.Dataset(
        {"Intercept": (dims, mu), "sd_school": (dims, tau), "theta_school": ((*dims, "school"), theta)},
        {"school": ["A", "B"]},
    )
    tree = xr.DataTree.from_dict({"posterior": posterior, "sample_stats": xr.Dataset({"diverging": (dims, bad)})})
    figure = plots.plot_funnel({"centred": tree, "marginalised": partial}, "theta_school", "B", sd="sd_school")
    assert [ax.get_title() for ax in figure.axes[:2]] == [
        "centred: 7 of 200\ndivergent",
        "marginalised: 0 of 4,000\ndivergent",
    ]
    crosses = line(figure.axes[2], "divergent")
    np.testing.assert_allclose(crosses.get_xdata(), np.log(tau[0, :7]))
    np.testing.assert_allclose(crosses.get_ydata(), theta[0, :7, 1])
    dots = line(figure.axes[0], "draw")
    np.testing.assert_allclose(np.sort(dots.get_xdata()), np.sort(mu[~bad]))
    assert figure.axes[2].get_xlim() == figure.axes[3].get_xlim() and figure.axes[2].get_xlabel() == "log sd_school"


# replicated data
# -------------------------------------------------------------------------------------------------------


def test_extremes_under_complete_pooling(complete):
    """P(max >= 28) = .387901 and P(min <= -3) = .785513 with the mean's posterior integrated out (SYSTEMS, section
    4).
    """
    figure = plots.plot_extremes(complete, xlabel="effect, points")
    titles = [ax.get_title().replace("\n", " ") for ax in figure.axes]
    for title, exact, head in zip(titles, (0.387901, 0.785513), ("P(max ≥ 28)", "P(min ≤ -3)"), strict=True):
        assert title.startswith(head)
        share, mcse = float(title.split("= ")[1].split()[0]), float(title.split("SE ")[1].strip(")"))
        assert mcse == pytest.approx(np.sqrt(exact * (1 - exact) / 4000), rel=0.3)
        assert share == pytest.approx(exact, abs=4 * mcse)
    assert (
        line(figure.axes[0], "observed").get_xdata()[0] == 28 and figure.axes[0].get_xlabel() == "max of effect, points"
    )


def test_predictive_draws_the_observed_distribution(partial):
    (ax,) = plots.plot_predictive(partial, replicates=20).axes
    seen = line(ax, "observed")
    np.testing.assert_array_equal(np.unique(seen.get_xdata()[np.isfinite(seen.get_xdata())]), np.unique(Y))
    assert len(ax.lines) == 21


def test_predictive_intervals_count_what_is_outside(partial):
    figure = plots.plot_predictive_intervals(partial, prob=0.5)
    (ax,) = figure.axes
    again = partial.predict(kind="outcome")["predictions"]["effect"].to_numpy().reshape(-1, 8)
    low, high = np.quantile(again, [0.25, 0.75], axis=0)
    outside = int(((low > Y) | (high < Y)).sum())
    assert f"{outside} of 8 observed outcomes outside" in words(figure) and outside > 0
    ends = bars(ax, "50% predictive interval")[:, :, 0]
    order = np.argsort(np.median(again, axis=0))
    np.testing.assert_allclose(ends, np.c_[low, high][order])
    assert [t.get_text() for t in ax.get_yticklabels()] == [SCHOOLS[i] for i in order]


def test_predictive_of_a_tree_from_elsewhere():
    again = np.random.default_rng(0).normal(size=(2, 300, 5))
    tree = xr.DataTree.from_dict(
        {
            "posterior_predictive": xr.Dataset({"y": (("chain", "draw", "obs"), again)}),
            "observed_data": xr.Dataset({"y": ("obs", np.array([0.0, 1, -1, 9, 0.5]))}),
        }
    )
    assert "1 of 5 observed outcomes outside" in words(plots.plot_predictive_intervals(tree))
    title = plots.plot_extremes(tree, statistics={"max": np.max}).axes[0].get_title()
    assert "= 0.000" in title and "Monte Carlo" not in title  # a share of 0 has no estimated error
    with pytest.raises(ValueError, match="expected a fit, or a DataTree"):
        plots.plot_predictive(tree["observed_data"])


def test_pooled_densities_are_those_of_the_common_mean(complete, partial):
    (ax,) = plots.plot_pooled_densities(complete, xlabel="effect, points").axes
    curves = [one for one in ax.lines if one.get_color() != "black" and len(one.get_xdata()) > 2]
    assert len(curves) == 8
    scale = 1.2 / stats.norm.pdf(0, scale=np.sqrt(81 + POOLED_SE**2))
    for i, curve in enumerate(curves):
        want = stats.norm.pdf(curve.get_xdata(), POOLED, np.sqrt(SE[i] ** 2 + POOLED_SE**2)) * scale
        np.testing.assert_allclose(curve.get_ydata() - (7 - i), want, atol=0.02)
    share = stats.norm.sf(28, POOLED, np.sqrt(15**2 + POOLED_SE**2))
    words, number = ax.texts[0].get_text().split(" = ")
    assert words == "P(Y ≥ 28)" and float(number) == pytest.approx(share, abs=0.01)
    observed = [one.get_xdata()[0] for one in ax.lines if len(one.get_xdata()) == 1]
    np.testing.assert_array_equal(observed, Y)
    with pytest.raises(
        ValueError, match="expected a fit with known_se and pooling='complete', found normal, pooling partial"
    ):
        plots.plot_pooled_densities(partial)


def test_a_fit_of_a_function_has_no_groups():
    class Own:
        model, problem, data = len, None, None

    with pytest.raises(ValueError, match=r"expected a fit of hm.Model, found a fit of len"):
        plots.plot_caterpillar(Own())


@pytest.mark.slow
def test_examples_in_the_docstrings():
    from hiermodels.reporting import _densities, _figure, _fits
    from hiermodels.reporting.plots import groups, hierarchy, pooling, posterior, predictive

    for module in (_densities, _figure, _fits, groups, hierarchy, pooling, posterior, predictive):
        result = doctest.testmod(module)
        assert result.attempted > 0 and result.failed == 0
