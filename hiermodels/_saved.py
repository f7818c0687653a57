"""A fit as a netCDF file: ArviZ's groups, the diagnostics, and what is needed to rebuild the `Fit` exactly.

The file is a `DataTree`. Its root attribute ``hiermodels`` is JSON: version, model, settings, status, warnings,
seconds; and what made the fit, a hash of model, settings and data. The table that was fitted is in the group ``frame``
as the bytes of a Parquet file, which keeps every column type. The root attribute ``digest`` is that of all of this, by
value: reading is checking. After the end of the tree stands a seal, the digest of the file's bytes, which is checked
before HDF5 reads any of them: of one wrong length it may never come to an end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels._digests import DIGEST_SIZE, digest, of_array
from hiermodels._fit_settings import FitSettings
from hiermodels.inference.datatree import tree_names
from hiermodels.inference.draws import Draws
from hiermodels.models.data import bind
from hiermodels.models.scales import Column, Scales, read_scales
from hiermodels.models.spec import Model
from hiermodels.priors import MENU

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from hiermodels._fit_core import FitCore

__all__ = ["load", "save"]

_FORMAT = 2
_SEAL = b"hiermodels:"
"""Begins a seal, which ends with a digest of the bytes before it."""
_UNVERIFIED = "made before digests, not verified"


def save(fit: FitCore, path: Path) -> None:
    """Write a fit; the file appears whole or not at all.

    Raises
    ------
    ValueError
        For a fit of a NumPyro function, a table that no file can hold, or a path that cannot be written.
    """
    if not isinstance(fit.model, Model):
        raise ValueError(
            "save: a NumPyro function cannot be stored; keep the draws with fit.to_datatree().to_netcdf(path)"
        )
    import xarray as xr

    from hiermodels.studies.store.disk import whole

    tree = fit.to_datatree()
    table = fit.diagnostics
    tree["diagnostics"] = xr.DataTree(
        xr.Dataset(
            {"convergence": (["scalar", "quantity"], table.to_numpy())},
            {"scalar": list(table.index), "quantity": list(table.columns)},
        )
    )
    tree["frame"] = xr.DataTree(xr.Dataset({"parquet": ("byte", np.frombuffer(_to_parquet(fit.data), np.uint8))}))
    tree.attrs["hiermodels"] = json.dumps(_header(fit))
    tree.attrs["digest"] = _digest(tree)
    if path.is_dir() or not path.parent.is_dir():
        found = "a folder" if path.is_dir() else f"no folder {path.parent}"
        raise ValueError(f"{path}: expected a path that can be written, found {found}; name another")
    with whole(path) as temporary:
        tree.to_netcdf(temporary, engine="h5netcdf")
        with temporary.open("ab") as file:
            file.write(_seal(np.memmap(temporary, np.uint8, "r")))


def _seal(content: np.ndarray) -> bytes:
    """What follows the bytes of a tree; other programs do not look there."""
    return _SEAL + digest(content.data).encode()


def _seal_is_broken(path: Path) -> bool:
    """Whether a file has a seal that is not that of its bytes."""
    length = len(_SEAL) + 2 * DIGEST_SIZE
    if path.stat().st_size <= length:
        return False
    content = np.memmap(path, np.uint8, "r")
    seal = content[-length:].tobytes()
    return seal.startswith(_SEAL) and seal != _seal(content[:-length])


def _damaged(path: Path) -> ValueError:
    return ValueError(f"{path}: damaged: its content is not what its digest says; fit again")


def _digest(tree: xr.DataTree) -> str:
    """Digest of the header and of every variable of every group, by name, dimensions and values."""
    parts = [
        f"{node.path}/{name} {variable.dims} {of_array(variable.to_numpy())}"
        for node in tree.subtree
        for name, variable in node.to_dataset(inherit=False).variables.items()
    ]
    return digest(str(tree.attrs["hiermodels"]), *sorted(parts))


def load(path: Path) -> dict[str, Any]:
    """Read a fit that `save` wrote: the arguments of `hiermodels.fit.Fit`.

    Raises
    ------
    ValueError
        For a file that is missing, no netCDF, not a fit, or not what was written.

    Warns
    -----
    UserWarning
        The file was made before files carried digests.
    """
    tree = _read(path)
    header = _parse_header(path, tree)
    try:
        fit = _rebuilt(tree, header)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        found = (str(error).splitlines() or [""])[0][:150]
        raise ValueError(f"{path}: damaged ({type(error).__name__}: {found}); fit again") from None
    if header["format"] == _FORMAT:
        return fit
    warnings.warn(f"{path}: {_UNVERIFIED}", stacklevel=3)
    return {**fit, "warnings": (*fit["warnings"], f"loaded from a file {_UNVERIFIED}")}


def _rebuilt(tree: xr.DataTree, header: dict[str, Any]) -> dict[str, Any]:
    """The fit from what its file says."""
    import pandas as pd

    model = Model(
        **{
            **header["model"],
            "priors": {n: MENU[word](*args) for n, word, args in header["model"]["priors"]},
        }
    )
    settings = FitSettings(**header["settings"])
    frame = pd.read_parquet(io.BytesIO(tree["frame"]["parquet"].to_numpy().tobytes()))
    written = tree_names(header["variables"])
    values: dict[str, Any] = {name: tree["posterior"][written[name]].to_numpy() for name in header["variables"]}
    stats: dict[str, Any] = {name: tree["sample_stats"][name].to_numpy() for name in header["stats"]}
    error: Any = None if header.get("error") is None else np.asarray(header["error"])
    draws = Draws(values, stats, header.get("independent", not stats), error)
    table = tree["diagnostics"]["convergence"]
    diagnostics = pd.DataFrame(
        table.to_numpy(),
        index=[str(s) for s in table["scalar"].to_numpy()],
        columns=[str(q) for q in table["quantity"].to_numpy()],
    )
    scales = read_scales(header["scales"]) if "scales" in header else _unscaled(model, frame, settings.pooling)
    problem = bind(model, frame, settings.pooling, scales=scales)
    kept = {name: header[name] for name in ("status", "seconds")}
    parts = {
        "model": model,
        "data": frame,
        "settings": settings,
        "draws": draws,
        "diagnostics": diagnostics,
        "problem": problem,
    }
    return {**parts, **kept, "warnings": tuple(header["warnings"])}


def _unscaled(model: Model, frame: pd.DataFrame, pooling: Any) -> Scales:
    """Scales of fits that were made before any were kept: default priors stood at zero, in the units of predictors,
    weights and exposures.
    """
    measured = bind(model, frame, pooling).scales
    se = float(f"{2.5 * measured.se:.3g}") / 2.5 if model.known_se else 1.0  # type: ignore[operator]  # default priors were written to three digits
    return Scales(dict.fromkeys(measured.columns, Column(0.0, 1.0)), se)


def _header(fit: FitCore) -> dict[str, Any]:
    model = {f.name: getattr(fit.model, f.name) for f in dataclasses.fields(fit.model)}
    model["priors"] = [(name, prior.name, prior.args) for name, prior in fit.model.priors]
    settings = dataclasses.asdict(fit.settings)
    data = [f"{name} {of_array(fit.data[name].to_numpy())}" for name in fit.data]
    return {
        "format": _FORMAT,
        "identity": digest(json.dumps([model, settings]), *data),
        "model": model,
        "settings": settings,
        "scales": fit.problem.scales.plain(),  # type: ignore[union-attr]  # of a declared model
        "variables": list(fit.draws.values),
        "stats": list(fit.draws.stats),
        "independent": fit.draws.independent,
        "error": None if fit.draws.error is None else float(fit.draws.error),
        "status": fit.status,
        "warnings": fit.warnings,
        "seconds": fit.seconds,
    }


def _to_parquet(frame: pd.DataFrame) -> bytes:
    from pyarrow import ArrowException

    names = list(frame.columns)
    for i, name in enumerate(names):
        if name in names[:i]:
            raise ValueError(
                f"save: expected every column name once, found {name!r} twice; rename or drop one before fitting"
            )
        if not isinstance(name, str):
            raise ValueError(f"save: expected column names of text, found {name!r}; rename the column before fitting")
    try:
        return frame.to_parquet()
    except (ArrowException, ValueError, TypeError) as error:
        raise ValueError(
            f"save: the table has a column that no file can hold ({str(error).splitlines()[0]}); drop it before fitting"
        ) from None


def _read(path: Path) -> xr.DataTree:
    import h5py
    import xarray as xr

    if not path.is_file():
        raise ValueError(f"{path}: expected a file that fit.save wrote, found none; check the path")
    with _quiet():
        try:
            if not _seal_is_broken(path):
                with h5py.File(path), xr.open_datatree(path, engine="h5netcdf") as tree:
                    return tree.load()
        except Exception as error:  # HDF5, netCDF and xarray raise many kinds for a damaged file
            found = (str(error).splitlines() or [type(error).__name__])[0][:150]
            error.__traceback__ = None
        else:
            raise _damaged(path)
    raise ValueError(f"{path}: expected a netCDF file that fit.save wrote, found something else ({found}); fit again")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what h5netcdf prints when it drops a file that it could not open."""
    before, sys.unraisablehook = sys.unraisablehook, lambda *_: None
    try:
        yield
    finally:
        sys.unraisablehook = before


def _parse_header(path: Path, tree: xr.DataTree) -> dict[str, Any]:
    text = tree.attrs.get("hiermodels")
    if not isinstance(text, str):
        raise ValueError(
            f"{path}: expected a fit of hiermodels, found another netCDF file; read it with xarray.open_datatree"
        )
    if "digest" in tree.attrs and tree.attrs["digest"] != _digest(tree):
        raise _damaged(path)
    try:
        header = json.loads(text)
        version = header["format"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError(f"{path}: damaged: its header is none; fit again") from None
    if version not in (1, _FORMAT):
        raise ValueError(f"{path}: expected format {_FORMAT}, found {version}; read it with the version that wrote it")
    if version == _FORMAT and "digest" not in tree.attrs:
        raise ValueError(f"{path}: damaged: its digest is lost; fit again")
    return header
