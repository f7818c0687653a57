"""Run folders: what a study leaves on disk, written so that a kill at any moment leaves nothing half-written.

::

    <folder>/config.yaml                     as read
             manifest.json                   resolved config, identity, lanes, chunk, versions, device, cells
             estimates/<cell hash>/<method>/00000.parquet   one file a finished chunk
             performance.csv, .parquet       the table; the Parquet file carries its notes, the failures and which
                                             study it is of, so that no table of a smaller one is taken for it
             common.parquet                  the table on the replicates that all methods have: what figures compare
             timings.json, figures/, report.html
             .hiermodels                     says that the folder is a run's
             .lock, .lock-<shard>            held, by the operating system, while a process works here

How files are written and folders held: `hiermodels.studies.store.disk`. Manifest, chunks and table carry digests of
their content, and reading is checking: `hiermodels.studies.store.manifest`, `hiermodels.studies.store.chunks`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from hiermodels.studies.store.chunks import (
    Strange,
    chunk_is_whole,
    chunk_path,
    parquet,
    read_chunk,
    read_parquet,
    stored_chunks,
    stream_estimates,
    write_chunk,
)
from hiermodels.studies.store.csv_text import csv_text
from hiermodels.studies.store.disk import locked, quoted, read_json, remove, write_bytes, write_json
from hiermodels.studies.store.failures import count_failures
from hiermodels.studies.store.identity import check_identity, identity_of, plain, verified
from hiermodels.studies.store.imported import imported_methods
from hiermodels.studies.store.manifest import (
    factors_of,
    make_manifest,
    read_manifest,
    with_files,
    with_machine,
    write_manifest,
)

__all__ = [
    "Run",
    "check_identity",
    "chunk_is_whole",
    "chunk_path",
    "drop_performance",
    "factors_of",
    "join_timings",
    "load_run",
    "locked",
    "make_manifest",
    "performance_files",
    "read_chunk",
    "read_estimates",
    "read_manifest",
    "report_command",
    "stamp_of",
    "stored_chunks",
    "stream_estimates",
    "with_files",
    "with_machine",
    "write_bytes",
    "write_chunk",
    "write_json",
    "write_manifest",
    "write_performance",
    "write_tables",
]

UNVERIFIED = "made before digests, not verified"
"""What is said of a folder or a fit whose files carry none."""


@dataclass(frozen=True)
class Run:
    """A run folder, finished or not; its tables are read when they are asked for.

    Attributes
    ----------
    path : pathlib.Path
        The folder.
    config : dict
        The resolved configuration.
    manifest : dict
        ``format, streams, config, identity, lanes, chunk, versions, device, cells, digest``.
    """

    path: Path
    config: dict[str, Any]
    manifest: dict[str, Any]

    @property
    def factors(self) -> list[str]:
        """Columns whose values identify a cell."""
        return factors_of(self.manifest)

    @cached_property
    def estimates(self) -> pd.DataFrame:
        """One row a replicate x cell x method x estimand x group, of finished chunks; texts are coded."""
        return self._with_methods(read_estimates(self.path, self.config.get("replications"), manifest=self.manifest))

    def first_replicates(self, count: int) -> pd.DataFrame:
        """`estimates` of replicates 0 to count - 1 alone; files that hold others are not read."""
        return self._with_methods(
            read_estimates(self.path, min(count, self.config["replications"]), manifest=self.manifest)
        )

    def _with_methods(self, table: pd.DataFrame) -> pd.DataFrame:
        """A table that knows the order of all methods, so that parts of it keep their colours in figures."""
        table.attrs["methods"] = [*self.config.get("methods", {}), *imported_methods(self.path)]
        return table

    @cached_property
    def performance(self) -> pd.DataFrame:
        """One row a cell x method x estimand x group x measure; `notes` say why values are missing."""
        return self._for_figures(self._stored)

    @cached_property
    def common(self) -> pd.DataFrame:
        """`performance` of all methods on the replicates that every one of them has: what may be compared, side by
        side.

        A method that gives no standard errors, say, does not bar the others from theirs. Of a run with one method, or
        made by an earlier version, `performance` itself.
        """
        stamp, file = (self._stored.schema.metadata or {}).get(b"study"), self.path / "common.parquet"
        if not file.is_file():
            return self.performance
        table = self._read(file)
        return self.performance if (table.schema.metadata or {}).get(b"study") != stamp else self._for_figures(table)

    def _for_figures(self, stored: pa.Table) -> pd.DataFrame:
        """A table of performance that knows the order of methods and the truth regime."""
        table = self._with_methods(stored.to_pandas())
        if regime := self.manifest.get("regime"):
            table.attrs["regime"] = regime if isinstance(regime, str) else ", ".join(regime)
        return table

    @cached_property
    def notes(self) -> list[str]:
        """Notes to the table of performance."""
        notes = list(json.loads(self._stored.schema.metadata.get(b"notes", b"[]")))
        return notes if verified(self.manifest) else [*notes, f"Files {UNVERIFIED}."]

    @cached_property
    def failures(self) -> pd.DataFrame:
        """Fits by status, one row a cell x method; see `hiermodels.studies.store.failures.count_failures`."""
        with contextlib.suppress(ValueError):  # not finished: of what is there
            if stored := self._stored.schema.metadata.get(b"failures"):
                return _frame_of(json.loads(stored))
        return count_failures(self.estimates, self.factors)

    @property
    def finished(self) -> bool:
        """Whether there is a table of performance of the whole study."""
        with contextlib.suppress(ValueError):
            return self._stored is not None
        return False

    def report(self, out: str | os.PathLike[str] | None = None) -> Path:
        """Write ``report.html`` and the figures again from what is stored, here or in another folder; the report's
        path.
        """
        from hiermodels.reporting.report import write_report

        return write_report(self) if out is None else write_report(self, Path(out))

    @cached_property
    def _stored(self) -> pa.Table:
        """The table of performance as it is stored, with notes and failures in its metadata."""
        file = self.path / "performance.parquet"
        if not file.is_file():
            todo = "type the command that started it again"
            raise ValueError(f"{self.path}: not finished, so there is no table of performance yet; {todo}")
        table = self._read(file)
        if (table.schema.metadata or {}).get(b"study", stamp := stamp_of(self.config).encode()) != stamp:
            todo = "type the command that extended it again, or `hiermodels report` if nothing is missing"
            raise ValueError(
                f"{self.path}: the table of performance here is of the study before it was changed; {todo}"
            )
        return table

    def _read(self, file: Path) -> pa.Table:
        """A stored table, checked."""
        try:
            return read_parquet(file, stamped=verified(self.manifest))
        except Strange as error:
            raise ValueError(f"{file}: {error}; `{report_command(self.path)}` makes it again") from None


def report_command(folder: Path) -> str:
    """The command that summarises a run folder again."""
    return f"hiermodels report {quoted(folder)}"


def _frame_of(stored: Mapping[str, Any]) -> pd.DataFrame:
    """A table from its columns; texts as the other tables have them."""
    table = pd.DataFrame(dict(stored))
    return table.astype({name: "str" for name in table if table[name].dtype == object})


def stamp_of(config: Mapping[str, Any]) -> str:
    """Hash of what a table of performance depends on: the identity, and how much of it is summarised how.

    Examples
    --------
    >>> stamp_of({"seed": 1, "replications": 10}) == stamp_of({"seed": 1, "replications": 20})
    False
    """
    part = {key: config.get(key) for key in ("replications", "performance", "failures")}
    part |= {key: config[key] for key in ("decisions", "stop") if config.get(key)}
    text = identity_of(config) + json.dumps(plain(part), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def load_run(path: str | os.PathLike[str]) -> Run:
    """The run in a folder.

    Parameters
    ----------
    path : str or path
        Folder that `hiermodels.run` wrote.

    Returns
    -------
    Run

    Raises
    ------
    ValueError
        If there is no run in it, or its manifest is not what was written.

    Warns
    -----
    UserWarning
        Its files were made before they carried digests.
    """
    folder = Path(path)
    manifest = read_manifest(folder)
    if manifest is None:
        raise ValueError(f"{folder}: no run here: expected a folder with manifest.json, such as runs/eight_schools")
    if not verified(manifest):
        warnings.warn(f"{folder}: {UNVERIFIED}", stacklevel=2)
    return Run(folder, manifest["config"], manifest)


def read_estimates(
    path: str | os.PathLike[str],
    replications: int | None = None,
    *,
    manifest: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """All stored estimates, in order of cells, methods and chunks.

    Parameters
    ----------
    path : str or path
        Run folder.
    replications : int, optional
        Only replicates 0, ..., replications - 1 (the last chunk is computed full, and cut here).
    manifest : mapping, optional
        Its manifest, if it has been read.

    Returns
    -------
    pandas.DataFrame
        Columns ``rep, <factors>, method, estimand, group, true, ...``; texts are categorical, to save memory.

    Raises
    ------
    ValueError
        There is no run, nothing is stored yet, or a file is damaged.
    """
    manifest = load_run(path).manifest if manifest is None else manifest
    return next(stream_estimates(Path(path), manifest, replications, rows=None))


def write_performance(
    folder: str | os.PathLike[str], table: pd.DataFrame, notes: Sequence[str] = (), **more: Any
) -> None:
    """Store the table of performance in a run folder: the files that `performance_files` makes."""
    write_tables(Path(folder), performance_files(table, notes, **more))


def write_tables(folder: Path, files: Mapping[str, bytes]) -> None:
    """Store tables of a run; one of methods side by side that is not among them goes."""
    if "common.parquet" not in files:
        remove(folder / "common.parquet")
    for name, data in files.items():
        write_bytes(folder / name, data)


def performance_files(
    table: pd.DataFrame,
    notes: Sequence[str] = (),
    *,
    common: pd.DataFrame | None = None,
    failures: pd.DataFrame | None = None,
    stamp: str | None = None,
) -> dict[str, bytes]:
    """The table of performance as CSV and Parquet, by file name: the same table gives the same bytes.

    Numbers are written with the fewest digits that give them back exactly, lines end in LF, missing values
    are NA.

    Parameters
    ----------
    table : pandas.DataFrame
        From `hiermodels.studies.score.scoring.performance`.
    notes : sequence of str
        Its notes, kept in the Parquet file's metadata.
    common : pandas.DataFrame, optional
        The same on common replicates; stored where there are several methods.
    failures : pandas.DataFrame, optional
        Fits by status, kept there too.
    stamp : str, optional
        `stamp_of` the study: a run whose configuration has another one is not finished.
    """
    text = csv_text(table)
    metadata = {} if stamp is None else {b"study": stamp.encode()}
    more = {b"notes": json.dumps(list(notes)).encode()}
    if failures is not None:
        more[b"failures"] = json.dumps(failures.to_dict("list")).encode()

    def stored(frame: pd.DataFrame, about: Mapping[bytes, bytes]) -> bytes:
        arrow = pa.Table.from_pandas(frame, preserve_index=False)
        return parquet(arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), **about}))

    files = {"performance.csv": text.encode(), "performance.parquet": stored(table, {**more, **metadata})}
    return (
        files
        if common is None or common["method"].nunique() < 2
        else {"common.parquet": stored(common, metadata), **files}
    )


def join_timings(folder: Path, folders: Sequence[Path]) -> None:
    """Sum up in ``timings.json`` what processes that worked apart have written in theirs."""
    files = sorted(
        {file for place in folders for file in place.glob("timings*.json") if file != folder / "timings.json"}
    )
    parts = [part for file in files if _is_timing(part := read_json(file))]
    if not parts:
        return
    programs = dict(item for part in parts for item in part["compile_seconds"].items())
    summed = {
        key: sum(part[key] for part in parts)
        for key in ("wall_seconds", "writing_seconds", "fits")
        if all(key in p for p in parts)
    }
    chunks = [second for part in parts for second in part["chunk_seconds"]]
    write_json(
        folder / "timings.json",
        {"processes": len(parts), **summed, "compile_seconds": programs, "chunk_seconds": chunks},
    )


def _is_timing(part: Any) -> bool:
    return (
        isinstance(part, dict)
        and isinstance(part.get("compile_seconds"), dict)
        and isinstance(part.get("chunk_seconds"), list)
    )


def drop_performance(folder: Path) -> None:
    """Remove the tables and the report of a study that is about to become a larger one."""
    for name in ("performance.csv", "performance.parquet", "common.parquet", "report.html"):
        remove(folder / name)
