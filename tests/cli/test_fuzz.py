"""Damaged configs and tables: a study or one clear sentence, never a traceback, a hang, or half a table."""

from __future__ import annotations

import importlib
import sys
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from clear_words import EXACT, FITS, PACKAGE, RAW, in_time, refused
from mutations import mutated_command, mutated_config, mutated_formula, mutated_frame, mutated_table

import hiermodels as hm
from hiermodels.cli import _code
from hiermodels.datasets import read_table
from hiermodels.models.data import bind
from hiermodels.studies.config import config_names, config_path, read_config
from hiermodels.studies.config.source import read_yaml
from hiermodels.studies.run.runner import bind_all


def sources() -> list[tuple[bytes, dict]]:
    found = [config_path(name).read_bytes() for name in config_names()]
    return [(raw, read_yaml(raw)[0]) for raw in [EXACT, *found]]


def read_and_bind(path: Path) -> bool:
    """Whether a config is a study; what it says otherwise must be clear."""
    try:
        with in_time():
            bind_all(read_config(path))
    except Exception as error:
        if not refused(error):
            raise
        return False
    return True


def check_configs(folder: Path, numbers: range) -> int:
    known, valid, path = sources(), 0, folder / "study.yaml"
    for number in numbers:
        path.write_bytes(mutated_config(*known[number % len(known)], number))
        try:
            valid += read_and_bind(path)
        except Exception as error:
            raise AssertionError(
                f"config {number}: {type(error).__name__}: {error}\n{path.read_text(errors='replace')[:1500]}"
            ) from error
    return valid


def check_tables(folder: Path, numbers: range) -> int:
    valid, path, names = 0, folder / "table.csv", list(FITS)
    for number in numbers:
        name = names[number % len(names)]
        path.write_bytes(mutated_table((Path(PACKAGE) / "datasets" / f"{name}.csv").read_bytes(), number))
        formula, options = FITS[name]
        try:
            with in_time():
                bind(hm.Model(formula, **options), read_table(path))
            valid += 1
        except Exception as error:
            if not refused(error):
                raise AssertionError(
                    f"table {number} of {name}: {type(error).__name__}: {error}\n{path.read_bytes()[:800]!r}"
                ) from error
    return valid


MODELS = (
    ("normal", {}),
    ("binomial", {"trials": "n"}),
    ("poisson", {"exposure": "w"}),
    ("normal", {"known_se": "w"}),
    ("bernoulli_logit", {}),
    ("normal", {"weights": "w"}),
)
PLAIN = "y ~ 1 + x + z + arm + (1 | g)"


def table_for_formulas() -> pd.DataFrame:
    """Twenty rows of ordinary columns."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: rng.normal(size=20).round(3) for name in ("y", "x", "z", "my x", "y y")})
    frame["w"], frame["n"] = rng.uniform(0.5, 2, 20).round(3), rng.integers(1, 9, 20)
    for name, letters in (("g", "abcd"), ("h", "pq"), ("k", "uvw"), ("arm", "ab"), ("a b", "st")):
        frame[name] = (list(letters) * 20)[:20]
    return frame


def check_formulas(numbers: range) -> int:
    frame, valid = table_for_formulas(), 0
    for number in numbers:
        text = mutated_formula(number)
        try:
            with in_time():
                bind(hm.Model(text), frame)
            valid += 1
        except Exception as error:
            if not refused(error):
                raise AssertionError(
                    f"formula {number}: {text!r}: {type(error).__name__}: {str(error)[:700]}"
                ) from error
    return valid


def check_frames(numbers: range) -> int:
    valid = 0
    for number in numbers:
        frame, (family, roles) = mutated_frame(number), MODELS[number % len(MODELS)]
        try:
            with in_time():
                bind(hm.Model(PLAIN, family, **roles), frame)
            valid += 1
        except Exception as error:
            if not refused(error):
                raise AssertionError(
                    f"frame {number}, {family} {roles}: {type(error).__name__}: {str(error)[:700]}\n{frame.dtypes}"
                ) from error
    return valid


def check_commands(folder: Path, numbers: range, monkeypatch, capfd) -> int:
    """Command lines end with 0 or 2 and at most one line of error; what would compute for long stops where it would
    begin.
    """

    def computed(*_, **__):
        raise KeyboardInterrupt

    for place in (
        "hiermodels.inference.compiled.draw",
        "hiermodels.studies.run.runner.run_chunk",
        "hiermodels.studies.plan.planning.run_chunk",
        "hiermodels.studies.run.execution.execute",
        "hiermodels.targets.table.rows",
    ):
        module, name = place.rsplit(".", 1)
        if hasattr(importlib.import_module(module), name):
            monkeypatch.setattr(place, computed)
    monkeypatch.chdir(folder)
    wrong = 0
    for number in numbers:
        words = mutated_command(number)
        capfd.readouterr()
        try:
            with in_time():
                code = _code(words)
        except (Exception, SystemExit) as error:
            raise AssertionError(f"command {number}: {words}: {type(error).__name__}: {str(error)[:500]}") from error
        told = capfd.readouterr().err
        assert code in (0, 2, 130), (number, words, code, told[:600])
        if code == 2:
            said = told[told.find("error: ") :]
            assert said.startswith("error: ") and len(said) <= 620 and not RAW.search(said), (number, words, told[:800])
            wrong += 1
    return wrong


def check_runs(folder: Path, numbers: range, wanted: int) -> None:
    """Run studies that are valid though mutated: a whole table, or none."""
    data, done = read_yaml(EXACT)[0], 0
    for number in numbers:
        path, out = folder / f"s{number}.yaml", folder / f"run{number}"
        path.write_bytes(mutated_config(EXACT, data, number))
        if not read_and_bind(path) or read_config(path).replications > 500 or _slow(read_config(path)):
            continue
        code = _code(["run", str(path), "--out", str(out), "--quiet", "--workers", "1"])
        assert code in (0, 2), number
        run = hm.load_run(out) if (out / "manifest.json").is_file() else None
        assert (run is not None and run.finished) == (code == 0), number
        if run is not None and run.finished:
            study = read_config(path)
            assert set(run.performance["n_sim"]) == {study.replications}, number
            assert set(run.performance["measure"]) <= set(study.performance), number
        done += 1
        if done == wanted:
            return
    raise AssertionError(f"only {done} of {wanted} mutated studies were valid")


def _slow(study) -> bool:
    """Studies whose compilation or size is not what is tested here."""
    return any(m.sampler == "nuts" or m.draws > 5000 for m in study.methods.values()) or len(study.cells()) > 8


def test_a_hundred_damaged_configs(tmp_path):
    assert 5 <= check_configs(tmp_path, range(100)) <= 80


def test_fifty_damaged_tables(tmp_path):
    assert 3 <= check_tables(tmp_path, range(50)) <= 45


def test_damaged_parquet_is_told(tmp_path):
    path = tmp_path / "table.parquet"
    hm.load_dataset("eight_schools").to_parquet(path)
    whole = path.read_bytes()
    for number in range(30):
        data = bytearray(whole)
        data[zlib.crc32(bytes([number])) % len(data)] ^= 1 + number
        path.write_bytes(bytes(data) if number % 3 else bytes(data[: len(data) - 1 - 40 * number]))
        try:
            with in_time():
                bind(hm.Model(FITS["eight_schools"][0], known_se="se"), read_table(path))
        except Exception as error:
            assert refused(error), (number, error)


def test_a_hundred_formulas():
    assert 10 <= check_formulas(range(100)) <= 90


def test_fifty_frames():
    assert 3 <= check_frames(range(50)) <= 45


def test_forty_command_lines(tmp_path, monkeypatch, capfd):
    assert check_commands(tmp_path, range(40), monkeypatch, capfd) >= 10


@pytest.mark.slow
def test_two_thousand_formulas_frames_and_five_hundred_command_lines(tmp_path, monkeypatch, capfd):
    check_formulas(range(2500))
    check_frames(range(2500))
    check_commands(tmp_path, range(500), monkeypatch, capfd)


@pytest.mark.slow
def test_damaged_configs_run_to_a_whole_table_or_none(tmp_path, capsys):
    check_runs(tmp_path, range(10_000, 10_100), 3)


@pytest.mark.slow
def test_two_thousand_damaged_configs(tmp_path):
    assert 100 <= check_configs(tmp_path, range(2000)) <= 1600


@pytest.mark.slow
def test_five_hundred_damaged_tables(tmp_path):
    assert 50 <= check_tables(tmp_path, range(500)) <= 450


@pytest.mark.slow
def test_fifty_damaged_configs_run_to_a_whole_table_or_none(tmp_path, capsys):
    check_runs(tmp_path, range(10_000, 11_000), 50)


if __name__ == "__main__":  # print every failure: python tests/cli/test_fuzz.py 0 2000
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        for one in range(*map(int, sys.argv[1:3])):
            for check in (
                lambda r: check_configs(Path(name), r),
                lambda r: check_tables(Path(name), r),
                check_formulas,
                check_frames,
            ):
                try:
                    check(range(one, one + 1))
                except AssertionError as failure:
                    print(str(failure)[:600], "\n")
