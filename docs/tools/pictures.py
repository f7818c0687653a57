"""Draw every picture of the gallery: ``python docs/tools/pictures.py [NAME...]`` writes docs/pictures/<function>.png.

Data are those of the library; studies are small ones, run here. It takes a few minutes.
"""

from __future__ import annotations

import json
import sys
import tempfile
from functools import cache
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

import hiermodels as hm
from hiermodels.reporting import plots
from hiermodels.studies.config import read_config

PICTURES = Path(__file__).resolve().parents[1] / "pictures"
LARGEST = 60_000
MEAN = {"group": "[mean]"}


# what is drawn ----------------------------------------------------------------------------------------------------------  # noqa: E501


@cache
def schools(pooling: str = "partial") -> hm.Fit:
    """Eight schools under the default priors."""
    model = hm.Model("effect ~ 1 + (1 | school)", known_se="se")
    return hm.fit(model, hm.load_dataset("eight_schools"), sampler="exact", pooling=pooling, progress=False)


@cache
def rats() -> hm.Fit:
    """Seventy-one experiments, a beta population."""
    model = hm.Model("tumors ~ 1 + (1 | experiment)", "binomial", trials="rats")
    return hm.fit(model, hm.load_dataset("rats"), sampler="exact", progress=False)


@cache
def scores() -> hm.Fit:
    """Three levels."""
    return hm.fit(
        hm.Model("score ~ 1 + (1 | school/classroom)"), hm.load_dataset("scores"), sampler="exact", progress=False
    )


@cache
def baseball() -> tuple[hm.Fit, dict[str, float]]:
    """Eighteen batters, and what they hit in the rest of the season."""
    table = hm.load_dataset("baseball")
    model = hm.Model("avg ~ 1 + (1 | player)", known_se="se", priors={"sd_player": "flat_variance()"})
    rest = dict(zip(table["player"], table["rem_avg"], strict=True))
    return hm.fit(model, table, sampler="exact", progress=False), rest


@cache
def lines(pooling: str) -> hm.Fit:
    """Seventy-five individuals' lines."""
    priors = {"sd_id": "half_normal(3)", "sd_id_x": "half_normal(3)", "sigma": "half_normal(5)"}
    model = hm.Model("y ~ 1 + x + (1 + x || id)", priors=priors)
    return hm.fit(model, hm.load_dataset("individuals"), sampler="exact", pooling=pooling, progress=False)


def study(config: str | dict, replications: int, workers: int | None = None) -> hm.Run:
    """A study in a folder that goes away."""
    return _study(json.dumps(config), replications, workers)


@cache
def _study(config: str, replications: int, workers: int | None) -> hm.Run:
    folder = tempfile.TemporaryDirectory()
    _FOLDERS.append(folder)
    return hm.run(
        json.loads(config), Path(folder.name) / "run", replications=replications, workers=workers, progress=False
    )


_FOLDERS: list[tempfile.TemporaryDirectory] = []
MEASURES = ["bias", "mse", "rmse", "rmse_ratio", "cover", "ciwidth"]
POPULATION = read_config("eight_schools", performance=MEASURES).resolved()
FACTORIAL = {
    "mechanisms": {
        "formula": "score ~ 1 + (1 | school)", "design": {"school": 8, "obs": 5},
        "truth": {"Intercept": 0, "sd_school": 1, "sigma": 2},
        "grid": {"school": [4, 8], "obs": [2, 8], "sd_school": [0.25, 1, 2]},
    },
    "estimands": ["Intercept", "theta_school"],
    "methods": {
        "none": {"pooling": "none", "sampler": "exact", "priors": {"sigma": "half_normal(5)"}},
        "partial": {"sampler": "exact", "priors": {"Intercept": "normal(0, 10)", "sd_school": "half_normal(2)", "sigma": "half_normal(5)"}},  # noqa: E501
    },
    "performance": ["rmse", "cover"], "replications": 60, "failures": "complete-case", "seed": 1,
}  # fmt: skip
CALIBRATED = {
    "mechanisms": POPULATION["mechanisms"] | {"truth": {"Intercept": "normal(0, 20)", "sd_school": "half_normal(10)"}, "grid": {}},  # noqa: E501
    "estimands": ["Intercept", "sd_school", "theta_school"],
    "methods": {
        "right": {"sampler": "exact", "priors": {"Intercept": "normal(0, 20)", "sd_school": "half_normal(10)"}},
        "narrow": {"sampler": "exact", "priors": {"Intercept": "normal(0, 20)", "sd_school": "half_normal(3)"}},
    },
    "performance": ["cover"], "replications": 400, "failures": "complete-case", "seed": 1,
}  # fmt: skip
FRAGILE = {
    "mechanisms": POPULATION["mechanisms"] | {"grid": {"sd_school": [0, 10]}},
    "estimands": ["Intercept", "sd_school"],
    "methods": {
        "centred": {
            "marginalize": False, "centred": True, "draws": 100, "tune": 100, "chains": 2,
            "priors": {"Intercept": "flat()", "sd_school": "half_normal(20)"},
        },
        "non-centred": {
            "marginalize": False, "draws": 100, "tune": 100, "chains": 2,
            "priors": {"Intercept": "flat()", "sd_school": "half_normal(20)"},
        },
    },
    "performance": ["bias"], "replications": 40, "failures": "complete-case", "seed": 1,
}  # fmt: skip

POWER = read_config("cluster_power").resolved()
POWER["mechanisms"]["grid"] = {"school": [8, 16, 32], "treated": [0, 0.4]}
POWER["methods"] = {name: POWER["methods"][name] for name in ("cluster_t", "partial")}


def population() -> hm.Run:
    """Eight schools' standard errors, effects redrawn."""
    return study(POPULATION, 250)


def calibration() -> pd.DataFrame:
    """Ranks under the prior that the truths come from, and under a narrower one."""
    return study(CALIBRATED, 400).estimates


# one function a picture -------------------------------------------------------------------------------------------------  # noqa: E501


def plot_shrinkage_arrays() -> Figure:
    """Eight schools, from raw to partially pooled."""
    return schools().plot_shrinkage()


def plot_mle_posterior() -> Figure:
    """Rat experiments: posterior against own rate."""
    return plots.plot_mle_posterior(rats(), xlabel="tumours / rats", ylabel="posterior probability of a tumour")


def plot_stein() -> Figure:
    """Three rails: average, estimate, rest of the season."""
    fit, rest = baseball()
    return plots.plot_stein(
        fit, truth=rest, names=("45 at-bats", "posterior mean", "rest of the season"), xlabel="batting average"
    )


def plot_plane() -> Figure:
    """Intercepts and slopes of two fits."""
    fits = {"no pooling": lines("none"), "partial pooling": lines("partial")}
    return plots.plot_plane(fits, "theta_id", "theta_id_x", xlabel="intercept", ylabel="slope")


def plot_caterpillar() -> Figure:
    """Batters from the smallest estimate to the largest."""
    fit, rest = baseball()
    return plots.plot_caterpillar(
        fit, truth=rest, xlabel="batting average", title="95% intervals and the rest of the season"
    )


def plot_forest() -> Figure:
    """Eight schools as a meta-analysis shows them."""
    return plots.plot_forest(schools(), xlabel="effect, points")


def plot_tree() -> Figure:
    """Population, schools, classrooms."""
    return plots.plot_tree(scores(), xlabel="score, points")


def plot_paths() -> Figure:
    """Conditional means as the spread grows."""
    return plots.plot_paths(schools(), xlabel="sd between schools, points", ylabel="effect, points")


def plot_prior_posterior() -> Figure:
    """What the data add to the priors."""
    return plots.plot_prior_posterior(lines("partial"), ["sd_id", "sd_id_x", "sigma"])


def plot_triple() -> Figure:
    """The compromise of one experiment."""
    return plots.plot_triple(
        rats(), "71", xlabel="probability of a tumour", title="Experiment 71: 4 tumours among 14 rats"
    )


def plot_funnel() -> Figure:
    """A centred and a marginalised fit of the same model."""
    model = hm.Model("effect ~ 1 + (1 | school)", known_se="se")
    data = hm.load_dataset("eight_schools")
    centred = hm.fit(model, data, marginalize=False, centred=True, progress=False)
    return plots.plot_funnel(
        {"centred": centred, "integrated out": schools()}, "theta_school", "A", sd="sd_school", most=1500
    )


def plot_predictive() -> Figure:
    """Observed counts among replicated ones."""
    return plots.plot_predictive(rats(), replicates=40, xlabel="tumours")


def plot_predictive_intervals() -> Figure:
    """Each outcome in its predictive interval."""
    return plots.plot_predictive_intervals(schools(), xlabel="effect, points")


def plot_extremes() -> Figure:
    """Largest and smallest outcome of replicated data."""
    return plots.plot_extremes(schools("complete"), xlabel="effect, points")


def plot_pooled_densities() -> Figure:
    """What one common effect expects of each school."""
    return plots.plot_pooled_densities(schools("complete"), xlabel="effect, points")


def plot_measure() -> Figure:
    """Root mean squared error of the groups."""
    return plots.plot_measure(population().performance, "rmse", "theta_school", **MEAN)


def plot_bias() -> Figure:
    """Bias of the population mean."""
    return plots.plot_bias(population().performance, "Intercept")


def plot_coverage() -> Figure:
    """Coverage of the groups' intervals."""
    return plots.plot_coverage(population().performance, "theta_school", **MEAN)


def plot_ciwidth() -> Figure:
    """Width of the groups' intervals."""
    return plots.plot_ciwidth(population().performance, "theta_school", **MEAN)


def plot_rmse_ratio() -> Figure:
    """Error relative to no pooling."""
    return plots.plot_rmse_ratio(population().performance, "theta_school", to="none", **MEAN)


def plot_lollipop() -> Figure:
    """Coverage at one spread."""
    return plots.plot_lollipop(population().performance, "cover", "theta_school", where={"sd_school": 10}, **MEAN)


def plot_heat() -> Figure:
    """Error over two factors."""
    where = {"obs": 2}
    return plots.plot_heat(
        study(FACTORIAL, 60).performance, "rmse", "theta_school", "sd_school", "school", where=where, **MEAN
    )


def plot_nested_loop() -> Figure:
    """Error over three factors."""
    table = study(FACTORIAL, 60).performance
    return plots.plot_nested_loop(table, "rmse", "theta_school", order=["obs", "school", "sd_school"], **MEAN)


def plot_curve() -> Figure:
    """Error along the spread."""
    return plots.plot_curve(population().performance, "rmse", "theta_school", xlabel="true sd between schools", **MEAN)


def plot_power() -> Figure:
    """Power of a trial that treats whole schools."""
    return plots.plot_power(study(POWER, 100).performance, "differs", x="school", where={"treated": 0.4})


def plot_zip() -> Figure:
    """Every interval of a hundred datasets."""
    where = {"sd_school": 10, "method": ["complete", "partial"]}
    return plots.plot_zip(population().first_replicates(60), "theta_school", where=where, regime="population")


def plot_estimate_truth() -> Figure:
    """Estimates against truths."""
    table = population().first_replicates(60)
    where = {"sd_school": 10, "method": ["none", "partial"]}
    return plots.plot_estimate_truth(table, "theta_school", where=where, regime="population")


def plot_estimate_se() -> Figure:
    """Errors against standard errors."""
    table = population().first_replicates(60)
    where = {"sd_school": 10, "method": ["none", "partial"]}
    return plots.plot_estimate_se(table, "theta_school", where=where, regime="population")


def plot_ridge() -> Figure:
    """Density of an estimate over replicates."""
    return plots.plot_ridge(population().estimates, "Intercept", where={"sd_school": 10}, regime="population")


def plot_shrinkage() -> Figure:
    """Mean estimates of two methods where truths are fixed."""
    table = study("eight_schools_fixed", 200).estimates
    return plots.plot_shrinkage(table, "theta_school", "none", "partial", regime="fixed")


def plot_failures() -> Figure:
    """Fits that are flagged."""
    return plots.plot_failures(study(FRAGILE, 40, 1).failures, regime="population")


def plot_ranks() -> Figure:
    """Ranks of the truth among the draws."""
    return plots.plot_ranks(calibration(), ["sd_school"], regime="prior")


def plot_ecdf_difference() -> Figure:
    """The same as distribution functions."""
    return plots.plot_ecdf_difference(calibration(), ["sd_school"], regime="prior")


def plot_coverage_curve() -> Figure:
    """The same as coverage at every level."""
    return plots.plot_coverage_curve(calibration(), ["sd_school"], regime="prior")


def save(figure: Figure, path: Path) -> None:
    """Write a small PNG: 700 pixels wide at most, 128 colours where that is needed."""
    width, height = figure.get_size_inches()
    figure.savefig(path, dpi=min(90, 700 / width), metadata={"Software": None})
    with Image.open(path) as full:
        picture = full.convert("RGB").quantize(128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    picture.save(path, optimize=True)
    size = path.stat().st_size
    print(f"{path.name}: {size / 1000:.0f} kB, {width:.1f} x {height:.1f} in")
    if size > LARGEST:
        raise SystemExit(f"{path.name}: {size} bytes, more than {LARGEST}; draw less")


def main(names: list[str]) -> None:
    """Draw the pictures that are named, by default all."""
    PICTURES.mkdir(exist_ok=True)
    for name in names or [n for n in plots.__all__ if n.startswith("plot_")]:
        save(globals()[name](), PICTURES / f"{name}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
