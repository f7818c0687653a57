"""The package's front: names load when they are used, and `fit` is the function whatever was imported before."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import hiermodels as hm

HEAVY = (
    "jax",
    "numpyro",
    "pandas",
    "pyarrow",
    "matplotlib",
    "arviz",
    "arviz_stats",
    "xarray",
    "pydantic",
    "numpy",
)


def _fresh(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_import_loads_nothing_heavy():
    loaded = json.loads(_fresh("import json, sys, hiermodels; dir(hiermodels); print(json.dumps(list(sys.modules)))"))
    assert "hiermodels" in loaded
    assert not set(HEAVY) & set(loaded)


def test_a_model_is_declared_without_pandas():
    loaded = json.loads(
        _fresh(
            "import json, sys, hiermodels as hm; hm.Model('y ~ 1 + (1 | g)', known_se='s'); "
            "print(json.dumps(list(sys.modules)))"
        )
    )
    assert not {"pandas", "pyarrow", "matplotlib", "arviz", "xarray"} & set(loaded)


def test_every_name_is_there_and_listed():
    listed = dir(hm)
    for name in hm.__all__:
        assert name in listed
        assert getattr(hm, name) is not None
    assert hm.__version__.count(".") == 2


def test_fit_is_the_function_after_its_module_was_imported():
    out = _fresh("import hiermodels.fit, hiermodels as hm; print(callable(hm.fit), hm.fit.__module__)")
    assert out.split() == ["True", "hiermodels.fit"]


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'modle'"):
        _ = hm.modle


def test_arviz_may_be_imported_first():
    """It leaves a placeholder for NumPyro, which `import numpyro.distributions` fills twice over, the second time
    without its submodules.
    """
    out = _fresh(
        "import arviz_stats; from hiermodels import priors; import numpyro; print(hasattr(numpyro.distributions, "
        "'distribution'))"
    )
    assert out.split() == ["True"]


def test_what_moved_is_found_at_its_old_path_with_a_warning():
    """Every row of the tables of `hiermodels._moved`: the module is there, its names too, and each old path warns."""
    out = _fresh(
        """
import importlib, json, warnings
from hiermodels._moved import ELSEWHERE, MOVED, NAMES
warnings.simplefilter("always")
found = {}
for (module, name), new in NAMES.items():
    with warnings.catch_warnings(record=True) as said:
        value = getattr(importlib.import_module(module), name)
    assert value is getattr(importlib.import_module(new), name) and "old path" in str(said[-1].message), name
for old, new in MOVED.items():
    with warnings.catch_warnings(record=True) as said:
        module = importlib.import_module(old)
    mine = [str(w.message) for w in said if str(w.message).startswith(old + " is ")]
    assert len(mine) == 1 and new in mine[0], (old, mine)
    for place in (new, *ELSEWHERE.get(old, ())):
        there = importlib.import_module(place)
        names = getattr(there, "__all__", [])
        assert all(getattr(module, name) is not None for name in names), (old, place)
assert set(ELSEWHERE) <= set(MOVED)
from hiermodels.studies.measures import bias, performance
from hiermodels.studies.sbc_tests import pit, pooled_ecdf
import hiermodels.studies.config as config, hiermodels.studies.measures as measures
assert not hasattr(config, "no_such_name") and not hasattr(measures, "no_such_name")
"""
    )
    assert out == ""
