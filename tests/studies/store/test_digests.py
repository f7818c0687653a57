"""Files know whose they are: what is read is what was written, by the study that it says, or it is refused and
named.
"""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from pathlib import Path

import flips
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import hiermodels as hm
from hiermodels._digests import of_array, of_column
from hiermodels.cli import _code
from hiermodels.studies.config import read_config
from hiermodels.studies.run.checking import check_files
from hiermodels.studies.run.merge import merge
from hiermodels.studies.store import chunks, identity, results
from hiermodels.studies.store.identity import Makers
from hiermodels.studies.store.sources import describe

BEFORE = Path(__file__).parents[2] / "fixtures" / "before_digests"
REPORTS = True
OLD = "made before digests, not verified"


@pytest.fixture(autouse=True)
def _without_pages(request, monkeypatch):
    """Figures and pages are made where a test is about them."""
    if "report" not in request.node.name and "said" not in request.node.name and "before" not in request.node.name:
        monkeypatch.setattr(results.Run, "report", lambda self, out=None: self.path / "report.html")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A small run with its report, and a small saved fit."""
    folder = tmp_path_factory.mktemp("made")
    hm.run(flips.study(), folder / "run", workers=1, progress=False)
    flips.small_fit().save(folder / "fit.nc")
    return folder


@pytest.fixture
def run(made, tmp_path) -> Path:
    """A copy of the run, to damage."""
    return Path(shutil.copytree(made / "run", tmp_path / "run"))


def chunk_of(folder: Path, method: str = "mean", index: int = 1) -> Path:
    return next(folder.glob(f"estimates/*/{method}/{index:05d}.parquet"))


# what a digest is of
# ----------------------------------------------------------------------------------------------------


def test_a_digest_is_of_values_whatever_holds_them():
    words = pa.chunked_array([pa.array(["a", "b", "a"])])
    coded = pa.chunked_array(
        [
            pa.array(["a", "b"]).dictionary_encode(),
            pa.DictionaryArray.from_arrays(pa.array([1], pa.int32()), ["c", "a"]),
        ]
    )
    assert of_column(words) == of_column(coded) == of_column(words.cast(pa.large_string()))
    assert of_column(words) != of_column(pa.chunked_array([["a", "b", None]]))
    numbers, odd = np.array([1.0, np.nan]), np.array([1.0, -np.nan])
    assert of_array(numbers) == of_array(odd) != of_array(numbers.astype(np.float32)) and of_array(numbers) != of_array(
        numbers[::-1]
    )
    assert of_array(np.array([0.0])) != of_array(np.array([-0.0])) and of_array(np.zeros((2, 3))) != of_array(
        np.zeros((3, 2))
    )
    assert of_column(pa.chunked_array([[1, None]])) != of_column(pa.chunked_array([[1, 0]]))


def test_what_made_a_chunk_is_what_determines_its_numbers():
    base = read_config(flips.study()).resolved()
    manifest = {"format": 2, "streams": identity.STREAMS, "config": base, "lanes": 4, "chunk": 4, "functions": {}}
    cell = "0a"

    def maker(method="mean", **changes):
        return Makers({**manifest, **changes}).of(cell, method)

    same = maker()
    for free in ({"replications": 99}, {"aim": "x"}, {"performance": ["mse"]}, {"failures": "worst-case"}):
        assert maker(config=base | free) == same
    more = base | {
        "methods": {**base["methods"], "other": {"estimator": "reml"}},
        "mechanisms": base["mechanisms"] | {"grid": {"sd_school": [1, 2]}},
    }
    assert maker(config=more) == same
    assert (
        maker(config=base | {"mechanisms": base["mechanisms"] | {"truth": {"Intercept": 8.0, "sd_school": 10.0}}})
        == same
    )
    others = [
        maker(config=base | change)
        for change in (
            {"seed": 4},
            {"interval": 0.9},
            {"estimands": []},
            {"precision": "float32"},
            {"failures": "retry-with-escalation"},
            {"mechanisms": base["mechanisms"] | {"truth": {"Intercept": 9}}},
        )
    ]
    others += [
        maker(chunk=8),
        maker(lanes=8),
        maker(streams=99),
        maker("apart"),
        maker("elsewhere"),
        maker(functions={"mechanisms.formula": {"source": "x"}}),
    ]
    assert len({same, *others}) == 1 + len(others)
    assert maker(format=1) is None and maker(functions={"mechanisms.formula": {"code 3.11": "x"}}) == maker(
        functions={"mechanisms.formula": {}}
    )


# single bits
# ------------------------------------------------------------------------------------------------------------


def test_a_few_hundred_flipped_bits(made):
    for kind, (tried, refused, wrong) in flips.flip_run(made / "run", 60).items():
        assert tried == 60 and refused >= 15 and wrong == 0, kind
    tried, refused, wrong = flips.flip_fit(made / "fit.nc", 25)
    assert tried == 25 and refused >= 5 and wrong == 0


@pytest.mark.slow
def test_ten_thousand_flipped_bits(made):
    assert all(wrong == 0 for _, _, wrong in flips.flip_run(made / "run", 10_000).values())
    assert flips.flip_fit(made / "fit.nc", 10_000)[2] == 0


# a run
# --------------------------------------------------------------------------------------------------------------------


def coded(texts: pa.ChunkedArray, how: pa.DataType) -> pa.ChunkedArray:
    """Texts as codes of a type."""
    one = texts.combine_chunks().dictionary_encode()
    return pa.chunked_array(
        [pa.DictionaryArray.from_arrays(one.indices.cast(how.index_type), one.dictionary, ordered=how.ordered)]
    )


def edited(table: pa.Table, how: str) -> pa.Table:
    if how == "rows":
        return table.slice(1)
    if how == "column":
        return table.drop_columns(["se"])
    return table.set_column(
        table.column_names.index("estimate"), "estimate", pa.array(table["estimate"].to_numpy() + 1e-9)
    )


@pytest.mark.parametrize(
    "how",
    [
        pa.string(),
        pa.large_string(),
        pa.dictionary(pa.uint32(), pa.string()),
        pa.dictionary(pa.int32(), pa.string(), ordered=True),
    ],
)
def test_texts_are_read_alike_whatever_the_schema_of_a_chunk_calls_them(run, how):
    """Digests are of values; one bit of a schema makes a text an ordered category, or none."""
    path, before = chunk_of(run), hm.load_run(run).estimates
    table = results.read_chunk(path)
    for name in ("group", "status"):
        texts = table[name].cast(pa.string())
        table = table.set_column(
            table.column_names.index(name), name, coded(texts, how) if pa.types.is_dictionary(how) else texts.cast(how)
        )
    cell = path.parent.parent.name
    results.write_chunk(run, cell, "mean", 1, table, Makers(results.read_manifest(run)).of(cell, "mean"))
    assert results.read_chunk(path).schema.field("group").type == how
    pd.testing.assert_frame_equal(hm.load_run(run).estimates, before)


@pytest.mark.parametrize("how", ["rows", "column", "numbers", "rewritten"])
def test_an_edited_chunk_is_refused_and_made_again(run, how):
    """Rewritten by another program, metadata and all, or written anew by this one under another maker."""
    path = chunk_of(run)
    kept, table = path.read_bytes(), results.read_chunk(path)
    if how == "rewritten":
        cell = path.parent.parent.name
        results.write_chunk(
            run,
            cell,
            "mean",
            1,
            edited(table, "numbers"),
            Makers({**results.read_manifest(run), "streams": 99}).of(cell, "mean"),
        )
    else:
        import pyarrow.parquet as pq

        metadata = pq.read_schema(path).metadata
        pq.write_table(edited(table, how).replace_schema_metadata(metadata), path)
    for command in (["report", str(run)], ["merge", str(run.parent / "out"), str(run)]):
        assert _code(command) == 2
    with pytest.raises(ValueError, match=rf"{path}: .*type the command that made the run again"):
        _ = hm.load_run(run).estimates
    assert any(str(path) in line for line in check_files(run))
    hm.run(flips.study(), run, progress=False)
    assert path.read_bytes() == kept and check_files(run) == []


def test_chunks_of_another_seed_are_not_this_study_s(run, tmp_path):
    other = hm.run(flips.study(seed=4), tmp_path / "other", progress=False)
    shutil.copy(chunk_of(other.path), chunk_of(run))
    with pytest.raises(ValueError, match="of another study"):
        _ = hm.load_run(run).estimates
    (run / "manifest.json").unlink()
    again = hm.run(flips.study(seed=4), run, progress=False)  # the folder is ours, its chunks are not this study's
    assert (again.path / "performance.csv").read_bytes() == (other.path / "performance.csv").read_bytes()


@pytest.mark.parametrize(
    ("old", "new"),
    [('"seed": 3', '"seed": 4'), ('"Intercept": 8', '"Intercept": 9'), ('"estimator": "weighted"', '"estimator": "pooled"'), ('"mean": 4', '"mean": 8'), ('"replications": 6', '"replications": 4')],
)  # fmt: skip
def test_an_edited_manifest_is_refused(run, old, new):
    file = run / "manifest.json"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    for act in (
        lambda: hm.load_run(run),
        lambda: hm.run(flips.study(), run, progress=False),
        lambda: merge(run.parent / "out", [run]),
    ):
        with pytest.raises(
            ValueError,
            match=r"manifest\.json: edited or damaged: .*remove the file and type the command that made the run again",
        ):
            act()
    file.unlink()  # the advice
    chunks_before = {p: p.stat().st_mtime_ns for p in run.rglob("*.parquet") if "estimates" in p.parts}
    hm.run(flips.study(), run, progress=False)
    assert all(p.stat().st_mtime_ns == t for p, t in chunks_before.items())
    assert hm.load_run(run).finished and check_files(run) == []


def test_report_makes_the_tables_again_and_check_names_what_differs(run, capsys):
    assert _code(["report", str(run), "--check"]) == 0 and "every file is what was written" in capsys.readouterr().out
    whole = (run / "performance.csv").read_bytes()
    for name, data in (
        ("performance.csv", whole.replace(b"6", b"7")),
        ("config.yaml", b"seed: 1\n"),
        ("figures/bias.svg", b"x"),
        ("estimates/stray.txt", b"x"),
    ):
        (run / name).write_bytes(data)
    assert _code(["report", str(run), "--check"]) == 2
    said = capsys.readouterr()
    assert all(
        f"{run / name}: " in said.out
        for name in ("performance.csv", "config.yaml", "figures/bias.svg", "estimates/stray.txt")
    )
    assert "5 of its files or parts differ" in said.err  # the page shows the config
    assert _code(["report", str(run)]) == 0
    assert (run / "performance.csv").read_bytes() == whole
    (run / "performance.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"performance\.parquet: damaged .*`hiermodels report .*` makes it again"):
        _ = hm.load_run(run).performance


def test_versions_that_changed_in_mid_run_are_said(run):
    manifest = results.read_manifest(run)
    assert "host" not in json.dumps(manifest["machines"])
    other = {**manifest["machines"][0], "versions": {**manifest["machines"][0]["versions"], "jax": "0.0.1"}}
    results.write_manifest(run, {**manifest, "machines": [*manifest["machines"], other]})
    page = hm.load_run(run).report().read_text()
    assert "versions changed in mid-run" in page and f"jax: {manifest['versions']['jax']} or 0.0.1" in page


def test_a_run_made_before_digests_is_read_and_not_gone_on_with(tmp_path, capsys):
    old = Path(shutil.copytree(BEFORE / "run", tmp_path / "old"))
    with pytest.warns(UserWarning, match=OLD):
        run = hm.load_run(old)
    assert (
        run.performance.loc[0, "value"] == pd.read_csv(BEFORE / "run" / "performance.csv").loc[0, "value"]
        and len(run.estimates) == 12
    )
    assert any(OLD in note for note in run.notes)
    assert _code(["report", str(old)]) == 0
    assert OLD in (old / "report.html").read_text() and OLD in capsys.readouterr().err
    for command in (
        ["run", str(old)],
        ["run", str(old), "--extend", "--replications", "8"],
        ["merge", str(tmp_path / "out"), str(old)],
        ["replicate", str(old), "--rep", "0"],
        ["datasets", str(old)],
    ):
        assert _code(command) == 2
        said = capsys.readouterr().err.splitlines()[-1]
        anew = f"hiermodels run {old}/config.yaml --out {old}-again"
        assert f"start anew with `{anew}`" in said
    assert _code([*anew.split()[1:], "--quiet"]) == 0 and hm.load_run(f"{old}-again").finished


def test_digests_cost_next_to_nothing():
    """At most 2% of the time in which the rows are written as Parquet would still be too much to notice: 200 bytes a
    row at 1 GB/s.
    """
    import time

    n = 100_000
    table = pa.table(
        {
            "method": pa.array(["a", "b"] * (n // 2)).dictionary_encode(),
            **{f"x{i}": np.random.default_rng(i).normal(size=n) for i in range(12)},
        }
    )
    began = time.process_time()
    chunks.parquet(table)
    whole = time.process_time() - began
    began = time.process_time()
    for name in table.column_names:
        of_column(table[name])
    assert time.process_time() - began < 0.4 * whole


# a fit
# --------------------------------------------------------------------------------------------------------------------


def test_a_fit_made_before_digests_is_read_and_says_so():
    with pytest.warns(UserWarning, match=OLD):
        fit = hm.load_fit(BEFORE / "fit.nc")
    assert fit.draws.values["theta_school"].shape == (2, 10, 8) and any(OLD in text for text in fit.warnings)


def test_a_fit_made_before_scales_were_kept_describes_its_own_prior(tmp_path):
    """Its defaults stood at zero, in the units of the predictors; what is written on the parameter as shown is what it
    says.
    """
    import h5py

    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {"g": np.repeat(list("abc"), 4), "x": rng.normal(285, 2, 12), "n": 12, "r": rng.binomial(12, 0.4, 12)}
    )
    fit = hm.fit(
        hm.Model("r ~ x + (1 | g)", "binomial_logit", trials="n"), frame, draws=10, tune=10, chains=2, progress=False
    )
    assert "normal(0, 10) at the predictors' means (x = 28" in str(fit)
    path = tmp_path / "fit.nc"
    fit.save(path)
    with h5py.File(path, "r+") as file:
        header = json.loads(file.attrs["hiermodels"])
        del header["scales"], file.attrs["digest"]
        file.attrs["hiermodels"] = json.dumps(header | {"format": 1})
    with pytest.warns(UserWarning, match=OLD):
        old = hm.load_fit(path)
    assert "Intercept ~ normal(0, 10)\nx ~ normal(0, 10)\n" in str(old) and "means" not in str(old) + old.latex()
    old.save(path)
    assert "Intercept ~ normal(0, 10)\nx ~ normal(0, 10)\n" in str(hm.load_fit(path))


def test_damaged_bytes_of_a_fit_never_reach_hdf5(made, tmp_path, monkeypatch):
    """It came to no end of one flipped bit of 10,000; what is sealed is still a netCDF file to others, who may write
    to it.
    """
    import h5py
    import xarray as xr

    path = Path(shutil.copy(made / "fit.nc", tmp_path / "fit.nc"))
    assert len(xr.load_datatree(path, engine="h5netcdf")["posterior"].data_vars) == len(hm.load_fit(path).draws.values)
    with monkeypatch.context() as patch:
        patch.setattr(h5py, "File", lambda *_: pytest.fail("HDF5 was asked to read a damaged file"))
        for bit in flips.flipped(path, 60, 5):
            if bit // 8 > path.stat().st_size - 50:  # the word by which a seal is known
                continue
            with pytest.raises(ValueError, match="damaged: its content is not what its digest says"):
                hm.load_fit(path)
    with h5py.File(path, "r+") as file:
        file.attrs["mine"] = "a word"
    assert hm.load_fit(path).summary().equals(hm.load_fit(made / "fit.nc").summary())


def test_another_fit_s_draws_are_not_taken_for_this_one_s(made, tmp_path):
    import h5py

    path = Path(shutil.copy(made / "fit.nc", tmp_path / "fit.nc"))
    with h5py.File(path, "r+") as file:
        file["posterior/Intercept"][0, 0] += 1e-12
    with pytest.raises(ValueError, match=r"fit\.nc: damaged: its content is not what its digest says; fit again"):
        hm.load_fit(path)
    with h5py.File(path, "r+") as file:
        del file.attrs["digest"]
    with pytest.raises(ValueError, match="its digest is lost"):
        hm.load_fit(path)


# functions
# ----------------------------------------------------------------------------------------------------------------

MODULE = """
import numpy as np
SCALE = {scale}
def helper(x):
    return x * SCALE
def mine(seed, data):
    # {comment}
    return {{"Intercept": helper({value})}}
"""


def write(folder: Path, **changes) -> None:
    (folder / "edited_method.py").write_text(MODULE.format(**({"scale": 1.0, "value": 5.6, "comment": "a"} | changes)))


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    write(tmp_path)
    module = importlib.import_module("edited_method")
    yield module
    del sys.modules["edited_method"]


@pytest.mark.parametrize(
    ("change", "part"), [({"value": 105.8}, "source"), ({"scale": 100.0}, "SCALE"), ({"comment": "b"}, "")]
)
def test_an_edited_function_is_refused_with_what_differs(tmp_path, module, change, part):
    study = flips.study(methods={"mine": {"host": True, "function": module.mine}})
    hm.run(study, tmp_path / "run", workers=1, progress=False)
    write(tmp_path, **change)
    importlib.reload(module)
    longer = flips.study(replications=12, methods={"mine": {"host": True, "function": module.mine}})
    if not part:
        assert set(hm.run(longer, tmp_path / "run", extend=True, progress=False).estimates["estimate"]) == {5.6}
        return
    with pytest.raises(
        ValueError, match=rf"holds another study; .*\n  methods\.mine\.function: edited since: {part}: \w"
    ):
        hm.run(longer, tmp_path / "run", extend=True, progress=False)


def test_what_a_function_closes_over_is_part_of_it():
    def made(by):
        return lambda key, data: by * data

    one, same, other = (describe(made(by)) for by in (2.0, 2.0, 3.0))
    assert one == same and {name for name in one if one[name] != other[name]} == {"closure.by"}
    arrays = [describe(made(np.arange(n)))["closure.by"] for n in (3, 4)]
    assert arrays[0] != arrays[1] and "np" not in describe(np.mean)
