"""What the site adds to the pages of ``docs/``: the notebooks, and files of the repository that a page links to.

MkDocs calls `on_files`, `on_page_markdown` and `on_page_content`. A notebook becomes a page from its committed outputs:
nothing is run. A file outside ``docs/`` that a page links to (a config, a test) becomes a page under ``files/``, so
that every link of the repository works on the site without a host. Formulas become MathML: no script is fetched from
anywhere.
"""

from __future__ import annotations

import base64
import json
import posixpath
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".json": "json", ".cff": "yaml"}
LINK = re.compile(r"(?<=\]\()([^)\s#]+)(#[^)\s]*)?(?=\))")
FENCED = re.compile(r"(^(`{3,}|~{3,}).*?^\2\s*$|`[^`\n]+`)", re.M | re.S)
MATH = re.compile(r"\$\$(.+?)\$\$|(?<![\w\\$])\$(?=\S)([^$]+?)(?<=\S)\$(?![\w$])", re.S)

_origins: dict[str, Path] = {}
_formulas: list[str] = []


def on_files(files: Files, config: Any) -> Files:
    """Add the notebooks and every file of the repository that pages link to."""
    _origins.clear()
    _formulas.clear()
    waiting: list[tuple[str, str]] = []
    for file in files.documentation_pages():
        _origins[file.src_uri] = DOCS / file.src_uri
        waiting.append((file.src_uri, file.content_string))
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        page, pictures = notebook_page(path)
        uri = f"notebooks/{path.stem}.md"
        _origins[uri] = path
        waiting.append((uri, page))
        files.append(File.generated(config, uri, content=page))
        for name, content in pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    while waiting:
        uri, text = waiting.pop()
        for target in linked_files(text, _origins[uri]):
            new = site_uri(target)
            if new.startswith("files/") and new not in _origins:
                _origins[new] = target
                content = file_page(target)
                files.append(File.generated(config, new, content=content))
                waiting.append((new, content if target.suffix == ".md" else ""))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links that leave ``docs/`` into links to the pages that stand for their targets."""
    uri = page.file.src_uri
    origin = _origins[uri]
    if uri.startswith("files/") and origin.suffix != ".md":
        return markdown

    def moved(match: re.Match[str]) -> str:
        target = (origin.parent / match[1]).resolve()
        if re.match(r"[a-z]+:", match[1]) or not target.is_file():
            return match[0]
        new = posixpath.relpath(site_uri(target), posixpath.dirname(uri) or ".")
        return new + anchor(target, match[2] or "")

    return outside_code(markdown, lambda text: LINK.sub(moved, text))


def on_page_content(html: str, **_: Any) -> str:
    """Put the formulas in; take the backslash of a bar in a cell of a table away, which GitHub needs and code would
    show.
    """
    html = re.sub(r"<td.*?</td>", lambda match: match[0].replace("\\|", "|"), html, flags=re.S)
    return re.sub(r"<p>FORMULA(\d+)SLOT</p>|FORMULA(\d+)SLOT", lambda match: _formulas[int(match[1] or match[2])], html)


def outside_code(text: str, change: Any) -> str:
    """Text with everything but its code changed."""
    out, last = [], 0
    for match in FENCED.finditer(text):
        out += [change(text[last : match.start()]), match[0]]
        last = match.end()
    return "".join([*out, change(text[last:])])


def linked_files(text: str, origin: Path) -> list[Path]:
    """Files of the repository that a page links to."""
    found: list[Path] = []
    outside_code(text, lambda part: found.extend((origin.parent / m[1]).resolve() for m in LINK.finditer(part)) or part)
    return [path for path in found if path.is_file() and path.is_relative_to(ROOT)]


def site_uri(path: Path) -> str:
    """Where a file of the repository stands on the site."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    name = path.relative_to(ROOT).as_posix()
    return name.removesuffix(".ipynb") + ".md" if path.suffix == ".ipynb" else f"files/{name.removesuffix('.md')}.md"


def anchor(path: Path, fragment: str) -> str:
    """The line where a function of a Python file begins, as the anchor of that line."""
    if path.suffix != ".py" or not fragment:
        return fragment
    start = re.compile(rf"(?:def|class) {re.escape(fragment[1:])}\b")
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((f"#__codelineno-0-{i}" for i, line in enumerate(lines, 1) if start.match(line)), "")


def file_page(path: Path) -> str:
    """A file as a page of its own, outside the search."""
    head = "---\nsearch:\n  exclude: true\n---\n\n"
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return head + text
    language = LANGUAGES.get(path.suffix, "text")
    return (
        f'{head}# {path.relative_to(ROOT).as_posix()}\n\n~~~~~~ {{ .{language} linenums="1" '
        f"}}\n{text.rstrip()}\n~~~~~~\n"
    )


def notebook_page(path: Path) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown from its committed outputs, and its pictures by name."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(MATH.sub(lambda m: formula(m[1] or m[2], m[1] is not None), source))
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            parts.append(_output(output, path.stem, pictures))
    return "\n\n".join(parts) + "\n", pictures


def _output(output: dict[str, Any], stem: str, pictures: dict[str, bytes]) -> str:
    data = {kind: "".join(lines) for kind, lines in output.get("data", {}).items()}
    if "image/png" in data:
        name = f"{stem}_{len(pictures) + 1}.png"
        pictures[name] = base64.b64decode(data["image/png"])
        return f"![figure]({name})"
    if "text/latex" in data:
        return formula(data["text/latex"].strip().strip("$"), True)
    if "text/html" in data:
        table = re.sub(r"<style.*?</style>", "", data["text/html"], flags=re.S)
        table = re.sub(r'<table border="1" class="dataframe">', "<table>", table)
        return f'<div class="output">\n{re.sub(r"\n\s*\n", "\n", table)}\n</div>'
    return f"```text\n{(data.get('text/plain') or ''.join(output.get('text', ''))).rstrip()}\n```"


def formula(latex: str, block: bool) -> str:
    """A formula's place in the text; `on_page_content` puts its MathML there."""
    _formulas.append(convert(latex.replace(r"\mbox{-}", "-"), display="block" if block else "inline"))
    slot = f"FORMULA{len(_formulas) - 1}SLOT"
    return f"\n\n{slot}\n\n" if block else slot
