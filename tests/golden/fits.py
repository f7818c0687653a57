"""Some forty fits of shipped data, over all families, poolings and samplers: tables, texts, draws, predictions, saved
files.

Draws of `exact` and `closed_form` are compared number by number, in posterior sds; those of chains by the means of
their summary, in Monte Carlo standard errors, unless their bits are the same.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import hiermodels as hm
from tests.golden.compare import Tally

CHAINS = ("nuts", "gibbs", "metropolis")
OF_SD = 1e-9
"""Of a posterior sd, where the draws are independent."""
MCSE = 4.0
SMALL = {"chains": 2, "draws": 200}
SHORT = {"chains": 2, "draws": 150, "tune": 150}

EIGHT = {"formula": "effect ~ 1 + (1 | school)", "known_se": "se"}
RATS = {"formula": "tumors ~ 1 + (1 | experiment)", "family": "binomial", "trials": "rats"}
PUMPS = {"formula": "failures ~ 1 + (1 | pump)", "family": "poisson", "exposure": "hours"}
PASTES = {"formula": "strength ~ 1 + (1 | batch/cask)"}
CONJUGATE = {"Intercept": "scaled_normal(45, 2)", "sigma": "inverse_gamma_variance(2, 50)"}

FITS: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    # normal, known variances
    "eight schools": (EIGHT, "eight_schools", {"sampler": "exact"}),
    "eight schools half normal": (EIGHT | {"priors": {"sd_school": "half_normal(5)"}}, "eight_schools", {"sampler": "exact"}),
    "eight schools flat": (EIGHT | {"priors": {"sd_school": "flat()"}}, "eight_schools", {"sampler": "exact"}),
    "eight schools single precision": (EIGHT, "eight_schools", {"sampler": "exact", "precision": "float32"}),
    "eight schools complete": (EIGHT, "eight_schools", {"sampler": "closed_form", "pooling": "complete"}),
    "eight schools none": (EIGHT, "eight_schools", {"sampler": "exact", "pooling": "none"}),
    "eight schools known spread": (EIGHT | {"priors": {"sd_school": "fixed(10)"}}, "eight_schools", {"sampler": "exact"}),
    "eight schools nuts": (EIGHT, "eight_schools", {"sampler": "nuts"}),
    "eight schools nuts on all": (EIGHT, "eight_schools", {"sampler": "nuts", "marginalize": False, "centred": "auto"}),
    "eight schools gibbs": (EIGHT | {"priors": {"sd_school": "half_cauchy(5)"}}, "eight_schools", {"sampler": "gibbs"}),
    "eight schools metropolis": (EIGHT, "eight_schools", {"sampler": "metropolis"}),
    "eight schools t": (EIGHT | {"family": "student_t"}, "eight_schools", {"sampler": "nuts"}),
    "baseball": ({"formula": "avg ~ 1 + (1 | player)", "known_se": "se", "priors": {"Intercept": "normal(0.25, 0.05)", "sd_player": "jeffreys2()"}},
                 "baseball", {"sampler": "exact"}),
    # normal, unknown variance
    "one sample": ({"formula": "score ~ 1", "priors": CONJUGATE}, "scores", {"sampler": "closed_form"}),
    "scores": ({"formula": "score ~ 1 + (1 | school/classroom)"}, "scores", {"sampler": "exact"}),
    "scores gibbs": ({"formula": "score ~ 1 + (1 | school/classroom)"}, "scores", {"sampler": "gibbs"}),
    "scores complete": ({"formula": "score ~ 1 + (1 | school/classroom)"}, "scores", {"sampler": "exact", "pooling": "complete"}),
    "individuals": ({"formula": "y ~ 1 + x + (1 + x || id)"}, "individuals", {"sampler": "exact"}),
    "growth": ({"formula": "weight ~ 1 + day + (1 | rat)", "priors": {"sd_rat": "half_t(3, 20)", "sigma": "half_cauchy(10)"}}, "growth", {"sampler": "exact"}),
    "growth slopes": ({"formula": "weight ~ 1 + day + (1 + day | rat)", "priors": {"cor_rat": "lkj(2)"}}, "growth", {"sampler": "nuts"}),
    "pastes": (PASTES, "pastes", {"sampler": "exact"}),
    "pastes none": (PASTES, "pastes", {"sampler": "exact", "pooling": "none"}),
    "pastes mixed": (PASTES, "pastes", {"sampler": "exact", "pooling": {"batch": "complete"}}),
    "penicillin": ({"formula": "diameter ~ 1 + (1 | plate) + (1 | sample)"}, "penicillin", {"sampler": "nuts"}),
    "radon": ({"formula": "log_radon ~ 1 + floor + uranium + (1 | county)"}, "radon", {"sampler": "exact"}),
    # counts, groups integrated out
    "rats": (RATS, "rats", {"sampler": "exact"}),
    "rats bda3": (RATS | {"priors": {"experiment": "bda3()"}}, "rats", {"sampler": "exact"}),
    "rats complete": (RATS, "rats", {"sampler": "closed_form", "pooling": "complete"}),
    "rats none": (RATS, "rats", {"sampler": "exact", "pooling": "none"}),
    "rats gibbs": (RATS, "rats", {"sampler": "gibbs"}),
    "hospitals": ({"formula": "deaths ~ 1 + (1 | hospital)", "family": "binomial", "trials": "operations", "priors": {"hospital": "rgbp()"}}, "hospitals",
                  {"sampler": "exact"}),
    "patients": ({"formula": "responds ~ 1 + (1 | basket)", "family": "bernoulli"}, "patients", {"sampler": "exact"}),
    "pumps": (PUMPS, "pumps", {"sampler": "exact"}),
    "pumps gamma rate": (PUMPS | {"priors": {"mean_pump": "gamma_rate(0.1, 1)", "shape_pump": "exponential(1)"}}, "pumps", {"sampler": "exact"}),
    "pumps none": (PUMPS, "pumps", {"sampler": "exact", "pooling": "none"}),
    "pumps nuts on all": (PUMPS, "pumps", {"sampler": "nuts", "marginalize": False}),
    "counties": ({"formula": "deaths ~ 1 + (1 | state/county)", "family": "poisson", "exposure": "exposure"}, "counties", {"sampler": "nuts"}),
    # other links
    "baskets": ({"formula": "responses ~ 1 + (1 | basket)", "family": "binomial_logit", "trials": "patients"}, "baskets", {"sampler": "nuts"}),
    "patients logit": ({"formula": "responds ~ 1 + (1 | basket)", "family": "bernoulli_logit"}, "patients", {"sampler": "nuts", "pooling": "none"}),
    "pumps log": (PUMPS | {"family": "poisson_log"}, "pumps", {"sampler": "nuts"}),
    "counties overdispersed": ({"formula": "deaths ~ 1 + (1 | state)", "family": "negative_binomial", "exposure": "exposure"}, "counties", {"sampler": "nuts"}),
}  # fmt: skip
"""Name to (declaration, dataset, settings of the fit)."""


def _data(name: str) -> pd.DataFrame:
    """A shipped dataset; ``patients`` are those of the baskets, a row each."""
    if name != "patients":
        return hm.load_dataset(name)
    baskets = hm.load_dataset("baskets")
    rows = [(b, int(k < r)) for b, r, n in baskets.itertuples(index=False) for k in range(n)]
    return pd.DataFrame(rows, columns=["basket", "responds"])


def record(folder: Path) -> None:
    """A JSON file of tables and texts a fit, and its draws."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (declaration, data, settings) in FITS.items():
        path = folder / f"{name.replace(' ', '_')}.json"
        if path.exists():
            continue
        print(f"fit {name} ({time.process_time():.0f} s)", flush=True)
        given = dict(declaration)
        model = hm.Model(given.pop("formula"), **given)
        how = (SHORT if settings["sampler"] in CHAINS else SMALL) | settings
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = hm.fit(model, _data(data), progress=False, **how)
            found = _of_fit(fit, how["sampler"])
        if how["sampler"] not in CHAINS:
            np.savez(path.with_suffix(".npz"), **fit.draws.values)
        path.write_text(json.dumps(found, indent=1))


# one fit
# -----------------------------------------------------------------------------------------------------------------------


def _of_fit(fit: Any, sampler: str) -> dict[str, Any]:
    chains = sampler in CHAINS
    found: dict[str, Any] = {"sampler": sampler, "draws": {name: _checksum(x) for name, x in fit.draws.values.items()}}
    whole = str(fit)
    found["texts"] = {
        "print": whole.split("\n\n")[0] if chains else _without_numbers(whole),
        "repr": "" if chains else repr(fit),
        "latex": fit.latex(),
        "code": fit.code(),
        "status": "" if chains else fit.status,
        "warnings": [] if chains else list(fit.warnings),
    }
    found["summary"] = _table(fit.summary())
    found["file"], values = _file(fit, chains)
    tables = found["tables"] = {} if chains else {name: _table(table) for name, table in values.items()}
    for name, make in _tables(fit):
        try:
            table = make()
        except ValueError as error:
            found["texts"][name] = str(error)
            continue
        tables[name] = _shape(table) if chains else _table(table)
    return found


def _tables(fit: Any) -> Iterator[tuple[str, Callable[[], pd.DataFrame]]]:
    """What a fit is asked for; refusals are recorded as well."""
    yield "fitted", fit.fitted
    yield "residuals", lambda: fit.residuals("standardised", prob=0.9)
    yield "pooling", fit.pooling
    yield "heterogeneity", fit.heterogeneity
    yield "ranks", fit.ranks
    yield (
        "check",
        lambda: pd.DataFrame({k: [v] for k, v in vars(fit.check("mean", seed=2)).items() if isinstance(v, float)}),
    )
    yield "diagnose", lambda: fit.diagnose().table
    yield (
        "loo",
        lambda: (lambda loo: pd.DataFrame({"elpd": [loo.elpd], "se": [loo.se], "p": [loo.p]}, dtype=float))(fit.loo()),
    )
    for groups in ("existing", "new", "average"):
        for kind in ("mean", "outcome"):
            yield f"predict {groups} {kind}", lambda groups=groups, kind=kind: _predicted(fit, groups, kind)
    for level in [v.name for v in fit.problem.layout.levels][:-1]:
        yield f"pooling {level}", lambda level=level: fit.pooling(level)
        yield f"ranks {level}", lambda level=level: fit.ranks(level)


def _predicted(fit: Any, groups: str, kind: str) -> pd.DataFrame:
    draws = next(iter(fit.predict(groups=groups, kind=kind, seed=4).predictions.data_vars.values())).to_numpy()
    flat = draws.reshape(-1, draws.shape[-1])
    return pd.DataFrame({"mean": flat.mean(0), "sd": flat.std(0), "q": np.quantile(flat, 0.1, axis=0)})


def _without_numbers(text: str) -> str:
    """The printed fit without its estimate of its own error, whose digits are rounding."""
    return "\n".join("quadrature: ..." if line.startswith("quadrature: off by") else line for line in text.splitlines())


def _checksum(x: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest()


def _table(table: pd.DataFrame) -> dict[str, Any]:
    return {
        "index": [str(x) for x in table.index],
        "columns": {str(c): [_plain(x) for x in table[c]] for c in table.columns},
    }


def _shape(table: pd.DataFrame) -> dict[str, Any]:
    return {"index": [str(x) for x in table.index], "columns": [str(c) for c in table.columns]}


def _plain(x: Any) -> Any:
    return float(x) if isinstance(x, (float, np.floating)) else x.item() if hasattr(x, "item") else str(x)


def _file(fit: Any, chains: bool) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    """Groups, variables and attributes of the saved file, and whether it reads back the same; digests and times left
    out.

    And, of what stands beside the draws (log likelihoods, log priors), mean and sd over draws.
    """
    import xarray as xr

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fit.nc"
        fit.save(path)
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            found: dict[str, Any] = {}
            values: dict[str, pd.DataFrame] = {}
            for node in tree.subtree:
                for name, x in node.to_dataset(inherit=False).variables.items():
                    found[f"{node.path}/{name}"] = [
                        *map(str, x.dims),
                        str(x.dtype),
                        *([] if name == "parquet" else map(str, x.shape)),
                    ]
                    if x.dims[:2] == ("chain", "draw") and node.name != "posterior":
                        flat = np.asarray(x, float).reshape(x.shape[0] * x.shape[1], -1)
                        values[f"file {node.name} {name}"] = pd.DataFrame({"mean": flat.mean(0), "sd": flat.std(0)})
                found[f"{node.path} attributes"] = sorted(map(str, node.attrs))
            header = json.loads(tree.attrs["hiermodels"])
        back = hm.load_fit(path)
    for word in ("seconds", "identity", "error", *(("status", "warnings") if chains else ())):
        header.pop(word, None)
    same = all(np.array_equal(x, back.draws.values[name], equal_nan=True) for name, x in fit.draws.values.items())
    return found | {"header": header, "reads back": same and back.summary().equals(fit.summary())}, values


# side by side
# ------------------------------------------------------------------------------------------------------------------


def compare(folder: Path, other: Path) -> int:
    """Print what differs; the number of differences."""
    tally = Tally()
    names = [p.name for f in (folder, other) for p in sorted(f.glob("*.json"))]
    for name in dict.fromkeys(names):
        if not ((folder / name).exists() and (other / name).exists()):
            tally.differs(f"{name}: {'new' if (other / name).exists() else 'lost'}")
            continue
        a, b = (json.loads((f / name).read_text()) for f in (folder, other))
        _compare_fit(
            tally, name.removesuffix(".json"), a, b, [f / name.replace(".json", ".npz") for f in (folder, other)]
        )
    return tally.report("fits")


def _compare_fit(tally: Tally, name: str, a: dict[str, Any], b: dict[str, Any], draws: list[Path]) -> None:
    chains, same = a["sampler"] in CHAINS, a["draws"] == b["draws"]
    tally.tree(f"{name}: texts", a["texts"], b["texts"])
    tally.tree(f"{name}: file", a["file"], b["file"])
    if not chains:
        with np.load(draws[0]) as x, np.load(draws[1]) as y:
            tally.keys(f"{name}: draws", list(x), list(y))
            for key in [k for k in x.files if k in y.files]:
                tally.number(
                    f"{name}: draws {key}",
                    x[key],
                    y[key],
                    OF_SD,
                    np.std(x[key].astype(float), axis=(0, 1), keepdims=True),
                )
    if chains and not same:
        _within_error(tally, f"{name}: summary", a["summary"], b["summary"])
        tally.tree(f"{name}: tables", *({k: _frame_of(v) for k, v in t["tables"].items()} for t in (a, b)))
        return
    for what, x, y in [
        ("summary", a["summary"], b["summary"]),
        *((k, v, b["tables"].get(k, {})) for k, v in a["tables"].items()),
    ]:
        _compare_table(tally, f"{name}: {what}", x, y)
    tally.keys(f"{name}: tables", a["tables"], b["tables"])


def _frame_of(table: dict[str, Any]) -> dict[str, Any]:
    return {"index": table["index"], "columns": list(table["columns"])}


def _compare_table(tally: Tally, where: str, a: dict[str, Any], b: dict[str, Any]) -> None:
    """Numbers in posterior sds where a table has them, else relative; a table of chains is its rows and columns
    alone.
    """
    if not isinstance(a["columns"], dict) or not isinstance(b.get("columns"), dict):
        tally.tree(where, a, b)
        return
    tally.text(f"{where} rows", a["index"], b["index"])
    tally.keys(where, a["columns"], b["columns"])
    sd = None
    if "sd" in a["columns"] and "mean" in a["columns"]:  # draws that are all the same have an sd of rounding
        sd = np.fmax(np.array(a["columns"]["sd"], float), 1e-6 * np.abs(np.array(a["columns"]["mean"], float)))
    for column in [c for c in a["columns"] if c in b["columns"] and a["index"] == b["index"]]:
        x, y = a["columns"][column], b["columns"][column]
        if all(isinstance(v, (float, int)) and not isinstance(v, bool) for v in (*x, *y)):
            tally.number(f"{where} {column}", np.array(x, float), np.array(y, float), OF_SD, sd)
        else:
            tally.text(f"{where} {column}", x, y)


def _within_error(tally: Tally, where: str, a: dict[str, Any], b: dict[str, Any]) -> None:
    """Means of two runs of chains, in standard errors of their difference."""
    tally.text(f"{where} rows", [a["index"], list(a["columns"])], [b["index"], list(b["columns"])])
    if a["index"] == b["index"]:
        x, y, ex, ey = (np.array(t["columns"][c], float) for c in ("mean", "mcse_mean") for t in (a, b))
        with np.errstate(all="ignore"):
            gap = np.nan_to_num(np.abs(x - y) / np.hypot(ex, ey))
        if np.any(np.isnan(x) != np.isnan(y)) or gap.max(initial=0.0) > MCSE:
            tally.differs(
                f"{where}: {a['index'][int(gap.argmax())]}: {gap.max():.2g} Monte Carlo standard errors apart"
            )
        else:
            tally.within += 1
