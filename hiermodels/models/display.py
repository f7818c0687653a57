"""A model as mathematics: one line a law, one line a prior; as plain text and as LaTeX.

Group values are written whole, as they are reported: ``theta_school_j`` is the value of school j,
``theta_school[i]`` the value of the school to which row i (or group i of a finer level) belongs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hiermodels.families.rows import Columns
from hiermodels.models import defaults, standing
from hiermodels.models.counts import count_tree, log_precision, rate_name
from hiermodels.models.declaration import Declaration
from hiermodels.models.layout import Layout, Parameter
from hiermodels.models.moves import scale_of
from hiermodels.models.scales import Scales
from hiermodels.models.sketch import sketch
from hiermodels.models.statements import Averaged, Free, Inherited, Rates, Scattered, Shared, Statement, statements
from hiermodels.models.styles import Latex, Plain
from hiermodels.quantities import INTERCEPT

__all__ = ["latex", "text"]

Line = tuple[str, str, str]
"""Left side, sign, right side."""


def text(model: Declaration, layout: Layout | None = None, scales: Scales | None = None) -> str:
    """The model as plain text, a line a law and a line a prior.

    Parameters
    ----------
    model : Declaration
    layout : Layout, optional
        Of a bound problem: then the priors in use (defaults with their numbers) and the pooling are shown. Without it
        defaults that are scaled to predictors, weights or known variances are shown by their rule, and every level is
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
    lines, words = _lines(model, layout, scales, Plain())
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
    style = Latex()
    lines, words = _lines(model, layout, scales, style)
    rows = " \\\\\n".join([*(f"{a} &{sign[s]} {b}" for a, s, b in lines), *(f"&{style.words(w)}" for w in words)])
    return f"\\begin{{aligned}}\n{rows}\n\\end{{aligned}}"


@dataclass(frozen=True)
class _Page:
    """What every line needs: the declaration, its layout, the renderer, and the scales of a fit."""

    model: Declaration
    layout: Layout
    style: Plain
    scales: Scales | None = None

    def above(self, i: int, column: str) -> str:
        """What the groups of level i scatter around, ``0`` where the population has no value of the coefficient."""
        layout = self.layout
        c = layout.columns.index(column) if column in layout.columns else -1
        j = layout.holder(layout.levels[i].parent, c)
        if j >= 0:
            return self.style.theta(layout.levels[j].name, column, "[j]")
        return self.style.coefficient(column) if c < 0 or c in layout.population else "0"


def _lines(
    model: Declaration, layout: Layout | None, scales: Scales | None, style: Plain
) -> tuple[list[Line], list[str]]:
    """Laws and priors, and sentences about what is part of the model."""
    rules: dict[str, str] = {}
    if layout is None:
        layout, rules = sketch(model)
    page = _Page(model, layout, style, scales)
    lines = [_outcome(page)]
    for statement in sorted(statements(layout), key=lambda s: (s.columns == (log_precision(layout),), -s.level)):
        lines += _said(page, statement)
    for p in layout.parameters:
        sign = "=" if p.prior.known else "~"
        right = f"{p.prior.args[0]:g}" if sign == "=" else style.prior(p, rules.get(p.name, ""))
        where = standing.stands_at(model, layout, p, scales)
        lines.append((_symbol(page, p), sign, f"{right}{style.words(' ' + where)}" if where else right))
    return lines, standing.notes(layout)


def _symbol(page: _Page, p: Parameter) -> str:
    style = page.style
    if own := next((q for q in page.layout.law.own if q.name == p.name and q.role == p.role), None):
        return style.own(own)
    if p.role in ("coefficient", "log concentration") or not p.owner:
        return style.coefficient(p.name)
    if p.role == "group sd":
        return style.parameter("sd", p.owner, p.effect)
    precision = page.layout.law.precision
    return style.parameter(
        {"correlation": "cor", "population mean": "mean", "concentration": precision}[p.role], p.owner
    )


# laws -------------------------------------------------------------------------------------------------------


def _outcome(page: _Page) -> Line:
    """Law of a row's outcome around its linear predictor, or at the rate of its group."""
    layout, style, law = page.layout, page.style, page.layout.law
    if layout.normal_groups:
        predictor = _predictor(page) if law.link.identity else style.inverse(law.link, _predictor(page))
        return style.column(page.model.outcome), "~", law.shown(style, predictor, _columns(page))
    if layout.levels:
        rate = style.theta(layout.levels[-1].name, INTERCEPT, "[i]")
    else:
        rate = style.coefficient(INTERCEPT) if rate_name(layout) is not None else _link(page, "", "i")
    return style.column(page.model.outcome), "~", law.shown_at_rate(style, rate, _columns(page))


def _said(page: _Page, statement: Statement) -> list[Line]:
    """Lines of one statement about the groups of a level."""
    layout, style, i = page.layout, page.style, statement.level
    left = [style.theta(statement.owner, column, "_j") for column in statement.columns]
    match statement:
        case Scattered():
            return [_scattered(page, statement)]
        case Free():
            return [
                (s, "~", _unpooled(page, layout.columns.index(c))) for s, c in zip(left, statement.columns, strict=True)
            ]
        case Shared() if not layout.normal_groups and rate_name(layout) is not None:
            return [
                (
                    style.inverse(layout.link, left[0]),
                    "=",
                    style.parameter("mean", layout.levels[count_tree(layout).unit].name),
                )
            ]
        case Shared():
            return [(s, "=", page.above(i, c)) for s, c in zip(left, statement.columns, strict=True)]
        case Averaged():
            return _averaged(page, statement)
        case Rates():
            return _rates(page, statement)
        case Inherited() if i == len(layout.levels) - 1 > (unit := count_tree(layout).unit):
            return [(left[0], "=", style.inverse(layout.link, style.theta(layout.levels[unit].name, INTERCEPT, "[j]")))]
    return []


def _scattered(page: _Page, statement: Scattered) -> Line:
    style, owner, names = page.style, statement.owner, statement.columns
    above = [page.above(statement.level, column) for column in names]
    if len(names) == 1:
        return (
            style.theta(owner, names[0], "_j"),
            "~",
            style.law("N", above[0], style.square(style.parameter("sd", owner, names[0]))),
        )
    whole = style.vector([style.theta(owner, n, "") for n in names], "_j")
    spread = style.product(style.product("S", style.parameter("cor", owner)), "S")
    sds = style.law("diag", *(style.parameter("sd", owner, n) for n in names))
    return whole, "~", f"{style.law('N', style.vector(above), spread)}, {style.gap}S = {sds}"


def _averaged(page: _Page, statement: Averaged) -> list[Line]:
    """Means of the groups that are not pooled; of rates where these are on their natural scale."""
    layout, style = page.layout, page.style
    unpooled = [v.name for k, v in enumerate(layout.levels) if v.pooling == "none" and layout.below(k, statement.level)]
    finer, lines = unpooled[0] if layout.normal_groups else layout.levels[-1].name, []
    for column in statement.columns:
        left, within = style.theta(statement.owner, column, "_j"), style.words(f" within {statement.owner} j")
        left = left if layout.normal_groups else style.inverse(layout.link, left)
        lines.append((left, "=", style.words("mean of ") + style.theta(finer, column, "") + within))
    return lines


def _columns(page: _Page) -> Columns:
    """Symbols of the columns beside the outcome."""
    model = page.model
    return Columns(
        *(
            page.style.column(name) if name else ""
            for name in (model.known_se, model.weights, model.trials, model.exposure)
        )
    )


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


def _unpooled(page: _Page, column: int) -> str:
    """Law of the coefficients of groups that are not pooled."""
    if page.layout.law.local:
        return page.style.prior(Parameter("", prior=defaults.flat()), "")
    name, prior = page.layout.columns[column], defaults.UNPOOLED
    own = Parameter("", effect=name, prior=prior, core=prior)
    rule = standing.per_unit(page.model, page.layout, own) if page.scales is None else ""
    if page.scales is not None and column not in page.layout.origin:
        own = replace(own, prior=prior.times(1 / scale_of(page.layout, page.scales, column)))
    where = standing.stands_at(page.model, page.layout, own, page.scales)
    return page.style.prior(own, rule) + (page.style.words(f" {where}") if where else "")


def _rates(page: _Page, statement: Rates) -> list[Line]:
    """Law of the groups that are the units of the likelihood, and their population's mean."""
    layout, style, i, owner = page.layout, page.style, statement.level, statement.owner
    family, plain = layout.law, rate_name(layout) is not None
    left = style.theta(owner, INTERCEPT, "_j")
    left = left if i == len(layout.levels) - 1 else style.inverse(family.link, left)
    if statement.pooling == "none":
        return [(left, "~", family.population.unpooled_shown(style, family.unpooled))]
    tree = count_tree(layout)
    above = style.theta(layout.levels[i - 1].name, INTERCEPT, "[j]") if tree.above else ""
    mean = style.parameter("mean", owner)
    if statement.pooling == "complete":
        return [(left, "=", mean if plain else _link(page, above, "j"))]
    mean = mean if plain else style.indexed(mean)
    if tree.above:
        size = style.law(style.exp, style.theta(layout.levels[tree.above[-1]].name, log_precision(layout), "[j]"))
    else:
        size = style.parameter(family.precision, owner)
    law = (left, "~", family.population.shown(style, mean, size))
    return [law] if plain else [law, (mean, "=", _link(page, above, "j"))]


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
