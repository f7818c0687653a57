"""Two runs side by side: what differs in identity and versions, and whether their tables differ by more than chance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hiermodels.studies.store.identity import IDENTITY, differences, line, plain
from hiermodels.studies.store.results import Run, load_run

__all__ = ["Comparison", "compare"]

_Z95 = 1.959963984540054
_ROUNDING = 1e-9
"""The least error of a number, relative to it."""
_KEYS = ("method", "estimand", "group", "measure")


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes
    ----------
    identity : tuple of str
        Differences in what determines results, ``key: one -> two``; empty for the same study.
    summary : tuple of str
        Differences in replications, lanes, chunks, measures and policy.
    versions : tuple of str
        Differences in versions and devices.
    table : DataFrame
        Rows of both tables of performance: ``<factors>, method, estimand, group, measure, one, two, difference, mcse, z``.
    only : tuple of int
        Rows that only the first, and only the second, run has.
    paired : bool
        Both met the same datasets.
    """  # noqa: E501

    identity: tuple[str, ...]
    summary: tuple[str, ...]
    versions: tuple[str, ...]
    table: pd.DataFrame
    only: tuple[int, int]
    paired: bool

    @property
    def words(self) -> list[str]:
        """What the table says, in sentences."""
        z = self.table["z"].dropna().abs()
        exact = int(
            ((self.table["one"] == self.table["two"]) | (self.table["one"].isna() & self.table["two"].isna())).sum()
        )
        lines = [f"{len(self.table)} rows in both, {exact} of them the same to the last bit; {self.only[0]} only "
                 f"in the first, "
                 f"{self.only[1]} only in the second run"]  # fmt: skip
        if len(z) and exact < len(self.table):
            share, largest = float((z > _Z95).mean()), float(z.max())
            one = min(math.erfc(largest / math.sqrt(2)), 1 - 1e-16)
            chance = -math.expm1(len(z) * math.log1p(-one))
            lines.append(
                f"abs(z) above 1.96 in {100 * share:.1f}% of {len(z)} comparisons (5% by chance); the largest is "
                f"{largest:.2f}, "
                f"as large as that by chance in {100 * chance:.2g}% of such tables if rows were independent"
            )
        if self.paired:
            lines.append(
                "both runs met the same datasets, so their errors are shared: true differences are larger than z says"
            )
        return lines


def compare(one: Run | str | Path, two: Run | str | Path) -> Comparison:
    """Compare two finished runs.

    The combined Monte Carlo standard error of a difference is ``sqrt(mcse_1^2 + mcse_2^2)``, which holds for runs on different
    datasets; a share of 0 or 1, whose MCSE is 0, counts with half the width of its Wilson interval over 1.96, and no error is
    less than 1e-9 of the value. ``z = (two - one) / mcse``.

    Parameters
    ----------
    one, two : Run or path

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        A run is not there or not finished.

    Examples
    --------
    >>> compare("runs/yesterday", "runs/today").words  # doctest: +SKIP
    """  # noqa: E501
    runs = [run if isinstance(run, Run) else load_run(run) for run in (one, two)]
    first, second = runs
    table, only = _joined(first, second)
    identity = tuple(_differences(first.config, second.config, IDENTITY))
    paired = not any(text.startswith(("mechanisms", "seed")) for text in identity) or bool(
        len(table) and _same_truths(*runs)
    )
    more = [key for key in dict.fromkeys([*first.config, *second.config]) if key not in (*IDENTITY, "aim")]
    return Comparison(
        identity=identity,
        summary=tuple(_differences(first.config, second.config, more)),
        versions=tuple(_differences(first.manifest, second.manifest, ("device", "versions", "lanes", "chunk"))),
        table=table,
        only=only,
        paired=paired,
    )


def _differences(one: Mapping[str, Any], two: Mapping[str, Any], keys: Any) -> Iterator[str]:
    before, now = ({key: plain(run[key]) for key in keys if key in run} for run in (one, two))
    for found in differences(before, now):
        yield line(*found)


def _same_truths(one: Run, two: Run) -> bool:
    """Whether cells that both have met the same datasets: all but the grid and the seed's work is the same."""
    seeds = one.config.get("seed") == two.config.get("seed")
    kept = [{k: v for k, v in plain(run.config["mechanisms"]).items() if k != "grid"} for run in (one, two)]
    return bool(seeds and kept[0] == kept[1])


def _joined(one: Run, two: Run) -> tuple[pd.DataFrame, tuple[int, int]]:
    """Rows of both tables, and how many are only in one of them."""
    keys = [*(name for name in one.factors if name in two.factors), *_KEYS]
    if set(one.factors) != set(two.factors):
        empty = pd.DataFrame({name: [] for name in (*keys, "one", "two", "difference", "mcse", "z")})
        return empty, (len(one.performance), len(two.performance))
    parts = [_with_errors(run.performance)[[*keys, "value", "error"]] for run in (one, two)]
    for name in keys[: -len(_KEYS)]:  # a factor that is a law in some cell is text
        if len({pd.api.types.is_numeric_dtype(part[name]) for part in parts}) > 1:
            parts = [
                part.assign(**{name: [f"{v:g}" if isinstance(v, float) else str(v) for v in part[name]]})
                for part in parts
            ]
    both = parts[0].merge(parts[1], on=keys, how="outer", suffixes=("_one", "_two"), indicator=True, sort=False)
    counts = both["_merge"].value_counts()
    order = {key: place for place, key in enumerate(parts[0][keys].itertuples(index=False, name=None))}
    both = both[both["_merge"] == "both"]
    both = both.iloc[np.argsort([order[key] for key in both[keys].itertuples(index=False, name=None)])]
    values = both[["value_one", "value_two"]].to_numpy()
    difference, mcse = values[:, 1] - values[:, 0], np.hypot(both["error_one"].to_numpy(), both["error_two"].to_numpy())
    rounding = _ROUNDING * np.abs(values).max(1)  # of what does not vary, a width, say, the MCSE is rounding alone
    with np.errstate(all="ignore"):
        z = np.where(difference == 0, 0.0, difference / np.maximum(mcse, rounding))
    table = both[keys].assign(one=both["value_one"], two=both["value_two"], difference=difference, mcse=mcse, z=z)
    table.loc[~np.isfinite(mcse), "z"] = np.nan
    return table.reset_index(drop=True), (int(counts.get("left_only", 0)), int(counts.get("right_only", 0)))


def _with_errors(table: pd.DataFrame) -> pd.DataFrame:
    """The MCSE of each row; where it is 0, what its Monte Carlo interval says."""
    wilson = (table["upper"] - table["lower"]) / (2 * _Z95)
    return table.assign(error=table["mcse"].where(table["mcse"] > 0, wilson), group=table["group"].fillna(""))
