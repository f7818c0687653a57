"""Every figure of a fit, on every kind of fit, under default priors: it is drawn, or refused with a sentence."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pandas as pd
import pytest
from clear_words import RAW

import hiermodels as hm
from hiermodels.reporting import plots

OF_TABLES = ("performance", "estimates", "table", "raw", "sources")
NAMES = [
    n
    for n in plots.__all__
    if n.startswith("plot_") and next(iter(inspect.signature(getattr(plots, n)).parameters)) not in OF_TABLES
]
STRANGE = [
    "$a_b$",
    "100%_x",
    "σ² grün",
    "a school whose name takes more than sixty characters in all, A",
    "a\\b",
    "{c}^2",
]


def trials() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"trial": np.repeat(list("abcdef"), 20), "treat": np.tile([0, 1], 60), "x": rng.normal(size=120)}
    )
    frame["y"] = rng.normal(size=120) + frame["treat"] * np.repeat(rng.normal(1, 0.5, 6), 20)
    return frame


def labelled() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    return pd.DataFrame({"g": np.repeat(STRANGE, 8), "y": rng.normal(size=48) + np.repeat(rng.normal(0, 2, 6), 8)})


FITS = {
    "eight schools": ("effect ~ 1 + (1 | school)", "eight_schools", {"known_se": "se"}, {}),
    "no pooling": ("effect ~ 1 + (1 | school)", "eight_schools", {"known_se": "se"}, {"pooling": "none"}),
    "complete pooling": ("effect ~ 1", "eight_schools", {"known_se": "se"}, {"pooling": "complete"}),
    "three levels": ("score ~ 1 + (1 | school/classroom)", "scores", {}, {}),
    "slopes alone": ("y ~ 1 + treat + (0 + treat | trial)", trials, {}, {}),
    "no intercept": ("y ~ 0 + treat + (0 + treat | trial)", trials, {}, {}),
    "labels": ("y ~ 1 + (1 | g)", labelled, {}, {}),
    "correlated slopes": ("y ~ 1 + treat + (1 + treat | trial)", trials, {}, {}),
    "rates": ("tumors ~ 1 + (1 | experiment)", "rats", {"family": "binomial", "trials": "rats"}, {}),
    "counts": ("failures ~ 1 + (1 | pump)", "pumps", {"family": "poisson", "exposure": "hours"}, {}),
    "no groups": ("y ~ 1 + treat", trials, {}, {}),
    "logit": (
        "deaths ~ 1 + (1 | hospital)",
        "hospitals",
        {"family": "binomial_logit", "trials": "operations"},
        {"sampler": "nuts", "tune": 200, "chains": 2},
    ),
    "crossed": (
        "diameter ~ 1 + (1 | plate) + (1 | sample)",
        "penicillin",
        {},
        {"sampler": "nuts", "tune": 200, "chains": 2},
    ),
}
SLOW = ("correlated slopes", "rates", "counts", "logit", "crossed", "three levels", "no groups")


def fitted(name: str):
    formula, data, declaration, settings = FITS[name]
    frame = hm.load_dataset(data) if isinstance(data, str) else data()
    return hm.fit(
        hm.Model(formula, **declaration), frame, progress=False, **{"sampler": "exact", "draws": 250, **settings}
    )


def call(name: str, fit):
    """Draw a figure with the arguments that it needs."""
    values = fit.draws.values
    if name == "plot_funnel":
        theta = next((v for v in values if v.startswith("theta_")), None)
        if theta is None:
            pytest.skip("no groups")
        owner = next(lv for lv in fit.problem.layout.levels if theta in fit.problem.layout.effect_names(lv))
        return plots.plot_funnel({"fit": fit}, theta, str(fit.problem.labels[owner.name][0]))
    if name == "plot_plane":
        thetas = [v for v in values if v.startswith("theta_")]
        if len(thetas) < 2:
            pytest.skip("one effect")
        return plots.plot_plane({"fit": fit}, thetas[0], thetas[1])
    if name == "plot_shrinkage_arrays":
        return plots.plot_shrinkage_arrays(np.arange(6.0), np.full(6, 2.5), STRANGE)
    return getattr(plots, name)(fit)


@pytest.mark.parametrize("kind", [pytest.param(k, marks=[pytest.mark.slow] if k in SLOW else []) for k in FITS])
def test_every_figure_of_a_fit_is_drawn_or_refused_in_words(kind):
    fit, drawn = fitted(kind), []
    for name in NAMES:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                figure = call(name, fit)
            except ValueError as error:
                assert "expected" in str(error) and "found" in str(error) and len(str(error)) < 600, (name, str(error))
                continue
            except pytest.skip.Exception:
                continue
            figure.savefig("/dev/null", format="png", dpi=40)
        drawn.append(name)
    if fit.problem.layout.levels:
        assert {"plot_caterpillar", "plot_forest"} <= set(drawn)
    if kind != "no pooling" and not fit.problem.layout.known:
        assert "plot_prior_posterior" in drawn
    assert "plot_predictive" in drawn


def test_a_reference_prior_and_a_prior_in_units_of_sigma_are_drawn_at_their_heights():
    from hiermodels import priors
    from hiermodels.reporting._densities import prior_density

    known, at = np.array([1.0, 4.0, 9.0]), np.array([0.5, 1.0, 3.0])
    right = at * np.sqrt(((known[:, None] + at**2) ** -2.0).sum(0))
    np.testing.assert_allclose(prior_density(priors.reference(), at, "positive", known), right, rtol=1e-10)
    sigma = np.array([1.0, 2.0])
    right = np.mean([2 * t_density(at / (2.5 * s), 3) / (2.5 * s) for s in sigma], axis=0)
    np.testing.assert_allclose(prior_density(priors.scaled_half_t(3, 2.5), at, "positive", sigma), right, rtol=1e-10)


def t_density(x, df):
    from scipy import stats

    return stats.t.pdf(x, df)


def test_no_density_of_a_spread_has_mass_below_zero():
    draws = np.abs(np.random.default_rng(2).normal(size=(4, 500)))
    tree = pd_tree({"sd_g": draws})
    figure = plots.plot_prior_posterior(tree, priors={"sd_g": "flat()"})
    (ax,) = figure.axes
    for one in ax.lines:
        assert np.min(one.get_xdata()) >= 0
    estimates = pd.DataFrame(
        {"rep": range(200), "method": "m", "estimand": "sd_g", "group": "", "true": 0.1, "estimate": draws[0, :200]}
    )
    figure = plots.plot_ridge(estimates, "sd_g", y="method")
    for one in figure.axes[0].lines:
        if len(one.get_xdata()) > 10:
            assert np.min(one.get_xdata()) >= 0


def pd_tree(values):
    import xarray as xr

    return xr.DataTree.from_dict({"posterior": xr.Dataset({k: (("chain", "draw"), v) for k, v in values.items()})})


def test_ranks_are_drawn_of_what_sbc_returns():
    from hiermodels.studies.calibrate.calibration import calibration

    rng = np.random.default_rng(3)
    rows = pd.DataFrame(
        {
            "rep": range(200),
            "method": "m",
            "estimand": "mu",
            "group": "",
            "rank": rng.integers(0, 100, 200),
            "max_rank": 99,
        }
    )
    found = calibration(rows)
    for name in ("plot_ranks", "plot_ecdf_difference", "plot_coverage_curve"):
        a, b = getattr(plots, name)(found), getattr(plots, name)(rows, regime="prior")
        x, y = (np.concatenate([line.get_ydata() for line in fig.axes[0].lines]) for fig in (a, b))
        np.testing.assert_allclose(x, y, atol=0.02)  # PITs break ties within a cell at random


def wrong_things():
    """Everything that someone could give to a figure; right for some of them."""
    from long_tables import make_estimates, make_performance

    from hiermodels.studies.store.results import Run

    fit, estimates = fitted("eight schools"), make_estimates(6)
    performance = make_performance(estimates)
    text = performance.assign(value="high", estimate="3,5", lower="low")
    nullable = performance.convert_dtypes()
    things = {
        "a Fit": fit, "a Run": Run(None, {}, {}), "estimates": estimates, "performance": performance, "words for numbers": text, "nullable": nullable,
        "data": fit.data, "twice": pd.concat([performance, performance[["value"]]], axis=1), "no rows": estimates[:0], "no columns": pd.DataFrame(),
        "a tree": fit.to_datatree(), "a summary": fit.summary(), "a model": fit.model, "a mapping": {"m": fit}, "mapping of numbers": {"m": 1},
        "nothing": None, "a text": "performance", "a number": 3, "a list": [1, 2], "an array": np.zeros((2, 2)), "a series": pd.Series([1.0]), "a class": pd.DataFrame, "a function": fitted,
    }  # fmt: skip
    failures = pd.DataFrame(
        {
            "method": ["m"],
            "n_sim": 6,
            **dict.fromkeys(["ok", "heavy_weights", "low_ess", "rhat", "divergent", "nonfinite"], 0),
        }
    )
    return things | {"failures": failures}


NEEDED = {
    "measure": "bias",
    "estimand": "theta_school",
    "raw": "none",
    "pooled": "partial",
    "theta": "theta_school",
    "group": "A",
    "sd": "sd_school",
}
NEEDED |= {"x": "theta_school", "y": "theta_school", "shrunken": [1.0, 2.0], "labels": ["a", "b"]}
TAKES = {
    "performance": "`run.performance`",
    "estimates": "`run.estimates`",
    "table": "`run.failures`",
    "source": "fit",
    "sources": "fit",
    "raw": "numbers",
}


@pytest.mark.parametrize("name", [n for n in plots.__all__ if n.startswith("plot_")])
def test_a_figure_given_something_else_says_what_it_takes_and_where_it_is(name, everything):
    """A traceback of KeyError or TypeError in each of these before."""
    figure = getattr(plots, name)
    first, *others = inspect.signature(figure).parameters.values()
    more = {p.name: NEEDED[p.name] for p in others if p.default is p.empty and p.kind is not p.VAR_KEYWORD}
    if name == "plot_heat":
        more |= {"x": "sd_school", "y": "method"}
    drawn = []
    for kind, thing in everything.items():
        try:
            figure(thing, **more)
        except ValueError as error:
            said = str(error)
            assert "expected" in said and "found" in said and len(said) <= 600 and not RAW.search(said), (kind, said)
            if kind in ("a Run", "nothing", "a number", "a model", "data", "a summary"):
                assert TAKES[first.name] in said or (name == "plot_plane" and TAKES["estimates"] in said), (kind, said)
        else:
            drawn.append(kind)
    rightly = {
        "performance": {"performance", "nullable"},
        "estimates": {"estimates"},
        "table": {"estimates", "failures"},
        "raw": {"a list"},
        "sources": {"a mapping"},
    }
    assert set(drawn) <= rightly.get(first.name, {"a Fit", "a tree", "a mapping", "estimates", "performance"}), drawn
    assert drawn or name in ("plot_stein", "plot_pooled_densities", "plot_power", "plot_plane"), (
        drawn
    )  # which need truths, complete pooling, power, two effects


@pytest.fixture(scope="module")
def everything():
    return wrong_things()


@pytest.mark.parametrize("name", ["plot_measure", "plot_lollipop", "plot_nested_loop", "plot_curve", "plot_heat"])
@pytest.mark.parametrize("what", ["x", "y", "colour"])
def test_a_column_that_a_table_has_not_is_named(name, what, everything):
    parameters = inspect.signature(getattr(plots, name)).parameters
    if what not in parameters:
        pytest.skip("no such argument")
    more = {"x": "sd_school", "y": "method"} if name == "plot_heat" else {}
    with pytest.raises(ValueError, match=r"expected a .*found 'school_size'"):
        getattr(plots, name)(everything["performance"], "bias", "theta_school", **more | {what: "school_size"})


def test_long_labels_lose_their_middle_and_stay_distinct():
    from hiermodels.reporting._figure import names_of

    found = names_of(["x" * 60, "x" * 59 + "x", "short", "$a_b$"])
    assert found[2:] == ["short", "$a_b$"] and len(set(found)) == 4 and max(map(len, found)) <= 30


def test_labels_and_titles_are_never_mathematics():
    from matplotlib.text import Text

    table = pd.DataFrame({"group": ["$a_b$", "c"], "estimate": [1.0, 2.0]})
    figure = plots.plot_caterpillar(table, title="cost in $, benefit in $")
    shown = [text for text in figure.findobj(Text) if "$" in text.get_text()]
    assert len(shown) >= 2 and not any(text.get_parse_math() for text in shown)
