"""The report of a study: one self-contained HTML page in the order of ADEMP, and its figures.

A run is anything with ``path, config, manifest, estimates, performance, failures`` (and, if it has them,
``notes``), as `hiermodels.studies.store.results.Run`. The page needs no network and no other file: figures,
tables to download, style and script are inside it.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiermodels.reporting import tables
from hiermodels.reporting._rows import factors, label, words_of
from hiermodels.reporting._run_figures import Picture, draw, level_of_run, notes_of_run, regime_of_run, write_figures
from hiermodels.reporting.tables import terminal_table
from hiermodels.studies.config.designs import predictors_text
from hiermodels.studies.score.tables import POLICY_NOTES
from hiermodels.studies.store.csv_text import csv_text
from hiermodels.studies.store.disk import quoted, write_bytes

_STEERS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Characters that steer what shows a page, such as the override of a text's direction: escapes stand for them."""

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["terminal_table", "write_figures", "write_report"]

LARGEST_SVG = 400_000  # bytes; above it the page holds the PNG
LARGEST_CSV = 3_000_000
MOST_ROWS = 3_000


def write_report(run: Any, out: Path | None = None) -> Path:
    """Write ``report.html`` and the figures it shows into the run's folder.

    Parameters
    ----------
    run
        Anything with ``path, config, manifest, estimates, performance, failures``.
    out : Path, optional
        Another folder in its place.

    Returns
    -------
    Path
        The page.

    Examples
    --------
    >>> import hiermodels as hm
    >>> hm.load_run("runs/quick").report()  # doctest: +SKIP
    PosixPath('runs/quick/report.html')
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("report.html.j2").render(**_content(run, out))
    path = Path(out or run.path) / "report.html"
    write_bytes(path, _STEERS.sub(lambda found: ascii(found[0])[1:-1], page).encode())
    return path


def _content(run: Any, out: Path | None) -> dict[str, Any]:
    """Everything that the template shows, as text and numbers."""
    manifest, config, table = run.manifest, run.config, run.performance
    regime = regime_of_run(run)
    name = str(manifest.get("name") or Path(run.path).name)
    main, groups = tables.widen(table), tables.widen(table, groups="each")
    policy = str(config.get("failures") or "not stated")
    words = tables.caption(table, regime, run.failures)
    return {
        "name": name,
        "aim": str(config.get("aim") or "not stated"),
        "facts": _facts(run, regime),
        "mechanisms": _pairs(config.get("mechanisms") or {}),
        "cells": _cells(manifest.get("cells") or []),
        "regime": regime or "not stated",
        "estimands": _estimands(config.get("estimands") or []),
        "methods": _methods(run),
        "caption": words,
        "main": main,
        "groups": groups if 0 < len(groups.rows) <= MOST_ROWS else None,
        "too_many": len(groups.rows) > MOST_ROWS,
        "measures": [(m, words_of(m)) for m in main.measures],
        "level": f"{level_of_run(run):.6g}",
        "notes": notes_of_run(run),
        "pictures": [_embedded(picture) for picture in draw(run, out)],
        "failures": _frame(run.failures),
        "policy": policy,
        "policy_words": POLICY_NOTES.get(policy, ""),
        "computation": _computation(run),
        "commands": _commands(run, name),
        "config_text": _read(run, "config.yaml"),
        "csv": _csv(table),
        "latex": tables.to_latex(main, words),
        "latex_link": _link("text/x-tex", tables.to_latex(main, words).encode()),
    }


def _facts(run: Any, regime: str) -> list[tuple[str, str]]:
    table = run.performance
    keys = factors(table)
    cells = len(run.manifest.get("cells") or []) or (len(table[keys].drop_duplicates()) if keys else 1)
    drawn = predictors_text((run.config.get("mechanisms") or {}).get("design"))
    return [
        ("truth regime", regime or "not stated"),
        *([("predictors", drawn)] if drawn else []),
        ("mechanisms", str(cells)),
        ("methods", ", ".join(map(str, table["method"].unique()))),
        ("replicates", f"{int(table['n_sim'].max()):,} per mechanism"),
    ]


def shown(value: Any) -> str:
    """A setting as short text: ``Intercept: 8, sd_school: 10``."""
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {_inner(v)}" for k, v in value.items()) or "none"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "; ".join(_inner(v) for v in value) or "none"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return label(value)


def _inner(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + shown(value) + "}"
    return f"[{shown(value)}]" if isinstance(value, Sequence) and not isinstance(value, str) else shown(value)


def _pairs(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Settings that say something, long ones cut."""
    texts = ((str(k), shown(v)) for k, v in settings.items() if v is not None and v != {} and v != [])
    return [(k, v if len(v) <= 600 else v[:600] + " …") for k, v in texts]


def _cells(cells: Sequence[Any]) -> dict[str, Any] | None:
    """Table of the mechanisms: their factors and the regime of each."""
    rows = [c for c in cells if isinstance(c, Mapping)]
    names = list(dict.fromkeys(k for c in rows for k in (c.get("factors") or {})))
    if not names:
        return None
    body = [[shown((c.get("factors") or {}).get(n, "–")) for n in names] + [str(c.get("regime", ""))] for c in rows]
    return {"head": [*names, "truth regime"], "rows": body}


def _estimands(estimands: Any) -> list[tuple[str, str, str]]:
    """Name, definition where it is not the name, and the point estimate."""
    found = []
    for entry in estimands:
        if isinstance(entry, Mapping):
            ((name, text), *_) = ((k, v) for k, v in entry.items() if k != "point")
            found.append((str(name), "" if text == name else shown(text), str(entry.get("point") or "")))
        else:
            found.append((str(entry), "", ""))
    return found


def _methods(run: Any) -> list[dict[str, Any]]:
    models = run.manifest.get("models") or {}
    listed = []
    for name, settings in (run.config.get("methods") or {}).items():
        model = models.get(name) or {}
        model = {"text": model} if isinstance(model, str) else model
        pairs = _pairs(settings) if isinstance(settings, Mapping) else [("method", shown(settings))]
        texts = {key: str(model.get(key) or "") for key in ("text", "latex")}
        listed.append({"name": str(name), "settings": pairs, **texts})
    return listed


def _embedded(picture: Picture) -> dict[str, str]:
    """A figure as data: the SVG, or the PNG where the SVG is large."""
    found = {"caption": picture.caption, "reason": picture.reason, "source": "", "name": picture.stem}
    if picture.files:
        vector, raster = picture.files
        file, kind = (vector, "svg+xml") if vector.stat().st_size <= LARGEST_SVG else (raster, "png")
        found["source"] = _link(f"image/{kind}", file.read_bytes())
    return found


def _link(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _csv(table: pd.DataFrame) -> str:
    """The performance table as a link, empty where it is too large for a page."""
    data = csv_text(table).encode()
    return _link("text/csv", data) if len(data) <= LARGEST_CSV else ""


def _frame(frame: pd.DataFrame | None) -> dict[str, Any] | None:
    """Any small table, as text."""
    if frame is None or not len(frame):
        return None
    heads = {"n_sim": "attempted", "nonfinite": "missing (nonfinite)", "n_retried": "retried"}
    rows = [[label(v) for v in row] for row in frame.head(MOST_ROWS).itertuples(index=False)]
    return {"head": [heads.get(str(c), str(c)) for c in frame.columns], "rows": rows}


def _computation(run: Any) -> list[tuple[str, str]]:
    """Versions, hardware, precision, lanes and timings, a line each."""
    manifest, config = run.manifest, run.config
    versions = manifest.get("versions") or {}
    lines = [
        ("device", shown(manifest.get("device"))),
        ("precision", shown(config.get("precision", "float64"))),
        ("seed", shown(config.get("seed"))),
        ("lanes", _distinct(manifest.get("lanes"))),
        ("chunk", _distinct(manifest.get("chunk"))),
        ("versions", shown(versions)),
        ("versions changed in mid-run", _changed_versions(manifest.get("machines") or [])),
        ("identity", shown(manifest.get("identity"))),
    ]
    try:
        timings = json.loads(_read(run, "timings.json") or "{}")
    except ValueError:
        timings = {}
    for key, value in timings.items():
        if isinstance(value, Mapping):
            numbers = [float(v) for v in value.values() if isinstance(v, int | float)]
            lines.append((str(key).replace("_", " "), f"{sum(numbers):.3g} in {len(numbers)} programs"))
        elif isinstance(value, int | float):
            lines.append((str(key).replace("_", " "), f"{value:.4g}"))
    return [line for line in lines if line[1] not in ("none", "")]


def _changed_versions(machines: Sequence[Any]) -> str:
    """``jax: 0.4.30 or 0.5.0``: packages of which the machines that computed the estimates had different versions;
    empty if none.
    """
    found: dict[str, list[str]] = {}
    for machine in machines:
        for package, version in ((machine.get("versions") or {}) if isinstance(machine, Mapping) else {}).items():
            found.setdefault(package, []).append(str(version))
    words = {package: list(dict.fromkeys(versions)) for package, versions in found.items()}
    return ", ".join(f"{package}: {' or '.join(versions)}" for package, versions in words.items() if len(versions) > 1)


def _distinct(value: Any) -> str:
    """``complete: 50, partial: 8 or 16``: a number a method, whatever the mechanism."""
    if not isinstance(value, Mapping):
        return shown(value)
    inner = [v for v in value.values() if isinstance(v, Mapping)]
    if not inner:
        return shown(value)
    methods = dict.fromkeys(name for entry in inner for name in entry)
    each = {m: sorted({entry[m] for entry in inner if m in entry}, key=str) for m in methods}
    return ", ".join(f"{m}: {' or '.join(map(str, found))}" for m, found in each.items())


def _commands(run: Any, name: str) -> list[tuple[str, str]]:
    """Command lines that make this again."""
    path = Path(run.path)
    folder = path.name if path.is_absolute() else path.as_posix()
    place, config = quoted(folder), quoted(f"{folder}/config.yaml")
    cells = [c.get("factors") or {} for c in run.manifest.get("cells") or [] if isinstance(c, Mapping)]
    cell = ",".join(f"{k}={label(v)}" for k, v in cells[0].items()) if cells else ""
    method = next(iter(run.config.get("methods") or {}), "")
    one = f"hiermodels replicate {place}" + (f" --cell {shlex.quote(cell)}" if cell else "") + " --rep 0"
    return [
        (
            "the whole study, from this folder's config.yaml",
            f"hiermodels run {config} --out {quoted(name + '-again')}",
        ),
        ("one replicate alone", one + (f" --method {shlex.quote(method)}" if method else "")),
        ("this page again, without fitting", f"hiermodels report {place}"),
    ]


def _read(run: Any, name: str) -> str:
    try:
        return (Path(run.path) / name).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
