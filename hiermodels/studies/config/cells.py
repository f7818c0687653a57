"""Cells of a study's grid: merged truths and designs, hashes, truth regimes."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hiermodels.models.formula import parse_formula
from hiermodels.models.streams import word
from hiermodels.quantities import theta_name
from hiermodels.studies.config.designs import design_levels, design_table, read_design, read_size
from hiermodels.studies.config.deviating import DEVIATIONS, PREFIX, canonical
from hiermodels.studies.config.errors import nearest, problem, shown, within
from hiermodels.studies.config.mechanisms import Mechanisms
from hiermodels.studies.config.quantities import find, quantities_of
from hiermodels.studies.config.truths import read_truth

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Cell", "cell_hash", "data_key_material", "make_cells", "method_key_material", "regime"]

MAX_CELLS = 100_000
COLUMNS = [
    "rep",
    "method",
    "estimand",
    "group",
    "true",
    "estimate",
    "median",
    "se",
    "lower",
    "upper",
    "rank",
    "max_rank",
    "status",
    "n_try",
    "rhat",
    "ess_bulk",
    "ess_tail",
    "divergences",
    "message",
    "measure",
    "value",
    "mcse",
    "n_sim",
    "n",
    "n_failed",
    "n_retried",
]
"""Columns of the long tables, which a factor cannot be named after."""


@dataclass(frozen=True)
class Cell:
    """One row of the grid, merged into the truth and the design.

    Attributes
    ----------
    factors : dict
        The row as it stands in every table: a float, or text where any cell has text.
    truth : dict
        Variable to its true value: a number, the text of a distribution, or for thetas label -> number.
    design : str or dict
        A dataset's name, ``{"table": columns}``, or ``{<level>: size, "obs": ..., "predictors": {...}}``.
    hash : str
        Sixteen hexadecimal digits that depend on this row alone.
    thetas : tuple of str
        Group values that determine a dataset once they are fixed.
    deviation : dict
        How datasets differ from what the model says, what changes nothing left out.
    """

    factors: dict[str, float | str]
    truth: dict[str, Any]
    design: str | dict[str, Any]
    hash: str
    thetas: tuple[str, ...] = ()
    deviation: dict[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame | None:
        """The design's table; None where the design is level sizes."""
        return design_table(self.design)


def cell_hash(row: Mapping[str, Any]) -> str:
    """Hash of a row of the grid: blake2b of its sorted items, numbers as floats.

    Examples
    --------
    >>> cell_hash({"a": 1, "b": "x"}) == cell_hash({"b": "x", "a": 1.0})
    True
    """
    items = [[name, _plain_number(value)] for name, value in sorted(row.items())]
    text = json.dumps(items, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _plain_number(value: Any) -> float | str:
    return value if isinstance(value, str) else float(value) + 0.0


def data_key_material(cell: Cell) -> int:
    """What `jax.random.fold_in` takes for a cell: an unsigned 32-bit number from its hash."""
    return int(cell.hash[:8], 16)


def method_key_material(name: str) -> int:
    """What `jax.random.fold_in` takes for a method: an unsigned 32-bit number from its name's hash.

    Examples
    --------
    >>> 0 <= method_key_material("partial") < 2**32
    True
    """
    return word(name)


def regime(cell: Cell) -> str:
    """Truth regime of a cell: ``fixed``, ``population`` or ``prior``.

    ``fixed``: group values and hyperparameters are numbers; ``population``: hyperparameters are numbers,
    group values are drawn in each replicate; ``prior``: hyperparameters are drawn as well.

    Examples
    --------
    >>> regime(Cell({}, {"sd_school": "half_normal(5)"}, "eight_schools", "", ("theta_school",)))
    'prior'
    """
    drawn = {name for name, value in cell.truth.items() if isinstance(value, str)}
    if drawn - set(cell.thetas):
        return "prior"
    return "fixed" if all(t in cell.truth and t not in drawn for t in cell.thetas) else "population"


def rows_of(grid: Any) -> list[tuple[dict[str, Any], dict[str, tuple[Any, ...]]]]:
    """Rows of a grid, each with the place of every value in the config."""
    if grid is None or grid in ({}, []):
        return [({}, {})]
    if isinstance(grid, Mapping):
        return _crossed(grid)
    if isinstance(grid, list | tuple):
        return _row_by_row(grid)
    raise problem(
        f"expected {{factor: [values]}} or a list of mappings; found {shown(grid)}; write one of these",
        ("grid",),
    )


def _crossed(grid: Mapping[str, Any]) -> list[tuple[dict[str, Any], dict[str, tuple[Any, ...]]]]:
    for name, values in grid.items():
        if not isinstance(values, list | tuple) or not values:
            raise problem(f"expected a list of values; found {shown(values)}; write e.g. [0, 5, 10]", ("grid", name))
    if math.prod(len(v) for v in grid.values()) > MAX_CELLS:
        raise problem(f"expected at most {MAX_CELLS:,} cells; found more; list the rows that matter", ("grid",))
    crossed = itertools.product(*([(name, i) for i in range(len(values))] for name, values in grid.items()))
    return [({n: grid[n][i] for n, i in row}, {n: ("grid", n, i) for n, i in row}) for row in crossed]


def _row_by_row(grid: Any) -> list[tuple[dict[str, Any], dict[str, tuple[Any, ...]]]]:
    if len(grid) > MAX_CELLS:
        raise problem(f"expected at most {MAX_CELLS:,} cells; found {len(grid):,}; list fewer", ("grid",))
    out = []
    for i, row in enumerate(grid):
        if not isinstance(row, Mapping) or not row:
            raise problem(f"expected a mapping of factor to value; found {shown(row)}; write one", ("grid", i))
        odd = set(row) ^ set(grid[0])
        if odd:
            raise problem(
                f"expected the same factors in every row; found {min(odd)!r} in some; add it to all",
                ("grid", i),
            )
        ordered = {name: row[name] for name in grid[0]}
        out.append((ordered, {name: ("grid", i, name) for name in ordered}))
    return out


def make_cells(mechanisms: Mechanisms) -> tuple[Cell, ...]:
    """All cells of a study, checked; errors name the place below ``mechanisms``."""
    rows, known = rows_of(mechanisms.grid), quantities_of(mechanisms)
    text = {name for row, _ in rows for name, value in row.items() if isinstance(value, str)}
    design = mechanisms.design
    levels = design_levels(design) if isinstance(design, dict) and "table" not in design else {}
    table = design_table(design)
    cells: dict[str, Cell] = {}
    for row, places in rows:
        for name, value in row.items():
            _check_value(name, value, places[name])
        sizes = {name: value for name, value in row.items() if levels and (name in levels or name == "obs")}
        changed = {name: value for name, value in row.items() if name.startswith(PREFIX) and find(known, name) is None}
        truth = {**mechanisms.truth, **{n: value for n, value in row.items() if n not in sizes and n not in changed}}
        key = cell_hash(row)
        if key in cells:
            raise problem(
                "expected every cell once; found the same values twice; remove one",
                next(iter(places.values())),
            )
        cells[key] = Cell(
            factors={n: str(v) if n in text else float(v) for n, v in row.items()},
            truth=read_truth(mechanisms, truth, table, places),
            design=_resized(design, sizes, places),
            hash=key,
            thetas=leaves(mechanisms),
            deviation=_deviation(mechanisms, changed, places),
        )
    return tuple(cells.values())


def _check_value(name: str, value: Any, place: tuple[Any, ...]) -> None:
    if name in COLUMNS:
        raise problem(f"expected a factor's name; found {name!r}, a column of the tables; rename it", place)
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number and not isinstance(value, str):
        raise problem(f"expected a number or text; found {shown(value)}; write e.g. 5", place)


def _deviation(
    mechanisms: Mechanisms, changed: Mapping[str, Any], places: Mapping[str, tuple[Any, ...]]
) -> dict[str, Any]:
    """The cell's deviation; factors ``deviation.effects`` stand for entries of the key."""
    own = {name.removeprefix(PREFIX): value for name, value in changed.items()}
    for name in own:
        if name not in DEVIATIONS:
            raise problem(f"unknown deviation {name!r}; {nearest(name, DEVIATIONS)}", places[PREFIX + name])
    given = {**mechanisms.deviation, **own}
    if not given:
        return {}
    if callable(mechanisms.formula):
        raise problem(
            "expected a formula; found a NumPyro function; write the deviation into the function", ("deviation",)
        )
    groups = list(dict.fromkeys(g.name for g in parse_formula(mechanisms.formula).groups))
    return canonical(given, mechanisms.family, groups, {name: places[PREFIX + name] for name in own})


def _resized(design: Any, sizes: Mapping[str, Any], places: Mapping[str, tuple[Any, ...]]) -> Any:
    if not sizes:
        return design
    for name, value in sizes.items():
        with within(*places[name]):
            read_size(name, value)
    return read_design({**design, **sizes})


def leaves(mechanisms: Mechanisms) -> tuple[str, ...]:
    """Group values that determine a dataset once fixed: those of groups in which no other group nests."""
    if callable(mechanisms.formula):
        return ()
    groups = parse_formula(mechanisms.formula).groups
    finest = [g for g in groups if not any(set(g.factors) < set(other.factors) for other in groups)]
    names = []
    for group in finest:
        names += [theta_name(group.name, "Intercept")] if group.effects.intercept else []
        names += [theta_name(group.name, x) for x in sorted(group.effects.columns)]
    return tuple(names)
