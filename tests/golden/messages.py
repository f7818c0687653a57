"""Every error that the tests provoke: a plugin of pytest that writes down what `pytest.raises` catches, and the
comparison.

    HIERMODELS_MESSAGES=FILE python -m pytest tests/models/test_model.py      # appends a line for each error
    python -m tests.golden record FOLDER messages                      # FOLDER/messages/test_model.jsonl and so on

Tests may move: what is compared is the set of (type, text), whichever test provoked it.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from _pytest.raises import RaisesExc

REPOSITORY = Path(__file__).parents[2]
VOLATILE = (
    (re.escape(str(REPOSITORY)), "<repository>"),
    (re.escape(tempfile.gettempdir()) + r"/pytest-of-\w+/pytest-\d+/(?:popen-gw\d+/)?\w+?\d*(?=/|\b)", "<folder>"),
    (re.escape(tempfile.gettempdir()) + r"/(?:tmp\w{8}|[\w.-]*\d[\w.-]*)", "<folder>"),
    (r"0x[0-9a-f]{6,}", "<address>"),
    (r"\b\d+(?:\.\d+)? (?:s|seconds)\b", "<time>"),
    (r"\bpid \d+|\bprocess \d+", "<process>"),
)
"""Patterns of what is another text in every run."""


class Recorder:
    """The plugin: knows which test runs, and listens to `pytest.raises`."""

    def __init__(self, path: Path) -> None:
        self.path, self.test = path, ""
        leave = RaisesExc.__exit__

        def listening(block: Any, kind: Any, error: Any, trace: Any) -> bool:
            caught = leave(block, kind, error, trace)
            if caught:
                self.write(error)
            return caught

        RaisesExc.__exit__ = listening  # type: ignore[method-assign]

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out tests that provoke nothing: neither they nor the helpers that they name say ``raises``."""
        provoking = {id(item): _provokes(item) for item in items}
        config.hook.pytest_deselected(items=[item for item in items if not provoking[id(item)]])
        items[:] = [item for item in items if provoking[id(item)]]

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test starts."""
        self.test = nodeid

    def write(self, error: BaseException) -> None:
        """Append one error."""
        line = json.dumps({"type": type(error).__name__, "text": steady(str(error)), "test": self.test})
        with self.path.open("a") as file:
            file.write(line + "\n")


def _provokes(item: pytest.Item) -> bool:
    return bool(set(_words(item.function)) & _provoking(item.module))  # type: ignore[attr-defined]


@cache
def _provoking(module: Any) -> frozenset[str]:
    """Names of a test file by which an error may be provoked: ``raises``, and every helper that leads to it."""
    found, functions = {"raises"}, {name: _words(f) for name, f in vars(module).items() if inspect.isfunction(f)}
    while more := {name for name, words in functions.items() if name not in found and found & set(words)}:
        found |= more
    return frozenset(found)


def _words(function: Any) -> list[str]:
    return re.findall(r"\w+", inspect.getsource(function))


def steady(text: str) -> str:
    """A message without what is another text in every run."""
    for pattern, word in VOLATILE:
        text = re.sub(pattern, word, text)
    return text


def read(folder: Path) -> dict[tuple[str, str], str]:
    """(type, text) of every error with one test that provokes it."""
    found = {}
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            one = json.loads(line)
            found.setdefault((one["type"], one["text"]), one["test"])
    return found


def record(folder: Path) -> None:
    """Run the quick tests of every file by itself; a file whose errors are there is not run again."""
    folder.mkdir(parents=True, exist_ok=True)
    for test in sorted((REPOSITORY / "tests").rglob("test_*.py")):
        path = folder / f"{test.stem}.jsonl"
        if path.exists() or "pytest.raises" not in test.read_text():
            continue
        print(test.name, flush=True)
        unfinished = path.with_suffix(".part")
        unfinished.unlink(missing_ok=True)
        words = [sys.executable, "-m", "pytest", "-q", "-n", "0", str(test)]
        subprocess.run(words, cwd=REPOSITORY, env=os.environ | {"HIERMODELS_MESSAGES": str(unfinished)}, check=False)
        if unfinished.exists():
            unfinished.rename(path)


def compare(folder: Path, other: Path) -> int:
    """Print errors that are in one recording only; their number."""
    a, b = read(folder), read(other)
    for word, some, there in (("lost", a, b), ("new", b, a)):
        for (kind, text), test in sorted(some.items()):
            if (kind, text) not in there:
                print(f"messages: {word}: {kind}: {text} [{test}]")
    differ = len(a.keys() ^ b.keys())
    print(f"messages: {len(a | b)} compared, {len(a.keys() & b.keys())} identical, {differ} different")
    return differ
