"""The long table of performance from the long table of estimates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from hiermodels.studies.score import measures as menu
from hiermodels.studies.score import tables
from hiermodels.studies.score.menu import Menu
from hiermodels.studies.score.tables import Scored
from hiermodels.studies.store.blocks import known
from hiermodels.studies.store.large import LargeCell

__all__ = ["performance", "score"]


def performance(
    estimates: pd.DataFrame | Iterable[pd.DataFrame | LargeCell],
    *,
    factors: Sequence[str],
    measures: Sequence[str],
    interval: float = 0.95,
    failures: str = "complete-case",
    reference: str | None = None,
    regime: str,
    exclude_flagged: bool = False,
    robust: bool = False,
    decisions: Mapping[str, float] | None = None,
    supports: Mapping[str, tuple[float, float]] | None = None,
) -> tuple[pd.DataFrame, list[str]]:
    """The long table of performance from the long table of estimates.

    Rows follow the order of first appearance of cells, methods, estimands and groups, then of the measures as
    asked. An estimand with group labels gets a row a group and one with group ``[mean]``, the average over
    groups.

    Parameters
    ----------
    estimates : pandas.DataFrame, or iterable of them or of large cells
        One row a replicate x cell x method x estimand x group, in any order; columns ``rep, <factors>,
        method, estimand, group, true, estimate, lower, upper, status`` and, where there are such, ``se, rank,
        max_rank, n_try, ess_tail``. Of a table too large for memory: batches of whole cells, one at a time.
    factors : sequence of str
        Columns whose values identify a cell.
    measures : sequence of str
        Codes from `hiermodels.studies.score.measures`.
    interval : float
        Credibility of the intervals.
    failures : str
        What to do where a measure lacks what it needs: fits with status ``nonfinite``, and answers without a part (a
        standard error, an interval) that the method gives elsewhere. ``complete-case``: each method on what it has.
        ``paired-complete``: only replicates on which every method that has the target, and gives such a part, has it.
        ``worst-case``: bounds for shares, failed fits counting as not covering and not firing (the upper
        limit counts them the other way); other measures have no bound and stay complete-case.
        ``retry-with-escalation``: complete-case on what the retries left.
    reference : str, optional
        Method that `relprec`, `mse_ratio`, ... compare with; by default the first.
    regime : str
        Truth regime: ``fixed``, ``population`` or ``prior``.
    exclude_flagged : bool
        Leave out flagged fits (any status but ``ok`` and ``singular``) to show how the table depends on them. It
        conditions on convergence: not for conclusions.
    robust : bool
        MCSEs of standard deviations by the kurtosis form.
    decisions : mapping of str to float, optional
        Estimands that are posterior probabilities, and the threshold above which `power` counts them; by
        default estimands without intervals, between 0 and 1 and with truths 0 or 1, at (1 + interval) / 2.
    supports : mapping of str to (float, float), optional
        Least and largest value of estimands that have bounds, so that no interval is judged at a truth on one.

    Returns
    -------
    table : pandas.DataFrame
        Columns ``<factors>, method, estimand, group, measure, value, mcse, lower, upper, n_sim, n, n_failed,
        n_retried``: replicates attempted, behind the value, without what the measure needs, and tried more than once.
        Rows ``[mean]`` stand on complete replicates, in which no group is missing.
    notes : list of str
        Why values are NaN, what was left out, and what to beware of.

    Raises
    ------
    ValueError
        Unknown measure, policy, regime or reference (with the nearest right name), a missing column, a
        replicate twice.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"rep": [0, 1], "method": "m", "estimand": "Intercept", "group": "", "true": 8.0,
    ...                       "estimate": [7.0, 10.0], "lower": 4.0, "upper": 12.0, "status": "ok"})
    >>> table, notes = performance(frame, factors=[], measures=["bias", "cover"], regime="population")
    >>> table[["measure", "value"]].to_dict("list")
    {'measure': ['bias', 'cover'], 'value': [0.5, 1.0]}
    """
    given: dict[str, Any] = {
        "regime": regime,
        "exclude_flagged": exclude_flagged,
        "robust": robust,
        "decisions": decisions,
        "supports": supports,
    }
    found = score(
        estimates,
        factors=factors,
        measures=measures,
        interval=interval,
        failures=failures,
        reference=reference,
        **given,
    )
    return found.table, found.notes


def score(
    estimates: pd.DataFrame | Iterable[pd.DataFrame | LargeCell],
    *,
    factors: Sequence[str],
    measures: Sequence[str],
    regime: str,
    interval: float = 0.95,
    failures: str = "complete-case",
    reference: str | None = None,
    exclude_flagged: bool = False,
    robust: bool = False,
    decisions: Mapping[str, float] | None = None,
    supports: Mapping[str, tuple[float, float]] | None = None,
) -> Scored:
    """`performance` with all that belongs to it: the table on common replicates, and the count of failures."""
    asked = [menu.MENU[known("measures", name, menu.MENU)] for name in measures]
    return tables.tabulate(
        estimates,
        factors=list(factors),
        menu=Menu.of(asked, menu.MENU),
        failures=failures,
        reference=reference,
        regime=regime,
        exclude_flagged=exclude_flagged,
        decisions=decisions or {},
        supports=supports or {},
        settings={"interval": interval, "robust": robust, "fixed": regime == "fixed"},
    )
