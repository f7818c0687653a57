"""How a way of estimating is judged: simulate, fit, summarise, score, and keep what came out.

Which module do I want?

- I have a YAML file or a dict and want it checked and completed: `hiermodels.studies.config`.
- I want datasets with known truths: `hiermodels.studies.simulate`.
- I want datasets that differ from what the model says: `hiermodels.studies.deviations`.
- I want a method of my own, in any Python: `hiermodels.studies.host`; or in another program, on the datasets of a run, its estimates
  scored here: `hiermodels.studies.export`.
- I want a study run, resumed or extended: `hiermodels.studies.runner`; `hiermodels.run` does all of it. On many machines:
  shards, `hiermodels.studies.schedule`, joined by `hiermodels.studies.merge`; or a Dask cluster, `hiermodels.studies.cluster`.
  How a run ends early: `hiermodels.studies.interruption`.
- I have a table of estimates and want bias, coverage, MSE, ... each with its Monte Carlo standard error:
  `hiermodels.studies.measures`, whose function `performance` turns the long table of estimates into the long
  table of performance. The nouns that a measure reads and writes, `Errors` and `Measure`, live in
  `hiermodels.studies.montecarlo`; how a long table is cut into cells, in `hiermodels.studies.tables`.
- I want to know whether a posterior is calibrated: `hiermodels.studies.calibration` (SBC from the prior and around one dataset, ranks of
  a run); the tests of uniformity alone: `hiermodels.studies.sbc_tests`; coverage of groups with a smaller Monte Carlo error:
  `hiermodels.studies.conditional`.
- I want decisions judged, type I error, power, assurance: `hiermodels.studies.power`; over designs: `hiermodels.studies.power_curves`;
  a basket trial, exactly: `hiermodels.studies.baskets`, analysed by `hiermodels.studies.basket_models`.
- I want to know how many replications a study needs, how long it takes: `hiermodels.studies.planning`; cells that end at a target
  MCSE: `hiermodels.studies.sequential`.
- I have a run folder and want its tables, or write into one: `hiermodels.studies.results`; its table computed again, with other
  measures perhaps: `hiermodels.studies.summary`; one replicate of it alone: `hiermodels.studies.replicate`; two runs compared:
  `hiermodels.studies.compare`; whether a folder may be continued with this configuration: `hiermodels.studies.identity`. How
  files and locks are kept: `hiermodels.studies.disk`, `hiermodels.studies.chunks`.

Nothing is imported here: each module is loaded when it is asked for, ``hiermodels.studies.calibration`` too.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType


def __getattr__(name: str) -> ModuleType:
    if name.startswith("_") or find_spec(f"{__name__}.{name}") is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")
