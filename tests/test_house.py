"""Properties of the house, from the syntax trees: nothing outside a noun's own class asks for its name."""

import ast
import importlib
import re
import warnings
from pathlib import Path

import pytest

import hiermodels
from hiermodels import families, priors
from hiermodels.inference import samplers
from hiermodels.studies.score import measures

ROOT = Path(hiermodels.__file__).parent
HOMES = ("families", "priors", "inference/samplers", "studies/score/measures")
NAMES = {*families.MENU, *priors.MENU, *samplers.MENU}
ASKED = {"family", "prior", "name", "kernel", "sampler", "how"}


def asks_for_a_name(node):
    """Whether a comparison is of something that is called a family, a prior, a sampler or a name with the name of
    one.
    """
    sides = [node.left, *node.comparators]
    constants = {
        c.value for side in sides for c in ast.walk(side) if isinstance(c, ast.Constant) and isinstance(c.value, str)
    }
    asked = {
        side.attr if isinstance(side, ast.Attribute) else side.id
        for side in sides
        if isinstance(side, ast.Attribute | ast.Name)
    }
    return bool(constants & NAMES) and bool(asked & ASKED)


def looks_up_by_name(node):
    """Whether a mapping written on the spot from names of samplers to something is asked with a name."""
    if isinstance(node, ast.Subscript):
        table = node.value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
        table = node.func.value
    else:
        return False
    return isinstance(table, ast.Dict) and bool(
        {k.value for k in table.keys if isinstance(k, ast.Constant)} & {*samplers.MENU}
    )


def asks_for_a_measure(node):
    """Whether a comparison, or a column's `isin`, is of measures with the code of one."""
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("isin", "eq"):
        sides = [node.func.value, *node.args]
    else:
        return False
    words = {
        c.value for side in sides for c in ast.walk(side) if isinstance(c, ast.Constant) and isinstance(c.value, str)
    }
    asked = {side.attr if isinstance(side, ast.Attribute) else getattr(side, "id", "") for side in sides} | words
    return bool(words & {*measures.MENU}) and bool(asked & {"measure", "measures", "there"})


def branches(text):
    nodes = list(ast.walk(ast.parse(text)))
    return [
        n.lineno
        for n in nodes
        if (isinstance(n, ast.Compare) and asks_for_a_name(n)) or looks_up_by_name(n) or asks_for_a_measure(n)
    ]


def test_no_branch_on_the_name_of_a_family_a_prior_a_sampler_or_a_measure():
    outside = [path for path in ROOT.rglob("*.py") if not path.relative_to(ROOT).as_posix().startswith(HOMES)]
    assert len(outside) > 200
    assert {str(path): found for path in outside if (found := branches(path.read_text()))} == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("if prior.name == 'flat': pass", 1), ("x = family in ('binomial', 'poisson')", 1), ("layout.family != 'normal'", 1),
        ("model.family == other", 0),
        ("settings.sampler == 'exact'", 1), ("x = sampler in ('exact', 'gibbs')", 1), ("{'gibbs': f}.get(settings.sampler, g)", 1), ("{'gibbs': f}[how]", 1),
        ("{'study': 'refined', 'fit': 'finest'}[accuracy]", 0), ("settings.sampler not in able", 0), ("FUNCTIONS[name]", 0),
        ("measure == 'mse'", 1), ("'cover' in there", 1), ("table['measure'] == 'power'", 1), ("rows['measure'].isin(['mse', 'rmse'])", 1),
        ("name == 'variance'", 0), ("measure in MENU", 0),
        ("law == 'half'", 0), ("word == 'partial'", 0),
    ],
)  # fmt: skip
def test_the_walk_sees_a_branch(text, found):
    assert len(branches(text)) == found


def is_there(name):
    """Whether a dotted name is a module, or what modules and classes hold; old paths are not."""
    parts = name.split(".")
    for k in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:k]))
        except ModuleNotFoundError:
            continue
        for part in parts[k:]:
            if part in getattr(found, "__dataclass_fields__", {}):
                return True
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def test_names_that_docstrings_and_pages_give_in_full_are_there():
    files = [*ROOT.rglob("*.py"), *(ROOT.parent / "docs").rglob("*.md"), ROOT.parent / "CONTRIBUTING.md"]
    names = {name for path in files for name in re.findall(r"`(hiermodels(?:\.\w+)+)`", path.read_text())}
    assert len(names) > 100
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # of a path that moved
        assert {name for name in names if not is_there(name)} == set()
    assert not is_there("hiermodels.studies.calibrate.sbc_tests.Vectors")
