"""Figures of a meta-analysis: forest and funnel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter
from scipy import stats

from hiermodels.reporting import _figure as f
from hiermodels.synthesis.measures import MEASURES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["forest", "funnel"]

_TICKS = np.array([1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000])


def forest(meta: Any, ax: Axes | None) -> Figure:
    """See `hiermodels.synthesis.Meta.forest`."""
    table, summary = meta.studies, meta.summary()
    three = summary[["estimate", "lower", "upper"]].astype(float)
    below = {row: tuple(three.loc[row].to_numpy().tolist()) for row in ("mean", "new") if row in three.index}
    count = len(table) + len(below)
    figure, axes = f.canvas(1, ax, height=min(1.1 + 0.3 * count, 14.0))
    one, rows = axes[0], -np.arange(len(table), dtype=float)
    weight = table.get("weight", 100 * (1 / table["se"] ** 2) / (1 / table["se"] ** 2).sum()).to_numpy(float)
    one.hlines(rows, table["lower"], table["upper"], color=f.PALETTE[0], linewidth=1.3, zorder=2)
    one.scatter(
        table["effect"],
        rows,
        s=20 + 160 * weight / weight.max(),
        marker="s",
        color=f.PALETTE[0],
        zorder=3,
        label="study, size by weight",
    )
    one.hlines(rows - 0.24, table["theta_lower"], table["theta_upper"], color=f.PALETTE[1], linewidth=1.0, zorder=2)
    one.plot(
        table["theta_mean"],
        rows - 0.24,
        "o",
        color=f.PALETTE[1],
        markersize=3,
        zorder=3,
        label="true effect, by the model",
    )
    places = list(rows)
    for i, (row, (estimate, lower, upper)) in enumerate(below.items()):
        at = -len(table) - 0.4 - i
        places.append(at)
        if row == "mean":
            one.fill([lower, estimate, upper, estimate], [at, at + 0.3, at, at - 0.3], color=f.PALETTE[2], zorder=3)
            one.axvline(estimate, color=f.GREY, linestyle="--", linewidth=1, zorder=1)
        else:
            one.hlines(at, lower, upper, color=f.PALETTE[2], linewidth=5, zorder=3)
    if below:
        one.axhline(-len(table) + 0.4, color="black", linewidth=0.8)
    _null_line(one, meta)
    one.grid(False)
    words = {"mean": "mean", "new": "new study"}
    one.set_yticks(places, [*f.names_of(table.index), *(words[row] for row in below)])
    one.set_ylim(min(places) - 0.6, 0.6)
    numbers: list[Any] = [*table[["effect", "lower", "upper"]].itertuples(index=False, name=None), *below.values()]
    shares = [*table.get("weight", np.full(len(table), np.nan)), *[np.nan] * len(below)]
    _write(one, places, numbers, shares, meta.ratio)
    name = _scale(one, meta, np.concatenate([table[["lower", "upper"]].to_numpy().ravel(), *below.values()]))
    one.set_xlabel(name, fontsize=f.TEXT)
    f.legend(figure, axes, ax is None)
    f.heading(figure, axes, ax is None, f"{len(table)} studies: effect, {100 * meta.level:g}% interval, weight")
    return figure


def funnel(meta: Any, ax: Axes | None) -> Figure:
    """See `hiermodels.synthesis.Meta.funnel`."""
    table, summary = meta.studies, meta.summary()
    figure, axes = f.canvas(1, ax, height=3.6)
    one, z = axes[0], stats.norm.ppf(0.5 + meta.level / 2)
    errors = np.linspace(0.0, 1.08 * float(table["se"].max()), 101)
    effect, name = table["effect"].to_numpy(float), _word(meta)
    if meta.terms == ["mean"]:
        centre = float(summary["estimate"].to_numpy(float)[0])
    else:  # what the moderators leave
        effect = table["effect"].to_numpy(float) - meta.rows.x @ summary.loc[meta.terms, "estimate"].to_numpy(float)
        centre, name = 0.0, f"residual {name}"
    spread = np.sqrt(sum(summary.loc[row, "estimate"] ** 2 for row in summary.index if row.startswith("tau")))
    ends = z * np.sqrt(errors**2 + spread**2)
    one.fill_betweenx(
        errors,
        centre - ends,
        centre + ends,
        color="#e8eef4",
        zorder=0,
        label=f"{100 * meta.level:g}% of studies, tau at its median",
    )
    one.plot(centre - z * errors, errors, color=f.GREY, linewidth=1, linestyle="--", label="the same if tau = 0")
    one.plot(centre + z * errors, errors, color=f.GREY, linewidth=1, linestyle="--")
    one.axvline(centre, color=f.PALETTE[2], linewidth=1.2)
    one.plot(effect, table["se"], "o", color=f.PALETTE[0], markersize=5.5, zorder=3)
    one.set_ylim(errors[-1], 0.0)
    one.set_ylabel("standard error", fontsize=f.TEXT)
    if meta.terms == ["mean"]:
        _null_line(one, meta)
        name = _scale(one, meta, np.concatenate([effect, centre + np.array([-1, 1]) * ends.max()]))
    one.set_xlabel(name, fontsize=f.TEXT)
    f.legend(figure, axes, ax is None)
    f.heading(figure, axes, ax is None, f"Funnel plot of {len(table)} studies")
    return figure


def _word(meta: Any) -> str:
    return MEASURES[meta.measure].meaning if meta.measure else "effect"


def _null_line(ax: Axes, meta: Any) -> None:
    null = MEASURES[meta.measure].null if meta.measure else 0.0
    if null is not None:
        ax.axvline(null, color="black", linewidth=0.8, zorder=1)


def _scale(ax: Axes, meta: Any, values: np.ndarray) -> str:
    """The axis's name; logarithms of ratios are written as ratios."""
    if not meta.ratio:
        return _word(meta)
    low, high = np.exp([values.min(), values.max()])
    ticks = _TICKS[(low <= _TICKS) & (high >= _TICKS)]
    while len(ticks) > 7:
        ticks = ticks[::2] if 1.0 in ticks[::2] else ticks[1::2]
    if len(ticks) > 1:
        ax.xaxis.set_major_locator(FixedLocator(list(np.log(ticks))))
        ax.xaxis.set_minor_formatter(NullFormatter())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{np.exp(x):.3g}"))
    return _word(meta).removeprefix("log ") + " (logarithmic axis)"


def _write(
    ax: Axes, places: list[float], rows: list[tuple[float, float, float]], shares: list[float], ratio: bool
) -> None:
    """Estimate, interval and weight to the right of each row."""
    values = np.exp(np.array(rows, float)) if ratio else np.array(rows, float)
    spread = float(np.median(values[:, 2] - values[:, 1]))
    after = 2 if ratio else int(np.clip(2 - np.floor(np.log10(spread or 1.0)), 0, 6))
    for at, (estimate, lower, upper), share in zip(places, values, shares, strict=True):
        weight = "" if np.isnan(share) else f"  {share:.1f}%"
        text = f"{estimate:.{after}f} ({lower:.{after}f}, {upper:.{after}f}){weight}"
        ax.text(1.02, at, text, transform=ax.get_yaxis_transform(), va="center", fontsize=f.TEXT - 2)
