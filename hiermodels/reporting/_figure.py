"""What every figure shares: palette, panels, heading, and saving byte for byte alike.

Figures are made with matplotlib's objects alone, never through ``pyplot``, so that threads and notebooks are
safe.
"""

from __future__ import annotations

import io
import math
import textwrap
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from PIL import Image

from hiermodels.reporting._rows import label, levels
from hiermodels.studies.store.disk import write_bytes

# Okabe & Ito's colours, which people with any common colour blindness tell apart; shapes say the same again.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999933")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GREY = "#6b6b6b"
TEXT = 12.0
_SAVING = threading.Lock()


class StudyFigure(Figure):
    """A matplotlib figure that a notebook shows without ``pyplot``, in 256 colours: a third of the bytes."""

    def _repr_png_(self) -> bytes:
        full, small = io.BytesIO(), io.BytesIO()
        self.savefig(full, format="png", dpi=100, facecolor="white")
        Image.open(full).convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE).save(
            small, format="png", optimize=True
        )
        return small.getvalue()


def canvas(
    count: int,
    ax: Axes | None = None,
    *,
    height: float = 3.1,
    share: bool | Literal["row"] = False,
    wide: bool = False,
    columns: int = 0,
    ratios: Sequence[float] | None = None,
) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels, or the caller's own axes for one panel.

    Panels stand two abreast, one below the other with ``wide``, or ``columns`` abreast; ``height`` is that of a row in
    inches, ``share`` the axes that share their scale along y, ``ratios`` the relative heights of rows.
    """
    if ax is not None:
        if count > 1:
            raise ValueError(f"ax: expected one panel, found {count}; narrow it with `estimand=`, `group=` or `where=`")
        found = ax.get_figure(root=True)
        assert found is not None
        return found, [ax]
    columns = columns or (1 if count == 1 or wide else 2)
    rows = math.ceil(count / columns)
    width = {1: 5.2, 2: 6.8}.get(columns, 3.1 * columns)
    figure = StudyFigure(figsize=(width, height * rows + 1.3))
    figure.set_layout_engine("constrained", w_pad=0.09, h_pad=0.09)
    FigureCanvasAgg(figure)
    grid = {"height_ratios": ratios} if ratios else None
    axes = list(np.ravel(figure.subplots(rows, columns, squeeze=False, sharey=share, gridspec_kw=grid)))
    for empty in axes[count:]:
        empty.remove()
    for one in axes[:count]:
        one.tick_params(labelsize=TEXT - 1, labelleft=True)
        one.spines[["top", "right"]].set_visible(False)
        one.grid(axis="y", color="#dddddd", linewidth=0.7)
        one.set_axisbelow(True)
    return figure, axes[:count]


def heading(figure: Figure, axes: Sequence[Axes], own: bool, what: str, *more: str) -> None:
    """Title in a few lines: what is shown, then the truth regime and the number of replicates."""
    for text in figure.findobj(Text):
        if "$" in text.get_text():  # labels and names are what they are, never mathematics
            text.set_parse_math(False)
    width = int(figure.get_figwidth() * 72 / (0.56 * (TEXT + 1)))
    lines = [
        *textwrap.wrap(
            what if "_" in what.split(" ")[0] else what[:1].upper() + what[1:], width
        ),  # names stay as they are
        *textwrap.wrap("; ".join(m for m in more if m), width),
    ]
    if own:
        figure.suptitle("\n".join(lines), fontsize=TEXT + 1, parse_math=False)
    else:
        axes[0].set_title("\n".join(lines), fontsize=TEXT, parse_math=False)


def names_of(groups: Iterable[object], most: int = 24) -> list[str]:
    """Labels of groups as a figure has room for them: long ones lose their middle, and stay distinct.

    Examples
    --------
    >>> names_of(["A", "a very long name of a school in a town"], 20)
    ['A', 'a very lon…in a town']
    """
    found: list[str] = []
    for group in groups:
        text = str(group)
        name = text if len(text) <= most else f"{text[: most // 2]}…{text[-(most // 2 - 1) :]}"
        alike = found.count(name) if len(text) > most else 0
        found.append(f"{name} ({alike + 1})" if alike else name)
    return found


def name_panel(ax: Axes, title: str, own: bool) -> None:
    """Title of one panel of several."""
    if title and own:
        wide = int(ax.get_position().width * ax.figure.get_figwidth() * 72 / (0.52 * TEXT))  # type: ignore[union-attr]
        ax.set_title("\n".join(textwrap.wrap(title, max(wide, 16))), fontsize=TEXT)


def legend(figure: Figure, axes: Sequence[Axes], own: bool) -> None:
    """One legend for all panels, below them; inside the axes when they are the caller's."""
    seen: dict[str, Any] = {}
    for ax in axes:
        for handle, name in zip(*ax.get_legend_handles_labels(), strict=True):
            seen.setdefault(name, handle)
    if len(seen) < 1:
        return
    if own:
        room = figure.get_figwidth() * 72 / (0.6 * TEXT)
        columns = len(seen) if sum(map(len, seen)) + 6 * len(seen) < room else int(room / (max(map(len, seen)) + 6))
        handles = [_visible(handle) for handle in seen.values()]
        figure.legend(
            handles,
            seen.keys(),
            loc="outside lower center",
            ncols=max(columns, 1),
            fontsize=TEXT,
            frameon=False,
        )
    else:
        axes[0].legend(seen.values(), seen.keys(), fontsize=TEXT - 2, frameon=False)


def _visible(handle: Any) -> Any:
    """A legend's handle; points too small to be seen there are enlarged."""
    if (
        isinstance(handle, Line2D)
        and handle.get_linestyle() == "None"
        and (handle.get_markersize() < 4 or handle.get_marker() == ".")
    ):
        shown = Line2D([], [])
        shown.update_from(handle)
        shown.set(markersize=8 if handle.get_marker() == "." else 5, alpha=1.0)
        return shown
    return handle


def percent(value: float, _: object = None) -> str:
    """A share as a percentage, for an axis."""
    return f"{100 * value:.6g}%"


def looks(table: pd.DataFrame, column: str = "method") -> dict[Any, tuple[str, str]]:
    """Colour and marker of each level of a column, the same in every figure of a table.

    Methods are in the order of ``table.attrs["methods"]`` where the table of a run carries it, so that parts of its
    tables keep their looks; else in the table's own. A table without the column gives the first look for None.
    """
    found = levels(table[column]) if column in table else [None]
    order = [m for m in table.attrs.get("methods", ()) if column == "method"]
    values = [*order, *(value for value in found if value not in order)]
    return {
        value: (PALETTE[i % len(PALETTE)], MARKERS[(i + i // len(PALETTE)) % len(MARKERS)])
        for i, value in enumerate(values)
    }


def method_of(part: pd.DataFrame) -> Any:
    """The method of a panel's rows, None where the table has no such column."""
    return part["method"].iloc[0] if "method" in part else None


def axis_name(measure: str, part: pd.DataFrame) -> str:
    """``bias of theta_school``, in as many lines as it needs."""
    names = part["estimand"].unique()
    return "\n".join(textwrap.wrap(f"{measure} of {names[0]}" if len(names) == 1 else measure, 30))


def name_ticks(ax: Axes, values: Sequence[object], room: int = 30) -> None:
    """Categories along x, slanted where they would overlap."""
    names = [label(v) for v in values]
    ax.set_xticks(range(len(names)), names)
    ax.set_xlim(-0.5, len(names) - 0.5)
    if sum(map(len, names)) + 2 * len(names) > room:
        for text in ax.get_xticklabels():
            text.set(rotation=35, ha="right", rotation_mode="anchor")


def interval_word(source: Any, prob: float) -> str:
    """What the intervals of a source are called; those of a table from elsewhere have no known level."""
    return "interval" if isinstance(source, pd.DataFrame) else f"{100 * prob:.6g}% interval"


def interval_bars(
    ax: Axes, at: np.ndarray, table: pd.DataFrame, word: str, *, horizontal: bool = False, shade: str = PALETTE[0]
) -> None:
    """Intervals as thin bars; twice the Monte Carlo standard error either side of the estimate as thick ones.

    What a table does not have is left out.
    """
    draw = ax.hlines if horizontal else ax.vlines
    lower, upper = table["lower"].to_numpy(float), table["upper"].to_numpy(float)
    if np.isfinite(lower).any() or np.isfinite(upper).any():
        draw(at, lower, upper, color=shade, linewidth=1.1, label=word, zorder=2)
    estimate, mcse = table["estimate"].to_numpy(float), table["mcse"].to_numpy(float)
    if np.isfinite(mcse).any():
        draw(
            at,
            estimate - 2 * mcse,
            estimate + 2 * mcse,
            color="black",
            linewidth=2.2,
            label="± 2 Monte Carlo SE",
            zorder=6,
        )


def apart(values: np.ndarray, gap: float) -> np.ndarray:
    """Places nearest to the values, in their order, that stand at least a gap apart (least squares).

    Examples
    --------
    >>> apart(np.array([0.0, 0.0, 5.0]), 1.0).tolist()
    [-0.5, 0.5, 5.0]
    """
    from scipy.optimize import isotonic_regression

    order = np.argsort(values, kind="stable")
    steps = gap * np.arange(len(values))
    found = np.empty(len(values))
    found[order] = isotonic_regression(np.asarray(values, float)[order] - steps).x + steps
    return found


def _inches(ax: Axes) -> tuple[float, float]:
    box, figure = ax.get_position(), ax.get_figure(root=True)
    assert figure is not None
    return box.width * figure.get_figwidth(), box.height * figure.get_figheight()


def end_labels(ax: Axes, x: float, ends: np.ndarray, names: Sequence[str]) -> None:
    """Name lines at their right ends, names apart from one another and joined to their lines."""
    low, high = ax.get_ylim()
    ax.set_ylim(low, high)
    places = apart(ends, (high - low) * 1.15 * (TEXT - 2) / 72 / _inches(ax)[1])
    for end, place, name in zip(ends, places, names, strict=True):
        ax.annotate(
            name,
            (x, end),
            (1.035, place),
            xycoords="data",
            textcoords=ax.get_yaxis_transform(),
            va="center",
            fontsize=TEXT - 2,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 0},
        )


def spread_labels(ax: Axes, x: np.ndarray, y: float, names: Sequence[str]) -> None:
    """Name points of one height, names apart from one another."""
    ax.margins(x=0.04)
    ax.autoscale_view()
    low, high = ax.get_xlim()
    gap = (high - low) * 0.62 * (TEXT - 1) / 72 / _inches(ax)[0] * (max(map(len, names)) + 1)
    for place, name in zip(apart(x, gap), names, strict=True):
        ax.text(place, y, name, ha="center", va="bottom", fontsize=TEXT - 1)


def save(figure: Figure, folder: str | Path, stem: str) -> list[Path]:
    """Write a figure as SVG and PNG, the same bytes for the same figure.

    Parameters
    ----------
    figure
        Any matplotlib figure.
    folder
        Made if it is not there.
    stem
        File name without its ending.

    Returns
    -------
    list of Path
        The SVG, then the PNG.

    Examples
    --------
    >>> import tempfile
    >>> from matplotlib.figure import Figure
    >>> [path.name for path in save(Figure(), tempfile.mkdtemp(), "empty")]
    ['empty.svg', 'empty.png']
    """
    made = {"svg": io.BytesIO(), "png": io.BytesIO()}
    with _SAVING, mpl.rc_context({"svg.hashsalt": "hiermodels", "svg.fonttype": "path"}):
        figure.savefig(made["svg"], format="svg", metadata={"Date": None, "Creator": None}, facecolor="white")
        figure.savefig(made["png"], format="png", metadata={"Software": None}, facecolor="white", dpi=160)
    paths = {Path(folder) / f"{stem}.{kind}": data.getvalue() for kind, data in made.items()}
    for path, data in paths.items():
        write_bytes(path, data)
    return list(paths)
