"""Draw the figures of the pages by profession from the pages' own code: ``python docs/tools/page_figures.py`` writes
docs/figures/*.png.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1]


def first_block(page: str) -> dict[str, Any]:
    """What the first block of Python of a page defines."""
    scope: dict[str, Any] = {}
    block = re.search(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.S)
    assert block is not None
    exec(block.group(1), scope)
    return scope


def main() -> None:
    """Draw them all."""
    found = first_block("meta_analysis.md")["found"]
    for name, figure in (("meta_forest", found.forest()), ("meta_funnel", found.funnel())):
        (DOCS / "figures" / f"{name}.png").write_bytes(figure._repr_png_())


if __name__ == "__main__":
    main()
