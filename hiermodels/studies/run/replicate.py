"""One replicate of a run alone: its data, its truth, its estimates and its draws, as the run had them.

The chunk that the replicate stands in is computed again, with the same lanes, so that its estimates must equal the
stored ones to the last bit on the same kind of machine; the draws are those that the estimates summarise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pyarrow.compute as pc
import xarray as xr
from jax import Array

from hiermodels.inference import describe, samplers
from hiermodels.inference.compiled import draw
from hiermodels.inference.datatree import to_datatree
from hiermodels.inference.draws import Draws
from hiermodels.inference.naming import canonical_settings, canonical_targets
from hiermodels.models.canonical import canonical
from hiermodels.models.data import bind as bind_data
from hiermodels.models.problem import Problem, as_jax
from hiermodels.studies.config import Cell, Study
from hiermodels.studies.config.errors import nearest
from hiermodels.studies.mechanisms.frames import frames
from hiermodels.studies.mechanisms.own import OwnLayout
from hiermodels.studies.mechanisms.simulate import method_key
from hiermodels.studies.methods.programs import dataset, steps_of
from hiermodels.studies.methods.ready import Fit, Mechanism, fit_of, lanes_of, mechanism_of, truth_of
from hiermodels.studies.methods.tasks import redrawn_columns, rows_of, run_chunk, simulate_chunk
from hiermodels.studies.run.exporting import matching
from hiermodels.studies.run.merge import unequal_columns
from hiermodels.studies.store import results
from hiermodels.studies.store.csv_text import csv_text
from hiermodels.studies.store.disk import whole
from hiermodels.studies.store.identity import Makers, check_current
from hiermodels.studies.store.results import Run, load_run

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Replicate", "replicate"]


@dataclass(frozen=True)
class Replicate:
    """One replicate of one cell.

    Attributes
    ----------
    cell : Cell
    rep : int
    data : DataFrame
        What the methods met: the design with the outcome.
    truth : DataFrame
        ``variable, group, true`` of everything that the mechanism knows.
    estimates : DataFrame
        The replicate's rows of the table of estimates, computed again.
    differences : dict of str to list of str
        Method to the columns in which its rows are not the stored ones, bit by bit; None where nothing is stored.
    draws : dict of str to DataTree
        Method to its draws, where it has any.
    notes : dict of str to str
        Method to what must be known of its draws.
    """

    cell: Cell
    rep: int
    data: pd.DataFrame
    truth: pd.DataFrame
    estimates: pd.DataFrame
    differences: dict[str, list[str] | None] = field(default_factory=dict)
    draws: dict[str, xr.DataTree] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def save(self, folder: str | Path) -> Path:
        """Write ``data.csv``, ``truth.csv``, ``estimates.csv`` and the draws, ``<method>.nc``."""
        folder = Path(folder)
        for name in ("data", "truth", "estimates"):
            text = csv_text(getattr(self, name))
            results.write_bytes(folder / f"{name}.csv", text.encode())
        for method, tree in self.draws.items():
            file = folder / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', method)}.nc"
            with whole(file) as temporary:
                tree.to_netcdf(temporary, engine="h5netcdf")
        return folder


def replicate(
    run: Run | str | Path,
    rep: int,
    cell: Mapping[str, Any] | None = None,
    method: str | None = None,
    *,
    functions: Mapping[str, Callable[..., Any]] | None = None,
) -> Replicate:
    """Compute one replicate of a run again.

    Parameters
    ----------
    run : Run or path
        A run, finished or not.
    rep : int
        From 0; it need not be among those that the run has.
    cell : mapping, optional
        Factor to value, as many as name one cell.
    method : str, optional
        One method; by default all.
    functions : mapping, optional
        Python functions of the study, as for `hiermodels.run`.

    Returns
    -------
    Replicate

    Raises
    ------
    ValueError
        For a cell, method or number that there is not.

    Examples
    --------
    >>> replicate("runs/quick", 7, {"sd_school": 10}).truth  # doctest: +SKIP
    """
    run = run if isinstance(run, Run) else load_run(run)
    check_current(run.manifest, run.path)
    study = Study.from_resolved(run.config, functions=functions)
    place = _one_cell(study, cell or {})
    if isinstance(rep, bool) or not isinstance(rep, int) or not 0 <= rep < 2**31:
        raise ValueError(
            f"rep: expected a whole number from 0, found {rep!r}; the run has 0 to {study.replications - 1}"
        )
    mechanism = mechanism_of(study, place)
    outcomes, true = simulate_chunk(study, mechanism, np.arange(rep, rep + 1))
    columns = redrawn_columns(study, mechanism, np.arange(rep, rep + 1))
    data = next(iter(frames(mechanism.problem, mechanism.frame, outcomes, columns)))
    found = Replicate(place, rep, data, _truth_table(mechanism, true), _no_rows())
    tables = []
    for name in _methods(study, method):
        table = _rows_of(study, place, name, rep)
        tables.append(table.to_pandas())
        found.differences[name] = _against_stored(run, table, place, name, rep, lanes_of(study, place, name)[1])
        _add_draws(found, study, name, int(tables[-1]["n_try"].max()) if len(tables[-1]) else 1)
    return Replicate(**{**vars(found), "estimates": _joined(tables)})


def _one_cell(study: Study, wanted: Mapping[str, Any]) -> Cell:
    cells = matching(study, wanted)
    if len(cells) > 1:
        some = "; ".join(
            ",".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in c.factors.items())
            for c in cells[:6]
        )
        raise ValueError(f"cell: expected the factors of one cell, found {len(cells)} that fit; name one, e.g. {some}")
    return cells[0]


def _methods(study: Study, method: str | None) -> list[str]:
    if method is None:
        return list(study.methods)
    if method not in study.methods:
        raise ValueError(f"method: unknown method {method!r}; {nearest(method, study.methods)}")
    return [method]


def _no_rows() -> pd.DataFrame:
    return pd.DataFrame()


def _joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    plain = [t.astype({c: "str" for c in t if isinstance(t[c].dtype, pd.CategoricalDtype)}) for t in tables]
    return pd.concat(plain, ignore_index=True)


def _truth_table(mechanism: Mechanism, true: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Every true value, a row a number; groups by label."""
    problem = mechanism.problem
    places = {name: level.name for level in problem.layout.levels for name in problem.layout.effect_names(level)}
    rows: list[tuple[str, str, float]] = []
    for name, value in true.items():
        if name in places:
            level = places[name]
            rows += list(
                zip(
                    [name] * len(problem.labels[level]),
                    problem.labels[level],
                    value[0][problem.positions[level]],
                    strict=True,
                )
            )
        else:
            rows += [(name, "", float(x)) for x in np.ravel(value[0])]
    return pd.DataFrame(rows, columns=["variable", "group", "true"])


def _rows_of(study: Study, cell: Cell, method: str, rep: int) -> pa.Table:
    """The replicate's rows, from the whole chunk that it stands in."""
    chunk = lanes_of(study, cell, method)[1]
    table = run_chunk(study, cell.hash, method, rep // chunk)
    return table.filter(pc.equal(table["rep"], rep))


def _against_stored(run: Run, table: pa.Table, cell: Cell, method: str, rep: int, chunk: int) -> list[str] | None:
    path = results.chunk_path(run.path, cell.hash, method, rep // chunk)
    if not path.is_file():
        return None
    stored = results.read_chunk(path, maker=Makers(run.manifest).of(cell.hash, method))
    return unequal_columns(table, stored.filter(pc.equal(stored["rep"], rep)))


# draws
# --------------------------------------------------------------------------------------------------------------------


def _add_draws(found: Replicate, study: Study, method: str, tries: int) -> None:
    """The method's draws, and what must be known of them."""
    fit = fit_of(study, found.cell, method)
    if not fit.kind.draws or not fit.targets:
        found.notes[method] = "has no draws"
        return
    if samplers.of(fit.settings).quadrature and not isinstance(fit.problem.layout, OwnLayout):
        values = _exact_draws(study, found.cell, fit, method, found.rep)
        found.notes[method] = "independent draws from the posterior that the estimates are quadratures of"
    else:
        values = _chain_draws(study, found.cell, fit, method, found.rep)
        found.notes[method] = "the draws that the estimates summarise"
    if tries > 1:
        found.notes[method] = f"draws of the first try; the estimates are of try {tries}"
    found.draws[method] = _tree(fit.problem, values, study.methods[method], found.data)


def _call(study: Study, cell: Cell, fit: Fit, method: str, reps: np.ndarray) -> tuple[Array, Any, np.ndarray]:
    """Keys, outcomes on the fit's padded rows, and truths of some replicates, as a chunk's program is given them."""
    mechanism = mechanism_of(study, cell)
    outcomes, true = simulate_chunk(study, mechanism, reps)
    with jax.enable_x64(True):
        keys = method_key(study.seed, mechanism.key, method, jnp.asarray(reps, jnp.uint32))
    return keys, rows_of(mechanism, fit.problem, outcomes, redrawn_columns(study, mechanism, reps)), truth_of(fit, true)


def _chain_draws(study: Study, cell: Cell, fit: Fit, method: str, rep: int) -> dict[str, Array]:
    """Draws of one replicate out of its chunk, computed as the run computed it."""
    lanes, chunk = lanes_of(study, cell, method)
    start = rep // chunk * chunk
    keys, outcomes, truth = _call(study, cell, fit, method, np.arange(start, start + chunk))
    with jax.enable_x64(study.precision == "float64"):
        dtype = jnp.result_type(float)
        layout, settings, targets = fit.problem.layout, fit.settings, fit.targets
        names = None if isinstance(layout, OwnLayout) else canonical(layout)
        if names is not None:
            layout, settings, targets = (
                names.layout,
                canonical_settings(names, settings),
                canonical_targets(names, targets),
            )
        program = _draw_program(layout, settings, targets, fit.interval, lanes)
        outcomes = jax.tree.map(lambda a: a.astype(dtype), outcomes)
        found = program(keys, outcomes, jnp.asarray(truth, dtype), as_jax(fit.problem.data), rep - start)
        return found if names is None else names.restored(found)


@lru_cache(maxsize=16)
def _draw_program(layout: Any, settings: Any, targets: Any, interval: Any, lanes: int) -> Any:
    steps = steps_of(layout, settings, targets, interval)

    def chunk(keys: Array, outcomes: Any, truth: Array, design: Any, row: Any) -> dict[str, Array]:
        states = jax.lax.map(
            lambda r: steps.first(r[0], dataset(layout, design, r[1]), r[2]), (keys, outcomes, truth), batch_size=lanes
        )
        state, y = jax.tree.map(lambda a: a[row], (states, outcomes))
        assert steps.draws is not None
        return steps.draws(state, keys[row], dataset(layout, design, y))

    return jax.jit(chunk)


def _exact_draws(study: Study, cell: Cell, fit: Fit, method: str, rep: int) -> dict[str, Array]:
    keys, outcomes, _ = _call(study, cell, fit, method, np.arange(rep, rep + 1))
    with jax.enable_x64(study.precision == "float64"):
        y = jax.tree.map(lambda a: a[0].astype(jnp.result_type(float)), outcomes)
        data = dataset(fit.problem.layout, as_jax(fit.problem.data), y)
        return draw(fit.problem.layout, fit.settings, keys[0], data, progress=False)[0].values


def _tree(problem: Any, values: Mapping[str, Array], method: Any, data: pd.DataFrame) -> xr.DataTree:
    """Draws with their labels, and the data where every group of the design has some."""
    if not isinstance(problem, Problem):
        layout = problem.layout
        shaped = {k: np.asarray(v).reshape(*v.shape[:2], *layout.shapes.get(k, ())) for k, v in values.items()}
        named = describe.axes(shaped, layout.model)
        posterior = xr.Dataset({k: (["chain", "draw", *[d for d, _ in named[k]]], v) for k, v in shaped.items()})
        return xr.DataTree.from_dict({"posterior": posterior})
    real = Draws(describe.real_groups(values, problem), {})
    there = bind_data(method.model(), data, method.pooling)
    if there.labels != problem.labels:  # groups are missing from this dataset: their draws are from the population
        return xr.DataTree.from_dict({"posterior": to_datatree(real, problem, data)["posterior"].to_dataset()})
    return to_datatree(real, problem, data)
