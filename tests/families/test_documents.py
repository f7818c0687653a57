"""The documents' tables of families say what the menu says."""

import re
from pathlib import Path

import pytest

from hiermodels import families

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")


def rows(heading, text=PAGE):
    """Cells of each row of the first table below a heading."""
    lines = text.partition(f"\n{heading}\n")[2].partition("\n## ")[0].splitlines()
    table = [line for line in lines if line.startswith("|")][2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table]


def test_every_family_has_a_row_that_is_true():
    found = {name: row for row in rows("## Families") for name in re.findall(r"`(\w+)`", row[0])}
    assert set(found) == set(families.MENU)
    for name, (_, outcome, groups, how) in found.items():
        law = families.MENU[name]
        assert law.population.name in groups, name
        assert how.startswith("as ") or ("NUTS on everything" in how) != law.conjugate, name
        assert all(f"`{q.name}`" in outcome for q in law.own if q.role == "dispersion"), name


@pytest.mark.parametrize("name", families.MENU)
def test_defaults_of_own_parameters_are_those_of_the_class(name):
    found = {row[0]: row[1] for row in rows("## Priors")}
    for q in families.MENU[name].own:
        where = f"`{q.name}`" if q.role == "residual sd" else f"`{q.name}` of `{name}`"
        assert found[where] == f"`{q.default}`", where
