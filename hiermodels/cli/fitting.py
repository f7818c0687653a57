"""One model, one table: ``fit``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hiermodels.cli._app import Device, app, check_device, prepare_jax

__all__ = ["fit"]


@app.command
def fit(
    formula: str,
    /,
    *,
    data: str,
    family: str = "normal",
    known_se: str | None = None,
    trials: str | None = None,
    exposure: str | None = None,
    weights: str | None = None,
    missing: str | None = None,
    pooling: str = "partial",
    prior: list[str] | None = None,
    sampler: str = "nuts",
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    target_accept: float = 0.8,
    seed: int = 0,
    out: Path | None = None,
    quiet: bool = False,
    device: Device = "auto",
) -> None:
    """Fit a model to a dataset and print the posterior summary.

    Parameters
    ----------
    formula
        As in lme4: "effect ~ 1 + (1 | school)".
    data
        Name of a shipped dataset; a value with a dot or a slash is a file.
    family
        One of those that `hiermodels list families` prints.
    known_se
        Column of known standard errors.
    trials
        Column of binomial trials.
    exposure
        Column of Poisson exposures.
    weights
        Column of weights.
    missing
        Text that stands for a missing value in a CSV, beside an empty cell (by default NA, NaN, NULL and the like);
        "" for empty cells alone, so that NA can be a label.
    pooling
        complete, none or partial; or a word a group term: school=none,school:classroom=partial.
    prior
        A prior, NAME=TEXT, e.g. sd_school=half_normal(5); may be repeated.
    sampler
        One that `hiermodels list samplers` prints.
    draws
        Kept draws a chain.
    tune
        Warm-up draws a chain.
    chains
        Number of chains.
    target_accept
        Acceptance rate that NUTS tunes its step size to.
    seed
        All random numbers follow from it.
    out
        Save the fit here (netCDF).
    quiet
        Print the summary only.
    """
    prepare_jax(device)
    from hiermodels.datasets import read_table
    from hiermodels.fit import fit as fit_model
    from hiermodels.models.spec import Model

    check_device(device)
    _check_writable(out)
    model = Model(
        formula,
        family,
        known_se=known_se,
        trials=trials,
        exposure=exposure,
        weights=weights,
        priors=_priors(prior or []),
    )
    words = _pooling(pooling)
    labels = {factor for group in model.parsed.groups for factor in group.factors}
    frame = read_table(data, labels, missing=missing, way='--missing ""')
    with _of_table(data):
        found = fit_model(
            model, frame, pooling=words, sampler=sampler, draws=draws, tune=tune, chains=chains,
            target_accept=target_accept, seed=seed, progress=not quiet,
        )  # fmt: skip
    if not quiet:
        print(found)
    print(found.summary().round(4).to_string())
    for line in found.warnings:
        print(f"warning: {line}", file=sys.stderr)
    if out is not None:
        found.save(out)
        print(f"saved {out}")


def _check_writable(out: Path | None) -> None:
    """Refuse a place that cannot be written before anything is computed."""
    if out is None:
        return
    folder = out.parent
    if out.is_dir() or not (folder.is_dir() and os.access(folder, os.W_OK)):
        found = "a folder" if out.is_dir() else f"no folder {folder} that can be written"
        raise ValueError(f"--out {out}: expected a path for a file, found {found}; name another")


@contextmanager
def _of_table(data: str) -> Iterator[None]:
    """Name the table in what is wrong with its columns and rows."""
    try:
        yield
    except ValueError as error:
        text = str(error)
        rows = " (rows count from 0, below the header)" if ", row " in text else ""
        if "column " not in text.partition(";")[0]:
            raise
        raise ValueError(f"{data}: {text}{rows}") from None


def _priors(texts: list[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, separator, law = text.partition("=")
        if not separator or not law:
            raise ValueError(f"--prior {text!r}: expected NAME=PRIOR; write e.g. --prior sd_school='half_normal(5)'")
        found[name.strip()] = law.strip()
    return found


def _pooling(text: str) -> str | dict[str, str]:
    """One word, or ``group=word,group=word`` as the mapping that `hiermodels.fit` takes."""
    if "=" not in text:
        return text
    found: dict[str, str] = {}
    for part in text.split(","):
        name, separator, word = (piece.strip() for piece in part.partition("="))
        if not separator or not name or not word or name in found:
            wrong = f"{name!r} twice" if name in found else repr(part)
            example = "--pooling school=none,school:classroom=partial"
            raise ValueError(f"--pooling {text!r}: expected GROUP=WORD,GROUP=WORD, found {wrong}; write e.g. {example}")
        found[name] = word
    return found
