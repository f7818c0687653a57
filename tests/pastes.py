"""What people paste: tables and configs as spreadsheets, editors, printers and other programs write them.

Each paste has a verdict. ``same``: it is read, and means what the original means. ``told``: it may be read as the same,
or is refused in words; anything else would be silently wrong. ``refused``: it cannot mean anything.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd

Cells = list[list[str]]

EVERYWHERE: dict[str, tuple[str, Callable[[Cells], str | bytes]]] = {}
"""Ways to write a whole file."""


def _join(cells: Cells, mark: str = ",", end: str = "\n", before: str = "", after: str = "") -> str:
    return before + end.join(mark.join(row) for row in cells) + end + after


def _quoted(cells: Cells, mark: str = ",", q: str = '"') -> str:
    return _join([[f"{q}{c}{q}" for c in row] for row in cells], mark)


def _comma(cells: Cells) -> Cells:
    return [
        cells[0],
        *(
            [c.replace(".", ",") if c.replace(".", "").replace("-", "").isdigit() else c for c in row]
            for row in cells[1:]
        ),
    ]


def _way(name: str, verdict: str, write: Callable[[Cells], str | bytes]) -> None:
    EVERYWHERE[name] = (verdict, write)


for _name, _verdict, _write in [
    ("byte order mark", "same", lambda c: _join(c).encode("utf-8-sig")),
    ("windows line ends", "same", lambda c: _join(c, end="\r\n")),
    ("old Mac line ends", "told", lambda c: _join(c, end="\r")),
    ("mixed line ends", "same", lambda c: _join(c[:3], end="\r\n") + _join(c[3:])),
    ("no end of the last line", "same", lambda c: _join(c).rstrip("\n")),
    ("tabs", "same", lambda c: _join(c, "\t")),
    ("semicolons", "same", lambda c: _join(c, ";")),
    ("bars", "same", lambda c: _join(c, "|")),
    ("semicolons and decimal commas", "told", lambda c: _join(_comma(c), ";")),
    ("tabs and decimal commas", "told", lambda c: _join(_comma(c), "\t")),
    ("commas and decimal commas in quotes", "told", lambda c: _quoted(_comma(c))),
    ("commas and bare decimal commas", "told", lambda c: _join(_comma(c))),
    ("everything in quotes", "same", _quoted),
    ("everything in quotes, tabs", "same", lambda c: _quoted(c, "\t")),
    ("single quotes", "told", lambda c: _quoted(c, q="'")),
    ("typographic quotes", "told", lambda c: _join([[f"“{x}”" for x in r] for r in c])),
    ("Excel's sep= line", "same", lambda c: "sep=;\n" + _join(c, ";")),
    ("Excel's sep= line with commas", "same", lambda c: "sep=,\n" + _join(c)),
    ("trailing commas", "told", lambda c: _join([[*r, ""] for r in c])),
    ("trailing commas below the header", "refused", lambda c: _join([c[0], *([*r, ""] for r in c[1:])])),
    ("three empty columns of a spreadsheet", "told", lambda c: _join([[*r, "", "", ""] for r in c])),
    ("empty rows of a spreadsheet", "told", lambda c: _join([*c, *[[""] * len(c[0])] * 3])),
    ("blank lines between", "same", lambda c: _join(c, end="\n\n")),
    ("blank lines above", "same", lambda c: "\n\n" + _join(c)),
    ("blank lines below", "same", lambda c: _join(c, after="\n\n\n")),
    ("lines of blanks", "told", lambda c: _join(c, end="\n   \n")),
    ("a comment above", "same", lambda c: "# from a colleague\n" + _join(c)),
    ("a comment below", "told", lambda c: _join(c, after="# from a colleague\n")),
    ("a comment between", "told", lambda c: _join(c[:4]) + "# checked\n" + _join(c[4:])),
    ("a title above", "refused", lambda c: "Table 1. Results\n" + _join(c)),
    ("a source below", "refused", lambda c: _join(c, after="Source: the ministry\n")),
    ("blanks after commas", "told", lambda c: _join(c, ", ")),
    ("blanks before commas", "told", lambda c: _join(c, " ,")),
    ("blanks around", "told", lambda c: _join([[f"  {x} " for x in r] for r in c])),
    ("columns of a printer", "told", lambda c: _join([[x.ljust(12) for x in r] for r in c], "")),
    ("one blank between", "refused", lambda c: _join(c, " ")),
    (
        "markdown",
        "told",
        lambda c: "\n".join("| " + " | ".join(r) + " |" for r in [c[0], ["---"] * len(c[0]), *c[1:]]) + "\n",
    ),
    ("JSON", "refused", lambda c: str([dict(zip(c[0], r, strict=True)) for r in c[1:]])),
    (
        "HTML",
        "refused",
        lambda c: "<table>" + "".join("<tr>" + "".join(f"<td>{x}</td>" for x in r) + "</tr>" for r in c) + "</table>",
    ),
    ("LaTeX", "refused", lambda c: " \\\\\n".join(" & ".join(r) for r in c)),
    ("UTF-16", "refused", lambda c: _join(c).encode("utf-16")),
    ("UTF-16 without mark", "refused", lambda c: _join(c).encode("utf-16-le")),
    ("EBCDIC", "refused", lambda c: _join(c).encode("cp500")),
    ("a NUL at the end", "refused", lambda c: _join(c).encode() + b"\0"),
    ("Ctrl-Z at the end", "told", lambda c: _join(c).encode() + b"\x1a"),
    ("a form feed", "told", lambda c: _join(c[:4]) + "\f" + _join(c[4:])),
    ("the header twice", "refused", lambda c: _join([*c[:4], c[0], *c[4:]])),
    ("units below the header", "refused", lambda c: _join([c[0], ["(unit)"] * len(c[0]), *c[1:]])),
    ("no header", "refused", lambda c: _join(c[1:])),
    ("the header alone", "refused", lambda c: _join(c[:1])),
    ("nothing", "refused", lambda c: ""),
    ("line ends alone", "refused", lambda c: "\n\n\n"),
    ("transposed", "refused", lambda c: _join([list(r) for r in zip(*c, strict=True)])),
    ("columns in another order", "same", lambda c: _join([r[::-1] for r in c])),
    ("R's row names", "refused", lambda c: _join([c[0], *([str(i), *r] for i, r in enumerate(c[1:], 1))])),
    ("pandas' index", "same", lambda c: _join([["", *c[0]], *([str(i), *r] for i, r in enumerate(c[1:]))])),
    ("a column of remarks", "same", lambda c: _join([[*c[0], "remark"], *([*r, '"well, yes"'] for r in c[1:])])),
    ("remarks with commas", "refused", lambda c: _join([[*c[0], "remark"], *([*r, "well, yes"] for r in c[1:])])),
    ("remarks with line ends", "same", lambda c: _join([[*c[0], "remark"], *([*r, '"two\nlines"'] for r in c[1:])])),
    ("an open quote", "refused", lambda c: _join([*c[:3], ['"' + c[3][0], *c[3][1:]], *c[4:]])),
    ("a quote within", "told", lambda c: _join([[*c[0], "n_b"], *([*r, '5"'] for r in c[1:])])),
    ("a column twice", "refused", lambda c: _join([[*r, r[-1]] for r in c])),
    ("names in capitals", "refused", lambda c: _join([[x.upper() for x in c[0]], *c[1:]])),
    ("names with blanks around", "told", lambda c: _join([[f" {x} " for x in c[0]], *c[1:]])),
    ("names in quotes", "same", lambda c: _join([[f'"{x}"' for x in c[0]], *c[1:]])),
    ("names with a no-break blank", "told", lambda c: _join([[f"{x}\u00a0" for x in c[0]], *c[1:]])),
    ("names with a zero-width blank", "told", lambda c: _join([[f"{x}\u200b" for x in c[0]], *c[1:]])),
    (
        "full-width names",
        "told",
        lambda c: _join([["".join(chr(ord(k) + 0xFEE0) if k.isalpha() else k for k in x) for x in c[0]], *c[1:]]),
    ),
    ("names with units", "refused", lambda c: _join([[f"{x} (pts)" for x in c[0]], *c[1:]])),
    ("bold names", "refused", lambda c: _join([[f"**{x}**" for x in c[0]], *c[1:]])),
    ("a second mark of order", "told", lambda c: b"\xef\xbb\xbf" + _join(c).encode("utf-8-sig")),
]:
    _way(_name, _verdict, _write)

NUMBERS: dict[str, tuple[str, Callable[[str], str]]] = {
    "a plus": ("told", lambda x: f"+{x}"),
    "Unicode's minus": ("told", lambda x: f"\u2212{x}"),
    "an en dash": ("refused", lambda x: f"\u2013{x}"),
    "a minus behind": ("refused", lambda x: f"{x}-"),
    "in brackets": ("refused", lambda x: f"({x})"),
    "a decimal point": ("told", lambda x: x if "." in x else f"{x}."),
    "a zero behind": ("told", lambda x: f"{float(x):.4f}"),
    "scientific": ("told", lambda x: f"{float(x):.10e}"),
    "scientific, capital": ("told", lambda x: f"{float(x):.10E}"),
    "Fortran's D": ("refused", lambda x: f"{x}D0"),
    "times ten to": ("refused", lambda x: f"{x}×10^0"),
    "blanks around": ("told", lambda x: f"  {x}  "),
    "a no-break blank": ("told", lambda x: f"\u00a0{x}"),
    "a thin blank behind": ("told", lambda x: f"{x}\u2009"),
    "a zero-width blank": ("told", lambda x: f"{x}\u200b"),
    "a tab": ("told", lambda x: f'"\t{x}"'),
    "a zero in front": ("told", lambda x: f"0{x}"),
    "per cent": ("refused", lambda x: f"{x}%"),
    "dollars": ("refused", lambda x: f"${x}"),
    "euros": ("refused", lambda x: f"{x} €"),
    "a unit": ("refused", lambda x: f"{x} kg"),
    "a footnote": ("refused", lambda x: f"{x}*"),
    "a superscript": ("refused", lambda x: f"{x}²"),
    "about": ("refused", lambda x: f"~{x}"),
    "less than": ("refused", lambda x: f"<{x}"),
    "plus or minus": ("refused", lambda x: f"{x} ± 1"),
    "a question mark": ("refused", lambda x: f"{x}?"),
    "Excel's text": ("refused", lambda x: f'"=""{x}"""'),
    "a formula": ("refused", lambda x: f"={x}"),
    "an apostrophe": ("refused", lambda x: f"'{x}"),
    "in quotes": ("told", lambda x: f'"{x}"'),
    "quotes doubled": ("refused", lambda x: f'"""{x}"""'),
    "with a comma behind it, quoted": ("refused", lambda x: f'"{x},"'),
    "thousands with a comma": ("refused", lambda x: f'"{x},000"'),
    "thousands twice": ("refused", lambda x: f'"{x},000,000"'),
    "thousands with a blank": ("refused", lambda x: f"{x} 000"),
    "thousands with an apostrophe": ("refused", lambda x: f"{x}'000"),
    "thousands with an underscore": ("refused", lambda x: f"{x}_000"),
    "Indian digits": ("told", lambda x: x.translate(str.maketrans("0123456789", "०१२३४५६७८९"))),
    "Arabic digits": ("told", lambda x: x.translate(str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩"))),
    "full-width digits": ("told", lambda x: x.translate(str.maketrans("0123456789", "０１２３４５６７８９"))),
    "hexadecimal": ("refused", lambda x: f"0x{x}"),
    "an octal": ("refused", lambda x: f"0o{x}"),
    "a long": ("refused", lambda x: f"{x}L"),
    "a float of C": ("refused", lambda x: f"{x}f"),
    "imaginary": ("refused", lambda x: f"{x}j"),
    "a fraction": ("refused", lambda x: f"{x}/1"),
    "a ratio": ("refused", lambda x: f"{x}:1"),
    "a range": ("refused", lambda x: f"{x}-{x}"),
    "a time": ("refused", lambda x: f"{x}:00"),
    "a date": ("refused", lambda x: "2-Mar"),
    "an ISO date": ("refused", lambda x: "2020-03-02"),
    "a stamp": ("refused", lambda x: "2020-03-02T00:00:00Z"),
    "a list": ("refused", lambda x: f'"[{x}]"'),
    "a word": ("refused", lambda x: "twenty"),
    "nothing": ("refused", lambda x: ""),
    "NA": ("refused", lambda x: "NA"),
    "n/a": ("refused", lambda x: "n/a"),
    "NaN": ("refused", lambda x: "NaN"),
    "NULL": ("refused", lambda x: "NULL"),
    "a dot": ("refused", lambda x: "."),
    "a dash": ("refused", lambda x: "-"),
    "an em dash": ("refused", lambda x: "—"),
    "a query": ("refused", lambda x: "?"),
    "missing": ("refused", lambda x: "missing"),
    "#DIV/0!": ("refused", lambda x: "#DIV/0!"),
    "#REF!": ("refused", lambda x: "#REF!"),
    "#VALUE!": ("refused", lambda x: "#VALUE!"),
    "#NUM!": ("refused", lambda x: "#NUM!"),
    "1.#INF": ("refused", lambda x: "1.#INF"),
    "inf": ("refused", lambda x: "inf"),
    "minus infinity": ("refused", lambda x: "-Infinity"),
    "beyond floats": ("refused", lambda x: "1e400"),
    "true": ("refused", lambda x: "true"),
    "yes": ("refused", lambda x: "yes"),
    "a bracket": ("refused", lambda x: f"[{x}"),
}
"""Ways to write one number of a column."""

LABELS: dict[str, tuple[str, Callable[[str], str]]] = {
    "in quotes": ("same", lambda x: f'"{x}"'),
    "a comma in it": ("apart", lambda x: f'"{x}, north"'),
    "a quote in it": ("apart", lambda x: f'"{x} ""N"""'),
    "a line end in it": ("apart", lambda x: f'"{x}\nN"'),
    "an equals sign": ("apart", lambda x: f"={x}"),
    "an at sign": ("apart", lambda x: f"@{x}"),
    "an umlaut": ("apart", lambda x: f"{x}ü"),
    "a combining umlaut": ("apart", lambda x: f"{x}u\u0308"),
    "Greek": ("apart", lambda x: f"{x}α"),
    "an emoji": ("apart", lambda x: f"{x}😀"),
    "a colon": ("apart", lambda x: f"{x}:N"),
    "a backslash": ("apart", lambda x: f"{x}\\n"),
    "a dollar": ("apart", lambda x: f"${x}$"),
    "an escape": ("apart", lambda x: f"{x}\x1b[31m"),
    "right to left": ("apart", lambda x: f"{x}\u202e"),
    "a hash": ("apart", lambda x: f"{x}#1"),
    "a zero in front": ("apart", lambda x: f"0{x}"),
    "a decimal": ("apart", lambda x: f"{x}.0"),
    "a date": ("apart", lambda x: "2020-01-01"),
    "true": ("apart", lambda x: "true"),
    "a number's word": ("apart", lambda x: "1e5"),
    "NA": ("refused", lambda x: "NA"),
    "None": ("refused", lambda x: "None"),
    "nothing": ("refused", lambda x: ""),
    "null": ("refused", lambda x: "null"),
    "a dash": ("apart", lambda x: "-"),
    "a dot": ("apart", lambda x: "."),
    "a blank": ("apart", lambda x: " "),
    "sixty characters": ("apart", lambda x: "x" * 60),
    "six hundred": ("apart", lambda x: "x" * 600),
    "a reserved word": ("apart", lambda x: "[mean]"),
    "chain": ("apart", lambda x: "chain"),
    "a tilde": ("apart", lambda x: "~"),
    "braces": ("apart", lambda x: "{x}"),
    "markup": ("apart", lambda x: "<b>x</b>"),
}
"""Ways to write the label of one row: ``apart`` is a group of its own, by exactly this name."""


def table_pastes(
    text: str, numbers: list[str], labels: list[str]
) -> Iterator[tuple[str, str, str | bytes, tuple[int, str, str] | None]]:
    """Name, verdict, content, and for a changed label its row, column and text."""
    cells = [line.split(",") for line in text.splitlines() if not line.startswith("#")]
    for name, (verdict, write) in EVERYWHERE.items():
        yield name, verdict, write(cells), None
    for columns, ways in ((numbers, NUMBERS), (labels, LABELS)):
        for column in columns:
            at = cells[0].index(column)
            for name, (verdict, write) in ways.items():
                new = [list(row) for row in cells]
                new[2][at] = write(cells[2][at])
                told = (
                    next(
                        iter(
                            pd.read_csv(
                                io.StringIO(new[2][at] + "\n"),
                                header=None,
                                dtype=str,
                                keep_default_na=False,
                                skip_blank_lines=False,
                            ).iloc[0]
                        )
                    )
                    if verdict == "apart"
                    else ""
                )
                yield f"{column}: {name}", verdict, _join(new), (1, column, told) if verdict == "apart" else None


YAML: dict[str, tuple[str, Callable[[str], Any]]] = {
    "byte order mark": ("same", lambda t: t.encode("utf-8-sig")),
    "windows line ends": ("same", lambda t: t.replace("\n", "\r\n")),
    "old Mac line ends": ("told", lambda t: t.replace("\n", "\r")),
    "a start mark": ("same", lambda t: "---\n" + t),
    "an end mark": ("same", lambda t: t + "...\n"),
    "two documents": ("refused", lambda t: t + "---\n" + t),
    "comments": ("same", lambda t: t.replace("\n", "  # a remark\n")),
    "blank lines": ("same", lambda t: t.replace("\n", "\n\n")),
    "blanks behind": ("same", lambda t: t.replace("\n", "   \n")),
    "tabs behind": ("told", lambda t: t.replace("\n", "\t\n")),
    "tabs in front": ("refused", lambda t: t.replace("\n  ", "\n\t")),
    "four blanks": ("same", lambda t: t.replace("\n  ", "\n    ")),
    "one blank more": ("refused", lambda t: t.replace("\n  family", "\n   family")),
    "everything one blank in": ("same", lambda t: " " + t.replace("\n", "\n ").rstrip(" ")),
    "a no-break blank": ("refused", lambda t: t.replace("seed: 1", "seed:\u00a01")),
    "a no-break blank in front": ("refused", lambda t: t.replace("\n  family", "\n\u00a0\u00a0family")),
    "keys in quotes": ("same", lambda t: t.replace("seed:", '"seed":')),
    "keys in single quotes": ("same", lambda t: t.replace("seed:", "'seed':")),
    "typographic quotes": ("refused", lambda t: t.replace("seed:", "“seed”:")),
    "a key in capitals": ("refused", lambda t: t.replace("seed:", "Seed:")),
    "a question mark": ("told", lambda t: t.replace("seed: 1", "? seed\n: 1")),
    "no blank behind the colon": ("refused", lambda t: t.replace("seed: 1", "seed:1")),
    "an equals sign": ("refused", lambda t: t.replace("seed: 1", "seed=1")),
    "a key twice": ("refused", lambda t: t + "seed: 1\n"),
    "a key twice within": ("refused", lambda t: t.replace("Intercept: 8,", "Intercept: 8, Intercept: 8,")),
    "an anchor": ("same", lambda t: t.replace("half_normal(20)", "&p half_normal(20)")),
    "an alias": (
        "same",
        lambda t: t.replace(
            "{Intercept: flat(), sd_school: half_normal(20)}", "&p {Intercept: flat(), sd_school: half_normal(20)}"
        ).replace("aim: Small", "aim: Small"),
    ),
    "an alias of nothing": ("refused", lambda t: t.replace("seed: 1", "seed: *s")),
    "merged keys": (
        "refused",
        lambda t: t.replace("{pooling: none, sampler: exact}", "{<<: {sampler: exact}, pooling: none}"),
    ),
    "a recursive alias": ("refused", lambda t: t.replace("estimands: [", "estimands: &e [*e, ")),
    "a tag": ("told", lambda t: t.replace("seed: 1", "seed: !!int 1")),
    "a tag of text": ("told", lambda t: t.replace("seed: 1", "seed: !!str 1")),
    "a tag of Python": ("refused", lambda t: t.replace("seed: 1", "seed: !!python/object:os.system x")),
    "a tag of one's own": ("refused", lambda t: t.replace("seed: 1", "seed: !mine 1")),
    "a directive": ("told", lambda t: "%YAML 1.2\n---\n" + t),
    "an old directive": ("told", lambda t: "%YAML 1.1\n---\n" + t),
    "a folded formula": (
        "same",
        lambda t: t.replace("formula: effect ~ 1 + (1 | school)", "formula: >-\n    effect ~ 1\n    + (1 | school)"),
    ),
    "a literal formula": (
        "told",
        lambda t: t.replace("formula: effect ~ 1 + (1 | school)", "formula: |\n    effect ~ 1 + (1 | school)"),
    ),
    "a quoted formula": ("same", lambda t: t.replace("effect ~ 1 + (1 | school)", '"effect ~ 1 + (1 | school)"')),
    "a formula on two lines": (
        "same",
        lambda t: t.replace("effect ~ 1 + (1 | school)", "effect ~ 1 +\n    (1 | school)"),
    ),
    "seed as text": ("refused", lambda t: t.replace("seed: 1", 'seed: "1"')),
    "seed as a decimal": ("told", lambda t: t.replace("seed: 1", "seed: 1.0")),
    "seed in hexadecimal": ("told", lambda t: t.replace("seed: 1", "seed: 0x1")),
    "seed in octal": ("told", lambda t: t.replace("seed: 1", "seed: 0o1")),
    "seed with a zero": ("told", lambda t: t.replace("seed: 1", "seed: 01")),
    "seed with a plus": ("told", lambda t: t.replace("seed: 1", "seed: +1")),
    "seed in scientific form": ("told", lambda t: t.replace("seed: 1", "seed: 1e0")),
    "seed true": ("refused", lambda t: t.replace("seed: 1", "seed: true")),
    "seed null": ("told", lambda t: t.replace("seed: 1", "seed: ~")),
    "seed empty": ("told", lambda t: t.replace("seed: 1", "seed:")),
    "seed a list": ("refused", lambda t: t.replace("seed: 1", "seed: [1]")),
    "seed a date": ("refused", lambda t: t.replace("seed: 1", "seed: 2020-01-01")),
    "seed a time": ("refused", lambda t: t.replace("seed: 1", "seed: 1:30:00")),
    "Unicode's minus": ("refused", lambda t: t.replace("Intercept: 8", "Intercept: \u22128")),
    "full-width digits": ("refused", lambda t: t.replace("replications: 3", "replications: ３")),
    "per cent": ("refused", lambda t: t.replace("interval: 0.95", "interval: 95%")),
    "of a hundred": ("refused", lambda t: t.replace("interval: 0.95", "interval: 95")),
    "a decimal comma": ("refused", lambda t: t.replace("interval: 0.95", "interval: 0,95")),
    "no zero in front": ("same", lambda t: t.replace("interval: 0.95", "interval: .95")),
    "an interval of text": ("refused", lambda t: t.replace("interval: 0.95", "interval: '0.95'")),
    "infinity": ("refused", lambda t: t.replace("Intercept: 8", "Intercept: .inf")),
    "not a number": ("refused", lambda t: t.replace("Intercept: 8", "Intercept: .nan")),
    "a truth as text": ("refused", lambda t: t.replace("Intercept: 8", "Intercept: '8'")),
    "a truth with a unit": ("refused", lambda t: t.replace("Intercept: 8", "Intercept: 8 points")),
    "yes": ("refused", lambda t: t.replace("sampler: exact, priors", "sampler: exact, marginalize: yes, priors")),
    "a trailing comma": ("told", lambda t: t.replace("mse, cover, ciwidth]", "mse, cover, ciwidth, ]")),
    "two commas": ("refused", lambda t: t.replace("[bias, mse", "[bias, , mse")),
    "a list of dashes": (
        "same",
        lambda t: t.replace(
            "performance: [bias, mse, cover, ciwidth]", "performance:\n  - bias\n  - mse\n  - cover\n  - ciwidth"
        ),
    ),
    "dashes without indentation": (
        "same",
        lambda t: t.replace(
            "performance: [bias, mse, cover, ciwidth]", "performance:\n- bias\n- mse\n- cover\n- ciwidth"
        ),
    ),
    "dashes without blanks": (
        "refused",
        lambda t: t.replace("performance: [bias, mse, cover, ciwidth]", "performance:\n  -bias\n  -mse"),
    ),
    "a bracket open": ("refused", lambda t: t.replace("ciwidth]", "ciwidth")),
    "a brace open": ("refused", lambda t: t.replace("sd_school: 10}", "sd_school: 10")),
    "a bracket too many": ("refused", lambda t: t.replace("ciwidth]", "ciwidth]]")),
    "words for a list": ("refused", lambda t: t.replace("[bias, mse, cover, ciwidth]", "bias, mse, cover, ciwidth")),
    "a mapping for a list": ("refused", lambda t: t.replace("[bias, mse, cover, ciwidth]", "{bias, mse}")),
    "a tuple": ("refused", lambda t: t.replace("[bias, mse, cover, ciwidth]", "(bias, mse)")),
    "a range": ("refused", lambda t: t.replace("[0, 10]", "0..10")),
    "a range of R": ("refused", lambda t: t.replace("[0, 10]", "0:10")),
    "a vector of R": ("refused", lambda t: t.replace("[0, 10]", "c(0, 10)")),
    "a call of numpy": ("refused", lambda t: t.replace("[0, 10]", "np.arange(10)")),
    "one value": ("refused", lambda t: t.replace("[0, 10]", "10")),
    "values as text": ("refused", lambda t: t.replace("[0, 10]", "['0', '10']")),
    "a prior of R": ("refused", lambda t: t.replace("half_normal(20)", "normal(0, 20, lb=0)")),
    "a prior of brms": ("refused", lambda t: t.replace("half_normal(20)", "half-normal(20)")),
    "a prior of Stan": ("refused", lambda t: t.replace("half_normal(20)", "normal(0, 20) T[0,]")),
    "a prior of PyMC": ("refused", lambda t: t.replace("half_normal(20)", "HalfNormal(20)")),
    "a prior with a name": ("told", lambda t: t.replace("half_normal(20)", "half_normal(scale=20)")),
    "a prior with a semicolon": ("refused", lambda t: t.replace("half_normal(20)", "half_normal(20);")),
    "a design in capitals": ("refused", lambda t: t.replace("design: eight_schools", "design: Eight_Schools")),
    "a design with blanks": ("refused", lambda t: t.replace("design: eight_schools", "design: eight schools")),
    "a design as a file that is not there": (
        "refused",
        lambda t: t.replace("design: eight_schools", "design: eight_schools.csv"),
    ),
    "a web address": ("refused", lambda t: t.replace("design: eight_schools", "design: https://example.org/a.csv")),
    "JSON": ("same", lambda t: __import__("json").dumps(__import__("yaml").safe_load(t))),
    "INI": ("refused", lambda t: "[study]\n" + t.replace(": ", " = ")),
    "TOML": ("refused", lambda t: t.replace(": ", " = ")),
    "Python": ("refused", lambda t: "config = " + repr(__import__("yaml").safe_load(t))),
    "a prompt in front": ("refused", lambda t: "$ cat study.yaml\n" + t),
    "a fence of markdown": ("refused", lambda t: "```yaml\n" + t + "```\n"),
    "a diff": ("refused", lambda t: "\n".join("+" + x for x in t.splitlines())),
    "quoted mail": ("refused", lambda t: "\n".join("> " + x for x in t.splitlines())),
    "line numbers": ("refused", lambda t: "\n".join(f"{i} {x}" for i, x in enumerate(t.splitlines()))),
    "half of it": ("told", lambda t: t[: len(t) // 2]),
    "it twice": ("refused", lambda t: t + t),
    "Latin-1": ("told", lambda t: t.replace("Small", "Größe").encode("latin-1")),
    "UTF-16": ("told", lambda t: t.encode("utf-16")),
    "a NUL": ("refused", lambda t: t.encode() + b"\0"),
    "a merge's marks": (
        "refused",
        lambda t: t.replace("seed: 1", "<<<<<<< HEAD\nseed: 1\n=======\nseed: 2\n>>>>>>> b"),
    ),
    "a template": ("refused", lambda t: t.replace("seed: 1", "seed: {{ seed }}")),
    "a variable of a shell": ("refused", lambda t: t.replace("seed: 1", "seed: $SEED")),
    "an include": ("refused", lambda t: t.replace("seed: 1", "seed: !include seed.yaml")),
    "an emoji": ("same", lambda t: t.replace("aim: Small enough to run.", "aim: Small 😀 enough.")),
    "a long aim": ("same", lambda t: t.replace("aim: Small", "aim: " + "very " * 300 + "Small")),
    "an aim with a colon": ("refused", lambda t: t.replace("aim: Small", "aim: so: Small")),
}
"""Ways to write a config."""
