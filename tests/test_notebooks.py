"""The notebooks run from top to bottom, and are committed with what they then show."""

import re
import time
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks():
    wanted = "baseball classrooms counties coverage_and_error eight_schools rats samplers varying_slopes why_pooling"
    assert {p.stem for p in NOTEBOOKS} == set(wanted.split())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_committed_with_its_outputs(path):
    nbformat = pytest.importorskip("nbformat")
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    assert [c.execution_count for c in cells] == list(range(1, len(cells) + 1)), "run it from top to bottom and save"
    shown = [output for cell in cells for output in cell.outputs]
    assert not [o for o in shown if o.output_type == "error" or o.get("name") == "stderr"]
    assert sum("image/png" in o.get("data", {}) for o in shown) >= 2
    assert path.stat().st_size < 300_000
    assert not re.search(r"/(tmp|home|root|work|Users)/", "".join(str(o) for o in shown)), (
        "a path of somebody's machine"
    )


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs_and_shows_the_same_figures_and_tables(path, tmp_path):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(path, as_version=4)
    kinds = [[sorted(o.get("data", {})) for o in c.outputs] for c in notebook.cells if c.cell_type == "code"]
    started = time.perf_counter()
    nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    assert time.perf_counter() - started < 240  # two minutes on an idle machine
    again = [[sorted(o.get("data", {})) for o in c.outputs] for c in notebook.cells if c.cell_type == "code"]
    assert again == kinds
    assert not list(tmp_path.iterdir())
