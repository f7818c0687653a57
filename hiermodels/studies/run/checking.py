"""Whether every file of a run folder is what was written: read against its digest, or made again and compared; nothing
is written.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from hiermodels._digests import digest
from hiermodels.studies.run.schedule import say_missing
from hiermodels.studies.run.summary import table_files
from hiermodels.studies.store import results
from hiermodels.studies.store.chunks import IMPORT
from hiermodels.studies.store.identity import Makers, verified
from hiermodels.studies.store.imported import imported_methods
from hiermodels.studies.store.results import UNVERIFIED, Run, load_run

__all__ = ["check_files"]


def check_files(folder: str | Path) -> list[str]:
    """What differs in a run folder from what was written there, a line each file; empty if nothing does.

    The manifest, ``config.yaml``, ``stopping.csv`` and the chunks are read against their digests; ``performance.csv``,
    ``performance.parquet``, ``calibration.csv``, the report and the figures are made again and compared, byte by byte:
    those of another version of the library or of its packages may differ. Times (``timings.json``) are not checked.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    list of str

    Raises
    ------
    ValueError
        There is no run, or its manifest is not what was written: then nothing else can be checked.
    """
    run = load_run(folder)
    found = [] if verified(run.manifest) else [f"{run.path}: {UNVERIFIED}"]
    damaged, known = _chunks(run)
    found += [*_texts(run), *_strangers(run, known)]
    if missing := say_missing(run.manifest, run.path):
        return [*found, *damaged, missing]
    if damaged:
        return [
            *found,
            *damaged,
            f"{run.path}: the tables and the report cannot be checked before the chunks are whole",
        ]
    return [*found, *_derived(run)]


def _texts(run: Run) -> Iterator[str]:
    """Files whose digests stand in the manifest."""
    for name, wanted in run.manifest.get("files", {}).items():
        file = run.path / name
        if not file.is_file():
            yield f"{file}: missing"
        elif digest(file.read_bytes()) != wanted:
            yield f"{file}: not what was written; type the command that made the run again"


def _chunks(run: Run) -> tuple[list[str], set[Path]]:
    """Chunks that are damaged or another study's, in words; and all chunks of the run."""
    own, makers, known, wrong = run.config["methods"], Makers(run.manifest), set(), []
    for cell in run.manifest["cells"]:
        for method in (*own, *imported_methods(run.path)):
            for index in sorted(results.stored_chunks(run.path, cell["hash"], method)):
                path = results.chunk_path(run.path, cell["hash"], method, index)
                known.add(path)
                try:
                    again = () if method in own else (IMPORT,)
                    results.read_chunk(path, (), makers.of(cell["hash"], method), *again)
                except ValueError as error:
                    wrong.append(str(error))
    return wrong, known


def _strangers(run: Run, known: set[Path]) -> Iterator[str]:
    """Files among the chunks that are none of this run's."""
    strange = sorted(path for path in (run.path / "estimates").rglob("*") if not path.is_dir() and path not in known)
    yield from (f"{path}: no file of this run, which does not read it" for path in strange)


def _derived(run: Run) -> Iterator[str]:
    """Tables, report and figures that are not what the estimates give."""
    again = f"`{results.report_command(run.path)}` makes it again"
    tables = table_files(run, run.config)
    comparable = verified(run.manifest) or "performance.csv"
    wrong = [name for name, data in tables.items() if comparable in (True, name) and _content(run.path / name) != data]
    yield from (f"{run.path / name}: not what the estimates give; {again}" for name in wrong)
    if "performance.parquet" in wrong:
        yield f"{run.path / 'report.html'}: cannot be checked before the table is whole"
        return
    with tempfile.TemporaryDirectory() as name:
        run.report(Path(name))
        for file in sorted(Path(name).rglob("*")):
            place = run.path / file.relative_to(name)
            if file.is_file() and _content(place) != file.read_bytes():
                yield f"{place}: not what this version makes of the tables; {again}"


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None
