"""The table behind the default priors: ``uv run python docs/tools/defaults.py [SETTING ...]``.

For each setting of `SETTINGS` a study is written to ``docs/defaults/<setting>.yaml`` and run by the library's own
runner; the coverage and the width of its 95% intervals, beside those of an oracle that knows the spread between groups,
go to ``docs/defaults/<setting>.csv``, and all of them to ``docs/defaults.md``. Some minutes a setting on two cores.
"""

from __future__ import annotations

import io
import math
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

import hiermodels as hm
from hiermodels.studies.store import results

FOLDER = Path(__file__).resolve().parents[1] / "defaults"
PAGE = FOLDER.parent / "defaults.md"
SHARES = (0, 0.25, 0.5, 1, 2, 4)
"""Spread between groups, in standard errors of a group's own estimate."""
SE = (15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0)


@dataclass(frozen=True)
class Setting:
    """One family and design: what is simulated and which priors are compared.

    Attributes
    ----------
    title : str
    formula, family : str
    truth : mapping
    spread : str
        The parameter whose truth runs over ``values``.
    values : tuple of float
    shown : tuple of str
        ``values`` as the page prints them.
    designs : mapping of int to mapping
        Number of groups to design.
    priors : mapping of str to mapping
        Candidate to priors.
    oracle : str
        Prior text of the oracle's spread, ``{}`` for the value.
    estimands : mapping of str to str
        Estimand to the word for it.
    rivals : mapping
        Methods beside the candidates.
    more : mapping
        Further keys of ``mechanisms``.
    replications : int
    """

    title: str
    formula: str
    truth: Mapping[str, Any]
    spread: str
    values: tuple[float, ...]
    shown: tuple[str, ...]
    designs: Mapping[int, Any]
    priors: Mapping[str, Mapping[str, str]]
    estimands: Mapping[str, str]
    family: str = "normal"
    oracle: str = "fixed({})"
    rivals: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)
    replications: int = 2000

    def study(self, groups: int, values: tuple[float, ...], methods: Mapping[str, Any]) -> dict[str, Any]:
        """The config of one number of groups."""
        return {
            "aim": f"Coverage and width of 95% intervals under candidate priors: {self.title}, {groups} groups.",
            "mechanisms": {
                "formula": self.formula,
                "family": self.family,
                **self.more,
                "design": self.designs[groups],
                "truth": {**self.truth, self.spread: values[0]},
                "grid": {self.spread: list(values)},
            },
            "estimands": list(self.estimands),
            "methods": dict(methods),
            "performance": ["cover", "ciwidth"],
            "replications": self.replications,
            "failures": "complete-case",
            "seed": 1,
        }

    def methods(self, groups: int) -> dict[str, Any]:
        """Candidates whose posterior is proper with so many groups, and rivals."""
        found: dict[str, Any] = {
            name: {"sampler": "exact", "priors": dict(priors)} for name, priors in self.priors.items()
        }
        proper = {name: method for name, method in found.items() if self._proper(groups, method)}
        return proper | dict(self.rivals)

    def _proper(self, groups: int, method: Mapping[str, Any]) -> bool:
        from hiermodels.studies.config import read_config
        from hiermodels.studies.run.runner import bind_all

        try:
            bind_all(read_config(self.study(groups, self.values[-1:], {"m": method})))
        except ValueError as error:
            if "improper" not in str(error) and "proper" not in str(error):
                raise
            return False
        return True

    def with_oracle(self, value: float) -> dict[str, Any]:
        """The method that knows the spread; everything else as the last candidate has it."""
        last = list(self.priors.values())[-1]
        return {"oracle": {"sampler": "exact", "priors": {**last, self.spread: self.oracle.format(value)}}}


def known(groups: int) -> dict[str, Any]:
    """Eight schools' standard errors, repeated or cut."""
    return {"table": {"school": [f"s{i + 1:02d}" for i in range(groups)], "se": [SE[i % 8] for i in range(groups)]}}


def sd_priors(name: str, scale: float, **others: str) -> dict[str, dict[str, str]]:
    """Candidates for a group sd; ``scale`` is the standard error of a group's own estimate."""
    menu = {
        "flat": "flat()",
        "flat_variance": "flat_variance()",
        "half_normal_1": f"half_normal({scale:g})",
        "half_normal_5": f"half_normal({5 * scale:g})",
        "half_t3_2.5": f"half_t(3, {2.5 * scale:g})",
        "half_cauchy_1": f"half_cauchy({scale:g})",
        "exponential_pc": f"exponential({-math.log(0.05) / (3 * scale):.3g})",
    }
    return {key: {**others, name: text} for key, text in menu.items()}


def in_units_of_sigma(*names: str) -> dict[str, dict[str, str]]:
    """Candidates for group sds that ask for no scale: half Cauchy and half t with 3 degrees of freedom."""
    menu = {"scaled_half_t1_1": (1, 1), "scaled_half_t3_1": (3, 1), "scaled_half_t3_2.5": (3, 2.5)}
    others = {"Intercept": "flat()", "sigma": "power(1)"}
    return {
        key: {**others, **dict.fromkeys(names, f"scaled_half_t({df}, {ratio})")} for key, (df, ratio) in menu.items()
    }


S0 = round(math.sqrt(8 / sum(se**-2 for se in SE)), 2)
OF_MU = {"Intercept": "mean", "theta_school": "groups", "new(school)": "new group"}
SETTINGS = {
    "known_variances": Setting(
        "known variances",
        "effect ~ 1 + (1 | school)",
        {"Intercept": 8},
        "sd_school",
        tuple(round(s * S0, 3) for s in SHARES),
        tuple(f"{s:g}" for s in SHARES),
        {j: known(j) for j in (2, 3, 4, 8, 20)},
        {
            "reference": {"Intercept": "flat()", "sd_school": "reference()"},
            "jeffreys2": {"Intercept": "flat()", "sd_school": "jeffreys2()"},
            **sd_priors("sd_school", S0, Intercept="flat()"),
        },
        OF_MU,
        rivals={
            "reml": {"estimator": "reml"},
            "hksj": {"estimator": "hksj"},
            "hksj_modified": {"estimator": "hksj_modified"},
        },
        more={"known_se": "se"},
    ),
    "unknown_variance": Setting(
        "unknown variance, five observations a group, half of the groups treated",
        "y ~ 1 + treated + (1 | school)",
        {"Intercept": 0, "treated": 0.5, "sigma": 1},
        "sd_school",
        tuple(round(s / math.sqrt(5), 3) for s in SHARES),
        tuple(f"{s:g}" for s in SHARES),
        {j: {"school": j, "obs": 5, "predictors": {"treated": "half(school)"}} for j in (4, 8, 20)},
        in_units_of_sigma("sd_school")
        | sd_priors("sd_school", round(1 / math.sqrt(5), 3), Intercept="flat()", treated="flat()", sigma="power(1)"),
        {"Intercept": "mean", "treated": "treatment", "theta_school": "groups", "new(school)": "new group"},
        replications=1000,
    ),
    "three_levels": Setting(
        "three levels, three classrooms a school, five students a classroom",
        "y ~ 1 + (1 | school/classroom)",
        {"Intercept": 0, "sd_school:classroom": 0.3, "sigma": 1},
        "sd_school",
        (0.0, 0.3, 1.2),
        ("0", "0.3 sigma", "1.2 sigma"),
        {j: {"school": j, "classroom": 3, "obs": 5} for j in (3, 4, 8)},
        in_units_of_sigma("sd_school", "sd_school:classroom")
        | {
            key: {"Intercept": "flat()", "sd_school": text, "sd_school:classroom": text, "sigma": "power(1)"}
            for key, text in {
                "half_normal_0.5": "half_normal(0.5)",
                "half_normal_1": "half_normal(1)",
                "half_normal_2.5": "half_normal(2.5)",
                "exponential_1": "exponential(1)",
            }.items()
        },
        {"Intercept": "mean", "theta_school": "groups", "new(school)": "new group"},
        replications=500,
    ),
    "binomial": Setting(
        "beta-binomial, twenty trials a group, mean 0.2",
        "k ~ 1 + (1 | unit)",
        {"mean_unit": 0.2},
        "kappa_unit",
        (2.0, 10.0, 50.0, 250.0),
        ("2", "10", "50", "250"),
        {j: {"unit": j, "obs": 1, "predictors": {"n": 20}} for j in (3, 4, 8, 20)},
        {
            "bda3": {"unit": "bda3()"},
            "rgbp": {"unit": "rgbp()"},
            "jeffreys_mean_half_normal_50": {"mean_unit": "beta(0.5, 0.5)", "kappa_unit": "half_normal(50)"},
            "jeffreys_mean_exponential_0.05": {"mean_unit": "beta(0.5, 0.5)", "kappa_unit": "exponential(0.05)"},
            "flat_mean_gamma_2_0.05": {"mean_unit": "beta(1, 1)", "kappa_unit": "gamma(2, 0.05)"},
            "flat_mean_half_normal_cv_2": {"mean_unit": "beta(1, 1)", "kappa_unit": "half_normal_cv(2)"},
            "jeffreys_mean_half_normal_cv_1": {"mean_unit": "beta(0.5, 0.5)", "kappa_unit": "half_normal_cv(1)"},
        },
        {"mean_unit": "mean", "theta_unit": "groups", "new(unit)": "new group"},
        family="binomial",
        more={"trials": "n"},
        replications=1000,
    ),
    "poisson": Setting(
        "gamma-Poisson, exposure ten, mean rate 1",
        "k ~ 1 + (1 | unit)",
        {"mean_unit": 1.0},
        "shape_unit",
        (0.5, 2.0, 10.0, 50.0),
        ("0.5", "2", "10", "50"),
        {j: {"unit": j, "obs": 1, "predictors": {"exposure": 10}} for j in (3, 4, 8, 20)},
        {
            "bda3": {"unit": "bda3()"},
            "rgbp": {"unit": "rgbp()"},
            "gamma_half_normal_10": {"mean_unit": "gamma(0.5, 0.1)", "shape_unit": "half_normal(10)"},
            "gamma_exponential_0.1": {"mean_unit": "gamma(0.5, 0.1)", "shape_unit": "exponential(0.1)"},
            "gamma_half_normal_cv_1": {"mean_unit": "gamma(0.5, 0.1)", "shape_unit": "half_normal_cv(1)"},
            "log_flat_half_normal_cv_2": {"mean_unit": "power(1)", "shape_unit": "half_normal_cv(2)"},
            "log_flat_half_normal_cv_1": {"mean_unit": "power(1)", "shape_unit": "half_normal_cv(1)"},
        },
        {"mean_unit": "mean", "theta_unit": "groups", "new(unit)": "new group"},
        family="poisson",
        more={"exposure": "exposure"},
        replications=1000,
    ),
}


def widths(run: hm.Run, factor: str) -> pd.Series:
    """Median width by spread, method and estimand, over replicates and groups."""
    rows = run.estimates
    return (
        (rows["upper"] - rows["lower"])
        .groupby([rows[factor], rows["method"], rows["estimand"]], observed=True)
        .median()
    )


def measured(setting: Setting, groups: int, folder: Path) -> pd.DataFrame:
    """A row a spread, method and estimand: coverage, its Monte Carlo error, median width over the oracle's."""
    run = hm.run(setting.study(groups, setting.values, setting.methods(groups)), folder / f"{groups}", progress=False)
    table = run.performance.query("measure == 'cover'")
    table = table[table["group"].isin(["", "[mean]"])]
    width = widths(run, setting.spread)
    oracles = []
    for i, value in enumerate(setting.values):
        one = hm.run(
            setting.study(groups, (value,), setting.with_oracle(value)), folder / f"{groups}-oracle-{i}", progress=False
        )
        oracles.append(widths(one, setting.spread).droplevel("method"))
    oracle = pd.concat(oracles)
    rows = []
    for row in table.itertuples():
        value = getattr(row, setting.spread)
        ratio = width.loc[(value, row.method, row.estimand)] / oracle.loc[(value, row.estimand)]
        rows.append((groups, value, row.method, row.estimand, row.value, row.mcse, ratio, row.n_sim, row.n_failed))
    return pd.DataFrame(
        rows, columns=["groups", setting.spread, "method", "estimand", "cover", "mcse", "width", "n_sim", "n_failed"]
    )


def make(name: str) -> pd.DataFrame:
    """Run one setting and store its table."""
    setting = SETTINGS[name]
    text = io.StringIO()
    largest = max(setting.designs)
    YAML().dump(setting.study(largest, setting.values, setting.methods(largest)), text)
    (FOLDER / f"{name}.yaml").write_text(
        f"# Written by docs/tools/defaults.py; the other numbers of groups differ in `design` alone.\n{text.getvalue()}"
    )
    with tempfile.TemporaryDirectory() as folder:
        found = pd.concat([measured(setting, groups, Path(folder)) for groups in setting.designs])
    found.to_csv(FOLDER / f"{name}.csv", index=False, float_format="%.4f")
    return found


def section(name: str, found: pd.DataFrame) -> str:
    """The page's part on one setting: worst and best coverage over the spread, and the widest median width."""
    setting, parts = SETTINGS[name], []
    parts.append(f"## {setting.title[0].upper()}{setting.title[1:]}\n")
    parts.append(
        f"`{setting.formula}`; {setting.spread} in {', '.join(setting.shown)}"
        + (" standard errors of a group's estimate" if setting.shown[1] == "0.25" else "")
        + (
            f"; {setting.replications:,} datasets a cell: [{name}.yaml](defaults/{name}.yaml), all cells in "
            f"[{name}.csv](defaults/{name}.csv).\n"
        )
    )
    for estimand, word in setting.estimands.items():
        rows = found[found["estimand"] == estimand]
        columns = list(setting.designs)
        parts.append(f"**{word}** (`{estimand}`)\n")
        parts.append("| prior | " + " | ".join(f"{j} groups" for j in columns) + " |\n|---|" + "---|" * len(columns))
        for method in dict.fromkeys(rows["method"]):
            cells = []
            for j in columns:
                here = rows[(rows["method"] == method) & (rows["groups"] == j)].dropna(subset="cover")
                cells.append(
                    f"{100 * here['cover'].min():.1f}-{100 * here['cover'].max():.1f} ({here['width'].max():.2g})"
                    if len(here)
                    else ""
                )
            if any(cells):
                parts.append(f"| {method} | " + " | ".join(cells) + " |")
        parts.append("")
    return "\n".join(parts)


HEAD = """# Default priors, by what they do to coverage

Each cell: worst and best coverage, in percent, of 95% intervals over the true spreads between groups, and in brackets the largest
ratio of the median width to that of an oracle that knows the spread. Coverage of groups is averaged over groups, under
populations with the spread fixed (regime: population). Empty: the posterior is improper there, or the method has no such
interval. Monte Carlo error: half a percentage point at 2,000 datasets, 0.7 at 1,000, 1.0 at 500.

`half_normal_5` is a half normal of scale five standard errors of a group's own estimate, and so on; `exponential_pc` puts 5% of
its mass above three of them; `reml`, `hksj` and `hksj_modified` are frequentist intervals on the same datasets.
Made by `python docs/tools/defaults.py` with the library's own runner.
"""  # noqa: E501


def main() -> None:
    """Make the settings that are named, all by default, and write the page from what is stored; ``page`` makes none."""
    for name in sys.argv[1:] or SETTINGS:
        if name != "page":
            make(name)
            print(name, flush=True)
    stored = {name: FOLDER / f"{name}.csv" for name in SETTINGS}
    parts = [section(name, pd.read_csv(file)) for name, file in stored.items() if file.exists()]
    verdict = FOLDER / "verdict.txt"
    PAGE.write_text("\n".join([HEAD, *([verdict.read_text()] if verdict.exists() else []), *parts]))


if __name__ == "__main__":
    results.Run.report = lambda run: run.path / "report.html"  # type: ignore[method-assign]
    FOLDER.mkdir(exist_ok=True)
    main()
