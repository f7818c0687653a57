"""Hierarchical models in JAX: fit them, and find out how the fit behaves over many simulated datasets.

    import hiermodels as hm
    model = hm.Model("effect ~ 1 + (1 | school)", known_se="se")
    fit = hm.fit(model, hm.load_dataset("eight_schools"))       # one posterior
    run = hm.run("eight_schools")                               # a study of bias, coverage and error

Which name do I want?

- to declare a model: `Model`, with `priors` by name (``hm.priors.half_normal(5)``);
- to see what it says before it has met the outcome: `prior_predictive`;
- to fit it to data: `fit`, which gives a `Fit`; `load_fit` reads one that was saved; `compare` orders fits by
  predictive density;
- to get effects and standard errors from what trials print: `effect_sizes`; to put them together: `meta`, which gives a
  `Meta`;
- to maximise its likelihood instead (REML or ML, normal models): `estimate`, which gives an `Estimate` with tests and
  profile intervals;
- to study how it behaves on simulated data: `run`, which gives a `Run`; `load_run` reads one from its folder;
- data to try it on: `load_dataset`, `datasets`;
- to recompute every number of the lectures on this machine: `verify`;
- measures of performance: ``studies.score.measures``; figures and reports: ``reporting``.

Names are loaded when they are first used: importing this package imports neither JAX nor pandas.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hiermodels._moved import install

if TYPE_CHECKING:
    from hiermodels import datasets, inference, models, priors, reporting, studies, synthesis
    from hiermodels._fit_checks import compare
    from hiermodels.datasets import load_dataset
    from hiermodels.estimation import Estimate, estimate
    from hiermodels.fit import Fit, fit, load_fit
    from hiermodels.inference.prior_draws import prior_predictive
    from hiermodels.models.spec import Model
    from hiermodels.studies.run.runner import run
    from hiermodels.studies.store.results import Run, load_run
    from hiermodels.synthesis.effect_sizes import effect_sizes
    from hiermodels.synthesis.meta import meta
    from hiermodels.synthesis.result import Meta
    from hiermodels.verify import verify

    __version__: str

__all__ = [
    "Estimate",
    "Fit",
    "Meta",
    "Model",
    "Run",
    "compare",
    "datasets",
    "effect_sizes",
    "estimate",
    "fit",
    "inference",
    "load_dataset",
    "load_fit",
    "load_run",
    "meta",
    "models",
    "prior_predictive",
    "priors",
    "reporting",
    "run",
    "studies",
    "synthesis",
    "verify",
]

_WHERE = {
    "Estimate": "hiermodels.estimation",
    "Fit": "hiermodels.fit",
    "Meta": "hiermodels.synthesis.result",
    "Model": "hiermodels.models.spec",
    "Run": "hiermodels.studies.store.results",
    "compare": "hiermodels._fit_checks",
    "effect_sizes": "hiermodels.synthesis.effect_sizes",
    "estimate": "hiermodels.estimation",
    "load_dataset": "hiermodels.datasets",
    "load_fit": "hiermodels.fit",
    "load_run": "hiermodels.studies.store.results",
    "meta": "hiermodels.synthesis.meta",
    "prior_predictive": "hiermodels.inference.prior_draws",
    "run": "hiermodels.studies.run.runner",
    "verify": "hiermodels.verify",
}
_MODULES = {
    "datasets": "hiermodels.datasets",
    "inference": "hiermodels.inference",
    "models": "hiermodels.models",
    "priors": "hiermodels.priors",
    "reporting": "hiermodels.reporting",
    "studies": "hiermodels.studies",
    "synthesis": "hiermodels.synthesis",
}


class _Package(ModuleType):
    """The package with its names loaded on first use.

    Importing the module ``hiermodels.fit`` would bind that module to the package's attribute ``fit``, which
    is the function's name: here ``hm.fit`` is the function whatever was imported before; so is ``hm.verify``.
    """

    @property
    def fit(self) -> Any:
        """The function `hiermodels.fit.fit`."""
        return import_module("hiermodels.fit").fit

    @fit.setter
    def fit(self, module: ModuleType) -> None:
        """The import system binds submodules; this name stays the function's."""

    @property
    def verify(self) -> Any:
        """The function `hiermodels.verify.verify`."""
        return import_module("hiermodels.verify").verify

    @verify.setter
    def verify(self, module: ModuleType) -> None:
        """The import system binds submodules; this name stays the function's."""

    def __getattr__(self, name: str) -> Any:
        if name == "__version__":
            from importlib.metadata import version

            value: Any = version("hiermodels")
        elif name in _WHERE:
            value = getattr(import_module(_WHERE[name]), name)
        elif name in _MODULES:
            value = import_module(_MODULES[name])
        else:
            raise AttributeError(f"module 'hiermodels' has no attribute {name!r}")
        setattr(self, name, value)
        return value

    def __dir__(self) -> list[str]:
        return sorted({*__all__, "__version__", *(n for n in super().__dir__() if n.startswith("__"))})


sys.modules[__name__].__class__ = _Package
install()
