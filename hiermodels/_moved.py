"""Modules that moved: importable at their old paths for one version, with a sentence of deprecation."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["MOVED", "install"]

MOVED = {
    "hiermodels.models.component": "hiermodels.families.component",
    "hiermodels.models.families": "hiermodels.families",
    "hiermodels.models.priors": "hiermodels.priors",
    "hiermodels.models.quantities": "hiermodels.quantities",
    "hiermodels.models.variates": "hiermodels.variates",
    "hiermodels.studies.config.template": "hiermodels.studies.plan.template",
}
"""Old path to new path."""


class _Moved(MetaPathFinder, Loader):
    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        new = MOVED[module.__name__]
        warnings.warn(f"{module.__name__} is {new} now; the old path will go with the next version", DeprecationWarning, stacklevel=2)
        sys.modules[module.__name__] = import_module(new)


def install() -> None:
    """Let the import system find what moved; once."""
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        sys.meta_path.append(_Moved())
