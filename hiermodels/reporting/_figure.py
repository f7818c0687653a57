"""What every figure shares: palette, panels, heading, and saving byte for byte alike.

Figures are made with matplotlib's objects alone, never through ``pyplot``, so that threads and notebooks are
safe.
"""

from __future__ import annotations

import io
import math
import textwrap
import threading
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hiermodels.reporting._rows import label

# Okabe & Ito's colours, which people with any common colour blindness tell apart; shapes say the same again.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999933")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GREY = "#6b6b6b"
TEXT = 12.0
_SAVING = threading.Lock()


class StudyFigure(Figure):
    """A matplotlib figure that a notebook shows without ``pyplot``."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()


def canvas(
    count: int, ax: Axes | None = None, *, height: float = 3.1, share: bool = False, wide: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels, at most two abreast, or the caller's own axes for one panel."""
    if ax is not None:
        if count > 1:
            raise ValueError(
                f"ax: expected one panel, found {count}; narrow it with `estimand=`, `group=` or `where=`"
            )
        found = ax.get_figure(root=True)
        assert found is not None
        return found, [ax]
    columns = 1 if count == 1 or wide else 2
    rows = math.ceil(count / columns)
    width = 5.2 if columns == 1 else 6.8
    figure = StudyFigure(figsize=(width, height * rows + 1.3))
    figure.set_layout_engine("constrained", w_pad=0.09, h_pad=0.09)
    FigureCanvasAgg(figure)
    axes = list(np.ravel(figure.subplots(rows, columns, squeeze=False, sharey=share)))
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
    width = int(figure.get_figwidth() * 72 / (0.56 * (TEXT + 1)))
    lines = [
        *textwrap.wrap(what[:1].upper() + what[1:], width),
        *textwrap.wrap("; ".join(m for m in more if m), width),
    ]
    if own:
        figure.suptitle("\n".join(lines), fontsize=TEXT + 1)
    else:
        axes[0].set_title("\n".join(lines), fontsize=TEXT)


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
        columns = (
            len(seen) if sum(map(len, seen)) + 6 * len(seen) < room else int(room / (max(map(len, seen)) + 6))
        )
        figure.legend(
            seen.values(),
            seen.keys(),
            loc="outside lower center",
            ncols=max(columns, 1),
            fontsize=TEXT,
            frameon=False,
        )
    else:
        axes[0].legend(seen.values(), seen.keys(), fontsize=TEXT - 2, frameon=False)


def percent(value: float, _: object = None) -> str:
    """A share as a percentage, for an axis."""
    return f"{100 * value:.6g}%"


def looks(values: Iterable[Hashable]) -> dict[Any, tuple[str, str]]:
    """Colour and marker of each level, the same in every figure of a table."""
    return {
        value: (PALETTE[i % len(PALETTE)], MARKERS[(i + i // len(PALETTE)) % len(MARKERS)])
        for i, value in enumerate(values)
    }


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

    from hiermodels.reporting._rows import label
    >>> [path.name for path in save(Figure(), tempfile.mkdtemp(), "empty")]
    ['empty.svg', 'empty.png']
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    paths = [place / f"{stem}.svg", place / f"{stem}.png"]
    with _SAVING, mpl.rc_context({"svg.hashsalt": "hiermodels", "svg.fonttype": "path"}):
        figure.savefig(paths[0], format="svg", metadata={"Date": None, "Creator": None}, facecolor="white")
        figure.savefig(paths[1], format="png", metadata={"Software": None}, facecolor="white", dpi=160)
    return paths
