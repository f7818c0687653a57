"""The report: well-formed, self-contained, escaped, sortable; the terminal's table; exports."""

import base64
import csv
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
from long_tables import METHODS, make_estimates, make_performance
from rich.console import Console

from hiermodels.reporting import tables, terminal_table, write_figures, write_report
from hiermodels.studies.score.tables import count_failures

REPORTS = True

EVIL = "<script>document.title='owned'</script>"
VOID = {"meta", "input", "img", "br", "link", "hr"}


class Page(HTMLParser):
    """Checks that every element is closed where it should be, and collects what the tests look at."""

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.ids, self.text, self.tags = [], [], set(), [], []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append((tag, found))
        self.links += [found[key] for key in ("src", "href", "action", "srcset", "poster", "data") if found.get(key)]
        self.ids |= {found["id"]} if "id" in found else set()
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


def make_run(path, aim="How do three ways of pooling compare?", regime="population", **changes):
    estimates = make_estimates(reps=20)
    performance = make_performance(estimates)
    methods = {m: {"pooling": m, "sampler": "exact"} for m in METHODS}
    config = {
        "aim": aim,
        "mechanisms": {
            "formula": "effect ~ 1 + (1 | school)",
            "truth": {"Intercept": 8},
            "grid": {"sd_school": [0, 5, 20]},
        },
        "estimands": [
            {"theta_school": "theta_school", "point": "mean"},
            {"benefit": "P(Intercept > 0)", "point": "mean"},
        ],
        "methods": methods,
        "performance": ["bias", "mse", "cover", "ciwidth"],
        "interval": {"level": 0.95, "kind": "equal_tailed"},
        "replications": 20,
        "failures": "complete-case",
        "seed": 1,
        "precision": "float64",
    }
    models = {m: {"text": f"theta_j ~ N(mu, tau^2)  [{m}]", "latex": r"\theta_j \sim N"} for m in METHODS}
    cells = [
        {"hash": f"h{i}", "factors": {"sd_school": sd}, "regime": "population"} for i, sd in enumerate((0.0, 5.0, 20.0))
    ]
    manifest = {
        "name": "three_ways",
        "regime": [regime],
        "device": "cpu: test, 2 core(s)",
        "versions": {"jax": "9.9.9"},
        "lanes": {f"h{i}": dict.fromkeys(METHODS, 5) for i in range(3)},
        "chunk": 20,
        "models": models,
        "cells": cells,
    }
    (path / "timings.json").write_text(json.dumps({"wall_seconds": 12.5, "compile_seconds": {"a": 1.0, "b": 2.5}}))
    (path / "config.yaml").write_text("aim: as written & kept\n")
    parts = {
        "path": path,
        "config": config,
        "manifest": manifest,
        "estimates": estimates,
        "performance": performance,
        "failures": count_failures(estimates, ["sd_school"]),
        "notes": ["cover is NA at sd_school=0: reason."],
    }
    return SimpleNamespace(**(parts | changes))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("three_ways"))


@pytest.fixture(scope="module")
def html(run):
    path = write_report(run)
    assert path == run.path / "report.html"
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_well_formed_and_in_the_order_of_ademp(page):
    order = [attrs["id"] for tag, attrs in page.tags if tag == "section"]
    assert order == [
        "aim",
        "mechanisms",
        "estimands",
        "methods",
        "performance",
        "failures",
        "computation",
        "again",
    ]
    assert {link[1:] for link in page.links if link.startswith("#")} == set(order)


def test_says_what_it_must(page):
    for words in (
        "How do three ways of pooling compare?", "effect ~ 1 + (1 | school)", "theta_j ~ N(mu, tau^2) [partial]",
        r"\theta_j \sim N", "P(Intercept > 0)", "Truth regime: population", "truth regime: population; 20 replicates attempted",
        "missing: 3 of partial; flagged and kept: 3 of complete, 3 of none, 3 of partial", "cover is NA at sd_school=0: reason.", "complete-case", "9.9.9", "cpu: test, 2 core(s)",
        "complete: 5, none: 5, partial: 5", "12.5", "3.5 in 2 programs", "aim: as written & kept",
        "--cell sd_school=0 --rep 0 --method complete", "attempted", "missing (nonfinite)", "retried",
    ):  # fmt: skip
        assert words in page.words, words


def test_self_contained(html, page):
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert not [tag for tag, attrs in page.tags if tag in ("link", "iframe", "object") or (tag == "script" and attrs)]
    assert "http://" not in html and "https://" not in html and "@import" not in html and "url(" not in html


def test_readable_on_a_phone_in_light_and_dark(html, page):
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.tags
    assert "prefers-color-scheme: dark" in html and "max-width: 36rem" in html


def test_user_strings_are_escaped(tmp_path):
    run = make_run(tmp_path, aim=EVIL, notes=[EVIL])
    run.manifest["models"]["none"]["text"] = EVIL
    run.performance = run.performance[run.performance["measure"] == "bias"].replace({"method": {"none": EVIL}})
    text = write_report(run).read_text()
    assert EVIL not in text and EVIL in Page(text).words
    assert text.count("<script>") == 1


def test_the_table_holds_the_numbers(run, page, html):
    rows = run.performance.query(
        "estimand == 'Intercept' and method == 'partial' and sd_school == 5 and measure == 'bias'"
    )
    ((value, mcse),) = rows[["value", "mcse"]].itertuples(index=False)
    assert f">{tables.number(value, mcse)}</td>" in html and f'data-key="{value}"' in html
    assert html.count("<td") > 3 * 3 * 2 * 4 and "group_by" not in html
    (link,) = [link for link in page.links if link.startswith("data:text/csv")]
    back = list(csv.DictReader(io.StringIO(base64.b64decode(link.split(",")[1]).decode())))
    assert len(back) == len(run.performance) and float(back[0]["value"]) == run.performance["value"].iloc[0]
    (link,) = [link for link in page.links if link.startswith("data:text/x-tex")]
    latex = base64.b64decode(link.split(",")[1]).decode()
    assert latex.count(r" \\") == 1 + 3 * 2 * 3 and r"sd\_school & estimand & method" in latex


def test_figures_are_written_and_shown(run, page):
    files = write_figures(run)
    stems = [path.stem for path in files if path.suffix == ".svg"]
    assert stems == ["coverage", "bias", "rmse_ratio", "ciwidth", "shrinkage_theta_school", "failures"]
    assert all(path.is_file() and path.parent == run.path / "figures" for path in files) and len(files) == 12
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    assert len(images) == 6 and all(image["src"].startswith("data:image/") and image["alt"] for image in images)


def test_only_the_figures_that_the_tables_allow(tmp_path):
    run = make_run(tmp_path)
    run.performance = run.performance[run.performance["measure"] == "bias"]
    run.failures, run.config["methods"] = None, {"partial": {}, "mine": {"sampler": "exact"}}
    assert {path.stem for path in write_figures(run)} == {"bias"}
    assert "None recorded." in Page(write_report(run).read_text()).words


def test_a_figure_that_cannot_be_drawn_does_not_cost_the_report(tmp_path):
    import pandas as pd

    run = make_run(tmp_path)
    run.performance = pd.concat([run.performance.assign(a=i, b=j) for i in range(6) for j in range(3)])
    words = Page(write_report(run).read_text()).words
    assert "Not drawn: where: expected at most 24 panels, found 36" in words


def test_shrinkage_is_averaged_only_where_truths_are_fixed(tmp_path):
    fixed = make_run(tmp_path, regime="fixed", failures=None)
    fixed.performance = fixed.performance[fixed.performance["measure"] == "bias"]
    assert "averages over replicates" in Page(write_report(fixed).read_text()).words
    fixed.manifest["regime"] = ["population"]
    assert "averages over replicates" not in Page(write_report(fixed).read_text()).words


def test_the_same_run_gives_the_same_page(run, html):
    assert write_report(run).read_text() == html


CHROMIUM = "/usr/bin/chromium" if Path("/usr/bin/chromium").exists() else shutil.which("chromium")


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: the page's script is not run")
def test_sorting_and_filtering_in_a_browser(run, html, tmp_path):
    """A script at the page's end clicks a heading twice and filters; the sorted page is read back."""
    driver = """<script>
      const t = document.querySelector("#performance table"), column = [...t.tHead.rows[0].cells]
        .findIndex(h => h.textContent === "cover");
      const read = () => [...t.tBodies[0].rows].map(r => r.cells[column].textContent.split(" ")[0]).join();
      const button = t.tHead.rows[0].cells[column].querySelector("button");
      button.click(); const up = read(); button.click(); const down = read();
      const box = document.querySelector("input.filter"); box.value = "partial intercept";
      box.dispatchEvent(new Event("input"));
      const left = [...t.tBodies[0].rows].filter(r => !r.hidden).length;
      document.body.dataset.result = JSON.stringify({up, down, left, wide: document.documentElement.scrollWidth});
    </script></body>"""
    copy = tmp_path / "page.html"
    copy.write_text(html.replace("</body>", driver))
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=500,900", "--dump-dom", copy.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'data-result="([^"]*)"', done.stdout)
    result = json.loads(found.group(1).replace("&quot;", '"'))
    up, down = result["up"].split(","), result["down"].split(",")
    numbers = [float(v) for v in up if v != "NA"]
    assert len(up) == 18 and up[-3:] == down[-3:] == ["NA"] * 3
    assert numbers == sorted(numbers) and [float(v) for v in down[:-3]] == sorted(numbers, reverse=True)
    assert result["left"] == 3
    assert result["wide"] <= 500  # nothing but the tables scrolls sideways


def test_terminal_table_off_a_terminal(run):
    text = terminal_table(run.performance, regime="population", notes=run.notes, plain=True)
    lines = text.splitlines()
    assert lines[0].split() == ["sd_school", "estimand", "method", "bias", "mse", "cover", "ciwidth"]
    assert len(lines) == 1 + 18 + 3 and lines[-1] == run.notes[0]
    assert "truth regime: population; 20 replicates attempted per mechanism and method" in lines[-2]
    assert "missing: 3 of partial" in lines[-2] and "retried: 3 of complete, 3 of none, 3 of partial" in lines[-2]
    row = next(line for line in lines if line.startswith("5 ") and "theta_school" in line and "partial" in line)
    chosen = "group == '[mean]' and method == 'partial' and sd_school == 5 and measure == 'bias'"
    want = run.performance.query(chosen)[["value", "mcse"]].iloc[0]
    assert tables.number(*want) in row
    assert sum("NA" in line for line in lines[1:19]) == 3


def test_terminal_table_on_a_terminal(run):
    table = terminal_table(
        run.performance, measures=["cover", "bias"], regime=["fixed", "population"], notes=["see below"]
    )
    console = Console(file=io.StringIO(), width=100)
    console.print(table)
    text = console.file.getvalue()
    assert [column.header.plain for column in table.columns][-2:] == ["cover", "bias"]
    assert table.row_count == 18 and text.count("sd_school") == 1 and "see below" in text
    assert "truth regime: fixed, population" in " ".join(text.split())


def test_single_groups_have_their_own_table(run):
    wide = tables.widen(run.performance, groups="each")
    assert len(wide.rows) == 3 * 8 * 3
    assert {row[1].text for row in wide.rows} == {f"theta_school [{g}]" for g in "ABCDEFGH"}


@pytest.mark.parametrize(
    ("value", "mcse", "text"),
    [
        (0.94812, 0.0042, "0.9481 (0.0042)"), (-0.0312, 0.5, "-0.03 (0.50)"), (1234.5, 56.0, "1234 (56)"),
        (8.0, 0.0, "8 (0)"), (13.859293, 4e-16, "13.86 (0)"), (None, None, "NA"), (250, None, "250"), (1 / 3, float("nan"), "0.3333"),
        (2.5e-7, 1e-8, "2.5e-07 (1e-08)"),
    ],
)  # fmt: skip
def test_numbers(value, mcse, text):
    assert tables.number(value, mcse) == text


def test_latex_is_escaped():
    wide = tables.Wide(("method",), ("bias",), ((tables.Cell("50% & #1_a\\", ""), tables.Cell("1", 1.0)),))
    assert r"50\% \& \#1\_a\textbackslash{} & 1 \\" in tables.to_latex(wide, "a_b")
