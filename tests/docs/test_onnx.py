"""docs/onnx.md lists exactly the operators that are read."""

import re
from pathlib import Path

from minicnn.io.onnx.read import operators

PAGE = Path(__file__).parents[2] / "docs" / "onnx.md"


def test_the_list_of_operators():
    section = PAGE.read_text(encoding="utf-8").partition("## Which operators")[2]
    listed = re.search(r"\n\n(`[^.]*)\.\n", section).group(1)
    assert re.findall(r"`(\w+)`", listed) == operators()
