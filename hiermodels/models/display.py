"""A model as mathematics: one line a law, one line a prior; as plain text and as LaTeX.

Group values are written whole, as they are reported: ``theta_school_j`` is the value of school j,
``theta_school[i]`` the value of the school to which row i (or group i of a finer level) belongs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from hiermodels.families import lookup
from hiermodels.families.family import Columns
from hiermodels.families.link import Link
from hiermodels.models import data, defaults, standing
from hiermodels.models.counts import count_tree, log_precision, rate_name
from hiermodels.models.declaration import Declaration
from hiermodels.models.declared import declared_layout
from hiermodels.models.layout import Layout, Parameter
from hiermodels.models.moves import find_moves, scale_of, written
from hiermodels.models.scales import Scales
from hiermodels.quantities import INTERCEPT, sd_name, theta_name

__all__ = ["latex", "text"]


def text(model: Declaration, layout: Layout | None = None, scales: Scales | None = None) -> str:
    """The model as plain text, a line a law and a line a prior.

    Parameters
    ----------
    model : Declaration
    layout : Layout, optional
        Of a bound problem: then the priors in use (defaults with their numbers) and the pooling are shown.
        Without it defaults that are scaled to predictors, weights or known variances are shown by their rule, and every level is
        partially pooled.
    scales : Scales, optional
        Of the bound problem: then the means are written at which a default prior stands.

    Examples
    --------
    >>> from hiermodels.models.spec import Model
    >>> print(text(Model("y ~ 1 + x + (1 + x | id)", priors={"sigma": "exponential(1)"})))
    y_i ~ N(theta_id[i] + theta_id_x[i] * x_i, sigma^2)
    (theta_id, theta_id_x)_j ~ N((Intercept, x), S cor_id S), S = diag(sd_id, sd_id_x)
    Intercept ~ flat()
    x ~ flat()
    sd_id ~ scaled_half_t(3, 2.5) at the predictors' means
    sd_id_x ~ scaled_half_t(3, 2.5 / sd(x))
    cor_id ~ lkj(1) at the predictors' means
    sigma ~ exponential(1)
    """
    lines, words = _lines(model, layout, scales, _Plain())
    return "\n".join([*(f"{left} {sign} {right}" for left, sign, right in lines), *words])


def latex(model: Declaration, layout: Layout | None = None, scales: Scales | None = None) -> str:
    r"""The model as a LaTeX ``aligned`` block.

    Examples
    --------
    >>> from hiermodels.models.spec import Model
    >>> print(latex(Model("y ~ 1 + (1 | g)", known_se="se")).splitlines()[1])
    y_{i} &\sim \mathrm{N}\left(\theta^{\mathrm{g}}_{[i]},\, \mathrm{se}_{i}^{2}\right) \\
    """
    sign = {"~": "\\sim", "=": "="}
    style = _Latex()
    lines, words = _lines(model, layout, scales, style)
    rows = " \\\\\n".join([*(f"{a} &{sign[s]} {b}" for a, s, b in lines), *(f"&{style.words(w)}" for w in words)])
    return f"\\begin{{aligned}}\n{rows}\n\\end{{aligned}}"


class _Plain:
    """Renders symbols as plain text."""

    times: ClassVar[str] = " * "
    gap: ClassVar[str] = ""

    def column(self, name: str) -> str:
        return f"{name}_i"

    def column_of_group(self, name: str) -> str:
        return f"{name}_j"

    def indexed(self, symbol: str) -> str:
        return f"{symbol}[j]"

    def coefficient(self, name: str) -> str:
        return name

    def theta(self, level: str, column: str, index: str) -> str:
        return theta_name(level, column) + index

    def parameter(self, stem: str, level: str, column: str = "Intercept") -> str:
        return sd_name(level, column) if stem == "sd" else f"{stem}_{level}"

    def own(self, name: str) -> str:
        return name

    def square(self, symbol: str) -> str:
        return f"{symbol}^2"

    def ratio(self, a: str, b: str) -> str:
        return f"{a} / {b}"

    def law(self, name: str, *args: str) -> str:
        return f"{name}({', '.join(args)})"

    def inverse(self, link: Link, eta: str) -> str:
        return self.law(link.plain, eta)

    def product(self, a: str, b: str) -> str:
        return f"{a} {b}"

    def vector(self, parts: list[str], index: str = "") -> str:
        return f"({', '.join(parts)}){index}"

    def words(self, sentence: str) -> str:
        return sentence

    def prior(self, parameter: Parameter, rule: str) -> str:
        return parameter.prior.text(rule)


class _Latex(_Plain):
    """Renders symbols as LaTeX."""

    times: ClassVar[str] = "\\, "
    gap: ClassVar[str] = "\\quad "

    def _roman(self, name: str) -> str:
        escaped = name.replace("_", "\\_")
        return escaped if len(escaped) == 1 else f"\\mathrm{{{escaped}}}"

    def column(self, name: str) -> str:
        return f"{self._roman(name)}_{{i}}"

    def column_of_group(self, name: str) -> str:
        return f"{self._roman(name)}_{{j}}"

    def coefficient(self, name: str) -> str:
        return f"\\beta_{{\\mathrm{{{name.replace('_', chr(92) + '_')}}}}}"

    def _label(self, level: str, column: str) -> str:
        inner = "\\mathrm{" + level.replace("_", "\\_") + "}"
        return "{" + (inner if column == "Intercept" else f"{inner},{self._roman(column)}") + "}"

    def theta(self, level: str, column: str, index: str) -> str:
        index = index.strip("_")
        return f"\\theta^{self._label(level, column)}" + (f"_{{{index}}}" if index else "")

    def parameter(self, stem: str, level: str, column: str = "Intercept") -> str:
        symbol = {"sd": "\\tau", "cor": "R", "mean": "m", "kappa": "\\kappa", "shape": "a"}[stem]
        return f"{symbol}_{self._label(level, column)}"

    def own(self, name: str) -> str:
        return {"sigma": "\\sigma", "nu": "\\nu", "shape": "a"}[name]

    def square(self, symbol: str) -> str:
        return f"{{{symbol}}}^{{2}}" if "^" in symbol else f"{symbol}^{{2}}"

    def law(self, name: str, *args: str) -> str:
        head = name if name.startswith("\\") else f"\\mathrm{{{name}}}"
        return f"{head}\\left({',\\, '.join(args)}\\right)"

    def inverse(self, link: Link, eta: str) -> str:
        return self.law(link.latex, eta)

    def vector(self, parts: list[str], index: str = "") -> str:
        return f"({',\\, '.join(parts)})" + (f"_{{{index.strip('_')}}}" if index else "")

    def words(self, sentence: str) -> str:
        return f"\\text{{{sentence.replace('_', chr(92) + '_')}}}"

    def prior(self, parameter: Parameter, rule: str) -> str:
        unit = self.parameter("shape", parameter.owner) if parameter.prior.unit == "concentration" else "\\sigma"
        return parameter.prior.latex(self.words(rule.strip()) if rule else "", unit)


@dataclass(frozen=True)
class _Page:
    """What every line needs: the declaration, its layout, the renderer, and the scales of a fit."""

    model: Declaration
    layout: Layout
    style: _Plain
    scales: Scales | None = None

    def population(self, column: int) -> str:
        """The population's value of a coefficient, ``0`` where it has none."""
        name = self.layout.columns[column]
        return self.style.coefficient(name) if column in self.layout.population else "0"

    def above(self, i: int, column: int) -> str:
        """What the groups of level i scatter around."""
        j = self.layout.holder(self.layout.levels[i].parent, column)
        if j < 0:
            return self.population(column)
        return self.style.theta(self.layout.levels[j].name, self.layout.columns[column], "[j]")


def _lines(
    model: Declaration, layout: Layout | None, scales: Scales | None, style: _Plain
) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Laws and priors, and sentences about what is part of the model."""
    rules: dict[str, str] = {}
    if layout is None:
        layout, rules = _sketch(model)
    page = _Page(model, layout, style, scales)
    lines = _normal(page) if layout.normal_groups else _counts(page)
    for p in layout.parameters:
        sign = "=" if p.prior.known else "~"
        right = f"{p.prior.args[0]:g}" if sign == "=" else style.prior(p, rules.get(p.name, ""))
        where = standing.stands_at(model, layout, p, scales)
        lines.append((_symbol(page, p), sign, f"{right}{style.words(' ' + where)}" if where else right))
    return lines, standing.notes(layout)


def _symbol(page: _Page, p: Parameter) -> str:
    style = page.style
    if p.role in ("residual sd", "degrees of freedom", "dispersion"):
        return style.own(p.name)
    if p.role in ("coefficient", "log concentration") or not p.owner:
        return style.coefficient(p.name)
    if p.role == "group sd":
        return style.parameter("sd", p.owner, p.effect)
    precision = page.layout.law.precision
    return style.parameter({"correlation": "cor", "population mean": "mean", "concentration": precision}[p.role], p.owner)


# normal -----------------------------------------------------------------------------------------------------


def _normal(page: _Page) -> list[tuple[str, str, str]]:
    style, model = page.style, page.model
    law = page.layout.law
    predictor = _predictor(page) if law.link.identity else style.inverse(law.link, _predictor(page))
    outcome = law.shown(style, predictor, _columns(page))
    lines = [(style.column(model.outcome), "~", outcome)]
    for i in reversed(range(len(page.layout.levels))):
        lines += _level(page, i)
    return lines


def _columns(page: _Page) -> Columns:
    """Symbols of the columns beside the outcome."""
    model = page.model
    return Columns(*(page.style.column(name) if name else "" for name in (model.known_se, model.weights, model.trials, model.exposure)))


def _predictor(page: _Page) -> str:
    """Mean of a row: each column's coefficient at the finest level at which it varies."""
    layout, style, parts = page.layout, page.style, []
    for c, name in enumerate(layout.columns):
        leaves = layout.leaves(c)
        if leaves:
            terms = [style.theta(layout.levels[i].name, name, "[i]") for i in leaves]
        elif c in layout.population:
            terms = [style.coefficient(name)]
        else:
            continue
        value = " + ".join(terms)
        if len(leaves) > 1 and c in layout.population:
            many = len(leaves) - 1
            value += " - " + (
                style.product(str(many), style.coefficient(name)) if many > 1 else style.coefficient(name)
            )
        if name != "Intercept":
            value = (f"({value})" if len(terms) > 1 else value) + style.times + style.column(name)
        parts.append(value)
    return " + ".join(parts) or "0"


def _level(page: _Page, i: int) -> list[tuple[str, str, str]]:
    layout, style, level = page.layout, page.style, page.layout.levels[i]
    lines = []
    for block in level.blocks:
        effects = [level.effects[b] for b in block]
        names = [layout.columns[e] for e in effects]
        above = [page.above(i, e) for e in effects]
        finer = next(
            (v.name for k, v in enumerate(layout.levels) if v.pooling == "none" and layout.below(k, i)),
            None,
        )
        left = [style.theta(level.name, n, "_j") for n in names]
        if finer is not None:
            lines += [
                (
                    s,
                    "=",
                    style.words("mean of ")
                    + style.theta(finer, n, "")
                    + style.words(f" within {level.name} j"),
                )
                for s, n in zip(left, names, strict=True)
            ]
        elif level.pooling == "none":
            lines += [(s, "~", _unpooled(page, e)) for s, e in zip(left, effects, strict=True)]
        elif level.pooling == "complete":
            lines += [(s, "=", a) for s, a in zip(left, above, strict=True)]
        elif len(block) == 1:
            sd = style.square(style.parameter("sd", level.name, names[0]))
            lines.append((left[0], "~", style.law("N", above[0], sd)))
        else:
            whole = style.vector([style.theta(level.name, n, "") for n in names], "_j")
            sds = [style.parameter("sd", level.name, n) for n in names]
            spread = style.product(style.product("S", style.parameter("cor", level.name)), "S")
            law = style.law("N", style.vector(above), spread)
            lines.append((whole, "~", f"{law}, {style.gap}S = {style.law('diag', *sds)}"))
    return lines


def _unpooled(page: _Page, column: int) -> str:
    """Law of the coefficients of groups that are not pooled."""
    if page.layout.link.identity:
        return page.style.prior(Parameter("", prior=defaults.flat()), "")
    name, prior = page.layout.columns[column], defaults.UNPOOLED
    own = Parameter("", effect=name, prior=prior, core=prior)
    rule = standing.per_unit(page.model, page.layout, own) if page.scales is None else ""
    if page.scales is not None and column not in page.layout.origin:
        own = replace(own, prior=prior.times(1 / scale_of(page.layout, page.scales, column)))
    where = standing.stands_at(page.model, page.layout, own, page.scales)
    return page.style.prior(own, rule) + (page.style.words(f" {where}") if where else "")


# counts -----------------------------------------------------------------------------------------------------


def _counts(page: _Page) -> list[tuple[str, str, str]]:
    layout, style, model = page.layout, page.style, page.model
    tree, family = count_tree(layout), layout.law
    if not layout.levels:
        only = rate_name(layout) is not None
        rate = style.coefficient("Intercept") if only else _link(page, "", "i")
        return [(style.column(model.outcome), "~", family.shown_at_rate(style, rate, _columns(page)))]
    names = [v.name for v in layout.levels]
    last = len(names) - 1
    lines = [
        (style.column(model.outcome), "~", family.shown_at_rate(style, style.theta(names[last], "Intercept", "[i]"), _columns(page)))
    ]
    if last > tree.unit:
        shared = style.inverse(family.link, style.theta(names[tree.unit], "Intercept", "[j]"))
        lines.append((style.theta(names[last], "Intercept", "_j"), "=", shared))
    lines += _units(page, tree.unit, style.theta(names[tree.unit], "Intercept", "_j"), last > tree.unit)
    for i in reversed(range(tree.unit)):
        left, above = style.theta(names[i], "Intercept", "_j"), page.above(i, 0)
        if tree.word == "none":
            inner = style.theta(names[last], "Intercept", "")
            lines.append(
                (
                    style.inverse(family.link, left),
                    "=",
                    style.words("mean of ") + inner + style.words(f" within {names[i]} j"),
                )
            )
        elif i in tree.above:
            lines.append((left, "~", style.law("N", above, style.square(style.parameter("sd", names[i])))))
        elif rate_name(layout) is not None:
            lines.append((style.inverse(family.link, left), "=", style.parameter("mean", names[tree.unit])))
        else:
            lines.append((left, "=", above))
    if tree.above:
        top, name = names[tree.above[-1]], log_precision(layout)
        law = style.law("N", style.coefficient(name), style.square(style.parameter("sd", top, name)))
        lines.append((style.theta(top, name, "_j"), "~", law))
    return lines


def _units(page: _Page, unit: int, left: str, linked: bool) -> list[tuple[str, str, str]]:
    """Law of the groups that are the units of the likelihood, and their population's mean."""
    layout, style, level = page.layout, page.style, page.layout.levels[unit]
    tree, family = count_tree(layout), layout.law
    left = style.inverse(family.link, left) if linked else left
    above = style.theta(layout.levels[unit - 1].name, "Intercept", "[j]") if tree.above else ""
    mean, plain = style.parameter("mean", level.name), rate_name(layout) is not None
    if tree.word == "complete":
        return [(left, "=", mean if plain else _link(page, above, "j"))]
    if tree.word == "none":
        return [(left, "~", family.population.unpooled_shown(style))]
    mean = mean if plain else style.indexed(mean)
    if tree.above:
        size = style.law(
            "\\exp" if isinstance(style, _Latex) else "exp",
            style.theta(layout.levels[tree.above[-1]].name, log_precision(layout), "[j]"),
        )
    else:
        size = style.parameter(family.precision, level.name)
    return [(left, "~", family.population.shown(style, mean, size))] + ([] if plain else [(mean, "=", _link(page, above, "j"))])


def _link(page: _Page, above: str, index: str) -> str:
    """Inverse link of the coefficients; ``above`` stands for the intercept where groups above carry it."""
    layout, style = page.layout, page.style
    terms = [above] if above else []
    for c in layout.population:
        name = layout.columns[c]
        if name != "Intercept":
            where = style.column(name) if index == "i" else style.column_of_group(name)
            terms.append(style.coefficient(name) + style.times + where)
        elif not above:
            terms.append(style.coefficient(name))
    return style.inverse(layout.link, " + ".join(terms))


# a declaration without data ---------------------------------------------------------------------------------


def _sketch(model: Declaration) -> tuple[Layout, dict[str, str]]:
    """The layout that the formula alone implies, and the rules of priors that wait for data."""
    family, layout = lookup(model.family), declared_layout(model)
    wanted = data._wanted(family, layout)
    layout = replace(layout, origin=tuple(c for c in layout.population if layout.columns[c] == INTERCEPT))
    layout = replace(layout, moves=find_moves(layout, standing.unmeasured(layout), written(layout, model.prior)))
    named, rules, found = defaults.expand_joint(model.prior, family, [q.name for q in wanted]), {}, []
    for quantity in wanted:
        if quantity.name in named:
            found.append(Parameter.of(quantity, named[quantity.name]))
            continue
        prior = defaults.default_prior(quantity, layout)
        found.append(Parameter.of(quantity, prior, "default", prior))
        if rule := standing.per_unit(model, layout, found[-1]):
            rules[quantity.name] = rule
    return replace(layout, parameters=tuple(found)), rules
