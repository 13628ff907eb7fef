"""`examples/python.ipynb` made from `docs/python.md`: python -m tests.docs.notebook > examples/python.ipynb"""

import json
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"
_BLOCK = re.compile(r"```python\n(.*?)```\n?", re.DOTALL)


def notebook() -> str:
    """The page's Python blocks as code cells, and what stands between them as text; what follows them is left out."""
    parts = _BLOCK.split(PAGE.read_text(encoding="utf-8"))[:-1]
    cells = [cell for number, part in enumerate(parts) if (cell := _cell(part.strip(), number))]
    document = {
        "cells": [{"id": f"cell-{place}", **cell} for place, cell in enumerate(cells)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _cell(text: str, number: int) -> dict[str, Any]:
    if not text:
        return {}
    source = text.splitlines(keepends=True)
    if number % 2 == 0:
        return {"cell_type": "markdown", "metadata": {}, "source": source}
    return {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": source}


if __name__ == "__main__":
    print(notebook(), end="")
