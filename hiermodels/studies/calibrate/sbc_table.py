"""The outcome of a calibration: a table of tests, the PITs that they stand on, and their forms for figures and for
ArviZ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from hiermodels.studies.calibrate import pooled_tests
from hiermodels.studies.calibrate import sbc_tests as tests

__all__ = ["POOLED", "Calibration", "Entry", "joint", "numbered", "plain", "tested"]

type Floats = NDArray[np.float64]
type Entry = tuple[dict[str, Any], Floats, tuple[str, ...], Floats | None]
"""Factors, method and estimand; PITs (replicate, group), NaN where there is none; labels; share minus indicator
(replicate, group, point).
"""

POOLED = "[mean]"
"""Group of a row whose test pools all groups."""


@dataclass(frozen=True)
class Calibration:
    """Tests of calibration and what they stand on.

    Attributes
    ----------
    table : DataFrame
        ``<factors>, method, estimand, group, test, statistic, p, p_joint, n_sim, n_failed``. ``test`` is ``chi2``
        (cells), ``smooth`` (shift, width, skewness, kurtosis: least data needed for a width that is wrong), ``ecdf``
        (ECDF difference with its simultaneous band) or ``averaged`` (data-averaged posterior against prior). ``group``
        is ``[mean]`` where groups are pooled, over complete replicates, the replicate being the unit. ``p_joint`` is
        Holm's adjustment over the whole table: at ``p_joint <= a`` everywhere, right posteriors fail with probability
        at most a.
    pits : list of (dict, ndarray, tuple of str)
        Factors, method and estimand; PITs of shape (replicate, group); labels of the groups.
    notes : tuple of str
        What was left out and what to beware of.
    kind : str
        ``prior`` or ``posterior``.
    """

    table: pd.DataFrame
    pits: list[tuple[dict[str, Any], Floats, tuple[str, ...]]] = field(repr=False)
    notes: tuple[str, ...]
    kind: str = "prior"

    @property
    def p_joint(self) -> float:
        """Least joint failure rate at which some test fails; NaN without any test.

        Examples
        --------
        >>> import pandas as pd
        >>> from hiermodels.studies.calibrate.calibration import calibration
        >>> rows = pd.DataFrame({"rep": range(100), "method": "m", "estimand": "mu", "group": "", "rank": range(100), "max_rank": 99})
        >>> calibration(rows).p_joint > 0.5
        True
        """  # noqa: E501
        values = self.table["p_joint"].to_numpy()
        return float(np.nanmin(values)) if np.isfinite(values).any() else float("nan")

    def passes(self, failure_rate: float = 0.01) -> bool:
        """Whether no test fails at this joint failure rate: the chance that right posteriors are called wrong.

        Parameters
        ----------
        failure_rate : float
            Of the whole table together.
        """
        if not 0 < failure_rate < 1:
            raise ValueError(f"failure_rate: expected a number between 0 and 1, found {failure_rate!r}; e.g. 0.01")
        return bool(self.p_joint > failure_rate)

    def pit(self, estimand: str, **where: Any) -> Floats:
        """PITs of one estimand, shape (replicate, group).

        Parameters
        ----------
        estimand : str
        **where
            ``method`` and factors, where there are several.

        Raises
        ------
        ValueError
            For no such estimand, or several.
        """
        return self._one({"estimand": estimand, **where})[1]

    def ecdf(self, estimand: str, prob: float = 0.95, **where: Any) -> pd.DataFrame:
        """ECDF difference of an estimand with a simultaneous band: what a figure shows.

        Parameters
        ----------
        estimand : str
        prob : float
            Probability that a calibrated posterior stays inside the band everywhere.
        **where
            ``method`` and factors, where there are several.

        Returns
        -------
        DataFrame
            ``z, difference, lower, upper``: points of the unit interval, ECDF minus z, ends of the band around 0.
        """
        u = self.pit(estimand, **where)
        u = u[np.isfinite(u).any(1)]
        if u.shape[1] == 1:
            z, lower, upper = tests.ecdf_band(len(u), prob)
            return pd.DataFrame(
                {"z": z, "difference": pooled_tests.ecdf_rows(u, z).mean(0) - z, "lower": lower - z, "upper": upper - z}
            )
        z = pooled_tests.pooled_points(len(u))
        rows = pooled_tests.ecdf_rows(u, z)
        half = pooled_tests.sup_quantile(rows - z, prob) * rows.std(0, ddof=1) / np.sqrt(len(rows))
        return pd.DataFrame({"z": z, "difference": rows.mean(0) - z, "lower": -half, "upper": half})

    def to_datatree(self, **where: Any) -> xr.DataTree:
        """PITs as ArviZ's group ``prior_sbc`` or ``posterior_sbc``, for `arviz_plots.plot_ecdf_pit` and its kin.

        Dimensions are ``chain`` (one), ``draw`` (the replicates), and ``<estimand>_dim`` for groups.

        Parameters
        ----------
        **where
            ``method`` and factors, where there are several.
        """
        chosen = [entry for entry in self.pits if all(entry[0].get(k) == v for k, v in where.items())]
        names = [entry[0]["estimand"] for entry in chosen]
        if not names or len(set(names)) < len(names):
            raise ValueError(
                f"to_datatree: expected one method and cell, found {self._choices(chosen)}; name it, e.g. "
                f"method='partial'"
            )
        found = {}
        for who, u, labels in chosen:
            name, dim = who["estimand"], f"{who['estimand']}_dim"
            if labels == ("",):
                found[name] = xr.DataArray(u[None, :, 0], dims=("chain", "draw"))
            else:
                found[name] = xr.DataArray(u[None], dims=("chain", "draw", dim), coords={dim: list(labels)})
        data = xr.Dataset(found).assign_coords(chain=[0], draw=np.arange(max(len(u) for _, u, _ in chosen)))
        return xr.DataTree.from_dict({f"{self.kind}_sbc": data})

    def _one(self, where: Mapping[str, Any]) -> tuple[dict[str, Any], Floats, tuple[str, ...]]:
        chosen = [entry for entry in self.pits if all(entry[0].get(k) == v for k, v in where.items())]
        if len(chosen) != 1:
            raise ValueError(
                f"calibration: expected one estimand of one method and cell, found "
                f"{self._choices(chosen or self.pits)}; name it"
            )
        return chosen[0]

    @staticmethod
    def _choices(entries: Sequence[tuple[dict[str, Any], Floats, tuple[str, ...]]]) -> str:
        shown = [" ".join(f"{k}={v}" for k, v in who.items()) for who, _, _ in entries]
        return "; ".join(shown[:6]) + ("; ..." if len(shown) > 6 else "") or "none"

    def __str__(self) -> str:
        shown = self.table.to_string(index=False, float_format="{:.3g}".format)
        return "\n".join([shown, "", f"smallest joint p-value: {self.p_joint:.3g}", *(f"- {n}" for n in self.notes)])


def tested(found: Sequence[Entry], notes: Sequence[str], kind: str, by_group: bool) -> Calibration:
    """The table of tests: scalars one by one, groups pooled and, if asked, one by one."""
    rows = []
    for who, u, labels, averaged in found:
        pooled = labels != ("",)
        alone = (
            [(label, u[:, g], None if averaged is None else averaged[:, g]) for g, label in enumerate(labels)]
            if by_group or not pooled
            else []
        )
        for group, column, against in alone:
            failed = int(np.isnan(column).sum())
            rows += [{**who, "group": group, **row, "n_failed": failed} for row in _rows(_alone(column), against)]
        if pooled:
            whole = np.isfinite(u).all(1)  # complete replicates, in which every group has a rank
            against = None if averaged is None else averaged[whole].mean(1)
            rows += [
                {**who, "group": POOLED, **row, "n_failed": int((~whole).sum())}
                for row in _rows(_pooled(u[whole]), against)
            ]
    return Calibration(joint(rows), [(who, u, labels) for who, u, labels, _ in found], tuple(notes), kind)


def joint(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows of tests as a table, adjusted over all of them."""
    table = pd.DataFrame(list(rows))
    table.insert(list(table).index("p") + 1, "p_joint", tests.holm(table["p"]))
    return table


def _alone(u: Floats) -> dict[str, tests.Uniformity]:
    u = u[np.isfinite(u)]
    counted = tests.Counted.of(u, tests.bins_for(len(u), 5))
    return {"chi2": counted.chi_square(), "smooth": counted.smooth(), "ecdf": counted.ecdf()}


def _pooled(u: Floats) -> dict[str, tests.Uniformity]:
    return {
        "chi2": pooled_tests.pooled_chi_square(u),
        "smooth": pooled_tests.pooled_smooth(u),
        "ecdf": pooled_tests.pooled_ecdf(u),
    }


def _rows(found: dict[str, tests.Uniformity], averaged: Floats | None) -> list[dict[str, Any]]:
    if averaged is not None:
        averaged = averaged[np.isfinite(averaged).all(1)]
        few = len(averaged) < tests.FEWEST
        found["averaged"] = tests.Uniformity(np.nan, np.nan, len(averaged)) if few else pooled_tests.sup_test(averaged)
    return numbered(found)


def numbered(found: Mapping[str, tests.Uniformity]) -> list[dict[str, Any]]:
    """Tests as parts of rows."""
    return [{"test": name, "statistic": t.statistic, "p": t.p, "n_sim": t.n} for name, t in found.items()]


def plain(value: Any) -> Any:
    """A number or text as Python's."""
    return value.item() if isinstance(value, np.generic) else value
