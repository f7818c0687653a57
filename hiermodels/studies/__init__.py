"""How a way of estimating is judged: simulate, fit, summarise, score, and keep what came out.

Which room do I want? Each imports the rooms below it only.

- `hiermodels.studies.plan`: before a study is run: a config to start from, a pilot that says how many replications a
  study needs and how long it takes, power over designs.
- `hiermodels.studies.run`: a study run, resumed, extended (`hiermodels.run` does all of it): `runner`; on many
  machines, `schedule` and `merge`, or a Dask `cluster`; how a run ends early, `interruption`; cells that end at a
  target MCSE, `sequential`; its table computed again, `summary`; one replicate alone, `replicate`; two runs compared,
  `compare`; datasets of a run for another program, whose estimates are scored here, `export`.
- `hiermodels.studies.calibrate`: whether a posterior is calibrated: SBC from the prior and around one dataset, ranks
  of a run (`calibration`), the tests of uniformity alone (`sbc_tests`, `pooled_tests`), coverage of groups with a
  smaller Monte Carlo error (`conditional`).
- `hiermodels.studies.methods`: what a study's words mean, one cell and method at a time: `ready`, one chunk of it,
  `tasks`, the programs that are compiled, `programs`; a method of my own, in any Python, `host`.
- `hiermodels.studies.mechanisms`: datasets with known truths, `simulate`; datasets that differ from what the model
  says, `deviations`; a NumPyro function as mechanism or model, `own`.
- `hiermodels.studies.config`: a YAML file or a dict checked and completed.
- `hiermodels.studies.score`: a table of estimates in, bias, coverage, MSE, ... out, each with its Monte Carlo standard
  error: `scoring`, `measures`; decisions judged, type I error, power, assurance, `power`.
- `hiermodels.studies.store`: run folders on disk, `results`; how files and locks are kept, `disk`, `chunks`; whether a
  folder may be continued with this configuration, `identity`; how a long table is cut into cells, `blocks`.
- `hiermodels.studies.trials`: a basket trial, exactly: `baskets`, analysed by `basket_models`.

Nothing is imported here: each module is loaded when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType


def __getattr__(name: str) -> ModuleType:
    if name.startswith("_") or find_spec(f"{__name__}.{name}") is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")
