"""Every example of every docstring runs and says what stands there."""

import doctest
import importlib
import sys
from pathlib import Path

import pytest

import hiermodels

ROOT = Path(hiermodels.__file__).parent
MODULES = sorted(
    ".".join(("hiermodels", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for path in ROOT.rglob("*.py")
    if ">>>" in path.read_text() and "cli" not in path.parts
)
QUICK = [
    name
    for name in MODULES
    if name.startswith(
        ("hiermodels.priors", "hiermodels.families", "hiermodels.quantities", "hiermodels.models.labels")
    )
]


def run(name):
    importlib.import_module(name)
    result = doctest.testmod(sys.modules[name], optionflags=doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL)
    assert result.attempted and not result.failed, result


@pytest.mark.parametrize("name", QUICK)
def test_examples_of_the_menus(name):
    run(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MODULES if name not in QUICK])
def test_examples(name):
    run(name)
