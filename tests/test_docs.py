"""The documents: every link leads somewhere, every block can be read, every name and message is there."""

import ast
import inspect
import json
import re
import subprocess
import textwrap
from importlib import import_module
from pathlib import Path

import pytest

import hiermodels as hm
from hiermodels.models.data import bind
from hiermodels.reporting import plots
from hiermodels.studies.config import read_config
from hiermodels.studies.config.source import read_yaml

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SITE = sorted(DOCS.rglob("*.md"))
PAGES = [*SITE, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"]
FENCE = re.compile(r"^([ ]*)```(\w*)[^\n]*\n(.*?)^\1```[ ]*$", re.M | re.S)
LINK = re.compile(r"\]\(([^)\s#]*)(?:#([^)\s]*))?\)")
FIGURES = [name for name in plots.__all__ if name.startswith("plot_")]


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def blocks(path, language):
    """Blocks of code in this language, without their indentation."""
    return [textwrap.dedent(m[3]) for m in FENCE.finditer(path.read_text(encoding="utf-8")) if m[2] == language]


def prose(path):
    """A page without its blocks of code and its code in lines."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", path.read_text(encoding="utf-8")))


def anchors(path):
    """What a fragment of a link may be: functions of a Python file, headings of a page."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return set(re.findall(r"^def (\w+)", text, re.M))
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.M)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", h).strip().lower()) for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_to_a_file_and_a_place_in_it(page):
    for target, fragment in LINK.findall(prose(page)):
        if target.startswith(("https:", "mailto:")):
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{name_of(page)}: {target}"
        if fragment and not name_of(path).startswith("docs/reference/"):
            assert fragment in anchors(path), f"{name_of(page)}: {target}#{fragment}"


def test_every_row_of_ours_beside_others_is_shown_by_a_test():
    text = (DOCS / "beside_others.md").read_text(encoding="utf-8")
    body = text.split("## What they have")[0]
    rows = [line for line in body.splitlines() if line.startswith("| ") and not line.startswith("| |")]
    assert len(rows) > 40
    for row in rows:
        shown = re.findall(r"\[(test_\w+)\]\(\.\./tests/(?:\w+/)*(test_\w+\.py)#(test_\w+)\)", row.split(" | ")[1])
        assert shown and all(label == function for label, _, function in shown), row


def hm_calls(tree, name):
    """Calls ``hm.<name>(...)`` in a block."""
    found = (n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute))
    return [c for c in found if c.func.attr == name and getattr(c.func.value, "id", "") == "hm"]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_blocks_of_python_are_python_and_use_what_there_is(page):
    for block in blocks(page, "python"):
        tree = ast.parse(block)
        for call in hm_calls(tree, "fit"):
            unknown = {k.arg for k in call.keywords} - set(inspect.signature(hm.fit).parameters)
            assert not unknown, (name_of(page), unknown)
        models = [eval(ast.unparse(call), {"hm": hm}) for call in hm_calls(tree, "Model")]
        tables = [eval(ast.unparse(call), {"hm": hm}) for call in hm_calls(tree, "load_dataset")]
        for model in models if len({len(t) for t in tables}) == 1 else []:
            bind(model, tables[0], "partial")
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"\bhm\.([A-Za-z_]\w*)", text):
        assert name in dir(hm), (name_of(page), name)
    for name in re.findall(r"(?<![\w.])fit\.([a-z]\w*)(?=[(`\s])", text):
        assert hasattr(hm.Fit, name) or name in {"status", "warnings"}, (name_of(page), name)


def plain(text):
    """A block of YAML as the library reads it."""
    return read_yaml(text.encode())[0]


def complete(fragment, base):
    """A fragment of a study put into a whole one; a mechanism with a formula of its own keeps no role of the other."""
    mechanisms = fragment.get("mechanisms", {})
    kept = {k: v for k, v in base["mechanisms"].items() if "formula" not in mechanisms or k in ("truth", "grid")}
    return base | fragment | {"mechanisms": kept | mechanisms}


def test_every_fragment_of_the_guide_to_studies_makes_a_study():
    whole, *fragments = map(plain, blocks(DOCS / "studies.md", "yaml"))
    assert len(read_config(whole).cells()) == 4
    assert len(fragments) >= 12
    for fragment in fragments:
        read_config(complete(fragment, whole))


def test_the_studies_of_the_readme(tmp_path, monkeypatch):
    shown, own = blocks(ROOT / "README.md", "yaml")
    assert plain(shown) == plain((ROOT / "configs" / "eight_schools.yaml").read_text(encoding="utf-8"))
    (tmp_path / "my.csv").write_text("school,classroom,treated,score\nA,1,0,50.5\nA,2,0,49\nB,1,1,52\nB,2,1,55.5\n")
    monkeypatch.chdir(tmp_path)
    formula = {"formula": "score ~ 1 + treated + (1 | school/classroom)"}
    methods = {"none": {"pooling": "complete", "priors": {"sigma": "half_normal(5)"}}}
    study = plain(shown) | {"mechanisms": formula | plain(own), "methods": methods, "estimands": ["treated"]}
    assert len(read_config(study).cells()) == 4


def keys_of(schema):
    """Every key that a schema lets a config have."""
    if isinstance(schema, list):
        return set().union(*map(keys_of, schema)) if schema else set()
    if not isinstance(schema, dict):
        return set()
    own = set(schema.get("properties", {}))
    inside = [v for k, v in schema.items() if k not in ("properties", "examples", "default")]
    return own.union(keys_of(inside), *map(keys_of, schema.get("properties", {}).values()))


def test_the_guide_to_studies_explains_every_key():
    schema = json.loads((ROOT / "hiermodels" / "studies" / "schema.json").read_text(encoding="utf-8"))
    text = (DOCS / "studies.md").read_text(encoding="utf-8")
    words = {word for code in re.findall(r"`([^`\n]+)`", text) for word in re.findall(r"\w+", code)}
    assert keys_of(schema) - words == set()
    assert {"design", "heteroscedastic", "type1", "equal_variances", "kind"} <= keys_of(schema)


def test_the_gallery_names_every_figure_and_shows_them():
    text = (DOCS / "gallery.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[[^\]]+\]\(pictures/(\w+)\.png\)", text)
    assert [name for name in FIGURES if not re.search(rf"`{name}`", text)] == []
    assert sorted(shown) == sorted(FIGURES)
    assert {p.stem for p in (DOCS / "pictures").iterdir()} == set(shown)
    for name in shown:
        picture = (DOCS / "pictures" / f"{name}.png").read_bytes()
        assert picture.startswith(b"\x89PNG") and len(picture) < 60_000, name


def test_every_message_of_the_page_of_errors_is_one_of_the_library():
    source = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "hiermodels").rglob("*.py"))
    joined = re.sub(r'"\s*\n\s*f?"', "", source)
    rows = re.findall(r"^\| `([^`]+)` \|", (DOCS / "errors.md").read_text(encoding="utf-8"), re.M)
    assert len(rows) > 30
    assert [words for words in rows if words not in joined] == []


def test_the_reference_names_what_there_is():
    names = [n for page in SITE for n in re.findall(r"^::: ([\w.]+)$", page.read_text(encoding="utf-8"), re.M)]
    assert len(names) > 30
    for name in names:
        module, _, attribute = name.rpartition(".")
        try:
            import_module(name)
        except ModuleNotFoundError:
            assert hasattr(import_module(module), attribute), name


def test_every_page_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r"([\w/]+\.md)\s*$", text.partition("nav:")[2], re.M))
    notebooks = {f"notebooks/{p.stem}.md" for p in (ROOT / "notebooks").glob("*.ipynb")}
    assert listed == {p.relative_to(DOCS).as_posix() for p in SITE} | notebooks


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_page_names_a_path_of_somebodys_machine(page):
    assert not re.search(r"/(tmp|home|root|work|Users)/", page.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    command = ["mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "notebooks" / "eight_schools" / "index.html").exists()
    scripts = [p.read_text(encoding="utf-8") for p in (tmp_path / "site").glob("*.html")]
    assert not any(re.search(r"<(script|link)[^>]+(src|href)=\"https?:", text) for text in scripts)
