"""A study bound to its designs: what does not fit is refused at its place; what a run will be is said beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax

from hiermodels.models.problem import Problem
from hiermodels.studies.config import Cell, Study, regime
from hiermodels.studies.config.designs import predictors_text
from hiermodels.studies.machine import cores
from hiermodels.studies.mechanisms.own import OwnProblem, own_regime
from hiermodels.studies.methods.ready import Fit, fit_of, lanes_of, mechanism_of
from hiermodels.studies.methods.tasks import trace
from hiermodels.studies.store import results
from hiermodels.studies.store.sources import describe as describe_source

__all__ = ["bind_all", "dry_run", "manifest_of", "truth_regime"]


def bind_all(study: Study) -> None:
    """Let every mechanism and method meet its design, before anything is written.

    Raises
    ------
    ValueError
        Naming the method, column, parameter or level.
    """
    for cell in study.cells():
        with _placed(study, "mechanisms"):
            mechanism_of(study, cell)
        for method in study.methods:
            with _placed(study, "methods", method):
                fit_of(study, cell, method)
    for i, estimand in enumerate(study.estimands if study.functions() else ()):
        if not any(estimand.name in dict(fit_of(study, c, m).names) for c in study.cells() for m in study.methods):
            raise study.mistake(
                f"unknown estimand {estimand.text!r}: no method has it; name a site of a function", ("estimands", i)
            )


def truth_regime(study: Study, cell: Cell) -> str:
    """Truth regime of a cell; of a mechanism in Python it shows only when the function meets its design."""
    mechanism = mechanism_of(study, cell)
    return own_regime(mechanism.problem, mechanism.truth) if isinstance(mechanism.problem, OwnProblem) else regime(cell)


@contextmanager
def _placed(study: Study, *path: str) -> Iterator[None]:
    """Give what a model refuses its place in the config."""
    try:
        yield
    except ValueError as error:
        raise study.mistake(str(error).removeprefix(f"{'.'.join(path)}: "), path) from None


def dry_run(study: Study) -> list[str]:
    """Trace every program on shapes alone and say what would be computed.

    Returns
    -------
    list of str
        A line a cell, method and estimand count; nothing is compiled or run.

    Raises
    ------
    ValueError
        As `bind_all`.
    """
    bind_all(study)
    lines = [
        f"{study.name}: {len(study.cells())} cell(s) x {study.replications} replications x {len(study.methods)} "
        f"method(s)"
    ]
    if drawn := predictors_text(study.mechanisms.design):
        lines.append(f"  predictors: {drawn}")
    seen = set()
    for cell in study.cells():
        for name in study.methods:
            fit = fit_of(study, cell, name)
            lanes, chunk = lanes_of(study, cell, name)
            known = ""
            if (fit.problem.layout, name) not in seen:
                seen.add((fit.problem.layout, name))
                trace(study, cell, name)
                known = f" ({', '.join(n for n, _ in fit.names) or 'none of the estimands'})"
            place = ", ".join(f"{k}={v}" for k, v in cell.factors.items()) or "the only cell"
            lines.append(
                f"  {place}: {truth_regime(study, cell)} truths; {name}: {len(fit.positions)} numbers{known}; lanes "
                f"{lanes}, chunk {chunk}"
            )
    return [*lines, "ok"]


def manifest_of(study: Study) -> dict[str, Any]:
    """What the run folder is going to say about itself."""
    lanes, chunks, scales = {}, {}, {}
    for cell in study.cells():
        both = {m: lanes_of(study, cell, m) for m in study.methods}
        lanes[cell.hash] = {m: v[0] for m, v in both.items()}
        chunks[cell.hash] = {m: v[1] for m, v in both.items()}
        scales[cell.hash] = {m: found for m in study.methods if (found := _scales(fit_of(study, cell, m)))}
    first = study.cells()[0]
    fits = {name: fit_of(study, first, name) for name in study.methods}
    models = {name: fit.kind.described(fit) for name, fit in fits.items()}
    device = jax.devices()[0]
    cells = [{"hash": c.hash, "factors": c.factors, "regime": truth_regime(study, c)} for c in study.cells()]
    return results.make_manifest(
        study.resolved(),
        cells=cells,
        lanes=lanes,
        chunk=chunks,
        scales=scales,
        device=f"{device.platform}: {device.device_kind}, {cores()} core(s)",
        regime=sorted({c["regime"] for c in cells}),
        models=models,
        functions={place: describe_source(function) for place, function in study.functions().items()},
        name=study.name,
    )


def _scales(fit: Fit) -> dict[str, Any]:
    """Centres and scales that a method's defaults and programs use, the same in every replicate; empty where there are
    none.
    """
    found = fit.problem.scales.plain() if isinstance(fit.problem, Problem) else {}
    return {name: value for name, value in found.items() if value}
