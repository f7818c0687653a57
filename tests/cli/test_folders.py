"""A folder that is not a run's is left alone, nothing is written through a link, and what cannot be read is named."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import flips
import pytest

import hiermodels as hm
from hiermodels._messages import shortened
from hiermodels.cli import _code
from hiermodels.reporting.report import _commands
from hiermodels.studies.config import read_config
from hiermodels.studies.config.errors import problem
from hiermodels.studies.config.source import read_yaml
from hiermodels.studies.run.merge import merge
from hiermodels.studies.run.schedule import shard_of_array
from hiermodels.studies.store import disk, results


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return hm.run(flips.study(), tmp_path_factory.mktemp("made") / "run", workers=1, progress=False).path


@pytest.fixture
def run(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# strangers' folders
# -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ["config.yaml"],
        ["performance.csv", "report.html"],
        ["figures/x.svg"],
        [".holder"],
        ["notes.tmp-123"],
        ["a/b/c.tmp-vm-1-0123abcd"],
    ],
)
def test_a_folder_that_is_not_ours_is_left_alone(tmp_path, made, names):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("mine")
    before = contents(tmp_path)
    for act in (lambda: hm.run(flips.study(), tmp_path, progress=False), lambda: merge(tmp_path, [made])):
        with pytest.raises(
            ValueError,
            match=r"expected an empty folder or a run's, found .*; nothing was written: choose another with --out",
        ):
            act()
    assert contents(tmp_path) == before


def test_a_folder_of_ours_is_known_by_its_marker(tmp_path):
    with results.locked(tmp_path / "run"):
        assert disk.MARKER in os.listdir(tmp_path / "run")
    (tmp_path / "run" / "config.yaml").write_text("of a run that was killed before its manifest was written")
    assert hm.run(flips.study(), tmp_path / "run", progress=False).finished


# links
# -------------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="links")
@pytest.mark.parametrize(
    "name",
    [
        "figures",
        ".holder",
        ".lock",
        "estimates",
        "estimates/{cell}",
        "estimates/{cell}/mean",
        "report.html",
        "performance.csv",
        "manifest.json",
        "report.html.part",
    ],
)
def test_nothing_is_written_through_a_link(run, tmp_path, name):
    victim = tmp_path / "victim"
    place = run / name.format(cell=next((run / "estimates").iterdir()).name)
    if place.is_dir() or name == "figures":
        shutil.copytree(place, victim) if place.is_dir() else victim.mkdir()
        shutil.rmtree(place, ignore_errors=True)
        for chunk in victim.rglob("*.parquet"):
            chunk.write_bytes(b"damaged")
    else:
        victim.write_bytes(place.read_bytes() if place.exists() else b"theirs")
        place.unlink(missing_ok=True)
    before = contents(victim) if victim.is_dir() else victim.read_bytes()
    place.symlink_to(victim)
    for act in (lambda: _code(["report", str(run)]), lambda: _code(["run", str(run), "--quiet"])):
        act()
        assert (contents(victim) if victim.is_dir() else victim.read_bytes()) == before
    if name in ("figures", ".holder", ".lock"):
        with (
            pytest.raises(ValueError, match="a link inside a run folder, through which nothing is written; remove it"),
            results.locked(run),
        ):
            results.write_bytes(run / "figures" / "x.svg", b"")


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_a_run_folder_that_is_itself_reached_by_a_link(run, tmp_path):
    (tmp_path / "short").symlink_to(run)
    assert _code(["report", str(tmp_path / "short")]) == 0
    results.write_bytes(tmp_path / "short" / "figures" / "x.svg", b"x")
    assert (run / "figures" / "x.svg").is_file()


def test_temporary_names_cannot_be_known(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(os, "replace", lambda old, new: seen.append(Path(old).name))
    for _ in range(3):
        results.write_bytes(tmp_path / "x", b"")
    assert len(set(seen)) == 3
    monkeypatch.setattr(disk.secrets, "token_hex", lambda n: "0" * 2 * n)
    planted = tmp_path / f"y.tmp-{disk._HOST}-{os.getpid()}-00000000"
    planted.symlink_to(tmp_path / "victim")
    with pytest.raises(ValueError, match="cannot be written"):
        results.write_bytes(tmp_path / "y", b"secret")
    assert not (tmp_path / "victim").exists()


# what stands in the way, what is damaged
# -----------------------------------------------------------------------------------


def test_a_folder_in_the_place_of_a_chunk_is_named(run, capsys):
    path = next(run.glob("estimates/*/mean/00001.parquet"))
    path.unlink()
    path.mkdir()
    for command in ("run", "report"):
        assert _code([command, str(run)]) == 2
        said = capsys.readouterr().err
        assert f"{path}" in said and "a folder stands" in said and "move it away" in said
    path.rmdir()
    assert _code(["run", str(run), "--quiet"]) == 0


@pytest.mark.parametrize("name", ["manifest.json", "imported.json"])
@pytest.mark.parametrize("text", ["{", "[1", "3", '{"a": 3}', "[" * 5000, "\udcff"])
def test_json_that_is_none_is_named(run, capsys, name, text):
    (run / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    for command in (["report", str(run)], ["run", str(run)], ["merge", str(run.parent / "out"), str(run)]):
        assert _code(command) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"error: {run / name}: ") and len(said) < 700 and said.count("\n") == 1


@pytest.mark.parametrize(
    ("path", "value"),
    [("config", 3), ("config.methods", 3), ("config.methods", {}), ("config.mechanisms", None), ("config.replications", 10**400), ("config.interval", 3), ("config.seed", None),
     ("cells", []), ("cells", [3]), ("regime", None), ("chunk", None), ("lanes", {"a": 1}), ("models", 3), ("machines", [3]), ("stopped", {"a": "b"})],
)  # fmt: skip
def test_a_manifest_that_is_none_is_refused_in_a_sentence(tmp_path, capsys, path, value):
    before = (
        Path(__file__).parents[1] / "fixtures" / "before_digests" / "run"
    )  # without a digest, which would be enough
    run = Path(shutil.copytree(before, tmp_path / "run"))
    manifest = json.loads((run / "manifest.json").read_text())
    *above, last = path.split(".")
    place = manifest[above[0]] if above else manifest
    place[last] = value
    (run / "manifest.json").write_text(json.dumps(manifest))
    for command in (["report", str(run)], ["merge", str(tmp_path / "out"), str(run)]):
        assert _code(command) == 2
        assert re.search(rf"manifest\.json: ({re.escape(path)}|expected)", capsys.readouterr().err)


# messages
# ------------------------------------------------------------------------------------------------------------------


def test_commands_in_a_report_are_quoted_for_the_shell(made, tmp_path):
    odd = hm.load_run(shutil.copytree(made, tmp_path / "it's; touch x"))
    for _, command in _commands(odd, "a b$(x)"):
        words = shlex.split(command)
        assert (
            words[0] == "hiermodels"
            and "touch" not in words
            and words[2].startswith(("./it's; touch x", "it's; touch x"))
        )


BIG = "9" * 400


@pytest.mark.parametrize(
    "text",
    [
        "seed: {}",
        "replications: {}",
        "truth: {{Intercept: {}}}",
        "grid: {{sd: [1, {}]}}",
        "lanes: {}",
        "stop: {{bias: {}}}",
        "design: {{g: {}, obs: 1}}",
        "methods: {{m: {{draws: {}}}}}",
        "a: -{}",
    ],
)
def test_numbers_beyond_any_float_are_refused_where_they_are_read(text):
    with pytest.raises(
        ValueError, match=r"config:1: \S+ expected a number below 1\.8e308; found '-?999.*write a smaller one"
    ):
        read_yaml(text.format(BIG).encode())
    with pytest.raises(ValueError, match=r"below 1\.8e308"):
        read_config(flips.study(mechanisms={**flips.study()["mechanisms"], "truth": {"Intercept": 10**400}}))


@pytest.mark.parametrize("act", [
    lambda: hm.priors.normal(10**400, 1), lambda: hm.Model("y ~ 1", priors={"Intercept": f"normal({BIG}, 1)"}),
    lambda: hm.run(flips.study(), "x", replications=10**400, progress=False), lambda: read_config(flips.study(chunk=2**31)),
    lambda: hm.fit(hm.Model("effect ~ 1"), hm.load_dataset("eight_schools"), draws=10**400),
])  # fmt: skip
def test_numbers_that_are_too_large_from_python(act):
    with pytest.raises(
        ValueError, match=r"expected (finite numbers|a number below|a whole number from 4|auto or a whole number)"
    ) as caught:
        act()
    assert len(str(caught.value)) < 300


def test_characters_of_two_escapes_are_one(tmp_path):
    assert read_yaml(json.dumps({"aim": "a 😀 b"}).encode())[0] == {"aim": "a 😀 b"}
    with pytest.raises(ValueError, match="found half of a character"):
        read_yaml(b'aim: "a \\ud83d b"')


def test_a_problem_outside_of_a_record_says_itself():
    assert str(problem("expected {x}; found nothing", ("a",))) == "expected {x}; found nothing"


@pytest.mark.parametrize("name", ["...yaml", "..yaml"])
def test_a_config_named_of_dots_runs_in_a_folder_below(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(json.dumps(flips.study()))
    assert _code(["run", f"./{name}", "--quiet"]) == 0
    assert sorted(os.listdir(".")) == sorted([name, "runs"]) and hm.load_run("runs/study").finished


def test_long_words_and_lists_are_cut():
    assert len(shortened("x" * 20_000)) < 100 and len(shortened("a word " * 5_000)) <= 600
    assert shortened("/".join(["folder"] * 30)) == "/".join(["folder"] * 30)
    with pytest.raises(ValueError, match=r"SLURM_ARRAY_TASK_ID: expected a whole number, found 'x'"):
        shard_of_array({"SLURM_ARRAY_TASK_ID": "x", "SLURM_ARRAY_TASK_COUNT": "3"})


@pytest.mark.skipif(os.name != "posix", reason="a shell")
def test_closed_and_full_streams(made):
    command = f"{shlex.quote(sys.executable)} -m hiermodels.cli list families"
    full = ">/dev/full" if os.path.exists("/dev/full") else ">&-"
    script = (
        f"{command} >&-; a=$?; {command} 2>&- >/dev/null; b=$?; {command} | true; c=${{PIPESTATUS[0]}}; "
        f"{command} {full}; echo $a $b $c $?"
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["0", "0", "0", "2" if "full" in full else "0"]
    assert done.stderr.count("\n") <= 1 and "Traceback" not in done.stderr
