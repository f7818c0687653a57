"""Settings and targets of a program in canonical names, and its refusals in the user's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from hiermodels.inference.settings import Settings
from hiermodels.inference.summaries import Target
from hiermodels.models.canonical import Canonical, canonical
from hiermodels.models.layout import Layout

__all__ = ["canonical_settings", "canonical_targets", "in_own_words"]


def canonical_settings(names: Canonical, settings: Settings) -> Settings:
    """Settings whose named sites are those of the canonical layout."""
    if not isinstance(settings.centred, tuple):
        return settings
    return replace(settings, centred=tuple(names.name(site) for site in settings.centred))


def canonical_targets(names: Canonical, targets: tuple[Target, ...]) -> tuple[Target, ...]:
    """Targets among the variables of the canonical layout.

    Examples
    --------
    >>> import hiermodels as hm
    >>> from hiermodels.models.data import bind
    >>> layout = bind(hm.Model("effect ~ 1 + (1 | school)", known_se="se"), hm.load_dataset("eight_schools")).layout
    >>> [t.variable for t in canonical_targets(canonical(layout), (Target("Intercept"), Target("new(school)")))]
    ['Intercept', 'new(group#1)']
    """
    return tuple(replace(target, variable=names.name(target.variable)) for target in targets)


@contextmanager
def in_own_words(layout: Layout) -> Iterator[None]:
    """Say in the user's names what a program for this layout refuses while it is traced."""
    try:
        yield
    except ValueError as error:
        raise ValueError(canonical(layout).restore(str(error))) from None
