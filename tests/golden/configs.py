"""The shipped configs, a few replicates of the first two cells by each method *given their datasets*, and fits of the
shipped data.

The simulated datasets lie in the folder, so a change of random streams does not enter.
"""

from __future__ import annotations

import copy
import difflib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import hiermodels as hm

REPLICATES = 4
CELLS = 2
CONFIGS = Path(__file__).parents[2] / "configs"
NUMBERS = ("true", "estimate", "median", "se", "lower", "upper")
CHAINS = ("nuts", "gibbs", "metropolis")
"""Samplers whose draws may differ by the order of rounding: compared within Monte Carlo error."""

FITS: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "eight_schools": ({"formula": "effect ~ 1 + (1 | school)", "known_se": "se"}, "eight_schools", {}),
    "eight_schools_flat": (
        {"formula": "effect ~ 1 + (1 | school)", "known_se": "se", "priors": {"sd_school": "flat()"}},
        "eight_schools",
        {},
    ),
    "eight_schools_complete": ({"formula": "effect ~ 1", "known_se": "se"}, "eight_schools", {"pooling": "complete"}),
    "eight_schools_none": (
        {"formula": "effect ~ 1 + (1 | school)", "known_se": "se"},
        "eight_schools",
        {"pooling": "none"},
    ),
    "baseball": ({"formula": "avg ~ 1 + (1 | player)", "known_se": "se"}, "baseball", {}),
    "rats": ({"formula": "tumors ~ 1 + (1 | experiment)", "family": "binomial", "trials": "rats"}, "rats", {}),
    "rats_bda3": (
        {
            "formula": "tumors ~ 1 + (1 | experiment)",
            "family": "binomial",
            "trials": "rats",
            "priors": {"experiment": "bda3()"},
        },
        "rats",
        {},
    ),
    "pumps": ({"formula": "failures ~ 1 + (1 | pump)", "family": "poisson", "exposure": "hours"}, "pumps", {}),
    "scores": ({"formula": "score ~ 1 + (1 | school/classroom)"}, "scores", {}),
    "individuals": ({"formula": "y ~ 1 + x + (1 + x || id)"}, "individuals", {}),
    "growth": ({"formula": "weight ~ 1 + day + (1 | rat)"}, "growth", {}),
    "pastes": ({"formula": "strength ~ 1 + (1 | batch/cask)"}, "pastes", {}),
}
"""Name to (declaration, dataset, settings of the fit); fitted by the exact engine."""


def cells(config: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The first cells of a config, each as a config of its own whose design is written out as a table."""
    from ruamel.yaml import YAML

    from hiermodels.studies.config import Study, read_config
    from hiermodels.studies.methods.ready import mechanism_of

    study: Study = read_config(str(config))
    whole = YAML(typ="safe").load(config.read_text())
    for place, cell in enumerate(study.cells()[:CELLS]):
        mechanism = mechanism_of(study, cell)
        if mechanism.deviation is not None and mechanism.deviation.changes_rows:
            continue
        one = copy.deepcopy(whole)
        one["mechanisms"].pop("grid", None)
        if len(mechanism.frame.columns):  # else there are rows alone
            one["mechanisms"]["design"] = {"table": plain(mechanism.frame)}
        sizes = set(whole["mechanisms"]["design"]) if isinstance(whole["mechanisms"]["design"], dict) else set()
        for name, value in cell.factors.items():
            if name.startswith("deviation."):
                if value not in ("normal", "none"):
                    one["mechanisms"].setdefault("deviation", {})[name.removeprefix("deviation.")] = value
            elif name not in sizes or name in one["mechanisms"]["truth"]:
                one["mechanisms"]["truth"][name] = value
        yield (f"{config.stem}-{place}", one | {"replications": REPLICATES, "lanes": REPLICATES, "chunk": REPLICATES})


def plain(frame: pd.DataFrame) -> dict[str, list[Any]]:
    """Columns as lists that a file can hold."""
    return {str(name): [x.item() if hasattr(x, "item") else x for x in column] for name, column in frame.items()}


def estimates(
    config: Mapping[str, Any], stored: tuple[Any, dict[str, np.ndarray]] | None, chains: bool = True
) -> tuple[Any, Any, pd.DataFrame]:
    """Outcomes, true values and the table of estimates of a config with one cell; outcomes that are stored are not
    made anew.
    """
    from hiermodels.studies.config import read_config
    from hiermodels.studies.methods import tasks
    from hiermodels.studies.methods.ready import mechanism_of

    study = read_config(config)
    (cell,) = study.cells()
    reps = np.arange(REPLICATES)
    outcomes, true = tasks.simulate_chunk(study, mechanism_of(study, cell), reps) if stored is None else stored
    usual, tables = tasks.simulate_chunk, []
    tasks.simulate_chunk = lambda *_, **__: (outcomes, true)
    try:
        for method, how in study.methods.items():
            if not chains and how.kind == "posterior" and how.sampler in CHAINS:
                continue
            print(" ", method, flush=True)
            tables.append(tasks.run_chunk(study, cell.hash, method, 0).to_pandas())
    finally:
        tasks.simulate_chunk = usual
    plain_tables = [t.astype({c: "str" for c in t if isinstance(t[c].dtype, pd.CategoricalDtype)}) for t in tables]
    return outcomes, true, pd.concat(plain_tables, ignore_index=True)


def record(folder: Path, earlier: Path | None = None, chains: bool = True) -> None:
    """Write everything into a folder; datasets come from an earlier folder where one is given."""
    folder.mkdir(parents=True, exist_ok=True)
    for config in sorted(CONFIGS.glob("*.yaml")):
        if earlier is None:
            found = list(cells(config))
        else:
            names = sorted(earlier.glob(f"{config.stem}-[0-9].json"))
            found = [(path.stem, json.loads(path.read_text())) for path in names]
        for name, one in found:
            if (folder / f"{name}.csv").exists():
                continue
            print(name, flush=True)
            stored = None
            if earlier is not None:
                arrays = dict(np.load(earlier / f"{name}.npz"))
                stored = arrays.pop("outcomes"), {k.removeprefix("true "): v for k, v in arrays.items()}
            outcomes, true, table = estimates(one, stored, chains)
            (folder / f"{name}.json").write_text(json.dumps(one))
            np.savez(folder / f"{name}.npz", outcomes=outcomes, **{f"true {k}": v for k, v in true.items()})
            table.to_csv(folder / f"{name}.csv", index=False, float_format="%.17g")
    for name, (declaration, data, settings) in FITS.items():
        if (folder / f"fit_{name}.csv").exists():
            continue
        print("fit", name, flush=True)
        arguments = dict(declaration)
        model = hm.Model(arguments.pop("formula"), **arguments)
        fit = hm.fit(model, hm.load_dataset(data), sampler="exact", progress=False, **settings)
        fit.summary().to_csv(folder / f"fit_{name}.csv", float_format="%.17g")
        head = str(fit).split("\n\n")[0]
        texts = [head, fit.latex(), fit.code(), *fit.warnings]
        (folder / f"fit_{name}.txt").write_text("\n\n".join(texts) + "\n")


def compare(folder: Path, other: Path) -> int:
    """Print how many files are the same, and each difference; the number of files that differ."""
    same = differ = 0
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".csv", ".txt"):
            continue
        there = other / path.name
        if not there.exists():
            print(f"{path.name}: missing")
            differ += 1
            continue
        said = text_difference(path, there) if path.suffix == ".txt" else table_difference(path, there)
        differ, same = differ + bool(said), same + (not said)
        for line in said:
            print(f"{path.name}: {line}")
    print(f"{same} files agree, {differ} differ")
    return differ


def text_difference(path: Path, there: Path) -> list[str]:
    """Lines of a text that are not the same."""
    a, b = path.read_text().splitlines(), there.read_text().splitlines()
    return [line for line in difflib.unified_diff(a, b, lineterm="", n=0) if line[:3] not in ("---", "+++", "@@ ")]


def table_difference(path: Path, there: Path) -> list[str]:
    """Per method and column: the largest difference as a share of the posterior sd (of the column where there is
    none).
    """
    a, b = pd.read_csv(path, keep_default_na=True), pd.read_csv(there, keep_default_na=True)
    said = []
    if "method" in a and set(b["method"]) < set(a["method"]):
        said.append(f"without {', '.join(sorted(set(a['method']) - set(b['method'])))}")
        a = a[a["method"].isin(set(b["method"]))].reset_index(drop=True)
    if len(a) != len(b):
        return [f"{len(a)} rows, now {len(b)}"]
    by = a["method"] if "method" in a else pd.Series(["fit"] * len(a))
    for method in dict.fromkeys(by):
        rows = (by == method).to_numpy()
        scale = a.loc[rows, "se" if "se" in a else "sd"].abs().to_numpy(float)
        for column in [c for c in a.columns if a[c].dtype.kind == "f" and c in b]:
            x, y = a.loc[rows, column].to_numpy(float), b.loc[rows, column].to_numpy(float)
            lost = int((np.isnan(x) != np.isnan(y)).sum())
            unit = np.where(np.isfinite(scale) & (scale > 0), scale, np.maximum(np.abs(x), 1e-300))
            with np.errstate(invalid="ignore"):
                gap = np.nanmax(np.where(x == y, 0.0, np.abs(x - y) / unit), initial=0.0)
            if lost or gap > 1e-9:
                said.append(
                    f"{method}: {column}: {gap:.2g} posterior sd at most"
                    + (f", {lost} missing in one only" if lost else "")
                )
        for column in ("status",):
            if (
                column in a
                and column in b
                and (a.loc[rows, column].astype(str) != b.loc[rows, column].astype(str)).any()
            ):
                changed = int((a.loc[rows, column].astype(str) != b.loc[rows, column].astype(str)).sum())
                said.append(f"{method}: {column}: {changed} of {int(rows.sum())} differ")
    return said
