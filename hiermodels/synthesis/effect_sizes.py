"""`effect_sizes`: estimates and standard errors of a menu of measures, and the covariances of those that share an
arm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels.models.columns import require_column, shown_cell
from hiermodels.synthesis.cells import ZERO_CELLS, corrected, nearest, read_cells
from hiermodels.synthesis.measures import MEASURES, Measure

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["effect_sizes", "sampling_covariance"]

_MADE = ("effect", "se", "corrected", "shared_variance", "trial_n")


def effect_sizes(
    table: pd.DataFrame,
    measure: str,
    *,
    events: str | None = None,
    non_events: str | None = None,
    n: str | None = None,
    time: str | None = None,
    mean: str | None = None,
    sd: str | None = None,
    correlation: str | None = None,
    control_events: str | None = None,
    control_non_events: str | None = None,
    control_n: str | None = None,
    control_time: str | None = None,
    control_mean: str | None = None,
    control_sd: str | None = None,
    study: str | None = None,
    arm: str | None = None,
    control: Any = None,
    shared_control: str | None = None,
    zero_cells: str = "own",
    correction: float = 0.5,
) -> pd.DataFrame:
    """Effect sizes and their standard errors, from the numbers that trials print.

    Parameters
    ----------
    table : DataFrame
        One row per study, with columns for both arms; or, with ``arm``, one row per arm.
    measure : str
        Two groups with events: ``OR RR RD AS PETO`` (logarithms of OR and RR); events in time: ``IRR IRD IRSD``; means:
        ``MD SMD SMDH ROM``. One group: ``PR PLN PLO PAS PFT``, ``IR IRLN IRS``, ``MN MNLN``, ``COR ZCOR``. Formulas and
        sources: `hiermodels.synthesis.measures`.
    events, non_events, n, time, mean, sd, correlation : str, optional
        Columns of the (treated) group; ``non_events`` may stand for ``n``.
    control_events, control_non_events, control_n, control_time, control_mean, control_sd : str, optional
        Columns of the control group.
    study, arm, control : optional
        For one row per arm: the columns that name the trial and the arm, and the label of the arm that the others of
        its trial are compared with (in a trial without it, and by default, its first). The result has one row per
        comparison.
    shared_control : str, optional
        For one row per study: rows with the same label in this column have the same control group.
    zero_cells : str
        Which rows get ``correction`` added to each cell (rates: to the events) where cells are zero: ``own``, those
        that have a zero cell (a trial's arms together); ``any``, all of them if one has; ``all``; ``none``. Measures
        without a logarithm or a variance that may vanish (AS, IRSD, PAS, PFT, IRS) are never corrected.
    correction : float
        1/2 by default.

    Returns
    -------
    DataFrame
        The table with ``effect`` and ``se``; ``corrected`` says which rows were, for measures that may be; effects that
        share a control group have ``shared_variance`` (what that group adds to each one's variance), which
        `sampling_covariance` reads.

    Raises
    ------
    ValueError
        For a measure or column that is not there, and by row for a number that is missing or cannot be.

    Examples
    --------
    >>> import pandas as pd, hiermodels as hm
    >>> bcg = pd.DataFrame({"trial": ["Aronson", "Ferguson"], "tpos": [4, 6], "tneg": [119, 300], "cpos": [11, 29], "cneg": [128, 274]})
    >>> found = hm.effect_sizes(
    ...     bcg, "RR", events="tpos", non_events="tneg", control_events="cpos", control_non_events="cneg")
    >>> found[["effect", "se"]].round(4).values.tolist()  # log relative risks
    [[-0.8893, 0.5706], [-1.5854, 0.4411]]
    """  # noqa: E501
    import pandas as pd

    columns = {
        "events": events, "non_events": non_events, "n": n, "time": time, "mean": mean, "sd": sd, "correlation": correlation,  # noqa: E501
        "control_events": control_events, "control_non_events": control_non_events, "control_n": control_n,
        "control_time": control_time, "control_mean": control_mean, "control_sd": control_sd,
    }  # fmt: skip
    if not isinstance(table, pd.DataFrame):
        raise ValueError(f"table: expected a DataFrame, found {type(table).__name__}; use pd.DataFrame(...)")
    chosen = _measure(measure)
    _settings(zero_cells, correction)
    if arm is not None:
        return _by_arm(table, chosen, columns, study, arm, control, zero_cells, correction)
    if control is not None:
        raise ValueError(
            "control: expected the label of an arm, with arm=<column>, found no arm; name that column or the "
            "control_ columns"
        )
    for name in _MADE:
        if name in table.columns:
            raise ValueError(f"table: column {name!r} is there already, and would be written over; rename or drop it")
    cells = read_cells(table, chosen, columns, chosen.two_arms)
    trial = None
    if shared_control is not None:
        trial = _sharing(table, cells, shared_control, chosen)
    return _sized(table.copy(), cells, chosen, zero_cells, correction, trial)


def _measure(word: object) -> Measure:
    found = MEASURES.get(word.upper()) if isinstance(word, str) else None
    if found is None:
        raise ValueError(f"measure: no measure {shown_cell(word)}; the measures are {', '.join(MEASURES)}")
    return found


def _settings(zero_cells: str, correction: float) -> None:
    if zero_cells not in ZERO_CELLS:
        raise ValueError(
            f"zero_cells: expected one of {', '.join(ZERO_CELLS)}, found {zero_cells!r}; "
            f"{nearest(zero_cells, ZERO_CELLS)}"
        )
    if isinstance(correction, bool) or not isinstance(correction, int | float) or not 0 < correction < np.inf:
        raise ValueError(
            f"correction: expected a positive number, found {correction!r}; e.g. 0.5, or zero_cells='none' for none"
        )


def _sized(
    frame: pd.DataFrame,
    cells: dict[str, np.ndarray],
    measure: Measure,
    zero_cells: str,
    correction: float,
    trial: np.ndarray | None,
) -> pd.DataFrame:
    """The frame with what was estimated, in the rows' order."""
    rows = np.zeros(len(frame), bool)
    used = cells
    if measure.zeros:
        used, rows = corrected(cells, measure, zero_cells, correction, trial)
    if "mean" in measure.roles and measure.logarithm:
        _refuse_signs(cells)
    with np.errstate(all="ignore"):
        effect, variance, shared = measure.estimate(used)
    bad = ~(np.isfinite(effect) & np.isfinite(variance) & (variance > 0))
    if bad.any():
        i = int(np.argmax(bad))
        way = "use zero_cells='own', or drop the row" if measure.zeros else "mend or drop the row"
        raise ValueError(
            f"effect_sizes: row {i}: {measure.name} or its standard error does not exist there ({_shown(cells, i)}); "
            f"{way}"
        )
    frame["effect"], frame["se"] = effect, np.sqrt(variance)
    if measure.zeros:
        frame["corrected"] = rows
    if trial is not None:
        if shared is None:
            raise ValueError(
                f"measure: {measure.name} has no known covariance of effects that share a control group; use OR, RR, "
                f"RD, MD or SMD"
            )
        frame["shared_variance"] = shared
        if measure.pooled_sd:
            treated = np.bincount(trial, cells["n"])[trial]
            frame["trial_n"] = treated + cells["control_n"]
    frame.attrs["measure"] = measure.name
    return frame


def _shown(cells: dict[str, np.ndarray], i: int) -> str:
    return ", ".join(f"{role} {x[i]:g}" for role, x in cells.items())


def _refuse_signs(cells: dict[str, np.ndarray]) -> None:
    """A ratio of means needs means of one sign; the logarithm of a mean a positive one."""
    other = cells.get("control_mean", np.ones_like(cells["mean"]))
    bad = ~(cells["mean"] * other > 0)
    if bad.any():
        i = int(np.argmax(bad))
        raise ValueError(
            f"effect_sizes: row {i}: expected means of one sign and not 0 for a logarithm, found {_shown(cells, i)}; "
            f"use MD or SMD"
        )


def _sharing(frame: pd.DataFrame, cells: dict[str, np.ndarray], column: str, measure: Measure) -> np.ndarray:
    """Codes of the rows' control groups, which must be the same numbers."""
    import pandas as pd

    if not measure.two_arms:
        raise ValueError(f"shared_control: measure {measure.name} has no control group; leave it out")
    require_column(frame, column, "shared_control")
    codes, labels = pd.factorize(frame[column])
    if (codes < 0).any():
        raise ValueError(
            f"effect_sizes: column {column!r}, row {int(np.argmin(codes))}: expected a label, found nothing; fill it in"
        )
    first = np.array([int(np.argmax(codes == c)) for c in range(len(labels))])[codes]
    for role, x in cells.items():
        if role.startswith("control_") and (x != x[first]).any():
            i = int(np.argmax(x != x[first]))
            raise ValueError(
                f"effect_sizes: row {i}: {role} is {x[i]:g}, but {x[first[i]]:g} in row {first[i]} of the same "
                f"control group "
                f"({column} {labels[codes[i]]!r}); mend one, or give rows that share nothing labels of their own"
            )
    return codes


def _by_arm(
    table: pd.DataFrame,
    measure: Measure,
    columns: dict[str, str | None],
    study: str | None,
    arm: str,
    control: Any,
    zero_cells: str,
    correction: float,
) -> pd.DataFrame:
    """Comparisons with the control arm of each trial, from one row per arm."""
    import pandas as pd

    if not measure.two_arms:
        raise ValueError(f"arm: measure {measure.name} compares no arms; leave arm out")
    if study is None:
        raise ValueError(
            "study: expected the column that names the trial of each arm, found none; write study=<column>"
        )
    for role in ("study", "arm"):
        require_column(table, study if role == "study" else arm, role)
    cells = read_cells(
        table, measure, {role: name for role, name in columns.items() if name is not None}, control=False
    )
    codes, labels = pd.factorize(table[study])
    names = table[arm].to_numpy()
    twice = pd.DataFrame({"study": codes, "arm": names}).duplicated().to_numpy()
    if twice.any() or (codes < 0).any():
        i = int(np.argmax(twice | (codes < 0)))
        raise ValueError(
            f"effect_sizes: row {i}: expected one row per trial and arm, found {study} {table[study].iloc[i]!r}, "
            f"{arm} {names[i]!r} again or without a label; mend it"
        )
    if control is not None and not (names == control).any():
        raise ValueError(
            f"control: no arm {control!r} in column {arm!r}; the arms are {', '.join(map(str, pd.unique(names)[:12]))}"
        )
    pairs = []
    for c, label in enumerate(labels):
        rows = np.flatnonzero(codes == c)
        if len(rows) < 2:
            raise ValueError(
                f"effect_sizes: {study} {label!r} has one arm, row {rows[0]}; expected two or more; drop it or add "
                f"its other arms"
            )
        base = next((i for i in rows if control is not None and names[i] == control), rows[0])
        pairs += [(i, base) for i in rows if i != base]
    treated, base = np.array(pairs).T
    paired = {role: x[treated] for role, x in cells.items()} | {f"control_{role}": x[base] for role, x in cells.items()}
    frame = pd.DataFrame({study: table[study].to_numpy()[treated], arm: names[treated], "control": names[base]})
    return _sized(
        frame, paired, measure, zero_cells, correction, codes[treated] if np.bincount(codes).max() > 2 else None
    )


def sampling_covariance(frame: pd.DataFrame, shared_control: str) -> np.ndarray:
    """Covariance of effects, those with one control group in blocks.

    The covariance of two differences from one control group is what that group adds to each variance (Gleser & Olkin
    2009, in Cooper, Hedges & Valentine, chapter 19). Standardised differences share their sd too: ``1 / n_c + g_i g_j /
    (2 N)``, N the trial's total.

    Parameters
    ----------
    frame : DataFrame
        From `effect_sizes`, with ``shared_variance``.
    shared_control : str
        The column that names the control group of each row: ``study`` where there was one row per arm.

    Returns
    -------
    ndarray, shape (row, row)

    Raises
    ------
    ValueError
        For a frame without ``shared_variance``.

    Examples
    --------
    >>> import pandas as pd, hiermodels as hm
    >>> arms = pd.DataFrame({"trial": [1, 1, 1], "arm": ["none", "leaflet", "visits"], "events": [9, 23, 10], "n": [140, 140, 138]})
    >>> found = hm.effect_sizes(arms, "OR", events="events", n="n", study="trial", arm="arm", control="none")
    >>> from hiermodels.synthesis import sampling_covariance
    >>> covariance = sampling_covariance(found, "trial")
    >>> float(covariance[0, 1].round(4)), round(1 / 9 + 1 / 131, 4)
    (0.1187, 0.1187)
    """  # noqa: E501
    import pandas as pd

    if "shared_variance" not in frame.columns:
        raise ValueError(
            "sampling_covariance: no column 'shared_variance'; make the effects with shared_control=<column>, or one "
            "row per arm"
        )
    require_column(frame, shared_control, "shared_control")
    codes = pd.factorize(frame[shared_control])[0]
    effect, shared = frame["effect"].to_numpy(float), frame["shared_variance"].to_numpy(float)
    covariance = np.sqrt(np.outer(shared, shared))
    if "trial_n" in frame.columns:
        covariance = covariance + np.outer(effect, effect) / (2 * frame["trial_n"].to_numpy(float))
    covariance = np.where(codes[:, None] == codes, covariance, 0.0)
    np.fill_diagonal(covariance, frame["se"].to_numpy(float) ** 2)
    return covariance
