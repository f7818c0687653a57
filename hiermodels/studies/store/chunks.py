"""Chunks of estimates as Parquet files: one a cell, method and run of replicates, whole or absent.

Each file carries, in its schema's metadata, who made it (`hiermodels.studies.store.identity.Makers`) and the digest of
each of its columns' values: reading is checking. What is read and is not what was written, or is another study's,
counts as absent where a run is gone on with, and is refused elsewhere. Tables are read a few cells at a time, so that a
study may be larger than memory.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hiermodels._digests import digest, of_column
from hiermodels.studies.machine import cores
from hiermodels.studies.store.disk import remove, write_bytes
from hiermodels.studies.store.identity import Makers
from hiermodels.studies.store.imported import imported_methods

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "IMPORT", "Strange", "chunk_is_whole", "chunk_path", "cut", "encoded", "parquet", "read_chunk", "read_parquet", "stored_chunks",  # noqa: E501
    "stream_estimates", "wanted_files", "write_chunk",
]  # fmt: skip

_KEY = b"hiermodels"
_AGAIN = "type the command that made the run again, which computes it anew"
IMPORT = "import its table again, with --replace"
"""What to do about a damaged chunk of a method that was computed elsewhere."""
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_BATCH = 1_000_000
"""Rows that are read at a time, by default; whole cells."""


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


def write_chunk(
    folder: str | os.PathLike[str], cell: str, method: str, index: int, table: pa.Table, maker: str | None = None
) -> Path:
    """Store one finished chunk, whole or not at all.

    Parameters
    ----------
    folder, cell, method, index
        As in `chunk_path`.
    table : pyarrow.Table
        Its rows of the table of estimates.
    maker : str, optional
        What made it, as `hiermodels.studies.store.identity.Makers` says.

    Returns
    -------
    pathlib.Path
        The file.
    """
    path = chunk_path(folder, cell, method, index)
    write_bytes(path, parquet(table, maker and f"{maker} {index}"))
    return path


def parquet(table: pa.Table, maker: str | None = None) -> bytes:
    """A table as the bytes of a Parquet file whose pages carry checksums, and whose metadata has the digest of each
    column.
    """
    rest = {key: value for key, value in (table.schema.metadata or {}).items() if key != _KEY}
    columns = {name: of_column(table[name]) for name in table.column_names}
    stamp = {"maker": maker, "columns": columns, "rest": _of_rest(rest)}
    table = table.replace_schema_metadata({**rest, _KEY: json.dumps(stamp).encode()})
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


def _of_rest(metadata: Mapping[bytes, bytes]) -> str:
    return digest(*(part for item in sorted(metadata.items()) for part in item))


def chunk_is_whole(
    folder: str | os.PathLike[str], cell: str, method: str, index: int, maker: str | None = None
) -> bool:
    """Whether a chunk is stored, can be read back, and is what was written by its maker; a file that is not is removed.

    Parameters
    ----------
    folder, cell, method, index, maker
        As in `write_chunk`.

    Raises
    ------
    ValueError
        If a folder stands in its place.
    """
    path = chunk_path(folder, cell, method, index)
    if not path.is_file():
        return False
    try:
        read_chunk(path, maker=maker)
    except ValueError:
        remove(path)
        return False
    return True


def read_chunk(path: Path, spare: Collection[str] = (), maker: str | None = None, todo: str = _AGAIN) -> pa.Table:
    """The rows of one stored chunk, checked against the checksums of its pages and the digests of its columns.

    Parameters
    ----------
    path : Path
    spare : collection of str
        Columns that are not wanted.
    maker : str, optional
        Who must have made it; None: whoever, and a file made before digests is read as it is.
    todo : str
        What to do if it is damaged.

    Raises
    ------
    ValueError
        If it is damaged, or another's.
    """
    if path.is_dir():
        raise ValueError(f"{path}: a folder stands where a file of the run belongs; move it away, and {todo}")
    try:
        return read_parquet(path, spare, maker and f"{maker} {int(path.stem)}").replace_schema_metadata(None)
    except Strange as error:
        raise ValueError(f"{path}: {error}; {todo}") from None


def _chunk_files(folder: Path, cell: str, method: str) -> list[Path]:
    files = _method_folder(folder, cell, method).glob("*.parquet")
    return sorted((path for path in files if path.stem.isdigit()), key=lambda path: int(path.stem))


class Strange(Exception):
    """A file that is not what was written under its name; the text says why."""


def read_parquet(
    path: Path, spare: Collection[str] = (), maker: str | None = None, *, stamped: bool = False
) -> pa.Table:
    """A Parquet file that `parquet` made, checked, without the columns that can be spared; ``stamped``: it must have
    digests.

    Raises
    ------
    Strange
        It cannot be read, its content is not what its digests say, or it is not of this maker.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(path.read_bytes()), page_checksum_verification=True, pre_buffer=False)
        columns = [name for name in file.schema_arrow.names if name not in spare] if spare else None
        table = file.read(columns, use_threads=False)
        metadata = dict(table.schema.metadata or {})
        stamp = json.loads(metadata.pop(_KEY, b"null"))
        wrong = (
            None
            if stamp is None
            else _differing(table, stamp, spare) or ("metadata" if stamp["rest"] != _of_rest(metadata) else "")
        )
    except Exception as error:  # Arrow raises many kinds for a damaged file
        raise Strange(f"damaged ({_first_line(error)})") from None
    if wrong:
        raise Strange(f"damaged (its {wrong} is not what was written)")
    if wrong is None and (stamped or maker is not None):
        raise Strange("made before digests, or by another program")
    if maker is not None and stamp.get("maker") != maker:
        raise Strange("of another study (made with another seed, truth, method, chunk or version)")
    return table


def _differing(table: pa.Table, stamp: Mapping[str, Any], spare: Collection[str]) -> str:
    """The first column that is not what was written; empty if there is none."""
    wanted = {name: value for name, value in stamp["columns"].items() if name not in spare}
    if table.column_names != list(wanted):
        return "list of columns"
    return next((f"column {name}" for name, value in wanted.items() if of_column(table[name]) != value), "")


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
        As in `hiermodels.studies.store.results.read_estimates`.
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
    tables: list[pa.Table] = []
    some = False
    with concurrent.futures.ThreadPoolExecutor(min(8, cores())) as pool:
        for cell in manifest["cells"]:
            files, most = wanted_files(folder, manifest, cell["hash"], replications, spare)
            tables += pool.map(lambda one, most=most: encoded(cut(read_chunk(*one), most)), files)
            if rows is not None and sum(table.num_rows for table in tables) >= rows:
                yield _joined(tables)
                tables, some = [], True
    if tables:
        yield _joined(tables)
    elif not some:
        raise ValueError(f"{folder}: no chunk is finished yet; type the command that made the run again")


def wanted_files(
    folder: Path, manifest: Mapping[str, Any], cell: str, replications: int | None, spare: Collection[str]
) -> tuple[list[tuple[Path, Collection[str], str | None, str]], int | None]:
    """Files of a cell, as arguments of `read_chunk`, and the number of its replicates that are wanted."""
    methods, makers = [*manifest["config"]["methods"], *imported_methods(folder)], Makers(manifest)
    ends = [n for n in (manifest.get("stopped", {}).get(cell), replications) if n is not None]
    most = min(ends, default=None)
    files = [
        (file, spare, makers.of(cell, method), _AGAIN if method in manifest["config"]["methods"] else IMPORT)
        for method in methods
        for file in _files_within(folder, manifest, cell, method, most)
    ]
    return files, most


def _files_within(
    folder: Path, manifest: Mapping[str, Any], cell: str, method: str, replications: int | None
) -> list[Path]:
    """Files of a combination that may hold replicates below a number."""
    chunk = manifest.get("chunk")
    chunk = chunk.get(cell, {}).get(method) if isinstance(chunk, Mapping) else chunk
    files = _chunk_files(folder, cell, method)
    return [f for f in files if int(f.stem) * chunk < replications] if chunk and replications is not None else files


def cut(table: pa.Table, replications: int | None) -> pa.Table:
    """Rows of replicates below a number."""
    if replications is None or not table.num_rows or pc.max(table["rep"]).as_py() < replications:
        return table
    return table.filter(pc.less(table["rep"], replications))


def _joined(tables: list[pa.Table]) -> pd.DataFrame:
    """One table; those given are let go of, column by column."""
    whole = pa.concat_tables(tables, promote_options="permissive").unify_dictionaries().combine_chunks()
    tables.clear()
    return whole.to_pandas(split_blocks=True, self_destruct=True)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:120]


def encoded(table: pa.Table) -> pa.Table:
    """Texts as codes of one type, whatever a file's schema calls them: digests are of values."""
    coded = pa.dictionary(pa.int32(), pa.string())
    for place, field in enumerate(table.schema):
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if field.type != coded and (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            table = table.set_column(place, field.name, table.column(place).cast(pa.string()).dictionary_encode())
    return table
