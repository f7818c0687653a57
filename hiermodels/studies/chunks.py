"""Chunks of estimates as Parquet files: one a cell, method and run of replicates, whole or absent.

A file that cannot be read back counts as absent. Tables are read a few cells at a time, so that a study may be larger
than memory.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiermodels.studies.disk import write_bytes
from hiermodels.studies.imported import imported_methods
from hiermodels.studies.machine import cores

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["chunk_is_whole", "chunk_path", "parquet", "read_chunk", "read_parquet", "stored_chunks", "stream_estimates", "write_chunk"]

_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_BATCH = 1_000_000
"""Rows that are read, and summarised, at a time; whole cells."""


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
    write_bytes(path, parquet(table))
    return path


def parquet(table: pa.Table) -> bytes:
    """A table as the bytes of a Parquet file whose pages carry checksums."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue().to_pybytes()


def stored_chunks(folder: str | os.PathLike[str], cell: str, method: str) -> set[int]:
    """Numbers of the chunks that are stored, by the names of their files.

    Parameters
    ----------
    folder, cell, method
        As in `chunk_path`.
    """
    return {int(path.stem) for path in _chunk_files(Path(folder), cell, method)}


def chunk_is_whole(folder: str | os.PathLike[str], cell: str, method: str, index: int) -> bool:
    """Whether a chunk is stored and can be read back; a file that cannot is removed.

    Parameters
    ----------
    folder, cell, method, index
        As in `chunk_path`.
    """
    path = chunk_path(folder, cell, method, index)
    if not path.is_file():
        return False
    try:
        read_chunk(path)
    except ValueError:
        path.unlink(missing_ok=True)
        return False
    return True


def read_chunk(path: Path, spare: Collection[str] = ()) -> pa.Table:
    """The rows of one stored chunk, checked against the checksums of its pages.

    Parameters
    ----------
    path : Path
    spare : collection of str
        Columns that are not wanted.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    import pyarrow as pa

    try:
        return read_parquet(path, spare)
    except (pa.ArrowException, OSError) as error:
        todo = "type the command that made the run again, which computes it anew"
        raise ValueError(f"{path}: damaged ({_first_line(error)}); {todo}") from None


def _chunk_files(folder: Path, cell: str, method: str) -> list[Path]:
    files = _method_folder(folder, cell, method).glob("*.parquet")
    return sorted((path for path in files if path.stem.isdigit()), key=lambda path: int(path.stem))


def read_parquet(path: Path, spare: Collection[str] = ()) -> pa.Table:
    """A Parquet file, its checksums checked, without the columns that can be spared."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(pa.BufferReader(path.read_bytes()), page_checksum_verification=True, pre_buffer=False)
    columns = [name for name in file.schema_arrow.names if name not in spare] if spare else None
    return file.read(columns, use_threads=False)


def stream_estimates(
    folder: Path,
    manifest: Mapping[str, Any],
    replications: int | None = None,
    rows: int | None = _BATCH,
    spare: Collection[str] = (),
) -> Iterator[pd.DataFrame]:
    """Stored estimates a few cells at a time: what a table too large for memory is read by.

    Parameters
    ----------
    folder : Path
        Run folder.
    manifest : mapping
        Its manifest.
    replications : int, optional
        As in `hiermodels.studies.results.read_estimates`.
    rows : int, optional
        A batch ends with the first cell that brings it to so many rows; None: one batch of everything.
    spare : collection of str
        Columns that are not wanted.

    Yields
    ------
    pandas.DataFrame
        Columns ``rep, <factors>, method, estimand, group, true, ...`` of whole cells; texts are categorical.

    Raises
    ------
    ValueError
        Nothing is stored yet, or a file is damaged.
    """
    methods = [*manifest["config"]["methods"], *imported_methods(folder)]
    tables: list[pa.Table] = []
    some = False
    with concurrent.futures.ThreadPoolExecutor(min(8, cores())) as pool:
        for cell in manifest["cells"]:
            ends = [n for n in (manifest.get("stopped", {}).get(cell["hash"]), replications) if n is not None]
            most = min(ends, default=None)
            files = [file for method in methods for file in _files_within(folder, manifest, cell["hash"], method, most)]
            tables += pool.map(lambda file, most=most: _encoded(_cut(read_chunk(file, spare), most)), files)
            if rows is not None and sum(table.num_rows for table in tables) >= rows:
                yield _joined(tables)
                tables, some = [], True
    if tables:
        yield _joined(tables)
    elif not some:
        raise ValueError(f"{folder}: no chunk is finished yet; type the command that made the run again")


def _files_within(folder: Path, manifest: Mapping[str, Any], cell: str, method: str, replications: int | None) -> list[Path]:
    """Files of a combination that may hold replicates below a number."""
    chunk = manifest.get("chunk")
    chunk = chunk.get(cell, {}).get(method) if isinstance(chunk, Mapping) else chunk
    files = _chunk_files(folder, cell, method)
    return [f for f in files if int(f.stem) * chunk < replications] if chunk and replications is not None else files


def _cut(table: pa.Table, replications: int | None) -> pa.Table:
    import pyarrow.compute as pc

    if replications is None or not table.num_rows or pc.max(table["rep"]).as_py() < replications:
        return table
    return table.filter(pc.less(table["rep"], replications))


def _joined(tables: list[pa.Table]) -> pd.DataFrame:
    """One table; those given are let go of, column by column."""
    import pyarrow as pa

    whole = pa.concat_tables(tables, promote_options="permissive").unify_dictionaries().combine_chunks()
    tables.clear()
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


