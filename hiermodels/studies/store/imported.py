"""Methods of a run whose estimates were made elsewhere: their names, kept in ``imported.json`` beside the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hiermodels.studies.store.disk import read_json, write_json

__all__ = ["imported_methods", "note_imported"]


def imported_methods(folder: str | Path) -> dict[str, dict[str, Any]]:
    """What was imported into a run folder, by method, in the order of import.

    Examples
    --------
    >>> imported_methods("no/such/run")
    {}
    """
    file = Path(folder) / "imported.json"
    found = read_json(file) if file.is_file() else {}
    if not isinstance(found, dict) or not all(isinstance(about, dict) for about in found.values()):
        raise ValueError(
            f"{file}: expected method to what is known of it, found something else; put it back, or import the "
            f"tables again"
        )
    return found


def note_imported(folder: str | Path, method: str, about: Mapping[str, Any]) -> None:
    """Add a method to those imported, or put it in the place of one of its name."""
    write_json(Path(folder) / "imported.json", {**imported_methods(folder), method: dict(about)})
