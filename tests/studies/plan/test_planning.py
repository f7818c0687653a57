"""Plans from a pilot, cells that stop at a target MCSE, designs that share programs."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import hiermodels as hm
from hiermodels.inference.samplers import Settings, estimator
from hiermodels.inference.summaries import Interval, Target
from hiermodels.models.data import as_jax, bind
from hiermodels.studies.methods.widened import widened
from hiermodels.studies.plan.planning import duration, plan, read_targets, required
from hiermodels.studies.run.sequential import Stop, checkpoints, judge

STUDY = {
    "mechanisms": {
        "formula": "effect ~ 1 + (1 | school)", "known_se": "se", "design": "eight_schools",
        "truth": {"Intercept": 8, "sd_school": 10}, "grid": {"sd_school": [2, 20]},
    },
    "estimands": ["Intercept", "sd_school"],
    "methods": {
        "complete": {"pooling": "complete", "sampler": "exact"},
        "partial": {"sampler": "exact", "priors": {"Intercept": "flat()", "sd_school": "reference()"}},
    },
    "performance": ["bias", "cover"], "replications": 2000, "failures": "complete-case", "seed": 1, "chunk": 64, "lanes": 64,
}  # fmt: skip


# plans
# -----------------------------------------------------------------------------------------------------------------


def row(measure, mcse, n=100, **more):
    return {
        "method": "m",
        "estimand": "mu",
        "group": "",
        "measure": measure,
        "value": 0.5,
        "mcse": mcse,
        "lower": 0.5 - 1.96 * mcse,
        "upper": 0.5 + 1.96 * mcse,
        "n_sim": n,
        **more,
    }


def test_replications_needed_are_by_hand():
    """Means s^2 / m^2; shares p (1 - p) / m^2: coverage .95 at half a point asks for 1,900."""
    p, n = 0.95, 10_000
    share = {**row("cover", math.sqrt(p * (1 - p) / n), n), "value": p}
    found = required(pd.DataFrame([share, row("bias", 0.3, n)]), {"cover": 0.005, "bias": 0.3})
    assert found["n_sim"].tolist() == [10_000] and found["because"].iloc[0].startswith("bias of mu")
    assert required(pd.DataFrame([share]), {"cover": 0.005})["n_sim"].iloc[0] == pytest.approx(1900, rel=0.01)


def test_a_coverage_of_100_percent_in_the_pilot_still_asks_for_replicates():
    from hiermodels.studies.score.montecarlo import wilson

    low, high = wilson(1.0, 100)
    found = required(pd.DataFrame([{**row("cover", 0.0), "value": 1.0, "lower": low, "upper": high}]), {"cover": 0.005})
    assert 250 < found["n_sim"].iloc[0] < 500


@pytest.mark.slow
def test_a_plan_is_kept_by_the_study(tmp_path):
    """The replications planned from a pilot bring the MCSE to its target, within what a pilot can know."""
    found = plan(STUDY, ["bias=0.25"], replications=128)
    assert found.table["sd_school"].tolist() == [2, 20]
    assert (found.table["n_sim"].diff().iloc[1:] > 0).all()  # more spread, more replicates
    for column in ("hours", "table_mb"):
        assert (found.table[column] > 0).all()
    assert "replicates" in str(found)
    n = int(found.table["n_sim"].max())
    run = hm.run({**STUDY, "replications": n}, tmp_path / "run", progress=False)
    mcse = run.performance.query("measure == 'bias' and sd_school == 20")["mcse"].max()
    assert mcse == pytest.approx(0.25, rel=4 / math.sqrt(2 * 128))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["cover"], "expected MEASURE=NUMBER"),
        (["cov=0.1"], "did you mean 'cover'"),
        (["cover=-1"], "expected a positive number"),
        ({}, "expected a target"),
    ],
)
def test_targets_that_cannot_be_read(targets, message):
    with pytest.raises(ValueError, match=message):
        read_targets(targets)


def test_durations_are_in_words():
    assert [duration(s) for s in (5, 59, 61, 5000, 7300)] == [
        "5 seconds",
        "59 seconds",
        "1 minutes",
        "83 minutes",
        "2 hours",
    ]


# stopping
# --------------------------------------------------------------------------------------------------------------


def test_checkpoints_are_multiples_of_the_largest_chunk():
    assert checkpoints([50, 64], 300, 100) == [128, 192, 256, 300]
    assert checkpoints([50], 40, 100) == [40]


def test_a_share_is_judged_by_wilsons_width_and_a_minimum():
    from hiermodels.studies.score.montecarlo import wilson

    def table(n):
        low, high = wilson(1.0, n)
        return pd.DataFrame([{**row("cover", 0.0, n), "value": 1.0, "lower": low, "upper": high}])

    stop = Stop({"cover": 0.005}, 100)
    assert not judge(table(64), stop, 64)[0] and not judge(table(128), stop, 128)[0]
    done, path = judge(table(400), stop, 400)
    assert done and path["reached"].all()
    assert not judge(table(400), Stop({"cover": 0.005}, 500), 400)[0]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    study = {**STUDY, "stop": {"bias": 0.35, "cover": 0.02, "minimum": 100}}
    return hm.run(study, tmp_path_factory.mktemp("stop") / "run", progress=False, workers=2)


@pytest.mark.slow
def test_cells_end_at_their_targets_and_methods_stay_paired(stopped):
    counts = stopped.performance.groupby(["sd_school", "method"])["n_sim"].unique()
    for spread in (2.0, 20.0):
        n = {int(v) for method in ("complete", "partial") for v in counts[spread, method]}
        assert len(n) == 1
    at = stopped.performance.groupby("sd_school")["n_sim"].first()
    assert at[2.0] < at[20.0] <= 2000
    bias = stopped.performance[stopped.performance["measure"] == "bias"]
    assert (bias["mcse"] <= 0.35).all()
    path = pd.read_csv(stopped.path / "stopping.csv")
    assert path.groupby("sd_school")["n"].max().to_dict() == {k: v for k, v in at.items()}
    ends = path[path.groupby("sd_school")["n"].transform("max") == path["n"]]
    assert (
        ends["reached"].all() and not path[path["n"] < path.groupby("sd_school")["n"].transform("max")]["reached"].all()
    )


@pytest.mark.slow
def test_trap_7_stopping_reads_complete_prefixes_whatever_finishes_first(stopped, tmp_path):
    """One worker or three, in one go or after an interruption: the same replicates 0 to n - 1, the same table."""
    again = hm.run(stopped.config, tmp_path / "three", progress=False, workers=3)
    assert (again.path / "performance.csv").read_bytes() == (stopped.path / "performance.csv").read_bytes()
    for cell, n in again.manifest["stopped"].items():
        factors = next(c["factors"] for c in again.manifest["cells"] if c["hash"] == cell)
        reps = again.estimates[again.estimates["sd_school"] == factors["sd_school"]]["rep"]
        assert sorted(reps.unique()) == list(range(n))
    part = tmp_path / "part"
    hm.run({k: v for k, v in stopped.config.items() if k != "stop"}, part, replications=64, progress=False)
    whole = hm.run(stopped.config, part, progress=False, extend=True)
    assert (whole.path / "performance.csv").read_bytes() == (stopped.path / "performance.csv").read_bytes()


def test_a_finished_run_is_left_alone_and_a_stricter_target_goes_on(stopped):
    before = {p: p.stat().st_mtime_ns for p in (stopped.path / "estimates").rglob("*.parquet")}
    hm.run(stopped.config, stopped.path, progress=False)
    assert {p: p.stat().st_mtime_ns for p in (stopped.path / "estimates").rglob("*.parquet")} == before
    stricter = hm.run({**stopped.config, "stop": {"bias": 0.3, "minimum": 100}}, stopped.path, progress=False)
    assert stricter.performance["n_sim"].max() > 2000 * 0.25
    assert all(p.stat().st_mtime_ns == t for p, t in before.items())


def test_shards_do_not_stop_by_themselves(tmp_path):
    with pytest.raises(ValueError, match="judges all replicates of a cell together"):
        hm.run({**STUDY, "stop": {"cover": 0.01}}, tmp_path / "run", shard="1/2", progress=False)


# designs that share programs
# -------------------------------------------------------------------------------------------


def nested(schools: int, classrooms: int, students: int) -> pd.DataFrame:
    rng = np.random.default_rng(schools)
    rows = [(f"s{i}", f"c{k}") for i in range(schools) for k in range(classrooms or 1 + i % 3) for _ in range(students)]
    frame = pd.DataFrame(rows, columns=["school", "classroom"])
    return frame.assign(
        treated=(pd.factorize(frame["school"])[0] % 2).astype(float),
        y=rng.normal(size=len(frame)),
        k=rng.integers(0, 9, len(frame)),
        t=10,
    )


PRIORS = {
    "Intercept": "normal(0, 3)",
    "sd_school": "half_normal(1)",
    "sd_school:classroom": "half_normal(1)",
    "sigma": "half_normal(2)",
}
THREE = hm.Model("y ~ 1 + treated + (1 | school/classroom)", priors=PRIORS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "frame"),
    [
        (THREE, nested(6, 0, 4)),
        pytest.param(
            hm.Model("k ~ 1 + treated + (1 | school)", family="binomial", trials="t"),
            nested(6, 1, 2),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_padding_the_coarsest_level_changes_no_estimate(model, frame):
    targets = tuple(Target(v) for v in ("theta_school", "mean(theta_school)", "new(school)"))
    found = []
    with jax.enable_x64(True):
        for problem in (narrow := bind(model, frame), widened(narrow)):
            size = problem.layout.levels[0].size
            fit = jax.jit(estimator(problem.layout, Settings("exact", accuracy="study"), targets, Interval()))
            estimates = fit(jax.random.key(0), as_jax(problem.data), jnp.full(size + 2, jnp.nan))
            place = np.r_[problem.positions["school"], size, size + 1]
            found.append([np.asarray(getattr(estimates, name))[place] for name in ("estimate", "se", "lower", "upper")])
    assert np.abs(np.array(found[0]) - np.array(found[1])).max() < 1e-6


def test_numbers_of_schools_between_powers_of_two_share_a_layout():
    layouts = {widened(bind(THREE, nested(n, 3, 4))).layout for n in (9, 12, 16)}
    assert len(layouts) == 1


# the command
# -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected --mcse or --power, found neither"),
        (["--mcse", "cover=0.1", "--power", "0.8"], "expected --mcse or --power, found both"),
        (["--power", "0.8"], "expected --estimand beside --power"),
        (["--mcse", "cover=0.1", "--vary", "school=1"], "--vary and --estimand go with --power"),
        (["--power", "0.8", "--estimand", "benefit", "--vary", "school=a"], "expected LEVEL=N,N,..."),
    ],
)
def test_commands_that_cannot_be_run(arguments, message, capsys):
    from hiermodels.cli import _code

    assert _code(["plan", "quick", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_the_command_prints_a_plan(capsys, tmp_path):
    from hiermodels.cli import _code
    from hiermodels.studies.config import read_config

    file = tmp_path / "study.yaml"
    file.write_bytes(read_config(STUDY).source)
    assert _code(["plan", str(file), "--mcse", "bias=0.25,cover=0.02", "--replications", "64"]) == 0
    out = capsys.readouterr().out
    assert "n_sim" in out and "memory_mb" in out and "in all" in out
