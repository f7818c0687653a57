"""Every model at twenty fixed points: densities, gradients, laws given phi, predictions, printed source, simulators.

All is evaluated operation by operation (no fused program), so that the same arithmetic gives the same bits; sites go by
name.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.golden import doors
from tests.golden.cases import KNOBS, SEATS, TABLE, Case, every_case, slug

POINTS = 20
TRUTHS = {"real": 0.4, "positive": 0.8, "unit": 0.3, "above_one": 5.0, "correlation": 0.4}
ROLES = {"concentration": 6.0, "log concentration": 1.5}
DEVIATIONS: tuple[tuple[Case, dict[str, Any]], ...] = (
    (Case("y ~ 1 + (1 | school)"), {"effects": {"school": "student_t(3)"}, "errors": "outliers(0.1, 4)"}),
    (Case("y ~ 1 + (1 | school)"), {"effects": {"school": "skewed(0.7)"}, "heteroscedastic": {"school": 0.5}}),
    (Case("y ~ 1 + (1 | school/room)"), {"effects": {"school": "mixture(2)"}, "missing": {"school:room": 0.3}}),
    (Case("y ~ 1 + (1 | school/room)"), {"dependence": {"school:room": "correlated(0.4)"}, "errors": "skewed(0.5)"}),
    (
        Case("k ~ 1 + (1 | school)", "binomial", {"trials": "n"}),
        {"effects": {"school": "logit_normal"}, "overdispersion": 0.1},
    ),
    (
        Case("c ~ 1 + (1 | school)", "poisson", {"exposure": "hours"}),
        {"effects": {"school": "lognormal"}, "overdispersion": 0.4},
    ),
    (
        Case("k ~ 1 + x + (1 | school)", "binomial_logit", {"trials": "n"}),
        {"effects": {"school": "student_t(4)"}, "missing": {"school": 0.2}},
    ),
)


def record(folder: Path, earlier: Path | None = None) -> None:
    """One file a model, written as soon as it is there; points come from an earlier recording where there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    with jax.enable_x64(True):
        cases = [*every_case(), *seated(folder)]
        for case in cases:
            path = folder / f"{case.label}.npz"
            if not path.exists():
                print(f"density {case.label} ({time.process_time():.0f} s)", flush=True)
                try:
                    numbers, words = _of_model(case, _points(earlier, case.label))
                except (KeyError, ValueError) as error:  # taken by the checks, and no density nevertheless
                    numbers, words = {}, {"priors": case.priors, "fails": f"{type(error).__name__}: {error}"}
                (folder / f"{case.label}.json").write_text(json.dumps(words, indent=1))
                np.savez(path, **numbers)
            if "fails" in json.loads((folder / f"{case.label}.json").read_text()):
                cases += _apart(case)
        simulators(folder)


def _points(earlier: Path | None, label: str) -> dict[str, np.ndarray]:
    if earlier is None or not (earlier / f"{label}.npz").exists():
        return {}
    with np.load(earlier / f"{label}.npz") as found:
        return {k: found[k] for k in found.files if " at " in k}


def seated(folder: Path) -> Iterator[Case]:
    """Models by which each prior of the menu comes to each seat that takes it; who takes which is recorded too."""
    taken: dict[str, dict[str, str]] = {}
    for name, (case, seats) in SEATS.items():
        allowed: dict[str, list[str]] = {}
        for seat in seats:
            for prior in KNOBS:
                said = _refusal(replace(case, priors={seat: prior}))
                taken.setdefault(f"{name}: {seat}", {})[prior] = said or "taken"
                if not said:
                    allowed.setdefault(seat, []).append(prior)
        for turn in range(max(map(len, allowed.values()))):
            # seats turn at different speeds, so that not all are improper at once
            priors = {seat: some[(turn + 3 * k) % len(some)] for k, (seat, some) in enumerate(allowed.items())}
            together = replace(case, priors=priors, name=slug(f"seat {name} {turn}"), seated=True)
            yield from _apart(together) if _refusal(together) else [together]
    (folder / "seats.json").write_text(json.dumps(taken, indent=1))


def _apart(case: Case) -> list[Case]:
    """One model for each prior of a model of several."""
    return [
        replace(case, priors={k: p}, name=f"{case.name}_{i}")
        for i, (k, p) in enumerate(case.priors.items())
        if len(case.priors) > 1
    ]


def _refusal(case: Case) -> str:
    try:
        doors.bind(case.model(), TABLE, case.pooling)
    except ValueError as error:
        return str(error)
    return ""


# one model
# -------------------------------------------------------------------------------------------------------------------


def _of_model(case: Case, points: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    problem = doors.bind(case.model(), TABLE, case.pooling)
    words: dict[str, Any] = {
        "formula": case.formula, "priors": {p.name: [str(p.prior), p.source] for p in problem.layout.parameters}, "print": str(case.model()),
        "latex": case.model().latex(), "warnings": list(problem.warnings), "missing moments": problem.missing_moments,
    }  # fmt: skip
    numbers: dict[str, np.ndarray] = {}
    whole, pair = doors.explicit(problem, case.centred), doors.integrated(problem)
    _of_density("explicit", case, whole, points, numbers)
    if isinstance(pair, str):
        words["not integrated"] = pair
    else:
        _of_density("integrated", case, pair, points, numbers)
    words["source"] = _source(case, problem, points, numbers, words)
    if case.seated:  # what is given phi, and what is simulated, does not depend on priors
        return numbers, words
    draws = _draws("explicit", whole, numbers)
    if not isinstance(pair, str):
        draws = _draws("integrated", pair, numbers)
        words["laws"] = pair.kinds
    return numbers | _predictions(case, problem, draws, words) | _simulated(case, words), words


def _of_density(
    what: str, case: Case, density: doors.Density, points: Mapping[str, np.ndarray], numbers: dict[str, np.ndarray]
) -> None:
    """Log density and its gradient by site at every point."""
    u = _flat(what, case, density.places, density.dim, np.asarray(density.start), points, numbers)
    value, slope = _graded(density.log_density, u)
    numbers[f"{what} log density"] = value
    for name, (start, stop) in density.places.items():
        numbers[f"{what} start {name}"] = np.asarray(density.start)[start:stop]
        numbers[f"{what} gradient {name}"] = slope[:, start:stop]


def _draws(what: str, density: doors.Density, numbers: dict[str, np.ndarray]) -> dict[str, Any]:
    """A draw of everything at every point, and each law given phi."""
    u = jnp.asarray(np.zeros((POINTS, density.dim)))
    for name, (start, stop) in density.places.items():
        u = u.at[:, start:stop].set(numbers[f"{what} at {name}"])
    keys = jax.random.split(jax.random.key(7, impl="threefry2x32"), POINTS)
    draws = {k: np.asarray(x) for k, x in jax.vmap(density.draw)(keys, u).items()}
    numbers |= {f"{what} draw {name}": x for name, x in draws.items()}
    if density.laws is not None:
        for name, law in jax.vmap(density.laws)(u).items():
            numbers |= {f"{what} law {name} {k}": np.asarray(x) for k, x in enumerate(law)}
    return draws


def _graded(log_density: Callable[[Any], Any], u: Any) -> tuple[np.ndarray, np.ndarray]:
    if u.shape[1] == 0:
        return np.asarray(jax.vmap(log_density)(u)), np.zeros(u.shape)
    value, slope = jax.vmap(jax.value_and_grad(log_density))(u)
    return np.asarray(value), np.asarray(slope)


def _flat(what: str, case: Case, places: Mapping[str, tuple[int, int]], dim: int, start: np.ndarray | None, points: Mapping[str, np.ndarray],
          numbers: dict[str, np.ndarray]) -> Any:  # fmt: skip
    """The points as one array: half of them around the start, half around zero; by name from the earlier recording."""
    u = np.zeros((POINTS, dim))
    for name, (low, high) in places.items():
        key = f"{what} at {name}"
        if key in points:
            u[:, low:high] = points[key]
        else:
            noise = np.random.default_rng(zlib.crc32(f"{case.label} {key}".encode())).normal(
                0, 0.6, (POINTS, high - low)
            )
            centre = np.zeros((POINTS, high - low))
            if start is not None:
                centre[: POINTS // 2] = np.nan_to_num(start[low:high], posinf=0.0, neginf=0.0)
            u[:, low:high] = centre + noise
        numbers[key] = u[:, low:high]
    return jnp.asarray(u)


def _predictions(case: Case, problem: Any, draws: Mapping[str, Any], words: dict[str, Any]) -> dict[str, np.ndarray]:
    """Predictions, log likelihoods of rows and log priors of the draws, taken as one chain."""
    values = doors.real_groups({name: np.asarray(x)[None] for name, x in draws.items()}, problem)
    with np.errstate(all="ignore"):
        found = {f"log prior {name}": x for name, x in doors.log_prior(values, problem).items()}
        found["log likelihood"] = doors.log_likelihood(values, problem, TABLE)
        fresh = TABLE.iloc[:5].assign(x=[0.5, -1.0, 2.0, 0.0, 1.0])
        for groups in ("existing", "new", "average"):
            for kind in ("mean", "outcome"):
                try:
                    found[f"predict {groups} {kind}"] = doors.predict(
                        values, problem, TABLE, None, groups=groups, kind=kind, seed=3
                    )
                    found[f"predict rows {groups} {kind}"] = doors.predict(
                        values, problem, TABLE, fresh, groups=groups, kind=kind, seed=3
                    )
                except ValueError as error:
                    words[f"predict {groups} {kind}"] = str(error)
    return found


def _source(
    case: Case, problem: Any, points: Mapping[str, np.ndarray], numbers: dict[str, np.ndarray], words: dict[str, Any]
) -> str:
    text, function, given = doors.source(problem)
    try:
        places, dim, log_density = doors.source_density(function, given)
    except NameError as error:
        words["source fails"] = str(error)
        return text
    u = _flat("source", case, places, dim, None, points, numbers)
    numbers["source log density"] = np.asarray(jax.vmap(log_density)(u))
    return text


# simulators
# ------------------------------------------------------------------------------------------------------------------


def _truth(case: Case) -> dict[str, float]:
    kinds = doors.parameters(case.model(), TABLE)
    return {
        name: ROLES.get(role, 1.5 if (kind, role) == ("positive", "population mean") else TRUTHS[kind])
        for name, (kind, role) in kinds.items()
    }


def _simulated(case: Case, words: dict[str, Any], deviation: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
    """Outcomes and truths of three keys."""
    if case.pooling != "partial" or case.centred:
        return {}
    keys = jax.random.split(jax.random.key(11, impl="threefry2x32"), 3)
    try:
        y, true = doors.simulated(case.model(), TABLE, _truth(case), deviation, keys)
    except ValueError as error:
        words["not simulated"] = str(error)
        return {}
    return {f"simulated {name}": x for name, x in y.items()} | {f"true {name}": x for name, x in true.items()}


def simulators(folder: Path) -> None:
    """Mechanisms that deviate from their models."""
    if (folder / "deviations.npz").exists():
        return
    numbers, words = {}, {}
    for k, (case, deviation) in enumerate(DEVIATIONS):
        said: dict[str, Any] = {"formula": case.formula, "deviation": deviation}
        numbers |= {f"{k} {name}": x for name, x in _simulated(case, said, deviation).items()}
        words[str(k)] = said
    (folder / "deviations.json").write_text(json.dumps(words, indent=1))
    np.savez(folder / "deviations.npz", **numbers)
