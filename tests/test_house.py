"""Properties of the house, from the syntax trees: nothing outside a noun's own class asks for its name."""

import ast
from pathlib import Path

import pytest

import hiermodels
from hiermodels import families, priors

ROOT = Path(hiermodels.__file__).parent
HOMES = ("families", "priors")
NAMES = {*families.MENU, *priors.MENU}


def asks_for_a_name(node):
    """Whether a comparison is of something that is called a family, a prior, a law or a name with the name of one."""
    sides = [node.left, *node.comparators]
    constants = {c.value for side in sides for c in ast.walk(side) if isinstance(c, ast.Constant) and isinstance(c.value, str)}
    asked = {side.attr if isinstance(side, ast.Attribute) else side.id for side in sides if isinstance(side, ast.Attribute | ast.Name)}
    return bool(constants & NAMES) and bool(asked & {"family", "prior", "name", "kernel"})


def branches(text):
    return [node.lineno for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Compare) and asks_for_a_name(node)]


def test_no_branch_on_the_name_of_a_family_or_a_prior():
    outside = [path for path in ROOT.rglob("*.py") if path.relative_to(ROOT).parts[0] not in HOMES]
    assert len(outside) > 200
    assert {str(path): found for path in outside if (found := branches(path.read_text()))} == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("if prior.name == 'flat': pass", 1), ("x = family in ('binomial', 'poisson')", 1), ("layout.family != 'normal'", 1),
        ("model.family == other", 0), ("law == 'half'", 0), ("word == 'partial'", 0),
    ],
)  # fmt: skip
def test_the_walk_sees_a_branch(text, found):
    assert len(branches(text)) == found
