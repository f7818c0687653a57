"""Modules and names that moved: importable at their old paths for one version, with a sentence of deprecation."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["ELSEWHERE", "MOVED", "NAMES", "install", "moved_name"]

MOVED = {
    "hiermodels.models.component": "hiermodels.families.component",
    "hiermodels.models.families": "hiermodels.families",
    "hiermodels.models.priors": "hiermodels.priors",
    "hiermodels.models.quantities": "hiermodels.quantities",
    "hiermodels.models.rising": "hiermodels.families.rising",
    "hiermodels.models.variates": "hiermodels.variates",
    "hiermodels.studies.config.count_template": "hiermodels.studies.plan.count_template",
    "hiermodels.studies.config.template": "hiermodels.studies.plan.template",
    "hiermodels.studies.config.template_text": "hiermodels.studies.plan.template_text",
    "hiermodels.studies.answers": "hiermodels.studies.methods.answers",
    "hiermodels.studies.basket_models": "hiermodels.studies.trials.basket_models",
    "hiermodels.studies.basket_simulation": "hiermodels.studies.trials.basket_simulation",
    "hiermodels.studies.basket_states": "hiermodels.studies.trials.basket_states",
    "hiermodels.studies.baskets": "hiermodels.studies.trials.baskets",
    "hiermodels.studies.blocks": "hiermodels.studies.store.blocks",
    "hiermodels.studies.calibration": "hiermodels.studies.calibrate.calibration",
    "hiermodels.studies.checking": "hiermodels.studies.run.checking",
    "hiermodels.studies.chunks": "hiermodels.studies.store.chunks",
    "hiermodels.studies.cluster": "hiermodels.studies.run.cluster",
    "hiermodels.studies.compare": "hiermodels.studies.run.compare",
    "hiermodels.studies.conditional": "hiermodels.studies.calibrate.conditional",
    "hiermodels.studies.csv_text": "hiermodels.studies.store.csv_text",
    "hiermodels.studies.deviant": "hiermodels.studies.mechanisms.deviant",
    "hiermodels.studies.deviations": "hiermodels.studies.mechanisms.deviations",
    "hiermodels.studies.disk": "hiermodels.studies.store.disk",
    "hiermodels.studies.execution": "hiermodels.studies.run.execution",
    "hiermodels.studies.export": "hiermodels.studies.run.export",
    "hiermodels.studies.folds": "hiermodels.studies.score.folds",
    "hiermodels.studies.frames": "hiermodels.studies.mechanisms.frames",
    "hiermodels.studies.further": "hiermodels.studies.run.further",
    "hiermodels.studies.host": "hiermodels.studies.methods.host",
    "hiermodels.studies.identity": "hiermodels.studies.store.identity",
    "hiermodels.studies.imported": "hiermodels.studies.store.imported",
    "hiermodels.studies.interruption": "hiermodels.studies.run.interruption",
    "hiermodels.studies.large": "hiermodels.studies.store.large",
    "hiermodels.studies.manifest": "hiermodels.studies.store.manifest",
    "hiermodels.studies.measures": "hiermodels.studies.score",
    "hiermodels.studies.merge": "hiermodels.studies.run.merge",
    "hiermodels.studies.montecarlo": "hiermodels.studies.score.montecarlo",
    "hiermodels.studies.needs": "hiermodels.studies.score.measure",
    "hiermodels.studies.order": "hiermodels.studies.score.order",
    "hiermodels.studies.own": "hiermodels.studies.mechanisms.own",
    "hiermodels.studies.planning": "hiermodels.studies.plan.planning",
    "hiermodels.studies.power": "hiermodels.studies.score.power",
    "hiermodels.studies.power_curves": "hiermodels.studies.plan.power_curves",
    "hiermodels.studies.predictors": "hiermodels.studies.mechanisms.predictors",
    "hiermodels.studies.programs": "hiermodels.studies.methods.programs",
    "hiermodels.studies.progress": "hiermodels.studies.run.progress",
    "hiermodels.studies.ranked": "hiermodels.studies.calibrate.ranked",
    "hiermodels.studies.ready": "hiermodels.studies.methods.ready",
    "hiermodels.studies.refusals": "hiermodels.studies.methods.refusals",
    "hiermodels.studies.replicate": "hiermodels.studies.run.replicate",
    "hiermodels.studies.results": "hiermodels.studies.store.results",
    "hiermodels.studies.rounds": "hiermodels.studies.run.rounds",
    "hiermodels.studies.rows": "hiermodels.studies.mechanisms.rows",
    "hiermodels.studies.rules": "hiermodels.studies.score.rules",
    "hiermodels.studies.runner": "hiermodels.studies.run.runner",
    "hiermodels.studies.sbc": "hiermodels.studies.calibrate.sbc",
    "hiermodels.studies.sbc_runs": "hiermodels.studies.calibrate.sbc_runs",
    "hiermodels.studies.sbc_table": "hiermodels.studies.calibrate.sbc_table",
    "hiermodels.studies.sbc_tests": "hiermodels.studies.calibrate.sbc_tests",
    "hiermodels.studies.schedule": "hiermodels.studies.run.schedule",
    "hiermodels.studies.scores": "hiermodels.studies.score.scores",
    "hiermodels.studies.sequential": "hiermodels.studies.run.sequential",
    "hiermodels.studies.simulate": "hiermodels.studies.mechanisms.simulate",
    "hiermodels.studies.sources": "hiermodels.studies.store.sources",
    "hiermodels.studies.stand_ins": "hiermodels.studies.config.stand_ins",
    "hiermodels.studies.summary": "hiermodels.studies.run.summary",
    "hiermodels.studies.supports": "hiermodels.studies.methods.supports",
    "hiermodels.studies.tables": "hiermodels.studies.score.tables",
    "hiermodels.studies.tasks": "hiermodels.studies.methods.tasks",
    "hiermodels.studies.told": "hiermodels.studies.score.told",
    "hiermodels.studies.widened": "hiermodels.studies.methods.widened",
}
"""Old path to new path."""

ELSEWHERE = {
    "hiermodels.studies.deviant": ("hiermodels.studies.methods.emptied",),
    "hiermodels.studies.export": ("hiermodels.studies.run.exporting",),
    "hiermodels.studies.measures": ("hiermodels.studies.score.functions",),
    "hiermodels.studies.needs": ("hiermodels.studies.score.menu",),
    "hiermodels.studies.own": ("hiermodels.studies.config.mechanisms", "hiermodels.studies.methods.own_functions"),
    "hiermodels.studies.ready": ("hiermodels.studies.methods.fits",),
    "hiermodels.studies.sbc_tests": ("hiermodels.studies.calibrate.pooled_tests",),
    "hiermodels.studies.simulate": ("hiermodels.studies.mechanisms.designs",),
    "hiermodels.studies.supports": ("hiermodels.studies.methods.fits",),
    "hiermodels.studies.tasks": ("hiermodels.studies.methods.fits",),
}
"""Old path to the modules that some of its names went to."""

NAMES = {("hiermodels.studies.config", "template"): "hiermodels.studies.plan.template"}
"""Module and a name that it lost, to the module that has the name now."""


class _Moved(MetaPathFinder, Loader):
    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        places = (MOVED[module.__name__], *ELSEWHERE.get(module.__name__, ()))
        _warn(module.__name__, " and ".join(places))
        if len(places) == 1:
            sys.modules[module.__name__] = import_module(*places)
        else:
            module.__getattr__ = partial(_first, module.__name__, places)  # type: ignore[method-assign]


def _first(old: str, places: Sequence[str], name: str) -> Any:
    """A name in the first module that has it."""
    for place in () if name.startswith("_") else places:
        with suppress(AttributeError):
            return getattr(import_module(place), name)
    raise AttributeError(f"module {old!r} has no attribute {name!r}")


def _warn(old: str, new: str) -> None:
    sentence = f"{old} is {new} now; the old path will go with the next version"
    warnings.warn(sentence, DeprecationWarning, stacklevel=3)


def moved_name(module: str, name: str) -> Any:
    """What a module that lost a name gives for it: the `__getattr__` of such a module."""
    if (module, name) not in NAMES:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    _warn(f"{module}.{name}", f"{NAMES[module, name]}.{name}")
    return getattr(import_module(NAMES[module, name]), name)


def install() -> None:
    """Let the import system find what moved; once."""
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        sys.meta_path.append(_Moved())
