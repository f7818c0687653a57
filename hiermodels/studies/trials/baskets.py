"""Basket trials, exactly: every outcome table is analysed once and reweighted by its probability.

With K baskets of n patients there are finitely many tables of responses. Decisions depend on the table, its probability
on the response rates: so the tables are enumerated and analysed once (`enumerate_trial`), and error rates, power and
expected sizes under any rates are sums (`Outcomes.characteristics`), without Monte Carlo error. Baskets planned alike
are exchangeable under the analyses of `hiermodels.studies.trials.basket_models`, so a table counts sorted: 1,771 for
three times twenty patients instead of 9,261.

Interim looks are steps of the same walk: after a look a basket may stop for futility or for efficacy, its patients stay
in the analysis, and the walk goes on from the distinct states. A state's weight counts the ways of reaching it; given
the rates, a state in which basket k has y_k responses of n_k patients has the probability ``weight prod_k p_k^y_k (1 -
p_k)^(n_k - y_k)``, summed over the ways to give its baskets the rates.

Designs too large to enumerate are simulated, with the same rules: `hiermodels.studies.trials.basket_simulation`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from hiermodels.studies.trials.basket_states import (
    ACTIVE,
    EFFICACIOUS,
    FUTILE,
    Analysis,
    Counts,
    Floats,
    Posterior,
    analysed,
    code,
    decode,
    recruit,
    stop,
)
from hiermodels.studies.trials.trial import Trial

__all__ = ["Outcomes", "Posterior", "Trial", "enumerate_trial"]


@dataclass(frozen=True)
class Outcomes:
    """Every way in which a trial can end, for any rates.

    Attributes
    ----------
    trial : Trial
        Baskets in the order of its classes: `order` maps them to the trial's.
    order : tuple of int
    responses, patients : ndarray of int, shape (state, basket)
    stopped : ndarray of int, shape (state, basket)
        `ACTIVE` to the end, `FUTILE` or `EFFICACIOUS`.
    posterior : Posterior
        At the end of the trial.
    log_weight : ndarray, shape (state,)
        Logarithm of the number of ways of reaching the state.
    analysed : int
        Distinct tables that were analysed.
    """

    trial: Trial
    order: tuple[int, ...]
    responses: Counts
    patients: Counts
    stopped: Counts
    posterior: Posterior
    log_weight: Floats
    analysed: int

    @property
    def fires(self) -> NDArray[np.bool_]:
        """Which baskets are called effective, shape (state, basket)."""
        return (self.stopped == EFFICACIOUS) | (
            (self.stopped == ACTIVE) & (self.posterior.above > self.trial.threshold)
        )

    def with_threshold(self, threshold: float) -> Outcomes:
        """The same outcomes judged at another final threshold; nothing is analysed again."""
        return replace(self, trial=replace(self.trial, threshold=threshold))

    def characteristics(self, rates: ArrayLike) -> pd.DataFrame:
        """Exact operating characteristics under response rates.

        Parameters
        ----------
        rates : array_like, shape (basket,)
            True response rates, in the trial's order.

        Returns
        -------
        DataFrame
            ``basket, rate, measure, value``. A basket's measures are ``type1`` (rate up to the null) or ``power``,
            ``futile`` and ``early`` (chances of stopping at a look for futility, efficacy), ``patients`` (expected),
            ``estimate`` and ``mse`` of its posterior mean; of the trial (basket ``all``) ``fwer``, ``power_any``,
            ``power_all``, ``correct`` (every decision right) and ``patients``.

        Raises
        ------
        ValueError
            For rates outside [0, 1] or not one a basket.
        """
        rates = check_rates(rates, len(self.order))
        fires, null = self.fires, self.trial.null
        sums: dict[tuple[int, float], Floats] = {}
        family = np.zeros(5)
        for assigned, probability in self._assignments(rates):
            good = assigned > null
            for c, members in enumerate(self._members()):
                for j in members:
                    fired, error = fires[:, j], self.posterior.mean[:, j] - assigned[j]
                    row = [
                        fired,
                        self.stopped[:, j] == FUTILE,
                        self.stopped[:, j] == EFFICACIOUS,
                        self.patients[:, j],
                        self.posterior.mean[:, j],
                        error**2,
                    ]
                    key = (c, float(assigned[j]))
                    sums[key] = sums.get(key, np.zeros(6)) + np.array([probability @ x for x in row])
            wrong = fires[:, ~good].any(1) if (~good).any() else np.zeros(len(fires), bool)
            some = fires[:, good].any(1) if good.any() else np.zeros(len(fires), bool)
            every = fires[:, good].all(1)
            total = [wrong, some, every & good.any(), every & ~wrong, self.patients.sum(1)]
            family += np.array([probability @ x for x in total])
        rows = []
        for k, rate in enumerate(rates):
            c = next(i for i, members in enumerate(self.trial.classes) if k in members)
            alike = sum(rates[m] == rate for m in self.trial.classes[c])
            values = sums[c, float(rate)] / alike
            names = ("power" if rate > null else "type1", "futile", "early", "patients", "estimate", "mse")
            rows += [
                {"basket": str(k + 1), "rate": rate, "measure": name, "value": float(v)}
                for name, v in zip(names, values, strict=True)
            ]
        some_null, some_good = bool((rates <= null).any()), bool((rates > null).any())
        for name, value, defined in zip(
            ("fwer", "power_any", "power_all", "correct", "patients"),
            family,
            (some_null, some_good, some_good, True, True),
            strict=True,
        ):
            if defined:
                rows.append({"basket": "all", "rate": np.nan, "measure": name, "value": float(value)})
        return pd.DataFrame(rows)

    def family_error(self, rates: ArrayLike) -> float:
        """Probability that any basket with a rate up to the null fires."""
        rates = check_rates(rates, len(self.order))
        fires, total = self.fires, 0.0
        for assigned, probability in self._assignments(rates):
            total += float(probability @ fires[:, assigned <= self.trial.null].any(1))
        return total

    def worst_family_error(
        self, nulls: Sequence[float] | None = None, alternatives: Sequence[float] = ()
    ) -> pd.DataFrame:
        """Family-wise error over a grid of rates, largest first.

        Parameters
        ----------
        nulls : sequence of float, optional
            Rates of baskets without effect, up to the null rate; by default the null rate itself.
        alternatives : sequence of float
            Rates of baskets with one.

        Returns
        -------
        DataFrame
            ``rates, fwer``: every combination with at least one basket without effect, baskets planned alike in any
            order once.

        Notes
        -----
        The maximum is over the grid; between its points the error may be a little larger.
        """
        nulls = [self.trial.null] if nulls is None else list(nulls)
        if any(r > self.trial.null for r in nulls) or any(r <= self.trial.null for r in alternatives):
            raise ValueError(
                f"nulls, alternatives: expected rates up to the null rate {self.trial.null:g} and above it, found "
                f"{nulls} and {list(alternatives)}; mend them"
            )
        values = sorted({*nulls, *alternatives})
        rows = []
        for parts in itertools.product(
            *(itertools.combinations_with_replacement(values, len(members)) for members in self.trial.classes)
        ):
            rates = np.empty(len(self.order))
            for members, part in zip(self.trial.classes, parts, strict=True):
                rates[list(members)] = part
            if (rates <= self.trial.null).any():
                rows.append({"rates": tuple(map(float, rates)), "fwer": self.family_error(rates)})
        return pd.DataFrame(rows).sort_values("fwer", ascending=False, kind="stable").reset_index(drop=True)

    def calibrated(self, rates: ArrayLike, error: float = 0.05, family: bool = True) -> Outcomes:
        """The least final threshold whose type I error under these rates is at most `error`.

        Parameters
        ----------
        rates : array_like, shape (basket,)
            With at least one up to the null rate.
        error : float
        family : bool
            Family-wise error; otherwise the largest error of a single basket.

        Raises
        ------
        ValueError
            Where stopping for efficacy alone makes the error too large.
        """
        rates = check_rates(rates, len(self.order))
        if not (rates <= self.trial.null).any():
            raise ValueError(
                f"rates: expected at least one rate up to the null rate {self.trial.null:g}, found {rates.tolist()}; "
                f"add one"
            )
        candidates = np.unique(np.concatenate([[1e-12], self.posterior.above[self.stopped == ACTIVE], [1 - 1e-12]]))
        low, high = -1, len(candidates) - 1
        if self._error(candidates[high], rates, family) > error:
            raise ValueError(
                f"error: stopping for efficacy alone has a larger error than {error:g}; raise the efficacy bound "
                f"{self.trial.efficacy!r}"
            )
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._error(candidates[middle], rates, family) <= error else (middle, high)
        return self.with_threshold(float(np.clip(candidates[high], 1e-12, 1 - 1e-12)))

    def _error(self, threshold: float, rates: Floats, family: bool) -> float:
        judged = self.with_threshold(float(threshold))
        if family:
            return judged.family_error(rates)
        table = judged.characteristics(rates)
        return float(table.loc[table["measure"] == "type1", "value"].max())

    def _members(self) -> list[range]:
        """Positions of each class in the states."""
        found, start = [], 0
        for members in self.trial.classes:
            found.append(range(start, start + len(members)))
            start += len(members)
        return found

    def _assignments(self, rates: Floats) -> Iterator[tuple[Floats, Floats]]:
        """Distinct ways to give a state's positions the rates, each with the probabilities of all states."""
        parts = []
        for members in self.trial.classes:
            here = rates[list(members)]
            same = math.prod(math.factorial(int(c)) for c in np.unique(here, return_counts=True)[1])
            ways = list(_arrangements(tuple(sorted(here.tolist()))))
            parts.append([(way, same / math.factorial(len(here))) for way in ways])
        for combination in itertools.product(*parts):
            assigned = np.array([r for way, _ in combination for r in way])
            share = math.prod(s for _, s in combination)
            with np.errstate(divide="ignore", invalid="ignore"):
                log_p = _times_log(self.responses, assigned) + _times_log(self.patients - self.responses, 1 - assigned)
            yield assigned, share * np.exp(self.log_weight + log_p.sum(1))


def _arrangements(values: tuple[float, ...]) -> Iterator[tuple[float, ...]]:
    """Distinct orders of sorted values, each once."""
    if len(values) <= 1:
        yield values
        return
    for i, head in enumerate(values):
        if i == 0 or values[i - 1] != head:
            for rest in _arrangements(values[:i] + values[i + 1 :]):
                yield (head, *rest)


def _times_log(count: Counts, rate: Floats) -> Floats:
    """``count log(rate)`` with 0 log 0 = 0."""
    return np.where(count > 0, count * np.log(rate), 0.0)


def check_rates(rates: ArrayLike, baskets: int) -> Floats:
    """Response rates as an array, one a basket."""
    found = np.asarray(rates, float)
    if found.shape != (baskets,) or not ((found >= 0) & (found <= 1)).all():
        raise ValueError(f"rates: expected {baskets} numbers from 0 to 1, one a basket, found {rates!r}; mend them")
    return found


# enumeration
# -----------------------------------------------------------------------------------------------------------


def enumerate_trial(trial: Trial, analysis: Analysis) -> Outcomes:
    """Walk through every distinct state of a trial, analysing each distinct table once.

    Parameters
    ----------
    trial : Trial
    analysis : callable
        ``(responses, patients) -> Posterior``; see `hiermodels.studies.trials.basket_models`.

    Returns
    -------
    Outcomes

    Raises
    ------
    ValueError
        With more than `MAX_STATES` distinct states: simulate such a trial.

    Examples
    --------
    >>> from hiermodels.studies.trials.basket_models import independent
    >>> trial = Trial.equal(2, 10, null=0.2, threshold=0.95)
    >>> found = enumerate_trial(trial, independent(0.2))
    >>> table = found.characteristics([0.2, 0.5])
    >>> table.query("basket == '1' and measure == 'type1'")["value"].round(4).tolist()
    [0.0328]
    """
    order = tuple(k for members in trial.classes for k in members)
    plan = np.array([trial.sizes[k] for k in order])
    segments = _segments(trial)
    size = int(plan.max()) + 1
    states, log_weight = np.zeros((1, len(order)), np.int64), np.zeros(1)
    cache: dict[Any, Any] = {}
    states[:] = code(ACTIVE, 0, 0, size)
    looks = plan.shape[1]
    posterior = Posterior(np.zeros((1, len(order))), np.zeros((1, len(order))))
    for look in range(looks):
        states, log_weight = recruit(states, log_weight, plan[:, look], segments, size)
        posterior = analysed(states, analysis, cache, size)
        if look < looks - 1:
            states = stop(states, posterior.above, trial.futility, trial.efficacy, size)
    doing, patients, responses = decode(states, size)
    return Outcomes(trial, order, responses, patients, doing, posterior, log_weight, len(cache))


def _segments(trial: Trial) -> list[slice]:
    found, start = [], 0
    for members in trial.classes:
        found.append(slice(start, start + len(members)))
        start += len(members)
    return found
