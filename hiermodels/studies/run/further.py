"""What a run's summary holds besides measures of performance: decisions, and tests of calibration.

Both are read off the estimates as they stream by, a few cells at a time, or a large cell chunk by chunk; nothing is
fitted again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from hiermodels.studies.calibrate.calibration import calibration
from hiermodels.studies.calibrate.ranked import calibration_of
from hiermodels.studies.calibrate.sbc_tests import holm
from hiermodels.studies.score.measures import MENU
from hiermodels.studies.score.power import operating
from hiermodels.studies.score.rules import read_rules
from hiermodels.studies.store.csv_text import csv_text
from hiermodels.studies.store.large import LargeCell

if TYPE_CHECKING:
    from hiermodels.studies.score.power import Batch
    from hiermodels.studies.store.results import Run

__all__ = ["Further"]


class Further:
    """Collects what decisions and calibration need while a run's estimates are read.

    Parameters
    ----------
    run : Run
    """

    def __init__(self, run: Run) -> None:
        self._rules = read_rules(run.config.get("decisions") or {})
        self._factors, self._failures = run.factors, str(run.config["failures"])
        regimes = run.manifest.get("regime") or []
        self._prior = list(regimes) == ["prior"]
        self._decided: list[Batch] = []
        self._tests: list[pd.DataFrame] = []

    def read(self, batch: Batch) -> None:
        """Take note of a batch of whole cells, or of a cell that is read chunk by chunk."""
        if isinstance(batch, LargeCell):
            self._decided.append(batch)
            if self._prior and (found := calibration_of(batch, self._factors)) is not None:
                self._tests.append(found)
            return
        if self._rules:
            columns = [
                c
                for c in (
                    "rep",
                    *self._factors,
                    "method",
                    "estimand",
                    "group",
                    "true",
                    "estimate",
                    "lower",
                    "upper",
                    "status",
                    "n_try",
                )
                if c in batch
            ]
            wanted = batch["estimand"].isin({rule.estimand for rule in self._rules})
            self._decided.append(batch.loc[wanted, columns])
        if self._prior and np.isfinite(batch["max_rank"].to_numpy(float)).any():
            self._tests.append(calibration(batch, self._factors).table)

    def decisions(
        self, table: pd.DataFrame, notes: list[str], *, common: bool = False
    ) -> tuple[pd.DataFrame, list[str]]:
        """The table of performance with the operating characteristics of the study's decisions after it.

        Of the table on common replicates (``common``), all methods are judged on those. A decision named as its
        estimand takes the place of that estimand's `power`, which has a threshold of its own.
        """
        if not self._rules:
            return table, notes

        regime = "prior" if self._prior else "population"
        found, more = operating(
            self._decided,
            self._rules,
            factors=self._factors,
            regime=regime,
            failures="paired-complete" if common and self._failures != "worst-case" else self._failures,
        )
        for name in self._factors:
            found[name] = found[name].astype(table[name].dtype)
        explained = (
            "type1: share of a decision's false claims that fire; power: of its true ones; [any], [all]: of "
            "all groups together."
        )
        replaced = table["measure"].isin([name for name, measure in MENU.items() if measure.decides]) & table[
            "estimand"
        ].isin([rule.name for rule in self._rules])
        return pd.concat([table[~replaced], found[table.columns]], ignore_index=True), [*notes, explained, *more]

    def calibration(self) -> bytes | None:
        """Tests of calibration as CSV, adjusted over all of them; None where truths do not come from priors, or
        without ranks.
        """
        if not self._tests:
            return None

        table = pd.concat(self._tests, ignore_index=True)
        table["p_joint"] = holm(table["p"])
        return csv_text(table).encode()
