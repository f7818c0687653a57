"""The manifest of a run folder: what a study is, how it is cut into chunks, what computed it, and a digest of all of
that.
"""

from __future__ import annotations

import contextlib
import json
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from hiermodels._digests import digest, of_json
from hiermodels.studies.store.disk import write_json
from hiermodels.studies.store.identity import FORMAT, STREAMS, identity_of, plain, verified

__all__ = ["factors_of", "make_manifest", "read_manifest", "with_files", "with_machine", "write_manifest"]

_FILE = "manifest.json"
_PACKAGES = ("hiermodels", "jax", "jaxlib", "numpyro", "numpy", "scipy", "pandas", "pyarrow")


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
        Ready for JSON, with ``format, streams, config, identity, lanes, chunk, versions, device, cells``.
    """
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    manifest = {
        "format": FORMAT,
        "streams": STREAMS,
        "config": resolved,
        "identity": identity_of(resolved),
        "lanes": lanes,
        "chunk": chunk,
    }
    return plain({**manifest, "versions": versions, "device": device, "cells": list(cells), **more})


def with_machine(manifest: Mapping[str, Any], old: Mapping[str, Any] | None, busy: bool) -> dict[str, Any]:
    """A manifest with the machines that computed the estimates: those of the old one, and this one if it is about to.

    Parameters
    ----------
    manifest : mapping
        Of this process.
    old : mapping, optional
        What the folder has.
    busy : bool
        Whether this process is going to compute chunks.
    """
    here = {"device": manifest["device"], "versions": manifest["versions"]}
    if old is None:
        return {**manifest, "machines": [here]}
    machines = list(old.get("machines") or [{key: old.get(key) for key in ("device", "versions")}])
    if busy:
        return {**manifest, "machines": machines if here in machines else [*machines, here]}
    kept = {key: old[key] for key in ("device", "versions") if key in old}
    return {**manifest, **kept, "machines": machines}


def with_files(manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> dict[str, Any]:
    """A manifest with the digests of files beside it that no other file of the run tells of."""
    return {**manifest, "files": {**manifest.get("files", {}), **{name: digest(data) for name, data in files.items()}}}


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write ``manifest.json``, with the digest of its content."""
    content = plain({key: value for key, value in manifest.items() if key != "digest"})
    write_json(Path(folder) / _FILE, {**content, "digest": of_json(content)})


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a run folder, or None if there is none.

    Raises
    ------
    ValueError
        If it is not one of ours, or its content is not what its digest and its identity say.
    """
    file = Path(folder) / _FILE
    try:
        manifest = json.loads(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        found = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise ValueError(f"{file}: cannot be read ({found}); expected the JSON that a run wrote; {_TODO}") from None
    if not isinstance(manifest, dict) or not {"config", "cells"} <= manifest.keys():
        raise ValueError(
            f"{file}: expected the keys config and cells that a run writes; is this another program's folder?"
        )
    if problem := _malformed(manifest):
        raise ValueError(f"{file}: {problem}; {_TODO}")
    if manifest.get("identity") != identity_of(manifest["config"]):
        raise ValueError(f"{file}: edited or damaged: its config is not what its identity says; {_TODO}")
    content = {key: value for key, value in manifest.items() if key != "digest"}
    if (verified(manifest) or "digest" in manifest) and manifest.get("digest") != of_json(content):
        raise ValueError(f"{file}: edited or damaged: its content is not what its digest says; {_TODO}")
    return manifest


_TODO = (
    "put back what was written, or remove the file and type the command that made the run again: it keeps the chunks "
    "that "
    "are of its study"
)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**31


def _share(value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool) and 0 < value < 1


def _mapping(value: Any, kind: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(inner, kind) for inner in value.values())


def _sizes(value: Any) -> bool:
    inner = value.values() if isinstance(value, dict) else [{"": value}]
    return all(isinstance(some, dict) and all(map(_whole, some.values())) for some in inner)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _cells(value: Any) -> bool:
    return bool(value) and isinstance(value, list) and all(map(_cell, value))


def _cell(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("factors", {}), dict):
        return False
    factors = value.get("factors", {}).values()
    return re.fullmatch("[0-9a-f]{1,64}", str(value.get("hash"))) is not None and all(
        isinstance(v, float | int | str) for v in factors
    )


_Check = Callable[[Any], bool]
_CONFIG: dict[str, tuple[_Check, str]] = {
    "mechanisms": (lambda v: isinstance(v, dict), "a mapping"),
    "methods": (
        lambda v: bool(v) and isinstance(v, dict) and all(isinstance(m, dict) for m in v.values()),
        "a mapping of method to settings",
    ),
    "estimands": (lambda v: bool(v) and isinstance(v, list), "a list of estimands"),
    "performance": (_texts, "a list of measures"),
    "replications": (_whole, "a whole number of at least 1"),
    "failures": (lambda v: isinstance(v, str), "a word"),
    "interval": (lambda v: _share(v.get("level") if isinstance(v, dict) else v), "a level between 0 and 1"),
    "seed": (
        lambda v: isinstance(v, int) and not isinstance(v, bool) and 0 <= v < 2**32,
        "a whole number from 0 to 4294967295",
    ),
}
_MANIFEST: dict[str, tuple[_Check, str]] = {
    "cells": (_cells, "a list of cells, each with its hash and factors"),
    "lanes": (_sizes, "whole numbers by cell and method"),
    "chunk": (_sizes, "whole numbers by cell and method"),
    "regime": (lambda v: bool(v) and (isinstance(v, str) or _texts(v)), "a list of truth regimes"),
    "format": (_whole, "a whole number"),
    "streams": (_whole, "a whole number"),
    "stopped": (lambda v: isinstance(v, dict) and all(map(_whole, v.values())), "whole numbers by cell"),
    "models": (lambda v: _mapping(v, (dict, str)), "a mapping of method to its model"),
    "functions": (lambda v: _mapping(v, dict), "a mapping of place to what is known of its function"),
    "files": (lambda v: _mapping(v, str), "a mapping of file to its digest"),
    "machines": (lambda v: isinstance(v, list) and all(isinstance(m, dict) for m in v), "a list of mappings"),
    "versions": (lambda v: isinstance(v, dict), "a mapping of package to version"),
}
_OPTIONAL = ("format", "streams", "stopped", "models", "functions", "files", "machines", "versions")
"""Keys that a manifest may lack, as one made before digests does."""


def _malformed(manifest: Mapping[str, Any]) -> str:
    """What is wrong with the first entry that is not as a run writes it; empty if nothing is."""
    config = manifest["config"]
    if not isinstance(config, dict):
        return f"config: expected a mapping, found {_shown(config)}"
    for place, entries, checks in (("config.", config, _CONFIG), ("", manifest, _MANIFEST)):
        for key, (right, words) in checks.items():
            if (key in entries or key not in _OPTIONAL) and not right(entries.get(key)):
                return f"{place}{key}: expected {words}, found {_shown(entries.get(key, 'nothing'))}"
    lacking = [
        f"{key} of {method} in cell {cell['hash']}"
        for key in ("lanes", "chunk")
        if isinstance(manifest[key], dict)
        for cell in manifest["cells"]
        for method in config["methods"]
        if method not in manifest[key].get(cell["hash"], {})
    ]
    return f"expected {lacking[0]}, found nothing" if lacking else ""


def _shown(value: Any) -> str:
    text = value if value == "nothing" else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def factors_of(manifest: Mapping[str, Any]) -> list[str]:
    """Columns whose values identify a cell, in order of first appearance."""
    return list(dict.fromkeys(name for cell in manifest["cells"] for name in cell.get("factors", {})))
