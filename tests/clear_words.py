"""What an error's message may be: one clear sentence of ours, in time; and small models and a config to make them
with.
"""

from __future__ import annotations

import re
import signal
import traceback
from contextlib import contextmanager
from pathlib import Path

import hiermodels as hm

PACKAGE = str(Path(hm.__file__).parent)
RAW = re.compile(r"Traceback|<class|formulae|dtype|numpy\.|pandas|xarray|broadcast|Series|ndarray|0x[0-9a-f]{6}|jax")
"""Words of other libraries, which no message has."""
SECONDS = 60
"""Longer than any of these may take, even on a busy machine."""

EXACT = b"""\
aim: Small enough to run.
mechanisms:
  formula: effect ~ 1 + (1 | school)
  family: normal
  known_se: se
  design: eight_schools
  truth: {Intercept: 8, sd_school: 10}
  grid: {sd_school: [0, 10]}
estimands: [Intercept, sd_school, theta_school, {benefit: P(Intercept > 0)}]
methods:
  complete: {pooling: complete, sampler: exact}
  none: {pooling: none, sampler: exact}
  partial: {pooling: partial, sampler: exact, priors: {Intercept: flat(), sd_school: half_normal(20)}}
performance: [bias, mse, cover, ciwidth]
interval: 0.95
replications: 3
failures: complete-case
seed: 1
lanes: 4
chunk: 4
"""
FITS = {
    "eight_schools": ("effect ~ 1 + (1 | school)", {"known_se": "se"}),
    "scores": ("score ~ 1 + (1 | school/classroom)", {}),
    "pumps": ("failures ~ 1 + (1 | pump)", {"family": "poisson", "exposure": "hours"}),
    "rats": ("tumors ~ 1 + (1 | experiment)", {"family": "binomial", "trials": "rats"}),
    "counties": ("deaths ~ 1 + (1 | state/county)", {"family": "poisson", "exposure": "exposure"}),
}


class Hang(Exception):
    """Took too long."""


@contextmanager
def in_time():
    def stop(*_):
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def refused(error: Exception) -> bool:
    """Whether an error is one that the library raises on purpose, in one line that a person can read."""
    where = traceback.extract_tb(error.__traceback__)[-1].filename
    text = str(error)
    return (
        isinstance(error, ValueError)
        and where.startswith(PACKAGE)
        and 10 < len(text) <= 600
        and "\n" not in text
        and not RAW.search(text)
    )
