"""Which models are there: what `hiermodels.models.catalogue` writes out by hand, what the builder writes, what neither
does.
"""

from __future__ import annotations

from hiermodels import families

__all__ = ["table"]

_NO_GROUPS = {"none": "no groups to keep apart", "partial": "no groups to pool"}
_CROSSED = "rates integrate along nested groupings only; write a NumPyro function of your own"
_NO_SLOPES = "a beta or gamma population has no slopes; write a NumPyro function of your own"


def _others(normal_groups: bool) -> dict[str, families.Family]:
    """Families other than `normal`, with normal groups or with a beta or gamma population: names of one likelihood
    together, and the first.
    """
    found: dict[str, list[str]] = {}
    for name, law in sorted(families.MENU.items(), key=lambda entry: bool(entry[1].twin)):
        if law.population.normal == normal_groups and not (normal_groups and law.conjugate):
            found.setdefault(law.kernel, []).append(name)
    return {", ".join(names): families.lookup(kernel) for kernel, names in found.items()}


def table() -> list[dict[str, str]]:
    """What is written out by hand, what the builder writes, and what is not there and why.

    Returns
    -------
    list of dict
        Keys ``levels family variance complete none partial``; under a pooling word stands the name of a function of
        `hiermodels.models.catalogue`, ``build`` (any `hiermodels.Model`, by `hiermodels.models.builder.build`), or the
        reason why not.

    Examples
    --------
    >>> [row["partial"] for row in table() if row["family"] == "normal" and row["levels"] == "2"]
    ['two_levels_known', 'two_levels']
    """

    def row(levels: str, family: str, variance: str, cells: str | dict[str, str]) -> dict[str, str]:
        words = cells if isinstance(cells, dict) else dict.fromkeys(("complete", "none", "partial"), cells)
        return {"levels": levels, "family": family, "variance": variance, **words}

    found = []
    for variance, flat, two, three, slopes in (
        ("known", "one_level", "two_levels_known", "build", "build"),
        ("unknown", "one_level", "two_levels", "three_levels", "varying_slopes"),
    ):
        found += [
            row("1", "normal", variance, {"complete": flat, **_NO_GROUPS}),
            row("2", "normal", variance, two),
            row("3", "normal", variance, three),
            row("4 and more", "normal", variance, "build"),
            row(
                "crossed",
                "normal",
                variance,
                {"complete": "build", "none": "one grouping at most", "partial": "build"},
            ),
            row("2, with slopes", "normal", variance, slopes),
        ]
    for name, law in _others(normal_groups=False).items():
        found += [
            row("1", name, law.variance, {"complete": "build", **_NO_GROUPS}),
            row("2", name, law.variance, law.written),
            row("3", name, law.variance, "build"),
            row("4 and more", name, law.variance, "build"),
            row("crossed", name, law.variance, _CROSSED),
            row("2, with slopes", name, law.variance, _NO_SLOPES),
        ]
    for name, law in _others(normal_groups=True).items():
        variance = law.variance
        found += [
            row("1", name, variance, {"complete": "build", **_NO_GROUPS}),
            row("2 and more, with slopes", name, variance, "build"),
            row("crossed", name, variance, {"complete": "build", "none": "one grouping at most", "partial": "build"}),
        ]
    return found
