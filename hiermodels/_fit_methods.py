"""A fit as a paragraph of a methods section, with what it cites; every number comes from the fit."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from hiermodels._citations import in_text
from hiermodels.inference.draws import STATUS
from hiermodels.inference.samplers import menu
from hiermodels.models.layout import Layout
from hiermodels.models.problem import Problem

__all__ = ["methods"]


class _Page:
    """Sentences, and the keys of the works that they cite in order."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.keys: list[str] = []

    def cite(self, *keys: str) -> str:
        """Brackets for works, which are then in the list."""
        self.keys += keys
        return in_text(keys)

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)


def methods(fit: Any) -> tuple[str, tuple[str, ...]]:
    """The paragraph, and the keys of the works that it cites."""
    page = _Page()
    if isinstance(fit.problem, Problem):
        _model(page, fit)
        _priors(page, fit.problem.layout)
    else:
        name = getattr(fit.model, "__name__", "model")
        page.say(
            f"The model is a NumPyro function, {name}{page.cite('numpyro')}, fitted to "
            f"{_counted(len(fit.data), 'row')}."
        )
    _engine(page, fit)
    _trust(page, fit)
    page.say(
        f"Intervals are central posterior intervals. Computations were done with hiermodels "
        f"{version('hiermodels')}{page.cite('hiermodels')} on JAX {version('jax')}{page.cite('jax')}, in "
        f"{fit.settings.precision}, with seed {fit.settings.seed}."
    )
    return " ".join(page.sentences), tuple(dict.fromkeys(page.keys))


def _model(page: _Page, fit: Any) -> None:
    model, problem = fit.model, fit.problem
    layout = problem.layout
    sizes = [f"{_counted(len(problem.labels[level.name]), 'group')} of {level.name}" for level in layout.levels]
    words = {
        "known_se": "known standard errors in",
        "trials": "trials in",
        "exposure": "exposure in",
        "weights": "precision weights in",
    }
    roles = [f"{word} {name}" for role, word in words.items() if (name := getattr(model, role))]
    link = "" if layout.link.identity else f" ({layout.link} link)"
    more = f", {', '.join(roles)}" if roles else ""
    inside = f" in {_listed(sizes)}" if sizes else ""
    page.say(
        f"We fitted the model {model.formula} (lme4's notation) to {_counted(len(fit.data), 'row')}{inside}; the "
        f"outcome has a {model.family} law{link}{more}."
    )
    for pooling, what in (
        ("partial", "were partially pooled"),
        ("none", "were estimated without pooling"),
        ("complete", "were pooled completely"),
    ):
        names = [level.name for level in layout.levels if level.pooling == pooling]
        if names:
            page.say(f"Groups of {_listed(names)} {what}.")


def _priors(page: _Page, layout: Layout) -> None:
    given = [p for p in layout.parameters if p.prior is not None]
    if not given:
        return
    own = [f"{p.name} ~ {p.prior}" for p in given if p.source == "named"]
    default = [f"{p.name} ~ {p.prior}" for p in given if p.source != "named"]
    parts = [f"priors chosen by us: {', '.join(own)}"] * bool(own) + [
        f"defaults of the software: {', '.join(default)}"
    ] * bool(default)
    keys = [key for p in given for key in p.prior.cites]
    text = "; ".join(parts)
    page.say(f"{text[0].upper()}{text[1:]}{page.cite(*dict.fromkeys(keys))}.")


def _engine(page: _Page, fit: Any) -> None:
    """What made the draws: the sampler that was asked for, or the one that took over where it distrusted itself."""
    settings = fit.settings.sampling()
    how = menu.of(settings)
    first = next(iter(fit.draws.values.values()))
    chains, draws = first.shape[:2]
    if how.independent and not fit.draws.independent:
        page.say(f"The posterior was first computed {how.method}, which judged itself too inaccurate.")
        how = menu.of(how.distrusted()[-1].settings)
    if fit.draws.independent and not how.independent:  # nothing was left to sample
        page.say(f"The posterior has a closed form; {chains * draws:,} independent draws were taken from it.")
        return
    cited = page.cite(*how.cites)
    if fit.draws.independent:
        page.say(
            f"The posterior was computed {how.method}{cited}; {chains * draws:,} independent draws were taken from it."
        )
    else:
        page.say(
            f"The posterior was sampled {how.method}{cited}: {_counted(chains, 'chain')} of {draws:,} draws after "
            f"{settings.tune:,} of warm-up."
        )


def _trust(page: _Page, fit: Any) -> None:
    """How far off, by the fit's own diagnostics."""
    table = fit.diagnostics
    if fit.draws.error is not None:
        page.say(
            f"By its own estimate the quadrature is off by at most {float(fit.draws.error):.1g} posterior standard "
            f"deviations."
        )
    if not fit.draws.independent:
        divergences = int(np.sum(fit.draws.stats.get("diverging", 0)))
        page.say(
            f"The largest R-hat was {table['r_hat'].max():.3f}, the smallest bulk and tail effective sample sizes "
            f"{table['ess_bulk'].min():,.0f} and "
            f"{table['ess_tail'].min():,.0f}{page.cite('rhat')}; {_counted(divergences, 'transition')} diverged."
        )
    sd = fit.summary()["sd"].to_numpy(float)
    with np.errstate(all="ignore"):
        share = table["mcse_mean"].to_numpy(float) / sd
    share = share[np.isfinite(share)]
    if share.size:
        page.say(
            f"Monte Carlo standard errors of posterior means were at most {100 * share.max():.2g}% of the posterior "
            f"standard deviation."
        )
    missing = getattr(fit.problem, "missing_moments", {})
    if missing:
        page.say(f"Medians stand for the means of {_listed(sorted(missing))}, whose moments do not all exist.")
    if fit.status == STATUS[0] and not fit.warnings:
        page.say("No diagnostic raised a warning.")
    else:
        page.say(_sentence(f"The status of the fit is {fit.status}"))
        for warning in fit.warnings:
            what = warning.split("; ")[0]  # what is doubtful, without what to do about it
            page.say(_sentence(what[:1].upper() + what[1:]))


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _counted(number: int, noun: str) -> str:
    """A number of things.

    Examples
    --------
    >>> _counted(1, "row"), _counted(1200, "row"), _counted(0, "transition")
    ('1 row', '1,200 rows', 'no transitions')
    """
    return f"{number:,} {noun}{'s' * (number != 1)}" if number else f"no {noun}s"


def _listed(names: Sequence[str]) -> str:
    """Names in a sentence.

    Examples
    --------
    >>> _listed(["a"]), _listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
