"""Fits of a long table of estimates, counted by status."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from hiermodels.inference.draws import STATUS
from hiermodels.studies.store.blocks import axis_of, cells_of, severity

__all__ = ["count_failures"]


def count_failures(estimates: pd.DataFrame, factors: Sequence[str]) -> pd.DataFrame:
    """Fits by status: one row a cell x method.

    A fit has the worst status of its estimates. Columns: ``<factors>, method, n_sim``, one count a status
    from best to worst, and ``n_retried``.

    Parameters
    ----------
    estimates : pandas.DataFrame
        The long table of estimates.
    factors : sequence of str
        Columns whose values identify a cell.

    Returns
    -------
    pandas.DataFrame

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"rep": [0, 0, 1], "method": "m", "status": ["ok", "rhat", "ok"], "n_try": 1})
    >>> count_failures(frame, [])[["method", "n_sim", "ok", "rhat"]].to_dict("records")
    [{'method': 'm', 'n_sim': 2, 'ok': 1, 'rhat': 1}]
    """
    cells, values = cells_of(estimates, factors)
    methods, rep = axis_of(estimates["method"]), estimates["rep"].to_numpy(np.int64)
    both = cells.codes * len(methods) + methods.codes
    fit, first = pd.factorize(both * (rep.max() + 1) + rep)
    worst = np.zeros(len(first), np.int8)
    np.maximum.at(worst, fit, severity(estimates["status"]))
    tries = np.zeros(len(first), np.int64)
    if "n_try" in estimates:
        np.maximum.at(tries, fit, estimates["n_try"].to_numpy(np.int64))
    of = np.asarray(first) // (rep.max() + 1)
    shape = (len(cells) * len(methods), len(STATUS))
    counts = np.bincount(of * len(STATUS) + worst, minlength=shape[0] * shape[1]).reshape(shape)
    kept = counts.sum(1) > 0
    table = values.iloc[np.repeat(np.arange(len(cells)), len(methods))[kept]].reset_index(drop=True)
    table["method"] = np.tile(np.array([str(m) for m in methods.labels], object), len(cells))[kept]
    table["method"] = table["method"].astype("str")
    table["n_sim"] = counts.sum(1)[kept]
    for place, word in enumerate(STATUS):
        table[word] = counts[kept, place]
    table["n_retried"] = np.bincount(of[tries > 1], minlength=shape[0])[kept]
    return table
