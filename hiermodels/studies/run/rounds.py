"""A run whose cells end at their target MCSEs: round by round, every cell to its next checkpoint, then judged.

A round computes what is lacking up to each running cell's checkpoint, by whatever computes; the cell is judged on
replicates 0 to n - 1 of all methods. So the decision depends on the data alone, and a run that was interrupted takes
the same ones again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from hiermodels.studies.config.texts import cuts_of_tests
from hiermodels.studies.methods.supports import supports_of
from hiermodels.studies.run.schedule import Schedule, Shard
from hiermodels.studies.run.sequential import checkpoints, judge, read_stop
from hiermodels.studies.score.scoring import performance
from hiermodels.studies.store import results
from hiermodels.studies.store.csv_text import csv_text

if TYPE_CHECKING:
    from hiermodels.studies.config import Study

__all__ = ["by_rounds", "check_shard", "kept_stops"]


def check_shard(study: Study, shard: Shard) -> None:
    """Refuse shards of a study whose cells end by what all of their replicates say."""
    if study.stop and shard.count > 1:
        raise ValueError(
            f"--shard {shard}: a study with `stop` judges all replicates of a cell together; run it whole, or leave "
            f"stop out"
        )


def kept_stops(manifest: dict[str, Any], old: Mapping[str, Any] | None) -> dict[str, Any]:
    """The manifest with the numbers of replicates at which cells ended, where a finished run is the same study."""
    if old is None or "stopped" not in old:
        return manifest
    same = all(
        manifest["config"].get(key) == old["config"].get(key)
        for key in ("stop", "replications", "interval", "failures")
    )
    same = same and list(manifest["config"]["methods"]) == list(old["config"]["methods"])
    same = same and {c["hash"] for c in manifest["cells"]} == set(old["stopped"])
    kept = {name: value for name, value in old.get("files", {}).items() if name == "stopping.csv"}
    return {**manifest, "stopped": old["stopped"], "files": kept} if same else manifest


def by_rounds(
    study: Study, manifest: dict[str, Any], schedule: Schedule, folder: Path, compute: Callable[[Schedule], None]
) -> dict[str, Any]:
    """Compute every cell to where its MCSEs are small enough, or to the study's replications.

    Parameters
    ----------
    study : Study
        With ``stop``.
    manifest : dict
        The run's; with ``stopped`` nothing is judged again.
    schedule : Schedule
        Of the whole study.
    folder : Path
        Run folder; ``stopping.csv`` gets the path.
    compute : callable
        Computes and stores a schedule's chunks.

    Returns
    -------
    dict
        The manifest with ``stopped``: a cell's hash to its number of replicates.
    """
    if "stopped" in manifest:
        compute(schedule)
        return manifest
    stop, most = read_stop(study.stop), study.replications
    points = {
        cell["hash"]: checkpoints(_chunks(schedule, cell["hash"]), most, stop.minimum) for cell in manifest["cells"]
    }
    at = {cell: steps.pop(0) for cell, steps in points.items()}
    running, path = list(at), []
    while running:
        some = [replace(c, limit=at[c.cell]) for c in schedule.combinations if c.cell in running]
        compute(replace(schedule, combinations=tuple(some)))
        for cell in list(running):
            done, rows = judge(_table(study, manifest, folder, cell, at[cell]), stop, at[cell])
            factors = next(c["factors"] for c in manifest["cells"] if c["hash"] == cell)
            path.append(rows.assign(**factors)[[*factors, *rows.columns]] if len(rows) else rows)
            if done or at[cell] >= most:
                running.remove(cell)
            else:
                at[cell] = points[cell].pop(0)
    table = csv_text(pd.concat(path, ignore_index=True)).encode()
    results.write_bytes(folder / "stopping.csv", table)
    stored = results.with_files(results.read_manifest(folder) or manifest, {"stopping.csv": table})
    results.write_manifest(folder, {**stored, "stopped": at})
    return {**manifest, "stopped": at}


def _chunks(schedule: Schedule, cell: str) -> list[int]:
    return [c.chunk for c in schedule.combinations if c.cell == cell]


def _table(study: Study, manifest: Mapping[str, Any], folder: Path, cell: str, n: int) -> pd.DataFrame:
    """Performance of one cell over its first replicates, of the measures that it is judged by."""
    here = [c for c in manifest["cells"] if c["hash"] == cell]
    part = {**manifest, "cells": here, "stopped": {cell: n}}
    table, _ = performance(
        results.stream_estimates(folder, part, n),
        factors=list(here[0]["factors"]),
        measures=list(read_stop(study.stop).targets),
        interval=study.interval.level,
        failures=study.failures,
        regime=here[0]["regime"],
        decisions=cuts_of_tests(study.estimands, study.interval.level),
        supports=supports_of(study),
    )
    return table
