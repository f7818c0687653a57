"""A fit as a netCDF file: ArviZ's groups, the diagnostics, and what is needed to rebuild the `Fit` exactly.

The file is a `DataTree`. Its root attribute ``hiermodels`` is JSON: version, model, settings, status,
warnings, seconds. The table that was fitted is in the group ``frame`` as the bytes of a Parquet file, which
keeps every column type.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels.inference.draws import Draws
from hiermodels.models.data import bind
from hiermodels.models.priors import Prior
from hiermodels.models.spec import Model

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from hiermodels.fit import Fit

__all__ = ["load", "save"]

_FORMAT = 1


def save(fit: Fit, path: Path) -> None:
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

    tree = fit.to_datatree()
    table = fit.diagnostics
    tree["diagnostics"] = xr.DataTree(
        xr.Dataset(
            {"convergence": (["scalar", "quantity"], table.to_numpy())},
            {"scalar": list(table.index), "quantity": list(table.columns)},
        )
    )
    tree["frame"] = xr.DataTree(
        xr.Dataset({"parquet": ("byte", np.frombuffer(_to_parquet(fit.data), np.uint8))})
    )
    tree.attrs["hiermodels"] = json.dumps(_header(fit))
    whole = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        tree.to_netcdf(whole, engine="h5netcdf")
        os.replace(whole, path)
    except OSError as error:
        raise ValueError(
            f"{path}: expected a path that can be written, found: {error.strerror or error}; name another"
        ) from None
    finally:
        whole.unlink(missing_ok=True)


def load(path: Path) -> Fit:
    """Read a fit that `save` wrote.

    Raises
    ------
    ValueError
        For a file that is missing, no netCDF, or not a fit.
    """
    import pandas as pd

    from hiermodels.fit import Fit, FitSettings

    tree = _read(path)
    header = _parse_header(path, tree)
    model = Model(
        **{
            **header["model"],
            "priors": {n: Prior(word, tuple(args)) for n, word, args in header["model"]["priors"]},
        }
    )
    settings = FitSettings(**header["settings"])
    frame = pd.read_parquet(io.BytesIO(tree["frame"]["parquet"].to_numpy().tobytes()))
    values: dict[str, Any] = {name: tree["posterior"][name].to_numpy() for name in header["variables"]}
    stats: dict[str, Any] = {name: tree["sample_stats"][name].to_numpy() for name in header["stats"]}
    error: Any = None if header.get("error") is None else np.asarray(header["error"])
    draws = Draws(values, stats, header.get("independent", not stats), error)
    table = tree["diagnostics"]["convergence"]
    diagnostics = pd.DataFrame(
        table.to_numpy(),
        index=[str(s) for s in table["scalar"].to_numpy()],
        columns=[str(q) for q in table["quantity"].to_numpy()],
    )
    problem = bind(model, frame, settings.pooling)
    return Fit(
        model,
        frame,
        settings,
        draws,
        diagnostics,
        header["status"],
        tuple(header["warnings"]),
        header["seconds"],
        problem,
    )


def _header(fit: Fit) -> dict[str, Any]:
    model = {f.name: getattr(fit.model, f.name) for f in dataclasses.fields(fit.model)}
    model["priors"] = [(name, prior.name, prior.args) for name, prior in fit.model.priors]
    return {
        "format": _FORMAT,
        "model": model,
        "settings": dataclasses.asdict(fit.settings),
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

    for name in frame.columns:
        if not isinstance(name, str):
            raise ValueError(
                f"save: expected column names of text, found {name!r}; rename the column before fitting"
            )
    try:
        return frame.to_parquet()
    except (ArrowException, ValueError, TypeError) as error:
        raise ValueError(
            f"save: the table has a column that no file can hold ({str(error).splitlines()[0]}); "
            f"drop it before fitting"
        ) from None


def _read(path: Path) -> xr.DataTree:
    import xarray as xr

    if not path.is_file():
        raise ValueError(f"{path}: expected a file that fit.save wrote, found none; check the path")
    try:
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            return tree.load()
    except (OSError, ValueError, KeyError) as error:
        found = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{path}: expected a netCDF file that fit.save wrote, found something else ({found}); fit again"
        ) from None


def _parse_header(path: Path, tree: xr.DataTree) -> dict[str, Any]:
    text = tree.attrs.get("hiermodels")
    if text is None:
        raise ValueError(
            f"{path}: expected a fit of hiermodels, found another netCDF file; "
            f"read it with xarray.open_datatree"
        )
    header = json.loads(text)
    if header["format"] != _FORMAT:
        raise ValueError(
            f"{path}: expected format {_FORMAT}, found {header['format']}; "
            f"read it with the version that wrote it"
        )
    return header
