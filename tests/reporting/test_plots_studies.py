"""Figures of studies over factors, over replicates and of ranks: what is drawn is what the tables say."""

import doctest

import numpy as np
import pandas as pd
import pytest
from long_tables import METHODS, make_estimates, make_performance
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_hex
from scipy import stats

from hiermodels.reporting import plots


@pytest.fixture(scope="module")
def estimates():
    return make_estimates()


@pytest.fixture(scope="module")
def factorial(estimates):
    """Two factors: the spread between schools, and a number of schools that halves every value."""
    table = make_performance(estimates)
    more = table.assign(schools=30.0, **{c: table[c] / 2 for c in ("value", "lower", "upper", "mcse")})
    return pd.concat([table.assign(schools=8.0), more], ignore_index=True)


def words(figure):
    return " ".join(figure._suptitle.get_text().split())


def line(ax, label):
    (found,) = [one for one in ax.lines if one.get_label() == label]
    return found


def shades(figure):
    """Colour and marker of each method, read off the lines of its name, of its panel, or both."""
    found = {}
    for ax in figure.axes:
        for one in ax.lines:
            names = [
                m
                for m in METHODS
                if m == one.get_label() or (one.get_label().startswith("_") and m in ax.get_title().split(", "))
            ]
            if names and one.get_marker() not in ("None", ""):
                found.setdefault(names[0], set()).add((to_hex(one.get_color()), one.get_marker()))
    return found


def test_a_method_looks_the_same_in_every_figure(estimates, factorial):
    rows = factorial[factorial["schools"] == 8].drop(columns="schools")
    figures = [
        plots.plot_measure(rows, "mse", "theta_school", regime="population"),
        plots.plot_coverage(rows[rows["measure"] == "cover"], "theta_school", regime="population"),
        plots.plot_rmse_ratio(rows, "theta_school", to="complete", regime="population"),
        plots.plot_curve(rows, "mse", "theta_school", regime="population"),
        plots.plot_estimate_truth(estimates, "theta_school", where={"sd_school": 5, "method": ["none", "partial"]}),
        plots.plot_estimate_se(estimates, "theta_school", where={"sd_school": 5}),
        plots.plot_shrinkage(estimates, "theta_school", "none", "partial", rep=0, where={"sd_school": 5}),
    ]
    everywhere = shades(figures[0])
    assert list(everywhere) == list(METHODS) and len(set().union(*everywhere.values())) == 3
    for figure in figures[1:]:
        found = shades(figure)
        assert len(found) >= 2 and found == {method: everywhere[method] for method in found}
    for draw in (plots.plot_ranks, plots.plot_ecdf_difference):
        panels = draw(
            estimates, "theta_school", where={"sd_school": 5, "method": ["none", "partial"]}, regime="prior"
        ).axes
        for ax, method in zip(panels, ("none", "partial"), strict=True):
            drawn = (
                [one.get_color() for one in ax.lines[:8]]
                if draw is plots.plot_ecdf_difference
                else [ax.patches[-1].get_edgecolor()]
            )
            assert {to_hex(c) for c in drawn} == {shade for shade, _ in everywhere[method]}


def test_part_of_a_runs_table_keeps_the_looks_of_its_methods(factorial):
    rows = factorial[factorial["schools"] == 8].drop(columns="schools")
    whole = shades(plots.plot_measure(rows, "mse", "theta_school"))
    rows.attrs["methods"] = list(METHODS)
    part = shades(plots.plot_measure(rows[rows["method"] != "complete"], "mse", "theta_school"))
    assert part == {method: whole[method] for method in ("none", "partial")}


# over factors
# ----------------------------------------------------------------------------------------------------------


def test_nested_loop_steps_through_every_combination(factorial):
    figure = plots.plot_nested_loop(
        factorial, "mse", "theta_school", order=["schools", "sd_school"], regime="population"
    )
    top, loops = figure.axes
    rows = factorial[(factorial.measure == "mse") & (factorial.group == "[mean]")].sort_values(["schools", "sd_school"])
    for patch, method in zip(top.patches, METHODS, strict=True):
        values, edges, _ = patch.get_data()
        assert patch.get_label() == method
        np.testing.assert_array_equal(values, rows[rows.method == method]["value"])
        np.testing.assert_array_equal(edges, np.arange(7) - 0.5)
    ends = [np.array(c.get_segments())[:, :, 1] for c in top.collections if isinstance(c, LineCollection)]
    for found, method in zip(ends, METHODS, strict=True):
        np.testing.assert_array_equal(found, rows[rows.method == method][["lower", "upper"]])
    assert [t.get_text() for t in loops.get_yticklabels()] == ["schools", "sd_school"]
    assert [t.get_text() for t in loops.texts] == ["8", "30", "0", "5", "20", "0", "5", "20"]
    assert "truth regime: population" in words(figure)


def test_nested_loop_asks_for_the_factors_it_needs(factorial):
    figure = plots.plot_nested_loop(factorial, "mse", "theta_school", order=["sd_school"])
    assert [ax.get_title() for ax in figure.axes[:2]] == ["schools = 8", "schools = 30"]  # one left out becomes panels
    with pytest.raises(ValueError, match="expected factors that vary, found none"):
        plots.plot_nested_loop(factorial, "mse", "Intercept", where={"sd_school": 5, "schools": 8})
    with pytest.raises(ValueError, match="found 'rooms'"):
        plots.plot_nested_loop(factorial, "mse", "Intercept", order=["rooms"])


def test_curve_is_to_scale(factorial):
    figure = plots.plot_curve(factorial, "mse", "theta_school", x="sd_school", where={"schools": 8}, regime="fixed")
    (ax,) = figure.axes
    rows = factorial[(factorial.measure == "mse") & (factorial.group == "[mean]") & (factorial.schools == 8)]
    for method in METHODS:
        np.testing.assert_allclose(line(ax, method).get_xdata(), [0, 5, 20], atol=0.03 * 20)
        np.testing.assert_array_equal(line(ax, method).get_ydata(), rows[rows.method == method]["value"])
    assert len({line(ax, method).get_xdata()[0] for method in METHODS}) == len(METHODS)  # equal values are all seen
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0", "5", "20"]
    log = plots.plot_curve(factorial, "mse", "Intercept", x="schools", where={"sd_school": 5}, log=True)
    assert log.axes[0].get_xscale() == "log"
    with pytest.raises(
        ValueError, match=r"expected a numeric factor that varies \(sd_school, schools\), found 'method'"
    ):
        plots.plot_curve(factorial, "mse", "Intercept", x="method")


def test_power_has_its_target(factorial):
    table = factorial[factorial.measure == "cover"].assign(measure="power")
    (ax,) = plots.plot_power(table, "theta_school", x="sd_school", target=0.9, where={"schools": 8}).axes
    assert [one.get_ydata()[0] for one in ax.lines if one.get_linestyle() == "--"] == [0.9]
    assert ax.get_ylabel() == "power of theta_school"


def test_heat_writes_the_monte_carlo_error(factorial):
    figure = plots.plot_heat(factorial, "mse", "theta_school", "sd_school", "schools", where={"method": "none"})
    row = factorial[
        (factorial.measure == "mse")
        & (factorial.group == "[mean]")
        & (factorial.method == "none")
        & (factorial.sd_school == 0)
    ].iloc[0]
    value, error = figure.axes[0].texts[0].get_text().split("\n")
    assert float(value) == pytest.approx(row["value"], abs=row["mcse"]) and float(error.strip("()")) == pytest.approx(
        row["mcse"], rel=0.05
    )


# over replicates
# -------------------------------------------------------------------------------------------------------


def test_ridge_has_the_mean_of_each_method_and_its_error(estimates):
    where = {"sd_school": 20}
    figure = plots.plot_ridge(estimates, "Intercept", where=where, regime="population")
    (ax,) = figure.axes
    lost = estimates.loc[estimates.status == "nonfinite", "rep"]  # methods are shown on the replicates that all have
    rows = estimates[(estimates.sd_school == 20) & (estimates.estimand == "Intercept") & ~estimates.rep.isin(lost)]
    means = [one.get_xdata()[0] for one in ax.lines if len(one.get_xdata()) == 1]
    np.testing.assert_allclose(means, rows.groupby("method", sort=False)["estimate"].mean())
    bars = [c.get_segments()[0][:, 0] for c in ax.collections if isinstance(c, LineCollection)]
    each = rows.groupby("method", sort=False)["estimate"]
    np.testing.assert_allclose([np.ptp(b) for b in bars], 4 * each.std() / np.sqrt(each.size()))
    curve = line(ax, "none")
    base, top = curve.get_ydata().min(), curve.get_ydata().max()
    assert top - base <= 0.81 and ax.lines[-1].get_xdata()[0] == 8.0
    assert "truth regime: population" in words(figure)


def test_ridge_of_varying_truths_shows_errors(estimates):
    (ax,) = plots.plot_ridge(estimates, "theta_school", where={"method": ["none"]}).axes
    assert ax.get_xlabel() == "estimate − truth, theta_school"
    assert [t.get_text() for t in ax.get_yticklabels()] == ["0", "5", "20"]
    rows = estimates[(estimates.method == "none") & (estimates.estimand == "theta_school")]
    want = (rows["estimate"] - rows["true"]).groupby(rows["sd_school"]).mean()
    means = [one.get_xdata()[0] for one in ax.lines if len(one.get_xdata()) == 1]
    np.testing.assert_allclose(means, want)


def test_estimate_and_standard_error(estimates):
    where = {"method": "none", "sd_school": 20}
    (ax,) = plots.plot_estimate_se(estimates, "theta_school", where=where, regime="population").axes
    rows = estimates[
        (estimates.method == "none") & (estimates.sd_school == 20) & (estimates.estimand == "theta_school")
    ]
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), rows["estimate"] - rows["true"])
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), rows["se"])
    assert line(ax, "empirical standard error").get_ydata()[0] == pytest.approx((rows["estimate"] - rows["true"]).std())
    with pytest.raises(ValueError, match="expected rows with a truth, an estimate and a standard error"):
        plots.plot_estimate_se(estimates.assign(se=np.nan), "Intercept")


# ranks
# -----------------------------------------------------------------------------------------------------------------


def ranked(power=1.0, reps=400, groups=("",), draws=399, seed=3):
    """Ranks of u**power among so many draws: uniform where the power is 1."""
    rng = np.random.default_rng(seed)
    rows = [
        {"rep": r, "method": "m", "estimand": "theta", "group": g, "true": 0.0, "estimate": 0.0,
         "rank": float(np.floor(rng.uniform() ** power * (draws + 1))), "max_rank": float(draws)}
        for r in range(reps) for g in groups
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_rank_histogram_has_binomial_bands():
    table = ranked()
    figure = plots.plot_ranks(table, bins=20, regime="prior")
    (ax,) = figure.axes
    band, bars = ax.patches
    counts, _ = np.histogram(table["rank"], np.arange(0, 401, 20))
    np.testing.assert_allclose(bars.get_data().values, counts / 400)
    np.testing.assert_allclose(band.get_data().values, stats.binom.ppf(0.975, 400, 0.05) / 400)
    np.testing.assert_allclose(band.get_data().baseline, stats.binom.ppf(0.025, 400, 0.05) / 400)
    assert "truth regime: prior; 400 replicates" in words(figure)


def test_rank_histogram_shares_out_cells_that_an_edge_cuts():
    """Seven cells in two bins: the middle cell is half in each."""
    table = pd.DataFrame(
        {"rep": range(7), "method": "m", "estimand": "t", "group": "", "rank": range(7), "max_rank": 6, "true": 0.0}
    )
    (ax,) = plots.plot_ranks(table, bins=2).axes
    np.testing.assert_allclose(ax.patches[1].get_data().values, [0.5, 0.5])


def test_rank_band_of_groups_is_that_of_replicates():
    """Groups that repeat one rank carry no more information than one of them."""
    one = ranked(reps=300)
    table = pd.concat([one.assign(group=g) for g in "abcdef"])
    (ax,) = plots.plot_ranks(table, bins=10).axes
    shares = np.stack([np.histogram([r], np.arange(0, 401, 40))[0] for r in one["rank"]])
    half = stats.norm.ppf(0.975) * shares.std(0, ddof=1) / np.sqrt(300)
    np.testing.assert_allclose(ax.patches[0].get_data().values, 0.1 + half)


@pytest.mark.parametrize(("power", "inside"), [(1.0, True), (1.6, False)])
def test_ecdf_difference_tells_uniform_ranks_from_others(power, inside):
    table = ranked(power)
    (ax,) = plots.plot_ecdf_difference(table, regime="prior").axes
    at, difference = line(ax, "ranks").get_data()
    scaled = (table["rank"] + 1) / 400
    np.testing.assert_allclose(difference[1:-1], [np.mean(scaled <= a + 1e-9) - a for a in at[1:-1]], atol=1e-12)
    (band,) = [c for c in ax.collections if isinstance(c, PolyCollection)]
    vertices = band.get_paths()[0].vertices
    low = np.array([vertices[np.isclose(vertices[:, 0], a), 1].min() for a in at])
    high = np.array([vertices[np.isclose(vertices[:, 0], a), 1].max() for a in at])
    assert bool(np.all((low <= difference + 1e-12) & (difference <= high + 1e-12))) == inside
    # simultaneous: wider than the pointwise band, narrower than a union bound over the points
    middle = len(at) // 2
    width, sd = high[middle] - low[middle], np.sqrt(at[middle] * (1 - at[middle]) / 400)
    assert 2 * 1.96 * sd < width < 2 * stats.norm.isf(0.025 / len(at)) * sd + 2 / 400


def test_coverage_curve_follows_the_ranks():
    table = ranked(groups=("a", "b"))
    figure = plots.plot_coverage_curve(table, regime="prior")
    (ax,) = figure.axes
    asked, difference = line(ax, "m").get_data()
    surprise = (2 * (table["rank"] + 0.5) / 400 - 1).abs()
    np.testing.assert_allclose(difference, [np.mean(surprise <= a) - a for a in asked], atol=1e-12)
    (band,) = [c for c in ax.collections if isinstance(c, PolyCollection)]
    vertices = band.get_paths()[0].vertices
    assert vertices[:, 1].min() < 0 < vertices[:, 1].max()


def test_ranks_that_are_not_there_are_said_to_be_missing(estimates):
    with pytest.raises(
        ValueError, match=r"expected the table run.estimates, with columns rep, estimand, rank, max_rank"
    ):
        plots.plot_ranks(estimates.drop(columns=["rank", "max_rank"]))
    with pytest.raises(ValueError, match="found none; methods without draws have no ranks"):
        plots.plot_ecdf_difference(estimates.assign(rank=np.nan))


def test_the_menu_is_the_modules():
    import importlib
    import pkgutil

    modules = [
        importlib.import_module(f"{plots.__name__}.{found.name}") for found in pkgutil.iter_modules(plots.__path__)
    ]
    assert len(modules) > 5
    assert sorted(plots.__all__) == sorted({n for m in modules for n in m.__all__} | {"group_table", "save"})
    assert all(name in plots.__doc__ for name in plots.__all__)


def test_examples_in_the_docstrings():
    from hiermodels.reporting.plots import grids, measures

    for module in (grids, measures):
        result = doctest.testmod(module)
        assert result.attempted > 0 and result.failed == 0


def test_rows_about_all_groups_together_are_no_groups(factorial):
    """A decision has rows for any and for all of the groups that it is about."""
    rows = factorial[(factorial.measure == "cover") & (factorial.estimand == "theta_school")].assign(
        measure="type1", estimand="active"
    )
    table = pd.concat(
        [rows, rows[rows.group == "[mean]"].assign(group="[any]"), rows[rows.group == "[mean]"].assign(group="[all]")]
    )
    where = {"schools": 8, "sd_school": 5}
    (ax,) = plots.plot_measure(table, "type1", "active", group="each", where=where).axes
    assert [t.get_text() for t in ax.get_xticklabels()] == list("ABCDEFGH")
    (ax,) = plots.plot_measure(table, "type1", "active", group="[any]", where=where, regime="fixed").axes
    assert (
        "type I error of active, any group" in words(ax.figure).replace("Type", "type")
        and "%" in ax.get_yticklabels()[0].get_text()
    )
    from hiermodels.reporting import tables

    wide = tables.widen(table)
    named = {row[wide.names.index("estimand")].text for row in wide.rows}
    assert named == {"active, mean over groups", "active, any group", "active, all groups"}
    each = tables.widen(table, groups="each")
    assert {row[each.names.index("estimand")].text for row in each.rows} == {f"active [{g}]" for g in "ABCDEFGH"}
