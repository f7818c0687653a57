"""What there is, in the library and on this machine: ``list``, ``doctor``."""

from __future__ import annotations

from typing import Literal

from hiermodels.cli._app import app, prepare_jax, show

__all__ = ["doctor", "list_"]

Kind = Literal[
    "models", "priors", "families", "samplers", "estimators", "deviations", "measures", "datasets", "configs"
]


@app.command(name="list")
def list_(kind: Kind = "models", /) -> None:
    """Print what there is: models, priors, families, samplers, estimators, deviations, measures, datasets or configs.

    Parameters
    ----------
    kind
        Which menu.
    """
    prepare_jax()
    if kind == "models":
        _list_models()
        return
    for name, line in _menu(kind):
        print(f"{name:24s} {line}".rstrip())


def _menu(kind: str) -> list[tuple[str, str]]:
    if kind in ("datasets", "configs"):
        from hiermodels import datasets
        from hiermodels.studies.config import config_names, config_path
        from hiermodels.studies.config.source import read_yaml

        if kind == "datasets":
            return [(n, ", ".join(datasets.load_dataset(n).columns)) for n in datasets.dataset_names()]
        return [(n, read_yaml(config_path(n).read_bytes())[0]["aim"]) for n in config_names()]
    if kind == "samplers":
        from hiermodels.inference.samplers import MENU

        return [(n, (how.__doc__ or "").strip().splitlines()[0]) for n, how in MENU.items()]
    if kind == "estimators":
        from hiermodels.inference.direct import describe, menu

        return [(n, describe(n).partition(": ")[2]) for n in menu()]
    if kind == "deviations":
        from hiermodels.studies.mechanisms import deviations as module
    elif kind == "measures":
        from hiermodels.studies.score import measures as module  # type: ignore[no-redef]
    elif kind == "priors":
        from hiermodels import priors as module  # type: ignore[no-redef]
    else:
        from hiermodels import families as module  # type: ignore[no-redef]
    found = []
    for name in module.__all__:
        entry = getattr(module, name)
        doc = (getattr(entry, "__doc__", None) or "").strip().splitlines()
        if kind == "families":
            how = (
                "integrated out"
                if entry.conjugate
                else "explicit NUTS"
                if entry.peaks
                else "one grouping by quadrature, else explicit NUTS"
            )
            doc = [f"link {entry.link}, groups {entry.groups}, {how}"]
        found.append((name, doc[0] if doc else ""))
    return found


def _list_models() -> None:
    from rich.table import Table

    from hiermodels.models.coverage import table

    rows = table()
    shown = Table(box=None, title="levels x family x variance x pooling", title_justify="left")
    for name in rows[0]:
        shown.add_column(name)
    for row in rows:
        shown.add_row(*[str(v) for v in row.values()])
    show(shown)


@app.command
def doctor() -> None:
    """Print devices, versions, cores granted and the state of the compilation cache."""
    prepare_jax()
    from hiermodels.doctor import findings

    for name, line in findings():
        print(f"{name:18s} {line}")
