"""Formulas: ``score ~ 1 + treated + (1 | school/classroom)`` into an outcome, predictors and group terms.

A grammar of its own, in which every token is used or refused at its place, and nothing can run code::

    formula  =  name ~ sum                        sum      =  [-] product { (+ | -) product }
    product  =  crossing { (* | /) crossing }     crossing =  power { : power }
    power    =  item [ (** | ^) whole number ]    item     =  0 | 1 | name | call | ( sum ) | ( sum bar path )
    path     =  name { (: | /) name }             bar      =  "|" or "||", and "-" takes terms away

As in R, ``a * b`` is ``a + b + a:b``, ``a / b`` is ``a + a:b``, ``(a + b)**2`` all terms and products of two of them. A
name that is no plain word stands in backticks. The design matrix is made by `hiermodels.models.predictors`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hiermodels.models.expressions import Factor, plain
from hiermodels.models.factors import read_factor
from hiermodels.models.terms import Formula, GroupTerm, Term, Terms, term_name
from hiermodels.models.tokens import Token, Tokens, shortened

__all__ = ["MOST_TERMS", "parse_formula", "parse_terms"]

MOST_TERMS = 1000
"""Terms that a formula may expand to."""


@dataclass
class _Sum:
    """Terms under way: what was said of the intercept, and at which number."""

    terms: dict[frozenset[Factor], Term] = field(default_factory=dict)
    intercept: bool | None = None
    number: Token | None = None
    groups: list[GroupTerm] = field(default_factory=list)


class _Reader(Tokens):
    """A recursive descent over the tokens of one formula."""

    # the formula ------------------------------------------------------------------------------------------

    def formula(self) -> Formula:
        outcome = self._outcome()
        if self.next.kind == "end":
            self.refuse("nothing right of ~", "write e.g. y ~ 1 + (1 | group)")
        found = self.sum()
        if self.next.kind != "end":
            self.expect_operator("")
        names = [(g.name, g.effects) for g in found.groups]
        if len(set(names)) < len(names):
            raise ValueError(f"formula {shortened(self.text)}: a group term stands twice; write each group term once")
        formula = Formula(self.text, outcome, _terms(found), tuple(found.groups))
        if outcome in (*formula.predictors, *(c for g in found.groups for c in g.factors)):
            raise ValueError(
                f"formula {shortened(self.text)}: the outcome {shortened(outcome)} stands right of ~ too; drop it there"
            )
        return formula

    def _outcome(self) -> str:
        signs = [t for t in self.tokens if t.kind == "sign" and t.text == "~"]
        if len(signs) != 1:
            raise ValueError(
                f"formula {shortened(self.text)}: expected one ~ between outcome and terms, found {len(signs)}; "
                f"write e.g. effect ~ 1 + (1 | school)"
            )
        left = self.text[: signs[0].at].strip()
        if (
            self.next.kind not in ("name", "quote")
            or self.tokens[1] is not signs[0]
            or not plain(self.next.text).strip()
        ):
            raise ValueError(
                f"formula {shortened(self.text)}: outcome {shortened(left)} is not a column name; write one column "
                f"name left of ~ "
                f"(in backticks where it is no plain word), and compute a transformed outcome as a column first"
            )
        self.place = 2
        return plain(self.tokens[0].text)

    def sum(self) -> _Sum:
        found, sign = _Sum(), self.take("-", "+")
        if self.next.kind == "end" or self.next.text in (")", "|", "||"):
            if sign is None and self.next.text in ("|", "||"):
                self.refuse("a group term is incomplete", "write (1 | school)")
            self.refuse("an empty term", "write e.g. y ~ 1 + x + (1 | group)")
        while True:
            if self.next.kind == "sign" and self.next.text == "-" and sign is not None and sign.text == "+":
                sign = self.take("-")
            start = self.next
            if start.text in ("+", "-") and start.kind == "sign":
                self.refuse(f"an empty term beside a {start.text}", "write e.g. y ~ 1 + x + (1 | group)")
            self._join(found, self.product(), sign is not None and sign.text == "-", start)
            self._bound(len(found.terms), start)
            sign = self.take("+", "-")
            if sign is None:
                return found

    def _join(self, found: _Sum, more: _Sum, less: bool, start: Token) -> None:
        """Add terms to a sum, or take them away."""
        if more.intercept is not None:
            found.intercept, found.number = more.intercept != less, more.number
        if not less:
            found.terms = _union(found.terms, more.terms)
            found.groups += more.groups
            return
        if more.groups:
            self.refuse("a group term is taken away", "leave it out instead", start)
        for key, term in more.terms.items():
            if key not in found.terms:
                way = "drop the -, or put a name with a dash in backticks"
                self.refuse(f"there is no term {term_name(term)[:60]!r} to take away", way, start)
            del found.terms[key]

    def _bound(self, count: int, token: Token) -> None:
        if count > MOST_TERMS:
            self.refuse(f"more than {MOST_TERMS} terms", "name fewer terms, or a lower power", token)

    def product(self) -> _Sum:
        found = self.crossing()
        while (sign := self.take("*", "/")) is not None:
            start = self.next
            right = self.crossing()
            self._multiply(found, right, sign, start)
            left, extra = found, right.terms
            if sign.text == "/":
                whole = dict.fromkeys(factor for term in found.terms.values() for factor in term)
                left, extra = _Sum({frozenset(whole): tuple(whole)}), {}
            found = _Sum(_union(found.terms, extra, self._products(left, right, sign)))
            self._bound(len(found.terms), sign)
        return found

    def crossing(self) -> _Sum:
        found = self.power()
        while (sign := self.take(":")) is not None:
            start = self.next
            right = self.power()
            self._multiply(found, right, sign, start)
            found = _Sum(self._products(found, right, sign))
        return found

    def _multiply(self, left: _Sum, right: _Sum, sign: Token, start: Token) -> None:
        """Refuse what has no product: numbers, group terms, a term by itself."""
        for side in (left, right):
            if side.number is not None:
                number, way = side.number, "a number may stand alone as 0 or 1"
                self.refuse(
                    f"a number beside {sign.text!r}",
                    f"{way}; compute with numbers inside I(...), as in I(2 * x)",
                    number,
                )
            if side.groups:
                self.refuse(f"a group term beside {sign.text!r}", "add group terms with +", sign)
        if len(left.terms) == len(right.terms) == 1 and left.terms.keys() == right.terms.keys():
            name = ":".join(map(str, next(iter(left.terms.values()))))
            self.refuse(
                f"{shortened(plain(name), 60)} times itself is no new term",
                f"write it once, or I({name[:60]}**2) for a square",
                start,
            )

    def _products(self, left: _Sum, right: _Sum, sign: Token) -> dict[frozenset[Factor], Term]:
        found: dict[frozenset[Factor], Term] = {}
        for a, first in left.terms.items():
            for b, second in right.terms.items():
                found.setdefault(a | b, (*first, *(f for f in second if f not in a)))
            self._bound(len(found), sign)
        return found

    def power(self) -> _Sum:
        found = self.item()
        sign = self.take("**", "^")
        if sign is None:
            return found
        number = self.next
        if number.kind != "number" or not number.text.isdigit() or int(number.text[:9]) < 1:
            self.refuse(
                f"expected a whole number after {sign.text}, found {shortened(number.text, 40)}",
                "write e.g. (a + b)**2",
            )
        self.place += 1
        if found.number is not None or found.groups:
            self.refuse("no power of a number or group term", "powers are of sums of columns, as in (a + b)**2", sign)
        if len(found.terms) < 2:
            name = ":".join(map(str, next(iter(found.terms.values()))))
            self.refuse(
                f"a power of {shortened(plain(name), 60)} alone is no new term",
                f"write I({name[:60]}**{number.text[:9]})",
                sign,
            )
        base, terms = found, found.terms
        for _ in range(int(number.text[:9]) - 1):
            wider = _union(terms, self._products(_Sum(terms), base, sign))
            self._bound(len(wider), sign)
            if len(wider) == len(terms):
                break
            terms = wider
        return _Sum(terms)

    def item(self) -> _Sum:
        token = self.next
        if token.kind == "number":
            if token.text not in ("0", "1"):
                self.refuse(
                    f"a number {token.text[:40]}",
                    "a number may stand alone as 0 or 1; compute with numbers inside I(...)",
                )
            self.place += 1
            return _Sum(intercept=token.text == "1", number=token)
        if token.kind in ("name", "quote"):
            factor = read_factor(self)
            return _Sum({frozenset([factor]): (factor,)})
        if self.take("("):
            with self:
                found = self.sum()
                bar = self.take("|", "||")
                if bar is not None:
                    found = self._group(found, bar)
            if self.take(")") is None:
                self.expect_operator(" or )")
            return found
        self.no_term()

    # group terms ------------------------------------------------------------------------------------------

    def _group(self, effects: _Sum, bar: Token) -> _Sum:
        if effects.groups:
            self.refuse("a group term inside another", "write the group terms beside each other", bar)
        if self.next.text == ")":
            self.refuse("a group term is incomplete", "write (1 | school)")
        start = self.next
        path: list[tuple[str, ...]] = [(self.name("a grouping's name"),)]
        while (sign := self.take(":", "/")) is not None:
            name = self.name("a grouping's name")
            path = [*path, (*path[-1], name)] if sign.text == "/" else [*path[:-1], (*path[-1], name)]
        if self.next.text in ("|", "||"):
            self.refuse("a group term has more than one bar", "write (1 | school) or (1 + x || school)")
        if self.next.text != ")" and self.next.kind == "sign":
            self.refuse("the grouping is not a name", "write (1 | school), (1 | school/classroom) or (1 | a:b)", start)
        for factors in path:
            if len(set(factors)) < len(factors):
                self.refuse(
                    f"the grouping {':'.join(factors)[:60]!r} names a column twice", "name each column once", start
                )
        terms = _terms(effects)
        if not terms.names:
            self.refuse("nothing varies by the group", "write (1 | school) or (0 + x | school)", bar)
        return _Sum(groups=[GroupTerm(terms, factors, bar.text == "|") for factors in path])


def _terms(found: _Sum) -> Terms:
    return Terms(found.intercept is not False, tuple(found.terms.values()))


def _union(*sums: dict[frozenset[Factor], Term]) -> dict[frozenset[Factor], Term]:
    """Terms of several sums, each as it was first written."""
    found: dict[frozenset[Factor], Term] = {}
    for terms in sums:
        for key, term in terms.items():
            found.setdefault(key, term)
    return found


def parse_formula(text: str) -> Formula:
    """Read a formula without looking at data.

    Parameters
    ----------
    text : str
        ``outcome ~ population terms + (effects | group) + ...``; ``a/b`` means nesting: groups a and a:b. A name that
        is no plain word stands in backticks.

    Raises
    ------
    ValueError
        Naming the formula, the place, what was found there and what to write.

    Examples
    --------
    >>> [g.name for g in parse_formula("score ~ 1 + (1 | school/classroom)").groups]
    ['school', 'school:classroom']
    >>> str(parse_formula("y ~ x * `body mass` - 1").population)
    '0 + x + `body mass` + x:`body mass`'
    """
    if not isinstance(text, str):
        raise ValueError(
            f"formula {shortened(text)}: expected one ~ between outcome and terms; write e.g. effect ~ 1 + (1 | school)"
        )
    return _Reader(text).formula()


def parse_terms(text: str) -> Terms:
    """Read population-level terms alone.

    Examples
    --------
    >>> parse_terms("(x + z)**2").names
    ('Intercept', 'x', 'z', 'x:z')
    """
    return parse_formula(f"y ~ {text}").population
