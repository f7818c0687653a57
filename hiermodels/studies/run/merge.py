"""Runs made apart, on several machines or of parts of a study, joined to one run folder.

Parts may be shards of one study, or studies that differ in nothing but cells, methods and replications. Chunks are
copied as they are, so that the joined run equals one made in one place, row by row; what two parts both have must be
the same to the last bit.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from hiermodels.studies.config import Study
from hiermodels.studies.config.cells import cell_hash, rows_of
from hiermodels.studies.config.stand_ins import stand_ins
from hiermodels.studies.run.schedule import Combination, Schedule, say_missing
from hiermodels.studies.run.summary import summarise
from hiermodels.studies.store import results
from hiermodels.studies.store.chunks import IMPORT
from hiermodels.studies.store.identity import (
    FREE,
    RETRY,
    Makers,
    check_current,
    check_sizes,
    differences,
    edited,
    line,
    listed,
    plain,
    timeless,
    with_nesting,
)
from hiermodels.studies.store.imported import imported_methods, note_imported
from hiermodels.studies.store.results import Run, load_run

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Incomplete", "merge"]


class Incomplete(ValueError):
    """What was joined is not a whole study; the message names what is missing, and the command that makes it."""


def merge(out: str | os.PathLike[str], runs: Sequence[str | os.PathLike[str]], *, report: bool = True) -> Run:
    """Join runs made apart, and summarise them if nothing is missing.

    Parameters
    ----------
    out : path
        Folder of the joined run; what is there already (of the same study) stays.
    runs : sequence of path
        Run folders, finished or not.
    report : bool
        Figures and report too.

    Returns
    -------
    Run

    Raises
    ------
    ValueError
        A folder holds no run, parts differ in what determines results, a chunk is damaged, or two have different rows
        of the same chunk; nothing is written then.
    Incomplete
        Chunks are missing. What is there has been joined: ``hiermodels run OUT`` makes the rest.
    """
    folder = Path(out)
    parts = [load_run(run) for run in runs]
    if results.read_manifest(folder) is not None and folder.resolve() not in [p.path.resolve() for p in parts]:
        parts.insert(0, load_run(folder))
    if not parts:
        raise ValueError("merge: expected at least one run folder, found none; name the folders to join")
    for part in parts:
        check_current(part.manifest, part.path)
    manifest = _joined(parts)
    schedule = Schedule.of(manifest)
    sources = {(c.cell, c.method): _sources(c, parts, schedule.replications) for c in schedule.combinations}
    with results.locked(folder):
        for (cell, method), found in sources.items():
            for index, path in found.items():
                target = results.chunk_path(folder, cell, method, index)
                if path != target:
                    results.write_bytes(target, path.read_bytes())
        _copy_imported(folder, parts, manifest)
        files = {"config.yaml": _config(parts, manifest), **_stopping(parts, manifest)}
        for name, data in files.items():
            results.write_bytes(folder / name, data)
        results.write_manifest(folder, results.with_files(manifest, files))
        results.join_timings(folder, [part.path for part in parts])
        if text := say_missing(manifest, folder):
            results.drop_performance(folder)
            raise Incomplete(text)
        return summarise(folder, report=report)


# the study
# ----------------------------------------------------------------------------------------------------------------


def _joined(parts: Sequence[Run]) -> dict[str, Any]:
    """The manifest of the study that all parts are parts of."""
    first = parts[0]
    for part in parts[1:]:
        _check_same(first, part)
    rows = [_rows(part) for part in parts]
    union = {key: row for some in rows for key, row in some.items()}
    whole = next((part for part, some in zip(parts, rows, strict=True) if some.keys() == union.keys()), None)
    grid = list(union.values()) if whole is None else whole.config["mechanisms"]["grid"]
    config = {
        **first.config,
        "mechanisms": {**first.config["mechanisms"], "grid": grid},
        "methods": _union(part.config["methods"] for part in parts),
        "replications": max(part.config["replications"] for part in parts),
    }
    if config not in [part.config for part in parts]:
        _check_study(config, list(union), parts)
    known = {cell["hash"]: cell for part in reversed(parts) for cell in part.manifest["cells"]}
    cells = [known[key] for key in (union if whole is None else _rows(whole))]
    machines = [machine for part in parts for machine in part.manifest.get("machines", [])]
    stopped = _stopped(parts, config["replications"])
    return {
        **{key: value for key, value in first.manifest.items() if key not in ("stopped", "files")},
        "config": config,
        "identity": results.identity_of(config),
        "lanes": _by_cell(parts, "lanes"),
        "chunk": _by_cell(parts, "chunk"),
        "scales": _by_cell(parts, "scales"),
        "cells": cells,
        "regime": sorted({cell["regime"] for cell in cells}),
        "models": _union(part.manifest.get("models", {}) for part in parts),
        "functions": _union(part.manifest.get("functions", {}) for part in parts),
        "machines": [m for i, m in enumerate(machines) if m not in machines[:i]],
        **({"stopped": stopped} if stopped else {}),
    }


def _stopped(parts: Sequence[Run], replications: int) -> dict[str, int]:
    """Numbers of replicates at which cells met their targets, by hash.

    A cell that ended because its part has no more replications is not done where the joined study has more: the most
    counts, and where no part went on, every cell is judged again by the run that makes the rest.
    """
    found: dict[str, int] = {}
    for part in parts:
        for cell, n in part.manifest.get("stopped", {}).items():
            found[cell] = max(n, found.get(cell, 0))
    judged = {
        cell
        for part in parts
        for cell, n in part.manifest.get("stopped", {}).items()
        if n < part.config["replications"] or n == replications
    }
    return found if found.keys() == judged else {}


def _check_same(first: Run, part: Run) -> None:
    """Refuse parts that differ in more than cells, methods and replications."""
    before, now = (_comparable(run.config) for run in (first, part))
    found = [line(*d) for d in differences(before, now) if not _free(*d)]
    one, other = timeless(first.config["methods"]), timeless(part.config["methods"])
    for name in one.keys() & other.keys():
        found += [line(*d) for d in differences(one[name], other[name], f"methods.{name}")]
    found += [line(*d) for d in differences(_kinds(first), _kinds(part), "factors")]
    found += edited(first.manifest.get("functions", {}), part.manifest.get("functions", {}))
    if found:
        raise ValueError(
            f"{part.path} is of another study than {first.path}; leave one out, or undo what differs:\n  "
            + listed(found)
        )
    check_sizes(first.manifest, part.manifest, str(part.path))


def _kinds(run: Run) -> dict[str, str]:
    """Factors, and whether they are numbers or text."""
    return {name: type(value).__name__ for cell in run.manifest["cells"] for name, value in cell["factors"].items()}


def _comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in config.items() if key not in ("methods", "replications", "lanes", "chunk")}
    return {**plain(kept), "mechanisms": with_nesting({k: v for k, v in config["mechanisms"].items() if k != "grid"})}


def _free(key: str, old: Any, new: Any) -> bool:
    top = key.partition(".")[0].partition("[")[0]
    return (top in FREE and top != "stop") or (key == "failures" and RETRY not in (old, new))


def _rows(run: Run) -> dict[str, Any]:
    """Rows of a run's grid, by the hash of their cell."""
    return {cell_hash(row): row for row, _ in rows_of(run.config["mechanisms"]["grid"])}


def _union(mappings: Any) -> dict[str, Any]:
    """All entries, the first of a name counts."""
    found: dict[str, Any] = {}
    for mapping in mappings:
        found = {**found, **{k: v for k, v in mapping.items() if k not in found}}
    return found


def _by_cell(parts: Sequence[Run], key: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for part in parts:
        for cell, sizes in part.manifest.get(key, {}).items():
            found[cell] = {**sizes, **found.get(cell, {})}
    return found


def _check_study(config: Mapping[str, Any], cells: Sequence[str], parts: Sequence[Run]) -> None:
    """A study that no part has as it is must be one."""
    try:
        study = Study.from_resolved(config, functions=stand_ins(config))
    except ValueError as error:
        names = ", ".join(str(part.path) for part in parts)
        raise ValueError(
            f"{names}: expected parts of one study; joined they are none ({error}); join them by hand"
        ) from None
    assert [cell.hash for cell in study.cells()] == list(cells)


def _config(parts: Sequence[Run], manifest: Mapping[str, Any]) -> bytes:
    """The config of a part that is the whole study; else the joined one, as JSON, which YAML contains."""
    for part in parts:
        file = part.path / "config.yaml"
        if part.config == manifest["config"] and file.is_file():
            return file.read_bytes()
    return (json.dumps(manifest["config"], indent=2, ensure_ascii=False) + "\n").encode()


# the chunks
# ---------------------------------------------------------------------------------------------------------------


def _sources(combination: Combination, parts: Sequence[Run], replications: int) -> dict[int, Path]:
    """Where each chunk of a combination is taken from.

    Raises
    ------
    ValueError
        A chunk is damaged, or not of this study.
    """
    found: dict[int, Path] = {}
    wanted = combination.chunks(replications)
    for part in parts:
        for index in sorted(results.stored_chunks(part.path, combination.cell, combination.method)):
            path = results.chunk_path(part.path, combination.cell, combination.method, index)
            if index >= wanted:
                continue
            table = results.read_chunk(path, maker=combination.maker)
            if index not in found:
                _check_rows(table, combination, index, path)
                found[index] = path
            else:
                _check_equal(table, path, found[index])
    return found


def _copy_imported(folder: Path, parts: Sequence[Run], manifest: Mapping[str, Any]) -> None:
    """Estimates that were made elsewhere come along; the first part that has a method counts."""
    makers = Makers(manifest)
    for part in parts:
        for method, about in imported_methods(part.path).items():
            if method in imported_methods(folder):
                continue
            for cell in manifest["cells"]:
                for index in results.stored_chunks(part.path, cell["hash"], method):
                    source = results.chunk_path(part.path, cell["hash"], method, index)
                    results.read_chunk(source, (), makers.of(cell["hash"], method), IMPORT)
                    results.write_bytes(results.chunk_path(folder, cell["hash"], method, index), source.read_bytes())
            note_imported(folder, method, about)


def _stopping(parts: Sequence[Run], manifest: Mapping[str, Any]) -> dict[str, bytes]:
    """How cells came to their ends, where all of them have: the parts' rows, each once."""
    paths = [part.path / "stopping.csv" for part in parts]
    found = [line for path in paths if path.exists() for line in path.read_bytes().splitlines(keepends=True)]
    return {"stopping.csv": b"".join(dict.fromkeys(found))} if "stopped" in manifest and found else {}


def _check_rows(table: pa.Table, combination: Combination, index: int, path: Path) -> None:
    """A chunk holds the replicates that its number says."""
    if not table.num_rows:
        return
    seen = pc.min_max(table["rep"]).as_py()
    expected = {"min": index * combination.chunk, "max": (index + 1) * combination.chunk - 1}
    if seen != expected:
        raise ValueError(
            f"{path}: expected replicates {expected['min']} to {expected['max']}, found {seen['min']} to "
            f"{seen['max']}; "
            "remove the file, and make it again"
        )


def _check_equal(table: pa.Table, path: Path, other: Path) -> None:
    """Two parts that both have a chunk agree to the last bit."""
    differ = unequal_columns(table, results.read_chunk(other))
    if differ:
        raise ValueError(
            f"{path} and {other}: expected the same rows, found other values of {', '.join(differ)}; they were made "
            f"by other versions "
            "or on another kind of machine (manifest.json: machines): leave out one of the two runs"
        )


def unequal_columns(one: pa.Table, two: pa.Table) -> list[str]:
    """Names of columns in which two tables differ, bit by bit; NaN equals NaN."""
    if one.num_rows != two.num_rows or one.column_names != two.column_names:
        return sorted({*one.column_names} ^ {*two.column_names}) or ["rows"]
    found = []
    for name in one.column_names:
        a, b = (table[name].to_numpy(zero_copy_only=False) for table in (one, two))
        same = np.array_equal(a, b, equal_nan=a.dtype.kind == "f" and b.dtype.kind == "f")
        found += [] if same else [name]
    return found
