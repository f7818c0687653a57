"""The figures of a study's report, drawn from the tables of its run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiermodels.reporting import tables
from hiermodels.reporting._comparison import common_of, comparison_words
from hiermodels.reporting._rows import factors, varying
from hiermodels.studies.score.measures import MENU, OF_DECISIONS, compared_by

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = [
    "MOST_REPLICATES",
    "Picture",
    "draw",
    "figures",
    "level_of_run",
    "notes_of_run",
    "regime_of_run",
    "write_figures",
]

MOST_REPLICATES = 10_000
"""Replicates of which estimates are drawn; tables stand on all."""


@dataclass(frozen=True)
class Picture:
    """One figure of the report: its files, its caption, and why it is not drawn if it is not."""

    stem: str
    caption: str
    files: tuple[Path, ...] = ()
    reason: str = ""


def regime_of_run(run: Any) -> str:
    """The truth regime of a run as words; several where mechanisms differ."""
    found = run.manifest.get("regime") or ""
    return found if isinstance(found, str) else ", ".join(map(str, found))


def level_of_run(run: Any) -> float:
    """Nominal level of the intervals."""
    interval = run.config.get("interval", 0.95)
    return float(interval.get("level", 0.95) if isinstance(interval, Mapping) else interval)


def notes_of_run(run: Any) -> list[str]:
    """Notes to the performance table."""
    return tables.note_lines(getattr(run, "notes", None) or run.manifest.get("notes"))


def write_figures(run: Any) -> list[Path]:
    """Draw the figures that the run's tables allow and write them to ``figures/`` as SVG and PNG.

    Coverage, bias, RMSE ratio, interval width, power, a nested loop where several factors vary, ranks where truths come
    from the prior, shrinkage from no to partial pooling, and failures where there were any. A measure that the study
    did not ask for gives no figure.

    Parameters
    ----------
    run
        As in `write_report`.

    Returns
    -------
    list of Path
        Files written.
    """
    return [file for picture in draw(run) for file in picture.files]


def draw(run: Any, out: Path | None = None) -> list[Picture]:
    """Draw and save each figure; one that cannot be drawn is a `Picture` with its reason."""
    from hiermodels.reporting._figure import save

    folder, pictures = Path(out or run.path) / "figures", []
    for stem, caption, make in figures(run):
        try:
            pictures.append(Picture(stem, caption, tuple(save(make(), folder, stem))))
        except ValueError as error:
            pictures.append(Picture(stem, caption, reason=str(error)))
    return pictures


def figures(run: Any) -> Iterator[tuple[str, str, Callable[[], Figure]]]:
    """Stem, caption and maker of each figure that the run's tables allow."""
    from hiermodels.reporting import plots

    table, regime = common_of(run), regime_of_run(run)
    there = set(table.loc[table["value"].notna(), "measure"])
    level = level_of_run(run)
    yield from _of_measures(run, table, there, level, regime)
    yield from _over_factors(run, table, there, regime)
    yield from _calibration(run, regime)
    yield from _shrinkage(run, regime)
    failures = run.failures
    if failures is not None and len(failures) and _troubled(failures):
        yield (
            "failures",
            "Fits that are missing (nonfinite) or flagged, by their worst status.",
            lambda: plots.plot_failures(failures, regime=regime),
        )


def _drawn(run: Any) -> tuple[pd.DataFrame, str]:
    """Estimates for figures, and a sentence with a space before it where they are the first of many replicates."""
    if not hasattr(run, "first_replicates") or run.config.get("replications", 0) <= MOST_REPLICATES:
        return run.estimates, ""
    return run.first_replicates(
        MOST_REPLICATES
    ), f" Drawn from the first {MOST_REPLICATES:,} replicates of each mechanism."


def _of_measures(
    run: Any, table: pd.DataFrame, there: set[str], level: float, regime: str
) -> Iterator[tuple[str, str, Callable[[], Figure]]]:
    """The figures of measures that have one, in their order."""
    from hiermodels.reporting import plots

    numeric = any(table[c].dtype.kind in "iuf" for c in varying(table, factors(table)))
    several = table["method"].nunique() > 1
    measures = [m for m in (*MENU.values(), *OF_DECISIONS.values()) if m.figure is not None]
    for measure in sorted(measures, key=lambda m: m.figure.place if m.figure else 0):
        if measure.name not in there and not (several and there.intersection(compared_by(measure.name))):
            continue
        assert measure.figure is not None
        stem, words, _, plot, along = measure.figure
        plot, words = along if along is not None and numeric else (plot, words)
        options: dict[str, Any] = {"regime": regime}
        if plot == "plot_measure":
            options |= {"measure": measure.name, "reference": level if measure.better == "level" else measure.line}
        caption = words.format(level=100 * level) + comparison_words(run, measure.name)
        yield stem, caption, partial(getattr(plots, plot), table, **options)


def _over_factors(
    run: Any, table: pd.DataFrame, there: set[str], regime: str
) -> Iterator[tuple[str, str, Callable[[], Figure]]]:
    """One measure over every combination where two factors or more vary."""
    from hiermodels.reporting import plots

    varied = varying(table, factors(table))
    found = sorted((m for m in MENU.values() if m.overview and m.name in there), key=lambda m: m.overview)
    if len(varied) > 1 and found:
        measure = found[0]
        yield (
            f"nested_loop_{measure.name}",
            f"{measure.label.capitalize()} over every combination of {', '.join(varied)}. Bars are 95% Monte Carlo "
            f"intervals." + comparison_words(run, measure.name),
            lambda: plots.plot_nested_loop(table, measure.name, regime=regime),
        )


def _calibration(run: Any, regime: str) -> Iterator[tuple[str, str, Callable[[], Figure]]]:
    """Ranks of the truth, where truths are drawn from the prior."""
    from hiermodels.reporting import plots

    if "prior" not in regime:
        return
    estimates, which = _drawn(run)
    if "rank" not in estimates or not estimates["rank"].notna().any():
        return
    yield (
        "ranks",
        f"Histogram of the ranks of the truth among the draws; the band is what uniform ranks keep in each bin.{which}",
        lambda: plots.plot_ranks(estimates, regime=regime),
    )
    yield (
        "ecdf_difference",
        f"Distribution function of the ranks less that of uniform ones, with a simultaneous 95% band.{which}",
        lambda: plots.plot_ecdf_difference(estimates, regime=regime),
    )


def _shrinkage(run: Any, regime: str) -> Iterator[tuple[str, str, Callable[[], Figure]]]:
    """Arrows from a method without pooling to one with partial pooling, where a study has both."""
    from hiermodels.reporting import plots

    raw, pooled = _method_with(run, "none"), _method_with(run, "partial")
    if raw is None or pooled is None:
        return
    few = hasattr(run, "first_replicates") and regime != "fixed"  # of a large run only what is drawn is read
    estimates, of = (run.first_replicates(1), "") if few else _drawn(run)
    group = estimates["group"].astype(object)
    both = [
        set(estimates.loc[(estimates["method"] == m) & group.notna() & (group != ""), "estimand"])
        for m in (raw, pooled)
    ]
    rep = None if regime == "fixed" else int(estimates["rep"].min())
    which = "averages over replicates" if rep is None else f"replicate {rep}"
    for estimand in sorted(both[0] & both[1] - {e for e in both[0] if "(" in str(e)}):
        yield (
            f"shrinkage_{_safe(estimand)}",
            f"Estimates of {estimand} without pooling ({raw}) and with partial pooling ({pooled}), {which}.{of}",
            lambda e=estimand: plots.plot_shrinkage(estimates, e, raw, pooled, rep=rep, regime=regime),  # type: ignore[misc]
        )


def _method_with(run: Any, pooling: str) -> str | None:
    """The first method that pools so at every level."""
    for name, settings in (run.config.get("methods") or {}).items():
        found = (settings or {}).get("pooling", "partial") if isinstance(settings, Mapping) else None
        words = set(found.values()) if isinstance(found, Mapping) else {found}
        if words == {pooling}:
            return str(name)
    return None


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c == "_" else "-" for c in name)


def _troubled(failures: pd.DataFrame) -> bool:
    words = [c for c in ("nonfinite", "divergent", "rhat", "low_ess", "heavy_weights") if c in failures]
    return bool(failures[words].to_numpy().sum()) if words else False
