"""The command line: every command, its exit codes, and one line for every bad input."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import hiermodels as hm
from hiermodels.cli import _code
from hiermodels.datasets import dataset_names
from hiermodels.studies.config import config_names, read_config

REPORTS = True

SCHOOLS = "school,effect,se\nA,28,15\nB,8,10\nC,-3,16\nD,7,11\nE,-1,9\n"
TWO = "school,effect,se\nA,1,2\nB,3,4\n"
STUDY = """\
aim: A study for the tests.
mechanisms:
  formula: effect ~ 1 + (1 | school)
  known_se: se
  design: schools.csv
  truth: {Intercept: 8, sd_school: 10}
  grid: {sd_school: [0, 10]}
estimands: [Intercept, sd_school, theta_school]
methods:
  none: {pooling: none, sampler: exact}
  partial: {pooling: partial, sampler: exact, priors: {sd_school: half_normal(20)}}
performance: [bias, mse, cover]
replications: 4
failures: complete-case
seed: 1
"""
FORMULA = "effect ~ 1 + (1 | school)"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a study and its table, entered."""
    monkeypatch.chdir(tmp_path)
    Path("schools.csv").write_text(SCHOOLS)
    Path("study.yaml").write_text(STUDY)
    return tmp_path


def shell(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "hiermodels.cli", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


# ------------------------------------------------------------------------------------------------- commands


def test_run_and_report_and_what_they_say(here, capsys):
    quick = STUDY.replace("pooling: partial, sampler: exact", "pooling: complete, sampler: exact").replace(
        "[0, 10]", "[10]"
    )
    Path("study.yaml").write_text(quick.replace("mse, cover", "cover"))
    assert _code(["run", "study.yaml", "--workers", "1"]) == 0
    said = capsys.readouterr()
    folder = here / "runs" / "study"
    for word in ("bias", "cover", "population", str(Path("runs/study/report.html"))):
        assert word in said.out
    assert "8 of 8 fits" in said.err
    assert {"performance.csv", "report.html", "manifest.json", "config.yaml"} <= {p.name for p in folder.iterdir()}
    assert len(hm.load_run(folder).estimates) == 4 * (5 + 6)

    (folder / "report.html").unlink()
    assert _code(["report", "runs/study"]) == 0
    assert capsys.readouterr().out == said.out
    assert (folder / "report.html").stat().st_size > 10_000

    before = tree(here)
    assert _code(["run", "study.yaml", "--replications", "6"]) == 2
    assert re.search(r"--extend.*\n  replications: 4 -> 6", capsys.readouterr().err)
    assert tree(here) == before
    assert _code(["run", "study.yaml", "--replications", "6", "--extend", "--quiet"]) == 0
    quiet = capsys.readouterr()
    assert (quiet.out, quiet.err) == ("", "")
    assert set(hm.load_run(folder).performance["n_sim"]) == {6}


@pytest.mark.slow
def test_check_says_what_would_be_computed(here, capsys):
    before = tree(here)
    assert _code(["check", "study.yaml"]) == 0
    said = capsys.readouterr().out
    assert "2 cell(s) x 4 replications x 2 method(s)" in said
    assert "sd_school=10.0: population truths; partial: 7 numbers" in said
    assert said.endswith("ok\n")
    assert tree(here) == before


@pytest.mark.slow_cases(
    "options1-score ~ 1 + (1 | school/classroom)-design1", "options2-effect ~ 1 + (1 | school)-None"
)
@pytest.mark.parametrize(
    ("options", "formula", "design"),
    [
        ([], FORMULA, "eight_schools"),
        (
            ["--formula", "score ~ 1 + (1 | school/classroom)"],
            "score ~ 1 + (1 | school/classroom)",
            {"school": 20, "classroom": 4},
        ),
        (["--data", "schools.csv"], FORMULA, None),
        (["--formula", "y ~ 1 + x + (1 + x | id)", "--data", "individuals"], "y ~ 1 + x + (1 + x | id)", "individuals"),
    ],
)
def test_new_writes_a_config_that_check_accepts(here, capsys, options, formula, design):
    assert _code(["new", "mine.yaml", *options]) == 0
    assert capsys.readouterr().out == "wrote mine.yaml; run it with: hiermodels run mine.yaml\n"
    found = read_config("mine.yaml")
    assert found.mechanisms.formula == formula
    if design is None:
        assert found.mechanisms.design["file"] == "schools.csv"
    elif isinstance(design, dict):
        assert {k: found.mechanisms.design[k] for k in design} == design
    else:
        assert found.mechanisms.design == design
    if formula != "y ~ 1 + x + (1 + x | id)":  # which takes long to trace
        assert _code(["check", "mine.yaml"]) == 0
        assert capsys.readouterr().out.endswith("ok\n")


COUNT_STUDIES = {
    "rats": (["--family", "binomial"], {"family": "binomial", "trials": "rats", "design": "rats"}),
    "pumps": (["--family", "poisson"], {"family": "poisson", "exposure": "hours", "design": "pumps"}),
    "baseball": (
        ["--family", "binomial", "--data", "baseball"],
        {"formula": "hits ~ 1 + (1 | player)", "trials": "at_bats"},
    ),
    "nested": (
        ["--family", "poisson", "--data", "counties"],
        {"formula": "deaths ~ 1 + (1 | state/county)", "exposure": "exposure"},
    ),
    "predictor": (["--family", "binomial", "--formula", "hits ~ 1 + x + (1 | player)"], {"trials": "trials"}),
    "named": (["--family", "binomial", "--formula", "k ~ 1 + (1 | g)", "--trials", "n"], {"trials": "n"}),
}


@pytest.mark.parametrize("name", COUNT_STUDIES)
def test_new_writes_studies_of_counts(here, name):
    options, expected = COUNT_STUDIES[name]
    assert _code(["new", "mine.yaml", *options]) == 0
    found = read_config("mine.yaml")
    assert {key: getattr(found.mechanisms, key) for key in expected} == expected
    from hiermodels.studies.run.runner import bind_all

    bind_all(found)  # every parameter has its truth, every method its priors
    assert {"partial", "complete"} <= set(found.methods) and len(found.cells()) == 3


def test_new_writes_a_job_array(here, capsys):
    assert _code(["new", "job.sbatch"]) == 0
    assert capsys.readouterr().out == "wrote job.sbatch; submit it with: sbatch job.sbatch CONFIG\n"
    (here / "srun").write_text('#!/bin/bash\necho "$@" >> said\nexit 75\n')
    (here / "scontrol").write_text('#!/bin/bash\necho scontrol "$@" >> said\n')
    for name in ("srun", "scontrol"):
        (here / name).chmod(0o755)
    array = {
        "PATH": f"{here}:{os.environ['PATH']}",
        "HOME": str(here),
        "SLURM_ARRAY_TASK_ID": "3",
        "SLURM_ARRAY_JOB_ID": "7",
    }
    done = subprocess.run(["bash", "job.sbatch", "study.yaml", "--extend"], env=array, cwd=here, check=False)
    assert done.returncode == 75
    assert (here / "said").read_text().splitlines() == [
        "hiermodels run study.yaml --shard 3/20 --extend",
        "scontrol requeue 7_3",
    ]
    shards, tasks = (
        re.search(r"SHARDS=(\d+)", text := (here / "job.sbatch").read_text()),
        re.search(r"--array=0-(\d+)", text),
    )
    assert int(shards[1]) == int(tasks[1]) + 1


@pytest.mark.slow
def test_fit_takes_a_word_a_level(here, capsys):
    command = [
        "fit",
        "score ~ 1 + (1 | school/classroom)",
        "--data",
        "scores",
        "--sampler",
        "exact",
        "--draws",
        "50",
        "--chains",
        "2",
        "--quiet",
    ]
    assert _code([*command, "--pooling", "school=complete, school:classroom=none"]) == 0
    said = capsys.readouterr().out
    assert "theta_school:classroom[s1:c1]" in said and "sd_" not in said


MENUS = {
    "models": {"three_levels", "two_levels_known", "build"},
    "priors": set(hm.priors.__all__),
    "families": {"normal", "binomial", "poisson"},
    "samplers": {"nuts", "exact"},
    "measures": {"bias", "cover", "mse", "ciwidth"},
    "datasets": set(dataset_names()),
    "configs": set(config_names()),
}


@pytest.mark.parametrize("menu", MENUS)
def test_list_prints_every_name_with_a_line(menu, capsys):
    assert _code(["list", menu]) == 0
    said = capsys.readouterr().out
    assert set(re.findall(r"[\w]+", said)) >= MENUS[menu]
    if menu != "models":
        assert all(len(line.split()) > 1 for line in said.splitlines())


def test_list_configs_answers_with_the_aim(capsys):
    _code(["list", "configs"])
    assert f"{'baseball':24s} {read_config('baseball').aim}" in capsys.readouterr().out.splitlines()


def test_doctor_names_device_and_cores(capsys):
    assert _code(["doctor"]) == 0
    said = dict(re.split(r" {2,}", line, maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert said["devices"].split(":")[0] in ("cpu", "gpu")
    assert said["cores granted"] == f"{len(os.sched_getaffinity(0))} of {os.cpu_count()}"
    assert {"jax", "numpyro", "python", "compilation cache"} <= set(said)


FIT = [
    "--known-se",
    "se",
    "--sampler",
    "exact",
    "--draws",
    "200",
    "--chains",
    "2",
    "--prior",
    "sd_school=half_normal(5)",
]


@pytest.mark.parametrize("data", ["eight_schools", "./mine.csv"])
def test_fit_prints_the_summary(here, capsys, data):
    hm.load_dataset("eight_schools").replace({"school": {"H": "Z"}}).to_csv("mine.csv", index=False)
    assert _code(["fit", FORMULA, "--data", data, *FIT, "--quiet"]) == 0
    said = capsys.readouterr().out
    rows = {line.split()[0] for line in said.splitlines()[1:]}
    assert {
        "Intercept",
        "sd_school",
        "theta_school[A]",
        "theta_school[Z]" if "mine" in data else "theta_school[H]",
    } <= rows


def test_fit_saves_what_load_fit_reads(here, capsys):
    assert _code(["fit", FORMULA, "--data", "eight_schools", *FIT, "--seed", "7", "--out", "fit.nc"]) == 0
    said = capsys.readouterr().out
    assert "sd_school ~ half_normal(5)" in said and said.endswith("saved fit.nc\n")
    found = hm.load_fit("fit.nc")
    assert found.model.prior["sd_school"] == hm.priors.half_normal(5)
    assert (found.settings.seed, found.settings.sampler, found.draws.values["sd_school"].shape) == (
        7,
        "exact",
        (2, 200),
    )


def test_version_and_help(capsys):
    assert _code(["--version"]) == 0
    assert capsys.readouterr().out.strip() == hm.__version__
    assert _code(["--help"]) == 0
    said = capsys.readouterr().out
    for command in ("run", "new", "check", "list", "doctor", "fit", "report"):
        assert re.search(rf"\b{command}\b", said)
    assert _code(["run", "--help"]) == 0
    assert "--no-quiet" not in capsys.readouterr().out


def test_interruption_is_130_and_says_how_to_go_on(here, capsys, monkeypatch):
    from hiermodels.studies.run import runner

    def stopped(*args, **kwargs):
        raise runner.Interrupted("stopped; type the same command again to go on from runs/study")

    monkeypatch.setattr(runner, "run", stopped)
    assert _code(["run", "study.yaml"]) == 130
    assert capsys.readouterr().err == "stopped; type the same command again to go on from runs/study\n"


def test_a_defect_is_no_bad_input(monkeypatch, here):
    from hiermodels.studies.run import runner

    def broken(*args, **kwargs):
        raise RuntimeError("a defect")

    monkeypatch.setattr(runner, "run", broken)
    with pytest.raises(RuntimeError):  # Python turns it into a traceback and exit code 1
        _code(["run", "study.yaml"])


@pytest.mark.slow
def test_the_console_script_in_a_process_of_its_own(here):
    good = shell("list", "families", cwd=here)
    assert (good.returncode, good.stderr) == (0, "") and "poisson" in good.stdout
    bad = shell("run", "studdy.yaml", cwd=here)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr == "error: studdy.yaml: no such file; did you mean 'study.yaml'?\n"


# ----------------------------------------------------------------------------------------------- bad inputs


def tree(folder: Path) -> str:
    """Hash of every name and content below a folder (a lock that nobody holds is no content)."""
    found = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.name not in (".lock", ".holder")):
        found.update(str(path.relative_to(folder)).encode() + b"\0")
        if path.is_file():
            found.update(path.read_bytes())
    return found.hexdigest()


def changed(old: str, new: str, rows: str = SCHOOLS):
    """A study with one text replaced, and the command that runs it."""

    def prepare() -> list[str]:
        assert old in STUDY
        Path("study.yaml").write_text(STUDY.replace(old, new))
        Path("schools.csv").write_text(rows)
        return ["run", "study.yaml"]

    return prepare


def table(rows: str):
    """The study as it is, on another table."""
    return changed("", "", rows)


def fitted(text: str | bytes, *options: str, formula: str = FORMULA, name: str = "d.csv"):
    """A fit of a table."""

    def prepare() -> list[str]:
        Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return ["fit", formula, "--data", f"./{name}", *options]

    return prepare


def config(content: bytes):
    """A file that is no config."""

    def prepare() -> list[str]:
        Path("study.yaml").write_bytes(content)
        return ["check", "study.yaml"]

    return prepare


def command(*arguments: str):
    return lambda: list(arguments)


def unused_category() -> list[str]:
    frame = pd.DataFrame(
        {"school": pd.Categorical(["A", "B", "C"], ["A", "B", "C", "Z"]), "effect": [1.0, 2, 3], "se": 1.0}
    )
    frame.to_parquet("d.parquet")
    return ["fit", FORMULA, "--data", "d.parquet", "--known-se", "se"]


SE = ("--known-se", "se")
COUNTS = "player,hits,at_bats\nA,3,10\nB,{},10\nC,5,10\n"
HITS = "hits ~ 1 + (1 | player)"
BINOMIAL = ("--family", "binomial", "--trials", "at_bats")

# fmt: off
BAD = {
    # the study
    "unknown key": (changed("known_se: se", "know_se: se"), r"study\.yaml:4: mechanisms\.know_se: unknown key 'know_se'; did you mean 'known_se'\?"),
    "wrong type": (changed("replications: 4", "replications: four"), r"study\.yaml:13: replications: expected a whole number of at least 1; found 'four'; write e\.g\. 1"),
    "zero replications": (changed("replications: 4", "replications: 0"), r"study\.yaml:13: replications: expected a whole number of at least 1; found 0"),
    "missing key": (changed("estimands: [Intercept, sd_school, theta_school]\n", ""), r"study\.yaml:1: expected the key 'estimands'; found nothing; add e\.g\. `estimands: \["),
    "missing key below": (changed("  formula: effect ~ 1 + (1 | school)\n", ""), r"study\.yaml:2: mechanisms: expected the key 'formula'; found nothing"),
    "unknown measure": (changed("mse, cover", "mse, covr"), r"study\.yaml:12: performance\[2\]: unknown measure 'covr'; did you mean 'cover'\?"),
    "unknown sampler": (changed("partial, sampler: exact", "partial, sampler: nutz"), r"study\.yaml:11: methods\.partial\.sampler: .*found 'nutz'; did you mean 'nuts'\?"),
    "unknown prior": (changed("half_normal(20)", "half_norml(20)"), r"study\.yaml:11: methods\.partial\.priors\.sd_school: unknown prior 'half_norml'; did you mean half_normal\?"),
    "prior of no parameter": (changed("{sd_school: half", "{tau: half"), r"study\.yaml:11: methods\.partial\.priors\.tau: unknown parameter 'tau' .*; use one of Intercept, sd_school"),
    "prior that does not fit": (changed("half_normal(20)", "lkj(2)"), r"study\.yaml:11: methods\.partial\.priors\.sd_school: lkj\(2\) does not fit a positive parameter; use one of"),
    "unknown dataset": (changed("schools.csv", "eight_scools"), r"study\.yaml:5: mechanisms\.design: .*unknown name 'eight_scools'; did you mean 'eight_schools'\?"),
    "unknown family": (changed("known_se: se", "family: norml"), r"study\.yaml:4: mechanisms\.family: unknown family 'norml'; did you mean 'normal'\?"),
    "missing truth": (changed(", sd_school: 10}\n  grid: {sd_school: [0, 10]}", "}"), r"study\.yaml:6: mechanisms\.truth: expected a true value of 'sd_school'; found none; add e\.g\. `sd_school: 1`"),
    "negative true sd": (changed("[0, 10]", "[0, -1]"), r"study\.yaml:7: mechanisms\.grid\.sd_school\[1\]: expected 0 or more; found -1; mend it"),
    "the same cell twice": (changed("[0, 10]", "[10, 1e1]"), r"study\.yaml:7: mechanisms\.grid\.sd_school\[1\]: expected every cell once; found the same values twice; remove one"),
    "code in a formula": (changed("~ 1 +", "~ 1 + os.system('touch ran') +"), r"study\.yaml:3: mechanisms\.formula: \"effect .*function 'os\.system' is not allowed; use one of log"),
    "call in a formula": (changed("~ 1 +", "~ 1 + eval(se) +"), r"study\.yaml:3: mechanisms\.formula: .*function 'eval' is not allowed; use one of log"),
    "a tag that names code": (changed("seed: 1", "seed: !!python/object/apply:os.system ['touch ran']"), r"study\.yaml:15: seed: expected plain YAML; found the tag '!!python/object/apply:os\.system'; remove it"),
    "code as a prior": (changed("half_normal(20)", "\"__import__('os').system('touch ran')\""), r"study\.yaml:11: methods\.partial\.priors\.sd_school: .*expected"),
    "improper with two groups": (changed("half_normal(20)", "flat()", TWO), r"study\.yaml:11: methods\.partial\.priors\.sd_school: flat\(\) gives an improper posterior with 2 school groups: at least 3 are needed; use a proper prior"),
    "default that tells two sds apart": (changed("sampler: exact, priors: {sd_school: half_normal(20)}", "known_se: null, priors: {sigma: half_normal(9)}"), r"study\.yaml:11: methods\.partial\.priors\.sigma: half_normal\(9\): there are no repeated observations to keep sigma from zero"),
    # the design's table
    "negative standard error": (table(SCHOOLS.replace("8,10", "8,-10")), r"study\.yaml:4: mechanisms\.known_se: expected positive numbers in column 'se' of schools\.csv; found -10 in row 1 \(from 0\); mend the table"),
    "missing column of a design": (table(SCHOOLS.replace("school", "scool")), r"study\.yaml:3: mechanisms\.formula: no column 'school' in the design; did you mean 'scool'\?"),
    "design without a file": (changed("schools.csv", "./school.csv"), r"study\.yaml:5: mechanisms\.design: .*school\.csv: no such file; did you mean .*schools\.csv"),
    # files that are no configs
    "empty config": (config(b""), r"study\.yaml: expected a study; found an empty file; `hiermodels new FILE` writes one"),
    "binary config": (config(b"\x7fELF\x00\x01\x02"), r"study\.yaml: expected a YAML text; found a binary file; name the right file"),
    "config in another encoding": (config(b"aim: caf\xe9\n"), r"study\.yaml:1: expected UTF-8 text; found byte 0xe9; save the file as UTF-8"),
    "broken YAML": (config(b"aim: [1\nseed: 1\n"), r"study\.yaml:\d: expected YAML; found a mistake .*; mend this line"),
    "huge config": (config(b"aim: " + b"x" * 300_001), r"study\.yaml: expected a config of at most 300,000 bytes; found 300,001; put data in a CSV file"),
    "folder as a config": (command("run", "./"), r"\.: expected a file; found a folder; name a config in it"),
    "no such config": (command("check", "eight_scools"), r"'eight_scools': no config of this name; did you mean 'eight_schools'\?"),
    # a table to fit
    "negative standard error in a fit": (fitted(SCHOOLS.replace("8,10", "8,-10"), *SE), r"\./d\.csv: column 'se', row 1: expected a positive, finite standard error, found -10; mend or drop the row \(rows count from 0"),
    "outcome that is missing": (fitted(SCHOOLS.replace("C,-3", "C,"), *SE), r"\./d\.csv: column 'effect', row 2: expected a finite outcome, found nan; drop or mend the row"),
    "infinite outcome": (fitted(SCHOOLS.replace("C,-3", "C,inf"), *SE), r"\./d\.csv: column 'effect', row 2: expected a finite outcome, found inf; drop or mend the row"),
    "outcome in words": (fitted(SCHOOLS.replace("C,-3", "C,low"), *SE), r"\./d\.csv: column 'effect', row 2: expected numbers \(outcome\), found 'low'; convert the column"),
    "missing column": (fitted(SCHOOLS, "--known-se", "ser"), r"\./d\.csv: .*no column 'ser' in the data; did you mean 'se'\?"),
    "missing label": (fitted(SCHOOLS.replace("B,8", ",8"), *SE), r"\./d\.csv: column 'school', row 1: expected a group label, found a missing value; drop or fill the row"),
    "unused category": (unused_category, r"d\.parquet: column 'school': category 'Z' has no row; call \.cat\.remove_unused_categories\(\)"),
    "more hits than trials": (fitted(COUNTS.format(11), *BINOMIAL, formula=HITS), r"\./d\.csv: column 'hits', row 1: expected at most the row's trials, found 11; check which column"),
    "part of a count": (fitted(COUNTS.format(2.5), *BINOMIAL, formula=HITS), r"\./d\.csv: column 'hits', row 1: expected a count \(0, 1, 2, \.\.\.\), found 2\.5; counts are whole"),
    "negative count": (fitted(COUNTS.format(-2), *BINOMIAL, formula=HITS), r"\./d\.csv: column 'hits', row 1: expected a count .*found -2"),
    "family without its column": (fitted(COUNTS.format(4), "--family", "binomial", formula=HITS), r"trials: family binomial needs the column of its trials; give trials=<column>"),
    "improper posterior": (fitted(TWO, *SE, "--prior", "sd_school=flat()"), r"priors: sd_school: flat\(\) gives an improper posterior with 2 school groups: at least 3 are needed; use a proper prior"),
    "code in a fit's formula": (fitted(SCHOOLS, formula="effect ~ 1 + os.system('touch ran') + (1 | school)"), r"formula .*function 'os\.system' is not allowed"),
    "prior without =": (fitted(SCHOOLS, *SE, "--prior", "sd_school"), r"--prior 'sd_school': expected NAME=PRIOR; write e\.g\. --prior sd_school='half_normal\(5\)'"),
    "prior that reaches nothing": (fitted(SCHOOLS, *SE, "--prior", "tau=half_normal(5)"), r"priors: 'tau' does not reach the likelihood .*; the parameters are Intercept, sd_school$"),
    "unknown sampler of a fit": (fitted(SCHOOLS, *SE, "--sampler", "nutz"), r"sampler: unknown sampler 'nutz'; did you mean 'nuts'\?"),
    "no draws": (fitted(SCHOOLS, *SE, "--draws", "0"), r"draws: expected a whole number from 4 to below 2\^31, found 0; e\.g\. draws=1000"),
    "pooling of a level without a word": (fitted(SCHOOLS, *SE, "--pooling", "school=none,"), r"--pooling 'school=none,': expected GROUP=WORD,GROUP=WORD, found ''; write e\.g\. --pooling school=none,school:classroom=partial"),
    "pooling of a level twice": (fitted(SCHOOLS, *SE, "--pooling", "school=none,school=partial"), r"--pooling .*found 'school' twice"),
    "unknown family of a new study": (command("new", "x.yaml", "--family", "binomal"), r"family: unknown family 'binomal'; did you mean 'binomial'\?"),
    "new study of counts without trials": (command("new", "x.yaml", "--family", "binomial", "--data", "eight_schools"), r"eight_schools: expected a column of trials, whole numbers not below 'effect'; found none; name it with --trials"),
    "shard out of range": (command("run", "study.yaml", "--shard", "4/3"), r"--shard '4/3': expected I/N with I from 0 to N-1, or from 1 to N; write e\.g\. --shard 3/20"),
    "time limit in words": (command("run", "study.yaml", "--time-limit", "soon"), r"time limit: expected seconds or HH:MM:SS, more than none, found 'soon'; write e\.g\. 3600 or 01:00:00"),
    "nothing to merge": (command("merge", "out"), r"merge: expected at least one run folder, found none; name the folders to join"),
    "no run to merge": (command("merge", "out", "schools.csv"), r"schools\.csv: no run here: expected a folder with manifest\.json"),
    "unknown pooling": (fitted(SCHOOLS, *SE, "--pooling", "partal"), r"pooling: .*expected complete, none or partial, found 'partal'"),
    "empty table": (fitted(b""), r"d\.csv: expected a table, found an empty file; write a header line and rows"),
    "table without rows": (fitted("school,effect\n"), r"d\.csv: expected at least one row below the header, found none; add the data"),
    "binary table": (fitted(b"\x00\x01\x02PNG"), r"d\.csv: expected CSV in UTF-8 text, found a NUL byte; save it so"),
    "table in another encoding": (fitted(b"school,effect\ncaf\xe9,1\n"), r"d\.csv: expected CSV in UTF-8 text, found byte 0xe9; save it so"),
    "ragged table": (fitted("school,effect\nA,1\nB,2,3,4\n"), r"d\.csv: line 3: expected 2 fields as in the header, found 4; put double quotes around a text with a comma in it"),
    "column twice": (fitted("school,effect,effect\nA,1,2\n"), r"d\.csv: expected every column name once, found 'effect' twice; rename one"),
    "no such table": (command("fit", FORMULA, "--data", "./school.csv"), r"school\.csv: no such file; did you mean 'schools\.csv'\?"),
    "logarithm of a negative number": (fitted(SCHOOLS.replace("8,10", "8,-10"), formula="effect ~ 1 + log(se) + (1 | school)"), r"formula .*term 'log\(se\)' is not finite at row 1 \(se = -10\); check that column's values"),
    "name too long": (command("fit", FORMULA, "--data", "a" * 300 + ".csv"), r"a{60}\.\.\.: File name too long; check the path"),
    # places that cannot be written
    "run folder below a file": (command("run", "study.yaml", "--out", "schools.csv/run"), r"schools\.csv/run: cannot be written \(Not a directory\); choose a folder of yours with --out"),
    "run folder is a file": (command("run", "study.yaml", "--out", "schools.csv"), r"schools\.csv: cannot be written \(File exists\); choose a folder of yours"),
    "new file below a file": (command("new", "schools.csv/x.yaml"), r"schools\.csv/x\.yaml: cannot be written \(Not a directory\); choose a folder that exists"),
    "new file over another": (command("new", "study.yaml"), r"study\.yaml: exists already; choose another name or remove it"),
    "fit saved below a file": (command("fit", FORMULA, "--data", "eight_schools", "--out", "schools.csv/fit.nc"), r"--out schools\.csv/fit\.nc: expected a path for a file, found no folder schools\.csv that can be written; name another"),
    "no run to report": (command("report", "."), r"\.: no run here: expected a folder with manifest\.json"),
    # the command itself
    "unknown command": (command("rum"), r"hiermodels: Unknown command \"rum\"\. Did you mean \"run\"\?"),
    "unknown option": (command("run", "study.yaml", "--replicates", "8"), r"hiermodels run: Unknown option: --replicates\. Did you mean --replications\?; see hiermodels run --help"),
    "argument too many": (command("check", "study.yaml", "again"), r"hiermodels check: expected no further argument, found 'again'; see hiermodels check --help"),
    "argument too few": (command("fit", FORMULA), r"hiermodels fit: parameter --data requires an argument; see hiermodels fit --help"),
    "option in words": (command("run", "study.yaml", "--workers", "two"), r"hiermodels run: Invalid value for --workers: unable to convert \"two\" into int; see"),
    "no replications": (command("run", "study.yaml", "--replications", "0"), r"study\.yaml: replications: expected a whole number of at least 1; found 0; write e\.g\. 1"),
    "no workers": (command("run", "study.yaml", "--workers", "0"), r"workers: expected a whole number of at least 1, found 0; leave it out for one a core"),
    "unknown menu": (command("list", "prior"), r"hiermodels list: Invalid value \"prior\" for KIND\..* Did you mean \"priors\"\?"),
    "unknown device": (command("run", "study.yaml", "--device", "tpu"), r"hiermodels run: Invalid value \"tpu\" for --device\. Choose from: \"auto\", \"cpu\", \"gpu\""),
}
# fmt: on


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_changes_nothing(here, capsys, name):
    prepare, message = BAD[name]
    arguments = prepare()
    before = tree(here)
    assert _code(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ") and said.err.count("\n") == 1 and said.err.endswith("\n"), said.err
    assert len(said.err) < 500, said.err
    assert re.search(message, said.err.removeprefix("error: ").rstrip("\n")), said.err
    assert tree(here) == before
    assert not (here / "ran").exists()
