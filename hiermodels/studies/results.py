"""Run folders: what a study leaves on disk, written so that a kill at any moment leaves nothing half-written.

::

    <folder>/config.yaml                                   as read
             manifest.json                                 resolved config, identity, lanes, chunk, versions,
             device, cells estimates/<cell hash>/<method>/00000.parquet  one file a finished chunk
             performance.csv, performance.parquet          the table; the Parquet file carries its notes
             timings.json, figures/, report.html .lock                                         held, by the
             operating system, while a process works here

Every file is written whole under a temporary name that ends in ``.tmp-<pid>``, flushed to disk, and renamed.
Whatever stands under its own name is complete; a chunk that cannot be read back counts as absent.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiermodels.studies.identity import check_identity, identity_of, plain

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = [
    "Run",
    "check_identity",
    "chunk_path",
    "complete_chunks",
    "factors_of",
    "load_run",
    "locked",
    "make_manifest",
    "read_estimates",
    "read_manifest",
    "write_bytes",
    "write_chunk",
    "write_json",
    "write_manifest",
    "write_performance",
]

_PACKAGES = ("hiermodels", "jax", "jaxlib", "numpyro", "numpy", "scipy", "pandas", "pyarrow")
_TEMPORARY = re.compile(r"\.tmp-\d+$")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


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
        ``config, identity, lanes, chunk, versions, device, cells``.
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
        return read_estimates(self.path, self.config.get("replications"), manifest=self.manifest)

    @cached_property
    def performance(self) -> pd.DataFrame:
        """One row a cell x method x estimand x group x measure; `notes` say why values are missing."""
        import pyarrow.parquet as pq

        table = pq.read_table(self._performance_file).to_pandas()
        if regime := self.manifest.get("regime"):
            table.attrs["regime"] = regime if isinstance(regime, str) else ", ".join(regime)  # for figures
        return table

    @cached_property
    def notes(self) -> list[str]:
        """Notes to the table of performance."""
        import pyarrow.parquet as pq

        metadata = pq.read_schema(self._performance_file).metadata or {}
        return list(json.loads(metadata.get(b"notes", b"[]")))

    @cached_property
    def failures(self) -> pd.DataFrame:
        """Fits by status, one row a cell x method; see `hiermodels.studies.tables.count_failures`."""
        from hiermodels.studies.tables import count_failures

        return count_failures(self.estimates, self.factors)

    def report(self) -> Path:
        """Write ``report.html`` and the figures again from what is stored, and return the report's path."""
        from hiermodels.reporting.report import write_report

        return write_report(self)

    @property
    def _performance_file(self) -> Path:
        file = self.path / "performance.parquet"
        if not file.is_file():
            todo = "type the command that started it again"
            raise ValueError(f"{self.path}: not finished, so there is no table of performance yet; {todo}")
        return file


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
        If there is no run in it.
    """
    folder = Path(path)
    manifest = read_manifest(folder)
    if manifest is None:
        raise ValueError(
            f"{folder}: no run here: expected a folder with manifest.json, such as runs/eight_schools"
        )
    return Run(folder, manifest["config"], manifest)


@contextlib.contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Hold a run folder for this process alone, made if need be and cleared of dead runs' temporary files.

    The operating system drops the lock when the process ends, in whatever way.

    Parameters
    ----------
    folder : str or path
        Run folder.

    Yields
    ------
    pathlib.Path
        The folder.

    Raises
    ------
    ValueError
        The folder cannot be written, or another live process holds it.
    """
    import filelock

    folder = Path(folder)
    lock = filelock.FileLock(folder / ".lock", timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout:
        raise ValueError(f"{folder}: {_holder(folder)} is at work here; wait until it ends, stop it, "
                         "or choose another folder with --out") from None  # fmt: skip
    except OSError as error:
        raise _unwritable(folder, error) from None
    try:
        for leftover in folder.rglob("*.tmp-*"):
            if _TEMPORARY.search(leftover.name):
                leftover.unlink(missing_ok=True)
        write_json(folder / ".holder", {"pid": os.getpid(), "host": socket.gethostname()})
        yield folder
    finally:
        with contextlib.suppress(OSError):
            (folder / ".holder").unlink(missing_ok=True)
        lock.release()


def _holder(folder: Path) -> str:
    try:
        holder = json.loads((folder / ".holder").read_bytes())
        return f"process {holder['pid']} on {holder['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _unwritable(path: Path, error: OSError) -> ValueError:
    reason = error.strerror or type(error).__name__
    return ValueError(
        f"{path}: cannot be written ({reason}); choose a folder of yours with --out, or make room"
    )


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: temporary name, flush to disk, rename.

    Parameters
    ----------
    path : pathlib.Path
        Its name; folders above it are made.
    data : bytes
        Its content.

    Raises
    ------
    ValueError
        It cannot be written.
    """
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise _unwritable(path, error) from None


def _sync_folder(folder: Path) -> None:
    """Flush a rename to disk where the system lets folders be flushed."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):
                os.fsync(handle)
        finally:
            os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def make_manifest(
    resolved: Mapping[str, Any],
    *,
    cells: Sequence[Mapping[str, Any]],
    lanes: Any,
    chunk: Any,
    device: str,
    **more: Any,
) -> dict[str, Any]:
    """What a run folder says about itself.

    Parameters
    ----------
    resolved : mapping
        Resolved configuration.
    cells : sequence of mapping
        Each with ``hash``, ``factors`` and whatever else.
    lanes, chunk : int or mapping
        Datasets in one step and replicates in one file, as used.
    device : str
        What it was computed on.
    **more
        Further entries.

    Returns
    -------
    dict
        Ready for JSON, with ``config, identity, lanes, chunk, versions, device, cells``.
    """
    import platform
    from importlib import metadata

    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    manifest = {"config": resolved, "identity": identity_of(resolved), "lanes": lanes, "chunk": chunk}
    return plain({**manifest, "versions": versions, "device": device, "cells": list(cells), **more})


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write ``manifest.json``."""
    write_json(Path(folder) / "manifest.json", manifest)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a run folder, or None if there is none.

    Raises
    ------
    ValueError
        If it is not one of ours.
    """
    file = Path(folder) / "manifest.json"
    try:
        manifest = json.loads(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise ValueError(f"{file}: cannot be read ({error}); expected the JSON that a run wrote") from None
    if not isinstance(manifest, dict) or not {"config", "cells"} <= manifest.keys():
        raise ValueError(
            f"{file}: expected the keys config and cells that a run writes; is this another program's folder?"
        )
    return manifest


def factors_of(manifest: Mapping[str, Any]) -> list[str]:
    """Columns whose values identify a cell, in order of first appearance."""
    return list(dict.fromkeys(name for cell in manifest["cells"] for name in cell.get("factors", {})))


def chunk_path(folder: str | os.PathLike[str], cell: str, method: str, index: int) -> Path:
    """Where a chunk of estimates is stored.

    Parameters
    ----------
    folder : str or path
        Run folder.
    cell : str
        Hash of the cell.
    method : str
        Name of the method; what a file system may not like is replaced, and a hash of the name added.
    index : int
        Number of the chunk: rep // chunk.

    Examples
    --------
    >>> chunk_path("runs/x", "0a1b", "partial", 3).as_posix()
    'runs/x/estimates/0a1b/partial/00003.parquet'
    """
    return _method_folder(Path(folder), cell, method) / f"{index:05d}.parquet"


def _method_folder(folder: Path, cell: str, method: str) -> Path:
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", method)[:60]
    if safe.lower() != method or _RESERVED.fullmatch(safe):  # two names must not meet on any file system
        safe += "-" + hashlib.blake2b(method.encode(), digest_size=4).hexdigest()
    return folder / "estimates" / cell / safe


def write_chunk(folder: str | os.PathLike[str], cell: str, method: str, index: int, table: pa.Table) -> Path:
    """Store one finished chunk, whole or not at all.

    Parameters
    ----------
    folder, cell, method, index
        As in `chunk_path`.
    table : pyarrow.Table
        Its rows of the table of estimates.

    Returns
    -------
    pathlib.Path
        The file.
    """
    path = chunk_path(folder, cell, method, index)
    write_bytes(path, _parquet(table))
    return path


def _parquet(table: pa.Table) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue().to_pybytes()


def complete_chunks(folder: str | os.PathLike[str], cell: str, method: str) -> set[int]:
    """Numbers of the chunks that are stored and can be read back; files that cannot are removed.

    Parameters
    ----------
    folder, cell, method
        As in `chunk_path`.

    Returns
    -------
    set of int
    """
    import pyarrow as pa

    found = set()
    for path in _chunk_files(Path(folder), cell, method):
        try:
            _read_parquet(path)
            found.add(int(path.stem))
        except (pa.ArrowException, OSError):
            path.unlink()
    return found


def _chunk_files(folder: Path, cell: str, method: str) -> list[Path]:
    files = _method_folder(folder, cell, method).glob("*.parquet")
    return sorted((path for path in files if path.stem.isdigit()), key=lambda path: int(path.stem))


def _read_parquet(path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.read_table(pa.BufferReader(path.read_bytes()), page_checksum_verification=True)


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
    import pyarrow as pa
    import pyarrow.compute as pc

    folder = Path(path)
    manifest = load_run(folder).manifest if manifest is None else manifest
    tables = []
    for cell in manifest["cells"]:
        for method in manifest["config"]["methods"]:
            for file in _chunk_files(folder, cell["hash"], method):
                try:
                    table = _read_parquet(file)
                except (pa.ArrowException, OSError) as error:
                    todo = "type the command that made the run again, which computes it anew"
                    raise ValueError(f"{file}: damaged ({_first_line(error)}); {todo}") from None
                if replications is not None and pc.max(table["rep"]).as_py() >= replications:
                    table = table.filter(pc.less(table["rep"], replications))
                tables.append(_encoded(table))
    if not tables:
        raise ValueError(f"{folder}: no chunk is finished yet; type the command that made the run again")
    whole = pa.concat_tables(tables, promote_options="permissive").unify_dictionaries()
    del tables
    return whole.to_pandas(split_blocks=True, self_destruct=True)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:120]


def _encoded(table: pa.Table) -> pa.Table:
    """Texts as codes."""
    import pyarrow as pa

    for place, field in enumerate(table.schema):
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            column = table.column(place).cast(pa.string()).dictionary_encode()
            table = table.set_column(place, field.name, column)
    return table


def write_performance(folder: str | os.PathLike[str], table: pd.DataFrame, notes: Sequence[str] = ()) -> None:
    """Store the table of performance as CSV and Parquet: the same table gives the same bytes.

    Numbers are written with the fewest digits that give them back exactly, lines end in LF, missing values
    are NA.

    Parameters
    ----------
    folder : str or path
        Run folder.
    table : pandas.DataFrame
        From `hiermodels.studies.measures.performance`.
    notes : sequence of str
        Its notes, kept in the Parquet file's metadata.
    """
    import pyarrow as pa

    folder = Path(folder)
    text = table.to_csv(index=False, lineterminator="\n", na_rep="NA")
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    metadata = {**(arrow.schema.metadata or {}), b"notes": json.dumps(list(notes)).encode()}
    write_bytes(folder / "performance.csv", text.encode())
    write_bytes(folder / "performance.parquet", _parquet(arrow.replace_schema_metadata(metadata)))
