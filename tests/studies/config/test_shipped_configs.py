"""Every config that comes with the library says what it claims, and its programs trace."""

import re
from pathlib import Path

import pytest

from hiermodels.studies.config import config_names, read_config
from hiermodels.studies.run.runner import dry_run

FOLDER = Path(__file__).parents[3] / "configs"


@pytest.mark.parametrize("name", config_names())
def test_begins_with_a_comment_and_has_an_aim(name):
    text = (FOLDER / f"{name}.yaml").read_text()
    head = re.match(r"(#[^\n]*\n)+", text)
    assert head is not None and len(head[0]) > 100
    assert read_config(name).aim
    assert max(map(len, text.splitlines())) <= 160


@pytest.mark.slow
@pytest.mark.parametrize("name", config_names())
def test_every_cell_and_method_traces(name):
    study = read_config(name)
    lines = dry_run(study)
    assert len(lines) >= len(study.cells()) * len(study.methods)
