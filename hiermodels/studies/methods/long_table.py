"""Estimates of some replicates as rows of the long table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from hiermodels.inference.draws import STATUS, Estimates
from hiermodels.studies.config import Cell
from hiermodels.studies.methods.fits import Fit

__all__ = ["table_of"]


def table_of(
    cell: Cell,
    method: str,
    fit: Fit,
    reps: np.ndarray,
    found: Estimates | None,
    true: np.ndarray | None,
    messages: list[list[str]] | None = None,
) -> pa.Table:
    """The estimates table of some replicates; with a column ``message`` where there are messages."""
    labels = [(name, label) for name, block in fit.names for label in block]
    rows, width = (len(reps), len(labels)) if found is not None else (0, 0)

    def coded(values: list[str], each: np.ndarray) -> pa.DictionaryArray:
        unique = list(dict.fromkeys(values))
        codes = np.array([unique.index(v) for v in values], np.int32)
        return pa.DictionaryArray.from_arrays(
            pa.array(codes[each] if len(codes) else codes), pa.array(unique, pa.string())
        )

    within, ones = np.tile(np.arange(width), rows), np.zeros(rows * width, np.int32)
    columns: dict[str, Any] = {"rep": np.repeat(reps[:rows], width).astype(np.int64)}
    for name, value in cell.factors.items():
        text = isinstance(value, str)
        columns[name] = coded([str(value)], ones) if text else np.full(rows * width, float(value))
    columns["method"] = coded([method], ones)
    columns["estimand"] = coded([name for name, _ in labels], within)
    columns["group"] = coded([label for _, label in labels], within)

    def numbers(array: np.ndarray | None) -> np.ndarray:
        return np.zeros(0) if array is None else np.asarray(array[:, fit.positions], np.float64).reshape(-1)

    columns["true"] = numbers(true)
    for name in ("estimate", "median", "se", "lower", "upper", "rank", "max_rank"):
        columns[name] = numbers(None if found is None else getattr(found, name))
    status = np.zeros(0, np.int32) if found is None else found.status[:, fit.positions].reshape(-1).astype(np.int32)
    columns["status"] = pa.DictionaryArray.from_arrays(pa.array(status), pa.array(STATUS, pa.string()))
    columns["n_try"] = np.zeros(0, np.int64) if found is None else np.repeat(found.n_try.astype(np.int64), width)
    for name in ("rhat", "ess_bulk", "ess_tail"):
        columns[name] = numbers(None if found is None else getattr(found, name))
    columns["divergences"] = (
        np.zeros(0, np.int64) if found is None else np.repeat(found.divergences.astype(np.int64), width)
    )
    if messages is not None:
        told = [text for row in messages for text in row]
        columns["message"] = coded(told, np.arange(len(told)))
    return pa.table(columns)
