"""Figures: what is drawn is what the tables say, read back from the artists."""

import doctest

import numpy as np
import pandas as pd
import pytest
from long_tables import METHODS, SCHOOLS, make_estimates, make_performance
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver

from hiermodels.reporting import plots, tables


@pytest.fixture(scope="module")
def estimates():
    return make_estimates()


@pytest.fixture(scope="module")
def performance(estimates):
    return make_performance(estimates)


def dots(ax):
    """Value by method, in the order drawn, from the markers of an axes."""
    return {line.get_label(): line.get_ydata() for line in ax.lines if not line.get_label().startswith("_")}


def bars(ax):
    """Ends of the Monte Carlo intervals, one array (category, end) a method."""
    found = [c for c in ax.collections if isinstance(c, LineCollection)]
    return [np.array([segment[:, 1] for segment in c.get_segments()]) for c in found]


def words(figure):
    return " ".join(figure._suptitle.get_text().split())


def test_measure_draws_the_table(performance):
    figure = plots.plot_measure(performance, "bias", "theta_school", regime="population")
    (ax,) = figure.axes
    want = performance[(performance.measure == "bias") & (performance.group == "[mean]")]
    drawn, ends = dots(ax), bars(ax)
    for i, method in enumerate(METHODS):
        rows = want[want.method == method].sort_values("sd_school")
        np.testing.assert_array_equal(drawn[method], rows["value"])
        np.testing.assert_array_equal(ends[i], rows[["lower", "upper"]])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0", "5", "20"]
    assert ax.get_xlabel() == "sd_school" and ax.get_ylabel() == "bias of theta_school"
    assert words(figure) == "Bias of theta_school, mean over groups truth regime: population; 40 replicates"
    assert [line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == "--"] == [0.0]


def test_coverage_has_a_nominal_line_and_a_panel_per_estimand(performance):
    figure = plots.plot_coverage(performance, nominal=0.9, regime="fixed")
    titles = [" ".join(ax.get_title().split()) for ax in figure.axes]
    assert titles == ["Intercept", "theta_school, mean over groups"]
    for ax in figure.axes:
        assert [line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == "--"] == [0.9]
    assert "truth regime: fixed" in words(figure)


def test_undefined_values_are_written_not_dropped(performance):
    figure = plots.plot_coverage(performance, "Intercept", regime="fixed")
    assert [t.get_text() for t in figure.axes[0].texts] == ["n/a"] * 3
    assert np.isnan(dots(figure.axes[0])["none"][0]) and np.isfinite(dots(figure.axes[0])["none"][1:]).all()


def test_methods_keep_their_colour_when_others_are_left_out(performance):
    whole = plots.plot_ciwidth(performance, "Intercept")
    part = plots.plot_ciwidth(performance, "Intercept", where={"method": ["partial"]})
    colour = {line.get_label(): line.get_color() for line in whole.axes[0].lines}
    assert colour["partial"] == {line.get_label(): line.get_color() for line in part.axes[0].lines}["partial"]
    assert len({colour[m] for m in METHODS}) == 3


def test_single_groups_and_single_cells(performance):
    figure = plots.plot_bias(performance, "theta_school", group="each", where={"sd_school": 5})
    (ax,) = figure.axes
    assert [t.get_text() for t in ax.get_xticklabels()] == list(SCHOOLS)
    chosen = (performance.measure == "bias") & (performance.sd_school == 5) & performance.group.isin(SCHOOLS)
    for method in METHODS:
        rows = performance[chosen & (performance.method == method)].set_index("group").loc[list(SCHOOLS)]
        np.testing.assert_array_equal(dots(ax)[method], rows["value"])


def test_rmse_ratio_is_the_root_of_the_mse_over_the_reference(performance):
    figure = plots.plot_rmse_ratio(performance, "theta_school", to="none", regime="population")
    (ax,) = figure.axes
    mse = performance[(performance.measure == "mse") & (performance.group == "[mean]")].set_index(
        ["method", "sd_school"]
    )
    for i, method in enumerate(METHODS):
        base = np.sqrt(mse.loc["none", "value"])
        np.testing.assert_allclose(dots(ax)[method], np.sqrt(mse.loc[method, "value"]) / base)
        ends = np.sqrt(mse.loc[method, ["lower", "upper"]].clip(lower=0)).div(base, axis=0)
        np.testing.assert_allclose(bars(ax)[i], ends)
    assert np.all(dots(ax)["none"] == 1)
    assert "RMSE of theta_school, mean over groups relative to none" in words(figure) and "population" in words(figure)
    renamed = performance.replace({"measure": {"mse": "rmse"}})
    (again,) = plots.plot_rmse_ratio(renamed, "theta_school", to="none").axes
    np.testing.assert_allclose(dots(again)["partial"] ** 0.5, dots(ax)["partial"])


def test_paired_ratios_of_the_table_are_drawn_as_they_are(performance):
    rows = performance[performance.measure == "mse"].assign(measure="rmse_ratio")
    rows = rows.assign(value=rows["value"].where(rows["method"] != "complete"))
    figure = plots.plot_rmse_ratio(pd.concat([performance, rows]), "theta_school", regime="population")
    want = rows[(rows.group == "[mean]") & (rows.method == "partial")]["value"]
    np.testing.assert_array_equal(dots(figure.axes[0])["partial"], want)
    assert figure.axes[0].get_ylabel() == "RMSE / RMSE of complete" and "bars leave" not in words(figure)


def test_lollipop(performance):
    figure = plots.plot_lollipop(performance, "cover", "theta_school", where={"sd_school": 5}, regime="prior")
    (ax,) = figure.axes
    rows = performance[
        (performance.measure == "cover") & (performance.group == "[mean]") & (performance.sd_school == 5)
    ]
    points = np.array([[line.get_xdata()[0] for line in ax.lines[3 * i : 3 * i + 3]] for i in range(3)])
    np.testing.assert_array_equal(points, rows[["value", "lower", "upper"]])
    stems = [c.get_segments()[0][:, 0] for c in ax.collections]
    np.testing.assert_allclose(stems, [[0.95, value] for value in rows["value"]])
    assert "truth regime: prior" in words(figure)


def test_heat(performance):
    two = pd.concat([performance.assign(groups=8), performance.assign(groups=30, value=performance["value"] / 2)])
    figure = plots.plot_heat(two, "mse", "theta_school", "sd_school", "groups", regime="population")
    want = two[(two.measure == "mse") & (two.group == "[mean]")]
    assert [ax.get_title() for ax in figure.axes[:3]] == list(METHODS)
    for ax, method in zip(figure.axes[:3], METHODS, strict=True):
        grid = want[want.method == method].pivot(index="groups", columns="sd_school", values="value")
        np.testing.assert_array_equal(ax.collections[0].get_array().reshape(2, 3), grid)
        cells = want[want.method == method].sort_values(["groups", "sd_school"])
        shown = [tables.number(v, e).replace(" ", "\n") for v, e in zip(cells["value"], cells["mcse"], strict=True)]
        assert [t.get_text() for t in ax.texts] == shown
    assert "population" in words(figure)


@pytest.mark.parametrize("rep", [0, None])
def test_shrinkage(estimates, rep):
    figure = plots.plot_shrinkage(
        estimates, "theta_school", "none", "partial", rep=rep, where={"sd_school": 5}, regime="fixed"
    )
    (ax,) = figure.axes
    rows = estimates[(estimates.sd_school == 5) & (estimates.estimand == "theta_school")]
    rows = rows if rep is None else rows[rows.rep == rep]
    rows = rows[rows.method.isin(["none", "partial"]) & np.isfinite(rows.estimate)]
    rows = rows[rows.groupby(["rep", "group"])["method"].transform("nunique") == 2]  # what both methods have
    means = rows.groupby(["group", "method"])["estimate"].mean().unstack().sort_values("none")
    raw, pooled = ax.lines[0], ax.lines[1]
    assert (raw.get_label(), pooled.get_label()) == ("none", "partial")
    np.testing.assert_allclose(raw.get_xdata(), means["none"])
    np.testing.assert_allclose(pooled.get_xdata(), means["partial"])
    assert [t.get_text() for t in ax.get_yticklabels()] == list(means.index)
    (arrows,) = [c for c in ax.collections if isinstance(c, Quiver)]
    np.testing.assert_allclose(arrows.X + arrows.U, means["partial"])
    assert "truth regime: fixed" in words(figure) and ("replicate 0" in words(figure)) == (rep == 0)
    errors = [c for c in ax.collections if c.get_label() == "± 2 Monte Carlo SE"]
    assert len(errors) == (0 if rep == 0 else 2)
    if rep is None:
        widths = [np.ptp(segment[:, 0]) for segment in errors[1].get_segments()]
        mcse = rows.groupby(["group", "method"])["estimate"].sem().unstack()["partial"]
        np.testing.assert_allclose(widths, 4 * mcse.loc[means.index])


def test_shrinkage_of_one_fit():
    figure = plots.plot_shrinkage_arrays([3.0, 1.0, 2.0], [2.5, 1.5, 2.0], ["c", "a", "b"], centre=2.0, truth=[2, 1, 3])
    (ax,) = figure.axes
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b", "c"]
    np.testing.assert_array_equal(ax.lines[1].get_xdata(), [1.5, 2.0, 2.5])
    np.testing.assert_array_equal(ax.lines[2].get_xdata(), [1, 3, 2])
    np.testing.assert_array_equal(ax.lines[3].get_xdata(), [2.0, 2.0])
    with pytest.raises(ValueError, match="expected one length, found"):
        plots.plot_shrinkage_arrays([1.0, 2.0], [1.0], ["a", "b"])


def test_shrinkage_of_many_groups_has_no_labels_to_overlap():
    raw = np.random.default_rng(0).normal(size=300)
    (ax,) = plots.plot_shrinkage_arrays(raw, raw / 2, [f"g{i}" for i in range(300)]).axes
    assert len(ax.get_yticks()) == 0 and "300 groups" in ax.get_ylabel()


def test_zip_ranks_by_pit_and_colours_by_covering(estimates):
    figure = plots.plot_zip(
        estimates, "theta_school", where={"method": "none", "sd_school": 5}, nominal=0.9, regime="population"
    )
    (ax,) = figure.axes
    rows = estimates[(estimates.method == "none") & (estimates.sd_school == 5) & (estimates.estimand == "theta_school")]
    rows = rows.assign(surprise=(2 * rows["rank"] / rows["max_rank"] - 1).abs()).sort_values("surprise", kind="stable")
    covers = ((rows.lower <= rows.true) & (rows.true <= rows.upper)).to_numpy()
    ends = rows[["lower", "upper"]].sub(rows["true"], axis=0).to_numpy()
    drawn = {c.get_label(): np.array(c.get_segments()) for c in ax.collections}
    np.testing.assert_allclose(drawn["covers"][:, :, 0], ends[covers])
    np.testing.assert_allclose(drawn["misses"][:, :, 0], ends[~covers])
    np.testing.assert_allclose(drawn["misses"][:, 0, 1], (100 * (np.arange(len(rows)) + 0.5) / len(rows))[~covers])
    assert 90.0 in [line.get_ydata()[0] for line in ax.lines]
    assert "population" in words(figure)


def test_zip_without_ranks_uses_the_standardised_error(estimates):
    rows = estimates[(estimates.method == "none") & (estimates.sd_school == 5)].assign(rank=np.nan)
    figure = plots.plot_zip(rows, "Intercept", regime="fixed")
    drawn = {c.get_label(): np.array(c.get_segments()) for c in figure.axes[0].collections}
    covered_below = drawn["covers"][:, 0, 1].max()
    assert len(drawn["misses"]) == 0 or drawn["misses"][:, 0, 1].min() > covered_below
    with pytest.raises(ValueError, match="expected rows with a truth"):
        plots.plot_zip(rows.assign(true=np.nan), "Intercept")


def test_estimate_truth(estimates):
    where = {"method": "none", "sd_school": 20}
    (ax,) = plots.plot_estimate_truth(estimates, "theta_school", where=where, regime="population").axes
    rows = estimates[
        (estimates.method == "none") & (estimates.sd_school == 20) & (estimates.estimand == "theta_school")
    ]
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), rows[["true", "estimate"]])


def test_failures(estimates):
    figure = plots.plot_failures(estimates, where={"sd_school": 5}, regime="population")
    (ax,) = figure.axes
    found = {bar.get_label(): [patch.get_width() for patch in bar] for bar in ax.containers}
    assert found == {"nonfinite": [0, 0, 1 / 40], "divergent": [1 / 40] * 3}
    clean = plots.plot_failures(estimates.assign(status="ok"))
    assert clean.axes[0].texts[0].get_text() == "no fit is missing or flagged" and not clean.axes[0].containers


def test_every_figure_names_its_regime(estimates, performance):
    two = pd.concat([performance.assign(groups=8), performance.assign(groups=30)])
    two.attrs["regime"] = estimates.attrs["regime"] = "population"
    cell = {"sd_school": 5}
    figures = [
        plots.plot_measure(two, "mse", "Intercept"),
        plots.plot_coverage(two, "Intercept"),
        plots.plot_bias(two, "Intercept"),
        plots.plot_ciwidth(two, "Intercept"),
        plots.plot_rmse_ratio(two, "Intercept"),
        plots.plot_lollipop(two, "mse", "Intercept", where=cell),
        plots.plot_heat(two, "mse", "Intercept", "sd_school", "groups"),
        plots.plot_shrinkage(estimates, "theta_school", "none", "partial"),
        plots.plot_zip(estimates, "Intercept", where=cell),
        plots.plot_estimate_truth(estimates, "Intercept", where=cell),
        plots.plot_failures(estimates),
        plots.plot_curve(two, "mse", "Intercept", x="groups"),
        plots.plot_power(two.replace({"measure": {"cover": "power"}}), "Intercept", x="groups"),
        plots.plot_nested_loop(two, "mse", "Intercept"),
        plots.plot_ridge(estimates, "Intercept", where=cell),
        plots.plot_estimate_se(estimates, "Intercept", where=cell),
        plots.plot_ranks(estimates, "Intercept", where=cell),
        plots.plot_ecdf_difference(estimates, "Intercept", where=cell),
        plots.plot_coverage_curve(estimates, "Intercept", where=cell),
    ]
    del estimates.attrs["regime"]
    from hiermodels.reporting.plots import estimates as over_replicates
    from hiermodels.reporting.plots import grids, measures, ranks, replicates

    studies = [name for module in (over_replicates, grids, measures, ranks, replicates) for name in module.__all__]
    assert len(figures) == len(studies) + 1  # and plot_shrinkage
    assert all("truth regime: population" in words(figure) for figure in figures)
    assert "truth regime: not stated" in words(plots.plot_bias(performance, "Intercept"))


def test_one_axes_can_be_the_callers(performance):
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert plots.plot_bias(performance, "Intercept", ax=left, regime="fixed") is figure
    plots.plot_rmse_ratio(performance, "Intercept", ax=right, regime="fixed")
    assert "truth regime: fixed" in left.get_title() and "partial" in right.get_ylabel() + str(dots(right))
    assert "RMSE of complete" in right.get_ylabel() and left.get_ylabel() == "bias of Intercept"
    with pytest.raises(ValueError, match="ax: expected one panel, found 2"):
        plots.plot_bias(performance, ax=left)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda p: plots.plot_bias(p, "nobody"),
            "estimand: expected one of Intercept, theta_school, found nobody",
        ),
        (
            lambda p: plots.plot_measure(p, "power"),
            "measure: expected one of bias, mse, cover, ciwidth, found 'power'",
        ),
        (lambda p: plots.plot_bias(p, where={"tau": 1}), "where: expected a column .*found 'tau'"),
        (
            lambda p: plots.plot_bias(p, where={"sd_school": 7}),
            "sd_school: expected one of 0, 5, 20, found 7",
        ),
        (
            lambda p: plots.plot_rmse_ratio(p, to="best"),
            "to: expected one of complete, none, partial, found 'best'",
        ),
    ],
)
def test_bad_requests_say_what_there_is(performance, call, message):
    with pytest.raises(ValueError, match=message):
        call(performance)


def test_too_many_panels(performance):
    many = pd.concat([performance.assign(reps=i) for i in range(30)])
    with pytest.raises(ValueError, match="expected at most 24 panels, found 30"):
        plots.plot_bias(many, "Intercept", x="sd_school")


def test_saved_twice_the_same_bytes(tmp_path, performance):
    def once(folder):
        return plots.save(plots.plot_coverage(performance, regime="fixed"), tmp_path / folder, "coverage")

    first, second = once("one"), once("two")
    assert [path.name for path in first] == ["coverage.svg", "coverage.png"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert b"<dc:date>" not in first[0].read_bytes()


def test_colours_can_be_told_apart_without_red_and_green():
    """Under simulated deuteranopia (Viénot 1999) every two of the first five colours differ."""
    from hiermodels.reporting._figure import PALETTE

    rgb = np.array([[int(to_hex(c)[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in PALETTE[:5]]) ** 2.2
    seen = (rgb @ np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]).T).clip(0, 1)
    gaps = np.abs(seen[:, None] ** (1 / 2.2) - seen[None] ** (1 / 2.2)).max(-1)
    assert gaps[~np.eye(5, dtype=bool)].min() > 0.12


def test_notebooks_show_figures_without_pyplot(performance):
    assert plots.plot_bias(performance, "Intercept")._repr_png_().startswith(b"\x89PNG")


def test_tables_as_they_are_read_back(tmp_path, estimates, performance):
    """A CSV file turns empty groups into missing ones; the run folder's estimates have coded texts."""
    performance.to_csv(tmp_path / "p.csv", index=False)
    (ax,) = plots.plot_bias(pd.read_csv(tmp_path / "p.csv"), "Intercept").axes
    np.testing.assert_allclose(dots(ax)["none"], dots(plots.plot_bias(performance, "Intercept").axes[0])["none"])
    coded = estimates.astype(dict.fromkeys(("method", "estimand", "group", "status"), "category"))
    where = {"sd_school": 5, "method": "none"}
    for plot in (plots.plot_zip, plots.plot_estimate_truth):
        assert len(plot(coded, "Intercept", where=where).axes) == 1
    (ax,) = plots.plot_failures(coded, where={"sd_school": 5}).axes
    assert [len(bars) for bars in ax.containers] == [3, 3]
    assert len(plots.plot_shrinkage(coded, "theta_school", "none", "partial", rep=0).axes) == 3


def test_factors_missing_from_some_mechanisms(performance):
    """A row-by-row grid leaves some factors out of some cells; numbers stay numbers, gaps are a dash."""
    mixed = performance.assign(size=np.where(performance["sd_school"] == 5, np.nan, 3.0))
    figure = plots.plot_bias(mixed, "Intercept", x="sd_school")
    assert {ax.get_title() for ax in figure.axes} == {"size = 3", "size = –"}


def test_examples_in_the_docstrings():
    from hiermodels.reporting.plots import shrinkage

    for module in (tables, shrinkage):
        result = doctest.testmod(module)
        assert result.attempted > 0 and result.failed == 0
