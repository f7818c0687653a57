"""Is the posterior calibrated? Ranks of truths among draws, tested for uniformity.

Which function?

- `calibration` reads what a study in the *prior* regime has stored: every estimand of every method, no refitting.
- `sbc` does it in one call: truths from the model's priors, any sampler, data-dependent test quantities, the
  data-averaged posterior (prior SBC).
- `posterior_sbc` asks the same question around one observed dataset, where it matters (posterior SBC).

All return a `Calibration`: a table with one test a row, its p-value, and the same adjusted so that the whole table has
one failure rate; PITs for figures, and ArviZ's groups ``prior_sbc`` and ``posterior_sbc``.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hiermodels.studies.calibrate import sbc_runs
from hiermodels.studies.calibrate import sbc_tests as tests
from hiermodels.studies.calibrate.sbc_table import Calibration, Entry, plain, tested

if TYPE_CHECKING:
    from hiermodels.inference.draws import Draws
    from hiermodels.models.spec import Model
    from hiermodels.studies.store.results import Run

__all__ = ["Calibration", "calibration", "posterior_sbc", "sbc"]

type Floats = NDArray[np.float64]

FEW_DRAWS = 100
"""Effective draws below which ranks are too coarse for the tests' cells."""


# from a study
# ----------------------------------------------------------------------------------------------------------


def calibration(
    estimates: Run | pd.DataFrame, factors: Sequence[str] = (), *, by_group: bool = False, seed: int = 0
) -> Calibration:
    """Test the calibration of every method of a study in the prior regime, from the ranks that it stored.

    Ranks become randomised PITs (`hiermodels.studies.calibrate.sbc_tests.pit`) on the lattice of the tail ESS; scalars
    are tested one by one, groups pooled with the replicate as the unit.

    Parameters
    ----------
    estimates : Run or DataFrame
        A run, or its long table of estimates: ``rep, <factors>, method, estimand, group, rank, max_rank`` and, of
        chains, ``ess_tail``.
    factors : sequence of str
        Columns whose values identify a cell; a run knows its own.
    by_group : bool
        Test each group on its own as well.
    seed : int
        Of the numbers that spread ranks over their cells.

    Returns
    -------
    Calibration

    Raises
    ------
    ValueError
        For a run whose truths are not drawn from a prior, and a table without ranks.

    Notes
    -----
    Ranks are uniform where truths come from the very priors that the method uses. Fits that gave nothing have no rank:
    they are counted in ``n_failed``, and leaving them out conditions on convergence. A method with other priors than
    the truths' is expected to fail; its row says by how much. So is one whose mechanism has a `deviation`: the study's
    datasets have it, the method knows nothing of it, and what fails is the inference under that misspecification, not
    the program.

    Examples
    --------
    >>> import pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> rows = pd.DataFrame({"rep": range(500), "method": "m", "estimand": "mu", "group": "", "rank": rng.integers(0, 100, 500), "max_rank": 99})
    >>> calibration(rows).passes(0.01)
    True
    >>> calibration(rows.assign(rank=rows["rank"] // 2)).passes(0.01)
    False
    """  # noqa: E501
    frame, names = _table_of(estimates, factors)
    wanted = ["rep", *names, "method", "estimand", "group", "rank", "max_rank"]
    missing = [name for name in wanted if name not in frame]
    if missing or frame.empty:
        raise ValueError(
            f"calibration: expected the columns {', '.join(wanted)}; missing: {', '.join(missing) or 'every row'}; "
            f"give a run's estimates"
        )
    found: list[Entry] = []
    coarse: list[str] = []
    keys = [*names, "method", "estimand"]
    for values, part in frame.groupby(keys, sort=False, observed=True):
        who = {key: plain(v) for key, v in zip(keys, values, strict=True)}
        if part["max_rank"].notna().any():
            word = zlib.crc32(
                repr(sorted(who.items())).encode()
            )  # random numbers of its own, whatever else is in the table
            found.append((who, *_pits_of(part, np.random.default_rng([seed, word])), None))
            if _effective(part) < FEW_DRAWS:
                coarse.append(f"{who['estimand']} ({who['method']})")
    if not found:
        raise ValueError(
            "calibration: expected ranks of truths, found none; take methods with draws and estimands that have true "
            "values"
        )
    notes = _notes(found)
    if coarse:
        notes.append(f"Few effective draws make ranks coarse: {', '.join(dict.fromkeys(coarse))}; take longer chains.")
    return tested(found, notes, "prior", by_group)


def _table_of(estimates: Any, factors: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    if isinstance(estimates, pd.DataFrame):
        return estimates, list(factors)
    regimes = estimates.manifest.get("regime", ["prior"])
    if any(regime != "prior" for regime in regimes):
        raise ValueError(
            f"{estimates.path}: expected truths drawn from priors (regime: prior), found {', '.join(regimes)}; ranks "
            f"of fixed truths "
            "are not uniform: write laws such as normal(0, 20) under truth"
        )
    return estimates.estimates, estimates.factors


def _pits_of(part: pd.DataFrame, rng: np.random.Generator) -> tuple[Floats, tuple[str, ...]]:
    """PITs (replicate, group), NaN where there is no rank, and labels."""
    reps, rows = np.unique(part["rep"].to_numpy(), return_inverse=True)
    codes, labels = pd.factorize(part["group"].astype(object).fillna(""), sort=False)
    ess = (
        part["ess_tail"].to_numpy(float) if "ess_tail" in part else None
    )  # it is the outermost cells that need mending
    table = np.full((len(reps), len(labels)), np.nan)
    alphabetic = np.argsort(np.argsort(np.asarray(labels, str), kind="stable"))
    order = np.lexsort((alphabetic[codes], rows))  # the same random numbers whatever the order of the table's rows
    part = part.iloc[order]
    values = tests.pit(part["rank"], part["max_rank"], rng, None if ess is None else ess[order])
    table[rows[order], codes[order]] = values
    return table, tuple(str(x) for x in labels)


def _effective(part: pd.DataFrame) -> float:
    columns = [part[name].quantile(0.05) for name in ("ess_bulk", "ess_tail", "max_rank") if name in part]
    return float(np.nanmin(columns)) if len(columns) else float("nan")


def _notes(entries: list[Entry]) -> list[str]:
    """What was left out, quantity by quantity."""
    lost: dict[str, int] = {}
    for who, u, _, _ in entries:
        missing = int(np.isnan(u).any(1).sum())
        lost[who["estimand"]] = lost.get(who["estimand"], 0) + missing
    words = [f"{name} in {count:,} fits" for name, count in lost.items() if count]
    if not words:
        return []
    listed = ", ".join(words[:6]) + (f" and {len(words) - 6} more" if len(words) > 6 else "")
    return [f"No rank, and left out, which conditions on having one: {listed}. Mend them before believing a pass."]


# in one call
# -----------------------------------------------------------------------------------------------------------


def sbc(
    model: Model | Callable[..., Any],
    design: Any,
    *,
    sampler: str | Callable[[Any, Any], Draws] = "nuts",
    replications: int = 1000,
    marginalize: bool = True,
    centred: bool = False,
    draws: int = 250,
    tune: int = 250,
    chains: int = 4,
    target_accept: float = 0.8,
    quantities: Mapping[str, Callable[..., Any]] | None = None,
    keep: Callable[[Any], Any] | None = None,
    deviation: Mapping[str, Any] | None = None,
    by_group: bool = False,
    seed: int = 0,
    precision: str = "float64",
    workers: int | None = None,
) -> Calibration:
    """Simulation-based calibration from the prior: does this sampler draw from this model's posterior?

    Truths come from the model's priors, datasets from the truths; the truth of every parameter and group value, of the
    log likelihood of the data, and of any further `quantities`, is ranked among the sampler's draws.

    Parameters
    ----------
    model : Model or callable
        With partial pooling and a proper prior for every parameter; or a NumPyro function.
    design : DataFrame, str or mapping
        The groups and predictors: a table without outcome, a dataset's name or file, or level sizes
        (``{"school": 20, "obs": 10}``).
    sampler : str or callable
        ``nuts``, ``exact``, or ``(key, data) -> Draws`` for one dataset, in `jax.numpy`; values have the shapes (chain,
        draw, *dims) with the padded group axes of ``data.real``. A sampler of one's own is thinned to its effective
        number of draws like chains are.
    replications : int
        Datasets.
    marginalize, centred, draws, tune, chains, target_accept
        As in `hiermodels.fit`.
    quantities : mapping of str to callable, optional
        ``(values, data) -> number`` of one draw, in `jax.numpy`: values by variable (padded group axes), the dataset.
        ``log_likelihood`` of a declared model is always among them.
    keep : callable, optional
        ``data -> bool``: which datasets count. It sees the data alone, so the truths that are left are still draws from
        the posteriors of the data that are left.
    deviation : mapping, optional
        How datasets differ from the model that is fitted, as under ``mechanisms`` of a config: ``{"errors":
        "outliers(0.05, 5)"}``; see `hiermodels.studies.mechanisms.deviations`. Truths still come from the priors, and
        the sampler knows nothing of it: ranks then show the miscalibration of a right program under a wrong model.
        Missing groups alone leave ranks uniform: chance takes them away.
    by_group : bool
        Test each group on its own as well.
    seed : int
    precision : str
        ``float64`` or ``float32``.
    workers : int, optional
        Threads; by default one a core.

    Returns
    -------
    Calibration

    Raises
    ------
    ValueError
        For an improper prior, a design, a sampler or a deviation that cannot be used.

    Examples
    --------
    >>> import hiermodels as hm
    >>> priors = {"Intercept": "normal(0, 20)", "sd_school": "half_normal(10)"}
    >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors=priors)
    >>> found = sbc(model, "eight_schools", sampler="exact", replications=100, draws=50)
    >>> sorted(set(found.table["estimand"]))
    ['Intercept', 'log_likelihood', 'sd_school', 'theta_school']
    """
    settings = sbc_runs.settings_of(sampler, marginalize, centred, draws, tune, chains, target_accept)
    found = sbc_runs.prior_ranks(
        model,
        design,
        settings,
        sampler,
        _count(replications),
        quantities or {},
        keep,
        {} if deviation is None else deviation,
        seed,
        precision,
        workers,
    )
    return _judged(found, "prior", by_group, seed)


def posterior_sbc(
    model: Model,
    data: pd.DataFrame,
    *,
    sampler: str | Callable[[Any, Any], Draws] = "nuts",
    replications: int = 1000,
    marginalize: bool = True,
    centred: bool = False,
    draws: int = 250,
    tune: int = 250,
    chains: int = 4,
    target_accept: float = 0.8,
    quantities: Mapping[str, Callable[..., Any]] | None = None,
    by_group: bool = False,
    seed: int = 0,
    precision: str = "float64",
    workers: int | None = None,
) -> Calibration:
    """Simulation-based calibration around one dataset: is the sampler right where this posterior lives?

    Truths are draws from the posterior given `data`; each makes a second dataset of the same design, groups included,
    and is ranked among draws from the posterior given both. Priors may be improper where the posterior is proper.

    Parameters
    ----------
    model : Model
    data : DataFrame
        With the outcome.
    sampler, replications, marginalize, centred, draws, tune, chains, target_accept, quantities, by_group, seed,
    precision, workers
        As in `sbc`. Truths come from the same sampler, thinned to their effective number.

    Returns
    -------
    Calibration
        Of kind ``posterior``.

    Raises
    ------
    ValueError
        As `hiermodels.fit`; for a chain too short to give that many truths.

    Examples
    --------
    >>> import hiermodels as hm
    >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "half_normal(10)"})
    >>> found = posterior_sbc(model, hm.load_dataset("eight_schools"), sampler="exact", replications=60, draws=50)
    >>> list(found.to_datatree().children)
    ['posterior_sbc']
    """
    settings = sbc_runs.settings_of(sampler, marginalize, centred, draws, tune, chains, target_accept)
    found = sbc_runs.posterior_ranks(
        model, data, settings, sampler, _count(replications), quantities or {}, seed, precision, workers
    )
    return _judged(found, "posterior", by_group, seed)


def _count(replications: Any) -> int:
    if isinstance(replications, bool) or not isinstance(replications, int) or replications < tests.FEWEST:
        raise ValueError(
            f"replications: expected a whole number of at least {tests.FEWEST}, found {replications!r}; e.g. 1000"
        )
    return replications


def _judged(found: Any, kind: str, by_group: bool, seed: int) -> Calibration:
    """Tests of what `hiermodels.studies.calibrate.sbc_runs` found."""
    rows, quantities, name = found
    rng = np.random.default_rng(seed)
    use = rows.kept[:, None] & rows.finite
    u = tests.pit(rows.rank, rows.count, rng)
    u[~use] = np.nan
    averaged = np.where(use[..., None], rows.share - rows.below, np.nan)
    start, entries = 0, []
    for quantity, labels in quantities.labels.items():
        part = slice(start, start + len(labels))
        who = {"method": name, "estimand": quantity}
        entries.append((who, u[rows.kept][:, part], labels, averaged[rows.kept][:, part]))
        start += len(labels)
    notes = _notes(entries)
    if (dropped := int((~rows.kept).sum())) > 0:
        notes.append(f"{dropped} datasets are left out by the rule that looks at the data alone.")
    if (flagged := int((rows.kept & rows.flagged).sum())) > 0:
        notes.append(f"{flagged} fits are flagged (divergent, or weights not to be trusted) and kept.")
    few = np.median(rows.count[rows.kept], 0) < FEW_DRAWS / 2
    if few.any():
        flat = [f"{q}{f'[{x}]' if x else ''}" for q, labels in quantities.labels.items() for x in labels]
        names = dict.fromkeys(n.partition("[")[0] for n, f in zip(flat, few, strict=True) if f)
        notes.append(f"Few draws are left after thinning: {', '.join(names)}; take longer chains for finer ranks.")
    return tested(entries, notes, kind, by_group)
